/* SPDX-License-Identifier: Apache-2.0 */
#include "qcow2/refcount.h"

void qcow2_refcount_set(uint8_t *refs, unsigned order, uint32_t index,
			uint64_t value)
{
	switch (order) {
	case 3:
		refs[index] = value;
		return;
	case 4:
		put_be16(refs + index * 2, value);
		return;
	case 5:
		put_be32(refs + (size_t)index * 4, value);
		return;
	case 6:
		put_be64(refs + (size_t)index * 8, value);
		return;
	default: {
		unsigned per_byte = 3 - order;
		unsigned shift = (index & ((1u << per_byte) - 1)) << order;
		uint8_t mask = ((1u << (1u << order)) - 1) << shift;
		uint8_t *byte = &refs[index >> per_byte];

		*byte = (*byte & ~mask) | (value << shift & mask);
	}
	}
}

void qcow2_ref_set(struct qcow2 *q, struct metacache_block *slice,
		   uint64_t cluster, uint64_t value)
{
	qcow2_refcount_set(slice->data, q->header.refcount_order,
			   qcow2_ref_index(q, cluster), value);
	metacache_mark_dirty(&q->cache, slice);
}

int qcow2_ref_slice(struct qcow2 *q, uint64_t cluster, struct image_extent *ret,
		    struct metacache_block **ret_slice)
{
	uint64_t index = cluster >> q->refblock_bits;
	uint64_t at = cluster & ((UINT64_C(1) << q->refblock_bits) - 1);
	uint64_t block;

	*ret_slice = NULL;
	if (index >= q->reftable.entries)
		return 0;
	block = qcow2_memtable_get(&q->reftable, index);
	if (block == 0)
		return 0;
	if (qcow2_in_cluster(q, block) != 0 ||
	    qcow2_cluster_of(q, block) >= qcow2_file_clusters(q) ||
	    qcow2_overlaps_tables(q, qcow2_cluster_of(q, block), 1))
		return qcow2_corrupt(q,
				     "refcount table entry %llu (0x%llx) is "
				     "not the place of a refcount block",
				     (unsigned long long)index,
				     (unsigned long long)block);
	block += at >> q->slice_ref_bits << q->slice_bits;
	return qcow2_load(q, block, QCOW2_SLICE_REFCOUNT, ret, ret_slice);
}
