/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio-net header in front of each frame, judged before anybody acts on
 * it: virtio 1.2, 5.1.6 "Device Operation".
 *
 * A header that passes describes work that can be done: a checksum whose place
 * lies in the frame, or a TCP or UDP packet of a known layout to be cut into
 * segments. What the driver was not to say (offloads that it did not
 * negotiate, flags meant for the other direction) is a fault or is taken out.
 *
 * Pure; any thread.
 */
#ifndef VHOST_NET_NET_HEADER_H
#define VHOST_NET_NET_HEADER_H

#include <linux/virtio_net.h>
#include <stddef.h>
#include <stdint.h>

#include "vhost-net/net-frame.h"

/* virtio 1.3, 5.1.3: newer than the headers of some kernels. */
#ifndef VIRTIO_NET_F_GUEST_USO4
#define VIRTIO_NET_F_GUEST_USO4 54
#define VIRTIO_NET_F_GUEST_USO6 55
#define VIRTIO_NET_F_HOST_USO	56
#endif
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

#define NET_FEATURE(name) (UINT64_C(1) << VIRTIO_NET_F_##name)

/* Why a frame is dropped, or NET_FAULT_NONE. Each has a counter and a name. */
enum net_fault {
	NET_FAULT_NONE,
	NET_FAULT_RUNT,		/* shorter than an Ethernet header */
	NET_FAULT_OVERSIZE,	/* longer than NET_MAX_FRAME_BYTES */
	NET_FAULT_LAYOUT,	/* no room for the header, or buffers of the
				* wrong direction */
	NET_FAULT_OFFLOAD,	/* asks for what was not negotiated */
	NET_FAULT_CHECKSUM,	/* its place lies outside the frame */
	NET_FAULT_GSO_TYPE,	/* unknown */
	NET_FAULT_GSO_SIZE,	/* 0 */
	NET_FAULT_GSO_PACKET,	/* the frame is no such packet */
	NET_FAULT_NO_BUFFER,	/* the receiver offers none */
	NET_FAULT_SMALL_BUFFER, /* the receiver's are too short for it */
	NET_FAULT_LOST_MEMORY,	/* guest memory went away in the middle */
	NET_FAULT_RECOVERED,	/* a killed process may have sent it already */
	NET_FAULT_DISABLED,	/* the queue is switched off */
	NET_FAULT_DEVICE,	/* a device on the host lost it */
	NET_FAULTS,
};

/* As metrics call it: "runt", "gso-size". */
const char *net_fault_name(enum net_fault fault);

/* It asks for nothing, judged or not; its other fields have no meaning then. */
static inline bool net_header_is_plain(const struct virtio_net_hdr_v1 *header)
{
	return !(header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) &&
	       header->gso_type == VIRTIO_NET_HDR_GSO_NONE;
}

/*
 * Judges the header that a driver sent with a frame of @frame_bytes, parsed as
 * @frame, under the negotiated @features (bits as in the header's name
 * VIRTIO_NET_F_…), and makes it one that can be passed on: flags that only a
 * device may set, and fields without meaning, are cleared; hdr_len becomes
 * what it really is. Fields are little-endian, as on the wire.
 *
 * @frame_bytes is at least NET_ETHERNET_BYTES.
 */
enum net_fault net_header_judge(struct virtio_net_hdr_v1 *header,
				const struct net_frame *frame,
				uint32_t frame_bytes, uint64_t features);

/*
 * What a receiver with @features cannot take of a judged @header, and somebody
 * has to do for it. A device's frame may say beside that that its checksum is
 * good (VIRTIO_NET_HDR_F_DATA_VALID), and nothing else then.
 */
enum net_work {
	NET_WORK_NONE,
	NET_WORK_HEADER,   /* it is not to be told that a checksum is good */
	NET_WORK_CHECKSUM, /* it wants whole checksums */
	NET_WORK_SEGMENT,  /* it wants no such GSO frame */
};
enum net_work net_header_work(const struct virtio_net_hdr_v1 *header,
			      const struct net_frame *frame, uint64_t features);

#endif
