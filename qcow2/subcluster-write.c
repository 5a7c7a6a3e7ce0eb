/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes to images with extended L2 entries. Two ways lead to new room:
 *
 * In place: the cluster has a host cluster of its own, and of it the
 * sub-clusters that are written become data. Several requests may do that to
 * one cluster at a time, as long as their sub-clusters are not the same.
 *
 * Elsewhere: clusters without a host cluster, or with one that is shared or
 * compressed, get new ones in a row. Sub-clusters that are data are copied
 * along, the others stay what they are.
 */
#include "qcow2/alloc.h"
#include "qcow2/free.h"
#include "qcow2/pending.h"
#include "qcow2/replace.h"
#include "qcow2/subcluster.h"

/* The new room, in sub-clusters; counted from the first cluster's begin. */
struct room {
	struct qcow2_target t;
	uint64_t length; /* guest bytes */
	unsigned first_sub;
	unsigned end_sub;
	uint64_t from;	/* what is filled: with what is copied along, … */
	uint64_t to;	/* … in bytes */
	bool all_zero;	/* all that is filled reads as zeroes now */
	bool head_zero; /* what of it lies before the guest's bytes */
	bool tail_zero;
};

static uint64_t subs_of(const struct room *r, uint64_t at)
{
	return qcow2_subs_between(at == 0 ? r->first_sub : 0,
				  at + 1 == r->t.count ? r->end_sub
						       : QCOW2_SUBS);
}

/* Sub-clusters of the cluster that are copied along, if it is replaced. */
static uint64_t copied(const struct room *r, uint64_t at)
{
	uint64_t data =
		qcow2_l2_get(&r->t.l2, at) & QCOW2_COMPRESSED
			? QCOW2_SUBS_ALLOCATED
			: qcow2_subs_data(qcow2_l2_bitmap(&r->t.l2, at));

	return r->t.in_place ? 0 : data & ~subs_of(r, at);
}

/* Those that are filled and read as zeroes now. */
static uint64_t zero_subs(const struct qcow2 *q, const struct room *r,
			  uint64_t at)
{
	if (qcow2_l2_get(&r->t.l2, at) & QCOW2_COMPRESSED)
		return 0;
	return qcow2_subs_read_zero(q, r->t.ask->cluster + at,
				    qcow2_l2_bitmap(&r->t.l2, at),
				    subs_of(r, at));
}

/* Once it is known which clusters: what else is filled, and with what. */
static void measure(const struct qcow2 *q, struct room *r)
{
	uint64_t last = r->t.count - 1;
	uint64_t end = r->t.ask->skip + r->length - (last << q->cluster_bits);
	uint64_t before, after;
	unsigned low, high;

	r->first_sub = qcow2_ask_sub(q, r->t.ask);
	r->end_sub = div_round_up(end, qcow2_sub_bytes(q));
	before = copied(r, 0) & qcow2_subs_between(0, r->first_sub);
	after = copied(r, last) & qcow2_subs_between(r->end_sub, QCOW2_SUBS);
	low = before ? (unsigned)__builtin_ctzll(before) : r->first_sub;
	high = after ? 64 - (unsigned)__builtin_clzll(after) : r->end_sub;
	r->from = (uint64_t)low << q->sub_bits;
	r->to = (last << q->cluster_bits) + ((uint64_t)high << q->sub_bits);

	r->head_zero = before == 0 &&
		       (zero_subs(q, r, 0) & UINT64_C(1) << r->first_sub);
	r->tail_zero = after == 0 && (zero_subs(q, r, last) &
				      UINT64_C(1) << (r->end_sub - 1));
	r->all_zero = true;
	for (uint64_t at = 0; at < r->t.count; at++)
		r->all_zero &= zero_subs(q, r, at) == subs_of(r, at);
}

