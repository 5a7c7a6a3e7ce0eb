/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes in by a queue of a DPDK device, lent as frames. The head is copied
 * and judged, the rest stays in the mbufs until the burst is done.
 *
 * Whatever a network sends is a frame or is counted. What the device looked at, or
 * left to be made, the frame's header says (vswitch/ethdev-offload.h); of all else
 * whoever gets the frame looks for itself. A tag that the device took off is put
 * back.
 *
 * The thread that serves the queue.
 */
#ifndef VSWITCH_ETHDEV_RX_H
#define VSWITCH_ETHDEV_RX_H

#include "vhost-net/net-rx.h"
#include "vswitch/ethdev.h"

enum {
	/* Buffers of one frame; the largest frame in usual ones. */
	ETHDEV_MAX_SEGMENTS = 40,
};

struct ethdev_rx {
	uint16_t id, queue; /* DPDK's */
	struct ethdev_offloads offloads;
	uint32_t most_bytes; /* of a frame: what is longer is none */
	uint16_t held;	     /* mbufs that are lent now, or will be */
	uint64_t frames_total, bytes_total;
	uint64_t faults[NET_FAULTS];
	struct rte_mbuf *mbufs[ETHDEV_BURST];
	struct net_rx_frame frames[ETHDEV_BURST];
	struct iovec iov[ETHDEV_BURST * ETHDEV_MAX_SEGMENTS];
};

/*
 * A descriptor that becomes readable when frames come in while the queue's
 * interrupt is enabled, to be read as an eventfd's; -1: there is none. The
 * device's, which was started with interrupts.
 */
int ethdev_rx_fd(const struct ethdev_rx *rx);

/* Whether there are frames: they are the next burst, which has to come. */
bool ethdev_rx_look(struct ethdev_rx *rx);
/* rx->frames[0 … n-1], n returned. The burst before must be done. */
unsigned ethdev_rx_burst(struct ethdev_rx *rx);
void ethdev_rx_done(struct ethdev_rx *rx);

/* Makes @frame of @mbuf, which stays the caller's, as does @iov, of
 * ETHDEV_MAX_SEGMENTS, while the frame is used. Pure. */
enum net_fault ethdev_rx_describe(const struct ethdev_offloads *offloads,
				  const struct rte_mbuf *mbuf,
				  struct iovec *iov,
				  struct net_rx_frame *ret_frame);

#endif
