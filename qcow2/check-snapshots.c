/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The snapshot table: entries in a row, each as long as it says itself, so that
 * what lies behind one whose end is not in the file cannot be found. An entry
 * whose L1 table cannot be names nothing that could be read.
 *
 * What is over a limit is not looked at, as with QEMU, unless all is mended.
 */
#include <errno.h>
#include <stdlib.h>

#include "qcow2/check.h"

enum {
	EXTRA_BYTES_V3 = 16,  /* "Snapshots": what version 3 wants, … */
	EXTRA_BYTES_NEW = 24, /* … and what is known */
	AT_DISK_SIZE = sizeof(struct qcow2_wire_snapshot) + 8,
	WIRE_BYTES = AT_DISK_SIZE + 8, /* looked at here */
	WINDOW_BYTES = 64 << 10,
};

/* A piece of the table: entries are short, mostly, and many. */
struct window {
	uint8_t *bytes;
	uint64_t from; /* of the file */
	uint64_t length;
};

/* The table's bytes on disk, with extra data of any length. */
static const uint64_t MAX_SPAN_BYTES = INT32_MAX;

#define FIELD(entry, bits, name) \
	get_be##bits((entry) + offsetof(struct qcow2_wire_snapshot, name))

/* The image has only so many; over a limit, or all that there are. */
static int cut(struct qcow2_check *c, uint32_t count, const char *limit)
{
	uint32_t lost = c->q->header.snapshot_count - count;
	uint8_t wire[4];

	if (!c->mends && limit)
		return image_set_error(&c->q->image, -EFBIG,
				       "the snapshot table has more than %s; "
				       "qimg check -r all gives up the %u "
				       "snapshots over that",
				       limit, lost);
	if (!c->mends) {
		c->incomplete = true;
		qcow2_check_corrupt(c, 1, false,
				    "the snapshot table ends outside of the "
				    "file, after %u snapshots",
				    count);
		return 0;
	}
	qcow2_check_corrupt(c, limit ? lost : 1, true,
			    limit ? "the snapshot table has more than %s: %u "
				    "are given up"
				  : "the snapshot table ends outside of the "
				    "%s: %u are given up",
			    limit ? limit : "file", lost);
	put_be32(wire, count);
	c->q->header.snapshot_count = count;
	return store_write(c->store,
			   offsetof(struct qcow2_wire_header, nb_snapshots),
			   wire, sizeof(wire));
}

/* What is wrong with where the L1 table is said to be; or NULL. */
static const char *judge_l1(const struct qcow2_check *c, const uint8_t *wire)
{
	uint64_t offset = FIELD(wire, 64, l1_offset);
	uint64_t bytes = FIELD(wire, 32, l1_entries) * UINT64_C(8);

	if (qcow2_in_cluster(c->q, offset))
		return "has an L1 table that is not aligned to a cluster";
	if (bytes > QCOW2_MAX_L1_BYTES)
		return "has an L1 table that is larger than 32 MiB";
	if (bytes && (offset == 0 || !qcow2_check_in_file(c, offset, bytes)))
		return "has an L1 table that is not in the file";
	return NULL;
}

/* What each entry at @at has, and a little of what follows. */
static int look_at(struct qcow2_check *c, struct window *w, uint64_t at,
		   const uint8_t **ret_wire)
{
	int err = 0;

	if (at < w->from || !range_fits(at - w->from, WIRE_BYTES, w->length)) {
		w->from = at;
		w->length = 0;
		err = qcow2_check_read(c, at, w->bytes, WINDOW_BYTES);
		if (err == 0)
			w->length = WINDOW_BYTES;
	}
	*ret_wire = w->bytes + (at - w->from);
	return err;
}

/* The entry's lengths; *@ret_there: all of it is in the file. */
static int measure(struct qcow2_check *c, struct window *w, uint64_t at,
		   const uint8_t **ret_wire, struct qcow2_item *ret_item,
		   bool *ret_there)
{
	uint64_t fixed = sizeof(struct qcow2_wire_snapshot);
	uint32_t extra, allowed, least;
	const uint8_t *wire;
	int err;

	*ret_item = (struct qcow2_item){.at = at};
	*ret_there = qcow2_check_in_file(c, at, fixed);
	if (!*ret_there)
		return 0;
	err = look_at(c, w, at, &wire);
	if (err)
		return err;
	*ret_wire = wire;
	extra = FIELD(wire, 32, extra_bytes);
	least = c->q->header.version > 2 && extra < EXTRA_BYTES_V3
			? EXTRA_BYTES_NEW
			: extra;
	allowed = MIN(least, (uint32_t)QCOW2_MAX_SNAPSHOT_EXTRA);
	ret_item->bytes = fixed + extra + FIELD(wire, 16, id_bytes) +
			  FIELD(wire, 16, name_bytes);
	ret_item->new_bytes = ret_item->bytes - extra + allowed;
	*ret_there = qcow2_check_in_file(c, at, ret_item->bytes);
	return 0;
}

static int refuse_extra(struct qcow2_check *c, uint32_t index, uint32_t extra)
{
	return image_set_error(&c->q->image, -EFBIG,
			       "too much extra data in entry %u of the "
			       "snapshot table (%u bytes); qimg check -r all "
			       "cuts it off",
			       index, extra);
}

