/* SPDX-License-Identifier: Apache-2.0 */
#include "qcow2/subcluster.h"

int qcow2_corrupt_bitmap(struct qcow2 *q, uint64_t guest_cluster,
			 uint64_t entry, uint64_t bitmap)
{
	return qcow2_corrupt(q,
			     "L2 entry 0x%llx with bitmap 0x%llx of guest "
			     "cluster %llu cannot be",
			     (unsigned long long)entry,
			     (unsigned long long)bitmap,
			     (unsigned long long)guest_cluster);
}

uint64_t qcow2_subs_read_zero(const struct qcow2 *q, uint64_t cluster,
			      uint64_t bitmap, uint64_t subs)
{
	uint64_t zero = qcow2_subs_zero(bitmap) & subs;
	uint64_t absent = qcow2_subs_absent(bitmap) & subs;

	while (absent) {
		unsigned sub = (unsigned)__builtin_ctzll(absent);

		if (!qcow2_has_backing(q,
				       (cluster << q->cluster_bits) +
					       ((uint64_t)sub << q->sub_bits)))
			zero |= UINT64_C(1) << sub;
		absent &= absent - 1;
	}
	return zero;
}

/* How many sub-clusters from @first on are in @subs. */
static unsigned run_in(uint64_t subs, unsigned first)
{
	return (unsigned)__builtin_ctzll(~(subs >> first));
}

static uint64_t bytes_of_run(const struct qcow2 *q, const struct qcow2_ask *ask,
			     uint64_t subs)
{
	uint64_t in_sub = ask->skip & (qcow2_sub_bytes(q) - 1);

	return MIN(ask->length, (subs << q->sub_bits) - in_sub);
}

/*
 * Sub-clusters in a row that read as zeroes, or that are absent, in host
 * clusters in a row or in none.
 */
static uint64_t unmapped_run(const struct qcow2 *q, const struct qcow2_ask *ask,
			     const struct qcow2_l2 *l2, bool zero)
{
	uint64_t limit = MIN(ask->clusters, (uint64_t)l2->count);
	unsigned first = qcow2_ask_sub(q, ask);
	uint64_t place = qcow2_l2_get(l2, 0) & QCOW2_OFFSET_MASK;
	enum qcow2_cluster_kind of_first = qcow2_l2_kind(q, l2, 0);
	uint64_t run = 0;

	for (uint64_t at = 0; at < limit; at++, first = 0) {
		uint64_t entry = qcow2_l2_get(l2, at);
		uint64_t bitmap = qcow2_l2_bitmap(l2, at);
		enum qcow2_cluster_kind kind =
			qcow2_extended_kind(q, entry, bitmap);
		unsigned here = run_in(zero ? qcow2_subs_zero(bitmap)
					    : qcow2_subs_absent(bitmap),
				       first);

		if (kind != of_first || (entry & QCOW2_OFFSET_MASK) != place)
			break;
		run += here;
		if (first + here < QCOW2_SUBS)
			break;
		place += kind == QCOW2_NORMAL ? qcow2_cluster_bytes(q) : 0;
	}
	return run;
}

int qcow2_sub_data(struct qcow2 *q, const struct qcow2_ask *ask,
		   const struct qcow2_l2 *l2, uint64_t flags,
		   struct image_extent *ret)
{
	uint64_t entry = qcow2_l2_get(l2, 0);
	uint64_t limit = MIN(ask->clusters, (uint64_t)l2->count);
	uint64_t mask = QCOW2_OFFSET_MASK | QCOW2_COMPRESSED | QCOW2_ZERO |
			QCOW2_L2_RESERVED | flags;
	unsigned first = qcow2_ask_sub(q, ask);
	uint64_t next = entry & mask;
	uint64_t run = 0;

	for (uint64_t at = 0; at < limit; at++, first = 0) {
		uint64_t word = qcow2_l2_get(l2, at);
		uint64_t bitmap = qcow2_l2_bitmap(l2, at);
		unsigned here = run_in(qcow2_subs_data(bitmap), first);

		if ((word & mask) != next || !qcow2_entry_in_file(q, word) ||
		    qcow2_extended_kind(q, word, bitmap) != QCOW2_NORMAL)
			break;
		run += here;
		if (first + here < QCOW2_SUBS)
			break;
		next += qcow2_cluster_bytes(q);
	}
	if (run == 0 || qcow2_is_misplaced(q, ask->cluster, entry))
		return qcow2_corrupt_entry(q, ask->cluster, entry);
	*ret = (struct image_extent){
		.kind = IMAGE_DATA,
		.length = bytes_of_run(q, ask, run),
		.store = q->image.data_store,
		.host_offset = (entry & QCOW2_OFFSET_MASK) + ask->skip,
	};
	return 0;
}

int qcow2_sub_read(struct qcow2 *q, const struct qcow2_ask *ask,
		   const struct qcow2_l2 *l2, struct image_extent *ret)
{
	uint64_t entry = qcow2_l2_get(l2, 0);
	uint64_t bitmap = qcow2_l2_bitmap(l2, 0);
	uint64_t sub = UINT64_C(1) << qcow2_ask_sub(q, ask);
	enum qcow2_cluster_kind kind = qcow2_extended_kind(q, entry, bitmap);
	bool zero = qcow2_subs_zero(bitmap) & sub;
	bool has_room = kind == QCOW2_NORMAL;

	if (kind == QCOW2_IS_COMPRESSED)
		return qcow2_map_compressed(q, ask, entry, ret);
	if (kind != QCOW2_NORMAL && kind != QCOW2_UNALLOCATED)
		return qcow2_corrupt_bitmap(q, ask->cluster, entry, bitmap);
	if (bitmap & sub)
		return qcow2_sub_data(q, ask, l2, 0, ret);
	*ret = (struct image_extent){
		.kind = zero ? IMAGE_ZEROES : IMAGE_HOLE,
		.length = bytes_of_run(q, ask, unmapped_run(q, ask, l2, zero)),
		.store = has_room ? q->image.data_store : NULL,
		.host_offset =
			has_room ? (entry & QCOW2_OFFSET_MASK) + ask->skip : 0,
	};
	return 0;
}
