/* SPDX-License-Identifier: Apache-2.0 */
#include "qcow2/table.h"

#include <errno.h>
#include <stdlib.h>

#include "qcow2/alloc.h"
#include "qcow2/free.h"
#include "qcow2/overlap.h"

/* See core.c. */
#define TICKET_COPY UINT64_MAX

enum {
	/* L1 entries looked at to find how far a hole without tables goes. */
	MAX_EMPTY_TABLES = 64,
};

void qcow2_l2_set(struct qcow2 *q, struct metacache_block *slice,
		  unsigned index, uint64_t guest_cluster, uint64_t entry)
{
	qcow2_l2_set_extended(q, slice, index, guest_cluster, entry, 0);
}

void qcow2_l2_set_extended(struct qcow2 *q, struct metacache_block *slice,
			   unsigned index, uint64_t guest_cluster,
			   uint64_t entry, uint64_t bitmap)
{
	uint8_t *at = slice->data + ((size_t)index << q->entry_bits);

	put_be64(at, entry);
	if (q->extended)
		put_be64(at + 8, bitmap);
	metacache_mark_dirty(&q->cache, slice);
	q->must_order = true;
	if (q->image.journal)
		journal_append(q->image.journal, guest_cluster, entry, bitmap);
}

void qcow2_entry_compressed(const struct qcow2 *q, uint64_t entry,
			    uint64_t *ret_offset, uint64_t *ret_bytes)
{
	unsigned offset_bits = 62 - (q->cluster_bits - 8);
	uint64_t offset = entry & ((UINT64_C(1) << offset_bits) - 1);
	uint64_t sectors =
		(entry & ~(QCOW2_COPIED | QCOW2_COMPRESSED)) >> offset_bits;

	*ret_offset = offset;
	*ret_bytes = (sectors + 1) * 512 - offset % 512;
}

bool qcow2_entry_in_file(const struct qcow2 *q, uint64_t entry)
{
	uint64_t end = qcow2_file_clusters(q);
	uint64_t first, count;

	/* That may be shorter than the disk; what is past its end is zero. */
	if (q->data_file)
		return true;
	if (entry & QCOW2_COMPRESSED) {
		uint64_t offset, bytes;

		/* Its last sectors may lie past a file that ends early. */
		qcow2_entry_compressed(q, entry, &offset, &bytes);
		if (offset >= QCOW2_HOST_LIMIT)
			return false;
		first = qcow2_cluster_of(q, offset);
		count = qcow2_cluster_of(q, offset + bytes - 1) - first + 1;
	} else {
		first = qcow2_cluster_of(q, entry & QCOW2_OFFSET_MASK);
		count = 1;
	}
	return first < end && !qcow2_overlaps_tables(q, first, count);
}

int qcow2_corrupt_entry(struct qcow2 *q, uint64_t guest_cluster, uint64_t entry)
{
	return qcow2_corrupt(
		q, "L2 entry 0x%llx of guest cluster %llu cannot be",
		(unsigned long long)entry, (unsigned long long)guest_cluster);
}

static uint64_t l1_index_of(const struct qcow2 *q, uint64_t guest_cluster)
{
	return guest_cluster >> q->l2_bits;
}

static uint64_t entries_left_in_table(const struct qcow2 *q,
				      uint64_t guest_cluster)
{
	uint64_t entries = UINT64_C(1) << q->l2_bits;

	return entries - (guest_cluster & (entries - 1));
}

/* How many guest clusters from here on have no L2 table. */
static unsigned empty_run(const struct qcow2 *q, uint64_t guest_cluster)
{
	uint64_t at = l1_index_of(q, guest_cluster);
	uint64_t run = entries_left_in_table(q, guest_cluster);

	for (unsigned i = 1; i < MAX_EMPTY_TABLES; i++) {
		if (at + i >= q->header.l1_used ||
		    qcow2_memtable_get(&q->l1, at + i) != 0)
			break;
		run += UINT64_C(1) << q->l2_bits;
	}
	return MIN(run, (uint64_t)INT32_MAX);
}

