/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-blk/blk-sandbox.h"

#include <linux/fs.h>

#include "base/bytes.h"
#include "base/log.h"
#include "vhost/sandbox.h"

/*
 * Reads and writes of images go through io_uring, or plain calls where these
 * are cheaper.
 */
static const char *const names[] = {
	"io_setup", /* at the first batch */
	"io_pgetevents", "io_destroy",	    "pread64", "pwrite64",  "preadv",
	"pwritev",	 "pwritev2",	    "lseek",   "fallocate", "fsync",
	"fdatasync",	 "sync_file_range", NULL,
};

/* Discarding and zeroing block devices, and their sizes. */
static const unsigned long ioctls[] = {
	BLKDISCARD,
	BLKZEROOUT,
	BLKGETSIZE64,
	BLKSSZGET,
};

static int warn(int err, const char *what)
{
	if (err != SANDBOX_E_ABSENT)
		return err;
	log_warning("sandbox: %s in this kernel or this build", what);
	return 0;
}

int blk_sandbox_paths(const char *socket_path)
{
	return warn(vhost_sandbox_paths(socket_path),
		    "file names are not given up: no Landlock");
}

int blk_sandbox_system_calls(void)
{
	return warn(
		vhost_sandbox_system_calls(names, ioctls, ARRAY_SIZE(ioctls)),
		"system calls are not given up: no seccomp filters");
}
