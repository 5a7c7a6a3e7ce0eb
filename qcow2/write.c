/* SPDX-License-Identifier: Apache-2.0 */
#include "qcow2/alloc.h"
#include "qcow2/free.h"
#include "qcow2/map.h"
#include "qcow2/pending.h"

/* A run of clusters that an allocation will replace. */
struct target {
	const struct qcow2_ask *ask;
	struct qcow2_l2 l2;
	uint64_t count;
	uint64_t zero_count; /* of the first ones: read as zeroes now */
	bool in_place; /* they have host clusters, in a row, of their own */
	uint64_t host; /* the first of these */
	unsigned frees;
	struct metacache_block *refs[2]; /* of the old clusters' refcounts */
};

int qcow2_map_write(struct qcow2 *q, const struct qcow2_ask *ask,
		    struct image_extent *ret)
{
	struct qcow2_l2 l2;
	int err = qcow2_l2_find(q, ask->cluster, ret, &l2);

	if (err)
		return err;
	if (l2.slice) {
		uint64_t entry = qcow2_l2_get(&l2, 0);
		enum qcow2_cluster_kind kind = qcow2_entry_kind(q, entry);

		if (kind == QCOW2_CORRUPT_ENTRY)
			return qcow2_corrupt_entry(q, ask->cluster, entry);
		if (kind == QCOW2_NORMAL && (entry & QCOW2_COPIED))
			return qcow2_map_data(q, ask, &l2, QCOW2_COPIED, ret);
	}
	return qcow2_map_allocate(q, ask, ret);
}

static bool reads_zero(const struct qcow2 *q, uint64_t guest_cluster,
		       enum qcow2_cluster_kind kind)
{
	return kind == QCOW2_ZERO_PLAIN || kind == QCOW2_ZERO_ALLOCATED ||
	       (kind == QCOW2_UNALLOCATED &&
		!qcow2_has_backing(q, guest_cluster << q->cluster_bits));
}

/* Room for one more slice among the two that a pending allocation can hold. */
static bool keep_refs(struct target *t, struct metacache_block *const refs[2])
{
	struct metacache_block *kept[2] = {t->refs[0], t->refs[1]};

	for (int i = 0; i < 2; i++) {
		if (!refs[i] || refs[i] == kept[0] || refs[i] == kept[1])
			continue;
		if (kept[0] && kept[1])
			return false;
		kept[kept[0] ? 1 : 0] = refs[i];
	}
	t->refs[0] = kept[0];
	t->refs[1] = kept[1];
	return true;
}

/* Blocks in t->refs are pinned, since looking at further ones loads more. */
static int add_old_cluster(struct qcow2 *q, struct target *t, uint64_t entry,
			   struct image_extent *ret)
{
	struct metacache_block *before[2] = {t->refs[0], t->refs[1]};
	struct metacache_block *refs[2];
	int err;

	if (!qcow2_entry_in_file(q, entry))
		return qcow2_corrupt_entry(q, t->ask->cluster + t->count,
					   entry);
	if (!qcow2_free_has_room(q, t->frees + 3))
		return qcow2_answer_full(q, ret);
	err = qcow2_free_prepare(q, entry, ret, refs);
	if (err)
		return err;
	if (!keep_refs(t, refs))
		return qcow2_answer_busy(ret);
	for (int i = 0; i < 2; i++)
		if (t->refs[i] && !before[i])
			metacache_pin(&q->cache, t->refs[i]);
	t->frees += 2;
	return 0;
}

/* Whether the next cluster can be replaced together with those before it. */
static int add_cluster(struct qcow2 *q, struct target *t,
		       struct image_extent *ret)
{
	uint64_t entry = qcow2_l2_get(&t->l2, t->count);
	uint64_t host = qcow2_cluster_of(q, entry & QCOW2_OFFSET_MASK);
	enum qcow2_cluster_kind kind = qcow2_entry_kind(q, entry);
	bool copied = entry & QCOW2_COPIED;
	bool in_place = kind == QCOW2_ZERO_ALLOCATED && copied;
	int err = 0;

	if (kind == QCOW2_CORRUPT_ENTRY)
		return qcow2_corrupt_entry(q, t->ask->cluster + t->count,
					   entry);
	if (t->count > 0 &&
	    ((kind == QCOW2_NORMAL && copied) || in_place != t->in_place ||
	     (in_place && host != t->host + t->count)))
		return IMAGE_E_UNSUPPORTED;
	if (kind != QCOW2_UNALLOCATED && kind != QCOW2_ZERO_PLAIN)
		err = add_old_cluster(q, t, entry, ret);
	if (err)
		return err;
	if (t->count == 0) {
		t->in_place = in_place;
		t->host = host;
	}
	if (t->zero_count == t->count &&
	    reads_zero(q, t->ask->cluster + t->count, kind))
		t->zero_count++;
	t->count++;
	return 0;
}

