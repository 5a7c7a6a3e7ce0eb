/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding free host clusters and taking them: a first-fit search that never
 * looks below free_hint, one slice of refcounts at a time. What is taken has
 * refcount 1 in memory at once; a flush writes that before any mapping.
 *
 * New refcount blocks lie in the first cluster that they describe; a refcount
 * table that is full moves to a larger place at the end of the file (the next
 * flush writes it there and only then lets the header name it).
 */
#ifndef QCOW2_ALLOC_H
#define QCOW2_ALLOC_H

#include "qcow2/core.h"

struct qcow2_run {
	uint64_t first; /* host clusters */
	uint32_t count;
	bool reads_zero;	     /* never written: past the end of a file */
	struct metacache_block *ref; /* has the refcounts of all */
};

enum qcow2_alloc_what {
	QCOW2_ALLOC_DATA,
	/* Taken past the end of a file where it can be: that reads as zeroes,
	 * so of a new table only the changed slices are written. */
	QCOW2_ALLOC_METADATA,
};

/*
 * Takes up to @want neighbouring clusters. 0, IMAGE_E_NO_SPACE,
 * IMAGE_E_CORRUPT, -ENOMEM or QCOW2_ANSWERED.
 */
int qcow2_alloc(struct qcow2 *q, enum qcow2_alloc_what what, uint32_t want,
		struct image_extent *ret, struct qcow2_run *ret_run);

/*
 * Takes @cluster, of which the caller knows that nothing refers to it. If its
 * refcounts have no block yet, that is placed at @home, which they cover, too.
 * As qcow2_alloc.
 */
int qcow2_alloc_at(struct qcow2 *q, uint64_t cluster, uint64_t home,
		   struct image_extent *ret);

/* Clusters in a row, on their way to be taken. */
struct qcow2_row {
	uint64_t first; /* host clusters; 0: past the end of what is used */
	uint32_t count;
	uint32_t done;
	bool fresh; /* never written: reads as zeroes */
};

/*
 * Takes @row: zeroed at first, but for count and, where the caller knows of
 * free clusters that have refcount blocks, first. As qcow2_alloc; the next try
 * with the same row goes on.
 */
int qcow2_alloc_row(struct qcow2 *q, struct qcow2_row *row,
		    struct image_extent *ret);

/* Sets end_cluster, free_hint and host_limit of an image just opened. */
void qcow2_alloc_init(struct qcow2 *q);

/*
 * Goes on with what is left to do of a refcount table's move: its new place,
 * and freeing its old one. 0 when nothing is left.
 */
int qcow2_regrow_step(struct qcow2 *q, struct image_extent *ret);

/* True if qcow2_regrow_step has something to do. */
static inline bool qcow2_regrow_waits(const struct qcow2 *q)
{
	return q->regrow.placing || q->regrow.old_count;
}

#endif
