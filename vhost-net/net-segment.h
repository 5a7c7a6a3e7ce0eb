/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segmentation in software, for a receiver that did not negotiate it: one TCP
 * or UDP frame of up to 64 KiB becomes frames of at most gso_size bytes of
 * payload, each with headers of its own. virtio 1.2, 5.1.6.2; RFC 9293 and, for
 * the identification of IPv4 packets, RFC 6864.
 *
 * Only headers are made here. The payload stays where it is: a segment names
 * its range, and its checksum field holds the sum of the pseudo header, so
 * that whoever copies the payload finishes the checksum on the way.
 *
 * Pure; any thread; no allocation.
 */
#ifndef VHOST_NET_NET_SEGMENT_H
#define VHOST_NET_NET_SEGMENT_H

#include "vhost-net/net-header.h"

struct net_segmenter {
	struct net_frame frame;
	uint8_t head[NET_HEAD_BYTES]; /* of the whole frame */
	uint32_t payload_bytes;
	uint32_t done_bytes;
	uint16_t gso_size;
	uint16_t number; /* of the next one */
	bool has_ecn;
};

/* One frame of its own. Offsets are bytes from the start of the whole frame. */
struct net_segment {
	uint8_t head[NET_HEAD_BYTES];
	uint16_t head_bytes;
	uint32_t payload_offset;
	uint32_t payload_bytes; /* 0: the only segment of a frame with none */
	/* The checksum to finish: over [csum_start, end), stored at place. */
	uint16_t csum_start;
	uint16_t csum_place;
};

/*
 * Begins to cut a frame of @frame_bytes whose first bytes (at least its
 * payload_offset) are at @head. @header passed net_header_judge with @frame
 * and has a gso_type.
 */
void net_segmenter_init(struct net_segmenter *segmenter,
			const struct virtio_net_hdr_v1 *header,
			const struct net_frame *frame, const uint8_t *head,
			uint32_t frame_bytes);

/* How many there are in all; at least one. */
uint32_t net_segmenter_count(const struct net_segmenter *segmenter);

/* False when all were given out. */
bool net_segmenter_next(struct net_segmenter *segmenter,
			struct net_segment *ret_segment);

#endif
