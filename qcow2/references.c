/* SPDX-License-Identifier: Apache-2.0 */
#include "qcow2/references.h"

#include <errno.h>
#include <stdlib.h>

#include "qcow2/free.h"
#include "qcow2/snapshot-table.h"
#include "qcow2/table.h"

struct marker {
	struct qcow2 *q;
	struct qcow2_suspects *suspects;
	uint8_t *table; /* one cluster */
};

/* The first suspect at or after @cluster. */
static size_t lower_bound(const struct qcow2_suspects *suspects,
			  uint64_t cluster)
{
	size_t low = 0, high = suspects->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (suspects->all[middle].cluster < cluster)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct qcow2_suspect *qcow2_suspects_find(const struct qcow2_suspects *suspects,
					  uint64_t cluster)
{
	size_t at = lower_bound(suspects, cluster);

	if (at == suspects->count || suspects->all[at].cluster != cluster)
		return NULL;
	return &suspects->all[at];
}

static void mark(struct qcow2_suspects *suspects, uint64_t first,
		 uint64_t count)
{
	if (suspects->count == 0 || count == 0 ||
	    first > suspects->all[suspects->count - 1].cluster)
		return;
	for (size_t at = lower_bound(suspects, first);
	     at < suspects->count && suspects->all[at].cluster - first < count;
	     at++)
		suspects->all[at].used = true;
}

static void mark_bytes(const struct qcow2 *q, struct qcow2_suspects *suspects,
		       uint64_t offset, uint64_t bytes)
{
	uint64_t first = qcow2_cluster_of(q, offset);

	if (bytes)
		mark(suspects, first,
		     qcow2_cluster_of(q, offset + bytes - 1) - first + 1);
}

void qcow2_mark_tables(const struct qcow2 *q, struct qcow2_suspects *suspects)
{
	mark(suspects, 0, 1);
	mark_bytes(q, suspects, q->l1.offset, q->l1.placed);
	mark_bytes(q, suspects, q->reftable.offset, q->reftable.placed);
	for (uint32_t i = 0; i < q->l1.entries; i++)
		mark(suspects,
		     qcow2_cluster_of(q, qcow2_memtable_get(&q->l1, i) &
						 QCOW2_OFFSET_MASK),
		     1);
	for (uint32_t i = 0; i < q->reftable.entries; i++)
		mark(suspects,
		     qcow2_cluster_of(q, qcow2_memtable_get(&q->reftable, i)),
		     1);
}

static int mark_l2_table(struct marker *m, uint64_t offset)
{
	const struct qcow2 *q = m->q;
	uint64_t bytes = qcow2_cluster_bytes(q);
	int err;

	mark(m->suspects, qcow2_cluster_of(q, offset), 1);
	/* What is not in the file maps nothing. */
	if (offset == 0 || qcow2_in_cluster(q, offset) ||
	    !range_fits(offset, bytes, q->image.store->size_bytes))
		return 0;
	err = store_read(q->image.store, offset, m->table, bytes);
	for (uint64_t i = 0; err == 0 && i < bytes;
	     i += UINT64_C(1) << q->entry_bits) {
		uint64_t first = 0;
		uint32_t count =
			qcow2_entry_clusters(q, get_be64(m->table + i), &first);

		mark(m->suspects, first, count);
	}
	return err;
}

static int mark_l1_table(struct marker *m, const uint8_t *l1, uint32_t entries)
{
	int err = 0;

	for (uint32_t i = 0; i < entries && err == 0; i++) {
		uint64_t entry = get_be64(l1 + (size_t)i * 8);

		if (entry & QCOW2_OFFSET_MASK)
			err = mark_l2_table(m, entry & QCOW2_OFFSET_MASK);
	}
	return err;
}

static int mark_snapshot(struct marker *m, const struct qcow2_snapshot *s)
{
	struct qcow2 *q = m->q;
	uint64_t bytes = s->l1_entries * UINT64_C(8);
	uint8_t *l1;
	int err;

	if (bytes == 0)
		return 0;
	l1 = aligned_alloc(4096, align_up(bytes, 4096));
	if (!l1)
		return -ENOMEM;
	mark_bytes(q, m->suspects, s->l1_offset, bytes);
	err = store_read(q->image.store, s->l1_offset, l1, bytes);
	if (err == 0)
		err = mark_l1_table(m, l1, bytes / 8);
	free(l1);
	return err;
}

static int mark_snapshots(struct marker *m)
{
	struct qcow2 *q = m->q;
	struct qcow2_snapshot_table table;
	int err = qcow2_snapshot_table_read(q, &table);

	if (err)
		return err;
	mark_bytes(q, m->suspects, q->header.snapshots_offset, table.size);
	for (uint32_t i = 0; i < table.count && err == 0; i++)
		err = mark_snapshot(m, &table.all[i]);
	qcow2_snapshot_table_deinit(&table);
	return err;
}

static int mark_bitmap_range(void *opaque, uint64_t offset, uint64_t bytes)
{
	struct marker *m = opaque;

	mark_bytes(m->q, m->suspects, offset, bytes);
	return 0;
}

int qcow2_mark_contents(struct qcow2 *q, struct qcow2_suspects *suspects)
{
	struct marker m = {
		.q = q,
		.suspects = suspects,
		.table = aligned_alloc(4096,
				       align_up(qcow2_cluster_bytes(q), 4096)),
	};
	int err;

	if (!m.table)
		return -ENOMEM;
	err = mark_l1_table(&m, q->l1.data, q->l1.entries);
	if (err == 0)
		err = mark_snapshots(&m);
	if (err == 0)
		err = qcow2_bitmaps_ranges(q, mark_bitmap_range, &m);
	free(m.table);
	return err;
}
