/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Repairs: what a check found is mended in rounds, each of which begins with a
 * walk of its own over what the one before made stable:
 *
 *	1. (all) entries that cannot be are cleared: they name nothing that could
 *	   be read. What an entry says besides, reserved bits for one, is
 *	   taken back and its data stays. A bitmap directory that contradicts
 *	   itself is disowned, a snapshot table that leaves the file ends before.
 *	2. (all) where a mapping names a table, its bytes are copied to new room;
 *	   lists with entries that cannot stay are written anew without them,
 *	   also to new room; where the refcount structure is unusable, or new
 *	   room was needed, a new one is written; the header names it when it is
 *	   stable. The new room is counted there before anything uses it.
 *	3. Refcounts become what refers to a cluster: too low ones only with
 *	   "all".
 *	4. COPIED flags become right.
 *
 * What holds at every instant: no refcount falls, and no refcount structure is
 * replaced, while anything could not be read or was left out of the walk,
 * since references may be hidden there; nothing is written over
 * a cluster that anything refers to, but for the field that is mended; of two
 * tables in one place neither is touched. Each round only clears, adds or
 * counts, so that a crash between any two writes leaves an image that is no
 * worse than before, and the next repair goes on. A second repair finds
 * nothing to do.
 */
#include <errno.h>
#include <stdlib.h>

#include "qcow2/check.h"

struct repair {
	struct qcow2 *q;
	enum image_fix fix;
	image_report *report;
	void *opaque;
	struct image_check *counts;
	bool drops;   /* what lists cannot keep is gone, or will be */
	bool rebuilt; /* what leaks now is what the old structure was */
};

enum {
	MAX_ROUNDS = 4, /* of what may uncover more of its kind */
};

static int start(struct repair *r, struct qcow2_check *c)
{
	int err = qcow2_check_init(c, r->q);

	c->report = r->report;
	c->opaque = r->opaque;
	c->drops = r->drops;
	return err;
}

static void finish(struct repair *r, struct qcow2_check *c)
{
	r->counts->corruptions_fixed += c->counts.corruptions_fixed;
	r->counts->leaks_fixed += c->counts.leaks_fixed;
	qcow2_check_deinit(c);
}

static int write_header_field(struct qcow2 *q, size_t at, const void *data,
			      size_t bytes)
{
	int err = store_write(q->image.store, at, data, bytes);

	if (err == 0)
		err = store_flush(q->image.store);
	if (err == 0)
		memcpy(q->head + at, data, bytes);
	return err;
}

static int disown_bitmaps(struct repair *r, struct qcow2_check *c)
{
	struct qcow2 *q = r->q;
	uint8_t field[8];
	int err;

	q->header.autoclear &= ~QCOW2_AUTOCLEAR_BITMAPS;
	put_be64(field, q->header.autoclear);
	err = write_header_field(
		q, offsetof(struct qcow2_wire_header, autoclear_features),
		field, sizeof(field));
	if (err == 0)
		qcow2_check_corrupt(c, 1, true,
				    "the bitmaps are broken, and given up");
	return err;
}

/* Round 1. */
static int mend_entries(struct repair *r)
{
	int err = 0;
	bool again = true;

	for (int i = 0; i < MAX_ROUNDS && err == 0 && again; i++) {
		struct qcow2_check c;

		err = start(r, &c);
		c.mends = true;
		c.without_refcounts = true;
		if (err == 0)
			err = qcow2_check_walk(&c);
		if (err == 0 && c.bitmaps_broken && c.counts.check_errors == 0)
			err = disown_bitmaps(r, &c);
		if (err == 0 && c.mended)
			err = store_flush(r->q->image.store);
		again = c.mended != 0;
		finish(r, &c);
	}
	return err;
}

static int write_moved(struct repair *r, const struct qcow2_move *move,
		       uint8_t *buffer)
{
	struct qcow2 *q = r->q;
	uint64_t bytes = qcow2_cluster_bytes(q);
	int64_t by = (int64_t)(move->to - move->from) * (int64_t)bytes;
	int err = 0;

	for (uint32_t i = 0; i < move->count && err == 0; i++) {
		err = store_read(q->image.store,
				 (move->from + i) << q->cluster_bits, buffer,
				 bytes);
		if (err == 0)
			err = store_write(q->image.store,
					  (move->to + i) << q->cluster_bits,
					  buffer, bytes);
	}
	if (err == 0)
		err = store_flush(q->image.store);
	if (err)
		return err;
	/* The offset is in the low bits of either form. */
	put_be64(buffer, (move->entry & ~QCOW2_COPIED) + (uint64_t)by);
	return store_write(q->image.store,
			   move->table + (uint64_t)move->index *
						 qcow2_check_entry_bytes(q),
			   buffer, 8);
}

