/* SPDX-License-Identifier: Apache-2.0 */
#include "qcow2/overlap.h"

enum {
	/* Entries of the L1 table that are looked at. */
	MAX_CHECKED_TABLES = 1 << 20,
};

static uint32_t l1_entries(const struct qcow2 *q)
{
	return MIN(q->header.l1_used, (uint32_t)MAX_CHECKED_TABLES);
}

static uint32_t reftable_entries(const struct qcow2 *q)
{
	return MIN((uint64_t)q->reftable.entries,
		   (q->end_cluster >> q->refblock_bits) + 1);
}

static uint64_t l2_table(const struct qcow2 *q, uint32_t index)
{
	return qcow2_cluster_of(q, qcow2_memtable_get(&q->l1, index) &
					   QCOW2_OFFSET_MASK);
}

static uint64_t refblock(const struct qcow2 *q, uint32_t index)
{
	return qcow2_cluster_of(q, qcow2_memtable_get(&q->reftable, index));
}

static int build(struct qcow2 *q)
{
	int err = 0;

	qcow2_places_deinit(&q->places);
	for (uint32_t i = 0; i < l1_entries(q) && err == 0; i++)
		err = qcow2_places_add(&q->places, l2_table(q, i));
	for (uint32_t i = 0; i < reftable_entries(q) && err == 0; i++)
		err = qcow2_places_add(&q->places, refblock(q, i));
	q->places.built = err == 0;
	return err;
}

/* It was a table, at least. */
static bool is_still_table(const struct qcow2 *q, uint64_t cluster)
{
	for (uint32_t i = 0; i < l1_entries(q); i++)
		if (l2_table(q, i) == cluster)
			return true;
	for (uint32_t i = 0; i < reftable_entries(q); i++)
		if (refblock(q, i) == cluster)
			return true;
	return false;
}

static bool is_table(struct qcow2 *q, uint64_t cluster)
{
	if (!qcow2_places_has(&q->places, cluster))
		return false;
	if (is_still_table(q, cluster))
		return true;
	qcow2_places_forget(&q->places, cluster);
	return false;
}

int qcow2_check_overlaps(struct qcow2 *q, uint64_t first, uint32_t count)
{
	bool overlaps = qcow2_overlaps_tables(q, first, count);
	int err = q->places.built ? 0 : build(q);

	if (err)
		return err;
	for (uint32_t i = 0; i < count && !overlaps; i++)
		overlaps = is_table(q, first + i);
	for (uint32_t i = 0; i < count && !overlaps; i++)
		overlaps = !qcow2_forget_cluster(q, first + i);
	if (overlaps)
		return qcow2_corrupt(q,
				     "host cluster %llu (or one of the %u "
				     "after it) is metadata and its refcount "
				     "is 0",
				     (unsigned long long)first, count - 1);
	return 0;
}

void qcow2_note_table(struct qcow2 *q, uint64_t cluster)
{
	/* Without memory they are built anew, by who needs them. */
	if (q->places.built)
		(void)qcow2_places_add(&q->places, cluster);
}
