/* SPDX-License-Identifier: Apache-2.0 */
/*
 * L1 tables, the active one and the snapshots', and the snapshot table.
 */
#include <errno.h>
#include <stdlib.h>

#include "qcow2/check.h"

enum {
	SNAPSHOT_BYTES = 40, /* "Snapshots": what each entry has */
	AT_L1_OFFSET = 0,
	AT_L1_ENTRIES = 8,
	AT_ID_BYTES = 12,
	AT_NAME_BYTES = 14,
	AT_EXTRA_BYTES = 36,
	EXTRA_BYTES_V3 = 16,

	L1_PIECE = 512 << 10, /* bytes of an L1 table read at once */
};

/* Judges an entry that is not 0. What it should be is *@ret_good. */
static const char *judge_l1(struct qcow2_check *c, uint64_t entry,
			    uint64_t *ret_good)
{
	uint64_t offset = entry & QCOW2_OFFSET_MASK;

	*ret_good = 0;
	if (offset == 0)
		return "names no L2 table";
	if (qcow2_in_cluster(c->q, offset))
		return "is not aligned to a cluster";
	if (!qcow2_check_in_file(c, offset, qcow2_cluster_bytes(c->q)))
		return "is not in the file";
	if (qcow2_check_is_taken(c, offset, 1))
		return "names another table";
	*ret_good = offset | (entry & QCOW2_COPIED);
	return entry & QCOW2_L1_RESERVED ? "has reserved bits set" : NULL;
}

/* The entries at @l1, of file @offset; true if some were changed. */
static int check_l1_piece(struct qcow2_check *c, uint8_t *l1, uint64_t offset,
			  uint32_t count, bool active, bool *ret_changed)
{
	int err = 0;

	for (uint32_t i = 0; i < count && err == 0; i++) {
		uint64_t entry = get_be64(l1 + (size_t)i * 8), good;
		const char *wrong;

		if (entry == 0)
			continue;
		wrong = judge_l1(c, entry, &good);
		if (wrong) {
			qcow2_check_corrupt(c, 1, c->mends,
					    "L1 entry at %llu (0x%llx) %s",
					    (unsigned long long)offset + i * 8,
					    (unsigned long long)entry, wrong);
			put_be64(l1 + (size_t)i * 8, good);
			*ret_changed = true;
			if (good == 0)
				c->incomplete |= !c->mends;
		}
		if (good)
			err = qcow2_l2_places_add(
				&c->l2,
				qcow2_cluster_of(c->q,
						 good & QCOW2_OFFSET_MASK),
				active);
	}
	return err;
}

static int check_l1_entries(struct qcow2_check *c, uint64_t offset,
			    uint64_t bytes, bool active)
{
	uint8_t *piece = aligned_alloc(4096, L1_PIECE);
	int err = piece ? 0 : -ENOMEM;

	while (bytes && err == 0) {
		uint64_t length = MIN(bytes, (uint64_t)L1_PIECE);
		bool changed = false;

		err = qcow2_check_read(c, offset, piece, length);
		if (err == 0)
			err = check_l1_piece(c, piece, offset, length / 8,
					     active, &changed);
		else if (err == -EIO)
			err = 0;
		if (err == 0 && changed && c->mends)
			err = store_write(c->store, offset, piece, length);
		offset += length;
		bytes -= length;
	}
	free(piece);
	return err;
}

struct snapshot {
	uint64_t offset;
	uint64_t bytes;
};

