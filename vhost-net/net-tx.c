/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A frame is put in three steps. `gather` takes chains until their writable
 * bytes hold it, or gives all of them back. `fill` writes the header, copies
 * head and rest, and stores the checksum if it has to be made. `put_chains`
 * gives each chain back with its share of the bytes.
 *
 * The writable segments of all chains lie one behind the other in one array,
 * so that filling knows nothing of chains.
 */
#include "vhost-net/net-tx.h"

#include "base/bytes.h"
#include "vhost-net/net-copy.h"
#include "vhost-net/net-segment.h"

/* Where the bytes of a frame come from: a private copy, then guest memory. */
struct source {
	struct iovec head_iov;
	struct iov_cursor head;
	struct iov_cursor rest;
};

/* One frame for the driver. */
struct delivery {
	struct virtio_net_hdr_v1 header; /* num_buffers is still to be set */
	/* The first bytes, where they are not the source's. */
	const uint8_t *own_head;
	uint16_t own_bytes;
	struct source *source;
	uint32_t bytes; /* of the whole frame */
	/* Where the checksum is to be made: from, and the place; 0, 0: not. */
	uint32_t csum_start;
	uint32_t csum_place;
};

struct gathered {
	unsigned chains;
	unsigned segments;
	uint64_t bytes;
};

void net_tx_start(struct net_tx *tx, struct virtq *vq, uint64_t features,
		  uint16_t header_bytes)
{
	tx->vq = vq;
	tx->features = features;
	tx->header_bytes = header_bytes;
	tx->room = (struct net_tx_room){0};
}

static void source_init(struct source *source, const struct net_rx_frame *frame,
			size_t skip)
{
	source->head_iov =
		(struct iovec){(void *)frame->head, frame->head_bytes};
	source->head = iov_cursor(&source->head_iov, 1);
	source->rest = frame->rest;
	iov_skip(&source->head, skip);
}

static size_t source_copy(struct source *source, struct iov_cursor *to,
			  size_t bytes, struct net_sum *sum)
{
	size_t done = net_copy(to, &source->head, bytes, sum);

	return done + net_copy(to, &source->rest, bytes - done, sum);
}

/* What the driver offers to be read is none of a receive queue's. */
static void pass_over_readable(struct virtq_chain *chain)
{
	if (chain->out_count == 0)
		return;
	memmove(chain->iov, chain->iov + chain->out_count,
		chain->in_count * sizeof(*chain->iov));
	chain->out_count = 0;
}

/* Takes one chain whose writable segments join those gathered. */
static int gather_chain(struct net_tx *tx, struct gathered *all)
{
	struct virtq_chain *chain = &tx->chains[all->chains];
	int err;

	chain->iov = tx->iov + all->segments;
	chain->iov_max = NET_TX_SEGMENTS - all->segments;
	err = virtq_get(tx->vq, chain);
	if (err)
		return err;
	pass_over_readable(chain);
	all->chains++;
	all->segments += chain->in_count;
	all->bytes += chain->in_bytes;
	return 0;
}

static unsigned most_chains(const struct net_tx *tx)
{
	return tx->features & NET_FEATURE(MRG_RXBUF) ? NET_MAX_MERGED : 1;
}

/*
 * Chains for @wanted bytes, or none. A chain of too many segments is given
 * back unused: no frame will ever go into it.
 */
static enum net_fault gather(struct net_tx *tx, uint64_t wanted,
			     struct gathered *all)
{
	int err = 0;

	all->chains = all->segments = 0;
	all->bytes = 0;
	while (all->bytes < wanted && all->chains < most_chains(tx) && !err)
		err = gather_chain(tx, all);
	if (all->bytes >= wanted)
		return NET_FAULT_NONE;
	if (err == VIRTQ_E_TOO_LONG && all->chains == 0) {
		virtq_put(tx->vq, &tx->chains[0], 0);
		return NET_FAULT_LAYOUT;
	}
	if (err == VIRTQ_E_TOO_LONG)
		all->chains++;
	virtq_unget(tx->vq, tx->chains, all->chains);
	return err == VIRTQ_E_EMPTY || err == VIRTQ_E_BROKEN
		       ? NET_FAULT_NO_BUFFER
		       : NET_FAULT_SMALL_BUFFER;
}

static void write_header(const struct net_tx *tx, struct iov_cursor *to,
			 const struct delivery *delivery, unsigned chains)
{
	struct virtio_net_hdr_v1 header = delivery->header;

	/* 1 without merged buffers, too (5.1.6.4.1). */
	header.num_buffers = htole16(chains);
	iov_write(to, &header, sizeof(header));
	iov_fill(to, 0, tx->header_bytes - sizeof(header));
}

/* The bytes of the frame from @at up to @end. */
static void write_bytes(const struct delivery *delivery, struct iov_cursor *to,
			uint32_t at, uint32_t end, struct net_sum *sum)
{
	if (at < delivery->own_bytes) {
		struct iovec own = {(void *)(delivery->own_head + at),
				    MIN(end, delivery->own_bytes) - at};
		struct iov_cursor from = iov_cursor(&own, 1);

		at += net_copy(to, &from, own.iov_len, sum);
	}
	source_copy(delivery->source, to, end - at, sum);
}

