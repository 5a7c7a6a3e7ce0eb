/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any frame with any virtio-net header: what passes the judge has its checksum
 * inside the frame, and can be cut into segments that are, one by one, what
 * the segment says, with all of the payload in them once.
 *
 * Input: eight bytes of features, a struct virtio_net_hdr_v1, two bytes of
 * frame length, and the first bytes of the frame.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "vhost-net/net-segment.h"

enum {
	AT_HEADER = 8,
	AT_LENGTH = AT_HEADER + sizeof(struct virtio_net_hdr_v1),
	AT_FRAME = AT_LENGTH + 2,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
	if (!condition)
		abort();
}

static void check_layout(const struct net_frame *frame, size_t bytes)
{
	require(frame->tags <= NET_MAX_TAGS);
	require(frame->l3_offset <= bytes);
	if (frame->l4 != NET_L4_NONE) {
		require(frame->l3 != NET_L3_NONE);
		require(frame->l3_offset < frame->l4_offset);
		require(frame->l4_offset < frame->payload_offset);
		require(frame->payload_offset <= bytes);
	}
}

static void cut(const struct virtio_net_hdr_v1 *header,
		const struct net_frame *frame, const uint8_t *head,
		uint32_t frame_bytes)
{
	struct net_segmenter segmenter;
	struct net_segment segment;
	uint32_t at = frame->payload_offset;

	net_segmenter_init(&segmenter, header, frame, head, frame_bytes);
	while (net_segmenter_next(&segmenter, &segment)) {
		require(segment.head_bytes == frame->payload_offset);
		require(segment.payload_offset == at);
		require(segment.payload_bytes <= le16toh(header->gso_size));
		require(segment.csum_place + 2u <= segment.head_bytes);
		require(segment.csum_start < segment.csum_place);
		at += segment.payload_bytes;
	}
	require(at == frame_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct virtio_net_hdr_v1 header;
	struct net_frame frame;
	uint8_t *head;
	size_t bytes;
	uint32_t frame_bytes;
	uint64_t features;

	if (size < AT_FRAME + NET_ETHERNET_BYTES)
		return 0;
	bytes = MIN(size - AT_FRAME, (size_t)NET_COPY_BYTES);
	/* A sanitizer sees one byte over. */
	head = malloc(bytes);
	memcpy(head, data + AT_FRAME, bytes);
	memcpy(&header, data + AT_HEADER, sizeof(header));
	features = get_le64(data);
	frame_bytes = bytes < NET_COPY_BYTES
			      ? bytes
			      : bytes + get_le16(data + AT_LENGTH);
	net_frame_parse(head, bytes, &frame);
	check_layout(&frame, bytes);
	if (net_header_judge(&header, &frame, frame_bytes, features) ==
	    NET_FAULT_NONE) {
		if (header.flags)
			require(le16toh(header.csum_start) +
					le16toh(header.csum_offset) + 2u <=
				frame_bytes);
		net_header_work(&header, &frame, features);
		if (header.gso_type != VIRTIO_NET_HDR_GSO_NONE)
			cut(&header, &frame, head, frame_bytes);
	}
	free(head);
	return 0;
}
