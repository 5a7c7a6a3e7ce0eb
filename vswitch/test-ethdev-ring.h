/* SPDX-License-Identifier: Apache-2.0 */
/* For unit tests: a device that is a ring, which gives back the mbufs that it gets. */
#ifndef VSWITCH_TEST_ETHDEV_RING_H
#define VSWITCH_TEST_ETHDEV_RING_H

#include "vswitch/ethdev.h"

static inline int test_ring_open(struct ethdev *ret_dev)
{
	const struct ethdev_config config = {
		.devargs = "net_ring0",
		.queues = 1,
		.offloads = true,
	};
	char error[ETHDEV_ERROR_BYTES];

	return ethdev_open(&config, ret_dev, error) < 0 ? -1 : 0;
}

/* -1: of its mbufs some are missing. */
static inline int test_ring_close(struct ethdev *dev)
{
	const bool is_whole = rte_mempool_full(dev->pool);

	ethdev_close(dev);
	return is_whole ? 0 : -1;
}

#endif
