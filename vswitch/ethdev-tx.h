/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes out by a queue of a DPDK device. A frame is copied once, into mbufs;
 * checksums that are still to be made, and segments that it is to be cut into, are
 * the device's (vswitch/ethdev-offload.h). What it cannot do, or refuses
 * (rte_eth_tx_prepare), is made in that copy, with the code that does so for guests.
 *
 * One thread at a time. No allocation but of mbufs.
 */
#ifndef VSWITCH_ETHDEV_TX_H
#define VSWITCH_ETHDEV_TX_H

#include "vhost-net/net-rx.h"
#include "vswitch/ethdev.h"
#include "vswitch/offload.h"

struct ethdev_tx {
	uint16_t id, queue; /* DPDK's */
	uint32_t max_frame_bytes;
	struct rte_mempool *pool; /* borrowed */
	struct ethdev_offloads offloads;
	unsigned count;	  /* mbufs that wait for the flush, … */
	unsigned buffers; /* … each of one or more */
	struct rte_mbuf *mbufs[ETHDEV_BURST];
	uint64_t frames_total, bytes_total;
	/* NO_BUFFER: the device's ring or its pool; OVERSIZE: its MTU. */
	uint64_t faults[NET_FAULTS];
	/* Of frames that were put; the ring may have had no room for them. */
	uint64_t made[OFFLOADS];
};

void ethdev_tx_put(struct ethdev_tx *tx, const struct net_rx_frame *frame);
/* Hands over what was put. */
void ethdev_tx_flush(struct ethdev_tx *tx);

#endif
