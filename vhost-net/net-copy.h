/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies between scattered buffers, from one guest's memory to another's,
 * perhaps summing on the way. Each byte is read once.
 *
 * Pure; any thread.
 */
#ifndef VHOST_NET_NET_COPY_H
#define VHOST_NET_NET_COPY_H

#include <string.h>

#include "base/iov.h"
#include "vhost-net/net-checksum.h"
#include "vhost-net/net-frame.h"

/*
 * Moves both cursors on by the bytes copied: @bytes, or less when either
 * side's buffers end. @sum may be NULL.
 */
size_t net_copy(struct iov_cursor *to, struct iov_cursor *from, size_t bytes,
		struct net_sum *sum);

/*
 * The first @bytes of a frame between two single pieces. Frames are mostly
 * either small or larger than what is copied of them, and copies of a known
 * size take no call. Where two of them meet the later one counts, for us as
 * for the receiver.
 */
static inline void net_copy_head(uint8_t *to, const uint8_t *from,
				 unsigned bytes)
{
	enum {
		HALF = NET_COPY_BYTES / 2,
		QUARTER = NET_COPY_BYTES / 4,
	};

	if (bytes == NET_COPY_BYTES) {
		memcpy(to, from, NET_COPY_BYTES);
	} else if (bytes > HALF && bytes < NET_COPY_BYTES) {
		memcpy(to, from, HALF);
		memcpy(to + bytes - HALF, from + bytes - HALF, HALF);
	} else if (bytes >= QUARTER && bytes <= HALF) {
		memcpy(to, from, QUARTER);
		memcpy(to + bytes - QUARTER, from + bytes - QUARTER, QUARTER);
	} else {
		/* Small, or with a tag that a switch put in. */
		memcpy(to, from, bytes);
	}
}

#endif
