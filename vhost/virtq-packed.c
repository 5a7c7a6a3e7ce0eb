/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packed virtqueue, device side: virtio 1.2, 2.8.
 *
 * Driver and device write into one ring of descriptors; who owns a slot is
 * told by two bits in its flags, whose meaning turns over with each lap (the
 * wrap counters, 2.8.1). avail_next and used_next are slots, each with the
 * wrap counter of its lap.
 *
 * Used elements are kept back until virtq_flush, and the flags of the first one
 * are written last: the driver looks at that slot and sees none of the batch
 * until then. Written when a chain is put, they would show through after a
 * crash, as soon as somebody else publishes the slot before.
 *
 * No more ring entries are ever taken than the ring has, so that a used
 * element never lands on a slot that was not taken.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "vhost/virtq-internal.h"

enum {
	OFFSET_MASK = (1 << VRING_PACKED_EVENT_F_WRAP_CTR) - 1,
};

/* Those of a slot that the device has used. */
static inline uint16_t used_bits(bool wrap)
{
	return wrap ? DESC_AVAIL | DESC_USED : 0;
}

/*
 * SET_VRING_BASE of a packed ring. Some front-ends (virtio-user) send the lower
 * half only, and mean that nothing is in flight.
 */
static int take_base(struct virtq *vq, uint32_t base)
{
	struct packed_ring *ring = &vq->packed;
	uint16_t avail = (uint16_t)base;
	uint16_t used = base >> 16 ? (uint16_t)(base >> 16) : avail;

	ring->avail_next = avail & OFFSET_MASK;
	ring->avail_wrap = avail >> VRING_PACKED_EVENT_F_WRAP_CTR;
	ring->used_next = used & OFFSET_MASK;
	ring->used_wrap = used >> VRING_PACKED_EVENT_F_WRAP_CTR;
	if (ring->avail_next >= vq->size || ring->used_next >= vq->size)
		return virtq_fail(vq, "base 0x%x for a ring of %u", base,
				  vq->size);
	return 0;
}

int packed_start(struct virtq *vq, const struct virtq_config *config)
{
	struct packed_ring *ring = &vq->packed;

	ring->desc = virtq_ring_part(vq, config->desc_uva,
				     (uint64_t)vq->size * DESC_BYTES,
				     DESC_BYTES, "descriptor ring");
	if (ring->desc)
		ring->driver_event = virtq_ring_part(
			vq, config->avail_uva, sizeof(*ring->driver_event),
			sizeof(*ring->driver_event), "driver event");
	if (ring->driver_event)
		ring->device_event = virtq_ring_part(
			vq, config->used_uva, sizeof(*ring->device_event),
			sizeof(*ring->device_event), "device event");
	if (!ring->device_event)
		return VIRTQ_E_BROKEN;
	ring->desc_gpa = guest_memory_gpa(vq->memory, ring->desc);
	ring->batch = calloc(vq->size, sizeof(*ring->batch));
	if (!ring->batch)
		return -ENOMEM;
	return take_base(vq, config->base);
}

void packed_release(struct virtq *vq)
{
	free(vq->packed.batch);
	vq->packed.batch = NULL;
}

uint32_t packed_base(const struct virtq *vq)
{
	const struct packed_ring *ring = &vq->packed;
	uint32_t avail =
		ring->avail_next | (unsigned)ring->avail_wrap
					   << VRING_PACKED_EVENT_F_WRAP_CTR;
	uint32_t used =
		ring->used_next | (unsigned)ring->used_wrap
					  << VRING_PACKED_EVENT_F_WRAP_CTR;

	return avail | used << 16;
}

bool packed_was_used(const struct virtq *vq)
{
	return vq->packed.used_next != 0 || !vq->packed.used_wrap;
}

/* Where a walk is; *entry is the last entry of the region that was filled. */
struct packed_at {
	uint16_t slot;
	bool wrap;
	uint16_t entry;
	unsigned descs;
	unsigned room; /* ring entries that are not in flight */
	struct virtq_desc desc;
};

/* Behind the descriptor that was added: true if it was the last. */
static inline __attribute__((always_inline)) bool
packed_step(struct virtq *vq, struct packed_at *here)
{
	if (unlikely(vq->track.packed))
		here->entry = packed_track_desc(vq, here->entry, &here->desc,
						here->descs == 0);
	here->descs++;
	packed_advance(vq, &here->slot, &here->wrap, 1);
	return !(here->desc.flags & VRING_DESC_F_NEXT);
}

static int no_room(struct virtq *vq)
{
	return virtq_fail(vq, "more than %u descriptors are in flight",
			  vq->size);
}

