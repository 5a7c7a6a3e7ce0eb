/* SPDX-License-Identifier: Apache-2.0 */
/*
 * L2 tables: each is read once, in the order of the file, and what it maps
 * counts as often as L1 entries name it.
 */
#include <errno.h>
#include <stdlib.h>

#include "qcow2/check.h"

/* "Extended L2 Entries": low half allocated, high half reads as zeroes. */
#define SUB_ALLOCATED UINT64_C(0x00000000ffffffff)
#define SUB_ZERO      UINT64_C(0xffffffff00000000)

/* One entry; @bitmap is 0 where entries have none. */
struct entry {
	uint64_t value;
	uint64_t bitmap;
};

/* What an entry refers to. */
struct target {
	enum qcow2_use use; /* DATA, COMPRESSED, or NONE */
	uint64_t offset;
	uint64_t bytes;
	bool lost; /* nothing can be there */
};

struct walk {
	struct qcow2_check *c;
	const struct qcow2_l2_place *place;
	bool changed;
	uint64_t next; /* where data would go on without a break; or 0 */
};

static bool is_extended(const struct qcow2 *q)
{
	return q->header.incompatible & QCOW2_INCOMPAT_EXTENDED_L2;
}

static bool has_data_file(const struct qcow2 *q)
{
	return q->header.incompatible & QCOW2_INCOMPAT_DATA_FILE;
}

static struct entry get_entry(const struct qcow2 *q, const uint8_t *table,
			      uint32_t index)
{
	const uint8_t *at = table + (size_t)index * qcow2_check_entry_bytes(q);

	return (struct entry){
		.value = get_be64(at),
		.bitmap = is_extended(q) ? get_be64(at + 8) : 0,
	};
}

static void put_entry(const struct qcow2 *q, uint8_t *table, uint32_t index,
		      struct entry e)
{
	uint8_t *at = table + (size_t)index * qcow2_check_entry_bytes(q);

	put_be64(at, e.value);
	if (is_extended(q))
		put_be64(at + 8, e.bitmap);
}

/*
 * Instead of one whose data cannot be had: that is zeroes. What it does not
 * have, a backing image may.
 */
static struct entry lost(const struct qcow2 *q, struct entry e)
{
	uint64_t gone = e.bitmap | e.bitmap << QCOW2_SUBS;

	if (e.value & QCOW2_COMPRESSED)
		gone = SUB_ZERO;
	if (is_extended(q))
		return (struct entry){.bitmap = gone & SUB_ZERO};
	return (struct entry){.value = q->header.version > 2 ? QCOW2_ZERO : 0};
}

static void compressed_target(const struct qcow2 *q, uint64_t value,
			      struct target *ret)
{
	unsigned bits = 62 - (q->cluster_bits - 8);
	uint64_t offset = value & ((UINT64_C(1) << bits) - 1);
	uint64_t sectors = (value & (QCOW2_COMPRESSED - 1)) >> bits;

	*ret = (struct target){
		.use = QCOW2_USE_COMPRESSED,
		.offset = offset,
		.bytes = (sectors + 1) * 512 - offset % 512,
	};
}

static const char *judge_compressed(const struct qcow2_check *c,
				    struct entry *e, struct target *ret)
{
	const char *wrong = NULL;

	if (has_data_file(c->q)) {
		*e = lost(c->q, *e);
		return "is compressed, and there is an external data file";
	}
	if (e->value & QCOW2_COPIED) {
		e->value &= ~QCOW2_COPIED;
		wrong = "is compressed and says COPIED";
	}
	if (e->bitmap) {
		e->bitmap = 0;
		wrong = "is compressed and has subclusters";
	}
	compressed_target(c->q, e->value, ret);
	return wrong;
}