/* The request's first cluster, from @skip to the next that is data. */
static int find_in_place(struct qcow2 *q, struct room *r, uint64_t bitmap,
			 struct image_extent *ret)
{
	const struct qcow2_ask *ask = r->t.ask;
	unsigned first = qcow2_ask_sub(q, ask);
	uint64_t data = qcow2_subs_data(bitmap) >> first << first;
	uint64_t end = data ? (uint64_t)__builtin_ctzll(data) : QCOW2_SUBS;

	r->t.in_place = true;
	r->t.count = 1;
	r->length = MIN(ask->length, (end << q->sub_bits) - ask->skip);
	end = div_round_up(ask->skip + r->length, qcow2_sub_bytes(q));
	if (qcow2_pending_has(q, ask->cluster, qcow2_subs_between(first, end)))
		return qcow2_answer_busy(ret);
	return 0;
}

/* Clusters in a row that all get new host clusters. */
static int add_cluster(struct qcow2 *q, struct room *r,
		       struct image_extent *ret)
{
	struct qcow2_target *t = &r->t;
	uint64_t entry = qcow2_l2_get(&t->l2, t->count);
	uint64_t bitmap = qcow2_l2_bitmap(&t->l2, t->count);
	enum qcow2_cluster_kind kind = qcow2_extended_kind(q, entry, bitmap);
	int err = 0;

	if (kind == QCOW2_CORRUPT_ENTRY)
		return qcow2_corrupt_bitmap(q, t->ask->cluster + t->count,
					    entry, bitmap);
	if (kind == QCOW2_NORMAL && qcow2_is_own(q, entry))
		return IMAGE_E_UNSUPPORTED;
	if (kind != QCOW2_UNALLOCATED)
		err = qcow2_target_add_old(q, t, entry, ret);
	t->count += err == 0;
	return err;
}

static int find_elsewhere(struct qcow2 *q, struct room *r,
			  struct image_extent *ret)
{
	const struct qcow2_ask *ask = r->t.ask;
	uint64_t limit = MIN(ask->clusters, (uint64_t)r->t.l2.count);
	int err = 0;

	limit = qcow2_pending_limit(q, ask->cluster, limit);
	if (limit == 0)
		return qcow2_answer_busy(ret);
	limit = MIN(limit, qcow2_journal_room(q));
	while (r->t.count < limit && err == 0)
		err = add_cluster(q, r, ret);
	if (err && (r->t.count == 0 ||
		    (err == QCOW2_ANSWERED && ret->kind == IMAGE_NEED)))
		return err;
	r->length = qcow2_ask_bytes(q, ask, r->t.count);
	return 0;
}

static int find_room(struct qcow2 *q, struct room *r, struct image_extent *ret)
{
	uint64_t entry = qcow2_l2_get(&r->t.l2, 0);
	uint64_t bitmap = qcow2_l2_bitmap(&r->t.l2, 0);
	enum qcow2_cluster_kind kind = qcow2_extended_kind(q, entry, bitmap);

	if (kind == QCOW2_CORRUPT_ENTRY)
		return qcow2_corrupt_bitmap(q, r->t.ask->cluster, entry,
					    bitmap);
	if (qcow2_pending_is_full(q))
		return qcow2_answer_busy(ret);
	if (qcow2_journal_room(q) == 0)
		return qcow2_answer_full(q, ret);
	if (kind != QCOW2_NORMAL || !qcow2_is_own(q, entry))
		return find_elsewhere(q, r, ret);
	if (!qcow2_entry_in_file(q, entry))
		return qcow2_corrupt_entry(q, r->t.ask->cluster, entry);
	r->t.host = qcow2_cluster_of(q, entry & QCOW2_OFFSET_MASK);
	return find_in_place(q, r, bitmap, ret);
}