/* The walk from a descriptor on that is not a common one. */
static __attribute__((noinline)) int packed_walk_rest(struct virtq *vq,
						      struct virtq_walk walk,
						      struct packed_at *here,
						      struct virtq_chain *chain)
{
	for (;;) {
		int err = walk_add(vq, &walk, here->desc, here->descs);

		if (err)
			return err;
		if (packed_step(vq, here))
			break;
		if (here->descs >= here->room)
			return no_room(vq);
		here->desc = packed_slot_read(&vq->packed, here->slot);
	}
	return walk_end(vq, &walk, chain);
}

static inline __attribute__((always_inline)) int
packed_walk(struct virtq *vq, struct packed_at *ret_end, struct virtq_desc desc,
	    struct virtq_chain *chain)
{
	const struct memory_region region = walk_region(vq, desc.addr);
	struct virtq_walk walk = walk_begin(chain);
	struct packed_at here = {
		.slot = vq->packed.avail_next,
		.wrap = vq->packed.avail_wrap,
		.room = (unsigned)vq->size - vq->packed.descs_taken,
		.desc = desc,
	};

	for (;;) {
		if (unlikely(here.descs >= here.room))
			return no_room(vq);
		if (unlikely(!walk_hit(&walk, &region, here.desc.addr,
				       here.desc.len, here.desc.flags))) {
			*ret_end = here;
			return packed_walk_rest(vq, walk, ret_end, chain);
		}
		if (packed_step(vq, &here))
			break;
		here.desc = packed_slot_read(&vq->packed, here.slot);
	}
	/* By field: copied as a whole, what was just stored in small pieces is
	 * loaded in large ones, for which a core waits. */
	ret_end->slot = here.slot;
	ret_end->wrap = here.wrap;
	ret_end->entry = here.entry;
	ret_end->descs = here.descs;
	ret_end->desc.link = here.desc.link;
	return walk_end(vq, &walk, chain);
}

/* A chain that the in-flight region remembers, from its copies there. */
static __attribute__((noinline)) int packed_get_again(struct virtq *vq,
						      struct virtq_chain *chain)
{
	struct virtq_track *track = &vq->track;
	struct virtq_walk walk = walk_begin(chain);
	uint16_t first = track->again[track->again_at];
	uint16_t entry = first;
	int err;

	for (unsigned i = 0; i < track->num[first]; i++) {
		struct virtq_desc desc = packed_track_read(vq, entry);

		err = walk_add(vq, &walk, desc, i);
		if (err)
			return err;
		chain->id = desc.link;
		entry = track->next[entry];
	}
	err = walk_end(vq, &walk, chain);
	if (err == VIRTQ_E_BROKEN)
		return err;
	chain->descs = track->num[first];
	chain->slot = first;
	chain->recovered = true;
	chain->order = vq->order++;
	track->again_at++;
	vq->taken++;
	return err;
}

void packed_prefetch_ring(const struct virtq *vq)
{
	const struct packed_ring *ring = &vq->packed;

	prefetch_write(&ring->desc[ring->avail_next]);
	prefetch_write(&ring->desc[ring->used_next]);
	prefetch_read(ring->driver_event);
}

/* Descriptors of the same chain count like those of others. */
void packed_prefetch(struct virtq *vq, unsigned count, bool writes)
{
	const struct packed_ring *ring = &vq->packed;
	uint16_t slot = ring->avail_next;
	bool wrap = ring->avail_wrap;

	for (; count > 0; count--) {
		struct virtq_desc desc = packed_slot_read(ring, slot);

		if (!packed_is_avail(desc.flags, wrap))
			break;
		walk_prefetch(vq, desc.addr, writes);
		packed_advance(vq, &slot, &wrap, 1);
	}
}

/* The chain, whose first descriptor is @desc, is the driver's no more: it ends
 * before @slot. */
static inline __attribute__((always_inline)) void
packed_take(struct virtq *vq, struct virtq_chain *chain, uint16_t slot,
	    bool wrap)
{
	struct packed_ring *ring = &vq->packed;

	ring->avail_next = slot;
	ring->avail_wrap = wrap;
	ring->descs_taken += chain->descs;
	chain->recovered = false;
	chain->order = vq->order++;
	vq->taken++;
}

/* Any chain but one that walk_single knows. */
static __attribute__((noinline)) int packed_get_walk(struct virtq *vq,
						     struct virtq_desc desc,
						     struct virtq_chain *chain)
{
	struct packed_at end;
	int err = packed_walk(vq, &end, desc, chain);

	if (unlikely(err == VIRTQ_E_BROKEN))
		return err;
	/* 2.8.6: the id is the last descriptor's. */
	chain->id = end.desc.link;
	chain->descs = (uint16_t)end.descs;
	if (unlikely(vq->track.packed))
		packed_track_take(vq, end.entry, chain);
	packed_take(vq, chain, end.slot, end.wrap);
	return err;
}

