/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loaded before a program's libraries: a kernel that is busy. The first BUSY_CALLS
 * times that it is asked to look at what lies in a ring of an AF_XDP socket it asks to
 * be asked again, as it does while a queue of the device is stopped.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

EXPORT ssize_t sendto(int fd, const void *bytes, size_t length, int flags,
		      const struct sockaddr *to, socklen_t to_length)
{
	static long left = -1;

	if (left < 0)
		left = strtol(getenv("BUSY_CALLS"), NULL, 10);
	if (length == 0 && left > 0) {
		left--;
		errno = EAGAIN;
		return -1;
	}
	return syscall(SYS_sendto, fd, bytes, length, flags, to, to_length);
}
