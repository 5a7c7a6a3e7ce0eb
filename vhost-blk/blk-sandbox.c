/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-blk/blk-sandbox.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <linux/fs.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/sandbox.h"

/*
 * What is needed after start. Reads and writes of images go through io_uring,
 * or plain calls where these are cheaper; the rest is the socket, and guest
 * memory coming and going.
 */
static const char *const names[] = {
	/* the rings */
	"io_uring_enter",
	"io_uring_register",
	"io_setup",  /* at the first batch */
	"io_submit", /* and of vhost/doorbell.c, as the next two */
	"vmsplice",
	"io_getevents",
	"io_pgetevents",
	"io_destroy",
	/* images */
	"pread64",
	"pwrite64",
	"preadv",
	"pwritev",
	"preadv2",
	"pwritev2",
	"lseek",
	"fallocate",
	"ftruncate",
	"fsync",
	"fdatasync",
	"sync_file_range",
	"fstat",
	"newfstatat",
	"statx",
	"fstatfs",
	/* the socket, and what came over it */
	"accept",
	"accept4",
	"connect",
	"recvmsg",
	"recvfrom",
	"sendmsg",
	"sendto",
	"shutdown",
	"getsockopt",
	"setsockopt",
	"getsockname",
	"memfd_create",
	"fcntl",
	"dup",
	"dup3",
	"eventfd2",
	"timerfd_settime",
	"poll",
	"ppoll",
	"unlink",
	"unlinkat",
	/* libc's threads */
	"tgkill",
	"prlimit64",
	NULL,
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
	char copy[PATH_MAX];

	if (socket_path && strlen(socket_path) >= sizeof(copy))
		return -ENAMETOOLONG;
	if (socket_path)
		strcpy(copy, socket_path);
	return warn(sandbox_paths(socket_path ? dirname(copy) : NULL),
		    "file names are not given up: no Landlock");
}

int blk_sandbox_system_calls(void)
{
	const struct sandbox_calls calls = {
		.names = names,
		.ioctls = ioctls,
		.ioctl_count = ARRAY_SIZE(ioctls),
		.unix_sockets = true,
	};

	return warn(sandbox_system_calls(&calls),
		    "system calls are not given up: no seccomp filters");
}
