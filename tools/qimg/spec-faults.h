/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QEMU's blkdebug driver, as far as it is of use to see what errors do to an
 * image: "blkdebug:CONFIG:PATH", or driver=blkdebug with image.… below a format
 * or above one, and inject-error rules in its settings or in the CONFIG file.
 *
 * A rule is one of calls to the file (image/fault-store.h): event "none" or
 * (once the image is open) read_aio, write_aio, flush_to_disk, flush_to_os, with
 * iotype, errno, sector and once. QEMU's other events are places in its code, and
 * are refused; so are rules above a format other than raw, where sectors would be
 * the guest's.
 */
#ifndef QIMG_SPEC_FAULTS_H
#define QIMG_SPEC_FAULTS_H

#include "image/fault-store.h"
#include "image/option.h"
#include "tools/qimg/cli.h"

enum {
	SPEC_MAX_FAULTS = 64,
};

struct spec_faults {
	bool meant;	   /* there is such a driver */
	bool above_format; /* it is not below one */
	size_t count;
	struct store_fault all[SPEC_MAX_FAULTS];
};

/* "blkdebug:CONFIG:PATH" as settings; nothing of another name. */
bool spec_faults_parse_name(struct image_options *options, const char *name);

/*
 * Takes the driver's settings out of @options, so that what was below it takes
 * its place. False, with a message about @name.
 */
bool spec_faults_take(struct image_options *options, const char *name,
		      struct spec_faults *ret);

#endif
