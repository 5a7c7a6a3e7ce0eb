/* SPDX-License-Identifier: Apache-2.0 */
#include "qcow2/refcount-width.h"

#include <errno.h>
#include <stdlib.h>

#include "qcow2/header-write.h"
#include "qcow2/offline.h"
#include "qcow2/refcount.h"

enum {
	/* Room that making room may take, and so wants counting. */
	SPARE_CLUSTERS = 64,
	MAX_TRIES = 4,
};

struct widening {
	struct qcow2 *q;
	unsigned order;
	uint64_t per_block; /* refcounts in a new block */
	uint64_t blocks;
	uint64_t table_clusters;
	uint64_t offset; /* of the table; the blocks follow */
	uint8_t *cluster;
};

static uint64_t blocks_at(const struct widening *w)
{
	return w->offset + (w->table_clusters << w->q->cluster_bits);
}

static uint64_t bytes_of(const struct widening *w)
{
	return (w->table_clusters + w->blocks) << w->q->cluster_bits;
}

/* The new set counts itself, and what the old one needs to count it. */
static void measure(struct widening *w)
{
	uint64_t cluster = qcow2_cluster_bytes(w->q);
	uint64_t used = w->q->end_cluster, last;

	w->blocks = w->table_clusters = 0;
	do {
		uint64_t set = w->blocks + w->table_clusters;

		last = set;
		/* An old block, of the widest counts, counts this many. */
		set += set / (cluster / 8) + SPARE_CLUSTERS +
		       2 * (w->q->reftable.bytes >> w->q->cluster_bits);
		w->blocks = div_round_up(used + set, w->per_block);
		w->table_clusters = div_round_up(w->blocks * 8, cluster);
	} while (w->blocks + w->table_clusters != last);
}

/* Takes the room, stably; tries again if that took more than was thought. */
static int take_room(struct widening *w)
{
	struct qcow2 *q = w->q;

	for (int i = 0; i < MAX_TRIES; i++) {
		int err;

		measure(w);
		if (w->table_clusters << q->cluster_bits >
		    QCOW2_MAX_REFTABLE_BYTES)
			return image_set_error(&q->image, -ENOSPC,
					       "the refcount table would be "
					       "larger than 8 MiB");
		err = qcow2_offline_take(q, bytes_of(w), &w->offset);
		if (err == 0)
			err = qcow2_settle(q);
		if (err || q->end_cluster <= w->blocks * w->per_block)
			return err;
		err = qcow2_offline_give_back(q, w->offset, bytes_of(w));
		if (err == 0)
			err = qcow2_settle(q);
		if (err)
			return err;
	}
	return image_set_error(&q->image, -ENOSPC,
			       "there is no room for other refcounts");
}

static int fill_block(struct widening *w, uint64_t index)
{
	struct qcow2 *q = w->q;
	unsigned bits = 1u << w->order;
	uint64_t most = bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
	uint64_t first = index * w->per_block;

	memset(w->cluster, 0, qcow2_cluster_bytes(q));
	for (uint64_t i = 0; i < w->per_block && first + i < q->end_cluster;
	     i++) {
		uint64_t count;
		int err = qcow2_offline_ref_get(q, first + i, &count);

		if (err)
			return err;
		if (count > most)
			return image_set_error(
				&q->image, -ERANGE,
				"host cluster %llu has a refcount of %llu, "
				"which does not fit in %u bits",
				(unsigned long long)(first + i),
				(unsigned long long)count, bits);
		qcow2_refcount_set(w->cluster, w->order, (uint32_t)i, count);
	}
	return store_write(q->image.store,
			   blocks_at(w) + (index << q->cluster_bits),
			   w->cluster, qcow2_cluster_bytes(q));
}

static int write_set(struct widening *w, struct qcow2_memtable *ret_table)
{
	struct qcow2 *q = w->q;
	uint64_t bytes = w->table_clusters << q->cluster_bits;
	int err = qcow2_memtable_init(ret_table, bytes,
				      UINT32_C(1) << q->slice_bits);

	for (uint64_t i = 0; i < w->blocks && err == 0; i++) {
		put_be64(ret_table->data + i * 8,
			 blocks_at(w) + (i << q->cluster_bits));
		err = fill_block(w, i);
	}
	if (err == 0)
		err = store_write(q->image.store, w->offset, ret_table->data,
				  bytes);
	ret_table->offset = w->offset;
	ret_table->placed = bytes;
	return err ? err : qcow2_offline_stable(q);
}

static int write_header(struct widening *w, bool *ret_kept)
{
	struct qcow2 *q = w->q;
	struct qcow2_header before = q->header;

	q->header.refcount_order = w->order;
	q->header.reftable_offset = w->offset;
	q->header.reftable_clusters = (uint32_t)w->table_clusters;
	return qcow2_header_replace(q, &before, ret_kept);
}

/* From here on memory counts as the file does. */
static void adopt(struct widening *w, const struct qcow2_memtable *table)
{
	struct qcow2 *q = w->q;

	for (uint32_t i = 0; i < q->cache.block_count; i++) {
		struct metacache_block *block = &q->cache.blocks[i];

		if (block->used && block->kind == QCOW2_SLICE_REFCOUNT)
			metacache_drop(&q->cache, block);
	}
	q->reftable = *table;
	qcow2_places_deinit(&q->places);
	q->refblock_bits = q->cluster_bits + 3 - w->order;
	q->slice_ref_bits = q->slice_bits + 3 - w->order;
	q->free_hint = 1;
}

static int give_back_old(struct qcow2 *q, const struct qcow2_memtable *old)
{
	int err = 0;

	for (uint32_t i = 0; i < old->entries && err == 0; i++) {
		uint64_t block = qcow2_memtable_get(old, i);

		if (block)
			err = qcow2_offline_give_back(q, block,
						      qcow2_cluster_bytes(q));
	}
	if (err == 0)
		err = qcow2_offline_give_back(q, old->offset, old->placed);
	return err ? err : qcow2_settle(q);
}

static int widen(struct widening *w)
{
	struct qcow2 *q = w->q;
	struct qcow2_memtable table = {0}, old;
	bool kept = true;
	int err = take_room(w);

	if (err)
		return err;
	err = write_set(w, &table);
	if (err == 0)
		err = write_header(w, &kept);
	if (err) {
		qcow2_memtable_deinit(&table);
		/* Unless the file may name it the room is not lost. */
		if (kept &&
		    qcow2_offline_give_back(q, w->offset, bytes_of(w)) == 0)
			(void)qcow2_settle(q);
		return err;
	}
	old = q->reftable;
	adopt(w, &table);
	err = give_back_old(q, &old);
	qcow2_memtable_deinit(&old);
	return err;
}

int qcow2_set_refcount_order(struct qcow2 *q, unsigned order)
{
	struct widening w = {
		.q = q,
		.order = order,
		.per_block = UINT64_C(1) << (q->cluster_bits + 3 - order),
		.cluster = aligned_alloc(
			4096, align_up(qcow2_cluster_bytes(q), 4096)),
	};
	int err = w.cluster ? qcow2_settle(q) : -ENOMEM;

	if (err == 0)
		err = widen(&w);
	free(w.cluster);
	return err;
}
