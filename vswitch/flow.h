/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which frames belong together: what spreads frames over the queues of a port
 * leaves those of one flow in order.
 *
 * Pure; any thread.
 */
#ifndef VSWITCH_FLOW_H
#define VSWITCH_FLOW_H

#include <linux/if_ether.h>
#include <rte_hash_crc.h>
#include <string.h>

#include "base/bytes.h"
#include "vhost-net/net-rx.h"

/* The same for all frames of a flow. */
static inline uint32_t flow_hash(const struct net_rx_frame *frame)
{
	const struct net_frame *layout = &frame->layout;
	const uint8_t *l3 = frame->head + layout->l3_offset;
	/* The hash reads words, and addresses lie anywhere. */
	uint64_t addresses[4] = {0};
	uint32_t hash;

	if (layout->l3 == NET_L3_IPV4)
		memcpy(addresses, l3 + 12, 8);
	else if (layout->l3 == NET_L3_IPV6)
		memcpy(addresses, l3 + 8, 32);
	else
		memcpy(addresses, frame->head, 2 * ETH_ALEN);
	hash = rte_hash_crc(addresses, sizeof(addresses), 0);
	/* Of fragments only the first has ports. */
	if (layout->l4 != NET_L4_NONE && !layout->is_fragment)
		hash = rte_hash_crc_4byte(
			get_be32(frame->head + layout->l4_offset), hash);
	return hash;
}

/* Which of @queues, at most 64, each of @count frames goes by, in @ret_choice; a bit
 * for each that is chosen. */
static inline uint64_t flow_choose(const struct net_rx_frame *const *frames,
				   unsigned count, unsigned queues,
				   uint8_t *ret_choice)
{
	uint64_t chosen = 0;

	for (unsigned i = 0; i < count; i++) {
		ret_choice[i] = queues > 1 ? flow_hash(frames[i]) % queues : 0;
		chosen |= UINT64_C(1) << ret_choice[i];
	}
	return chosen;
}

#endif
