/* SPDX-License-Identifier: Apache-2.0 */
/* The names of images: what they say, and how they are shown. */
#ifndef QIMG_SPEC_NAME_H
#define QIMG_SPEC_NAME_H

#include "image/option.h"

/*
 * Adds to @ret what @name says, as settings: "json:{…}", a list with
 * @image_opts, "blkdebug:…"; nothing for a path. False, with a message.
 */
bool spec_name_parse(const char *name, bool image_opts,
		     struct image_options *ret);

/* A path without "file:" before it; points into @name. */
const char *spec_name_path(const char *name);

/* @path so that nothing in it can be taken for a scheme; to be freed. */
char *spec_name_plain(const char *path);

#endif
