/* SPDX-License-Identifier: Apache-2.0 */
#include "qcow2/tree.h"

#include <errno.h>
#include <stdlib.h>

#include "qcow2/free.h"
#include "qcow2/offline.h"
#include "qcow2/refcount.h"
#include "qcow2/subcluster.h"

enum visit {
	VISIT_CHECK,
	VISIT_CHECK_RAISE,
	VISIT_RAISE,
	VISIT_LOWER,
};

struct each {
	int (*call)(struct qcow2 *q, void *opaque,
		    const struct qcow2_tree_table *table);
	void *opaque;
};

/* On the way through a tree. */
struct walk {
	struct qcow2 *q;
	enum visit visit;
	uint64_t left;	/* references to be visited at most */
	uint64_t done;	/* visited */
	uint8_t *table; /* one L2 table */
	struct each each;
	/* The step's: the next cluster of the next entry in @table. */
	uint64_t entry;
	uint64_t stop;
	uint32_t cluster;
};

enum {
	/* In one step that may have to flush now and then. */
	STEP_ENTRIES = 1024,
};

/* What one L2 entry takes, extended or not. */
static unsigned entry_bytes(const struct qcow2 *q)
{
	return 1u << (q->cluster_bits - q->l2_bits);
}

static uint64_t get_entry(const struct walk *w, uint64_t index)
{
	return get_be64(w->table + index * entry_bytes(w->q));
}

static enum qcow2_cluster_kind kind_at(const struct qcow2 *q, const uint8_t *at)
{
	return q->extended
		       ? qcow2_extended_kind(q, get_be64(at), get_be64(at + 8))
		       : qcow2_entry_kind(q, get_be64(at));
}

static uint64_t most_references(const struct qcow2 *q)
{
	unsigned bits = 1u << q->header.refcount_order;

	return bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
}

static int too_many(struct qcow2 *q, uint64_t cluster)
{
	return image_set_error(&q->image, -EOVERFLOW,
			       "host cluster %llu has as many references as "
			       "refcounts of %u bits can count; a snapshot "
			       "needs wider ones (refcount_bits)",
			       (unsigned long long)cluster,
			       1u << q->header.refcount_order);
}

static int change_ref(struct walk *w, struct metacache_block *ref,
		      uint64_t cluster, uint64_t count,
		      struct image_extent *ret)
{
	struct qcow2 *q = w->q;

	if (w->visit == VISIT_CHECK)
		return 0;
	if (w->visit != VISIT_LOWER && count == most_references(q))
		return too_many(q, cluster);
	if (w->visit == VISIT_CHECK_RAISE)
		return 0;
	if (!qcow2_has_room(q) || !qcow2_free_has_room(q, 1))
		return qcow2_answer_full(q, ret);
	if (w->visit == VISIT_RAISE)
		qcow2_ref_set(q, ref, cluster, count + 1);
	else if (count > 1)
		qcow2_ref_set(q, ref, cluster, count - 1);
	else
		qcow2_free_queue(q, ref, cluster, 1);
	return 0;
}

static int visit_cluster(struct walk *w, uint64_t cluster,
			 struct image_extent *ret)
{
	struct qcow2 *q = w->q;
	struct metacache_block *ref;
	uint64_t count;
	int err;

	if (w->left == 0)
		return 0;
	err = qcow2_ref_slice(q, cluster, ret, &ref);
	if (err)
		return err;
	count = ref ? qcow2_ref_get(q, ref, cluster) : 0;
	if (count == 0)
		return qcow2_corrupt(
			q, "host cluster %llu is used and its refcount is 0",
			(unsigned long long)cluster);
	err = change_ref(w, ref, cluster, count, ret);
	if (err == 0) {
		w->left--;
		w->done++;
	}
	return err;
}

static int visit_table_step(struct qcow2 *q, void *opaque,
			    struct image_extent *ret)
{
	struct walk *w = opaque;

	while (w->entry < w->stop) {
		uint64_t entry = get_entry(w, w->entry);
		uint64_t first = 0;
		uint32_t count = qcow2_entry_clusters(q, entry, &first);

		while (w->cluster < count) {
			int err = visit_cluster(w, first + w->cluster, ret);

			if (err)
				return err;
			w->cluster++;
		}
		w->cluster = 0;
		w->entry++;
	}
	return 0;
}

struct one {
	struct walk *walk;
	uint64_t cluster;
};

