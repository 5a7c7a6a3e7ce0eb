/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the daemon gives up once everything that it serves is open, so that a
 * guest who took it over would find little to use: file names before the I/O
 * threads are made, system calls last (see base/sandbox.h). A kernel or a build
 * without either is no error: what could not be done is logged.
 */
#ifndef VHOST_BLK_BLK_SANDBOX_H
#define VHOST_BLK_BLK_SANDBOX_H

/*
 * @socket_path: the socket that is yet to be made and later removed; or NULL.
 * A negative errno if the kernel has Landlock and refused.
 */
int blk_sandbox_paths(const char *socket_path);

/* A negative errno if the kernel has seccomp and refused. */
int blk_sandbox_system_calls(void);

#endif