static int write_all_moved(struct repair *r, const struct qcow2_check *c)
{
	uint8_t *buffer =
		aligned_alloc(4096, align_up(qcow2_cluster_bytes(r->q), 4096));
	int err = buffer ? 0 : -ENOMEM;

	for (size_t i = 0; i < c->move_count && err == 0; i++)
		err = write_moved(r, &c->moves[i], buffer);
	if (err == 0)
		err = store_flush(r->q->image.store);
	free(buffer);
	return err;
}

/* New room for what is moved, counted like all the rest. */
static int place_moves(struct qcow2_check *c, uint64_t *first)
{
	enum qcow2_use before;
	int err = 0;

	for (size_t i = 0; i < c->move_count; i++) {
		struct qcow2_move *move = &c->moves[i];

		move->to = *first;
		*first += move->count;
		for (uint32_t k = 0; k < move->count && err == 0; k++)
			err = qcow2_refs_add(&c->refs, move->to + k,
					     move->times, QCOW2_USE_DATA,
					     &before);
	}
	return err;
}

/* Whether a new structure is wanted, where it goes, and what it sets right. */
struct plan {
	bool wanted;
	uint64_t first; /* cluster */
	struct image_check wrong;
};

static int survey(struct repair *r, struct plan *ret)
{
	struct qcow2_check c;
	uint64_t count;
	int err = start(r, &c);

	c.report = NULL;
	c.plans_moves = true;
	if (err == 0)
		err = qcow2_check_walk(&c);
	if (err == 0)
		err = qcow2_check_refcounts(&c, QCOW2_CHECK_SET_NONE);
	ret->wanted = err == 0 &&
		      (c.rebuild || c.move_count || c.snapshots.changes ||
		       c.bitmaps.changes) &&
		      !c.incomplete && c.counts.check_errors == 0;
	ret->wrong = c.counts;
	count = qcow2_lists_clusters(&c);
	for (size_t i = 0; i < c.move_count; i++)
		count += c.moves[i].count;
	if (ret->wanted && qcow2_check_find_room(&c, count, &ret->first) != 0)
		ret->wanted = false;
	/* What stays as it is may refer to anything. */
	if (!ret->wanted && (c.snapshots.changes || c.bitmaps.changes))
		r->drops = false;
	qcow2_check_deinit(&c);
	return err;
}

static void tell_made_anew(struct repair *r, struct qcow2_check *c,
			   const struct image_check *wrong)
{
	uint64_t times = wrong->corruptions + c->move_count;

	c->report = r->report;
	c->counts.leaks_fixed += wrong->leaks;
	if (times)
		qcow2_check_corrupt(c, times, true,
				    "a new refcount structure, and %zu "
				    "mappings moved off tables",
				    c->move_count);
}

/* Round 2. */
static int make_anew(struct repair *r)
{
	struct qcow2_check c;
	struct plan plan;
	uint64_t at, lists;
	int err = survey(r, &plan);

	if (err || !plan.wanted)
		return err;
	err = start(r, &c);
	c.report = NULL;
	c.plans_moves = true;
	c.without_refcounts = true;
	at = plan.first;
	if (err == 0)
		err = qcow2_check_walk(&c);
	if (err == 0)
		err = place_moves(&c, &at);
	lists = at;
	if (err == 0)
		err = qcow2_lists_place(&c, &at);
	if (err == 0)
		err = qcow2_rebuild_refcounts(&c, at);
	if (err == -EFBIG || err == -ENOSPC) {
		/* No room for it: what is left is told at the end. */
		qcow2_check_deinit(&c);
		r->drops = false;
		return 0;
	}
	if (err == 0)
		err = write_all_moved(r, &c);
	if (err == 0) {
		r->rebuilt = true;
		tell_made_anew(r, &c, &plan.wrong);
	}
	if (err == 0 && (c.snapshots.changes || c.bitmaps.changes))
		err = qcow2_lists_write(&c, lists);
	finish(r, &c);
	return err;
}

