/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "vhost/file-map.h"
#include "vhost/memory-internal.h"
#include "vhost/sigbus.h"

static int mapping_new(const struct guest_region_spec *spec,
		       struct memory_mapping **ret_mapping, uint8_t **ret_host)
{
	struct memory_mapping *mapping = calloc(1, sizeof(*mapping));
	int err;

	if (!mapping)
		return -ENOMEM;
	mapping->refs = 1;
	err = file_map_init(&mapping->map, spec->fd, spec->mmap_offset,
			    spec->size_bytes);
	if (err < 0) {
		free(mapping);
		return err;
	}
	*ret_host = mapping->map.start;
	*ret_mapping = mapping;
	return 0;
}

static void mapping_unref(struct memory_mapping *mapping)
{
	if (fetch_sub_acq_rel(&mapping->refs, 1) != 1)
		return;
	file_map_deinit(&mapping->map);
	free(mapping);
}

/* An empty snapshot with room for @count regions, in one allocation. */
static struct guest_memory *snapshot_alloc(size_t count)
{
	size_t regions = count * sizeof(struct memory_region);
	size_t origins = count * sizeof(struct memory_origin);
	struct guest_memory *memory =
		calloc(1, sizeof(*memory) + regions + origins +
				  count * sizeof(*memory->by_host));

	if (!memory)
		return NULL;
	memory->refs = 1;
	memory->sigbus_seen = sigbus_count() - 1;
	memory->origins = (struct memory_origin *)&memory->regions[count];
	memory->by_host = (uint16_t *)&memory->origins[count];
	return memory;
}

/*
 * One that ends at the very top of the address space is refused too: its end
 * has no number.
 */
static int spec_check(const struct guest_region_spec *spec)
{
	if (spec->size_bytes == 0 || spec->size_bytes > SIZE_MAX ||
	    spec->size_bytes > UINT64_MAX - spec->gpa ||
	    spec->size_bytes > UINT64_MAX - spec->uva)
		return -EINVAL;
	return 0;
}

