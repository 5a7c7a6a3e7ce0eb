/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ownership of file descriptors by locals. `autoclose int fd = ...` closes at
 * the end of the scope whatever is still there; `fd_take(&fd)` hands it over.
 * Every descriptor in this project is close-on-exec.
 */
#ifndef BASE_FD_H
#define BASE_FD_H

#include <unistd.h>

static inline void fd_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static inline int fd_take(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

#define autoclose __attribute__((cleanup(fd_close)))

#endif
