/* SPDX-License-Identifier: Apache-2.0 */
#include "qcow2/free.h"
#include "qcow2/map.h"
#include "qcow2/pending.h"
#include "qcow2/replace.h"
#include "qcow2/subcluster.h"

/* Whole clusters, and what they read as. */
struct target {
	struct qcow2_target t;
	uint64_t zero_count; /* of the first ones: read as zeroes now */
};

int qcow2_map_write(struct qcow2 *q, const struct qcow2_ask *ask,
		    struct image_extent *ret)
{
	struct qcow2_l2 l2;
	int err;

	if (q->extended)
		return qcow2_sub_write(q, ask, ret);
	err = qcow2_l2_find(q, ask->cluster, ret, &l2);
	if (err)
		return err;
	if (l2.slice) {
		uint64_t entry = qcow2_l2_get(&l2, 0);
		enum qcow2_cluster_kind kind = qcow2_entry_kind(q, entry);

		if (kind == QCOW2_CORRUPT_ENTRY)
			return qcow2_corrupt_entry(q, ask->cluster, entry);
		if (kind == QCOW2_NORMAL && qcow2_is_own(q, entry))
			return qcow2_map_data(q, ask, &l2, qcow2_own_flag(q),
					      ret);
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

/* Whether the next cluster can be replaced together with those before it. */
static int add_cluster(struct qcow2 *q, struct target *target,
		       struct image_extent *ret)
{
	struct qcow2_target *t = &target->t;
	uint64_t entry = qcow2_l2_get(&t->l2, t->count);
	uint64_t host = qcow2_cluster_of(q, entry & QCOW2_OFFSET_MASK);
	enum qcow2_cluster_kind kind = qcow2_entry_kind(q, entry);
	bool own = qcow2_is_own(q, entry);
	bool in_place = kind == QCOW2_ZERO_ALLOCATED && own && !q->data_file;
	int err = 0;

	if (kind == QCOW2_CORRUPT_ENTRY)
		return qcow2_corrupt_entry(q, t->ask->cluster + t->count,
					   entry);
	if (t->count > 0 &&
	    ((kind == QCOW2_NORMAL && own) || in_place != t->in_place ||
	     (in_place && host != t->host + t->count)))
		return IMAGE_E_UNSUPPORTED;
	if (kind != QCOW2_UNALLOCATED && kind != QCOW2_ZERO_PLAIN &&
	    !q->data_file)
		err = qcow2_target_add_old(q, t, entry, ret);
	if (err)
		return err;
	if (t->count == 0) {
		t->in_place = in_place;
		t->host = host;
	}
	if (target->zero_count == t->count &&
	    reads_zero(q, t->ask->cluster + t->count, kind))
		target->zero_count++;
	t->count++;
	return 0;
}

static int find_target(struct qcow2 *q, struct target *target,
		       struct image_extent *ret)
{
	struct qcow2_target *t = &target->t;
	uint64_t limit = MIN(t->ask->clusters, (uint64_t)t->l2.count);

	limit = qcow2_pending_limit(q, t->ask->cluster, limit);
	if (limit == 0 || qcow2_pending_is_full(q))
		return qcow2_answer_busy(ret);
	limit = MIN(limit, qcow2_journal_room(q));
	if (limit == 0)
		return qcow2_answer_full(q, ret);
	while (t->count < limit) {
		int err = add_cluster(q, target, ret);

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
static void map_at_once(struct qcow2 *q, const struct qcow2_target *t,
			const struct qcow2_run *run, struct image_extent *ret)
{
	bool ordered = q->must_order;

	for (uint32_t i = 0; i < run->count; i++)
		qcow2_l2_set(
			q, t->l2.slice, t->l2.index + i, t->ask->cluster + i,
			(run->first + i) << q->cluster_bits | QCOW2_COPIED);
	/* Until the data is there it is zeroes, as before. */
	q->must_order = ordered || q->data_file;
	*ret = (struct image_extent){
		.kind = IMAGE_DATA,
		.length = qcow2_ask_bytes(q, t->ask, run->count),
		.store = q->image.data_store,
		.host_offset = (run->first << q->cluster_bits) + t->ask->skip,
	};
}

static void hand_out(struct qcow2 *q, struct target *target,
		     const struct qcow2_run *run, struct image_extent *ret)
{
	struct qcow2_target *t = &target->t;
	uint64_t length = qcow2_ask_bytes(q, t->ask, run->count);
	uint64_t tail = ((uint64_t)run->count << q->cluster_bits) -
			t->ask->skip - length;
	bool zero_head = t->ask->skip == 0 || target->zero_count > 0;
	bool zero_tail = tail == 0 || target->zero_count >= run->count;
	struct qcow2_pending pending = {0};

	*ret = (struct image_extent){
		.kind = IMAGE_ALLOCATE,
		.length = length,
		.store = q->image.data_store,
		.host_offset = run->first << q->cluster_bits,
		.head_bytes = t->ask->skip,
		.tail_bytes = tail,
		.fill_zeroes = zero_head && zero_tail,
		.reads_zero = run->reads_zero,
		.ticket = qcow2_target_promise(q, t, run, &pending),
	};
}

static int replace(struct qcow2 *q, struct target *target,
		   struct image_extent *ret)
{
	struct qcow2_target *t = &target->t;
	struct qcow2_run run = {.first = t->host, .count = t->count};
	int err;

	if (!qcow2_free_has_room(q, t->frees + 1))
		return qcow2_answer_full(q, ret);
	if (!t->in_place) {
		err = qcow2_target_take(q, t, ret, &run);
		if (err)
			return err;
	}
	if (run.reads_zero && !q->image.cipher && t->frees == 0 &&
	    target->zero_count >= run.count)
		map_at_once(q, t, &run, ret);
	else
		hand_out(q, target, &run, ret);
	return 0;
}

int qcow2_map_allocate(struct qcow2 *q, const struct qcow2_ask *ask,
		       struct image_extent *ret)
{
	struct target target = {.t = {.ask = ask}};
	int err = qcow2_l2_own(q, ask->cluster, ret, &target.t.l2);

	if (err)
		return err;
	metacache_pin(&q->cache, target.t.l2.slice);
	err = find_target(q, &target, ret);
	if (err == 0)
		err = replace(q, &target, ret);
	qcow2_target_release(q, &target.t);
	return err;
}
