/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Internet checksum (RFC 1071), alone or while copying. A sum may be fed
 * piece by piece, of any lengths, as frames lie in descriptors.
 *
 * Sums are kept in the machine's byte order and come out right for memory:
 * what net_sum_fold returns is stored with net_sum_store, never swapped.
 *
 * Pure; any thread.
 */
#ifndef VHOST_NET_NET_CHECKSUM_H
#define VHOST_NET_NET_CHECKSUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeroed: the sum of nothing. Good for at least 4 GiB. */
struct net_sum {
	uint64_t sum;
	bool is_odd; /* an odd number of bytes so far */
};

void net_sum_add(struct net_sum *sum, const void *data, size_t bytes);

/* Copies too, which do not overlap. */
void net_sum_copy(struct net_sum *sum, void *to, const void *from,
		  size_t bytes);

/* A number of 16 bits as if its two bytes, in network order, were summed. */
void net_sum_add_u16(struct net_sum *sum, uint16_t value);

/* The sum in 16 bits, not complemented: what a checksum field begins with. */
uint16_t net_sum_fold(const struct net_sum *sum);

/*
 * Stores the checksum, the complement of @sum, at @place; all ones where it
 * would be zero, which UDP takes for no checksum and which means the same to
 * all others (RFC 768).
 */
void net_sum_store(const struct net_sum *sum, void *place);

#endif
