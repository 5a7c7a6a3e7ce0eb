/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chains of one buffer, many at once. What a chain may be otherwise is not looked
 * for, nor is room for it kept: a descriptor is as expected, or is left to virtq_get.
 *
 * Of rings that are tracked or logged each chain goes the usual way, one by one.
 */
#include <assert.h>

#include "base/bytes.h"
#include "vhost/virtq-internal.h"

enum {
	/* Of a descriptor's flags, what must be as expected. */
	SPLIT_ASKED =
		VRING_DESC_F_NEXT | VRING_DESC_F_WRITE | VRING_DESC_F_INDIRECT,
	PACKED_ASKED = SPLIT_ASKED | DESC_AVAIL | DESC_USED,
};

/* --- Taken ------------------------------------------------------------------ */

/* Takes a descriptor, which has the flags that are wanted; false: it is not one. */
static inline __attribute__((always_inline)) bool
take(struct virtq *vq, struct memory_region *region, struct virtq_desc desc,
     uint16_t id, bool writable, struct virtq_single *ret)
{
	uint8_t *host = walk_host(vq, region, desc.addr, desc.len);

	if (unlikely(!host))
		return false;
	lines_prefetch(host, writable);
	ret->host = host;
	ret->len = desc.len;
	ret->id = id;
	return true;
}

/* Those of a packed ring from @slot on, which is @count away from its end. */
static inline __attribute__((always_inline)) unsigned
packed_take_lap(struct virtq *vq, struct memory_region *region, uint16_t slot,
		uint16_t flags, struct virtq_single *singles, unsigned count)
{
	const struct packed_ring *ring = &vq->packed;
	const bool writable = flags & VRING_DESC_F_WRITE;
	unsigned i;

	for (i = 0; i < count; i++) {
		const struct virtq_desc desc = packed_slot_read(ring, slot + i);

		if ((desc.flags & PACKED_ASKED) != flags ||
		    !take(vq, region, desc, desc.link, writable, &singles[i]))
			break;
	}
	return i;
}

static inline __attribute__((always_inline)) unsigned
packed_take(struct virtq *vq, struct virtq_single *singles, unsigned count,
	    bool writable)
{
	const uint16_t write = writable ? VRING_DESC_F_WRITE : 0;
	struct packed_ring *ring = &vq->packed;
	struct memory_region region = {0};
	unsigned to_end = (unsigned)vq->size - ring->avail_next;
	unsigned taken;

	count = MIN(count, (unsigned)vq->size - ring->descs_taken);
	taken = packed_take_lap(vq, &region, ring->avail_next,
				packed_avail_bits(ring->avail_wrap) | write,
				singles, MIN(count, to_end));
	if (taken == to_end)
		taken += packed_take_lap(vq, &region, 0,
					 packed_avail_bits(!ring->avail_wrap) |
						 write,
					 singles + taken, count - taken);
	packed_advance(vq, &ring->avail_next, &ring->avail_wrap, taken);
	ring->descs_taken += taken;
	return taken;
}

/* A head that is none, or is taken already, is virtq_get's to complain of. */
static inline __attribute__((always_inline)) unsigned
split_take(struct virtq *vq, struct virtq_single *singles, unsigned count,
	   bool writable)
{
	const uint16_t flags = writable ? VRING_DESC_F_WRITE : 0;
	struct split_ring *ring = &vq->split;
	struct memory_region region = {0};
	unsigned i;

	if (ring->avail_next == ring->avail_seen && split_refresh(vq))
		return 0;
	count = MIN(count,
		    (unsigned)(uint16_t)(ring->avail_seen - ring->avail_next));
	count = MIN(count, vq->size - vq->taken);
	split_prefetch_used(ring, count);
	for (i = 0; i < count; i++) {
		const uint16_t at = (ring->avail_next + i) & ring->mask;
		const uint16_t head =
			le16toh(load_once(&ring->avail->ring[at]));
		struct virtq_desc desc;

		if (unlikely(head >= vq->size))
			break;
		desc = split_desc_read(&ring->desc[head]);
		if ((desc.flags & SPLIT_ASKED) != flags ||
		    !take(vq, &region, desc, head, writable, &singles[i]))
			break;
	}
	ring->avail_next += i;
	return i;
}

/* The usual way; what is not wanted stays in the ring. */
static bool take_tracked(struct virtq *vq, struct virtq_single *ret,
			 bool writable)
{
	struct iovec iov;
	struct virtq_chain chain = {
		.iov = &iov,
		.iov_max = 1,
	};
	int err = virtq_get(vq, &chain);

	if (err == VIRTQ_E_EMPTY || err == VIRTQ_E_BROKEN)
		return false;
	if (err || chain.descs != 1 ||
	    (writable ? chain.in_count : chain.out_count) != 1) {
		virtq_unget(vq, &chain, 1);
		return false;
	}
	ret->host = iov.iov_base;
	ret->len = iov.iov_len;
	ret->id = chain.id;
	ret->slot = chain.slot;
	return true;
}