static int visit_one_step(struct qcow2 *q, void *opaque,
			  struct image_extent *ret)
{
	struct one *one = opaque;

	return visit_cluster(one->walk, one->cluster, ret);
}

static int check_l1_entry(struct qcow2 *q, uint64_t entry)
{
	uint64_t offset = entry & QCOW2_OFFSET_MASK;
	uint64_t cluster = qcow2_cluster_of(q, offset);

	if (!(entry & QCOW2_L1_RESERVED) && qcow2_in_cluster(q, offset) == 0 &&
	    cluster < qcow2_file_clusters(q) &&
	    !qcow2_overlaps_tables(q, cluster, 1))
		return 0;
	return qcow2_corrupt(q,
			     "L1 entry 0x%llx is not the place of an L2 table",
			     (unsigned long long)entry);
}

static int check_table(struct walk *w, uint64_t first_guest)
{
	struct qcow2 *q = w->q;

	for (uint64_t i = 0; i < qcow2_table_entries(q); i++) {
		uint64_t entry = get_entry(w, i);
		enum qcow2_cluster_kind kind =
			kind_at(q, w->table + i * entry_bytes(q));

		if (kind == QCOW2_UNALLOCATED || kind == QCOW2_ZERO_PLAIN)
			continue;
		if (kind == QCOW2_CORRUPT_ENTRY ||
		    !qcow2_entry_in_file(q, entry))
			return qcow2_corrupt_entry(q, first_guest + i, entry);
	}
	return 0;
}

static int read_table(struct walk *w, uint64_t l1_entry)
{
	struct qcow2 *q = w->q;
	int err = check_l1_entry(q, l1_entry);

	return err ? err
		   : store_read(q->image.store, l1_entry & QCOW2_OFFSET_MASK,
				w->table, qcow2_cluster_bytes(q));
}

static int visit_table(struct walk *w, uint64_t l1_entry, uint64_t first_guest)
{
	struct qcow2 *q = w->q;
	struct one one = {
		.walk = w,
		.cluster = qcow2_cluster_of(q, l1_entry & QCOW2_OFFSET_MASK),
	};
	int err = read_table(w, l1_entry);

	if (err == 0 && w->visit <= VISIT_CHECK_RAISE)
		err = check_table(w, first_guest);
	if (err == 0)
		err = qcow2_offline_run(q, visit_one_step, &one);
	w->entry = w->cluster = 0;
	while (err == 0 && w->entry < qcow2_table_entries(q)) {
		w->stop = MIN(w->entry + STEP_ENTRIES, qcow2_table_entries(q));
		err = qcow2_offline_run(q, visit_table_step, w);
	}
	return err;
}

static int new_table(struct walk *w)
{
	w->table =
		aligned_alloc(4096, align_up(qcow2_cluster_bytes(w->q), 4096));
	return w->table ? 0 : -ENOMEM;
}

static int for_tables(struct walk *w, struct qcow2_tree tree,
		      int (*call)(struct walk *w, uint64_t l1_entry,
				  uint64_t first_guest))
{
	int err = new_table(w);

	for (uint32_t i = 0; i < tree.entries && err == 0; i++) {
		uint64_t entry = get_be64(tree.l1 + (size_t)i * 8);

		if (entry & ~QCOW2_COPIED)
			err = call(w, entry, (uint64_t)i << w->q->l2_bits);
	}
	free(w->table);
	return err;
}

static int visit_all(struct qcow2 *q, struct qcow2_tree tree, enum visit visit,
		     uint64_t most, uint64_t *ret_done)
{
	struct walk w = {.q = q, .visit = visit, .left = most};
	int err = for_tables(&w, tree, visit_table);

	*ret_done = w.done;
	return err;
}

int qcow2_tree_check(struct qcow2 *q, struct qcow2_tree tree)
{
	uint64_t done;

	return visit_all(q, tree, VISIT_CHECK, UINT64_MAX, &done);
}

int qcow2_tree_check_raise(struct qcow2 *q, struct qcow2_tree tree)
{
	uint64_t done;

	return visit_all(q, tree, VISIT_CHECK_RAISE, UINT64_MAX, &done);
}

int qcow2_tree_raise(struct qcow2 *q, struct qcow2_tree tree)
{
	uint64_t done, undone;
	int err = visit_all(q, tree, VISIT_RAISE, UINT64_MAX, &done);

	/* The same references in the same order, so none falls to zero. */
	if (err)
		(void)visit_all(q, tree, VISIT_LOWER, done, &undone);
	return err;
}

