/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a device makes itself, of what a virtio-net header leaves to be made:
 * checksums, and segments of TCP. Which of it is on, which frames it is trusted
 * with, and how an mbuf says so (rte_mbuf_core.h, rte_ethdev.h: rte_eth_tx_prepare).
 *
 * A device gets only frames that every one of its kind reads as we do: IPv4 and IPv6
 * without options, extensions or fragments, one tag at most, of the length that
 * they say. All others, and whatever a header says that is not so, are made in the
 * copy (vhost-net/net-deliver.h). Lengths come from our own parse.
 *
 * Pure, but for what it writes into mbufs and frames.
 */
#ifndef VSWITCH_ETHDEV_OFFLOAD_H
#define VSWITCH_ETHDEV_OFFLOAD_H

#include <rte_ethdev.h>
#include <stdbool.h>
#include <stdint.h>

#include "vhost-net/net-rx.h"

enum {
	ETHDEV_OFFLOAD_NAMES = 4,
};

/* Zeroed: none. */
struct ethdev_offloads {
	uint64_t rx, tx; /* RTE_ETH_RX_OFFLOAD_…, RTE_ETH_TX_OFFLOAD_… */
	/* Buffers that it takes of a frame that it is to cut, and of each packet
	 * that it sends; 0: any number. */
	uint16_t most_buffers, most_packet_buffers;
};

/* Those of the device that are to be on: without @wanted only what has nothing to
 * do with what frames contain. */
struct ethdev_offloads ethdev_offloads_of(const struct rte_eth_dev_info *info,
					  bool wanted);

/* Their names, as a person is shown them; how many. */
unsigned
ethdev_offload_names(const struct ethdev_offloads *offloads,
		     const char *ret_names[static ETHDEV_OFFLOAD_NAMES]);

/* What an mbuf says of a frame. */
struct ethdev_task {
	uint64_t flags; /* RTE_MBUF_F_TX_… */
	uint16_t l2_bytes, l3_bytes, l4_bytes;
	uint16_t segment_bytes; /* of payload; 0: it is not cut */
	uint16_t checksum_at;
	uint16_t pseudo_sum; /* that is there, in memory's order */
	/* The IPv4 header's, of a frame that was to be cut: as with segments
	 * nobody relies on what is there. */
	bool has_ip_sum;
	uint16_t ip_sum;
};

/*
 * Whether the device makes @work of @frame, in buffers of @buffer_bytes, and of it
 * packets of at most @max_bytes. The frame's header was judged.
 */
bool ethdev_offload_out(const struct ethdev_offloads *offloads,
			const struct net_rx_frame *frame, enum net_work work,
			uint32_t buffer_bytes, uint32_t max_bytes,
			struct ethdev_task *ret_task);

/* Has @mbuf, which holds the frame, its headers in the first buffer, say so. */
void ethdev_offload_mark(const struct ethdev_task *task, struct rte_mbuf *mbuf);

/*
 * Has @frame, which is described but for its header, say what the device said of
 * it in @mbuf. A fault: it lacks what nobody can make.
 */
enum net_fault ethdev_offload_in(const struct ethdev_offloads *offloads,
				 const struct rte_mbuf *mbuf,
				 struct net_rx_frame *frame);

#endif