static const char *judge_bits(const struct qcow2 *q, struct entry *e)
{
	uint64_t reserved = QCOW2_L2_RESERVED, both;
	const char *wrong = NULL;

	if (is_extended(q) || q->header.version < 3)
		reserved |= QCOW2_ZERO;
	if (e->value & reserved) {
		e->value &= ~reserved;
		wrong = "has reserved bits set";
	}
	/* One of them is wrong: what data there is is kept. */
	both = e->bitmap >> QCOW2_SUBS & e->bitmap & SUB_ALLOCATED;
	if (both) {
		e->bitmap &= ~(both << QCOW2_SUBS);
		wrong = "has subclusters that are zero and allocated";
	}
	return wrong;
}

static const char *judge_standard(const struct qcow2_check *c, struct entry *e,
				  struct target *ret)
{
	const struct qcow2 *q = c->q;
	const char *wrong = judge_bits(q, e);
	uint64_t offset = e->value & QCOW2_OFFSET_MASK;

	if (offset == 0 && !(has_data_file(q) && e->value & QCOW2_COPIED)) {
		if (e->bitmap & SUB_ALLOCATED) {
			e->bitmap &= SUB_ZERO;
			wrong = "is not allocated and has subclusters that are";
		}
		if (e->value & QCOW2_COPIED) {
			e->value &= ~QCOW2_COPIED;
			wrong = "is not allocated and says COPIED";
		}
		return wrong;
	}
	*ret = (struct target){
		.use = QCOW2_USE_DATA,
		.offset = offset,
		.bytes = qcow2_cluster_bytes(q),
		.lost = qcow2_in_cluster(q, offset) != 0,
	};
	if (!ret->lost)
		return wrong;
	*e = lost(q, *e);
	return "is not aligned to a cluster";
}

/* What is wrong with *@e, which becomes what it should be; or NULL. */
static const char *judge(const struct qcow2_check *c, struct entry *e,
			 struct target *ret)
{
	const char *wrong;

	*ret = (struct target){0};
	if (e->value & QCOW2_COMPRESSED)
		wrong = judge_compressed(c, e, ret);
	else
		wrong = judge_standard(c, e, ret);
	if (ret->use != QCOW2_USE_NONE && !has_data_file(c->q) &&
	    !qcow2_check_in_file(c, ret->offset, ret->bytes)) {
		ret->lost = true;
		*e = lost(c->q, *e);
		wrong = "is not in the file";
	}
	return wrong;
}

static void count_target(struct walk *w, const struct target *t)
{
	struct image_check *counts = &w->c->counts;
	uint32_t times = w->place->active;

	counts->allocated_clusters += times;
	if (t->use == QCOW2_USE_COMPRESSED) {
		counts->compressed_clusters += times;
		counts->fragmented_clusters += times;
		return;
	}
	if (w->next && w->next != t->offset)
		counts->fragmented_clusters += times;
	w->next = t->offset + t->bytes;
}

static int plan_move(struct walk *w, uint32_t index, struct entry e,
		     const struct target *t)
{
	struct qcow2_check *c = w->c;
	struct qcow2_move *moves;
	uint64_t first = qcow2_cluster_of(c->q, t->offset);

	if (c->move_count >= QCOW2_CHECK_MAX_MOVES)
		return -EFBIG;
	if (is_power_of_two(c->move_count) || c->move_count == 0) {
		moves = reallocarray(c->moves, MAX(c->move_count * 2, 1ul),
				     sizeof(*moves));
		if (!moves)
			return -ENOMEM;
		c->moves = moves;
	}
	c->moves[c->move_count++] = (struct qcow2_move){
		.table = w->place->cluster << c->q->cluster_bits,
		.index = index,
		.times = w->place->all,
		.entry = e.value,
		.from = first,
		.count = qcow2_cluster_of(c->q, t->offset + t->bytes - 1) -
			 first + 1,
	};
	return 0;
}

