/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-net/net-deliver.h"

#include "base/bytes.h"
#include "vhost-net/net-copy.h"
#include "vhost-net/net-segment.h"

/* Where the bytes of a frame come from: a private copy, then guest memory. */
struct net_delivery_source {
	struct iovec head_iov;
	struct iov_cursor head, rest;
};

static void source_init(struct net_delivery_source *source,
			const struct net_rx_frame *frame, size_t skip)
{
	source->head_iov =
		(struct iovec){(void *)frame->head, frame->head_bytes};
	source->head = iov_cursor(&source->head_iov, 1);
	source->rest = frame->rest;
	iov_skip(&source->head, skip);
}

/* --- writing ---------------------------------------------------------------- */

/* The bytes of the frame from @at up to @end. */
static void write_bytes(const struct net_delivery *delivery,
			struct iov_cursor *to, uint32_t at, uint32_t end,
			struct net_sum *sum)
{
	struct net_delivery_source *source = delivery->source;
	size_t done;

	if (at < delivery->own_bytes) {
		struct iovec own = {(void *)(delivery->own_head + at),
				    MIN(end, delivery->own_bytes) - at};
		struct iov_cursor from = iov_cursor(&own, 1);

		at += net_copy(to, &from, own.iov_len, sum);
	}
	done = net_copy(to, &source->head, end - at, sum);
	net_copy(to, &source->rest, end - at - done, sum);
}

void net_delivery_write(const struct net_delivery *delivery,
			struct iov_cursor to)
{
	struct iov_cursor place = to;
	struct net_sum sum = {0};
	uint8_t checksum[2];

	if (delivery->csum_place == 0) {
		write_bytes(delivery, &to, 0, delivery->bytes, NULL);
		return;
	}
	write_bytes(delivery, &to, 0, delivery->csum_start, NULL);
	write_bytes(delivery, &to, delivery->csum_start, delivery->bytes, &sum);
	net_sum_store(&sum, checksum);
	iov_skip(&place, delivery->csum_place);
	iov_write(&place, checksum, sizeof(checksum));
}

void net_delivery_write_padded(const struct net_delivery *delivery,
			       struct iov_cursor to)
{
	struct iov_cursor behind = to;

	net_delivery_write(delivery, to);
	iov_skip(&behind, delivery->bytes);
	iov_fill(&behind, 0,
		 net_delivery_padded_bytes(delivery) - delivery->bytes);
}

/* --- deliveries ------------------------------------------------------------- */

static enum net_fault deliver_whole(const struct net_rx_frame *frame,
				    const struct virtio_net_hdr_v1 *header,
				    net_deliver_to put, void *to)
{
	struct net_delivery_source source;
	const struct net_delivery delivery = {
		.header = *header,
		.source = &source,
		.bytes = frame->bytes,
	};

	source_init(&source, frame, 0);
	return put(to, &delivery);
}

static enum net_fault deliver_summed(const struct net_rx_frame *frame,
				     net_deliver_to put, void *to)
{
	const uint32_t start = le16toh(frame->header.csum_start);
	struct net_delivery_source source;
	const struct net_delivery delivery = {
		.source = &source,
		.bytes = frame->bytes,
		.csum_start = start,
		.csum_place = start + le16toh(frame->header.csum_offset),
	};

	source_init(&source, frame, 0);
	return put(to, &delivery);
}

static enum net_fault deliver_segments(const struct net_rx_frame *frame,
				       net_deliver_to put, void *to)
{
	struct net_segmenter segmenter;
	struct net_segment segment;
	struct net_delivery_source source;
	enum net_fault fault = NET_FAULT_NONE;

	/* The source moves on from payload to payload. */
	source_init(&source, frame, frame->layout.payload_offset);
	net_segmenter_init(&segmenter, &frame->header, &frame->layout,
			   frame->head, frame->bytes);
	while (!fault && net_segmenter_next(&segmenter, &segment)) {
		const struct net_delivery delivery = {
			.own_head = segment.head,
			.own_bytes = segment.head_bytes,
			.source = &source,
			.bytes = segment.head_bytes + segment.payload_bytes,
			.csum_start = segment.csum_start,
			.csum_place = segment.csum_place,
		};

		fault = put(to, &delivery);
	}
	return fault;
}

enum net_fault net_deliver(const struct net_rx_frame *frame, enum net_work work,
			   net_deliver_to put, void *to)
{
	static const struct virtio_net_hdr_v1 none;

	switch (work) {
	case NET_WORK_SEGMENT:
		return deliver_segments(frame, put, to);
	case NET_WORK_CHECKSUM:
		return deliver_summed(frame, put, to);
	case NET_WORK_HEADER:
		return deliver_whole(frame, &none, put, to);
	default:
		return deliver_whole(frame, &frame->header, put, to);
	}
}