static int find_target(struct qcow2 *q, struct target *t,
		       struct image_extent *ret)
{
	uint64_t limit = MIN(t->ask->clusters, (uint64_t)t->l2.count);

	limit = qcow2_pending_limit(q, t->ask->cluster, limit);
	if (limit == 0 || qcow2_pending_is_full(q))
		return qcow2_answer_busy(ret);
	limit = MIN(limit, qcow2_journal_room(q));
	if (limit == 0)
		return qcow2_answer_full(q, ret);
	while (t->count < limit) {
		int err = add_cluster(q, t, ret);

		if (err == QCOW2_ANSWERED && ret->kind == IMAGE_NEED)
			return err;
		if (err && t->count == 0)
			return err;
		if (err)
			break;
	}
	return 0;
}

/*
 * A new place that reads as zeroes already needs no copying: map it now. Not
 * where it would be zeroes that were decrypted.
 */
static void map_at_once(struct qcow2 *q, const struct target *t,
			const struct qcow2_run *run, struct image_extent *ret)
{
	for (uint32_t i = 0; i < run->count; i++)
		qcow2_l2_set(
			q, t->l2.slice, t->l2.index + i, t->ask->cluster + i,
			(run->first + i) << q->cluster_bits | QCOW2_COPIED);
	*ret = (struct image_extent){
		.kind = IMAGE_DATA,
		.length = qcow2_ask_bytes(q, t->ask, run->count),
		.store = q->image.data_store,
		.host_offset = (run->first << q->cluster_bits) + t->ask->skip,
	};
}

static void hand_out(struct qcow2 *q, struct target *t,
		     const struct qcow2_run *run, struct image_extent *ret)
{
	uint64_t length = qcow2_ask_bytes(q, t->ask, run->count);
	uint64_t tail = ((uint64_t)run->count << q->cluster_bits) -
			t->ask->skip - length;
	bool zero_head = t->ask->skip == 0 || t->zero_count > 0;
	bool zero_tail = tail == 0 || t->zero_count >= run->count;
	struct qcow2_pending pending = {
		.count = run->count,
		.guest = t->ask->cluster,
		.host = run->first,
		.index = t->l2.index,
		.in_place = t->in_place,
		.frees = t->frees + 1,
		.l2 = t->l2.slice,
		.new_ref = run->ref,
		.old_ref = {t->refs[0], t->refs[1]},
	};

	t->refs[0] = t->refs[1] = NULL;
	metacache_pin(&q->cache, pending.l2);
	if (pending.new_ref)
		metacache_pin(&q->cache, pending.new_ref);
	*ret = (struct image_extent){
		.kind = IMAGE_ALLOCATE,
		.length = length,
		.store = q->image.data_store,
		.host_offset = run->first << q->cluster_bits,
		.head_bytes = t->ask->skip,
		.tail_bytes = tail,
		.fill_zeroes = zero_head && zero_tail,
		.reads_zero = run->reads_zero,
		.ticket = qcow2_pending_add(q, &pending),
	};
}

static int replace(struct qcow2 *q, struct target *t, struct image_extent *ret)
{
	struct qcow2_run run = {.first = t->host, .count = t->count};
	int err;

	if (!qcow2_free_has_room(q, t->frees + 1))
		return qcow2_answer_full(q, ret);
	if (!t->in_place) {
		err = qcow2_alloc(q, QCOW2_ALLOC_DATA, t->count, ret, &run);
		if (err)
			return err;
	}
	if (run.reads_zero && !q->image.cipher && t->frees == 0 &&
	    t->zero_count >= run.count)
		map_at_once(q, t, &run, ret);
	else
		hand_out(q, t, &run, ret);
	return 0;
}

int qcow2_map_allocate(struct qcow2 *q, const struct qcow2_ask *ask,
		       struct image_extent *ret)
{
	struct target t = {.ask = ask};
	int err = qcow2_l2_own(q, ask->cluster, ret, &t.l2);

	if (err)
		return err;
	metacache_pin(&q->cache, t.l2.slice);
	err = find_target(q, &t, ret);
	if (err == 0)
		err = replace(q, &t, ret);
	for (int i = 0; i < 2; i++)
		if (t.refs[i])
			metacache_unpin(&q->cache, t.refs[i]);
	metacache_unpin(&q->cache, t.l2.slice);
	return err;
}
