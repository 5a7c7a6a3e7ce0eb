/* SPDX-License-Identifier: Apache-2.0 */
/* The sub-commands, each in the file of its name. */
#ifndef QIMG_COMMANDS_H
#define QIMG_COMMANDS_H

#include "tools/qimg/cli.h"

extern const struct cli_command qimg_amend;
extern const struct cli_command qimg_bench;
extern const struct cli_command qimg_bitmap;
extern const struct cli_command qimg_check;
extern const struct cli_command qimg_commit;
extern const struct cli_command qimg_compare;
extern const struct cli_command qimg_convert;
extern const struct cli_command qimg_create;
extern const struct cli_command qimg_dd;
extern const struct cli_command qimg_info;
extern const struct cli_command qimg_inspect;
extern const struct cli_command qimg_map;
extern const struct cli_command qimg_measure;
extern const struct cli_command qimg_rebase;
extern const struct cli_command qimg_resize;
extern const struct cli_command qimg_snapshot;

#endif