static int use_target(struct walk *w, uint32_t index, struct entry e,
		      const struct target *t)
{
	struct qcow2_check *c = w->c;
	bool conflict;
	int err;

	bool taken;

	if (has_data_file(c->q))
		return 0;
	taken = qcow2_check_is_taken(c, t->offset, t->bytes);
	if (taken && c->plans_moves)
		return plan_move(w, index, e, t);
	if (taken)
		qcow2_check_say(
			c, false,
			"ERROR L2 entry %u of the table at %llu maps %s at "
			"%llu",
			index,
			(unsigned long long)w->place->cluster
				<< c->q->cluster_bits,
			qcow2_use_name(qcow2_refs_use(
				&c->refs, qcow2_cluster_of(c->q, t->offset))),
			(unsigned long long)t->offset);
	err = qcow2_check_use(c, t->offset, t->bytes, w->place->all, t->use,
			      &conflict);
	if (err == 0 && taken)
		qcow2_check_note_overlap(c, t->offset, t->bytes);
	return err;
}

static int check_entry(struct walk *w, uint32_t index)
{
	struct qcow2_check *c = w->c;
	struct entry found = get_entry(c->q, c->table, index), e = found;
	struct target t;
	const char *wrong;

	if (found.value == 0 && found.bitmap == 0)
		return 0;
	wrong = judge(c, &e, &t);
	if (wrong) {
		qcow2_check_corrupt(
			c, w->place->all, c->mends,
			"L2 entry %u (0x%llx) of the table at %llu %s", index,
			(unsigned long long)found.value,
			(unsigned long long)w->place->cluster
				<< c->q->cluster_bits,
			wrong);
		w->changed = true;
		if (t.use == QCOW2_USE_NONE || t.lost)
			c->incomplete |= !c->mends;
		put_entry(c->q, c->table, index, e);
	}
	/* What stays as it is counts, as much as there is of it. */
	if (t.use == QCOW2_USE_NONE || (t.lost && c->mends))
		return 0;
	count_target(w, &t);
	if (t.lost && (c->plans_moves || has_data_file(c->q) ||
		       !qcow2_check_in_file(c, t.offset, t.bytes)))
		return 0;
	return use_target(w, index, e, &t);
}

static int check_table(struct qcow2_check *c,
		       const struct qcow2_l2_place *place)
{
	uint64_t bytes = qcow2_cluster_bytes(c->q);
	uint64_t offset = place->cluster << c->q->cluster_bits;
	uint32_t count = bytes / qcow2_check_entry_bytes(c->q);
	struct walk w = {.c = c, .place = place};
	int err = qcow2_check_read(c, offset, c->table, bytes);

	if (err)
		return err == -EIO ? 0 : err;
	if (bytes_are_zero(c->table, bytes))
		return 0;
	for (uint32_t i = 0; i < count && err == 0; i++)
		err = check_entry(&w, i);
	if (err == 0 && w.changed && c->mends)
		err = store_write(c->store, offset, c->table, bytes);
	return err;
}

int qcow2_check_l2_tables(struct qcow2_check *c)
{
	uint64_t bytes = qcow2_cluster_bytes(c->q);
	bool conflict;
	int err = 0;

	qcow2_l2_places_sort(&c->l2);
	for (size_t i = 0; i < c->l2.count && err == 0; i++)
		err = qcow2_check_use(
			c, c->l2.slots[i].cluster << c->q->cluster_bits, bytes,
			c->l2.slots[i].all, QCOW2_USE_L2, &conflict);
	for (size_t i = 0; i < c->l2.count && err == 0; i++)
		err = check_table(c, &c->l2.slots[i]);
	return err;
}

static bool copied_is_wrong(struct qcow2_check *c, uint64_t entry,
			    uint64_t cluster)
{
	bool is_one = cluster < c->clusters
			      ? qcow2_refs_is_one(&c->refs, cluster)
			      : qcow2_check_refcount_is_one(c, cluster);

	return is_one != ((entry & QCOW2_COPIED) != 0);
}

