/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The split virtqueue, device side: virtio 1.2, 2.7.
 *
 * avail_seen is the driver's index as last read; the ring is touched again
 * only when all up to there has been taken. used_next runs ahead of
 * used_published: elements are written when a chain is put, and the driver
 * sees them when the index is published, once for a batch.
 *
 * A driver that makes more chains available than the ring has entries, by
 * whatever trick, is stopped: callers size their pools by the ring.
 */
#include "base/bytes.h"
#include "vhost/virtq-internal.h"

static const uint16_t *used_event_of(const struct virtq *vq)
{
	return (const uint16_t *)&vq->split.avail->ring[vq->size];
}

static uint16_t *avail_event_of(const struct virtq *vq)
{
	return (uint16_t *)&vq->split.used->ring[vq->size];
}

int split_start(struct virtq *vq, const struct virtq_config *config)
{
	struct split_ring *ring = &vq->split;
	uint64_t event = config->event_idx ? sizeof(uint16_t) : 0;
	uint64_t size = config->size;

	if (!is_power_of_two(size))
		return virtq_fail(vq, "a split ring of %u entries", vq->size);
	ring->desc = virtq_ring_part(vq, config->desc_uva, size * DESC_BYTES,
				     VRING_DESC_ALIGN_SIZE, "descriptor table");
	if (ring->desc)
		ring->avail = virtq_ring_part(
			vq, config->avail_uva,
			sizeof(*ring->avail) + size * sizeof(uint16_t) + event,
			VRING_AVAIL_ALIGN_SIZE, "avail ring");
	if (ring->avail)
		ring->used = virtq_ring_part(
			vq, config->used_uva,
			sizeof(*ring->used) +
				size * sizeof(struct vring_used_elem) + event,
			VRING_USED_ALIGN_SIZE, "used ring");
	if (!ring->used)
		return VIRTQ_E_BROKEN;
	ring->mask = (uint16_t)(size - 1);
	ring->used_next = le16toh(load_once(&ring->used->idx));
	ring->used_published = ring->used_next;
	ring->avail_next = (uint16_t)config->base;
	ring->avail_seen = ring->avail_next;
	return 0;
}

uint32_t split_base(const struct virtq *vq)
{
	return vq->split.avail_next;
}

bool split_was_used(const struct virtq *vq)
{
	return vq->split.used_published != 0;
}

/* Reads the driver's index; pairs with its release (2.7.13.3). */
int split_refresh(struct virtq *vq)
{
	struct split_ring *ring = &vq->split;
	uint16_t idx = le16toh(load_acquire(&ring->avail->idx));
	uint16_t ahead = (uint16_t)(idx - ring->avail_next);

	if (virtq_check_memory(vq))
		return VIRTQ_E_BROKEN;
	if (ahead == 0)
		return VIRTQ_E_EMPTY;
	if (unlikely(ahead > vq->size))
		return virtq_fail(vq,
				  "the avail index jumped from %u to %u in a "
				  "ring of %u",
				  ring->avail_next, idx, vq->size);
	ring->avail_seen = idx;
	return 0;
}

/* Where a walk is: descriptor @at, the chain's number @descs. */
struct split_at {
	uint16_t head;
	uint16_t at;
	unsigned descs;
	struct virtq_desc desc;
};

/* Goes on to the next descriptor; 0, or the ring is broken. */
static inline int split_step(struct virtq *vq, struct split_at *here)
{
	uint16_t next = here->desc.link;

	if (unlikely(next >= vq->size))
		return virtq_fail(vq,
				  "descriptor %u has next %u in a table of %u",
				  here->at, next, vq->size);
	if (unlikely(here->descs == vq->size))
		return virtq_fail(vq, "the chain of descriptor %u has a loop",
				  here->head);
	here->at = next;
	here->desc = split_desc_read(&vq->split.desc[next]);
	return 0;
}

/* The walk from a descriptor on that is not a common one. */
static __attribute__((noinline)) int split_walk_rest(struct virtq *vq,
						     struct virtq_walk walk,
						     struct split_at here,
						     struct virtq_chain *chain)
{
	for (;;) {
		uint16_t flags = here.desc.flags;
		int err = walk_add(vq, &walk, here.desc, here.descs);

		if (err)
			return err;
		here.descs++;
		/* An indirect one was the last. */
		if (flags & VRING_DESC_F_INDIRECT ||
		    !(flags & VRING_DESC_F_NEXT))
			break;
		err = split_step(vq, &here);
		if (err)
			return err;
	}
	chain->descs = (uint16_t)here.descs;
	return walk_end(vq, &walk, chain);
}