static __attribute__((noinline)) void
packed_track_single(struct virtq *vq, struct virtq_desc desc,
		    struct virtq_chain *chain)
{
	packed_track_take(vq, packed_track_desc(vq, 0, &desc, true), chain);
}

int packed_get(struct virtq *vq, struct virtq_chain *chain)
{
	const struct packed_ring *ring = &vq->packed;
	uint16_t slot = ring->avail_next;
	bool wrap = ring->avail_wrap;
	struct virtq_desc desc;

	if (unlikely(vq->track.again_at != vq->track.again_count))
		return packed_get_again(vq, chain);
	desc = packed_slot_read(ring, slot);
	if (!packed_is_avail(desc.flags, wrap))
		return virtq_check_memory(vq) ? VIRTQ_E_BROKEN : VIRTQ_E_EMPTY;
	if (unlikely(ring->descs_taken >= vq->size))
		return no_room(vq);
	if (unlikely(!walk_single(vq, desc, chain)))
		return packed_get_walk(vq, desc, chain);
	chain->id = desc.link;
	chain->descs = 1;
	if (unlikely(vq->track.packed))
		packed_track_single(vq, desc, chain);
	packed_advance(vq, &slot, &wrap, 1);
	packed_take(vq, chain, slot, wrap);
	return 0;
}

void packed_unget(struct virtq *vq, const struct virtq_chain *chain)
{
	struct packed_ring *ring = &vq->packed;

	if (chain->recovered) {
		vq->track.again_at--;
		return;
	}
	packed_step_back(vq, &ring->avail_next, &ring->avail_wrap,
			 chain->descs);
	ring->descs_taken -= chain->descs;
	if (vq->track.packed)
		packed_track_untake(vq, chain);
}

static inline void log_slot(struct virtq *vq, uint16_t slot)
{
	if (unlikely(vq->log && vq->log_used))
		dirty_log_mark(vq->log,
			       vq->packed.desc_gpa +
				       (uint64_t)slot * DESC_BYTES,
			       DESC_BYTES);
}

/*
 * Takes back used elements that a crash left behind the first slot of a batch
 * which was never published.
 */
void packed_scrub(struct virtq *vq)
{
	const struct packed_ring *ring = &vq->packed;
	uint16_t slot = ring->used_next;
	bool wrap = ring->used_wrap;

	for (unsigned i = 0; i < ring->descs_taken; i++) {
		uint16_t *flags = &ring->desc[slot].flags;

		if ((le16toh(load_once(flags)) & (DESC_AVAIL | DESC_USED)) ==
		    used_bits(wrap)) {
			store_once(flags, htole16(packed_avail_bits(wrap)));
			log_slot(vq, slot);
		}
		packed_advance(vq, &slot, &wrap, 1);
	}
}

/* Where elements of a batch go; kept out of the ring until all are written, in
 * registers. */
struct packed_use {
	uint16_t slot;
	bool wrap;
};

static inline uint16_t element_flags(const struct packed_use *at, uint32_t len)
{
	/* 2.8.9: WRITE says that the length means something. */
	return used_bits(at->wrap) | (len > 0 ? VRING_DESC_F_WRITE : 0);
}

/*
 * The element that opens the batch; its flags, returned, are the caller's, who
 * marks the slot as dirty after them: a mark may be taken away again, and the
 * page be copied, at any moment.
 */
static uint16_t element_open(struct virtq *vq, struct packed_use *at,
			     const struct virtq_done *done)
{
	struct vring_packed_desc *desc = &vq->packed.desc[at->slot];
	const uint16_t flags = element_flags(at, done->len);

	desc->len = htole32(done->len);
	desc->id = htole16(done->id);
	packed_advance(vq, &at->slot, &at->wrap, done->descs);
	return flags;
}

/* Those behind it: length, id and flags in one store. */
static void elements_behind(struct virtq *vq, struct packed_use *at)
{
	const struct packed_ring *ring = &vq->packed;
	const struct virtq_done *done = ring->batch;
	const unsigned count = ring->batch_count, size = vq->size;
	const bool is_logged = vq->log && vq->log_used;
	struct vring_packed_desc *desc = ring->desc;
	struct packed_use here = *at;

	for (unsigned i = 1; i < count; i++) {
		uint64_t *word = (uint64_t *)&desc[here.slot].len;
		/* Each as it was stored. */
		const uint32_t len = load_once(&done[i].len);
		const uint64_t id = load_once(&done[i].id);
		const uint64_t flags = element_flags(&here, len);
		unsigned next = here.slot + load_once(&done[i].descs);

		store_once(word, htole64(len | id << 32 | flags << 48));
		if (unlikely(is_logged))
			log_slot(vq, here.slot);
		if (unlikely(next >= size)) {
			next -= size;
			here.wrap = !here.wrap;
		}
		here.slot = next;
	}
	*at = here;
}

