/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/frontend/ram.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"

static const uint64_t page = 4096;

static bool touches_next(const struct ram *ram, unsigned i)
{
	const struct ram_region *r = &ram->regions[i];

	return i + 1 < ram->count && r->gpa + r->size_bytes == r[1].gpa;
}

/*
 * Descending with gpa, and never a multiple of anything larger than a page, so
 * that a back-end which takes one kind of address for another goes wrong.
 */
static uint64_t invented_uva(const struct ram *ram, unsigned i)
{
	return UINT64_C(0x7e0000000000) - (uint64_t)i * UINT64_C(0x1000000000) +
	       (i + 1) * page;
}

static int map_region(struct ram *ram, unsigned i)
{
	struct ram_region *r = &ram->regions[i];
	void *at;

	r->uva = invented_uva(ram, i);
	r->fd = memfd_create("guest-ram", MFD_CLOEXEC);
	if (r->fd < 0)
		return -errno;
	if (ftruncate(r->fd, r->mmap_offset + r->size_bytes) < 0)
		return -errno;
	at = mmap(ram->base + r->gpa, r->size_bytes, PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_FIXED, r->fd, r->mmap_offset);
	return at == MAP_FAILED ? -errno : 0;
}

static bool layout_is_sane(const struct ram_region *wanted, unsigned count)
{
	uint64_t end = 0;

	if (count == 0 || count > RAM_MAX_REGIONS)
		return false;
	for (unsigned i = 0; i < count; i++) {
		const struct ram_region *r = &wanted[i];

		if (r->gpa < end || r->size_bytes == 0 ||
		    !is_aligned(r->gpa | r->size_bytes | r->mmap_offset, page))
			return false;
		end = r->gpa + r->size_bytes;
	}
	return true;
}

int ram_new(const struct ram_region *wanted, unsigned count,
	    struct ram **ret_ram)
{
	struct ram *ram;
	int err = 0;

	if (!layout_is_sane(wanted, count))
		return -EINVAL;
	ram = calloc(1, sizeof(*ram) + count * sizeof(ram->regions[0]));
	if (!ram)
		return -ENOMEM;
	for (unsigned i = 0; i < count; i++) {
		ram->regions[i] = wanted[i];
		ram->regions[i].fd = -1;
	}
	ram->count = count;
	ram->end = wanted[count - 1].gpa + wanted[count - 1].size_bytes;
	ram->base = mmap(NULL, ram->end, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (ram->base == MAP_FAILED) {
		free(ram);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < count && err == 0; i++)
		err = map_region(ram, i);
	if (err < 0) {
		ram_free(ram);
		return err;
	}
	ram_reset(ram);
	*ret_ram = ram;
	return 0;
}

int ram_new_usual(uint64_t bytes, struct ram **ret_ram)
{
	const uint64_t low = 4 << 20;
	const struct ram_region layout[] = {
		{.gpa = 0, .size_bytes = low},
		{.gpa = low, .size_bytes = low, .mmap_offset = 16 * page},
		{
			.gpa = UINT64_C(4) << 30,
			.size_bytes = align_up(bytes, page) + low,
			.mmap_offset = 3 * page,
		},
	};

	return ram_new(layout, ARRAY_SIZE(layout), ret_ram);
}

void ram_free(struct ram *ram)
{
	if (!ram)
		return;
	for (unsigned i = 0; i < ram->count; i++)
		if (ram->regions[i].fd >= 0)
			close(ram->regions[i].fd);
	munmap(ram->base, ram->end);
	free(ram);
}

void ram_reset(struct ram *ram)
{
	for (unsigned i = 0; i < ram->count; i++) {
		struct ram_region *r = &ram->regions[i];
		uint64_t border =
			MIN((uint64_t)RAM_BORDER_BYTES, r->size_bytes / 4);

		r->next = r->gpa;
		r->limit = r->gpa + r->size_bytes;
		r->border_used = false;
		if (touches_next(ram, i))
			r->limit -= border;
		if (i > 0 && touches_next(ram, i - 1))
			r->next += border;
	}
	/* Address 0 is legal, but a poor thing to hand out. */
	if (ram->regions[0].gpa == 0)
		ram->regions[0].next += page;
	ram->turn = 0;
}

uint64_t ram_alloc(struct ram *ram, uint64_t bytes, uint64_t align)
{
	for (unsigned tries = 0; tries < ram->count; tries++) {
		struct ram_region *r = &ram->regions[ram->turn];
		uint64_t at = align_up(r->next, align);

		ram->turn = (ram->turn + 1) % ram->count;
		if (at <= r->limit && bytes <= r->limit - at) {
			r->next = at + bytes;
			return at;
		}
	}
	return RAM_NONE;
}

uint64_t ram_alloc_straddling(struct ram *ram, uint64_t before, uint64_t after)
{
	for (unsigned i = 0; i < ram->count; i++) {
		struct ram_region *r = &ram->regions[i];

		if (!touches_next(ram, i) || r->border_used ||
		    before > r->gpa + r->size_bytes - r->limit ||
		    after > MIN((uint64_t)RAM_BORDER_BYTES,
				r[1].size_bytes / 4))
			continue;
		r->border_used = true;
		return r->gpa + r->size_bytes - before;
	}
	return RAM_NONE;
}

const struct ram_region *ram_region_of(const struct ram *ram, uint64_t gpa)
{
	for (unsigned i = 0; i < ram->count; i++)
		if (gpa >= ram->regions[i].gpa &&
		    gpa - ram->regions[i].gpa < ram->regions[i].size_bytes)
			return &ram->regions[i];
	return NULL;
}

uint64_t ram_uva(const struct ram *ram, uint64_t gpa)
{
	const struct ram_region *r = ram_region_of(ram, gpa);

	return r ? r->uva + (gpa - r->gpa) : 0;
}
