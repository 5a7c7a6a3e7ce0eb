/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rarer parts of collecting a chain: buffers that leave the region of the
 * buffer before, and indirect tables (virtio 1.2, 2.7.5.3 and 2.8.7).
 *
 * A table is guest memory like any other: it may span regions, may change
 * while it is read, and its entries are copied one by one before they are
 * judged. The walk is bounded by the number of entries, so that a loop ends.
 */
#include <errno.h>

#include "base/bytes.h"
#include "vhost/virtq-internal.h"

const struct memory_region *walk_find_other(struct virtq *vq, uint64_t addr)
{
	enum {
		FEW = 8
	};
	const struct guest_memory *memory = vq->memory;
	const unsigned count = MIN(memory->count, (unsigned)FEW);

	for (unsigned i = 0; i < count; i++) {
		const struct memory_region *region = &memory->regions[i];

		if (addr - region->gpa >= region->size_bytes)
			continue;
		vq->hint = i;
		return region;
	}
	return NULL;
}

static int add_buffer(struct virtq *vq, struct virtq_walk *walk, uint64_t addr,
		      uint32_t len)
{
	int n = guest_memory_iov(vq->memory, addr, len, walk->iov + walk->count,
				 walk->max - walk->count, &vq->hint);

	if (n == -EFAULT)
		return virtq_fail(vq,
				  "a descriptor's buffer [0x%llx, +%u) is not "
				  "in guest memory",
				  (unsigned long long)addr, len);
	if (n < 0) {
		/* Go on judging the chain, but store no more of it. */
		walk->too_long = true;
		walk->count = 0;
		walk->max = 0;
		return 0;
	}
	walk->count += (unsigned)n;
	return 0;
}

struct indirect_table {
	uint64_t addr;
	unsigned count;
	const uint8_t *host; /* NULL: it spans regions */
};

/* Entry @index, out of as many regions as it has bytes, if it must be. */
static int table_read(struct virtq *vq, const struct indirect_table *table,
		      unsigned index, struct virtq_desc *ret_desc)
{
	struct iovec segments[DESC_BYTES];
	uint8_t bytes[DESC_BYTES];
	const uint8_t *entry = table->host;
	size_t at = 0;
	int n;

	if (entry) {
		entry += (size_t)index * DESC_BYTES;
	} else {
		n = guest_memory_iov(
			vq->memory, table->addr + (uint64_t)index * DESC_BYTES,
			DESC_BYTES, segments, DESC_BYTES, &vq->table_hint);
		for (int i = 0; i < n; i++) {
			memcpy(bytes + at, segments[i].iov_base,
			       segments[i].iov_len);
			at += segments[i].iov_len;
		}
		if (at != DESC_BYTES)
			return virtq_fail(vq, "an indirect table is not in "
					      "guest memory");
		entry = bytes;
	}
	*ret_desc = vq->is_packed ? packed_desc_read(entry)
				  : split_desc_read(entry);
	return 0;
}

static int table_open(struct virtq *vq, struct virtq_desc desc,
		      struct indirect_table *ret_table)
{
	struct iovec whole;
	int n;

	if (!vq->indirect)
		return virtq_fail(vq, "an indirect descriptor, which was not "
				      "negotiated");
	if (desc.flags & VRING_DESC_F_NEXT)
		return virtq_fail(vq, "an indirect descriptor has a next one");
	if (desc.len == 0 || desc.len % DESC_BYTES != 0 ||
	    desc.len / DESC_BYTES > VIRTQ_MAX_CHAIN)
		return virtq_fail(vq, "an indirect table of %u bytes",
				  desc.len);
	n = desc.addr > UINT64_MAX - desc.len
		    ? -EFAULT
		    : guest_memory_iov(vq->memory, desc.addr, desc.len, &whole,
				       1, &vq->table_hint);
	if (n == -EFAULT)
		return virtq_fail(vq,
				  "an indirect table [0x%llx, +%u) is not in "
				  "guest memory",
				  (unsigned long long)desc.addr, desc.len);
	ret_table->addr = desc.addr;
	ret_table->count = desc.len / DESC_BYTES;
	ret_table->host = n == 1 ? whole.iov_base : NULL;
	return 0;
}

/* The entry after @index, or the table's count if that was the last. */
static int table_next(struct virtq *vq, const struct indirect_table *table,
		      const struct virtq_desc *desc, unsigned *index)
{
	if (vq->is_packed) {
		++*index;
	} else if (!(desc->flags & VRING_DESC_F_NEXT)) {
		*index = table->count;
	} else if (desc->link >= table->count) {
		return virtq_fail(vq,
				  "next %u in an indirect table of %u entries",
				  desc->link, table->count);
	} else {
		*index = desc->link;
	}
	return 0;
}

static int add_direct(struct virtq *vq, struct virtq_walk *walk,
		      const struct virtq_desc *desc)
{
	if (desc->flags & VRING_DESC_F_WRITE)
		walk_see_write(walk);
	else if (walk->saw_write)
		return virtq_fail(vq, "a device-readable descriptor follows a "
				      "writable one");
	walk->bytes += desc->len;
	/* Drivers send empty buffers; a segment of nothing helps nobody. */
	return desc->len ? add_buffer(vq, walk, desc->addr, desc->len) : 0;
}

static int add_table(struct virtq *vq, struct virtq_walk *walk,
		     struct virtq_desc desc, unsigned before)
{
	struct indirect_table table;
	unsigned left;
	int err = table_open(vq, desc, &table);

	if (err)
		return err;
	left = MIN(table.count, VIRTQ_MAX_CHAIN - before);
	for (unsigned index = 0; index < table.count; left--) {
		if (left == 0)
			return virtq_fail(vq, "an indirect table has a loop or "
					      "is too long");
		err = table_read(vq, &table, index, &desc);
		if (err)
			return err;
		if (desc.flags & VRING_DESC_F_INDIRECT)
			return virtq_fail(vq, "an indirect descriptor within "
					      "an indirect table");
		err = add_direct(vq, walk, &desc);
		if (err)
			return err;
		err = table_next(vq, &table, &desc, &index);
		if (err)
			return err;
	}
	return 0;
}

int walk_add(struct virtq *vq, struct virtq_walk *walk, struct virtq_desc desc,
	     unsigned before)
{
	if (desc.flags & VRING_DESC_F_INDIRECT)
		return add_table(vq, walk, desc, before);
	return add_direct(vq, walk, &desc);
}
