/* SPDX-License-Identifier: Apache-2.0 */
/* What the two layouts implement for driver-ring.c; private to it. */
#ifndef TESTS_FRONTEND_DRIVER_RING_KIND_H
#define TESTS_FRONTEND_DRIVER_RING_KIND_H

#include "base/bytes.h"
#include "tests/frontend/driver-ring.h"

enum {
	DRIVER_PAGE_BYTES = 4096
};

/* Pages that nothing else lies on. */
static inline uint64_t driver_ring_alloc_pages(const struct driver_ring *ring,
					       uint64_t bytes)
{
	return ram_alloc(ring->ram,
			 align_up(bytes, (uint64_t)DRIVER_PAGE_BYTES),
			 DRIVER_PAGE_BYTES);
}

/* A chain to be written: buffers, or one table (then count is 1). */
struct driver_chain {
	const struct driver_buffer *buffers;
	unsigned count;
	bool table;
};

struct driver_ring_kind {
	/* 0 or -ENOMEM. */
	int (*lay_out)(struct driver_ring *ring);
	void (*reset)(struct driver_ring *ring);
	/* There is room; returns the slot that it used. */
	uint16_t (*add)(struct driver_ring *ring,
			const struct driver_chain *chain);
	void (*publish)(struct driver_ring *ring);
	bool (*wants_kick)(struct driver_ring *ring);
	bool (*has_used)(const struct driver_ring *ring);
	/* 1 and a used element, 0, or -EPROTO; does not move on. */
	int (*peek)(const struct driver_ring *ring, uint16_t *ret_id,
		    uint32_t *ret_length);
	/* Moves past one chain and frees its descriptors. */
	void (*advance)(struct driver_ring *ring, uint16_t id);
	void (*calls)(struct driver_ring *ring, bool on);
};

extern const struct driver_ring_kind driver_split;
extern const struct driver_ring_kind driver_packed;

#endif