/* In a data file all that is mapped is the image's own. */
static bool data_copied_is_wrong(struct qcow2_check *c, uint64_t entry,
				 const struct target *t)
{
	if (has_data_file(c->q))
		return !(entry & QCOW2_COPIED);
	return copied_is_wrong(c, entry, qcow2_cluster_of(c->q, t->offset));
}

/* Nobody may be told that a cluster is theirs alone if that is not sure. */
static bool may_flip(struct qcow2_check *c, uint64_t entry, uint64_t cluster)
{
	return (entry & QCOW2_COPIED) ||
	       (!c->incomplete && qcow2_refs_count(&c->refs, cluster) == 1);
}

static int check_copied_table(struct qcow2_check *c,
			      const struct qcow2_l2_place *place, bool fix)
{
	uint64_t bytes = qcow2_cluster_bytes(c->q);
	uint64_t offset = place->cluster << c->q->cluster_bits;
	uint32_t count = bytes / qcow2_check_entry_bytes(c->q);
	bool changed = false;
	int err = qcow2_check_read(c, offset, c->table, bytes);

	if (err)
		return err == -EIO ? 0 : err;
	for (uint32_t i = 0; i < count; i++) {
		struct entry e = get_entry(c->q, c->table, i), judged = e;
		struct target t;
		bool flip;

		if (e.value == 0)
			continue;
		judge(c, &judged, &t);
		if (t.use != QCOW2_USE_DATA ||
		    !data_copied_is_wrong(c, e.value, &t))
			continue;
		flip = fix && !t.lost &&
		       (has_data_file(c->q) ||
			may_flip(c, e.value, qcow2_cluster_of(c->q, t.offset)));
		qcow2_check_corrupt(c, place->active, flip,
				    "COPIED is wrong in L2 entry %u (0x%llx) "
				    "of the table at %llu",
				    i, (unsigned long long)e.value,
				    (unsigned long long)offset);
		if (flip) {
			e.value ^= QCOW2_COPIED;
			put_entry(c->q, c->table, i, e);
			changed = true;
		}
	}
	if (changed)
		err = store_write(c->store, offset, c->table, bytes);
	return err;
}

static int check_copied_l1(struct qcow2_check *c, bool fix)
{
	const struct qcow2_header *h = &c->q->header;
	uint64_t bytes = h->l1_entries * UINT64_C(8);
	uint8_t *l1 = bytes ? malloc(bytes) : NULL;
	bool changed = false;
	int err;

	if (!l1)
		return bytes ? -ENOMEM : 0;
	err = qcow2_check_read(c, h->l1_offset, l1, bytes);
	for (uint32_t i = 0; i < h->l1_entries && err == 0; i++) {
		uint64_t entry = get_be64(l1 + (size_t)i * 8);
		uint64_t cluster =
			qcow2_cluster_of(c->q, entry & QCOW2_OFFSET_MASK);
		bool flip = fix && may_flip(c, entry, cluster) &&
			    qcow2_refs_use(&c->refs, cluster) == QCOW2_USE_L2;

		if ((entry & QCOW2_OFFSET_MASK) == 0 ||
		    !copied_is_wrong(c, entry, cluster))
			continue;
		qcow2_check_corrupt(c, 1, flip,
				    "COPIED is wrong in L1 entry %u (0x%llx)",
				    i, (unsigned long long)entry);
		if (flip) {
			put_be64(l1 + (size_t)i * 8, entry ^ QCOW2_COPIED);
			changed = true;
		}
	}
	if (err == 0 && changed)
		err = store_write(c->store, h->l1_offset, l1, bytes);
	free(l1);
	return err == -EIO ? 0 : err;
}

int qcow2_check_copied(struct qcow2_check *c, bool fix)
{
	int err = check_copied_l1(c, fix);

	for (size_t i = 0; i < c->l2.count && err == 0; i++)
		if (c->l2.slots[i].active)
			err = check_copied_table(c, &c->l2.slots[i], fix);
	return err == 0 && fix ? store_flush(c->store) : err;
}
