/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packed layout, virtio 1.2, 2.8. The device reads descriptors in ring
 * order and stops at the first one that is not available, so a batch becomes
 * visible at once if the flags of its first head are written last.
 */
#include <errno.h>
#include <string.h>

#include "base/barrier.h"
#include "tests/frontend/driver-ring-kind.h"

enum {
	AVAIL_BIT = 1 << VRING_PACKED_DESC_F_AVAIL,
	USED_BIT = 1 << VRING_PACKED_DESC_F_USED,
	WRAP_BIT = 1 << VRING_PACKED_EVENT_F_WRAP_CTR,
};

static uint64_t alloc(const struct driver_ring *ring, uint64_t bytes)
{
	return ring->config.pages_apart ? driver_ring_alloc_pages(ring, bytes)
					: ram_alloc(ring->ram, bytes, 64);
}

static int packed_lay_out(struct driver_ring *ring)
{
	ring->desc_gpa = alloc(ring, ring->config.size * sizeof(*ring->packed));
	ring->avail_gpa = ram_alloc(ring->ram, 64, 64);
	ring->used_gpa = alloc(ring, 64);
	if (ring->desc_gpa == RAM_NONE || ring->avail_gpa == RAM_NONE ||
	    ring->used_gpa == RAM_NONE)
		return -ENOMEM;
	ring->packed = ram_at(ring->ram, ring->desc_gpa);
	ring->driver_event = ram_at(ring->ram, ring->avail_gpa);
	ring->device_event = ram_at(ring->ram, ring->used_gpa);
	return 0;
}

static void packed_reset(struct driver_ring *ring)
{
	memset(ring->packed, 0, ring->config.size * sizeof(*ring->packed));
	memset(ring->driver_event, 0, sizeof(*ring->driver_event));
	memset(ring->device_event, 0, sizeof(*ring->device_event));
	ring->avail_wrap = ring->used_wrap = true;
	ring->held = false;
}

static uint16_t desc_flags(const struct driver_ring *ring,
			   const struct driver_chain *chain, unsigned i)
{
	uint16_t flags = ring->avail_wrap ? AVAIL_BIT : USED_BIT;

	if (chain->table)
		flags |= VRING_DESC_F_INDIRECT;
	if (i + 1 < chain->count)
		flags |= VRING_DESC_F_NEXT;
	if (chain->buffers[i].device_writes)
		flags |= VRING_DESC_F_WRITE;
	return flags;
}

static void next_avail(struct driver_ring *ring)
{
	if (++ring->avail_next == ring->config.size) {
		ring->avail_next = 0;
		ring->avail_wrap = !ring->avail_wrap;
	}
}

static uint16_t packed_add(struct driver_ring *ring,
			   const struct driver_chain *chain)
{
	uint16_t id = ring->free_slot;

	ring->free_slot = ring->slots[id].next_free;
	for (unsigned i = 0; i < chain->count; i++) {
		struct vring_packed_desc *desc =
			&ring->packed[ring->avail_next];
		uint16_t flags = desc_flags(ring, chain, i);

		desc->addr = chain->buffers[i].gpa;
		desc->len = chain->buffers[i].length;
		desc->id = id;
		if (!ring->held) {
			ring->held = true;
			ring->held_at = ring->avail_next;
			ring->held_flags = flags;
		} else {
			desc->flags = flags;
		}
		next_avail(ring);
	}
	ring->unkicked += chain->count;
	return id;
}

static void packed_publish(struct driver_ring *ring)
{
	if (!ring->held)
		return;
	/* All else before the flags that make the batch available. */
	store_release(&ring->packed[ring->held_at].flags, ring->held_flags);
	ring->held = false;
}

/* virtio 1.2, 2.8.10: an event position counts back over the wrap. */
static bool packed_wants_kick(struct driver_ring *ring)
{
	uint16_t flags = load_acquire(&ring->device_event->flags);
	uint16_t off_wrap = load_once(&ring->device_event->off_wrap);
	uint16_t event = off_wrap & (WRAP_BIT - 1);
	uint16_t old = ring->avail_next - ring->unkicked;

	if (flags != VRING_PACKED_EVENT_FLAG_DESC)
		return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
	if (ring->unkicked > ring->config.size)
		return true;
	if (!!(off_wrap & WRAP_BIT) != ring->avail_wrap)
		event -= ring->config.size;
	return vring_need_event(event, ring->avail_next, old);
}

static bool packed_has_used(const struct driver_ring *ring)
{
	/* Pairs with the device's release of the flags. */
	uint16_t flags = load_acquire(&ring->packed[ring->used_next].flags);
	bool avail = flags & AVAIL_BIT;
	bool used = flags & USED_BIT;

	return avail == used && used == ring->used_wrap;
}

static int packed_peek(const struct driver_ring *ring, uint16_t *ret_id,
		       uint32_t *ret_length)
{
	const struct vring_packed_desc *desc = &ring->packed[ring->used_next];
	uint16_t id;

	if (!packed_has_used(ring))
		return 0;
	id = load_once(&desc->id);
	if (id >= ring->config.size || ring->slots[id].descs == 0)
		return -EPROTO;
	*ret_id = id;
	*ret_length = load_once(&desc->len);
	return 1;
}

static void packed_advance(struct driver_ring *ring, uint16_t id)
{
	struct driver_slot *slot = &ring->slots[id];

	ring->used_next += slot->descs;
	if (ring->used_next >= ring->config.size) {
		ring->used_next -= ring->config.size;
		ring->used_wrap = !ring->used_wrap;
	}
	slot->next_free = ring->free_slot;
	ring->free_slot = id;
}

static void packed_calls(struct driver_ring *ring, bool on)
{
	struct vring_packed_desc_event *event = ring->driver_event;
	uint16_t off_wrap = ring->used_next;
	uint16_t flags = VRING_PACKED_EVENT_FLAG_ENABLE;

	if (!on) {
		store_once(&event->flags, VRING_PACKED_EVENT_FLAG_DISABLE);
		return;
	}
	if (ring->used_wrap)
		off_wrap |= WRAP_BIT;
	if (ring->config.event_idx) {
		flags = VRING_PACKED_EVENT_FLAG_DESC;
		store_once(&event->off_wrap, off_wrap);
	}
	/* The position before the flags that make it count. */
	store_release(&event->flags, flags);
}

const struct driver_ring_kind driver_packed = {
	.lay_out = packed_lay_out,
	.reset = packed_reset,
	.add = packed_add,
	.publish = packed_publish,
	.wants_kick = packed_wants_kick,
	.has_used = packed_has_used,
	.peek = packed_peek,
	.advance = packed_advance,
	.calls = packed_calls,
};
