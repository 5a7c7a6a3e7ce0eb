/* SPDX-License-Identifier: Apache-2.0 */
#include "qcow2/alloc.h"

#include "qcow2/free.h"
#include "qcow2/overlap.h"
#include "qcow2/refcount.h"

static uint64_t next_multiple(uint64_t cluster, unsigned bits)
{
	return ((cluster >> bits) + 1) << bits;
}

/* A plan that sets the file's size must not cut off what is taken meanwhile. */
static int check_usable(struct qcow2 *q, uint64_t cluster, uint64_t count,
			struct image_extent *ret)
{
	uint64_t window = q->plan.resize_to >> q->cluster_bits;

	if (!range_fits(cluster, count, q->host_limit))
		return IMAGE_E_NO_SPACE;
	if (q->plan.out && window && !range_fits(cluster, count, window))
		return qcow2_answer_busy(ret);
	return 0;
}

/* Needs no cached block: the new refcount block is the first to be used. */
static int place_refblock(struct qcow2 *q, uint64_t cluster,
			  struct image_extent *ret)
{
	uint64_t in_block = cluster & ((UINT64_C(1) << q->refblock_bits) - 1);
	bool is_new = q->image.store->can_grow && cluster >= q->end_cluster;
	struct metacache_block *ref;
	int err;

	if (metacache_room(&q->cache) <= 2 * qcow2_slices(q) + 8)
		return qcow2_answer_full(q, ret);
	err = check_usable(q, cluster, 1, ret);
	if (err == 0)
		err = qcow2_check_overlaps(q, cluster, 1);
	if (err)
		return err;
	ref = qcow2_new_slice(q, cluster, in_block >> q->slice_ref_bits,
			      QCOW2_SLICE_REFCOUNT, !is_new);
	qcow2_ref_set(q, ref, cluster, 1);
	qcow2_memtable_set(&q->reftable, cluster >> q->refblock_bits,
			   cluster << q->cluster_bits);
	qcow2_note_table(q, cluster);
	q->end_cluster = MAX(q->end_cluster, cluster + 1);
	return 0;
}

/* The table in memory becomes large enough for entry @index; not yet on disk. */
static int enlarge_reftable(struct qcow2 *q, uint64_t index,
			    struct image_extent *ret)
{
	uint64_t entries = MAX(index + 1, q->reftable.entries * UINT64_C(2));
	uint64_t bytes = align_up(entries * 8, qcow2_cluster_bytes(q));
	int err;

	if (q->regrow.placed || q->regrow.old_count)
		return qcow2_answer_full(q, ret);
	/* The table's own clusters want refcount blocks, too. */
	bytes += align_up((bytes >> q->cluster_bits >> q->refblock_bits) * 8 +
				  16,
			  qcow2_cluster_bytes(q));
	bytes = MIN(bytes, (uint64_t)QCOW2_MAX_REFTABLE_BYTES);
	if (index >= bytes / 8)
		return IMAGE_E_NO_SPACE;
	err = qcow2_memtable_grow(&q->reftable, bytes);
	if (err)
		return err;
	q->regrow.placing = true;
	q->regrow.count = 0;
	return 0;
}

/* The block of refcounts number @index, at the end, which another covers. */
static int append_refblock(struct qcow2 *q, uint64_t index,
			   struct image_extent *ret)
{
	uint64_t cluster = q->end_cluster;
	bool is_new = q->image.store->can_grow;
	struct metacache_block *ref;
	int err;

	if (metacache_room(&q->cache) <= 2 * qcow2_slices(q) + 8)
		return qcow2_answer_full(q, ret);
	err = check_usable(q, cluster, 1, ret);
	if (err == 0)
		err = qcow2_check_overlaps(q, cluster, 1);
	if (err == 0)
		err = qcow2_ref_slice(q, cluster, ret, &ref);
	if (err)
		return err;
	qcow2_ref_set(q, ref, cluster, 1);
	qcow2_new_slice(q, cluster, 0, QCOW2_SLICE_REFCOUNT, !is_new);
	qcow2_memtable_set(&q->reftable, index, cluster << q->cluster_bits);
	qcow2_note_table(q, cluster);
	q->end_cluster++;
	return 0;
}

/*
 * Refcount blocks for the @count clusters past the end. Each that is placed
 * moves the end by one: placed in front of the row, never within it, they
 * come to an end however long the row is.
 */
static int blocks_past_end(struct qcow2 *q, uint32_t count,
			   struct image_extent *ret)
{
	uint64_t index = q->end_cluster >> q->refblock_bits;

	while (index << q->refblock_bits < q->end_cluster + count) {
		int err;

		if (index >= q->reftable.entries)
			return IMAGE_E_NO_SPACE;
		if (qcow2_memtable_get(&q->reftable, index) != 0) {
			index++;
			continue;
		}
		if (index == q->end_cluster >> q->refblock_bits)
			err = place_refblock(q, q->end_cluster, ret);
		else
			err = append_refblock(q, index, ret);
		if (err)
			return err;
	}
	return check_usable(q, q->end_cluster, count, ret);
}

