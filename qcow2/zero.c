/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Write zeroes and discard. Whole clusters are changed in the metadata alone
 * where the version can say "zero"; parts of clusters are written.
 *
 * Version 2 has no zero flag: an entry can only be cleared, and then the
 * backing image shows through. So with one, zeroes are written as data and a
 * discard does nothing.
 */
#include "qcow2/alloc.h"
#include "qcow2/free.h"
#include "qcow2/map.h"
#include "qcow2/pending.h"
#include "qcow2/subcluster.h"

static int answer_done(const struct qcow2 *q, const struct qcow2_ask *ask,
		       uint64_t clusters, struct image_extent *ret)
{
	*ret = (struct image_extent){
		.kind = IMAGE_DONE,
		.length = qcow2_ask_bytes(q, ask, clusters),
	};
	return 0;
}

int qcow2_map_zero_again(struct qcow2 *q, const struct qcow2_ask *ask,
			 uint64_t clusters, uint64_t length,
			 struct image_extent *ret)
{
	uint64_t run;

	*ret = (struct image_extent){.kind = IMAGE_DONE, .length = length};
	if (ask->op == IMAGE_DISCARD || !qcow2_data_is_raw(q) ||
	    ask->offset >= q->raw_zero_from)
		return 0;
	run = qcow2_pending_limit(q, ask->cluster, clusters);
	if (run == 0)
		return qcow2_answer_busy(ret);
	*ret = (struct image_extent){
		.kind = IMAGE_DATA,
		.length = MIN(length, qcow2_ask_bytes(q, ask, run)),
		.store = q->image.data_store,
		.host_offset = ask->offset,
	};
	return 0;
}

static bool has_no_zero_flag_and_a_backing(const struct qcow2 *q)
{
	return q->header.version < 3 &&
	       (q->image.backing_name || q->image.backing ||
		q->image.backing_changes);
}

/* True if nothing has to be done for the cluster with this entry. */
static bool is_done(const struct qcow2 *q, const struct qcow2_ask *ask,
		    uint64_t at, enum qcow2_cluster_kind kind)
{
	uint64_t offset = (ask->cluster + at) << q->cluster_bits;

	switch (kind) {
	case QCOW2_ZERO_PLAIN:
		return true;
	case QCOW2_ZERO_ALLOCATED:
		return ask->op == IMAGE_ZERO;
	case QCOW2_UNALLOCATED:
		return !qcow2_has_backing(q, offset);
	default:
		return false;
	}
}

/* Entries that need nothing, from the first on. */
static uint64_t done_run(const struct qcow2 *q, const struct qcow2_ask *ask,
			 const struct qcow2_l2 *l2, uint64_t limit)
{
	uint64_t run = 0;

	/* As many as a disk has, perhaps: past the backing's end are all. */
	if (!l2->slice)
		return is_done(q, ask, 0, QCOW2_UNALLOCATED) ? limit : 0;
	while (run < limit &&
	       is_done(q, ask, run, qcow2_entry_kind(q, qcow2_l2_get(l2, run))))
		run++;
	return run;
}

/* Changes one entry and gives up what it used; its slice is pinned. */
static int clear_entry(struct qcow2 *q, const struct qcow2_ask *ask,
		       const struct qcow2_l2 *l2, uint64_t at,
		       struct image_extent *ret)
{
	uint64_t entry = qcow2_l2_get(l2, at);
	enum qcow2_cluster_kind kind = qcow2_entry_kind(q, entry);
	struct metacache_block *refs[2];
	int err;

	if (kind == QCOW2_CORRUPT_ENTRY ||
	    (kind != QCOW2_UNALLOCATED && kind != QCOW2_ZERO_PLAIN &&
	     !qcow2_entry_in_file(q, entry)))
		return qcow2_corrupt_entry(q, ask->cluster + at, entry);
	if (is_done(q, ask, at, kind))
		return 0;
	if (!qcow2_has_room(q) || !qcow2_free_has_room(q, 2) ||
	    qcow2_journal_room(q) == 0)
		return qcow2_answer_full(q, ret);
	err = qcow2_free_prepare(q, entry, ret, refs);
	if (err)
		return err;
	qcow2_free_entry(q, entry, refs);
	qcow2_l2_set(q, l2->slice, l2->index + at, ask->cluster + at,
		     q->header.version < 3 ? 0 : QCOW2_ZERO);
	return 0;
}

