/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost/sandbox.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <string.h>

static const char *const vhost_names[] = {
	/* the loops; the calls of vhost/doorbell.c */
	"io_uring_enter",
	"io_uring_register",
	"io_submit",
	"io_getevents",
	"vmsplice",
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
	"ftruncate",
	"fstat",
	"newfstatat",
	"statx",
	"fstatfs",
	"fcntl",
	"dup",
	"dup3",
	"eventfd2",
	"timerfd_settime",
	"preadv2",
	"poll",
	"ppoll",
	"unlink",
	"unlinkat",
	/* libc's threads */
	"tgkill",
	"prlimit64",
	NULL,
};

int vhost_sandbox_paths(const char *socket_path)
{
	char copy[PATH_MAX];
	const char *folders[2] = {NULL};

	if (socket_path && strlen(socket_path) >= sizeof(copy))
		return -ENAMETOOLONG;
	if (socket_path)
		folders[0] = dirname(strcpy(copy, socket_path));
	return sandbox_paths(folders, NULL);
}

int vhost_sandbox_system_calls(const char *const *names,
			       const unsigned long *ioctls, size_t ioctl_count)
{
	const struct sandbox_calls calls = {
		.names = vhost_names,
		.more_names = names,
		.ioctls = ioctls,
		.ioctl_count = ioctl_count,
		.unix_sockets = true,
	};

	return sandbox_system_calls(&calls);
}
