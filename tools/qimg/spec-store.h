/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an image lies in if that is no file: driver=null-co (or null-aio), or
 * file.driver=null-co below a format, is zeroes and keeps nothing; to see what
 * a format, a conversion or a machine takes without a disk.
 */
#ifndef QIMG_SPEC_STORE_H
#define QIMG_SPEC_STORE_H

#include "image/open.h"
#include "image/option.h"
#include "tools/qimg/spec-faults.h"

/* Whether @options, or @name alone if there are none, mean such a store. */
bool spec_store_is_meant(const struct image_options *options, const char *name);

/* Whether a driver of that name is one of them, and no format. */
bool spec_store_is_driver(const char *driver);

/* Whether @setting is one of theirs. */
bool spec_store_has_setting(const char *setting);

/*
 * Makes @request->store, or leaves it NULL if that is to be the file at its
 * path; some calls of it fail, if @faults say so. False, with a message.
 */
bool spec_store_open(const struct image_options *options,
		     const struct spec_faults *faults, const char *name,
		     struct image_open_request *request);

#endif
