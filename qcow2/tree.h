/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that an L1 table reaches, gone through as a whole: its L2 tables
 * and the host clusters that these map, one visit for each reference. For what
 * snapshots and shrinking do, with synchronous calls while nothing is under way
 * and nothing waits to be written (qcow2_settle): tables are read and written
 * where they lie, refcounts by way of the cache.
 *
 * 0, a negative errno, or IMAGE_E_* with image_error.
 */
#ifndef QCOW2_TREE_H
#define QCOW2_TREE_H

#include "qcow2/core.h"

/* A part of an L1 table, as on disk. */
struct qcow2_tree {
	const uint8_t *l1;
	uint32_t entries;
};

/* Of one of its L2 tables. */
static inline uint64_t qcow2_table_entries(const struct qcow2 *q)
{
	return UINT64_C(1) << q->l2_bits;
}

/* One of its L2 tables, read where it lies: a cluster's bytes. */
struct qcow2_tree_table {
	uint64_t offset;      /* in the file */
	uint64_t first_guest; /* cluster, of its first entry */
	uint8_t *entries;     /* borrowed for the call */
};

/*
 * @call for each L2 table there is, in order. Ends with the first answer that
 * is not 0, and returns it. Nothing is checked but that the table has a place.
 */
int qcow2_tree_each(struct qcow2 *q, struct qcow2_tree tree,
		    int (*call)(struct qcow2 *q, void *opaque,
				const struct qcow2_tree_table *table),
		    void *opaque);

/*
 * Writes a changed table where it lies; stable with the next flush of the
 * store. A torn write leaves each entry as it was or as it shall be, so both
 * have to be right.
 */
int qcow2_tree_write(struct qcow2 *q, const struct qcow2_tree_table *table);

/* Every entry can be, and every refcount is more than zero. */
int qcow2_tree_check(struct qcow2 *q, struct qcow2_tree tree);

/*
 * The same, and every refcount can rise by one: else -EOVERFLOW. Where
 * compressed clusters share one this may still not be enough.
 */
int qcow2_tree_check_raise(struct qcow2 *q, struct qcow2_tree tree);

/*
 * One reference more for each there is, in memory. If it fails, those that
 * were added are taken away again.
 */
int qcow2_tree_raise(struct qcow2 *q, struct qcow2_tree tree);

/*
 * One reference less; what loses its last is given back. The tree must not be
 * reachable any more, stably.
 */
int qcow2_tree_lower(struct qcow2 *q, struct qcow2_tree tree);

/*
 * Takes the COPIED flags out of the tree's L2 tables. Stable with the next
 * flush of the store. The L1 table is the caller's.
 */
int qcow2_tree_unmark(struct qcow2 *q, struct qcow2_tree tree);

/*
 * Lets the COPIED flags of the image's own L1 and L2 tables say what the
 * refcounts do, which are stable. The flags are when it returns 0.
 */
int qcow2_tree_mark_active(struct qcow2 *q);

#endif
