/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A checker of QCOW2 images of its own, that shares no code with the driver:
 * from the bytes of an image it counts who uses each cluster and compares with
 * the refcounts.
 */
#ifndef TESTS_IMAGES_QCOW2_WALK_H
#define TESTS_IMAGES_QCOW2_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct qcow2_walk {
	uint8_t *data;
	uint64_t size_bytes;
	/* Filled in: */
	unsigned cluster_bits;
	unsigned refcount_order;
	bool data_file;
	bool extended_l2;
	uint64_t clusters;
	uint32_t *uses;	 /* by cluster; to be freed */
	uint64_t leaked; /* clusters with a refcount above their uses */
	/* Active mappings to what has the refcount one, without COPIED. */
	uint64_t unmarked;
	/*
	 * Clusters past the disk's end that are mapped to data, and bytes past
	 * it in its last cluster that are not zero: a larger disk would show
	 * them. Not counted with extended L2 entries or a data file.
	 */
	uint64_t hidden;
	char problem[200];
};

/*
 * 0 if all is well, leaks aside; else -1 and @problem: a cluster with more uses
 * than its refcount, a COPIED flag on one whose refcount is not one, an offset
 * that is not aligned or not in the file.
 */
int qcow2_walk(struct qcow2_walk *walk);

/*
 * Adds an internal snapshot of what an image holds, the way the specification
 * says, to @data, which has @capacity bytes. Returns the new size.
 */
uint64_t qcow2_walk_add_snapshot(uint8_t *data, uint64_t size_bytes,
				 uint64_t capacity);

#endif