static __attribute__((noinline)) unsigned
take_all_tracked(struct virtq *vq, struct virtq_single *singles, unsigned count,
		 bool writable)
{
	unsigned i = 0;

	while (i < count && take_tracked(vq, &singles[i], writable))
		i++;
	return i;
}

/* A loop for each direction: what they prefetch for differs. */
unsigned virtq_get_singles(struct virtq *vq, struct virtq_single *singles,
			   unsigned count, bool writable)
{
	unsigned taken;

	if (unlikely(vq->is_broken ||
		     vq->track.again_at != vq->track.again_count))
		return 0;
	if (unlikely(vq->track.entries))
		return take_all_tracked(vq, singles, count, writable);
	if (vq->is_packed)
		taken = writable ? packed_take(vq, singles, count, true)
				 : packed_take(vq, singles, count, false);
	else
		taken = writable ? split_take(vq, singles, count, true)
				 : split_take(vq, singles, count, false);
	vq->order += taken;
	vq->taken += taken;
	return taken;
}

/* --- Given back ------------------------------------------------------------- */

/* @single as a chain with @iov for its segments; its order is the caller's. */
static struct virtq_chain chain_of(const struct virtq_single *single,
				   struct iovec *iov, bool writable)
{
	*iov = (struct iovec){single->host, single->len};
	return (struct virtq_chain){
		.iov = iov,
		.iov_max = 1,
		.out_count = !writable,
		.in_count = writable,
		.out_bytes = writable ? 0 : single->len,
		.in_bytes = writable ? single->len : 0,
		.id = single->id,
		.descs = 1,
		.slot = single->slot,
		.writable = writable,
	};
}

static __attribute__((noinline)) void
put_one_by_one(struct virtq *vq, const struct virtq_single *singles,
	       const uint32_t *written, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct iovec iov;
		struct virtq_chain chain = chain_of(&singles[i], &iov, written);

		chain.order = vq->done_next;
		virtq_put(vq, &chain, written ? written[i] : 0);
	}
}

static void packed_put_written(struct packed_ring *ring,
			       const struct virtq_single *singles,
			       const uint32_t *written, unsigned count)
{
	struct virtq_done *done = &ring->batch[ring->batch_count];

	for (unsigned i = 0; i < count; i++) {
		done[i].len = written ? written[i] : 0;
		done[i].id = singles[i].id;
		done[i].descs = 1;
	}
	ring->batch_count += count;
}

/* In order one element that names the last of them stands for all (2.8, in-order
 * use), whatever else is in the batch. */
static void packed_put_run(struct packed_ring *ring,
			   const struct virtq_single *last, unsigned count)
{
	ring->batch[ring->batch_count++] = (struct virtq_done){
		.id = last->id,
		.descs = count,
	};
}

static void packed_put_all(struct virtq *vq, const struct virtq_single *singles,
			   const uint32_t *written, unsigned count)
{
	struct packed_ring *ring = &vq->packed;

	if (vq->in_order && !written)
		packed_put_run(ring, &singles[count - 1], count);
	else
		packed_put_written(ring, singles, written, count);
	ring->batch_chains += count;
	ring->batch_descs += count;
	ring->batch_writable |= written != NULL;
}

static void split_put_all(struct virtq *vq, const struct virtq_single *singles,
			  const uint32_t *written, unsigned count)
{
	struct split_ring *ring = &vq->split;

	if (vq->in_order && !written) {
		split_use(vq, singles[count - 1].id, 0, false);
		ring->used_next += count - 1;
		return;
	}
	ring->run = false;
	for (unsigned i = 0; i < count; i++) {
		struct vring_used_elem *elem =
			&ring->used->ring[(ring->used_next + i) & ring->mask];

		elem->id = htole32(singles[i].id);
		elem->len = htole32(written ? written[i] : 0);
	}
	ring->used_next += count;
}

void virtq_put_singles(struct virtq *vq, const struct virtq_single *singles,
		       const uint32_t *written, unsigned count)
{
	if (count == 0)
		return;
	assert(vq->done_waiting == 0);
	if (unlikely(vq->log || vq->track.entries)) {
		put_one_by_one(vq, singles, written, count);
		return;
	}
	if (vq->in_order)
		vq->done_next += count;
	if (vq->is_packed)
		packed_put_all(vq, singles, written, count);
	else
		split_put_all(vq, singles, written, count);
}

void virtq_unget_singles(struct virtq *vq, const struct virtq_single *singles,
			 unsigned count)
{
	while (count-- > 0) {
		struct iovec iov;
		const struct virtq_chain chain =
			chain_of(&singles[count], &iov, false);

		virtq_unget(vq, &chain, 1);
	}
}
