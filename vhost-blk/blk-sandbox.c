/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-blk/blk-sandbox.h"

#include <linux/fs.h>

#include "base/bytes.h"

/*
 * Reads and writes of images go through io_uring, or plain calls where these
 * are cheaper.
 */
const char *const blk_sandbox_names[] = {
	"io_setup", /* at the first batch */
	"io_pgetevents", "io_destroy",	    "pread64", "pwrite64",  "preadv",
	"pwritev",	 "pwritev2",	    "lseek",   "fallocate", "fsync",
	"fdatasync",	 "sync_file_range", NULL,
};

/* Discarding and zeroing block devices, and their sizes. */
const unsigned long blk_sandbox_ioctls[] = {
	BLKDISCARD,
	BLKZEROOUT,
	BLKGETSIZE64,
	BLKSSZGET,
};
const size_t blk_sandbox_ioctl_count = ARRAY_SIZE(blk_sandbox_ioctls);
