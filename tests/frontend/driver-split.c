/* SPDX-License-Identifier: Apache-2.0 */
/* The split layout, virtio 1.2, 2.7. */
#include <errno.h>
#include <string.h>

#include "base/barrier.h"
#include "tests/frontend/driver-ring-kind.h"

static uint16_t mask(const struct driver_ring *ring)
{
	return ring->config.size - 1;
}

/* The event fields lie behind the rings (2.7.7 and 2.7.8). */
static uint16_t *used_event(const struct driver_ring *ring)
{
	return &ring->avail->ring[ring->config.size];
}

static uint16_t *avail_event(const struct driver_ring *ring)
{
	return (uint16_t *)&ring->used->ring[ring->config.size];
}

enum {
	/* Chains between two moves of an event that is not to be reached. */
	EVENT_LAG = 1 << 14,
};

/* Flags and index end a page, the elements begin the next. */
static uint64_t alloc_used(const struct driver_ring *ring, uint64_t bytes)
{
	const uint64_t head = offsetof(struct vring_used, ring);
	uint64_t at;

	if (!ring->config.pages_apart)
		return ram_alloc(ring->ram, bytes, 64);
	at = driver_ring_alloc_pages(ring, DRIVER_PAGE_BYTES + bytes - head);
	return at == RAM_NONE ? at : at + DRIVER_PAGE_BYTES - head;
}

static int split_lay_out(struct driver_ring *ring)
{
	uint64_t size = ring->config.size;

	ring->desc_gpa = ram_alloc(ring->ram, size * sizeof(*ring->desc),
				   VRING_DESC_ALIGN_SIZE);
	ring->avail_gpa = ram_alloc(ring->ram, 6 + 2 * size, 64);
	ring->used_gpa =
		alloc_used(ring, 6 + size * sizeof(struct vring_used_elem));
	if (ring->desc_gpa == RAM_NONE || ring->avail_gpa == RAM_NONE ||
	    ring->used_gpa == RAM_NONE)
		return -ENOMEM;
	ring->desc = ram_at(ring->ram, ring->desc_gpa);
	ring->avail = ram_at(ring->ram, ring->avail_gpa);
	ring->used = ram_at(ring->ram, ring->used_gpa);
	return 0;
}

static void split_reset(struct driver_ring *ring)
{
	unsigned size = ring->config.size;

	memset(ring->desc, 0, size * sizeof(*ring->desc));
	memset(ring->avail, 0, 6 + 2 * size);
	memset(ring->used, 0, 6 + size * sizeof(struct vring_used_elem));
	for (unsigned i = 0; i < size; i++)
		ring->desc_next[i] = i + 1;
	ring->free_desc = 0;
	ring->free_last = size - 1;
}

static uint16_t desc_flags(const struct driver_chain *chain, unsigned i)
{
	uint16_t flags = chain->table ? VRING_DESC_F_INDIRECT : 0;

	if (i + 1 < chain->count)
		flags |= VRING_DESC_F_NEXT;
	if (chain->buffers[i].device_writes)
		flags |= VRING_DESC_F_WRITE;
	return flags;
}

/*
 * A line of the table that stays as it is need not leave the device's cache:
 * descriptors are used in turn, so that a driver with as many buffers as
 * descriptors writes each once.
 */
static void write_desc(struct vring_desc *to, const struct vring_desc *desc)
{
	if (memcmp(to, desc, sizeof(*desc)) != 0)
		*to = *desc;
}

static uint16_t split_add(struct driver_ring *ring,
			  const struct driver_chain *chain)
{
	uint16_t head = ring->free_desc;
	uint16_t at = head;
	uint16_t *entry;

	for (unsigned i = 0; i < chain->count; i++) {
		const struct vring_desc desc = {
			.addr = chain->buffers[i].gpa,
			.len = chain->buffers[i].length,
			.flags = desc_flags(chain, i),
			.next = i + 1 < chain->count ? ring->desc_next[at] : 0,
		};

		write_desc(&ring->desc[at], &desc);
		at = ring->desc_next[at];
	}
	ring->free_desc = at;
	entry = &ring->avail->ring[ring->avail_next++ & mask(ring)];
	if (*entry != head)
		*entry = head;
	ring->unkicked++;
	return head;
}

static void split_publish(struct driver_ring *ring)
{
	ring->published = ring->avail_next;
	/* Descriptors and ring entries before the index. */
	store_release(&ring->avail->idx, ring->avail_next);
}

static bool split_wants_kick(struct driver_ring *ring)
{
	uint16_t old = ring->published - ring->unkicked;

	if (ring->unkicked > UINT16_MAX)
		return true;
	if (ring->config.event_idx)
		return vring_need_event(load_once(avail_event(ring)),
					ring->published, old);
	return !(load_once(&ring->used->flags) & VRING_USED_F_NO_NOTIFY);
}

static bool split_has_used(const struct driver_ring *ring)
{
	return load_acquire(&ring->used->idx) != ring->used_next;
}

static int split_peek(const struct driver_ring *ring, uint16_t *ret_id,
		      uint32_t *ret_length)
{
	/* Pairs with the device's release of its index. */
	uint16_t idx = load_acquire(&ring->used->idx);
	uint16_t waiting = idx - ring->used_next;
	const struct vring_used_elem *elem;
	uint32_t id;

	if (waiting == 0)
		return 0;
	elem = &ring->used->ring[ring->used_next & mask(ring)];
	id = load_once(&elem->id);
	if (waiting > driver_ring_in_flight(ring) || id >= ring->config.size ||
	    ring->slots[id].descs == 0)
		return -EPROTO;
	*ret_id = id;
	*ret_length = load_once(&elem->len);
	return 1;
}

/*
 * An event that is not reached: an index that was passed, not more than
 * EVENT_LAG and a ring ago.
 */
static void refresh_calls_off(struct driver_ring *ring)
{
	store_once(used_event(ring), (uint16_t)(ring->used_next - 1));
}

static void split_advance(struct driver_ring *ring, uint16_t id)
{
	uint16_t last = id;

	for (unsigned i = 1; i < ring->slots[id].descs; i++)
		last = ring->desc_next[last];
	if (ring->free_descs == 0)
		ring->free_desc = id;
	else
		ring->desc_next[ring->free_last] = id;
	ring->free_last = last;
	ring->used_next++;
	if (ring->config.event_idx && !ring->calls &&
	    ring->used_next % EVENT_LAG == 0)
		refresh_calls_off(ring);
}

static void split_calls(struct driver_ring *ring, bool on)
{
	if (!ring->config.event_idx)
		store_once(&ring->avail->flags,
			   on ? 0 : VRING_AVAIL_F_NO_INTERRUPT);
	else if (on)
		store_once(used_event(ring), ring->used_next);
	else
		refresh_calls_off(ring);
}

const struct driver_ring_kind driver_split = {
	.lay_out = split_lay_out,
	.reset = split_reset,
	.add = split_add,
	.publish = split_publish,
	.wants_kick = split_wants_kick,
	.has_used = split_has_used,
	.peek = split_peek,
	.advance = split_advance,
	.calls = split_calls,
};
