/* SPDX-License-Identifier: Apache-2.0 */
/* L1 tables, the active one and the snapshots'. */
#include <errno.h>
#include <stdlib.h>

#include "qcow2/check.h"

enum {
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

int qcow2_check_l1_tables(struct qcow2_check *c)
{
	const struct qcow2_header *h = &c->q->header;
	uint64_t bytes = h->l1_entries * UINT64_C(8);
	bool conflict;
	int err = 0;

	/* First all tables, then what is in them: no entry may name one. */
	if (bytes)
		err = qcow2_check_use(c, h->l1_offset, bytes, 1, QCOW2_USE_L1,
				      &conflict);
	if (err == 0)
		err = qcow2_check_snapshots(c);
	if (err == 0 && bytes)
		err = check_l1_entries(c, h->l1_offset, bytes, true);
	for (uint32_t i = 0; i < c->snapshots.count && err == 0; i++) {
		const struct qcow2_item *item = &c->snapshots.items[i];

		if (item->l1_bytes)
			err = check_l1_entries(c, item->l1_offset,
					       item->l1_bytes, false);
	}
	return err;
}
