/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of a switch as tables, for `vswitch ctl`. */
#ifndef VSWITCH_CTL_TABLE_H
#define VSWITCH_CTL_TABLE_H

#include <jansson.h>

enum {
	CTL_COLUMNS = 12,
	CTL_CELL = 320,
};

/* What a cell shows: objects as the counts that they hold. */
void ctl_show(const json_t *value, char ret_text[static CTL_CELL]);

/* Objects, a row each, by their members @columns, which end with NULL. */
void ctl_print_table(const json_t *rows, const char *const *columns);

#endif