static void map_at_once(struct qcow2 *q, const struct room *r,
			const struct qcow2_run *run, struct image_extent *ret)
{
	const struct qcow2_target *t = &r->t;
	bool ordered = q->must_order;

	for (uint32_t i = 0; i < run->count; i++)
		qcow2_l2_set_extended(
			q, t->l2.slice, t->l2.index + i, t->ask->cluster + i,
			(run->first + i) << q->cluster_bits | QCOW2_COPIED,
			qcow2_subs_filled(0, qcow2_l2_bitmap(&t->l2, i),
					  subs_of(r, i)));
	/* Until the data is there it is zeroes, as before. */
	q->must_order = ordered || q->data_file;
	*ret = (struct image_extent){
		.kind = IMAGE_DATA,
		.length = r->length,
		.store = q->image.data_store,
		.host_offset = (run->first << q->cluster_bits) + t->ask->skip,
	};
}

static void hand_out(struct qcow2 *q, struct room *r,
		     const struct qcow2_run *run, struct image_extent *ret)
{
	uint64_t skip = r->t.ask->skip;
	uint64_t head = skip - r->from;
	uint64_t tail = r->to - skip - r->length;
	struct qcow2_pending pending = {
		.count = run->count,
		.first_sub = r->first_sub,
		.end_sub = r->end_sub,
	};

	*ret = (struct image_extent){
		.kind = IMAGE_ALLOCATE,
		.length = r->length,
		.store = q->image.data_store,
		.host_offset = (run->first << q->cluster_bits) + r->from,
		.head_bytes = head,
		.tail_bytes = tail,
		.fill_zeroes = (head == 0 || r->head_zero) &&
			       (tail == 0 || r->tail_zero),
		.reads_zero = run->reads_zero,
		.ticket = qcow2_target_promise(q, &r->t, run, &pending),
	};
}

static int fill_room(struct qcow2 *q, struct room *r, struct image_extent *ret)
{
	struct qcow2_run run = {.first = r->t.host, .count = r->t.count};
	int err;

	if (!qcow2_free_has_room(q, r->t.frees + 1))
		return qcow2_answer_full(q, ret);
	if (!r->t.in_place) {
		err = qcow2_target_take(q, &r->t, ret, &run);
		if (err)
			return err;
		/* There may be fewer than were wanted. */
		r->t.count = run.count;
		r->length =
			MIN(r->length, qcow2_ask_bytes(q, r->t.ask, run.count));
	}
	measure(q, r);
	if (run.reads_zero && !q->image.cipher && r->t.frees == 0 &&
	    r->all_zero)
		map_at_once(q, r, &run, ret);
	else
		hand_out(q, r, &run, ret);
	return 0;
}

int qcow2_sub_allocate(struct qcow2 *q, const struct qcow2_ask *ask,
		       struct image_extent *ret)
{
	struct room r = {.t = {.ask = ask}};
	int err = qcow2_l2_own(q, ask->cluster, ret, &r.t.l2);

	if (err)
		return err;
	metacache_pin(&q->cache, r.t.l2.slice);
	err = find_room(q, &r, ret);
	if (err == 0)
		err = fill_room(q, &r, ret);
	qcow2_target_release(q, &r.t);
	return err;
}

int qcow2_sub_write(struct qcow2 *q, const struct qcow2_ask *ask,
		    struct image_extent *ret)
{
	struct qcow2_l2 l2;
	int err = qcow2_l2_find(q, ask->cluster, ret, &l2);

	if (err)
		return err;
	if (l2.slice) {
		uint64_t entry = qcow2_l2_get(&l2, 0);
		uint64_t bitmap = qcow2_l2_bitmap(&l2, 0);
		enum qcow2_cluster_kind kind =
			qcow2_extended_kind(q, entry, bitmap);

		if (kind == QCOW2_CORRUPT_ENTRY)
			return qcow2_corrupt_bitmap(q, ask->cluster, entry,
						    bitmap);
		if (kind == QCOW2_NORMAL && qcow2_is_own(q, entry) &&
		    (bitmap & UINT64_C(1) << qcow2_ask_sub(q, ask)))
			return qcow2_sub_data(q, ask, &l2, qcow2_own_flag(q),
					      ret);
	}
	return qcow2_sub_allocate(q, ask, ret);
}