int qcow2_tree_lower(struct qcow2 *q, struct qcow2_tree tree)
{
	uint64_t done;

	return visit_all(q, tree, VISIT_LOWER, UINT64_MAX, &done);
}

static int each_table(struct walk *w, uint64_t l1_entry, uint64_t first_guest)
{
	const struct qcow2_tree_table table = {
		.offset = l1_entry & QCOW2_OFFSET_MASK,
		.first_guest = first_guest,
		.entries = w->table,
	};
	int err = read_table(w, l1_entry);

	return err ? err : w->each.call(w->q, w->each.opaque, &table);
}

int qcow2_tree_each(struct qcow2 *q, struct qcow2_tree tree,
		    int (*call)(struct qcow2 *q, void *opaque,
				const struct qcow2_tree_table *table),
		    void *opaque)
{
	struct walk w = {.q = q, .each = {call, opaque}};

	return for_tables(&w, tree, each_table);
}

int qcow2_tree_write(struct qcow2 *q, const struct qcow2_tree_table *table)
{
	if (!qcow2_forget_cluster(q, qcow2_cluster_of(q, table->offset)))
		return qcow2_corrupt(q,
				     "the L2 table at %llu is something "
				     "else, too",
				     (unsigned long long)table->offset);
	q->copy.state = QCOW2_COPY_IDLE;
	return store_write(q->image.store, table->offset, table->entries,
			   qcow2_cluster_bytes(q));
}

static int unmark_table(struct qcow2 *q, void *opaque,
			const struct qcow2_tree_table *table)
{
	bool changed = false;

	for (uint64_t i = 0; i < qcow2_table_entries(q); i++) {
		uint8_t *at = table->entries + i * entry_bytes(q);
		uint64_t entry = get_be64(at);

		if (!(entry & QCOW2_COPIED))
			continue;
		put_be64(at, entry & ~QCOW2_COPIED);
		changed = true;
	}
	return changed ? qcow2_tree_write(q, table) : 0;
}

int qcow2_tree_unmark(struct qcow2 *q, struct qcow2_tree tree)
{
	return qcow2_tree_each(q, tree, unmark_table, NULL);
}

/* Whether an entry that uses @cluster alone says so. */
static int is_sole(struct qcow2 *q, uint64_t cluster, bool *ret_sole)
{
	uint64_t count;
	int err = qcow2_offline_ref_get(q, cluster, &count);

	if (err == 0)
		*ret_sole = count == 1;
	return err;
}

static int mark_table(struct qcow2 *q, void *opaque,
		      const struct qcow2_tree_table *table)
{
	bool changed = false;
	int err = 0;

	for (uint64_t i = 0; i < qcow2_table_entries(q) && err == 0; i++) {
		uint8_t *at = table->entries + i * entry_bytes(q);
		enum qcow2_cluster_kind kind = kind_at(q, at);
		uint64_t entry = get_be64(at);
		uint64_t marked;
		bool sole = false;

		if (kind != QCOW2_NORMAL && kind != QCOW2_ZERO_ALLOCATED)
			continue;
		err = is_sole(q, qcow2_cluster_of(q, entry & QCOW2_OFFSET_MASK),
			      &sole);
		marked = (entry & ~QCOW2_COPIED) | (sole ? QCOW2_COPIED : 0);
		changed |= marked != entry;
		put_be64(at, marked);
	}
	return err == 0 && changed ? qcow2_tree_write(q, table) : err;
}

int qcow2_tree_mark_active(struct qcow2 *q)
{
	struct qcow2_tree tree = {q->l1.data, q->header.l1_entries};
	int err = 0;

	/* What a data file has is never shared, and marked in its own way. */
	if (!q->data_file)
		err = qcow2_tree_each(q, tree, mark_table, NULL);
	for (uint32_t i = 0; i < q->header.l1_entries && err == 0; i++) {
		uint64_t entry = qcow2_memtable_get(&q->l1, i);
		uint64_t marked = entry & ~QCOW2_COPIED;
		bool sole = false;

		if (marked)
			err = is_sole(q, qcow2_cluster_of(q, marked), &sole);
		marked |= sole ? QCOW2_COPIED : 0;
		if (err == 0 && marked != entry)
			qcow2_memtable_set(&q->l1, i, marked);
	}
	return err ? err : qcow2_offline_stable(q);
}
