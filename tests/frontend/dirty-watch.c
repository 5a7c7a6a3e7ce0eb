/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/frontend/dirty-watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bitmap.h"
#include "base/bytes.h"

enum {
	PAGE_BYTES = 4096,
	MAX_RINGS = 32,
};

struct dirty_watch {
	struct frontend *fe;
	struct driver_ring *const *rings;
	unsigned count;
	bool log_rings;
	uint32_t bases[MAX_RINGS];
	uint64_t *allowed;		  /* by page, as the log is */
	uint8_t *before[RAM_MAX_REGIONS]; /* each region's bytes */
};

static int make_copies(struct dirty_watch *watch)
{
	const struct ram *ram = watch->fe->ram;

	watch->allowed = calloc(1, watch->fe->log_bytes);
	if (!watch->allowed)
		return -ENOMEM;
	for (unsigned i = 0; i < ram->count; i++) {
		watch->before[i] = malloc(ram->regions[i].size_bytes);
		if (!watch->before[i])
			return -ENOMEM;
	}
	return 0;
}

int dirty_watch_new(struct frontend *fe, struct driver_ring *const *rings,
		    unsigned count, bool log_rings,
		    struct dirty_watch **ret_watch)
{
	struct dirty_watch *watch;
	int err;

	if (count > MAX_RINGS)
		return -EINVAL;
	watch = calloc(1, sizeof(*watch));
	if (!watch)
		return -ENOMEM;
	watch->fe = fe;
	watch->rings = rings;
	watch->count = count;
	watch->log_rings = log_rings;
	err = dirty_watch_stop(watch);
	if (err == 0)
		err = frontend_log_start(fe);
	if (err == 0)
		err = frontend_set_features(
			fe, fe->features | UINT64_C(1) << VHOST_F_LOG_ALL);
	if (err == 0)
		err = make_copies(watch);
	if (err < 0) {
		dirty_watch_free(watch);
		return err;
	}
	*ret_watch = watch;
	return 0;
}

void dirty_watch_free(struct dirty_watch *watch)
{
	if (!watch)
		return;
	for (unsigned i = 0; i < RAM_MAX_REGIONS; i++)
		free(watch->before[i]);
	free(watch->allowed);
	free(watch);
}

static int start_ring(struct dirty_watch *watch, unsigned i)
{
	const struct driver_ring *ring = watch->rings[i];
	int err = frontend_ring_base(watch->fe, i, watch->bases[i]);

	if (err == 0)
		err = frontend_ring_addr(watch->fe, i, ring, watch->log_rings);
	if (err == 0)
		err = frontend_ring_fd(watch->fe, VHOST_USER_SET_VRING_KICK, i,
				       ring->kick_fd);
	return err;
}

int dirty_watch_start(struct dirty_watch *watch)
{
	const struct ram *ram = watch->fe->ram;
	int err = 0;

	for (unsigned i = 0; i < ram->count; i++)
		memcpy(watch->before[i], ram_at(ram, ram->regions[i].gpa),
		       ram->regions[i].size_bytes);
	memset(watch->allowed, 0, watch->fe->log_bytes);
	frontend_log_clear(watch->fe);
	for (unsigned i = 0; i < watch->count && err == 0; i++)
		err = start_ring(watch, i);
	return err;
}

int dirty_watch_stop(struct dirty_watch *watch)
{
	int err = 0;

	for (unsigned i = 0; i < watch->count && err == 0; i++)
		err = frontend_ring_stop(watch->fe, i, &watch->bases[i]);
	return err;
}

static uint8_t *before_at(const struct dirty_watch *watch, uint64_t gpa)
{
	const struct ram *ram = watch->fe->ram;
	const struct ram_region *region = ram_region_of(ram, gpa);

	return watch->before[region - ram->regions] + (gpa - region->gpa);
}

/* Calls @visit for each page's part of a range, which may span regions. */
static void for_each_page(struct dirty_watch *watch, uint64_t gpa,
			  uint64_t bytes,
			  void (*visit)(struct dirty_watch *watch, uint64_t gpa,
					uint64_t bytes))
{
	while (bytes > 0) {
		uint64_t n = MIN(bytes, PAGE_BYTES - gpa % PAGE_BYTES);

		visit(watch, gpa, n);
		gpa += n;
		bytes -= n;
	}
}

static void forget(struct dirty_watch *watch, uint64_t gpa, uint64_t bytes)
{
	memcpy(before_at(watch, gpa), ram_at(watch->fe->ram, gpa), bytes);
}

static void allow(struct dirty_watch *watch, uint64_t gpa, uint64_t bytes)
{
	bitmap_set(watch->allowed, gpa / PAGE_BYTES);
}

void dirty_watch_forget(struct dirty_watch *watch, uint64_t gpa, uint64_t bytes)
{
	for_each_page(watch, gpa, bytes, forget);
}

void dirty_watch_allow(struct dirty_watch *watch, uint64_t gpa, uint64_t bytes)
{
	for_each_page(watch, gpa, bytes, allow);
}

/* What of a ring the device writes, and the driver does while it runs. */
static void look_at_ring(struct dirty_watch *watch,
			 const struct driver_ring *ring)
{
	const uint64_t size = ring->config.size;
	void (*device)(struct dirty_watch *, uint64_t, uint64_t) =
		watch->log_rings ? dirty_watch_allow : dirty_watch_forget;

	if (ring->config.packed) {
		device(watch, ring->desc_gpa, size * sizeof(*ring->packed));
		device(watch, ring->used_gpa, sizeof(*ring->device_event));
		dirty_watch_forget(watch, ring->avail_gpa,
				   sizeof(*ring->driver_event));
		return;
	}
	device(watch, ring->used_gpa,
	       offsetof(struct vring_used, ring[size]) + sizeof(uint16_t));
	dirty_watch_forget(watch, ring->avail_gpa,
			   offsetof(struct vring_avail, ring[size]) +
				   sizeof(uint16_t));
}

static uint64_t missing_in(const struct dirty_watch *watch, unsigned i)
{
	const struct ram_region *region = &watch->fe->ram->regions[i];

	for (uint64_t at = 0; at < region->size_bytes; at += PAGE_BYTES) {
		uint64_t gpa = region->gpa + at;

		if (!frontend_log_test(watch->fe, gpa) &&
		    memcmp(watch->before[i] + at, ram_at(watch->fe->ram, gpa),
			   PAGE_BYTES) != 0)
			return gpa;
	}
	return RAM_NONE;
}

uint64_t dirty_watch_missing(struct dirty_watch *watch)
{
	uint64_t gpa = RAM_NONE;

	for (unsigned i = 0; i < watch->count; i++)
		look_at_ring(watch, watch->rings[i]);
	for (unsigned i = 0; i < watch->fe->ram->count && gpa == RAM_NONE; i++)
		gpa = missing_in(watch, i);
	return gpa;
}

uint64_t dirty_watch_excess(const struct dirty_watch *watch)
{
	const uint64_t pages = watch->fe->log_bytes * 8;

	for (uint64_t page = bitmap_next_set(watch->fe->log, pages, 0);
	     page < pages;
	     page = bitmap_next_set(watch->fe->log, pages, page + 1))
		if (!bitmap_test(watch->allowed, page))
			return page * PAGE_BYTES;
	return RAM_NONE;
}
