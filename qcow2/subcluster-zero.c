/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Write zeroes and discard with extended L2 entries: whole sub-clusters change
 * in the metadata, parts of one are written. A host cluster without data is
 * given up. In a data file what is mapped is zeroed or punched where it is, and
 * stays mapped.
 */
#include "qcow2/free.h"
#include "qcow2/pending.h"
#include "qcow2/subcluster.h"

/* An entry as it is, and as it would be. */
struct change {
	uint64_t entry, bitmap;
	uint64_t to_entry, to_bitmap;
	bool frees;
};

static int answer_done(uint64_t bytes, struct image_extent *ret)
{
	*ret = (struct image_extent){.kind = IMAGE_DONE, .length = bytes};
	return 0;
}

/* Of the request's whole sub-clusters those in its cluster number @at. */
static uint64_t subs_in(const struct qcow2 *q, const struct qcow2_ask *ask,
			uint64_t whole, uint64_t at)
{
	uint64_t first = qcow2_ask_sub(q, ask);
	uint64_t end = first + whole - at * QCOW2_SUBS;

	return qcow2_subs_between(at == 0 ? first : 0,
				  MIN(end, (uint64_t)QCOW2_SUBS));
}

static int find_change(struct qcow2 *q, const struct qcow2_ask *ask,
		       uint64_t at, uint64_t subs, struct change *c)
{
	enum qcow2_cluster_kind kind =
		qcow2_extended_kind(q, c->entry, c->bitmap);
	bool had_data = qcow2_subs_data(c->bitmap) != 0;
	uint64_t shows;

	if (kind == QCOW2_CORRUPT_ENTRY)
		return qcow2_corrupt_bitmap(q, ask->cluster + at, c->entry,
					    c->bitmap);
	c->to_entry = c->entry;
	c->to_bitmap = c->bitmap;
	c->frees = false;
	if (kind == QCOW2_IS_COMPRESSED) {
		/* A part of one is written, or left as it is. */
		if (subs != QCOW2_SUBS_ALLOCATED)
			return 0;
		c->to_entry = 0;
		c->to_bitmap = QCOW2_SUBS_ZERO;
		c->frees = true;
		return 0;
	}
	/* What is absent and has nothing behind it may stay so. */
	shows = subs &
		~qcow2_subs_read_zero(q, ask->cluster + at, c->bitmap, subs);
	c->to_bitmap = (c->bitmap & ~subs) | shows << QCOW2_SUBS;
	if (kind == QCOW2_NORMAL && qcow2_subs_data(c->to_bitmap) == 0 &&
	    (had_data || ask->op == IMAGE_DISCARD)) {
		c->to_entry = 0;
		c->frees = true;
	}
	return 0;
}

static bool is_change(const struct change *c)
{
	return c->to_entry != c->entry || c->to_bitmap != c->bitmap;
}

/* Changes one entry and gives up what it used; its slice is pinned. */
static int make_change(struct qcow2 *q, const struct qcow2_ask *ask,
		       const struct qcow2_l2 *l2, uint64_t at, uint64_t subs,
		       struct image_extent *ret)
{
	struct change c = {
		.entry = qcow2_l2_get(l2, at),
		.bitmap = qcow2_l2_bitmap(l2, at),
	};
	struct metacache_block *refs[2];
	int err = find_change(q, ask, at, subs, &c);

	if (err || !is_change(&c))
		return err;
	if (!qcow2_has_room(q) || !qcow2_free_has_room(q, 2) ||
	    qcow2_journal_room(q) == 0)
		return qcow2_answer_full(q, ret);
	if (c.frees && !qcow2_entry_in_file(q, c.entry))
		return qcow2_corrupt_entry(q, ask->cluster + at, c.entry);
	if (c.frees) {
		err = qcow2_free_prepare(q, c.entry, ret, refs);
		if (err)
			return err;
		qcow2_free_entry(q, c.entry, refs);
	}
	qcow2_l2_set_extended(q, l2->slice, l2->index + at, ask->cluster + at,
			      c.to_entry, c.to_bitmap);
	return 0;
}

/* Guest bytes of @ask in the @clusters first clusters of @whole sub-clusters. */
static uint64_t bytes_in(const struct qcow2 *q, const struct qcow2_ask *ask,
			 uint64_t whole, uint64_t clusters)
{
	return MIN(qcow2_ask_bytes(q, ask, clusters), whole << q->sub_bits);
}

static uint64_t clusters_of(const struct qcow2 *q, const struct qcow2_ask *ask,
			    uint64_t whole)
{
	return div_round_up(qcow2_ask_sub(q, ask) + whole, QCOW2_SUBS);
}

static int change_run(struct qcow2 *q, const struct qcow2_ask *ask,
		      uint64_t whole, struct image_extent *ret)
{
	struct qcow2_l2 l2;
	uint64_t limit, done = 0;
	int err = qcow2_l2_own(q, ask->cluster, ret, &l2);

	if (err)
		return err;
	limit = qcow2_pending_limit(
		q, ask->cluster,
		MIN(clusters_of(q, ask, whole), (uint64_t)l2.count));
	if (limit == 0)
		return qcow2_answer_busy(ret);
	metacache_pin(&q->cache, l2.slice);
	while (done < limit && err == 0) {
		uint64_t subs = subs_in(q, ask, whole, done);

		/* Part of a compressed cluster is not for this way. */
		if (done > 0 && subs != QCOW2_SUBS_ALLOCATED &&
		    (qcow2_l2_get(&l2, done) & QCOW2_COMPRESSED))
			break;
		err = make_change(q, ask, &l2, done, subs, ret);
		done += err == 0;
	}
	metacache_unpin(&q->cache, l2.slice);
	/* A block is being asked for: that must be answered first. */
	if (done == 0 || (err == QCOW2_ANSWERED && ret->kind == IMAGE_NEED))
		return err;
	return answer_done(bytes_in(q, ask, whole, done), ret);
}

