/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each of these is stable before the next begins, so that a crash leaves what
 * was there up to some place, and from there on nothing:
 *
 *	1. the rest of the last cluster that stays is zeroes
 *	2. a data file that can is cut off; of a raw one that cannot, zeroes are
 *	   what there is
 *	3. the entries of the last L2 table that stays are cleared
 *	4. the L1 entries of all further tables are cleared
 *	5. what these reached is given back
 */
#include "qcow2/shrink.h"

#include <errno.h>
#include <stdlib.h>

#include "qcow2/fill.h"
#include "qcow2/free.h"
#include "qcow2/offline.h"
#include "qcow2/refcount.h"
#include "qcow2/table.h"
#include "qcow2/tree.h"

enum {
	STEP_ENTRIES = 1024, /* cleared in one step, which may flush */
};

/* --- The last cluster, and a data file ------------------------------------ */

static int is_mapped_step(struct qcow2 *q, void *opaque,
			  struct image_extent *ret)
{
	uint64_t *cluster = opaque;
	struct qcow2_l2 l2;
	int err = qcow2_l2_find(q, *cluster, ret, &l2);

	if (err == 0 && (!l2.slice || qcow2_l2_get(&l2, 0) == 0))
		*cluster = UINT64_MAX;
	return err;
}

/* Zeroes up to @end; but a cluster that is not there needs none. */
static int zero_up_to(struct qcow2 *q, uint64_t size, uint64_t end)
{
	uint64_t cluster = qcow2_cluster_of(q, size);
	int err = 0;

	end = MIN(end, q->image.size_bytes);
	if (end <= size)
		return 0;
	if (!qcow2_data_is_raw(q))
		err = qcow2_offline_run(q, is_mapped_step, &cluster);
	if (err || cluster == UINT64_MAX)
		return err;
	err = qcow2_zero_range(q, size, end - size);
	return err ? err : qcow2_settle(q);
}

static int clear_tail(struct qcow2 *q, uint64_t size)
{
	bool stays = qcow2_data_is_raw(q) && !q->image.data_store->can_grow;

	return zero_up_to(q, size,
			  stays ? UINT64_MAX
				: align_up(size, qcow2_cluster_bytes(q)));
}

static int cut_data_file(struct qcow2 *q, uint64_t size)
{
	struct store *store = q->image.data_store;
	int err;

	if (!q->data_file || !store->can_grow || store->size_bytes <= size)
		return 0;
	err = store_resize(store, size);
	return err ? err : store_flush(store);
}

/* --- Tables --------------------------------------------------------------- */

struct clearing {
	uint64_t at; /* guest clusters */
	uint64_t end;
};

static int clear_one(struct qcow2 *q, uint64_t cluster,
		     const struct qcow2_l2 *l2, struct image_extent *ret)
{
	uint64_t entry = qcow2_l2_get(l2, 0);
	struct metacache_block *refs[2];
	int err;

	if (entry == 0)
		return 0;
	if (!qcow2_free_has_room(q, 2) || qcow2_journal_room(q) == 0)
		return qcow2_answer_full(q, ret);
	metacache_pin(&q->cache, l2->slice);
	err = qcow2_free_prepare(q, entry, ret, refs);
	metacache_unpin(&q->cache, l2->slice);
	if (err)
		return err;
	qcow2_free_entry(q, entry, refs);
	qcow2_l2_set(q, l2->slice, l2->index, cluster, 0);
	return 0;
}

static int clear_step(struct qcow2 *q, void *opaque, struct image_extent *ret)
{
	struct clearing *c = opaque;

	while (c->at < c->end) {
		struct qcow2_l2 l2;
		int err = qcow2_l2_own(q, c->at, ret, &l2);

		if (err == 0)
			err = clear_one(q, c->at, &l2, ret);
		if (err)
			return err;
		c->at++;
	}
	return 0;
}

/* Entries from guest cluster @first to the end of its L2 table. */
static int clear_rest_of_table(struct qcow2 *q, uint64_t first)
{
	uint64_t end = align_up(first, UINT64_C(1) << q->l2_bits);
	struct clearing c = {.at = first};
	int err = 0;

	if (first == end ||
	    qcow2_memtable_get(&q->l1, first >> q->l2_bits) == 0)
		return 0;
	while (c.at < end && err == 0) {
		c.end = MIN(c.at + STEP_ENTRIES, end);
		err = qcow2_offline_run(q, clear_step, &c);
	}
	return err ? err : qcow2_settle(q);
}

