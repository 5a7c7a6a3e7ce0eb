/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reference counts of host clusters ("Host cluster management"): reading and
 * setting one in a cached slice of a refcount block, and finding that slice.
 */
#ifndef QCOW2_REFCOUNT_H
#define QCOW2_REFCOUNT_H

#include "qcow2/core.h"

/* Entry @index of a run of refcounts of 2^@order bits each. */
static inline uint64_t qcow2_refcount_get(const uint8_t *refs, unsigned order,
					  uint32_t index)
{
	switch (order) {
	case 4:
		return get_be16(refs + index * 2);
	case 3:
		return refs[index];
	case 5:
		return get_be32(refs + (size_t)index * 4);
	case 6:
		return get_be64(refs + (size_t)index * 8);
	default: {
		/* Narrower than a byte: from its lowest bits upwards. */
		unsigned per_byte = 3 - order;
		unsigned shift = (index & ((1u << per_byte) - 1)) << order;

		return refs[index >> per_byte] >> shift &
		       ((1u << (1u << order)) - 1);
	}
	}
}

void qcow2_refcount_set(uint8_t *refs, unsigned order, uint32_t index,
			uint64_t value);

/* The place of host cluster @cluster in its slice. */
static inline uint32_t qcow2_ref_index(const struct qcow2 *q, uint64_t cluster)
{
	return cluster & ((UINT64_C(1) << q->slice_ref_bits) - 1);
}

static inline uint64_t qcow2_ref_get(const struct qcow2 *q,
				     const struct metacache_block *slice,
				     uint64_t cluster)
{
	return qcow2_refcount_get(slice->data, q->header.refcount_order,
				  qcow2_ref_index(q, cluster));
}

/* Sets it, and marks the slice dirty. */
void qcow2_ref_set(struct qcow2 *q, struct metacache_block *slice,
		   uint64_t cluster, uint64_t value);

/*
 * The slice that holds @cluster's refcount: 0 and *@ret_slice, which is NULL
 * where there is no refcount block (all its refcounts are 0), IMAGE_E_CORRUPT
 * or QCOW2_ANSWERED.
 */
int qcow2_ref_slice(struct qcow2 *q, uint64_t cluster, struct image_extent *ret,
		    struct metacache_block **ret_slice);

#endif
