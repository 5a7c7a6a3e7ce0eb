/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-net/net-copy.h"

#include "base/bytes.h"

/* The bytes left in the current segment, at most @bytes; 0 at the end. */
static inline size_t piece(struct iov_cursor *at, size_t bytes)
{
	while (at->count > 0 && at->skip == at->iov->iov_len) {
		at->iov++;
		at->count--;
		at->skip = 0;
	}
	if (at->count == 0)
		return 0;
	return MIN(bytes, at->iov->iov_len - at->skip);
}

static inline uint8_t *address(const struct iov_cursor *at)
{
	return (uint8_t *)at->iov->iov_base + at->skip;
}

size_t net_copy(struct iov_cursor *to, struct iov_cursor *from, size_t bytes,
		struct net_sum *sum)
{
	size_t left = bytes;

	while (left > 0) {
		size_t now = piece(to, left);

		now = now ? piece(from, now) : 0;
		if (now == 0)
			break;
		if (sum)
			net_sum_copy(sum, address(to), address(from), now);
		else
			memcpy(address(to), address(from), now);
		to->skip += now;
		from->skip += now;
		left -= now;
	}
	return bytes - left;
}
