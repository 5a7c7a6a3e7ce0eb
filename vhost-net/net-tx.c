/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A frame is put in three steps. `gather` takes chains until their writable
 * bytes hold it, or gives all of them back. `fill` writes the header and what
 * follows it (vhost-net/net-deliver.h). `put_chains` gives each chain back with
 * its share of the bytes.
 *
 * The writable segments of all chains lie one behind the other in one array,
 * so that filling knows nothing of chains.
 */
#include "vhost-net/net-tx.h"

#include "base/bytes.h"
#include "vhost-net/net-copy.h"
#include "vhost-net/net-deliver.h"

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
	tx->single_bytes = 0;
	tx->single_run = NET_BURST;
	tx->room = (struct net_tx_room){0};
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
static inline int gather_chain(struct net_tx *tx, struct gathered *all)
{
	struct virtq_chain *chain = &tx->chains[all->chains];
	int err;

	chain->iov = tx->iov + all->segments;
	chain->iov_max = NET_TX_SEGMENTS - all->segments;
	err = virtq_get(tx->vq, chain);
	if (err)
		return err;
	pass_over_readable(chain);
	tx->single_bytes = chain->in_bytes;
	all->chains++;
	all->segments += chain->in_count;
	all->bytes += chain->in_bytes;
	return 0;
}

static unsigned most_chains(const struct net_tx *tx)
{
	return tx->features & NET_FEATURE(MRG_RXBUF) ? NET_MAX_MERGED : 1;
}

