/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/ethdev-tx.h"

#include "base/bytes.h"
#include "vhost-net/net-copy.h"
#include "vhost-net/net-segment.h"

enum {
	/* Of the largest frame in the smallest buffers. */
	MAX_SEGMENTS = NET_MAX_FRAME_BYTES / 1024 + 1,
};

/* Where the bytes of a frame come from: a private copy, then guest memory. */
struct source {
	struct iovec head_iov;
	struct iov_cursor head, rest;
};

/* One frame for the device. */
struct delivery {
	/* The first bytes, where they are not the source's. */
	const uint8_t *own_head;
	uint16_t own_bytes;
	struct source *source;
	uint32_t bytes; /* of the whole frame */
	/* Where the checksum is to be made: from, and the place; 0, 0: not. */
	uint32_t csum_start, csum_place;
};

static void source_init(struct source *source, const struct net_rx_frame *frame,
			size_t skip)
{
	source->head_iov =
		(struct iovec){(void *)frame->head, frame->head_bytes};
	source->head = iov_cursor(&source->head_iov, 1);
	source->rest = frame->rest;
	iov_skip(&source->head, skip);
}

/* Buffers for @bytes as one frame, and where they are; NULL: there are none. */
static struct rte_mbuf *make_mbuf(const struct ethdev_tx *tx, uint32_t bytes,
				  struct iovec *iov, unsigned *ret_count)
{
	struct rte_mbuf *first = NULL, **next = &first;
	unsigned count = 0;

	for (uint32_t left = bytes; left > 0; count++) {
		struct rte_mbuf *m = count < MAX_SEGMENTS
					     ? rte_pktmbuf_alloc(tx->pool)
					     : NULL;

		if (!m) {
			rte_pktmbuf_free(first);
			return NULL;
		}
		*next = m;
		next = &m->next;
		m->data_len = MIN(left, rte_pktmbuf_tailroom(m));
		iov[count] = (struct iovec){rte_pktmbuf_mtod(m, void *),
					    m->data_len};
		left -= m->data_len;
		/* What is freed half-way has to be whole, too. */
		first->nb_segs = count + 1;
	}
	first->pkt_len = bytes;
	*ret_count = count;
	return first;
}

/* The bytes of the frame from @at up to @end. */
static void write_bytes(const struct delivery *delivery, struct iov_cursor *to,
			uint32_t at, uint32_t end, struct net_sum *sum)
{
	struct source *source = delivery->source;
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

static void fill(const struct delivery *delivery, struct iov_cursor to)
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

static enum net_fault deliver(struct ethdev_tx *tx,
			      const struct delivery *delivery)
{
	struct iovec iov[MAX_SEGMENTS];
	struct rte_mbuf *mbuf;
	unsigned count;

	if (delivery->bytes > tx->max_frame_bytes)
		return NET_FAULT_OVERSIZE;
	mbuf = make_mbuf(tx, delivery->bytes, iov, &count);
	if (!mbuf)
		return NET_FAULT_NO_BUFFER;
	fill(delivery, iov_cursor(iov, count));
	tx->mbufs[tx->count++] = mbuf;
	if (tx->count == ETHDEV_BURST)
		ethdev_tx_flush(tx);
	return NET_FAULT_NONE;
}

static enum net_fault deliver_segments(struct ethdev_tx *tx,
				       const struct net_rx_frame *frame)
{
	struct net_segmenter segmenter;
	struct net_segment segment;
	struct source source;
	enum net_fault fault = NET_FAULT_NONE;

	/* The source moves on from payload to payload. */
	source_init(&source, frame, frame->layout.payload_offset);
	net_segmenter_init(&segmenter, &frame->header, &frame->layout,
			   frame->head, frame->bytes);
	while (!fault && net_segmenter_next(&segmenter, &segment)) {
		const struct delivery delivery = {
			.own_head = segment.head,
			.own_bytes = segment.head_bytes,
			.source = &source,
			.bytes = segment.head_bytes + segment.payload_bytes,
			.csum_start = segment.csum_start,
			.csum_place = segment.csum_place,
		};

		fault = deliver(tx, &delivery);
	}
	return fault;
}

static enum net_fault deliver_one(struct ethdev_tx *tx,
				  const struct net_rx_frame *frame,
				  bool wants_checksum)
{
	const uint32_t start = le16toh(frame->header.csum_start);
	struct source source;
	struct delivery delivery = {
		.source = &source,
		.bytes = frame->bytes,
	};

	if (wants_checksum) {
		delivery.csum_start = start;
		delivery.csum_place =
			start + le16toh(frame->header.csum_offset);
	}
	source_init(&source, frame, 0);
	return deliver(tx, &delivery);
}

void ethdev_tx_put(struct ethdev_tx *tx, const struct net_rx_frame *frame)
{
	const enum net_work work =
		net_header_work(&frame->header, &frame->layout, 0);
	const enum net_fault fault =
		work == NET_WORK_SEGMENT
			? deliver_segments(tx, frame)
			: deliver_one(tx, frame, work == NET_WORK_CHECKSUM);

	tx->faults[fault] += fault != NET_FAULT_NONE;
}

void ethdev_tx_flush(struct ethdev_tx *tx)
{
	uint64_t bytes[ETHDEV_BURST];
	unsigned sent;

	if (tx->count == 0)
		return;
	/* The device may have freed them by the time it says so. */
	for (unsigned i = 0; i < tx->count; i++)
		bytes[i] = tx->mbufs[i]->pkt_len;
	sent = rte_eth_tx_burst(tx->id, tx->queue, tx->mbufs, tx->count);
	for (unsigned i = 0; i < sent; i++)
		tx->bytes_total += bytes[i];
	tx->frames_total += sent;
	tx->faults[NET_FAULT_NO_BUFFER] += tx->count - sent;
	rte_pktmbuf_free_bulk(tx->mbufs + sent, tx->count - sent);
	tx->count = 0;
}