/* Any chain, whose first descriptor is @desc. */
static __attribute__((noinline)) int split_walk_many(struct virtq *vq,
						     uint16_t head,
						     struct virtq_desc desc,
						     struct virtq_chain *chain)
{
	const struct memory_region region = walk_region(vq, desc.addr);
	struct virtq_walk walk = walk_begin(chain);
	struct split_at here = {
		.head = head,
		.at = head,
		.desc = desc,
	};

	for (;;) {
		if (unlikely(!walk_hit(&walk, &region, here.desc.addr,
				       here.desc.len, here.desc.flags)))
			return split_walk_rest(vq, walk, here, chain);
		here.descs++;
		if (!(here.desc.flags & VRING_DESC_F_NEXT))
			break;
		if (split_step(vq, &here))
			return VIRTQ_E_BROKEN;
	}
	chain->descs = (uint16_t)here.descs;
	return walk_end(vq, &walk, chain);
}

static inline __attribute__((always_inline)) int
split_walk(struct virtq *vq, uint16_t head, struct virtq_chain *chain)
{
	const struct virtq_desc desc = split_desc_read(&vq->split.desc[head]);

	chain->id = head;
	if (unlikely(!walk_single(vq, desc, chain)))
		return split_walk_many(vq, head, desc, chain);
	chain->descs = 1;
	return 0;
}

/* The next entry's descriptor will be wanted soon. */
static inline void prefetch_next(const struct split_ring *ring)
{
	uint16_t next = (uint16_t)(ring->avail_next + 1);
	uint16_t head;

	if (next == ring->avail_seen)
		return;
	head = le16toh(load_once(&ring->avail->ring[next & ring->mask]));
	__builtin_prefetch(&ring->desc[head & ring->mask]);
}

/* Where @count chains will be given back: a store that waits for a line holds up
 * all that come after it. */
void split_prefetch_used(const struct split_ring *ring, unsigned count)
{
	enum {
		IN_LINE = PREFETCH_LINE / sizeof(struct vring_used_elem)
	};

	for (unsigned i = 0; i < count + IN_LINE - 1; i += IN_LINE)
		prefetch_write(
			&ring->used->ring[(ring->used_next + i) & ring->mask]);
}

void split_prefetch_ring(const struct virtq *vq)
{
	const struct split_ring *ring = &vq->split;

	prefetch_read(&ring->avail->idx);
	prefetch_read(&ring->avail->ring[ring->avail_next & ring->mask]);
	prefetch_write(&ring->used->ring[ring->used_next & ring->mask]);
	prefetch_write(&ring->used->idx);
}

void split_prefetch(struct virtq *vq, unsigned count, bool writes)
{
	const struct split_ring *ring = &vq->split;
	uint16_t there;

	if (ring->avail_next == ring->avail_seen && split_refresh(vq))
		return;
	there = (uint16_t)(ring->avail_seen - ring->avail_next);
	count = MIN(count, (unsigned)there);
	for (unsigned i = 0; i < count; i++) {
		uint16_t at = (uint16_t)(ring->avail_next + i) & ring->mask;
		uint16_t head = le16toh(load_once(&ring->avail->ring[at]));

		walk_prefetch(
			vq,
			split_desc_read(&ring->desc[head & ring->mask]).addr,
			writes);
	}
	split_prefetch_used(ring, count);
}

/* A chain that the in-flight region remembers. */
static __attribute__((noinline)) int split_get_again(struct virtq *vq,
						     struct virtq_chain *chain)
{
	struct virtq_track *track = &vq->track;
	int err = split_walk(vq, track->again[track->again_at], chain);

	if (err == VIRTQ_E_BROKEN)
		return err;
	track->again_at++;
	chain->recovered = true;
	chain->order = vq->order++;
	vq->taken++;
	return err;
}

