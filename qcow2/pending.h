/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocations that were handed out (IMAGE_ALLOCATE) and wait for their commit.
 * Each keeps the blocks that the commit will change in the cache, and places
 * in the queue of what is to be freed and in the journal: a commit never has to wait.
 */
#ifndef QCOW2_PENDING_H
#define QCOW2_PENDING_H

#include "qcow2/core.h"

static inline bool qcow2_pending_is_full(const struct qcow2 *q)
{
	return q->pending_count == QCOW2_MAX_PENDING;
}

/*
 * How many of the @count guest clusters from @first on come before one that a
 * pending allocation covers; @count if none is.
 */
uint64_t qcow2_pending_limit(const struct qcow2 *q, uint64_t first,
			     uint64_t count);

/*
 * True if a pending allocation covers some of these sub-clusters of the guest's
 * cluster, or moves it elsewhere.
 */
bool qcow2_pending_has(const struct qcow2 *q, uint64_t guest_cluster,
		       uint64_t subs);

/* Takes over the pins of @pending's blocks; returns its ticket. */
unsigned qcow2_pending_add(struct qcow2 *q,
			   const struct qcow2_pending *pending);

#endif