/* Whether it is the place of an L2 table; or 0: there is none. */
static bool l1_entry_is_sound(const struct qcow2 *q, uint64_t entry)
{
	uint64_t offset = entry & QCOW2_OFFSET_MASK;
	uint64_t cluster = qcow2_cluster_of(q, offset);

	if ((entry & QCOW2_L1_RESERVED) || qcow2_in_cluster(q, offset) != 0)
		return false;
	return entry == 0 || (cluster < qcow2_file_clusters(q) &&
			      !qcow2_overlaps_tables(q, cluster, 1));
}

/* The host offset of an L1 entry's table, once that is known to be sound. */
static int table_offset(struct qcow2 *q, uint64_t index, uint64_t *ret_offset)
{
	uint64_t entry = qcow2_memtable_get(&q->l1, index);

	if (!l1_entry_is_sound(q, entry))
		return qcow2_corrupt(q,
				     "L1 entry %llu (0x%llx) is not the place "
				     "of an L2 table",
				     (unsigned long long)index,
				     (unsigned long long)entry);
	*ret_offset = entry & QCOW2_OFFSET_MASK;
	return 0;
}

static uint32_t slice_number(const struct qcow2 *q, uint64_t guest_cluster)
{
	uint64_t in_table = guest_cluster & ((UINT64_C(1) << q->l2_bits) - 1);

	return in_table >> q->slice_entry_bits;
}

static struct qcow2_l2 place_in_slice(const struct qcow2 *q,
				      uint64_t guest_cluster,
				      struct metacache_block *slice)
{
	unsigned entries = 1u << q->slice_entry_bits;
	unsigned index = guest_cluster & (entries - 1);

	return (struct qcow2_l2){
		.slice = slice,
		.index = index,
		.count = entries - index,
		.entry_bits = q->entry_bits,
	};
}

static uint64_t slice_offset(const struct qcow2 *q, uint64_t guest_cluster,
			     uint64_t table)
{
	return table +
	       ((uint64_t)slice_number(q, guest_cluster) << q->slice_bits);
}

static int load_slice(struct qcow2 *q, uint64_t guest_cluster, uint64_t table,
		      struct image_extent *ret, struct qcow2_l2 *ret_l2)
{
	uint64_t offset = slice_offset(q, guest_cluster, table);
	struct metacache_block *slice;
	int err = qcow2_load(q, offset, QCOW2_SLICE_L2, ret, &slice);

	if (err == 0)
		*ret_l2 = place_in_slice(q, guest_cluster, slice);
	return err;
}

int qcow2_l2_find(struct qcow2 *q, uint64_t guest_cluster,
		  struct image_extent *ret, struct qcow2_l2 *ret_l2)
{
	uint64_t table;
	int err = table_offset(q, l1_index_of(q, guest_cluster), &table);

	if (err)
		return err;
	if (table == 0) {
		*ret_l2 = (struct qcow2_l2){
			.count = empty_run(q, guest_cluster),
		};
		return 0;
	}
	return load_slice(q, guest_cluster, table, ret, ret_l2);
}

bool qcow2_l2_peek(struct qcow2 *q, uint64_t guest_cluster,
		   struct qcow2_l2 *ret_l2)
{
	uint64_t entry =
		qcow2_memtable_get(&q->l1, l1_index_of(q, guest_cluster));
	uint64_t table = entry & QCOW2_OFFSET_MASK;
	struct metacache_block *slice;

	if (!l1_entry_is_sound(q, entry))
		return false;
	if (table == 0) {
		*ret_l2 = (struct qcow2_l2){
			.count = empty_run(q, guest_cluster),
		};
		return true;
	}
	slice = metacache_find(&q->cache,
			       slice_offset(q, guest_cluster, table));
	if (!slice || slice->loading || slice->kind != QCOW2_SLICE_L2)
		return false;
	*ret_l2 = place_in_slice(q, guest_cluster, slice);
	return true;
}

static int new_table(struct qcow2 *q, uint64_t guest_cluster,
		     struct image_extent *ret, struct qcow2_l2 *ret_l2)
{
	struct qcow2_run run;
	struct metacache_block *slice;
	int err = qcow2_alloc(q, QCOW2_ALLOC_METADATA, 1, ret, &run);

