/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots come first, and their L2 tables are changed where they lie: what a
 * table says is changed for all that share it, and what it says is the same.
 * The image's own tables follow in the way of a guest's writes, which would
 * copy those that are shared.
 *
 * Of each snapshot's table, each line being stable before the next begins:
 *
 *	1. new clusters of zeroes have their content, and as many references as
 *	   the table has: each of those who share it will reach them
 *	2. the table
 *	3. the clusters that it named before lose these references
 */
#include "qcow2/zero-flags.h"

#include <errno.h>
#include <stdlib.h>

#include "qcow2/fill.h"
#include "qcow2/free.h"
#include "qcow2/offline.h"
#include "qcow2/snapshot-table.h"
#include "qcow2/snapshot.h"
#include "qcow2/table.h"
#include "qcow2/tree.h"

/* --- In snapshots ---------------------------------------------------------- */

static bool has_zero_flag(const struct qcow2 *q, uint64_t entry)
{
	enum qcow2_cluster_kind kind = qcow2_entry_kind(q, entry);

	return kind == QCOW2_ZERO_PLAIN || kind == QCOW2_ZERO_ALLOCATED;
}

/* What a table is to lose and to get. */
struct exchange {
	uint64_t references; /* to the table */
	uint64_t count;	     /* of entries with the flag */
	uint64_t *old;	     /* their entries; heap */
	uint64_t offset;     /* of new clusters in a row, if there are any */
	uint64_t bytes;
};

/* Finds the flags. An entry that cannot be is the caller's to repair first. */
static int find_flags(struct qcow2 *q, const struct qcow2_tree_table *table,
		      struct exchange *ret)
{
	ret->old = calloc(qcow2_table_entries(q), sizeof(*ret->old));
	if (!ret->old)
		return -ENOMEM;
	for (uint64_t i = 0; i < qcow2_table_entries(q); i++) {
		uint64_t entry = get_be64(table->entries + i * 8);
		enum qcow2_cluster_kind kind = qcow2_entry_kind(q, entry);

		if (kind == QCOW2_CORRUPT_ENTRY ||
		    (kind == QCOW2_ZERO_ALLOCATED &&
		     !qcow2_entry_in_file(q, entry)))
			return qcow2_corrupt_entry(q, table->first_guest + i,
						   entry);
		if (has_zero_flag(q, entry))
			ret->old[ret->count++] = entry;
	}
	return 0;
}

/* Step 1. */
static int make_zeroes(struct qcow2 *q, struct exchange *x)
{
	uint64_t bytes = x->count << q->cluster_bits;
	int err = qcow2_offline_take(q, bytes, &x->offset);

	if (err)
		return err;
	x->bytes = bytes;
	for (uint64_t i = 0; i < x->count && err == 0; i++)
		err = qcow2_offline_ref_set(
			q, qcow2_cluster_of(q, x->offset) + i, x->references);
	if (err == 0)
		err = qcow2_fill_host(q, x->offset, bytes);
	return err ? err : qcow2_offline_stable(q);
}

/* Of a failed step 1: nothing names the new clusters. Returns @err. */
static int forget_zeroes(struct qcow2 *q, const struct exchange *x, int err)
{
	uint64_t first = qcow2_cluster_of(q, x->offset);
	char reason[sizeof(q->image.error)];
	int failed = 0;

	memcpy(reason, q->image.error, sizeof(reason));
	for (uint64_t i = 0; x->bytes && i < x->count && failed == 0; i++)
		failed = qcow2_offline_ref_set(q, first + i, 1);
	if (x->bytes && failed == 0)
		failed = qcow2_offline_give_back(q, x->offset, x->bytes);
	if (failed == 0)
		(void)qcow2_settle(q);
	memcpy(q->image.error, reason, sizeof(reason));
	return err;
}

/* Step 2. What is shared has no COPIED flag; what is not can do without. */
static int write_entries(struct qcow2 *q, const struct qcow2_tree_table *table,
			 const struct exchange *x)
{
	uint64_t next = x->offset;
	int err;

	for (uint64_t i = 0; i < qcow2_table_entries(q); i++) {
		uint8_t *at = table->entries + i * 8;

		if (!has_zero_flag(q, get_be64(at)))
			continue;
		put_be64(at, x->bytes ? next : 0);
		next += qcow2_cluster_bytes(q);
	}
	err = qcow2_tree_write(q, table);
	return err ? err : qcow2_offline_stable(q);
}

/* Step 3, of one entry. */
static int drop(struct qcow2 *q, uint64_t entry, uint64_t references)
{
	uint64_t offset = entry & QCOW2_OFFSET_MASK;
	uint64_t cluster = qcow2_cluster_of(q, offset);
	uint64_t now;
	int err;

	if (offset == 0)
		return 0;
	err = qcow2_offline_ref_get(q, cluster, &now);
	if (err)
		return err;
	if (now < references)
		return qcow2_corrupt(q,
				     "host cluster %llu has %llu references, "
				     "and its refcount is %llu",
				     (unsigned long long)cluster,
				     (unsigned long long)references,
				     (unsigned long long)now);
	/* The last one goes the way that ends in a free cluster. */
	err = qcow2_offline_ref_set(q, cluster, now - references + 1);
	return err ? err : qcow2_offline_give_back(q, offset, 1);
}

