/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-net/net-header.h"

#include "base/bytes.h"

enum {
	CHECKSUM_BYTES = 2,
	IPV6_BYTES = 40, /* which its length leaves out */
};

static const char *const fault_names[NET_FAULTS] = {
	[NET_FAULT_NONE] = "none",
	[NET_FAULT_RUNT] = "runt",
	[NET_FAULT_OVERSIZE] = "oversize",
	[NET_FAULT_LAYOUT] = "layout",
	[NET_FAULT_OFFLOAD] = "offload",
	[NET_FAULT_CHECKSUM] = "checksum",
	[NET_FAULT_GSO_TYPE] = "gso-type",
	[NET_FAULT_GSO_SIZE] = "gso-size",
	[NET_FAULT_GSO_PACKET] = "gso-packet",
	[NET_FAULT_NO_BUFFER] = "no-buffer",
	[NET_FAULT_SMALL_BUFFER] = "small-buffer",
	[NET_FAULT_LOST_MEMORY] = "lost-memory",
	[NET_FAULT_RECOVERED] = "recovered",
	[NET_FAULT_DISABLED] = "disabled",
	[NET_FAULT_DEVICE] = "device",
};

const char *net_fault_name(enum net_fault fault)
{
	return fault_names[fault];
}

/* What a GSO type demands of the frame, and of either side's features. */
struct gso {
	uint8_t type;
	uint8_t l3;
	uint8_t l4;
	uint64_t host;	/* a driver may send it */
	uint64_t guest; /* a driver takes it */
};

static const struct gso gso_kinds[] = {
	{VIRTIO_NET_HDR_GSO_TCPV4, NET_L3_IPV4, NET_L4_TCP,
	 NET_FEATURE(HOST_TSO4), NET_FEATURE(GUEST_TSO4)},
	{VIRTIO_NET_HDR_GSO_TCPV6, NET_L3_IPV6, NET_L4_TCP,
	 NET_FEATURE(HOST_TSO6), NET_FEATURE(GUEST_TSO6)},
	{VIRTIO_NET_HDR_GSO_UDP_L4, NET_L3_IPV4, NET_L4_UDP,
	 NET_FEATURE(HOST_USO), NET_FEATURE(GUEST_USO4)},
	{VIRTIO_NET_HDR_GSO_UDP_L4, NET_L3_IPV6, NET_L4_UDP,
	 NET_FEATURE(HOST_USO), NET_FEATURE(GUEST_USO6)},
};

static const struct gso *find_gso(uint8_t gso_type,
				  const struct net_frame *frame)
{
	const uint8_t type = gso_type & ~VIRTIO_NET_HDR_GSO_ECN;
	const struct gso *same_type = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(gso_kinds); i++) {
		if (gso_kinds[i].type != type)
			continue;
		same_type = &gso_kinds[i];
		if (same_type->l3 == frame->l3)
			break;
	}
	return same_type;
}

static enum net_fault judge_checksum(const struct virtio_net_hdr_v1 *header,
				     uint32_t frame_bytes, uint64_t features)
{
	uint32_t start = le16toh(header->csum_start);
	uint32_t place = start + le16toh(header->csum_offset);

	if (!(features & NET_FEATURE(CSUM)))
		return NET_FAULT_OFFLOAD;
	if (start < NET_ETHERNET_BYTES ||
	    !range_fits(place, CHECKSUM_BYTES, frame_bytes))
		return NET_FAULT_CHECKSUM;
	return NET_FAULT_NONE;
}

/* Whether the IP header can say how long the packet is. */
static bool ip_length_fits(const struct net_frame *frame, uint32_t frame_bytes)
{
	uint32_t packet_bytes = frame_bytes - frame->l3_offset;

	if (frame->l3 == NET_L3_IPV6)
		packet_bytes -= IPV6_BYTES;
	return packet_bytes <= UINT16_MAX;
}

/* Whether @frame is a packet that can be cut as @gso says. */
static bool can_be_cut(const struct virtio_net_hdr_v1 *header,
		       const struct gso *gso, const struct net_frame *frame,
		       uint32_t frame_bytes)
{
	return frame->l3 == gso->l3 && frame->l4 == gso->l4 &&
	       !frame->is_fragment && !frame->has_routing_header &&
	       frame->payload_offset <= frame_bytes &&
	       ip_length_fits(frame, frame_bytes) &&
	       le16toh(header->csum_start) == frame->l4_offset &&
	       le16toh(header->csum_offset) == net_frame_checksum_at(frame);
}

static enum net_fault judge_gso(const struct virtio_net_hdr_v1 *header,
				const struct net_frame *frame,
				uint32_t frame_bytes, uint64_t features)
{
	const struct gso *gso = find_gso(header->gso_type, frame);
	const bool ecn = header->gso_type & VIRTIO_NET_HDR_GSO_ECN;

	if (!gso || (ecn && gso->l4 != NET_L4_TCP))
		return NET_FAULT_GSO_TYPE;
	if (!(features & gso->host) ||
	    (ecn && !(features & NET_FEATURE(HOST_ECN))))
		return NET_FAULT_OFFLOAD;
	if (header->gso_size == 0)
		return NET_FAULT_GSO_SIZE;
	/* 5.1.6.2.1: the driver MUST ask for a checksum, too. */
	if (!(header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) ||
	    !can_be_cut(header, gso, frame, frame_bytes))
		return NET_FAULT_GSO_PACKET;
	return NET_FAULT_NONE;
}

enum net_fault net_header_judge(struct virtio_net_hdr_v1 *header,
				const struct net_frame *frame,
				uint32_t frame_bytes, uint64_t features)
{
	enum net_fault fault = NET_FAULT_NONE;

	if (frame_bytes > NET_MAX_FRAME_BYTES)
		return NET_FAULT_OVERSIZE;
	header->flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM;
	header->num_buffers = 0;
	if (header->flags)
		fault = judge_checksum(header, frame_bytes, features);
	else
		header->csum_start = header->csum_offset = 0;
	if (fault)
		return fault;
	if (header->gso_type == VIRTIO_NET_HDR_GSO_NONE) {
		header->gso_size = header->hdr_len = 0;
		return NET_FAULT_NONE;
	}
	fault = judge_gso(header, frame, frame_bytes, features);
	if (!fault)
		header->hdr_len = htole16(frame->payload_offset);
	return fault;
}

enum net_work net_header_work(const struct virtio_net_hdr_v1 *header,
			      const struct net_frame *frame, uint64_t features)
{
	if (header->flags == 0)
		return NET_WORK_NONE;
	/* 5.1.6.4.1: without the feature the device sets no flag. */
	if (!(header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
		return features & NET_FEATURE(GUEST_CSUM) ? NET_WORK_NONE
							  : NET_WORK_HEADER;
	if (header->gso_type != VIRTIO_NET_HDR_GSO_NONE) {
		const struct gso *gso = find_gso(header->gso_type, frame);

		if (!(features & NET_FEATURE(GUEST_CSUM)) ||
		    !(features & gso->guest) ||
		    ((header->gso_type & VIRTIO_NET_HDR_GSO_ECN) &&
		     !(features & NET_FEATURE(GUEST_ECN))))
			return NET_WORK_SEGMENT;
	}
	return features & NET_FEATURE(GUEST_CSUM) ? NET_WORK_NONE
						  : NET_WORK_CHECKSUM;
}
