/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For what changes an image while nothing is under way (image/manage.h):
 * taking, sharing and giving back clusters with synchronous calls, on top of
 * the same allocator and the same flush plans that guests' writes go through.
 *
 * A change goes: qcow2_settle, so that memory and file agree; take room and
 * fill it (qcow2_offline_take, store_write); qcow2_offline_stable, which makes
 * refcounts and content stable; then the one write that makes it count, mostly
 * qcow2_header_update; then give back what is no longer used, and settle.
 *
 * 0, a negative errno, or IMAGE_E_* with image_error.
 */
#ifndef QCOW2_OFFLINE_H
#define QCOW2_OFFLINE_H

#include "qcow2/core.h"

/*
 * Calls @step until it answers something else than QCOW2_ANSWERED, reading the
 * blocks that it needs and flushing when it must. Such a step finds what it
 * changed before, and goes on from there.
 */
int qcow2_offline_run(struct qcow2 *q,
		      int (*step)(struct qcow2 *q, void *opaque,
				  struct image_extent *ret),
		      void *opaque);

/*
 * Takes clusters in a row for @bytes (> 0, rounded up): refcount 1, in memory.
 * What they hold is undefined.
 */
int qcow2_offline_take(struct qcow2 *q, uint64_t bytes, uint64_t *ret_offset);

/*
 * Each cluster of the range loses one reference. The range must not be in use
 * any more, stably; it can be used again after qcow2_settle.
 */
int qcow2_offline_give_back(struct qcow2 *q, uint64_t offset, uint64_t bytes);

/* The refcount of host cluster @cluster, and setting it, in memory. */
int qcow2_offline_ref_get(struct qcow2 *q, uint64_t cluster, uint64_t *ret);
int qcow2_offline_ref_set(struct qcow2 *q, uint64_t cluster, uint64_t value);

/* Everything written so far, and all changed metadata, is stable. */
int qcow2_offline_stable(struct qcow2 *q);

#endif
