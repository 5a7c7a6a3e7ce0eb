/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended L2 entries: a cluster is 32 sub-clusters, each of which is data in
 * the cluster's host cluster, zeroes, or absent. Requests are answered in
 * sub-clusters, so that a small write to a large cluster copies little, and
 * only what it touches hides the backing image.
 *
 * A sub-cluster that is not data gets its place in the cluster's host cluster,
 * if there is one of our own, and is filled before the entry says so. Both words
 * of an entry change together: they lie in one sector.
 */
#ifndef QCOW2_SUBCLUSTER_H
#define QCOW2_SUBCLUSTER_H

#include "qcow2/map.h"

/* Bits [@first, @end) of the lower half of a bitmap. */
static inline uint64_t qcow2_subs_between(unsigned first, unsigned end)
{
	return (UINT64_C(1) << end) - (UINT64_C(1) << first);
}

static inline uint64_t qcow2_subs_data(uint64_t bitmap)
{
	return bitmap & QCOW2_SUBS_ALLOCATED;
}

static inline uint64_t qcow2_subs_zero(uint64_t bitmap)
{
	return bitmap >> QCOW2_SUBS;
}

static inline uint64_t qcow2_subs_absent(uint64_t bitmap)
{
	return ~(bitmap | bitmap >> QCOW2_SUBS) & QCOW2_SUBS_ALLOCATED;
}

/* The bitmap once the sub-clusters in @subs are data; @old as it was before. */
static inline uint64_t qcow2_subs_filled(uint64_t old, uint64_t bitmap,
					 uint64_t subs)
{
	/* A compressed cluster has been replaced as a whole. */
	if (old & QCOW2_COMPRESSED)
		return QCOW2_SUBS_ALLOCATED;
	return (bitmap | subs) & ~(subs << QCOW2_SUBS);
}

/*
 * What an extended entry is: QCOW2_UNALLOCATED has sub-clusters that are zero
 * or absent, QCOW2_NORMAL any; QCOW2_CORRUPT_ENTRY if its words do not agree.
 */
static inline enum qcow2_cluster_kind
qcow2_extended_kind(const struct qcow2 *q, uint64_t entry, uint64_t bitmap)
{
	enum qcow2_cluster_kind kind = qcow2_entry_kind(q, entry);
	bool sound = (qcow2_subs_data(bitmap) & qcow2_subs_zero(bitmap)) == 0;

	if (kind == QCOW2_UNALLOCATED)
		sound &= qcow2_subs_data(bitmap) == 0;
	else if (kind == QCOW2_IS_COMPRESSED)
		sound &= bitmap == 0;
	return sound ? kind : QCOW2_CORRUPT_ENTRY;
}

/* Of entry @at, extended or not. */
static inline enum qcow2_cluster_kind
qcow2_l2_kind(const struct qcow2 *q, const struct qcow2_l2 *l2, unsigned at)
{
	uint64_t entry = qcow2_l2_get(l2, at);

	return q->extended
		       ? qcow2_extended_kind(q, entry, qcow2_l2_bitmap(l2, at))
		       : qcow2_entry_kind(q, entry);
}

/* qcow2_map_read, once the entry is found. */
int qcow2_sub_read(struct qcow2 *q, const struct qcow2_ask *ask,
		   const struct qcow2_l2 *l2, struct image_extent *ret);

/* As qcow2_map_write and qcow2_map_zero. */
int qcow2_sub_write(struct qcow2 *q, const struct qcow2_ask *ask,
		    struct image_extent *ret);
int qcow2_sub_zero(struct qcow2 *q, const struct qcow2_ask *ask,
		   struct image_extent *ret);

/*
 * The run of sub-clusters that are data as IMAGE_DATA; those of other clusters
 * than the first belong to it if all of @flags are set there, too.
 */
int qcow2_sub_data(struct qcow2 *q, const struct qcow2_ask *ask,
		   const struct qcow2_l2 *l2, uint64_t flags,
		   struct image_extent *ret);

/* Makes room for what is not data at @ask's begin, and what follows it. */
int qcow2_sub_allocate(struct qcow2 *q, const struct qcow2_ask *ask,
		       struct image_extent *ret);

int qcow2_corrupt_bitmap(struct qcow2 *q, uint64_t guest_cluster,
			 uint64_t entry, uint64_t bitmap);

static inline uint64_t qcow2_sub_bytes(const struct qcow2 *q)
{
	return UINT64_C(1) << q->sub_bits;
}

/* The sub-cluster of its cluster that @ask begins in. */
static inline unsigned qcow2_ask_sub(const struct qcow2 *q,
				     const struct qcow2_ask *ask)
{
	return ask->skip >> q->sub_bits;
}

/* Those of @subs, of the guest's @cluster, that read as zeroes. */
uint64_t qcow2_subs_read_zero(const struct qcow2 *q, uint64_t cluster,
			      uint64_t bitmap, uint64_t subs);

#endif
