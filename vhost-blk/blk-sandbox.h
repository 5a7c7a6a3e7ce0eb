/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the daemon keeps of the system calls beside those of every vhost-user
 * daemon (vhost/sandbox.h).
 */
#ifndef VHOST_BLK_BLK_SANDBOX_H
#define VHOST_BLK_BLK_SANDBOX_H

#include <stddef.h>

extern const char *const blk_sandbox_names[]; /* NULL at the end */
extern const unsigned long blk_sandbox_ioctls[];
extern const size_t blk_sandbox_ioctl_count;

#endif
