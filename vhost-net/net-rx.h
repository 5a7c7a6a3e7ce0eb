/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frames that a guest sends: its transmit queue, seen from the device.
 * virtio 1.2, 5.1.6.2.
 *
 * A burst lends frames that lie in guest memory. Of each, the virtio-net header
 * and the first NET_COPY_BYTES are copied out, once, and judged; the rest is
 * named by segments and read by whoever copies the frame to where it goes. The
 * chains are given back together, when the burst is done, those of frames that
 * do not pass, which are counted, with them.
 *
 * No allocation, no lock, no call into the system. The thread that serves the
 * queue.
 */
#ifndef VHOST_NET_NET_RX_H
#define VHOST_NET_NET_RX_H

#include "base/iov.h"
#include "vhost-net/net-header.h"
#include "vhost/virtq.h"

enum {
	NET_BURST = 64,
	/* Segments of one frame; a chain of more is a fault. */
	NET_MAX_SEGMENTS = 1024,
	/* Those of a burst: a burst ends before they could run out. */
	NET_BURST_SEGMENTS = NET_MAX_SEGMENTS + NET_BURST * 20,
};

struct net_rx_frame {
	struct virtio_net_hdr_v1 header; /* judged */
	struct net_frame layout;
	uint32_t bytes;		/* of the frame, without virtio-net header */
	uint16_t head_bytes;	/* what was copied of it */
	struct iov_cursor rest; /* guest memory: behind the head */
	uint8_t head[NET_HEAD_BYTES];
};

struct net_rx {
	struct virtq *vq;  /* borrowed */
	uint64_t features; /* negotiated */
	uint16_t header_bytes;
	/* Taken and not given back; the single ones are the older. */
	unsigned single_count, chain_count;
	uint64_t frames_total, bytes_total;
	uint64_t faults[NET_FAULTS];
	struct virtq_single singles[NET_BURST];
	struct virtq_chain chains[NET_BURST];
	struct net_rx_frame frames[NET_BURST];
	struct iovec iov[NET_BURST_SEGMENTS];
};

/*
 * For the started queue @vq of a driver that negotiated @features, whose
 * headers have @header_bytes: those of struct virtio_net_hdr_v1, or more with
 * VIRTIO_NET_F_HASH_REPORT, which are skipped. Counters stay.
 */
void net_rx_start(struct net_rx *rx, struct virtq *vq, uint64_t features,
		  uint16_t header_bytes);

/*
 * Takes up to @max frames, at most NET_BURST: rx->frames[0 … n-1], n returned.
 * The burst before must be done. After the last call, virtq_error tells
 * whether the ring broke: what was lent before is still good.
 */
unsigned net_rx_burst(struct net_rx *rx, unsigned max);

/*
 * Gives all chains of the burst back and publishes them. Notify afterwards. To be
 * called after a burst of no frames, too.
 */
void net_rx_done(struct net_rx *rx);

/*
 * Takes up to @max frames off a queue that is switched off and gives them back
 * at once, counted. virtio 1.2, 5.1.6; vhost-user, "Ring states".
 */
void net_rx_discard(struct net_rx *rx, unsigned max);

/* Of a vhost-user-net device of today: VERSION_1 only. */
static inline uint16_t net_header_bytes(uint64_t features)
{
	return features & NET_FEATURE(HASH_REPORT)
		       ? sizeof(struct virtio_net_hdr_v1_hash)
		       : sizeof(struct virtio_net_hdr_v1);
}

#endif