/* More chains, after what taking the first one said. */
static __attribute__((noinline)) enum net_fault
gather_more(struct net_tx *tx, uint64_t wanted, int err, struct gathered *all)
{
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

/*
 * Chains for @wanted bytes, or none. A chain of too many segments is given
 * back unused: no frame will ever go into it.
 */
static inline enum net_fault gather(struct net_tx *tx, uint64_t wanted,
				    struct gathered *all)
{
	int err;

	*all = (struct gathered){0};
	err = gather_chain(tx, all);
	if (err == 0 && all->bytes >= wanted)
		return NET_FAULT_NONE;
	return gather_more(tx, wanted, err, all);
}

static void write_header(const struct net_tx *tx, struct iov_cursor *to,
			 const struct virtio_net_hdr_v1 *judged,
			 unsigned chains)
{
	struct virtio_net_hdr_v1 header = *judged;

	/* 1 without merged buffers, too (5.1.6.4.1). */
	header.num_buffers = htole16(chains);
	iov_write(to, &header, sizeof(header));
	iov_fill(to, 0, tx->header_bytes - sizeof(header));
}

static void fill(struct net_tx *tx, const struct net_delivery *delivery,
		 const struct gathered *all)
{
	struct iov_cursor to = iov_cursor(tx->iov, all->segments);

	write_header(tx, &to, &delivery->header, all->chains);
	net_delivery_write(delivery, to);
}

/* To @at, wherever the driver likes that to be; what comes behind it. */
static inline uint8_t *
put_header(uint8_t *at, const struct virtio_net_hdr_v1 *header, unsigned chains)
{
	const size_t count_at = offsetof(struct virtio_net_hdr_v1, num_buffers);

	memcpy(at, header, count_at);
	put_le16(at + count_at, chains);
	return at + sizeof(*header);
}

/*
 * What lies behind the head, behind where that is put. By field: loaded in larger
 * pieces than they were just stored in, a core waits for them.
 */
static __attribute__((noinline)) void put_rest(const struct iovec *iov,
					       unsigned segments,
					       const struct net_rx_frame *frame)
{
	struct iov_cursor from,
		to = {
			.iov = iov,
			.count = segments,
			.skip = sizeof(struct virtio_net_hdr_v1) +
				frame->head_bytes,
		};

	from.iov = frame->rest.iov;
	from.count = frame->rest.count;
	from.skip = frame->rest.skip;
	net_copy(&to, &from, frame->bytes - frame->head_bytes, NULL);
}

/*
 * The usual frame, which nothing is to be done to, into buffers whose first
 * segment holds the header and what was copied. False: it does not.
 */
static inline bool fill_whole(const struct net_tx *tx, const struct iovec *iov,
			      unsigned segments, unsigned chains,
			      const struct net_rx_frame *frame)
{
	const unsigned begun = tx->header_bytes + frame->head_bytes;
	uint8_t *at;

	if (iov->iov_len < begun ||
	    tx->header_bytes != sizeof(struct virtio_net_hdr_v1))
		return false;
	at = put_header(iov->iov_base, &frame->header, chains);
	net_copy_head(at, frame->head, frame->head_bytes);
	if (frame->bytes != frame->head_bytes)
		put_rest(iov, segments, frame);
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

/* A frame that something is to be done to. */
static enum net_fault put_delivery(void *to,
				   const struct net_delivery *delivery)
{
	struct net_tx *tx = to;
	struct gathered all;
	enum net_fault fault =
		gather(tx, (uint64_t)tx->header_bytes + delivery->bytes, &all);

	if (fault)
		return fault;
	fill(tx, delivery, &all);
	end_frame(tx, &all, delivery->bytes);
	return NET_FAULT_NONE;
}

struct filling {
	struct net_tx *tx;
	const struct gathered *all;
};

static enum net_fault fill_gathered(void *to,
				    const struct net_delivery *delivery)
{
	const struct filling *filling = to;

	fill(filling->tx, delivery, filling->all);
	return NET_FAULT_NONE;
}

static enum net_fault put_whole(struct net_tx *tx,
				const struct net_rx_frame *frame)
{
	struct gathered all;
	enum net_fault fault =
		gather(tx, (uint64_t)tx->header_bytes + frame->bytes, &all);

	if (fault)
		return fault;
	if (!fill_whole(tx, tx->iov, all.segments, all.chains, frame))
		net_deliver(frame, NET_WORK_NONE, fill_gathered,
			    &(struct filling){tx, &all});
	end_frame(tx, &all, frame->bytes);
	return NET_FAULT_NONE;
}

enum net_fault net_tx_put(struct net_tx *tx, const struct net_rx_frame *frame)
{
	enum net_work work =
		net_header_work(&frame->header, &frame->layout, tx->features);
	enum net_fault fault =
		work == NET_WORK_NONE
			? put_whole(tx, frame)
			: net_deliver(frame, work, put_delivery, tx);

	tx->faults[fault] += fault != NET_FAULT_NONE;
	return fault;
}

/* --- frames that each take one buffer --------------------------------------- */

static inline bool is_easy(const struct net_tx *tx,
			   const struct net_rx_frame *frame)
{
	return (uint64_t)tx->header_bytes + frame->bytes <= tx->single_bytes &&
	       tx->header_bytes == sizeof(struct virtio_net_hdr_v1) &&
	       /* Not even that its checksum is good. */
	       (frame->header.flags == 0 ||
		net_header_work(&frame->header, &frame->layout, tx->features) ==
			NET_WORK_NONE);
}

/* How many bytes it has now; 0, and nothing is done, if the buffer is not what it was
 * expected to be. */
static inline uint32_t put_easy(const struct virtq_single *single,
				const struct net_rx_frame *frame)
{
	const uint32_t bytes = sizeof(struct virtio_net_hdr_v1) + frame->bytes;
	uint8_t *at = single->host;

	if (single->len < bytes)
		return 0;
	at = put_header(at, &frame->header, 1);
	net_copy_head(at, frame->head, frame->head_bytes);
	if (frame->bytes != frame->head_bytes) {
		const struct iovec iov = {single->host, single->len};

		put_rest(&iov, 1, frame);
	}
	return bytes;
}

/*
 * Of frames that all are easy, how many have been put. After buffers that were not
 * as expected fewer are taken on trial, so that a driver whose buffers differ costs
 * little.
 */
static unsigned put_easy_ones(struct net_tx *tx,
			      const struct net_rx_frame *const *frames,
			      unsigned count)
{
	unsigned taken = virtq_get_singles(tx->vq, tx->singles,
					   MIN(count, tx->single_run), true);
	uint32_t written[NET_BURST];
	unsigned i;

	for (i = 0; i < taken; i++) {
		written[i] = put_easy(&tx->singles[i], frames[i]);
		if (written[i] == 0)
			break;
		tx->bytes_total += frames[i]->bytes;
	}
	tx->single_run =
		i == taken ? MIN(2 * tx->single_run, (unsigned)NET_BURST) : 1;
	virtq_put_singles(tx->vq, tx->singles, written, i);
	virtq_unget_singles(tx->vq, tx->singles + i, taken - i);
	tx->frames_total += i;
	return i;
}

unsigned net_tx_put_burst(struct net_tx *tx,
			  const struct net_rx_frame *const *frames,
			  unsigned count)
{
	unsigned arrived = 0, at = 0;
	bool all_easy = true;

	while (at < count) {
		unsigned easy = 0, put = 0;

		while (at + easy < count && is_easy(tx, frames[at + easy]))
			easy++;
		if (easy > 0)
			put = put_easy_ones(tx, frames + at, easy);
		arrived += put;
		at += put;
		if (put > 0)
			continue;
		/* One that is not, or has no such buffer. */
		if (all_easy)
			virtq_prefetch(tx->vq, count - at, true);
		all_easy = false;
		arrived += net_tx_put(tx, frames[at++]) == NET_FAULT_NONE;
	}
	return arrived;
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
	struct net_tx_room *room = &tx->room;
	struct iov_cursor to =
		iov_cursor(tx->iov + room->segment, room->segments);
	unsigned used = 0;

	for (uint64_t held = 0; held < bytes; used++)
		held += tx->chains[room->first + used].in_bytes;
	write_header(tx, &to, header, used);
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
