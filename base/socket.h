/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Unix sockets of an endpoint, made ready to be used without waiting:
 * non-blocking and close-on-exec.
 */
#ifndef BASE_SOCKET_H
#define BASE_SOCKET_H

#include <stdbool.h>
#include <sys/types.h>

/* Which file a listening socket is bound to; to unlink that and no other. */
struct socket_file {
	dev_t device;
	ino_t inode;
};

/*
 * Listens at @path. A socket file that is there already is replaced if nobody
 * listens on it; -EADDRINUSE if somebody does, or if it is no socket.
 */
int socket_listen(const char *path, int *ret_fd, struct socket_file *ret_file);

/* Removes @path if it still is @file. */
void socket_unlink(const char *path, const struct socket_file *file);

/* Connects, or fails, at once. */
int socket_connect(const char *path, int *ret_fd);

/*
 * A connection that waits on @listen_fd; -EAGAIN if there is none. Any other
 * error may pass (-EMFILE): try again later.
 */
int socket_accept(int listen_fd, int *ret_fd);

/* Prepares a stream socket that came from outside, and says of which kind. */
int socket_adopt(int fd, bool *ret_listening);

#endif
