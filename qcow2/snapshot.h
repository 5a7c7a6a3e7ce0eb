/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Internal snapshots: a copy of the L1 table, with a reference more to all that
 * it reaches. See image/manage.h for what the calls do.
 */
#ifndef QCOW2_SNAPSHOT_H
#define QCOW2_SNAPSHOT_H

#include "image/manage.h"
#include "qcow2/core.h"

int qcow2_snapshot_list(struct image *image, struct image_snapshots *ret);
int qcow2_snapshot_create(struct image *image, const char *name);
int qcow2_snapshot_apply(struct image *image, const char *name);
int qcow2_snapshot_delete(struct image *image, const char *name);

struct qcow2_snapshot;

/*
 * The L1 table of @s, as it lies there, with room for @entries of them if that
 * is more, the rest cleared. Heap. 0, -ENOMEM or the store's error.
 */
int qcow2_snapshot_l1(struct qcow2 *q, const struct qcow2_snapshot *s,
		      uint64_t entries, uint8_t **ret_l1);

/*
 * For opening: the header in @q, read already, becomes that of the snapshot
 * called @name: its size, its L1 table. -ENOENT, or as for any table, with
 * image_error.
 */
int qcow2_snapshot_enter(struct qcow2 *q, const struct image_open_options *o);

#endif
