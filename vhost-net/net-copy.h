/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies between scattered buffers, from one guest's memory to another's,
 * perhaps summing on the way. Each byte is read once.
 *
 * Pure; any thread.
 */
#ifndef VHOST_NET_NET_COPY_H
#define VHOST_NET_NET_COPY_H

#include "base/iov.h"
#include "vhost-net/net-checksum.h"

/*
 * Moves both cursors on by the bytes copied: @bytes, or less when either
 * side's buffers end. @sum may be NULL.
 */
size_t net_copy(struct iov_cursor *to, struct iov_cursor *from, size_t bytes,
		struct net_sum *sum);

#endif