/* Where a region at @gpa belongs: the first one that lies above. */
static unsigned region_above(const struct guest_memory *memory, uint64_t gpa)
{
	unsigned low = 0;
	unsigned high = memory->count;

	while (low < high) {
		unsigned middle = low + (high - low) / 2;

		if (memory->regions[middle].gpa <= gpa)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool region_overlaps(const struct guest_memory *memory, unsigned at,
			    const struct memory_region *region)
{
	const struct memory_region *below = &memory->regions[at] - 1;
	const struct memory_region *above = &memory->regions[at];

	return (at > 0 && ranges_overlap(below->gpa, below->size_bytes,
					 region->gpa, region->size_bytes)) ||
	       (at < memory->count &&
		ranges_overlap(above->gpa, above->size_bytes, region->gpa,
			       region->size_bytes));
}

/* Takes a reference to the mapping on success. There is room. */
static int region_insert(struct guest_memory *memory,
			 const struct memory_region *region,
			 const struct memory_origin *origin)
{
	unsigned at = region_above(memory, region->gpa);

	if (region_overlaps(memory, at, region))
		return -EINVAL;
	memmove(&memory->regions[at + 1], &memory->regions[at],
		(memory->count - at) * sizeof(memory->regions[0]));
	memmove(&memory->origins[at + 1], &memory->origins[at],
		(memory->count - at) * sizeof(memory->origins[0]));
	memory->regions[at] = *region;
	memory->origins[at] = *origin;
	fetch_add_relaxed(&origin->mapping->refs, 1);
	memory->count++;
	memory->end = MAX(memory->end, region->gpa + region->size_bytes);
	return 0;
}

static int region_map(struct guest_memory *memory,
		      const struct guest_region_spec *spec)
{
	struct memory_region region = {
		.gpa = spec->gpa,
		.size_bytes = spec->size_bytes,
	};
	struct memory_origin origin = {.uva = spec->uva};
	int err = spec_check(spec);

	if (err == 0)
		err = mapping_new(spec, &origin.mapping, &region.host);
	if (err < 0)
		return err;
	err = region_insert(memory, &region, &origin);
	mapping_unref(origin.mapping);
	return err;
}

static const uint8_t *host_of(const struct guest_memory *memory, unsigned i)
{
	return memory->regions[memory->by_host[i]].host;
}

/* Insertion sort: a few hundred at most, when memory changes. */
static void sort_by_host(struct guest_memory *memory)
{
	for (unsigned i = 0; i < memory->count; i++) {
		unsigned at = i;

		for (; at > 0; at--) {
			if (host_of(memory, at - 1) < memory->regions[i].host)
				break;
			memory->by_host[at] = memory->by_host[at - 1];
		}
		memory->by_host[at] = (uint16_t)i;
	}
}

/* Finishes @memory, or undoes it. */
static int snapshot_seal(struct guest_memory *memory, int err,
			 struct guest_memory **ret_memory)
{
	if (err < 0) {
		guest_memory_unref(memory);
		return err;
	}
	sort_by_host(memory);
	*ret_memory = memory;
	return 0;
}

int guest_memory_new(const struct guest_region_spec *specs, size_t count,
		     struct guest_memory **ret_memory)
{
	struct guest_memory *memory;
	int err = 0;

	if (count > GUEST_MEMORY_MAX_REGIONS)
		return -EINVAL;
	memory = snapshot_alloc(count);
	if (!memory)
		return -ENOMEM;
	for (size_t i = 0; i < count && err == 0; i++)
		err = region_map(memory, &specs[i]);
	return snapshot_seal(memory, err, ret_memory);
}

/* Copies the regions of @from, but the one numbered @skip, to the empty @to. */
static int regions_share(struct guest_memory *to,
			 const struct guest_memory *from, size_t skip)
{
	int err = 0;

	for (size_t i = 0; i < from->count && err == 0; i++)
		if (i != skip)
			err = region_insert(to, &from->regions[i],
					    &from->origins[i]);
	return err;
}

int guest_memory_with(const struct guest_memory *memory,
		      const struct guest_region_spec *spec,
		      struct guest_memory **ret_memory)
{
	size_t count = memory ? memory->count : 0;
	struct guest_memory *more;
	int err = 0;

	if (count >= GUEST_MEMORY_MAX_REGIONS)
		return -EINVAL;
	more = snapshot_alloc(count + 1);
	if (!more)
		return -ENOMEM;
	if (memory)
		err = regions_share(more, memory, SIZE_MAX);
	if (err == 0)
		err = region_map(more, spec);
	return snapshot_seal(more, err, ret_memory);
}

static bool region_is(const struct guest_memory *memory, size_t i,
		      const struct guest_region_spec *spec)
{
	return memory->regions[i].gpa == spec->gpa &&
	       memory->regions[i].size_bytes == spec->size_bytes &&
	       memory->origins[i].uva == spec->uva;
}

int guest_memory_without(const struct guest_memory *memory,
			 const struct guest_region_spec *spec,
			 struct guest_memory **ret_memory)
{
	size_t count = guest_memory_regions(memory);
	struct guest_memory *less;
	size_t i = 0;

	while (i < count && !region_is(memory, i, spec))
		i++;
	if (i == count)
		return -ENOENT;
	less = snapshot_alloc(count - 1);
	if (!less)
		return -ENOMEM;
	return snapshot_seal(less, regions_share(less, memory, i), ret_memory);
}

struct guest_memory *guest_memory_ref(struct guest_memory *memory)
{
	fetch_add_relaxed(&memory->refs, 1);
	return memory;
}

void guest_memory_unref(struct guest_memory *memory)
{
	if (!memory || fetch_sub_acq_rel(&memory->refs, 1) != 1)
		return;
	for (unsigned i = 0; i < memory->count; i++)
		mapping_unref(memory->origins[i].mapping);
	free(memory);
}

size_t guest_memory_regions(const struct guest_memory *memory)
{
	return memory ? memory->count : 0;
}

uint64_t guest_memory_end(const struct guest_memory *memory)
{
	return memory ? memory->end : 0;
}

/* Walks from region to region for what the hint does not hold entirely. */
static int iov_across(const struct guest_memory *memory, uint64_t gpa,
		      uint64_t length, struct iovec *ret_iov, unsigned max,
		      unsigned *hint)
{
	unsigned at = region_above(memory, gpa);
	unsigned used = 0;

	if (at == 0)
		return -EFAULT;
	for (at--; length > 0; at++) {
		const struct memory_region *region = &memory->regions[at];
		uint64_t offset;
		uint64_t bytes;

		if (at >= memory->count || gpa < region->gpa ||
		    gpa - region->gpa >= region->size_bytes)
			return -EFAULT;
		offset = gpa - region->gpa;
		bytes = MIN(length, region->size_bytes - offset);
		if (used < max)
			ret_iov[used] = (struct iovec){
				.iov_base = region->host + offset,
				.iov_len = bytes,
			};
		used++;
		*hint = at;
		/* Cannot wrap: no region ends at the top of the space. */
		gpa += bytes;
		length -= bytes;
	}
	return used <= max ? (int)used : -ENOBUFS;
}

int guest_memory_iov(const struct guest_memory *memory, uint64_t gpa,
		     uint64_t length, struct iovec *ret_iov, unsigned max,
		     unsigned *hint)
{
	void *host;

	if (length == 0)
		return 0;
	host = guest_memory_hit(memory, gpa, length, *hint);
	if (!host || max == 0)
		return iov_across(memory, gpa, length, ret_iov, max, hint);
	ret_iov->iov_base = host;
	ret_iov->iov_len = length;
	return 1;
}

static const struct memory_region *
region_of_uva(const struct guest_memory *memory, uint64_t uva,
	      uint64_t *ret_offset)
{
	for (unsigned i = 0; i < memory->count; i++) {
		uint64_t offset = uva - memory->origins[i].uva;

		if (uva < memory->origins[i].uva ||
		    offset >= memory->regions[i].size_bytes)
			continue;
		*ret_offset = offset;
		return &memory->regions[i];
	}
	return NULL;
}

void *guest_memory_uva(const struct guest_memory *memory, uint64_t uva,
		       uint64_t length)
{
	const struct memory_region *region;
	uint8_t *first = NULL;
	uint8_t *next = NULL;
	uint64_t offset;

	while (length > 0 || !first) {
		uint64_t bytes;

		region = region_of_uva(memory, uva, &offset);
		if (!region)
			return NULL;
		if (!first)
			first = region->host + offset;
		else if (region->host + offset != next)
			return NULL;
		bytes = MIN(length, region->size_bytes - offset);
		next = region->host + offset + bytes;
		uva += bytes;
		length -= bytes;
	}
	return first;
}

uint64_t guest_memory_gpa(const struct guest_memory *memory, const void *host)
{
	const uint8_t *address = host;
	unsigned low = 0;
	unsigned high = memory->count;
	const struct memory_region *region;

	while (low < high) {
		unsigned middle = low + (high - low) / 2;

		if (host_of(memory, middle) <= address)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == 0)
		return UINT64_MAX;
	region = &memory->regions[memory->by_host[low - 1]];
	if ((uint64_t)(address - region->host) >= region->size_bytes)
		return UINT64_MAX;
	return region->gpa + (uint64_t)(address - region->host);
}

/*
 * The flags are looked at only when some range of the process was replaced
 * since the last look. The snapshot is const to its users; these two fields
 * are a cache in it, and a lost update costs no more than another look.
 */
bool guest_memory_is_broken(const struct guest_memory *memory)
{
	struct guest_memory *cache = (struct guest_memory *)memory;
	unsigned count = sigbus_count();

	if (load_acquire(&cache->sigbus_seen) == count)
		return load_once(&cache->broken);
	for (unsigned i = 0; i < memory->count; i++)
		if (load_acquire(&memory->origins[i].mapping->map.broken))
			store_once(&cache->broken, true);
	store_release(&cache->sigbus_seen, count);
	return load_once(&cache->broken);
}
