/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/mirror.h"

#include "base/barrier.h"

void mirror_send(const struct mirror_set *set,
		 const struct forward_table *table,
		 const struct net_rx_frame *const *frames, const uint8_t *wants,
		 unsigned count, uint64_t now_ns)
{
	const struct net_rx_frame *copies[NET_BURST];

	for (unsigned m = 0; m < set->count; m++) {
		struct forward_port *to =
			load_acquire(&table->ports[set->to[m]]);
		unsigned n = 0;

		for (unsigned i = 0; i < count; i++)
			if (wants[i] >> m & 1)
				copies[n++] = frames[i];
		/* The port is perhaps just being removed. */
		if (n > 0 && to)
			forward_send(to, copies, n, now_ns);
	}
}
