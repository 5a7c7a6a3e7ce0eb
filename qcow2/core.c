/* SPDX-License-Identifier: Apache-2.0 */
#include "qcow2/core.h"

/* NEED's ticket: a block's index in the cache, or this one. */
#define TICKET_COPY UINT64_MAX

int qcow2_answer_busy(struct image_extent *ret)
{
	*ret = (struct image_extent){.kind = IMAGE_BUSY};
	return QCOW2_ANSWERED;
}

int qcow2_answer_full(struct qcow2 *q, struct image_extent *ret)
{
	bool helps = q->cache.dirty_count || q->free_count || q->punch_count ||
		     q->regrow.placed || q->autoclear_stale ||
		     q->bitmaps.must_mark;

	if (q->plan.out || !helps)
		return qcow2_answer_busy(ret);
	*ret = (struct image_extent){.kind = IMAGE_MUST_FLUSH};
	return QCOW2_ANSWERED;
}

int qcow2_changed(struct qcow2 *q, int err)
{
	if (err == IMAGE_E_CORRUPT)
		q->corrupt_met = true;
	return err;
}

int qcow2_load(struct qcow2 *q, uint64_t offset, enum qcow2_slice_kind kind,
	       struct image_extent *ret, struct metacache_block **ret_block)
{
	struct metacache_block *block = metacache_find(&q->cache, offset);

	if (block && block->loading)
		return qcow2_answer_busy(ret);
	if (block && block->kind != kind)
		return qcow2_corrupt(q,
				     "cluster at %llu is used as an L2 table "
				     "and as a refcount block",
				     (unsigned long long)offset);
	if (!block) {
		block = metacache_insert(&q->cache, offset, kind);
		if (!block)
			return qcow2_answer_full(q, ret);
		*ret = (struct image_extent){
			.kind = IMAGE_NEED,
			.store = q->image.store,
			.host_offset = offset,
			.host_bytes = q->cache.block_bytes,
			.buffer = block->data,
			.ticket = (uint64_t)(block - q->cache.blocks),
		};
		return QCOW2_ANSWERED;
	}
	*ret_block = block;
	return 0;
}

void qcow2_provide(struct image *image, const struct image_extent *need,
		   int result)
{
	struct qcow2 *q = qcow2_of(image);
	struct metacache_block *block;

	if (need->ticket == TICKET_COPY) {
		q->copy.state =
			result == 0 ? QCOW2_COPY_READY : QCOW2_COPY_IDLE;
		return;
	}
	block = &q->cache.blocks[need->ticket];
	if (result == 0)
		metacache_loaded(&q->cache, block);
	else
		metacache_drop(&q->cache, block);
}

bool qcow2_forget_cluster(struct qcow2 *q, uint64_t cluster)
{
	for (uint32_t i = 0; i < qcow2_slices(q); i++) {
		uint64_t offset = (cluster << q->cluster_bits) +
				  ((uint64_t)i << q->slice_bits);
		struct metacache_block *block =
			metacache_find(&q->cache, offset);

		if (!block)
			continue;
		if (metacache_is_held(block))
			return false;
		metacache_drop(&q->cache, block);
	}
	return true;
}

static struct metacache_block *zeroed_slice(struct qcow2 *q, uint64_t cluster,
					    uint32_t at,
					    enum qcow2_slice_kind kind)
{
	uint64_t offset =
		(cluster << q->cluster_bits) + ((uint64_t)at << q->slice_bits);
	struct metacache_block *block =
		metacache_insert(&q->cache, offset, kind);

	memset(block->data, 0, q->cache.block_bytes);
	metacache_mark_dirty(&q->cache, block);
	metacache_loaded(&q->cache, block);
	return block;
}

struct metacache_block *qcow2_new_slice(struct qcow2 *q, uint64_t cluster,
					uint32_t at, enum qcow2_slice_kind kind,
					bool all)
{
	for (uint32_t i = 0; all && i < qcow2_slices(q); i++)
		if (i != at)
			zeroed_slice(q, cluster, i, kind);
	return zeroed_slice(q, cluster, at, kind);
}

bool qcow2_overlaps_tables(const struct qcow2 *q, uint64_t first,
			   uint64_t count)
{
	uint64_t offset = first << q->cluster_bits;
	uint64_t length = count << q->cluster_bits;

	return first == 0 ||
	       ranges_overlap(offset, length, q->l1.offset, q->l1.placed) ||
	       ranges_overlap(offset, length, q->reftable.offset,
			      q->reftable.placed);
}
