/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way from a guest cluster to its L2 entry ("Cluster mapping"): the L1
 * table in memory, L2 tables in the cache slice by slice.
 */
#ifndef QCOW2_TABLE_H
#define QCOW2_TABLE_H

#include "qcow2/core.h"

enum qcow2_cluster_kind {
	QCOW2_UNALLOCATED,
	QCOW2_ZERO_PLAIN,
	QCOW2_ZERO_ALLOCATED, /* reads as zeroes, and has a host cluster */
	QCOW2_NORMAL,
	QCOW2_IS_COMPRESSED,
	QCOW2_CORRUPT_ENTRY,
};

/* An L2 entry in the cache: @slice's entry @index and those after it. */
struct qcow2_l2 {
	struct metacache_block *slice; /* NULL: there is no L2 table */
	unsigned index;
	unsigned count; /* entries from @index to the slice's end; without a
			 * slice, those that have no table either */
	unsigned entry_bits;
};

/* The entry itself, or the first word of an extended one. */
static inline uint64_t qcow2_l2_get(const struct qcow2_l2 *l2, unsigned at)
{
	return get_be64(l2->slice->data +
			((size_t)(l2->index + at) << l2->entry_bits));
}

/* The second word of an extended entry: which sub-clusters are what. */
static inline uint64_t qcow2_l2_bitmap(const struct qcow2_l2 *l2, unsigned at)
{
	return get_be64(l2->slice->data +
			((size_t)(l2->index + at) << l2->entry_bits) + 8);
}

/*
 * Changes the entry of @guest_cluster, and records that if there is a journal:
 * the caller knows that it has room (qcow2_journal_room, or a promise). The
 * bitmap of an extended entry becomes 0, as compressed clusters have it.
 */
void qcow2_l2_set(struct qcow2 *q, struct metacache_block *slice,
		  unsigned index, uint64_t guest_cluster, uint64_t entry);

/* The same for both words of an extended entry. */
void qcow2_l2_set_extended(struct qcow2 *q, struct metacache_block *slice,
			   unsigned index, uint64_t guest_cluster,
			   uint64_t entry, uint64_t bitmap);

/*
 * What a version-2 or -3 entry means, or an extended one but for its bitmap
 * (see qcow2/subcluster.h); checks all but the file's end.
 */
static inline enum qcow2_cluster_kind qcow2_entry_kind(const struct qcow2 *q,
						       uint64_t entry)
{
	uint64_t offset = entry & QCOW2_OFFSET_MASK;

	if (entry & QCOW2_COMPRESSED)
		return entry & QCOW2_COPIED || q->data_file
			       ? QCOW2_CORRUPT_ENTRY
			       : QCOW2_IS_COMPRESSED;
	if ((entry & QCOW2_L2_RESERVED) || qcow2_in_cluster(q, offset) != 0)
		return QCOW2_CORRUPT_ENTRY;
	if (entry & QCOW2_ZERO) {
		if (q->header.version < 3 || q->extended)
			return QCOW2_CORRUPT_ENTRY;
		return offset ? QCOW2_ZERO_ALLOCATED : QCOW2_ZERO_PLAIN;
	}
	if (offset == 0 && (!(entry & QCOW2_COPIED) || !q->data_file))
		return entry & QCOW2_COPIED ? QCOW2_CORRUPT_ENTRY
					    : QCOW2_UNALLOCATED;
	return QCOW2_NORMAL; /* at 0 only in a data file */
}

/* A host cluster that may be changed where it is. */
static inline uint64_t qcow2_own_flag(const struct qcow2 *q)
{
	return q->data_file ? 0 : QCOW2_COPIED;
}

static inline bool qcow2_is_own(const struct qcow2 *q, uint64_t entry)
{
	return (entry & qcow2_own_flag(q)) == qcow2_own_flag(q);
}

/* What a data file has of the guest cluster, it has where the guest has it. */
static inline bool qcow2_is_misplaced(const struct qcow2 *q,
				      uint64_t guest_cluster, uint64_t entry)
{
	return q->data_file &&
	       qcow2_cluster_of(q, entry & QCOW2_OFFSET_MASK) != guest_cluster;
}

/* Where a compressed cluster's bytes are: at most two clusters' worth. */
void qcow2_entry_compressed(const struct qcow2 *q, uint64_t entry,
			    uint64_t *ret_offset, uint64_t *ret_bytes);

/* True if what the entry uses lies inside the file and off the tables. */
bool qcow2_entry_in_file(const struct qcow2 *q, uint64_t entry);

/* Says that the entry for @guest_cluster cannot be; IMAGE_E_CORRUPT. */
int qcow2_corrupt_entry(struct qcow2 *q, uint64_t guest_cluster,
			uint64_t entry);

/* To read: 0, IMAGE_E_CORRUPT or QCOW2_ANSWERED. */
int qcow2_l2_find(struct qcow2 *q, uint64_t guest_cluster,
		  struct image_extent *ret, struct qcow2_l2 *ret_l2);

/* The same, if it is in memory and sound; changes nothing (see lookup.c). */
bool qcow2_l2_peek(struct qcow2 *q, uint64_t guest_cluster,
		   struct qcow2_l2 *ret_l2);

/*
 * To change: makes the L2 table if there is none, and a copy of our own if it
 * is shared with a snapshot. What every change of the metadata wants first, room
 * in the cache and the next step of a refcount table that moves, is seen to.
 */
int qcow2_l2_own(struct qcow2 *q, uint64_t guest_cluster,
		 struct image_extent *ret, struct qcow2_l2 *ret_l2);

#endif