static void fill(struct net_tx *tx, const struct delivery *delivery,
		 const struct gathered *all)
{
	struct iov_cursor to = iov_cursor(tx->iov, all->segments);
	struct iov_cursor place;
	struct net_sum sum = {0};
	uint8_t checksum[2];

	write_header(tx, &to, delivery, all->chains);
	place = to;
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

/*
 * The usual frame, which nothing is to be done to, into buffers whose first
 * segment holds the header and what was copied. False: it does not.
 */
static bool fill_whole(struct net_tx *tx, const struct net_rx_frame *frame,
		       const struct gathered *all)
{
	const unsigned begun = tx->header_bytes + frame->head_bytes;
	struct virtio_net_hdr_v1 *header = tx->iov[0].iov_base;
	struct iov_cursor to, from;

	if (tx->iov[0].iov_len < begun || tx->header_bytes != sizeof(*header))
		return false;
	memcpy(header, &frame->header,
	       offsetof(struct virtio_net_hdr_v1, num_buffers));
	header->num_buffers = htole16(all->chains);
	net_copy_head((uint8_t *)(header + 1), frame->head, frame->head_bytes);
	if (frame->bytes == frame->head_bytes)
		return true;
	to.iov = tx->iov;
	to.count = all->segments;
	to.skip = begun;
	from.iov = frame->rest.iov;
	from.count = frame->rest.count;
	from.skip = frame->rest.skip;
	net_copy(&to, &from, frame->bytes - frame->head_bytes, NULL);
	return true;
}

static void put_chains(struct net_tx *tx, const struct virtq_chain *chains,
		       unsigned count, uint64_t bytes)
{
	for (unsigned i = 0; i < count; i++) {
		uint64_t share = MIN(bytes, chains[i].in_bytes);

		virtq_put(tx->vq, &chains[i], share);
		bytes -= share;
	}
}

/* Buffers that hold a frame of @bytes have it. */
static void end_frame(struct net_tx *tx, const struct gathered *all,
		      uint32_t bytes)
{
	put_chains(tx, tx->chains, all->chains,
		   (uint64_t)tx->header_bytes + bytes);
	tx->frames_total++;
	tx->bytes_total += bytes;
}

static enum net_fault deliver(struct net_tx *tx,
			      const struct delivery *delivery)
{
	struct gathered all;
	enum net_fault fault =
		gather(tx, (uint64_t)tx->header_bytes + delivery->bytes, &all);

	if (fault)
		return fault;
	fill(tx, delivery, &all);
	end_frame(tx, &all, delivery->bytes);
	return NET_FAULT_NONE;
}

static enum net_fault deliver_whole(struct net_tx *tx,
				    const struct net_rx_frame *frame)
{
	struct gathered all;
	enum net_fault fault =
		gather(tx, (uint64_t)tx->header_bytes + frame->bytes, &all);

	if (fault)
		return fault;
	if (!fill_whole(tx, frame, &all)) {
		struct source source;
		const struct delivery delivery = {
			.header = frame->header,
			.source = &source,
			.bytes = frame->bytes,
		};

		source_init(&source, frame, 0);
		fill(tx, &delivery, &all);
	}
	end_frame(tx, &all, frame->bytes);
	return NET_FAULT_NONE;
}

static enum net_fault deliver_summed(struct net_tx *tx,
				     const struct net_rx_frame *frame)
{
	const uint32_t start = le16toh(frame->header.csum_start);
	struct source source;
	const struct delivery delivery = {
		.source = &source,
		.bytes = frame->bytes,
		.csum_start = start,
		.csum_place = start + le16toh(frame->header.csum_offset),
	};

	source_init(&source, frame, 0);
	return deliver(tx, &delivery);
}

static enum net_fault deliver_segments(struct net_tx *tx,
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

enum net_fault net_tx_put(struct net_tx *tx, const struct net_rx_frame *frame)
{
	enum net_work work =
		net_header_work(&frame->header, &frame->layout, tx->features);
	enum net_fault fault;

	switch (work) {
	case NET_WORK_SEGMENT:
		fault = deliver_segments(tx, frame);
		break;
	case NET_WORK_CHECKSUM:
		fault = deliver_summed(tx, frame);
		break;
	default:
		fault = deliver_whole(tx, frame);
	}
	tx->faults[fault] += fault != NET_FAULT_NONE;
	return fault;
}

/* Moves what is held to the front of both arrays. */
static void room_compact(struct net_tx *tx)
{
	struct net_tx_room *room = &tx->room;

	memmove(tx->chains, tx->chains + room->first,
		room->chains * sizeof(*tx->chains));
	memmove(tx->iov, tx->iov + room->segment,
		room->segments * sizeof(*tx->iov));
	for (unsigned i = 0; i < room->chains; i++)
		tx->chains[i].iov -= room->segment;
	room->first = room->segment = 0;
}

/* One more chain. A chain that is too long is left in the ring. */
static int room_add(struct net_tx *tx)
{
	struct net_tx_room *room = &tx->room;
	struct virtq_chain *chain;
	unsigned at;
	int err;

	/* The segments of a usual chain, and more, must find a place. */
	if (room->first + room->chains == NET_MAX_MERGED ||
	    room->segment + room->segments > NET_TX_SEGMENTS / 2)
		room_compact(tx);
	if (room->chains == NET_MAX_MERGED)
		return VIRTQ_E_TOO_LONG;
	chain = &tx->chains[room->first + room->chains];
	at = room->segment + room->segments;
	chain->iov = tx->iov + at;
	chain->iov_max = NET_TX_SEGMENTS - at;
	err = virtq_get(tx->vq, chain);
	if (err == VIRTQ_E_TOO_LONG)
		virtq_unget(tx->vq, chain, 1);
	if (err)
		return err;
	pass_over_readable(chain);
	room->chains++;
	room->segments += chain->in_count;
	room->bytes += chain->in_bytes;
	return 0;
}

/* Without merged buffers a frame has one chain, whatever its size. */
static bool room_may_grow(const struct net_tx *tx)
{
	return tx->room.chains < most_chains(tx);
}

enum net_fault net_tx_reserve(struct net_tx *tx, uint32_t frame_bytes,
			      struct iovec *ret_iov, unsigned max,
			      unsigned *ret_count, uint32_t *ret_bytes)
{
	const uint64_t wanted = (uint64_t)tx->header_bytes + frame_bytes;
	struct net_tx_room *room = &tx->room;
	struct iov_cursor at;
	size_t bytes;
	int err = 0;

	/* What is left of frames that each had a chain. */
	if (room->chains > most_chains(tx))
		net_tx_release(tx);
	while (room->bytes < wanted && room_may_grow(tx) && !err)
		err = room_add(tx);
	at.iov = tx->iov + room->segment;
	at.count = room->segments;
	at.skip = 0;
	iov_skip(&at, tx->header_bytes);
	*ret_count = iov_slice(&at, frame_bytes, ret_iov, max, &bytes);
	*ret_bytes = bytes;
	if (bytes == frame_bytes)
		return NET_FAULT_NONE;
	if (err == VIRTQ_E_EMPTY || err == VIRTQ_E_BROKEN)
		return NET_FAULT_NO_BUFFER;
	return room->bytes < wanted ? NET_FAULT_SMALL_BUFFER : NET_FAULT_LAYOUT;
}

enum net_fault net_tx_reserve_chain(struct net_tx *tx, unsigned index,
				    uint32_t least_bytes, uint32_t frame_bytes,
				    struct iovec *ret_iov, unsigned max,
				    unsigned *ret_count, uint32_t *ret_bytes)
{
	const struct net_tx_room *room = &tx->room;
	const struct virtq_chain *chain;
	struct iov_cursor at;
	size_t bytes, room_bytes;
	int err = 0;

	while (room->chains <= index && !err)
		err = room_add(tx);
	if (err)
		return err == VIRTQ_E_TOO_LONG ? NET_FAULT_LAYOUT
					       : NET_FAULT_NO_BUFFER;
	chain = &tx->chains[room->first + index];
	if (chain->in_bytes < (uint64_t)tx->header_bytes + least_bytes)
		return NET_FAULT_SMALL_BUFFER;
	room_bytes =
		MIN(chain->in_bytes - tx->header_bytes, (uint64_t)frame_bytes);
	at = iov_cursor(chain->iov, chain->in_count);
	iov_skip(&at, tx->header_bytes);
	*ret_count = iov_slice(&at, room_bytes, ret_iov, max, &bytes);
	*ret_bytes = bytes;
	return bytes == room_bytes ? NET_FAULT_NONE : NET_FAULT_LAYOUT;
}

void net_tx_commit(struct net_tx *tx, const struct virtio_net_hdr_v1 *header,
		   uint32_t frame_bytes)
{
	const uint64_t bytes = (uint64_t)tx->header_bytes + frame_bytes;
	const struct delivery delivery = {.header = *header};
	struct net_tx_room *room = &tx->room;
	struct iov_cursor to =
		iov_cursor(tx->iov + room->segment, room->segments);
	unsigned used = 0;

	for (uint64_t held = 0; held < bytes; used++)
		held += tx->chains[room->first + used].in_bytes;
	write_header(tx, &to, &delivery, used);
	put_chains(tx, &tx->chains[room->first], used, bytes);
	for (; used > 0; used--, room->first++, room->chains--) {
		const struct virtq_chain *chain = &tx->chains[room->first];

		room->segment += chain->in_count;
		room->segments -= chain->in_count;
		room->bytes -= chain->in_bytes;
	}
	tx->frames_total++;
	tx->bytes_total += frame_bytes;
}

void net_tx_release(struct net_tx *tx)
{
	virtq_unget(tx->vq, tx->chains + tx->room.first, tx->room.chains);
	tx->room = (struct net_tx_room){0};
}

void net_tx_done(struct net_tx *tx)
{
	virtq_flush(tx->vq);
}
