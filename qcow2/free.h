/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Giving host clusters back, in the order that a crash and requests still
 * under way demand. A cluster that lost a mapping goes through
 *
 *	queued	   its L2 entry is changed in memory only;
 *	stable	   a flush ended that wrote the L2 entry (frees[].flush);
 *	reclaimed  no request that was mapped before can touch it any more:
 *		   a refcount above one falls now; a last one waits to be
 *	punched	   in the next plan, so that the file gives up the space, and
 *		   only then falls to zero: the cluster can be allocated.
 *
 * The fallen refcount reaches the disk with the plan after that. A crash
 * anywhere on this way leaks the cluster at worst.
 */
#ifndef QCOW2_FREE_H
#define QCOW2_FREE_H

#include "qcow2/core.h"

/* True if @count more runs can be queued besides those promised. */
static inline bool qcow2_free_has_room(const struct qcow2 *q, uint32_t count)
{
	return q->free_count + q->frees_reserved + count <= QCOW2_MAX_FREES;
}

/* Takes one reference each; their refcounts are all in @ref. */
void qcow2_free_queue(struct qcow2 *q, struct metacache_block *ref,
		      uint64_t first, uint32_t count);

/*
 * The host clusters that an L2 entry uses, one or more for a compressed one.
 * Zero if it uses none: data in a data file is not counted.
 */
uint32_t qcow2_entry_clusters(const struct qcow2 *q, uint64_t entry,
			      uint64_t *ret_first);

/*
 * Before an entry is overwritten: brings in the refcounts of what it uses,
 * and checks that they are not zero. ret_refs[] are those of the first and the
 * last cluster, perhaps the same; NULL if it uses none.
 */
int qcow2_free_prepare(struct qcow2 *q, uint64_t entry,
		       struct image_extent *ret,
		       struct metacache_block *ret_refs[2]);

/* The same for clusters in a row. */
int qcow2_free_prepare_run(struct qcow2 *q, uint64_t first, uint32_t count,
			   struct image_extent *ret,
			   struct metacache_block *ret_refs[2]);

/* Queues what @entry used; prepared before, with the same slices. */
void qcow2_free_entry(struct qcow2 *q, uint64_t entry,
		      struct metacache_block *const refs[2]);

/* The plan of flush number @flush made every queued change stable. */
void qcow2_free_stable(struct qcow2 *q, uint32_t count, uint64_t flush);

/* The first @count of q->punches were punched. */
void qcow2_free_punched(struct qcow2 *q, uint32_t count);

#endif
