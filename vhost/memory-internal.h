/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a memory snapshot, for vhost/memory.c and for the virtqueues'
 * data path, where a call per descriptor would be a sizeable part of the cost.
 */
#ifndef VHOST_MEMORY_INTERNAL_H
#define VHOST_MEMORY_INTERNAL_H

#include "vhost/file-map.h"
#include "vhost/memory.h"

/* One region's mapping, shared by snapshots. */
struct memory_mapping {
	unsigned refs;
	struct file_map map;
};

/* What translation reads, apart from what it does not. */
struct memory_region {
	uint64_t gpa;
	uint64_t size_bytes;
	uint8_t *host;
};

struct memory_origin {
	uint64_t uva;
	struct memory_mapping *mapping;
};

struct guest_memory {
	unsigned refs;
	unsigned count;
	/* guest_memory_is_broken: sigbus_count when last looked, and then. */
	unsigned sigbus_seen;
	bool broken;
	uint64_t end;
	struct memory_origin *origins;	/* as regions[] */
	uint16_t *by_host;		/* indexes of regions[], by host */
	struct memory_region regions[]; /* by gpa */
};

/*
 * The host address of [gpa, gpa + length) if it lies in region @hint, else
 * NULL; the slow path is guest_memory_iov.
 */
static inline void *guest_memory_hit(const struct guest_memory *memory,
				     uint64_t gpa, uint64_t length,
				     unsigned hint)
{
	const struct memory_region *region = &memory->regions[hint];
	uint64_t offset;

	if (__builtin_expect(hint >= memory->count, 0))
		return NULL;
	offset = gpa - region->gpa;
	if (offset >= region->size_bytes ||
	    length > region->size_bytes - offset)
		return NULL;
	return region->host + offset;
}

#endif