/* Rounds 3 and 4. */
static int set_refcounts(struct repair *r)
{
	bool all = r->fix == IMAGE_FIX_ALL;
	struct qcow2_check c;
	uint64_t left;
	int err = start(r, &c);

	c.mends = true; /* only that is told which is fixed */
	c.report = NULL;
	if (err == 0) {
		c.mends = false;
		err = qcow2_check_walk(&c);
	}
	left = c.counts.corruptions;
	c.mends = true;
	c.report = r->report;
	if (err == 0 && (all || !c.rebuild))
		err = qcow2_check_refcounts(&c, all ? QCOW2_CHECK_SET_ALL
						    : QCOW2_CHECK_SET_LOWER);
	left += c.counts.corruptions + c.counts.leaks + c.counts.check_errors;
	if (err == 0 && !c.rebuild && (all || left == 0))
		err = qcow2_check_copied(&c, true);
	/* The old structure is no finding. */
	if (r->rebuilt)
		c.counts.leaks_fixed = 0;
	finish(r, &c);
	return err;
}

int qcow2_mark_whole(struct qcow2 *q)
{
	const uint64_t marks = QCOW2_INCOMPAT_DIRTY | QCOW2_INCOMPAT_CORRUPT;
	uint8_t field[8];

	if (!(q->header.incompatible & marks))
		return 0;
	q->header.incompatible &= ~marks;
	put_be64(field, q->header.incompatible);
	return write_header_field(
		q, offsetof(struct qcow2_wire_header, incompatible_features),
		field, sizeof(field));
}

/* Who set the others expects them gone once somebody else had the image. */
static int clear_unknown_autoclear(struct qcow2 *q)
{
	uint64_t kept = q->header.autoclear & qcow2_autoclear_kept(q);
	uint8_t field[8];

	if (kept == q->header.autoclear)
		return 0;
	q->header.autoclear = kept;
	put_be64(field, kept);
	return write_header_field(
		q, offsetof(struct qcow2_wire_header, autoclear_features),
		field, sizeof(field));
}

/* Whether all but the refcounts and flags is as it should be. */
static int only_refcounts_differ(struct qcow2 *q)
{
	struct qcow2_check c;
	int err = qcow2_check_init(&c, q);

	c.without_refcounts = true;
	if (err == 0)
		err = qcow2_check_walk(&c);
	if (err == 0 &&
	    (c.counts.corruptions || c.counts.check_errors || c.overlaps))
		err = qcow2_corrupt(q, "it was not closed cleanly, and more is "
				       "wrong with it than refcounts: open it "
				       "read-only, or repair it (qimg check -r "
				       "all)");
	qcow2_check_deinit(&c);
	return err;
}

int qcow2_mend_dirty(struct qcow2 *q)
{
	struct image_check counts = {0};
	struct repair r = {.q = q, .fix = IMAGE_FIX_ALL, .counts = &counts};
	int err = only_refcounts_differ(q);

	if (err == 0)
		err = make_anew(&r);
	if (err == 0)
		err = set_refcounts(&r);
	if (err == 0)
		err = qcow2_reload(q);
	if (err == 0)
		err = qcow2_check(&q->image, IMAGE_FIX_NONE, NULL, NULL,
				  &counts);
	if (err)
		return err;
	if (counts.corruptions || counts.check_errors)
		return qcow2_corrupt(q, "it was not closed cleanly, and its "
					"refcounts cannot be mended: open it "
					"read-only, or repair it (qimg check "
					"-r all)");
	return qcow2_mark_whole(q);
}

int qcow2_repair(struct qcow2 *q, enum image_fix fix, image_report *report,
		 void *opaque, struct image_check *counts)
{
	struct repair r = {
		.q = q,
		.fix = fix,
		.report = report,
		.opaque = opaque,
		.counts = counts,
		.drops = fix == IMAGE_FIX_ALL,
	};
	int err = 0;

	if (fix == IMAGE_FIX_ALL)
		err = mend_entries(&r);
	if (err == 0 && fix == IMAGE_FIX_ALL)
		err = make_anew(&r);
	if (err == 0)
		err = set_refcounts(&r);
	if (err == 0)
		err = clear_unknown_autoclear(q);
	if (err == 0)
		err = qcow2_reload(q);
	return err;
}
