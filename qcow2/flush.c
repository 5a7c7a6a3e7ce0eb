/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan that makes what happened so far stable, in the order that keeps an
 * image whole at every instant of a crash:
 *
 *	0. the header loses autoclear bits and says that the image is dirty
 *	   or corrupt, and bitmaps are marked in use			BARRIER
 *	1. the space of clusters given up is punched out (nothing refers to
 *	   them), the file gets its length;
 *	2. refcounts, raised ones and those that may fall	BARRIER
 *	3. refcount table entries, or the whole table elsewhere	BARRIER
 *	4. the header, if the table moved			BARRIER
 *	5. L2 entries						BARRIER
 *	6. L1 entries						BARRIER
 *
 * The barrier of 2 also stands between the guest's data, written before the
 * flush began, and the L2 entries that point at it. Phases with nothing to
 * write are left out with their barrier; the barrier of 2 never is.
 *
 * With lazy refcounts the image is marked dirty before its first change and
 * mended when it is opened after a crash, so that refcounts need not be right.
 * Then 2 and 5 are one phase, unless what is mapped must be stable first: that
 * is the case (must_order) for all but room that reads as zeroes until the
 * guest's data is there. Not either where the file grows or the refcount table
 * changes: what is mapped lies in the file, and has a refcount block.
 *
 * The plan holds copies. What changes while it is under way is dirty again
 * and goes into the next one.
 */
#include <errno.h>

#include "base/bitmap.h"
#include "image/plan.h"
#include "qcow2/core.h"
#include "qcow2/free.h"

enum {
	/* Steps that are not writes of blocks or tables, at most. */
	FIXED_STEPS = 16,
};

struct draft {
	struct qcow2 *q;
	struct plan_draft plan;
	bool changes; /* there is metadata to write */
};

static void add_write(struct draft *d, uint64_t offset, const void *data,
		      size_t length)
{
	plan_add_write(&d->plan, d->q->image.store, offset, data, length);
}

static void add_barrier(struct draft *d, bool always)
{
	plan_add_barrier(&d->plan, always);
}

static void add_step(struct draft *d, enum image_step_kind kind,
		     uint64_t offset, uint64_t length)
{
	plan_add(&d->plan, kind, d->q->image.store, offset, length);
}

static void add_slices(struct draft *d, enum qcow2_slice_kind kind)
{
	struct metacache *cache = &d->q->cache;

	for (uint32_t i = 0; i < cache->writing_count; i++) {
		const struct metacache_block *block =
			&cache->blocks[cache->writing[i]];

		if (block->kind == kind)
			add_write(d, block->offset, block->data,
				  cache->block_bytes);
	}
}

static void add_table_blocks(struct draft *d,
			     const struct qcow2_memtable *table)
{
	uint32_t blocks = table->placed / table->block_bytes;
	uint32_t i = bitmap_next_set(table->writing, blocks, 0);

	while (i < blocks) {
		uint64_t at = (uint64_t)i * table->block_bytes;

		add_write(d, table->offset + at, table->data + at,
			  table->block_bytes);
		i = bitmap_next_set(table->writing, blocks, i + 1);
	}
}

static void add_header(struct draft *d)
{
	add_write(d, 0, d->q->head, (size_t)1 << d->q->slice_bits);
}

static void put_header_table(struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
	put_be64(q->head + offsetof(struct qcow2_wire_header,
				    refcount_table_offset),
		 offset);
	put_be32(q->head + offsetof(struct qcow2_wire_header,
				    refcount_table_clusters),
		 bytes >> q->cluster_bits);
}

static void add_moved_table(struct draft *d)
{
	struct qcow2 *q = d->q;
	const struct qcow2_memtable *table = &q->reftable;
	uint64_t offset = q->regrow.first << q->cluster_bits;

	for (uint64_t at = 0; at < table->bytes; at += table->block_bytes)
		add_write(d, offset + at, table->data + at, table->block_bytes);
	add_barrier(d, false);
	put_header_table(q, offset, table->bytes);
	add_header(d);
	add_barrier(d, false);
	q->plan.moves_table = true;
}