/* Refcount blocks for the table's new clusters; then these are promised to it. */
static int reserve_reftable(struct qcow2 *q, struct image_extent *ret)
{
	uint32_t count = q->reftable.bytes >> q->cluster_bits;
	int err = blocks_past_end(q, count, ret);

	if (err)
		return err;
	q->regrow.first = q->end_cluster;
	q->regrow.count = count;
	q->regrow.done = 0;
	q->end_cluster += count;
	return 0;
}

static int mark_reftable(struct qcow2 *q, struct image_extent *ret)
{
	while (q->regrow.done < q->regrow.count) {
		uint64_t cluster = q->regrow.first + q->regrow.done;
		struct metacache_block *ref;
		int err;

		if (!qcow2_has_room(q))
			return qcow2_answer_full(q, ret);
		err = qcow2_ref_slice(q, cluster, ret, &ref);
		if (err)
			return err;
		qcow2_ref_set(q, ref, cluster, 1);
		q->regrow.done++;
	}
	q->regrow.placing = false;
	q->regrow.placed = true;
	return 0;
}

static int free_old_reftable(struct qcow2 *q, struct image_extent *ret)
{
	while (q->regrow.old_count) {
		struct metacache_block *ref;
		int err;

		if (!qcow2_has_room(q) || !qcow2_free_has_room(q, 1))
			return qcow2_answer_full(q, ret);
		err = qcow2_ref_slice(q, q->regrow.old_first, ret, &ref);
		if (err)
			return err;
		if (ref)
			qcow2_free_queue(q, ref, q->regrow.old_first, 1);
		q->regrow.old_first++;
		q->regrow.old_count--;
	}
	return 0;
}

int qcow2_regrow_step(struct qcow2 *q, struct image_extent *ret)
{
	int err = 0;

	if (q->regrow.placing && q->regrow.count == 0)
		err = reserve_reftable(q, ret);
	if (err == 0 && q->regrow.placing)
		err = mark_reftable(q, ret);
	if (err == 0 && q->regrow.old_count)
		err = free_old_reftable(q, ret);
	return err;
}

static int need_refblock(struct qcow2 *q, uint64_t cluster,
			 struct image_extent *ret)
{
	uint64_t index = cluster >> q->refblock_bits;
	int err;

	if (index < q->reftable.entries)
		return place_refblock(q, cluster, ret);
	err = check_usable(q, cluster, 1, ret);
	if (err == 0)
		err = enlarge_reftable(q, index, ret);
	if (err == 0)
		err = qcow2_regrow_step(q, ret);
	return err;
}

/* The first free cluster at or after @at within its slice, or the slice's end. */
static uint64_t first_free(const struct qcow2 *q,
			   const struct metacache_block *ref, uint64_t at)
{
	uint64_t end = next_multiple(at, q->slice_ref_bits);

	while (at < end && qcow2_ref_get(q, ref, at) != 0)
		at++;
	return at;
}

static int take(struct qcow2 *q, struct metacache_block *ref, uint64_t first,
		uint32_t want, struct image_extent *ret,
		struct qcow2_run *ret_run)
{
	bool beyond = first >= q->end_cluster;
	uint64_t end = next_multiple(first, q->slice_ref_bits);
	uint32_t count = 1;
	int err;

	end = MIN(end, q->host_limit);
	if (!beyond)
		end = MIN(end, q->end_cluster);
	if (q->plan.out && q->plan.resize_to)
		end = MIN(end, q->plan.resize_to >> q->cluster_bits);
	while (count < want && first + count < end &&
	       qcow2_ref_get(q, ref, first + count) == 0)
		count++;
	err = check_usable(q, first, count, ret);
	if (err == 0 && (!beyond || !q->image.store->can_grow))
		err = qcow2_check_overlaps(q, first, count);
	if (err)
		return err;
	for (uint32_t i = 0; i < count; i++)
		qcow2_ref_set(q, ref, first + i, 1);
	q->end_cluster = MAX(q->end_cluster, first + count);
	*ret_run = (struct qcow2_run){
		.first = first,
		.count = count,
		.reads_zero = beyond && q->image.store->can_grow,
		.ref = ref,
	};
	return 0;
}

int qcow2_alloc(struct qcow2 *q, enum qcow2_alloc_what what, uint32_t want,
		struct image_extent *ret, struct qcow2_run *ret_run)
{
	bool at_end = what == QCOW2_ALLOC_METADATA && q->image.store->can_grow;
	uint64_t at = at_end ? q->end_cluster : q->free_hint;