/* Clusters from the first on in which nothing has to be changed. */
static int unchanged_run(struct qcow2 *q, const struct qcow2_ask *ask,
			 const struct qcow2_l2 *l2, uint64_t whole,
			 uint64_t *ret_clusters)
{
	uint64_t limit = MIN(clusters_of(q, ask, whole), (uint64_t)l2->count);
	uint64_t at = 0;

	/* As many as a disk has, perhaps: past the backing's end are all. */
	if (!l2->slice &&
	    !qcow2_has_backing(q, ask->cluster << q->cluster_bits))
		at = limit;
	for (; at < limit; at++) {
		uint64_t subs = subs_in(q, ask, whole, at);
		struct change c = {0};
		int err;

		if (l2->slice) {
			c.entry = qcow2_l2_get(l2, at);
			c.bitmap = qcow2_l2_bitmap(l2, at);
		}
		err = find_change(q, ask, at, subs, &c);
		if (err && at == 0)
			return err;
		if (err || is_change(&c) ||
		    (at > 0 && (c.entry & QCOW2_COMPRESSED)))
			break;
	}
	*ret_clusters = at;
	return 0;
}

/*
 * Zeroes that are written as data; a discard of as little is left undone.
 * @part lies in one cluster.
 */
static int write_part(struct qcow2 *q, const struct qcow2_ask *part,
		      const struct qcow2_l2 *l2, struct image_extent *ret)
{
	uint64_t sub = UINT64_C(1) << qcow2_ask_sub(q, part);
	uint64_t entry = l2->slice ? qcow2_l2_get(l2, 0) : 0;
	uint64_t bitmap = l2->slice ? qcow2_l2_bitmap(l2, 0) : 0;
	enum qcow2_cluster_kind kind = qcow2_extended_kind(q, entry, bitmap);

	if (kind == QCOW2_CORRUPT_ENTRY)
		return qcow2_corrupt_bitmap(q, part->cluster, entry, bitmap);
	if (part->op == IMAGE_DISCARD ||
	    (kind != QCOW2_IS_COMPRESSED &&
	     qcow2_subs_read_zero(q, part->cluster, bitmap, sub)))
		return qcow2_map_zero_again(q, part, 1, part->length, ret);
	if (kind == QCOW2_NORMAL && qcow2_is_own(q, entry) && (bitmap & sub))
		return qcow2_sub_data(q, part, l2, qcow2_own_flag(q), ret);
	return qcow2_sub_allocate(q, part, ret);
}

static struct qcow2_ask first_bytes(const struct qcow2_ask *ask, uint64_t bytes)
{
	struct qcow2_ask part = *ask;

	part.length = MIN(ask->length, bytes);
	part.clusters = 1;
	return part;
}

/* What a data file has is changed there; else 0, and up to where it has none. */
static bool is_data_here(const struct qcow2 *q, const struct qcow2_ask *ask,
			 const struct qcow2_l2 *l2, uint64_t *whole)
{
	uint64_t data;

	if (!q->data_file || !l2->slice)
		return false;
	data = qcow2_subs_data(qcow2_l2_bitmap(l2, 0)) >> qcow2_ask_sub(q, ask);
	*whole = MIN(*whole, (uint64_t)QCOW2_SUBS - qcow2_ask_sub(q, ask));
	if (data)
		*whole = MIN(*whole, (uint64_t)__builtin_ctzll(data));
	return data & 1;
}

int qcow2_sub_zero(struct qcow2 *q, const struct qcow2_ask *ask,
		   struct image_extent *ret)
{
	uint64_t in_sub = ask->skip & (qcow2_sub_bytes(q) - 1);
	uint64_t whole = ask->length >> q->sub_bits;
	uint64_t clusters;
	struct qcow2_ask part;
	struct qcow2_l2 l2;
	int err = qcow2_l2_find(q, ask->cluster, ret, &l2);

	if (err)
		return err;
	/* The image's last sub-cluster may be cut short. */
	if (ask->offset + ask->length == q->image.size_bytes)
		whole = div_round_up(ask->length, qcow2_sub_bytes(q));
	part = first_bytes(ask, qcow2_sub_bytes(q) - in_sub);
	if (in_sub || whole == 0)
		return write_part(q, &part, &l2, ret);
	if (is_data_here(q, ask, &l2, &whole))
		return qcow2_sub_data(q, ask, &l2, 0, ret);
	err = unchanged_run(q, ask, &l2, whole, &clusters);
	if (err)
		return err;
	part = first_bytes(ask, bytes_in(q, ask, whole, 1));
	/* Part of a compressed cluster changes nothing, and is not done. */
	if (clusters && l2.slice && (qcow2_l2_get(&l2, 0) & QCOW2_COMPRESSED))
		return write_part(q, &part, &l2, ret);
	if (clusters)
		return qcow2_map_zero_again(q, ask, clusters,
					    bytes_in(q, ask, whole, clusters),
					    ret);
	return change_run(q, ask, whole, ret);
}