	if (err)
		return err;
	slice = qcow2_new_slice(q, run.first, slice_number(q, guest_cluster),
				QCOW2_SLICE_L2, !run.reads_zero);
	qcow2_memtable_set(&q->l1, l1_index_of(q, guest_cluster),
			   run.first << q->cluster_bits | QCOW2_COPIED);
	qcow2_note_table(q, run.first);
	*ret_l2 = place_in_slice(q, guest_cluster, slice);
	return 0;
}

/* Brings a whole table into copy.data, to be copied from there. */
static int read_for_copy(struct qcow2 *q, uint64_t table,
			 struct image_extent *ret)
{
	if (q->copy.state == QCOW2_COPY_LOADING)
		return qcow2_answer_busy(ret);
	if (q->copy.state == QCOW2_COPY_READY && q->copy.offset == table)
		return 0;
	if (!q->copy.data)
		q->copy.data = aligned_alloc(
			4096, align_up(qcow2_cluster_bytes(q), 4096));
	if (!q->copy.data)
		return -ENOMEM;
	q->copy.state = QCOW2_COPY_LOADING;
	q->copy.offset = table;
	*ret = (struct image_extent){
		.kind = IMAGE_NEED,
		.store = q->image.store,
		.host_offset = table,
		.host_bytes = qcow2_cluster_bytes(q),
		.buffer = q->copy.data,
		.ticket = TICKET_COPY,
	};
	return QCOW2_ANSWERED;
}

/*
 * The table is shared with a snapshot. It was never changed since we opened
 * the image, so what is on disk is what it holds.
 */
static int copy_table(struct qcow2 *q, uint64_t guest_cluster, uint64_t table,
		      struct image_extent *ret)
{
	struct metacache_block *refs[2];
	struct qcow2_run run;
	int err;

	if (!qcow2_free_has_room(q, 1))
		return qcow2_answer_full(q, ret);
	err = qcow2_free_prepare_run(q, qcow2_cluster_of(q, table), 1, ret,
				     refs);
	if (err == 0)
		err = read_for_copy(q, table, ret);
	if (err)
		return err;
	metacache_pin(&q->cache, refs[0]);
	err = qcow2_alloc(q, QCOW2_ALLOC_METADATA, 1, ret, &run);
	if (err == 0) {
		for (uint32_t i = 0; i < qcow2_slices(q); i++) {
			struct metacache_block *slice = qcow2_new_slice(
				q, run.first, i, QCOW2_SLICE_L2, false);

			memcpy(slice->data,
			       q->copy.data + ((size_t)i << q->slice_bits),
			       q->cache.block_bytes);
		}
		q->copy.state = QCOW2_COPY_IDLE;
		qcow2_memtable_set(&q->l1, l1_index_of(q, guest_cluster),
				   run.first << q->cluster_bits | QCOW2_COPIED);
		qcow2_note_table(q, run.first);
		qcow2_free_queue(q, refs[0], qcow2_cluster_of(q, table), 1);
	}
	metacache_unpin(&q->cache, refs[0]);
	return err;
}

static int own_table(struct qcow2 *q, uint64_t guest_cluster,
		     struct image_extent *ret, struct qcow2_l2 *ret_l2)
{
	uint64_t index = l1_index_of(q, guest_cluster);
	uint64_t table;
	int err = table_offset(q, index, &table);

	if (err)
		return err;
	if (table == 0)
		return new_table(q, guest_cluster, ret, ret_l2);
	if (!(qcow2_memtable_get(&q->l1, index) & QCOW2_COPIED)) {
		err = copy_table(q, guest_cluster, table, ret);
		if (err == 0)
			err = table_offset(q, index, &table);
		if (err)
			return err;
	}
	return load_slice(q, guest_cluster, table, ret, ret_l2);
}

int qcow2_l2_own(struct qcow2 *q, uint64_t guest_cluster,
		 struct image_extent *ret, struct qcow2_l2 *ret_l2)
{
	int err = 0;

	if (!qcow2_has_room(q))
		return qcow2_answer_full(q, ret);
	if (qcow2_regrow_waits(q))
		err = qcow2_regrow_step(q, ret);
	if (err)
		return err;
	return own_table(q, guest_cluster, ret, ret_l2);
}