/* Tables that nothing reaches any more, once @tree's entries are gone. */
static int drop_tables(struct qcow2 *q, uint32_t first, struct qcow2_tree tree)
{
	int err;

	for (uint32_t i = first; i < first + tree.entries; i++)
		if (qcow2_memtable_get(&q->l1, i) != 0)
			qcow2_memtable_set(&q->l1, i, 0);
	err = qcow2_offline_stable(q);
	if (err == 0)
		err = qcow2_tree_lower(q, tree);
	return err ? err : qcow2_settle(q);
}

static int clear(struct qcow2 *q, uint64_t size, uint32_t table,
		 struct qcow2_tree tree)
{
	int err = qcow2_tree_check(q, tree);

	if (err == 0)
		err = clear_tail(q, size);
	if (err == 0)
		err = cut_data_file(q, size);
	if (err == 0)
		err = clear_rest_of_table(
			q, div_round_up(size, qcow2_cluster_bytes(q)));
	if (err == 0 && tree.entries)
		err = drop_tables(q, table, tree);
	return err;
}

int qcow2_clear_past(struct qcow2 *q, uint64_t size)
{
	uint64_t bytes = UINT64_C(1) << (q->l2_bits + q->cluster_bits);
	uint32_t entries = q->header.l1_entries;
	uint32_t first = MIN(div_round_up(size, bytes), (uint64_t)entries);
	size_t length = (entries - first) * sizeof(uint64_t);
	uint8_t *old = malloc(length + 1);
	int err;

	if (!old)
		return -ENOMEM;
	memcpy(old, q->l1.data + first * sizeof(uint64_t), length);
	err = clear(q, size, first, (struct qcow2_tree){old, entries - first});
	free(old);
	return err;
}

/* --- The file ------------------------------------------------------------- */

/* One cluster down, or, without a refcount block, all that it would count. */
static uint64_t step_down(const struct qcow2 *q, uint64_t end, bool counted)
{
	uint64_t block = (end - 1) >> q->refblock_bits << q->refblock_bits;

	return counted || qcow2_overlaps_tables(q, block, end - block) ? end - 1
								       : block;
}

/* Moves *@opaque, a host cluster, down to the end of what is used. */
static int used_end_step(struct qcow2 *q, void *opaque,
			 struct image_extent *ret)
{
	uint64_t *end = opaque;

	while (!qcow2_overlaps_tables(q, *end - 1, 1)) {
		struct metacache_block *ref;
		int err = qcow2_ref_slice(q, *end - 1, ret, &ref);

		if (err)
			return err;
		if (ref && qcow2_ref_get(q, ref, *end - 1) != 0)
			break;
		*end = step_down(q, *end, ref != NULL);
	}
	return 0;
}

/* What is known of clusters that the file no longer has. */
static void forget_past(struct qcow2 *q, uint64_t end)
{
	for (uint32_t i = 0; i < q->cache.block_count; i++) {
		struct metacache_block *block = &q->cache.blocks[i];

		if (block->used && block->offset >= end &&
		    !metacache_is_held(block))
			metacache_drop(&q->cache, block);
	}
	q->copy.state = QCOW2_COPY_IDLE;
	q->end_cluster = qcow2_cluster_of(q, end);
	q->free_hint = MIN(q->free_hint, q->end_cluster);
	q->file_bytes = q->open_bytes = end;
}

int qcow2_cut_file(struct qcow2 *q)
{
	struct store *store = q->image.store;
	uint64_t cluster = q->end_cluster, end;
	int err = 0;

	if (!store->can_grow)
		return 0;
	err = qcow2_offline_run(q, used_end_step, &cluster);
	end = cluster << q->cluster_bits;
	if (err || store->size_bytes <= end)
		return err;
	err = store_resize(store, end);
	if (err == 0)
		err = store_flush(store);
	if (err == 0)
		forget_past(q, end);
	return err;
}
