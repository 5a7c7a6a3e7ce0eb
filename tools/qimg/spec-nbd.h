/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settings of --image-opts and json: that mean an NBD export: driver=nbd or
 * file.driver=nbd, with those of image/nbd-address.h; and how long its server
 * may take, in seconds: open-timeout, as QEMU has it, and reply-timeout.
 */
#ifndef QIMG_SPEC_NBD_H
#define QIMG_SPEC_NBD_H

#include "image/open.h"
#include "image/option.h"

bool spec_nbd_is_meant(const struct image_options *options);

/* Whether @setting is one of these. */
bool spec_nbd_has_setting(const char *setting);

/* The address, to be freed; NULL, with a message about @name. */
char *spec_nbd_address(const struct image_options *options, const char *name);

/* Sets the request's; false, with a message about @name. */
bool spec_nbd_timeouts(const struct image_options *options, const char *name,
		       struct image_open_request *request);

#endif