/* What has to become of an entry that is in the file, in a new table. */
static int judge(struct qcow2_check *c, const uint8_t *wire,
		 struct qcow2_item *item)
{
	uint32_t extra = FIELD(wire, 32, extra_bytes);
	const char *wrong = judge_l1(c, wire);

	if (extra > QCOW2_MAX_SNAPSHOT_EXTRA && !c->drops)
		return refuse_extra(c, c->snapshots.count, extra);
	if (wrong) {
		item->dropped = true;
		item->new_bytes = 0;
	} else if (extra > QCOW2_MAX_SNAPSHOT_EXTRA) {
		wrong = "has too much extra data";
	} else if (item->new_bytes != item->bytes) {
		wrong = "is incomplete";
	} else if (extra >= EXTRA_BYTES_V3 &&
		   get_be64(wire + AT_DISK_SIZE) > INT64_MAX) {
		wrong = "is of too large a disk";
	}
	item->wrong = wrong;
	if (!item->dropped) {
		item->l1_offset = FIELD(wire, 64, l1_offset);
		item->l1_bytes = FIELD(wire, 32, l1_entries) * UINT64_C(8);
	}
	return 0;
}

static int note(struct qcow2_check *c, const uint8_t *wire,
		struct qcow2_item *item)
{
	int err = judge(c, wire, item);

	if (err)
		return err;
	if (item->wrong)
		c->snapshots.changes = true;
	if (item->wrong && !c->drops) {
		qcow2_check_corrupt(c, 1, false, "snapshot table entry %u %s",
				    c->snapshots.count, item->wrong);
		c->incomplete |= item->dropped;
	}
	c->snapshots.items[c->snapshots.count++] = *item;
	return 0;
}

/* One entry after the other; the table ends at *@ret_end. */
static int walk_entries(struct qcow2_check *c, struct window *w,
			uint64_t *ret_end)
{
	const struct qcow2_header *h = &c->q->header;
	uint64_t at = h->snapshots_offset, new_bytes = 0;
	int err = 0;

	*ret_end = at;
	while (c->snapshots.count < h->snapshot_count && err == 0) {
		const uint8_t *wire = NULL;
		struct qcow2_item item;
		bool there;

		err = measure(c, w, at, &wire, &item, &there);
		if (err)
			break;
		if (!there || at == 0)
			return cut(c, c->snapshots.count, NULL);
		at += item.bytes;
		new_bytes = align_up(new_bytes, 8) + item.new_bytes;
		if (new_bytes > QCOW2_MAX_SNAPSHOTS_BYTES ||
		    at - h->snapshots_offset > MAX_SPAN_BYTES)
			return cut(c, c->snapshots.count, "64 MiB");
		err = note(c, wire, &item);
		*ret_end = at;
		at = align_up(at, 8);
	}
	return err;
}

static int use_l1(struct qcow2_check *c, struct qcow2_item *item)
{
	bool conflict;

	if (item->l1_bytes == 0)
		return 0;
	/* Which of the two is right cannot be known: both stay. */
	if (qcow2_check_is_taken(c, item->l1_offset, item->l1_bytes) ||
	    item->l1_bytes > c->l1_budget) {
		qcow2_check_corrupt(c, 1, false,
				    "the L1 table at %llu of a snapshot "
				    "overlaps with another table",
				    (unsigned long long)item->l1_offset);
		c->incomplete = true;
		item->l1_bytes = 0;
		return 0;
	}
	c->l1_budget -= item->l1_bytes;
	return qcow2_check_use(c, item->l1_offset, item->l1_bytes, 1,
			       QCOW2_USE_SNAPSHOT_L1, &conflict);
}

static int use_table(struct qcow2_check *c, uint64_t end)
{
	uint64_t start = c->q->header.snapshots_offset;
	bool conflict;
	int err;

	if (end == start)
		return 0;
	err = qcow2_check_use(c, start, end - start, 1, QCOW2_USE_SNAPSHOTS,
			      &conflict);
	if (err == 0 && conflict) {
		c->incomplete = true;
		qcow2_check_say(c, false,
				"ERROR the snapshot table overlaps with "
				"another table");
		qcow2_check_note_overlap(c, start, end - start);
	}
	return err;
}

int qcow2_check_snapshots(struct qcow2_check *c)
{
	struct window window = {0};
	uint64_t end;
	int err = 0;

	if (c->q->header.snapshot_count > QCOW2_MAX_SNAPSHOTS)
		err = cut(c, QCOW2_MAX_SNAPSHOTS, "65536 snapshots");
	if (err == 0)
		err = qcow2_list_reserve(&c->snapshots,
					 c->q->header.snapshot_count);
	if (err || c->q->header.snapshot_count == 0)
		return err;
	window.bytes = aligned_alloc(4096, WINDOW_BYTES);
	err = window.bytes ? walk_entries(c, &window, &end) : -ENOMEM;
	free(window.bytes);
	if (err == -EIO)
		return 0; /* counted, and nothing falls because of it */
	if (err == 0)
		err = use_table(c, end);
	for (uint32_t i = 0; i < c->snapshots.count && err == 0; i++)
		err = use_l1(c, &c->snapshots.items[i]);
	return err;
}