int split_get(struct virtq *vq, struct virtq_chain *chain)
{
	struct split_ring *ring = &vq->split;
	uint16_t head;
	int err;

	if (unlikely(vq->track.again_at != vq->track.again_count))
		return split_get_again(vq, chain);
	if (ring->avail_next == ring->avail_seen) {
		err = split_refresh(vq);
		if (err)
			return err;
	}
	head = le16toh(
		load_once(&ring->avail->ring[ring->avail_next & ring->mask]));
	prefetch_next(ring);
	if (unlikely(head >= vq->size))
		return virtq_fail(vq, "avail entry %u is %u in a table of %u",
				  ring->avail_next & ring->mask, head,
				  vq->size);
	if (unlikely(vq->taken >= vq->size))
		return virtq_fail(vq, "more than %u chains are in flight",
				  vq->size);
	err = split_walk(vq, head, chain);
	if (unlikely(err == VIRTQ_E_BROKEN))
		return err;
	if (vq->track.split && split_track_take(vq, head))
		return VIRTQ_E_BROKEN;
	ring->avail_next++;
	chain->recovered = false;
	chain->order = vq->order++;
	vq->taken++;
	return err;
}

void split_unget(struct virtq *vq, const struct virtq_chain *chain)
{
	if (chain->recovered) {
		vq->track.again_at--;
		return;
	}
	vq->split.avail_next--;
	if (vq->track.split)
		split_track_untake(vq, chain->id);
}

/* Marks @count elements from index @first, and the index itself. */
static void log_batch(struct virtq *vq, uint16_t first, unsigned count)
{
	size_t elem = sizeof(struct vring_used_elem);
	unsigned at = first & vq->split.mask;
	unsigned to_end = MIN(count, vq->size - at);

	virtq_log_used(vq, offsetof(struct vring_used, ring) + at * elem,
		       to_end * elem);
	virtq_log_used(vq, offsetof(struct vring_used, ring),
		       (count - to_end) * elem);
	virtq_log_used(vq, offsetof(struct vring_used, idx),
		       sizeof(vq->split.used->idx));
}

void split_flush(struct virtq *vq)
{
	struct split_ring *ring = &vq->split;
	unsigned count = (uint16_t)(ring->used_next - ring->used_published);

	if (count == 0)
		return;
	if (vq->track.split)
		split_track_before(vq);
	/* Pairs with the driver's acquire of the index (2.7.14). */
	store_release(&ring->used->idx, htole16(ring->used_next));
	if (vq->track.split)
		split_track_after(vq);
	if (unlikely(vq->log))
		log_batch(vq, ring->used_published, count);
	ring->used_published = ring->used_next;
	ring->run = false;
	vq->taken -= count;
	vq->unsignalled += count;
}

/* virtio 1.2, 2.7.7.2; the caller has published and passed the barrier. */
bool split_wants_call(struct virtq *vq)
{
	struct split_ring *ring = &vq->split;
	uint16_t old = ring->used_signalled;
	bool known = vq->signalled_valid && vq->unsignalled <= UINT16_MAX;

	if (!vq->event_idx)
		return !(le16toh(load_once(&ring->avail->flags)) &
			 VRING_AVAIL_F_NO_INTERRUPT);
	ring->used_signalled = ring->used_published;
	vq->signalled_valid = true;
	return !known || vring_need_event(le16toh(load_once(used_event_of(vq))),
					  ring->used_published, old);
}

void split_kicks_on(struct virtq *vq)
{
	struct split_ring *ring = &vq->split;

	if (vq->event_idx) {
		uint16_t *event = avail_event_of(vq);

		store_once(event, htole16(ring->avail_next));
		virtq_log_used(
			vq,
			(uint64_t)((uint8_t *)event - (uint8_t *)ring->used),
			sizeof(*event));
	} else if (!vq->kicks) {
		store_once(&ring->used->flags, 0);
		virtq_log_used(vq, offsetof(struct vring_used, flags),
			       sizeof(ring->used->flags));
	}
}

/*
 * With event idx the index that was published lies behind what the driver will
 * add from now on, so that there is nothing to take back (2.7.10).
 */
void split_kicks_off(struct virtq *vq)
{
	if (vq->event_idx)
		return;
	store_once(&vq->split.used->flags, htole16(VRING_USED_F_NO_NOTIFY));
	virtq_log_used(vq, offsetof(struct vring_used, flags),
		       sizeof(vq->split.used->flags));
}

bool split_has_avail(struct virtq *vq)
{
	struct split_ring *ring = &vq->split;

	return ring->avail_next != ring->avail_seen ||
	       le16toh(load_once(&ring->avail->idx)) != ring->avail_next;
}
