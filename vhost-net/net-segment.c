/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-net/net-segment.h"

#include <netinet/in.h>

#include "base/bytes.h"
#include "vhost-net/net-checksum.h"

enum {
	/* In the IPv4 header. */
	AT_TOTAL_LENGTH = 2,
	AT_IDENTIFICATION = 4,
	AT_IPV4_CHECKSUM = 10,
	AT_IPV4_SOURCE = 12,
	IPV4_ADDRESS_BYTES = 4,
	/* In the IPv6 header. */
	AT_PAYLOAD_LENGTH = 4,
	AT_IPV6_SOURCE = 8,
	IPV6_ADDRESS_BYTES = 16,
	IPV6_BYTES = 40,
	/* In the TCP header. */
	AT_SEQUENCE = 4,
	AT_FLAGS = 13,
	FLAG_FIN = 0x01,
	FLAG_PSH = 0x08,
	FLAG_CWR = 0x80,
	/* In the UDP header. */
	AT_UDP_LENGTH = 4,
};

void net_segmenter_init(struct net_segmenter *segmenter,
			const struct virtio_net_hdr_v1 *header,
			const struct net_frame *frame, const uint8_t *head,
			uint32_t frame_bytes)
{
	*segmenter = (struct net_segmenter){
		.frame = *frame,
		.payload_bytes = frame_bytes - frame->payload_offset,
		.gso_size = le16toh(header->gso_size),
		.has_ecn = header->gso_type & VIRTIO_NET_HDR_GSO_ECN,
	};
	memcpy(segmenter->head, head, frame->payload_offset);
}

uint32_t net_segmenter_count(const struct net_segmenter *segmenter)
{
	uint32_t count =
		div_round_up(segmenter->payload_bytes, segmenter->gso_size);

	return MAX(count, 1u);
}

static void set_ipv4(const struct net_segmenter *segmenter, uint8_t *ip,
		     uint32_t packet_bytes)
{
	const size_t header_bytes =
		segmenter->frame.l4_offset - segmenter->frame.l3_offset;
	struct net_sum sum = {0};
	uint16_t id = get_be16(ip + AT_IDENTIFICATION);

	put_be16(ip + AT_TOTAL_LENGTH, packet_bytes);
	put_be16(ip + AT_IDENTIFICATION, id + segmenter->number);
	put_be16(ip + AT_IPV4_CHECKSUM, 0);
	net_sum_add(&sum, ip, header_bytes);
	net_sum_store(&sum, ip + AT_IPV4_CHECKSUM);
}

/* RFC 9293, 3.1; RFC 8200, 8.1: addresses, protocol, length. */
static uint16_t pseudo_header(const struct net_segmenter *segmenter,
			      const uint8_t *ip, uint32_t l4_bytes)
{
	struct net_sum sum = {0};

	if (segmenter->frame.l3 == NET_L3_IPV4)
		net_sum_add(&sum, ip + AT_IPV4_SOURCE, 2 * IPV4_ADDRESS_BYTES);
	else
		net_sum_add(&sum, ip + AT_IPV6_SOURCE, 2 * IPV6_ADDRESS_BYTES);
	net_sum_add_u16(&sum, segmenter->frame.l4 == NET_L4_TCP ? IPPROTO_TCP
								: IPPROTO_UDP);
	/* At most 64 KiB: the upper half of the length is zero. */
	net_sum_add_u16(&sum, l4_bytes);
	return net_sum_fold(&sum);
}

static void set_network(const struct net_segmenter *segmenter, uint8_t *head,
			uint32_t frame_bytes)
{
	uint8_t *ip = head + segmenter->frame.l3_offset;
	uint32_t packet_bytes = frame_bytes - segmenter->frame.l3_offset;

	if (segmenter->frame.l3 == NET_L3_IPV4)
		set_ipv4(segmenter, ip, packet_bytes);
	else
		put_be16(ip + AT_PAYLOAD_LENGTH, packet_bytes - IPV6_BYTES);
}

/* Urgent data and options stay as they are: in each segment, as with NICs. */
static void set_tcp(const struct net_segmenter *segmenter, uint8_t *tcp,
		    bool is_last)
{
	uint32_t sequence = get_be32(tcp + AT_SEQUENCE);

	put_be32(tcp + AT_SEQUENCE, sequence + segmenter->done_bytes);
	if (!is_last)
		tcp[AT_FLAGS] &= ~(FLAG_FIN | FLAG_PSH);
	/* The window shrank once: RFC 3168, 6.1.2. */
	if (segmenter->has_ecn && segmenter->number > 0)
		tcp[AT_FLAGS] &= ~FLAG_CWR;
}

static void set_transport(const struct net_segmenter *segmenter, uint8_t *head,
			  uint32_t l4_bytes, bool is_last)
{
	uint8_t *l4 = head + segmenter->frame.l4_offset;
	const uint8_t *ip = head + segmenter->frame.l3_offset;
	uint16_t sum = pseudo_header(segmenter, ip, l4_bytes);

	if (segmenter->frame.l4 == NET_L4_TCP)
		set_tcp(segmenter, l4, is_last);
	else
		put_be16(l4 + AT_UDP_LENGTH, l4_bytes);
	memcpy(l4 + net_frame_checksum_at(&segmenter->frame), &sum,
	       sizeof(sum));
}

bool net_segmenter_next(struct net_segmenter *segmenter,
			struct net_segment *ret_segment)
{
	const struct net_frame *frame = &segmenter->frame;
	const uint32_t left = segmenter->payload_bytes - segmenter->done_bytes;
	const uint32_t payload_bytes = MIN(left, segmenter->gso_size);
	const uint32_t bytes = frame->payload_offset + payload_bytes;

	if (left == 0 && segmenter->number > 0)
		return false;
	memcpy(ret_segment->head, segmenter->head, frame->payload_offset);
	set_network(segmenter, ret_segment->head, bytes);
	set_transport(segmenter, ret_segment->head, bytes - frame->l4_offset,
		      payload_bytes == left);
	ret_segment->head_bytes = frame->payload_offset;
	ret_segment->payload_offset =
		frame->payload_offset + segmenter->done_bytes;
	ret_segment->payload_bytes = payload_bytes;
	ret_segment->csum_start = frame->l4_offset;
	ret_segment->csum_place =
		frame->l4_offset + net_frame_checksum_at(frame);
	segmenter->done_bytes += payload_bytes;
	segmenter->number++;
	return true;
}