static int clear_run(struct qcow2 *q, const struct qcow2_ask *ask,
		     uint64_t clusters, struct image_extent *ret)
{
	struct qcow2_l2 l2;
	uint64_t limit, done = 0;
	int err = qcow2_l2_own(q, ask->cluster, ret, &l2);

	if (err)
		return err;
	limit = qcow2_pending_limit(q, ask->cluster,
				    MIN(clusters, (uint64_t)l2.count));
	for (uint64_t i = 1; q->data_file && i < limit; i++)
		if (qcow2_entry_kind(q, qcow2_l2_get(&l2, i)) == QCOW2_NORMAL)
			limit = i;
	if (limit == 0)
		return qcow2_answer_busy(ret);
	metacache_pin(&q->cache, l2.slice);
	while (done < limit && err == 0) {
		err = clear_entry(q, ask, &l2, done, ret);
		done += err == 0;
	}
	metacache_unpin(&q->cache, l2.slice);
	/* A block is being asked for: that must be answered first. */
	if (done == 0 || (err == QCOW2_ANSWERED && ret->kind == IMAGE_NEED))
		return err;
	return answer_done(q, ask, done, ret);
}

/* Zeroes that are written as data: into the cluster, or into a new one. */
static int write_zeroes(struct qcow2 *q, const struct qcow2_ask *ask,
			const struct qcow2_l2 *l2, struct image_extent *ret)
{
	uint64_t entry = l2->slice ? qcow2_l2_get(l2, 0) : 0;
	enum qcow2_cluster_kind kind = qcow2_entry_kind(q, entry);

	if (kind == QCOW2_CORRUPT_ENTRY)
		return qcow2_corrupt_entry(q, ask->cluster, entry);
	if (kind == QCOW2_NORMAL && qcow2_is_own(q, entry))
		return qcow2_map_data(q, ask, l2, qcow2_own_flag(q), ret);
	return qcow2_map_allocate(q, ask, ret);
}

/* Of @ask, the whole clusters; the image's last one may be cut short. */
static uint64_t whole_clusters(const struct qcow2 *q,
			       const struct qcow2_ask *ask)
{
	if (ask->skip)
		return 0;
	if (ask->offset + ask->length == q->image.size_bytes)
		return ask->clusters;
	return ask->length >> q->cluster_bits;
}

/*
 * What a data file has is zeroed or punched where it is, and stays mapped: so a
 * raw one always holds what the guest sees.
 */
static bool is_data_file_data(const struct qcow2 *q, const struct qcow2_l2 *l2)
{
	return q->data_file && l2->slice &&
	       qcow2_entry_kind(q, qcow2_l2_get(l2, 0)) == QCOW2_NORMAL;
}

static struct qcow2_ask first_cluster_of(const struct qcow2 *q,
					 const struct qcow2_ask *ask)
{
	struct qcow2_ask first = *ask;

	first.length = qcow2_ask_bytes(q, ask, 1);
	first.clusters = 1;
	return first;
}

int qcow2_map_zero(struct qcow2 *q, const struct qcow2_ask *ask,
		   struct image_extent *ret)
{
	struct qcow2_ask part = first_cluster_of(q, ask);
	uint64_t whole = whole_clusters(q, ask);
	struct qcow2_l2 l2;
	uint64_t run;
	int err;

	if (q->extended)
		return qcow2_sub_zero(q, ask, ret);
	if (ask->op == IMAGE_DISCARD && whole == 0)
		return answer_done(q, &part, 1, ret);
	if (ask->op == IMAGE_DISCARD && has_no_zero_flag_and_a_backing(q))
		return answer_done(q, ask, whole, ret);
	err = qcow2_l2_find(q, ask->cluster, ret, &l2);
	if (err)
		return err;
	run = done_run(q, whole ? ask : &part, &l2,
		       MIN(whole ? whole : 1, (uint64_t)l2.count));
	if (run > 0)
		return qcow2_map_zero_again(
			q, ask, run,
			qcow2_ask_bytes(q, whole ? ask : &part, run), ret);
	if (is_data_file_data(q, &l2))
		return qcow2_map_data(q, ask, &l2, 0, ret);
	if (whole == 0)
		return write_zeroes(q, &part, &l2, ret);
	if (has_no_zero_flag_and_a_backing(q)) {
		struct qcow2_ask rest = *ask;

		rest.length = qcow2_ask_bytes(q, ask, whole);
		rest.clusters = whole;
		return write_zeroes(q, &rest, &l2, ret);
	}
	return clear_run(q, ask, whole, ret);
}
