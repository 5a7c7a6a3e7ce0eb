/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A frame on its way to a receiver who cannot take it as it is: whole, with its
 * checksum made, or cut into segments. What becomes of it is a *delivery* for
 * each frame that results; whoever has buffers (a receive queue, a device) gets
 * them one by one, and has each written into its own. Each byte is read once.
 *
 * Pure; any thread; no allocation.
 */
#ifndef VHOST_NET_NET_DELIVER_H
#define VHOST_NET_NET_DELIVER_H

#include "base/bytes.h"
#include "vhost-net/net-rx.h"

struct net_delivery {
	struct virtio_net_hdr_v1 header; /* num_buffers is still to be set */
	uint32_t bytes;			 /* of the frame */

	/* For net_delivery_write. */
	struct net_delivery_source *source;
	/* The first bytes, where they are not the source's. */
	const uint8_t *own_head;
	uint16_t own_bytes;
	/* Where the checksum is to be made: from, and the place; 0, 0: not. */
	uint32_t csum_start, csum_place;
};

/* Takes a delivery, which is borrowed. A fault ends the others of its frame. */
typedef enum net_fault (*net_deliver_to)(void *to,
					 const struct net_delivery *delivery);

/* Has @put(to, ...) called for each frame that @frame, which needs @work, becomes.
 * NET_FAULT_NONE, or the fault that it returned. */
enum net_fault net_deliver(const struct net_rx_frame *frame, enum net_work work,
			   net_deliver_to put, void *to);

/* Writes all of the frame to where @to is, which has room for it. Once. */
void net_delivery_write(const struct net_delivery *delivery,
			struct iov_cursor to);

/* Bytes that it has on a network: what a guest sends may be shorter than that takes,
 * and there are devices that stop at a frame of 14 bytes. */
static inline uint32_t
net_delivery_padded_bytes(const struct net_delivery *delivery)
{
	return MAX(delivery->bytes, (uint32_t)NET_MIN_FRAME_BYTES);
}

/* The same, filled up to so many with zeros: nobody else's bytes. */
void net_delivery_write_padded(const struct net_delivery *delivery,
			       struct iov_cursor to);

#endif