/* A small disk's file never grows by much. */
static uint64_t grow_ahead(const struct qcow2 *q)
{
	uint64_t bytes =
		MAX(q->image.size_bytes, (uint64_t)QCOW2_MIN_GROW_AHEAD_BYTES);

	return align_up(MIN(bytes, (uint64_t)QCOW2_GROW_AHEAD_BYTES),
			qcow2_cluster_bytes(q));
}

static void add_resize(struct draft *d)
{
	struct qcow2 *q = d->q;
	uint64_t end = q->end_cluster << q->cluster_bits;

	if (!q->image.store->can_grow || end <= q->file_bytes)
		return;
	q->plan.ahead = !q->grow_exactly;
	q->plan.resize_to = end + (q->plan.ahead ? grow_ahead(q) : 0);
	add_step(d, IMAGE_STEP_RESIZE, q->plan.resize_to, 0);
}

static void add_punches(struct draft *d)
{
	struct qcow2 *q = d->q;

	for (uint32_t i = 0; i < q->punch_count; i++)
		add_step(d, IMAGE_STEP_PUNCH,
			 q->punches[i].first << q->cluster_bits,
			 (uint64_t)q->punches[i].count << q->cluster_bits);
	q->plan.punches = q->punch_count;
}

/* Incompatible features that the header has to name before anything changes. */
static uint64_t features_to_set(const struct qcow2 *q, bool changes)
{
	uint64_t features = 0;

	if (q->header.version < 3)
		return 0;
	if (changes && qcow2_is_lazy(q))
		features |= QCOW2_INCOMPAT_DIRTY;
	if (q->corrupt_met)
		features |= QCOW2_INCOMPAT_CORRUPT;
	return features & ~q->header.incompatible;
}

static void add_features(struct draft *d)
{
	struct qcow2 *q = d->q;
	uint64_t sets = features_to_set(q, d->changes);
	bool clears = q->autoclear_stale && (q->autoclear_now || d->changes);

	/* Whoever wrote these must not believe in them after a change. */
	if (clears)
		put_be64(q->head + offsetof(struct qcow2_wire_header,
					    autoclear_features),
			 q->header.autoclear & qcow2_autoclear_kept(q));
	if (sets)
		put_be64(q->head + offsetof(struct qcow2_wire_header,
					    incompatible_features),
			 q->header.incompatible | sets);
	if (clears || sets)
		add_header(d);
	q->plan.clears_autoclear = clears;
	q->plan.sets = sets;
}

/* Whether refcounts and L2 entries are one phase; see above. */
static bool is_one_phase(const struct qcow2 *q)
{
	return qcow2_is_lazy(q) && !q->plan.orders && !q->plan.resize_to;
}

static void add_bitmap_marks(struct draft *d)
{
	struct qcow2 *q = d->q;

	if (!q->plan.marks_bitmaps)
		return;
	add_table_blocks(d, &q->bitmaps.directory);
}

static void add_all(struct draft *d)
{
	struct qcow2 *q = d->q;
	bool one_phase;

	add_features(d);
	add_bitmap_marks(d);
	if (d->changes)
		add_barrier(d, false);
	add_punches(d);
	add_resize(d);
	one_phase = is_one_phase(q);
	add_slices(d, QCOW2_SLICE_REFCOUNT);
	if (!one_phase)
		add_barrier(d, true);
	if (q->regrow.placed)
		add_moved_table(d);
	else
		add_table_blocks(d, &q->reftable);
	if (!one_phase)
		add_barrier(d, false);
	add_slices(d, QCOW2_SLICE_L2);
	add_barrier(d, one_phase);
	add_table_blocks(d, &q->l1);
	add_barrier(d, false);
}

static int reserve(struct draft *d)
{
	struct qcow2 *q = d->q;
	size_t blocks = (size_t)q->cache.dirty_count + q->l1.dirty_count +
			q->bitmaps.directory.dirty_count +
			(q->regrow.placed ? qcow2_memtable_blocks(&q->reftable)
					  : q->reftable.dirty_count) +
			2;
	size_t bytes = blocks << q->slice_bits;

	return plan_draft_init(&d->plan, blocks + q->punch_count + FIXED_STEPS,
			       bytes);
}

