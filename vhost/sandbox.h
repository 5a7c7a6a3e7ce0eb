/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a vhost-user daemon of any kind gives up once everything that it serves
 * is open: file names before its threads are made, system calls last (see
 * base/sandbox.h). What is left is the socket, guest memory coming and going,
 * the rings; and what the device adds.
 */
#ifndef VHOST_SANDBOX_H
#define VHOST_SANDBOX_H

#include <stddef.h>

#include "base/sandbox.h"

/*
 * @socket_path: the socket that is yet to be made and later removed; or NULL.
 * As sandbox_paths; -ENAMETOOLONG.
 */
int vhost_sandbox_paths(const char *socket_path);

/* As sandbox_system_calls. @names end with NULL; either may be NULL. */
int vhost_sandbox_system_calls(const char *const *names,
			       const unsigned long *ioctls, size_t ioctl_count);

#endif