/*
 * In order, and nothing could be written: one element, which names the last chain,
 * stands for all (2.8, in-order use). The lines of the others stay as the driver left them.
 */
static uint16_t element_for_all(struct virtq *vq, struct packed_use *at)
{
	const struct packed_ring *ring = &vq->packed;
	struct virtq_done all = ring->batch[ring->batch_count - 1];

	all.descs = ring->batch_descs;
	return element_open(vq, at, &all);
}

static uint16_t elements_write(struct virtq *vq, struct packed_use *at)
{
	const struct packed_ring *ring = &vq->packed;
	uint16_t first_flags;

	if (vq->in_order && !ring->batch_writable)
		return element_for_all(vq, at);
	first_flags = element_open(vq, at, &ring->batch[0]);
	elements_behind(vq, at);
	return first_flags;
}

void packed_flush(struct virtq *vq)
{
	struct packed_ring *ring = &vq->packed;
	const uint16_t first = ring->used_next;
	const bool first_wrap = ring->used_wrap;
	struct packed_use at = {.slot = first, .wrap = first_wrap};
	uint16_t first_flags;

	if (ring->batch_count == 0)
		return;
	first_flags = elements_write(vq, &at);
	ring->used_next = at.slot;
	ring->used_wrap = at.wrap;
	ring->descs_taken -= ring->batch_descs;
	ring->descs_unsignalled += ring->batch_descs;
	if (vq->track.packed)
		packed_track_before(vq, first, first_wrap);
	/* Pairs with the driver's acquire of the flags (2.8.22). */
	store_release(&ring->desc[first].flags, htole16(first_flags));
	if (vq->track.packed)
		packed_track_after(vq);
	log_slot(vq, first);
	vq->taken -= ring->batch_chains;
	vq->unsignalled += ring->batch_chains;
	ring->batch_count = 0;
	ring->batch_chains = 0;
	ring->batch_descs = 0;
	ring->batch_writable = false;
}

/* Both halves of an event structure at once: offset and wrap, flags. */
static uint32_t event_read(const struct vring_packed_desc_event *event)
{
	return le32toh(load_once((const uint32_t *)event));
}

static void event_write(struct virtq *vq, uint16_t off_wrap, uint16_t flags)
{
	store_once((uint32_t *)vq->packed.device_event,
		   htole32(off_wrap | (uint32_t)flags << 16));
	virtq_log_used(vq, 0, sizeof(*vq->packed.device_event));
}

/*
 * virtio 1.2, 2.8.10; the caller has published and passed the barrier. An
 * event offset of the lap before lies `size` lower.
 */
bool packed_wants_call(struct virtq *vq)
{
	struct packed_ring *ring = &vq->packed;
	uint32_t event = event_read(ring->driver_event);
	uint16_t at = event & OFFSET_MASK;
	bool wrap = event >> VRING_PACKED_EVENT_F_WRAP_CTR & 1;
	uint32_t passed = ring->descs_unsignalled;
	bool known = vq->signalled_valid && passed < vq->size;

	ring->descs_unsignalled = 0;
	vq->signalled_valid = true;
	switch (event >> 16) {
	case VRING_PACKED_EVENT_FLAG_DISABLE:
		return false;
	case VRING_PACKED_EVENT_FLAG_DESC:
		if (!vq->event_idx || !known)
			return true;
		if (wrap != ring->used_wrap)
			at -= vq->size;
		return vring_need_event(at, ring->used_next,
					(uint16_t)(ring->used_next - passed));
	default:
		return true;
	}
}

void packed_kicks_on(struct virtq *vq)
{
	const struct packed_ring *ring = &vq->packed;
	uint16_t off_wrap =
		(uint16_t)(ring->avail_next |
			   (unsigned)ring->avail_wrap
				   << VRING_PACKED_EVENT_F_WRAP_CTR);

	if (vq->event_idx)
		event_write(vq, off_wrap, VRING_PACKED_EVENT_FLAG_DESC);
	else if (!vq->kicks)
		event_write(vq, 0, VRING_PACKED_EVENT_FLAG_ENABLE);
}

void packed_kicks_off(struct virtq *vq)
{
	event_write(vq, 0, VRING_PACKED_EVENT_FLAG_DISABLE);
}

bool packed_has_avail(struct virtq *vq)
{
	const struct packed_ring *ring = &vq->packed;

	return packed_is_avail(
		le16toh(load_once(&ring->desc[ring->avail_next].flags)),
		ring->avail_wrap);
}
