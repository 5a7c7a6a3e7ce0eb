/* SPDX-License-Identifier: Apache-2.0 */
/* "json:{…}" names of images, as QEMU takes them: as settings. */
#ifndef QIMG_SPEC_JSON_H
#define QIMG_SPEC_JSON_H

#include "image/option.h"
#include "tools/qimg/cli.h"

/*
 * Adds to @options what the object in @text says: {"file": {"filename": "x"}}
 * is file.filename=x. Strings may be in single quotes. False, with a message.
 */
bool spec_json_parse(struct image_options *options, const char *text);

#endif