static int exchange_entries(struct qcow2 *q,
			    const struct qcow2_tree_table *table,
			    struct exchange *x)
{
	uint64_t cluster = qcow2_cluster_of(q, table->offset);
	int err = qcow2_offline_ref_get(q, cluster, &x->references);

	if (err == 0 && x->references == 0)
		err = qcow2_corrupt(q,
				    "host cluster %llu is used and its "
				    "refcount is 0",
				    (unsigned long long)cluster);
	if (err == 0 && q->image.backing_name)
		err = make_zeroes(q, x);
	if (err)
		return forget_zeroes(q, x, err);
	err = write_entries(q, table, x);
	for (uint64_t i = 0; i < x->count && err == 0; i++)
		err = drop(q, x->old[i], x->references);
	return err ? err : qcow2_settle(q);
}

static int sweep_table(struct qcow2 *q, void *opaque,
		       const struct qcow2_tree_table *table)
{
	struct exchange x = {0};
	int err = find_flags(q, table, &x);

	if (err == 0 && x.count)
		err = exchange_entries(q, table, &x);
	free(x.old);
	return err;
}

static int sweep_snapshot(struct qcow2 *q, const struct qcow2_snapshot *s)
{
	struct qcow2_tree tree;
	uint8_t *l1;
	int err = qcow2_snapshot_l1(q, s, 0, &l1);

	if (err)
		return err;
	tree = (struct qcow2_tree){l1, s->l1_entries};
	err = qcow2_tree_each(q, tree, sweep_table, NULL);
	free(l1);
	return err;
}

static int sweep_snapshots(struct qcow2 *q)
{
	struct qcow2_snapshot_table table;
	int err = qcow2_snapshot_table_read(q, &table);

	if (err)
		return err;
	for (uint32_t i = 0; i < table.count && err == 0; i++)
		err = sweep_snapshot(q, &table.all[i]);
	qcow2_snapshot_table_deinit(&table);
	return err;
}

/* --- In the image ---------------------------------------------------------- */

struct sweep {
	const struct image_amend_request *request;
	uint64_t cluster; /* of the guest */
	uint64_t clusters;
	bool fill; /* found one that has to be written */
};

static int clear_zero(struct qcow2 *q, struct sweep *s,
		      struct image_extent *ret)
{
	struct metacache_block *refs[2];
	struct qcow2_l2 l2;
	uint64_t entry;
	int err = qcow2_l2_own(q, s->cluster, ret, &l2);

	if (err)
		return err;
	entry = qcow2_l2_get(&l2, 0);
	metacache_pin(&q->cache, l2.slice);
	if (!qcow2_has_room(q) || !qcow2_free_has_room(q, 2))
		err = qcow2_answer_full(q, ret);
	if (err == 0)
		err = qcow2_free_prepare(q, entry, ret, refs);
	if (err == 0) {
		qcow2_free_entry(q, entry, refs);
		qcow2_l2_set(q, l2.slice, l2.index, s->cluster, 0);
	}
	metacache_unpin(&q->cache, l2.slice);
	return err;
}

/* Without a backing image nothing shows through a cluster that is not there. */
static int sweep_step(struct qcow2 *q, void *opaque, struct image_extent *ret)
{
	struct sweep *s = opaque;

	while (s->cluster < s->clusters && !s->fill) {
		enum qcow2_cluster_kind kind;
		struct qcow2_l2 l2;
		int err = qcow2_l2_find(q, s->cluster, ret, &l2);

		if (err)
			return err;
		if (!l2.slice) {
			s->cluster += l2.count;
			continue;
		}
		kind = qcow2_entry_kind(q, qcow2_l2_get(&l2, 0));
		if (kind == QCOW2_CORRUPT_ENTRY)
			return qcow2_corrupt_entry(q, s->cluster,
						   qcow2_l2_get(&l2, 0));
		if (kind == QCOW2_ZERO_PLAIN || kind == QCOW2_ZERO_ALLOCATED) {
			s->fill = q->image.backing_name != NULL;
			if (s->fill)
				break;
			err = clear_zero(q, s, ret);
			if (err)
				return err;
		}
		s->cluster++;
	}
	return 0;
}

int qcow2_remove_zero_flags(struct qcow2 *q,
			    const struct image_amend_request *request)
{
	uint64_t cluster = qcow2_cluster_bytes(q);
	struct sweep s = {
		.request = request,
		.clusters = div_round_up(q->image.size_bytes, cluster),
	};
	int err = sweep_snapshots(q);

	while (err == 0 && s.cluster < s.clusters) {
		err = qcow2_offline_run(q, sweep_step, &s);
		if (err || !s.fill)
			break;
		err = qcow2_fill_zeroes(
			q, s.cluster << q->cluster_bits,
			MIN(cluster, q->image.size_bytes -
					     (s.cluster << q->cluster_bits)),
			false);
		s.fill = false;
		s.cluster++;
		if (request->progress)
			request->progress(request->opaque, s.cluster,
					  s.clusters);
	}
	return err ? err : qcow2_settle(q);
}