int qcow2_flush_begin(struct image *image, struct image_plan *ret_plan)
{
	struct qcow2 *q = qcow2_of(image);
	struct draft d = {.q = q, .changes = qcow2_is_dirty(image)};
	int err;

	if (q->plan.out)
		return IMAGE_E_BUSY;
	err = reserve(&d);
	if (err)
		return err;
	q->plan = (struct qcow2_plan_state){
		.out = true,
		.frees = q->free_count,
		.marks_bitmaps = q->bitmaps.directory.dirty_count != 0,
		.orders = q->must_order || q->reftable.dirty_count ||
			  q->regrow.placed,
	};
	q->must_order = false;
	qcow2_packed_flush(q);
	metacache_start_writing(&q->cache);
	qcow2_memtable_start_writing(&q->l1);
	qcow2_memtable_start_writing(&q->reftable);
	if (q->plan.marks_bitmaps)
		qcow2_memtable_start_writing(&q->bitmaps.directory);
	add_all(&d);
	plan_take(&d.plan, ret_plan);
	return 0;
}

static void table_has_moved(struct qcow2 *q)
{
	q->regrow.old_first = qcow2_cluster_of(q, q->reftable.offset);
	q->regrow.old_count = q->reftable.placed >> q->cluster_bits;
	q->regrow.placed = false;
	q->reftable.offset = q->regrow.first << q->cluster_bits;
	q->reftable.placed = q->reftable.bytes;
	q->header.reftable_offset = q->reftable.offset;
	q->header.reftable_clusters = q->reftable.bytes >> q->cluster_bits;
}

static void plan_succeeded(struct qcow2 *q)
{
	if (q->plan.clears_autoclear) {
		q->autoclear_stale = q->autoclear_now = false;
		q->header.autoclear &= qcow2_autoclear_kept(q);
	}
	q->header.incompatible |= q->plan.sets;
	if (q->plan.sets & QCOW2_INCOMPAT_DIRTY)
		q->dirty_by_us = true;
	if (q->plan.marks_bitmaps)
		qcow2_bitmaps_marked(q);
	if (q->plan.moves_table)
		table_has_moved(q);
	if (q->plan.resize_to) {
		q->file_bytes = q->plan.resize_to;
		q->grown = true;
	}
	qcow2_free_stable(q, q->plan.frees, q->image.flushes + 1);
	qcow2_free_punched(q, q->plan.punches);
}

/* A limit on the file's size, which may still leave room for what is needed. */
static bool is_too_far_ahead(struct qcow2 *q, int result)
{
	if (!q->plan.ahead || (result != -EFBIG && result != -ENOSPC))
		return false;
	q->grow_exactly = true;
	return true;
}

void qcow2_flush_end(struct image *image, struct image_plan *plan, int result)
{
	struct qcow2 *q = qcow2_of(image);
	bool failed = result != 0;
	bool again = is_too_far_ahead(q, result);

	if (failed && q->plan.orders)
		q->must_order = true;

	metacache_end_writing(&q->cache, failed);
	qcow2_memtable_end_writing(&q->l1, failed);
	qcow2_memtable_end_writing(&q->reftable, failed);
	if (q->plan.marks_bitmaps)
		qcow2_memtable_end_writing(&q->bitmaps.directory, failed);
	if (!failed)
		plan_succeeded(q);
	else if (q->plan.moves_table)
		put_header_table(q, q->reftable.offset, q->reftable.placed);
	q->plan = (struct qcow2_plan_state){0};
	plan_free(plan);
	plan->again = again;
}

bool qcow2_is_dirty(struct image *image)
{
	const struct qcow2 *q = qcow2_of(image);

	return q->cache.dirty_count || q->l1.dirty_count ||
	       q->reftable.dirty_count || q->regrow.placed || q->punch_count ||
	       features_to_set(q, false);
}
