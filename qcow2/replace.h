/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What writes that need new room have in common: clusters in a row that are
 * going to be replaced, what they use now, and where they go.
 */
#ifndef QCOW2_REPLACE_H
#define QCOW2_REPLACE_H

#include "qcow2/alloc.h"
#include "qcow2/map.h"

struct qcow2_target {
	const struct qcow2_ask *ask;
	struct qcow2_l2 l2; /* its slice is pinned */
	uint64_t count;	    /* clusters */
	bool in_place; /* they have host clusters, in a row, of their own */
	uint64_t host; /* the first of these */
	unsigned frees;
	struct metacache_block *refs[2]; /* of the old clusters' refcounts */
};

/*
 * The next cluster, whose entry is @entry, can be replaced together with those
 * before it; what it uses will be freed. 0, IMAGE_E_CORRUPT or QCOW2_ANSWERED.
 */
int qcow2_target_add_old(struct qcow2 *q, struct qcow2_target *t,
			 uint64_t entry, struct image_extent *ret);

/*
 * Takes new room for the clusters, or for as many as there is in a row. In a
 * data file each has its place.
 */
int qcow2_target_take(struct qcow2 *q, struct qcow2_target *t,
		      struct image_extent *ret, struct qcow2_run *ret_run);

/*
 * Makes a pending allocation of it, of which the caller has filled in @pending
 * what is its own; returns the ticket.
 */
unsigned qcow2_target_promise(struct qcow2 *q, struct qcow2_target *t,
			      const struct qcow2_run *run,
			      struct qcow2_pending *pending);

/* Gives up the pins. */
void qcow2_target_release(struct qcow2 *q, struct qcow2_target *t);

#endif