/* Its L1 table is counted; *@ret says what of it is to be walked. */
static int check_snapshot(struct qcow2_check *c, uint64_t at,
			  const uint8_t *wire, struct snapshot *ret)
{
	uint64_t offset = get_be64(wire + AT_L1_OFFSET);
	uint64_t bytes = get_be32(wire + AT_L1_ENTRIES) * UINT64_C(8);
	static const uint8_t none[12];
	bool conflict;
	int err;

	*ret = (struct snapshot){0};
	if (bytes == 0)
		return 0;
	if (offset == 0 || qcow2_in_cluster(c->q, offset) ||
	    bytes > QCOW2_MAX_L1_BYTES ||
	    !qcow2_check_in_file(c, offset, bytes)) {
		qcow2_check_corrupt(c, 1, c->mends,
				    "the L1 table of the snapshot at %llu "
				    "(%llu bytes at %llu) cannot be",
				    (unsigned long long)at,
				    (unsigned long long)bytes,
				    (unsigned long long)offset);
		c->incomplete |= !c->mends;
		return c->mends ? store_write(c->store, at, none, sizeof(none))
				: 0;
	}
	/* Which of the two is right cannot be known: both stay. */
	if (qcow2_check_is_taken(c, offset, bytes) || bytes > c->l1_budget) {
		qcow2_check_corrupt(c, 1, false,
				    "the L1 table at %llu of a snapshot "
				    "overlaps with another table",
				    (unsigned long long)offset);
		c->incomplete = true;
		return 0;
	}
	err = qcow2_check_use(c, offset, bytes, 1, QCOW2_USE_SNAPSHOT_L1,
			      &conflict);
	c->l1_budget -= bytes;
	*ret = (struct snapshot){.offset = offset, .bytes = bytes};
	return err;
}

/* The image has only so many snapshots. */
static int cut_snapshots(struct qcow2_check *c, uint32_t count)
{
	uint8_t wire[4];

	qcow2_check_corrupt(c, 1, c->mends,
			    "the snapshot table ends outside of the file, "
			    "after %u snapshots",
			    count);
	if (!c->mends) {
		c->incomplete = true;
		return 0;
	}
	put_be32(wire, count);
	c->q->header.snapshot_count = count;
	return store_write(c->store,
			   offsetof(struct qcow2_wire_header, nb_snapshots),
			   wire, sizeof(wire));
}

static int check_snapshot_table(struct qcow2_check *c,
				struct snapshot *ret_snapshots)
{
	const struct qcow2_header *h = &c->q->header;
	uint64_t at = h->snapshots_offset, start = at;
	bool conflict;
	int err = 0;

	for (uint32_t i = 0; i < h->snapshot_count && err == 0; i++) {
		uint8_t wire[SNAPSHOT_BYTES];
		uint64_t bytes = SNAPSHOT_BYTES;

		if (qcow2_check_in_file(c, at, bytes)) {
			err = qcow2_check_read(c, at, wire, bytes);
			if (err)
				return err == -EIO ? 0 : err;
			bytes += (uint64_t)get_be32(wire + AT_EXTRA_BYTES) +
				 get_be16(wire + AT_ID_BYTES) +
				 get_be16(wire + AT_NAME_BYTES);
		}
		if (!qcow2_check_in_file(c, at, bytes)) {
			err = cut_snapshots(c, i);
			break;
		}
		if (h->version > 2 &&
		    get_be32(wire + AT_EXTRA_BYTES) < EXTRA_BYTES_V3)
			qcow2_check_corrupt(c, 1, false,
					    "the snapshot table's entry %u is "
					    "incomplete",
					    i);
		err = check_snapshot(c, at, wire, &ret_snapshots[i]);
		at += align_up(bytes, 8);
	}
	if (err == 0 && at > start) {
		err = qcow2_check_use(c, start, at - start, 1,
				      QCOW2_USE_SNAPSHOTS, &conflict);
		if (err == 0 && conflict) {
			c->incomplete = true;
			qcow2_check_corrupt(c, 1, false,
					    "the snapshot table overlaps with "
					    "another table");
		}
	}
	return err;
}

int qcow2_check_l1_tables(struct qcow2_check *c)
{
	const struct qcow2_header *h = &c->q->header;
	uint64_t bytes = h->l1_entries * UINT64_C(8);
	uint32_t count = h->snapshot_count;
	struct snapshot *snapshots = calloc(count + 1, sizeof(*snapshots));
	bool conflict;
	int err = snapshots ? 0 : -ENOMEM;

	/* First all tables, then what is in them: no entry may name one. */
	if (err == 0 && bytes)
		err = qcow2_check_use(c, h->l1_offset, bytes, 1, QCOW2_USE_L1,
				      &conflict);
	if (err == 0 && count)
		err = check_snapshot_table(c, snapshots);
	if (err == 0 && bytes)
		err = check_l1_entries(c, h->l1_offset, bytes, true);
	for (uint32_t i = 0; i < count && err == 0; i++)
		if (snapshots[i].bytes)
			err = check_l1_entries(c, snapshots[i].offset,
					       snapshots[i].bytes, false);
	free(snapshots);
	return err;
}