	if (q->regrow.placing) {
		int err = qcow2_regrow_step(q, ret);

		if (err)
			return err;
	}
	for (;;) {
		struct metacache_block *ref;
		uint64_t first;
		int err = check_usable(q, at, 1, ret);

		if (err == 0)
			err = qcow2_ref_slice(q, at, ret, &ref);
		if (err == 0 && !ref && at >= q->end_cluster) {
			err = need_refblock(q, at, ret);
			if (err)
				return err;
			continue;
		}
		if (err)
			return err;
		first = ref ? first_free(q, ref, at)
			    : MIN(next_multiple(at, q->refblock_bits),
				  q->end_cluster);
		if (!at_end)
			q->free_hint = first;
		if (ref && first < next_multiple(at, q->slice_ref_bits)) {
			err = take(q, ref, first, want, ret, ret_run);
			if (err == 0 && !at_end)
				q->free_hint = first + ret_run->count;
			return err;
		}
		at = first;
	}
}

int qcow2_alloc_at(struct qcow2 *q, uint64_t cluster, uint64_t home,
		   struct image_extent *ret)
{
	struct metacache_block *ref;
	int err = 0;

	if (!qcow2_has_room(q))
		return qcow2_answer_full(q, ret);
	if (qcow2_regrow_waits(q))
		err = qcow2_regrow_step(q, ret);
	if (err == 0)
		err = check_usable(q, cluster, 1, ret);
	if (err == 0)
		err = qcow2_ref_slice(q, cluster, ret, &ref);
	/* The table may have to grow before there is a place for the block. */
	while (err == 0 && !ref) {
		err = need_refblock(q, home, ret);
		if (err == 0)
			err = qcow2_ref_slice(q, cluster, ret, &ref);
	}
	if (err)
		return err;
	if (!qcow2_forget_cluster(q, cluster))
		return qcow2_corrupt(q, "host cluster %llu is metadata in use",
				     (unsigned long long)cluster);
	qcow2_ref_set(q, ref, cluster, 1);
	q->end_cluster = MAX(q->end_cluster, cluster + 1);
	return 0;
}

/* An index that the refcount table must have before the row fits. */
static uint64_t last_block_of(const struct qcow2 *q, uint32_t count)
{
	uint64_t blocks = (count >> q->refblock_bits) + 2;

	/* The blocks are clusters themselves. */
	blocks += (blocks >> q->refblock_bits) + 1;
	return (q->end_cluster + count + blocks) >> q->refblock_bits;
}

/* Room for the row past the end; the refcount table may have to grow first. */
static int reserve_row(struct qcow2 *q, struct qcow2_row *row,
		       struct image_extent *ret)
{
	int err = 0;

	while (err == 0 &&
	       last_block_of(q, row->count) >= q->reftable.entries) {
		err = enlarge_reftable(q, last_block_of(q, row->count), ret);
		if (err == 0)
			err = qcow2_regrow_step(q, ret);
	}
	if (err == 0)
		err = blocks_past_end(q, row->count, ret);
	if (err)
		return err;
	row->first = q->end_cluster;
	row->fresh = q->image.store->can_grow;
	q->end_cluster += row->count;
	return 0;
}

int qcow2_alloc_row(struct qcow2 *q, struct qcow2_row *row,
		    struct image_extent *ret)
{
	int err = 0;

	if (qcow2_regrow_waits(q))
		err = qcow2_regrow_step(q, ret);
	if (err == 0 && row->first == 0)
		err = reserve_row(q, row, ret);
	while (err == 0 && row->done < row->count) {
		uint64_t cluster = row->first + row->done;
		struct metacache_block *ref;

		if (!qcow2_has_room(q))
			return qcow2_answer_full(q, ret);
		err = qcow2_ref_slice(q, cluster, ret, &ref);
		if (err == 0 && !ref)
			err = qcow2_corrupt(q,
					    "host cluster %llu has no "
					    "refcount block",
					    (unsigned long long)cluster);
		if (err == 0 && !row->fresh)
			err = qcow2_check_overlaps(q, cluster, 1);
		if (err)
			return err;
		qcow2_ref_set(q, ref, cluster, 1);
		row->done++;
	}
	return err;
}

void qcow2_alloc_init(struct qcow2 *q)
{
	uint64_t cluster = qcow2_cluster_bytes(q);
	uint32_t blocks = q->reftable.entries;

	q->open_bytes = q->image.store->size_bytes;
	q->file_bytes = q->open_bytes;
	q->free_hint = 1;
	if (q->image.store->can_grow) {
		q->end_cluster = div_round_up(q->open_bytes, cluster);
		q->host_limit = QCOW2_HOST_LIMIT >> q->cluster_bits;
		return;
	}
	while (blocks > 0 && qcow2_memtable_get(&q->reftable, blocks - 1) == 0)
		blocks--;
	q->host_limit = q->open_bytes >> q->cluster_bits;
	q->end_cluster =
		MIN((uint64_t)blocks << q->refblock_bits, q->host_limit);
}
