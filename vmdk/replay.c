/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making up for what a killed process did not flush, from its journal: a record
 * says that a grain of a part (detail) got an entry.
 *
 * Of each grain only the last record counts, and only if the entry is not on disk
 * already. The room that it names was free and filled before it was recorded. A
 * record that lies could name room of another grain or of a table: so all tables are
 * searched for that; those of an SE extent were when it was opened. Everything is
 * judged before anything is changed.
 */
#include <errno.h>
#include <stdlib.h>

#include "image/journal.h"
#include "image/open.h"
#include "vmdk/account.h"
#include "vmdk/room.h"

enum {
	MAX_TRIES = 1000,
	MAX_TABLE_BYTES = VMDK_COWD_GTES * 4, /* that are searched */
};

struct change {
	struct vmdk_part *part;
	uint64_t grain;
	uint64_t entry;
	uint64_t place; /* of its room, in the file; 0: zeroes */
	uint64_t part_number;
	size_t at; /* of the record */
};

struct replay {
	struct vmdk *v;
	struct change *changes;
	size_t count;
};

static int lie(const struct replay *r, const struct change *c, const char *what)
{
	return image_set_error(&r->v->image, IMAGE_E_CORRUPT,
			       "the journal's entry 0x%llx for grain %llu of "
			       "extent %llu %s; nothing was replayed",
			       (unsigned long long)c->entry,
			       (unsigned long long)c->grain,
			       (unsigned long long)c->part_number, what);
}

static int compare_grains(const void *a, const void *b)
{
	const struct change *x = a, *y = b;

	if (x->part_number != y->part_number)
		return x->part_number < y->part_number ? -1 : 1;
	if (x->grain != y->grain)
		return x->grain < y->grain ? -1 : 1;
	return (x->at > y->at) - (x->at < y->at);
}

/* By the room that they name. */
static int compare_rooms(const void *a, const void *b)
{
	const struct change *x = a, *y = b;

	if (x->part_number != y->part_number)
		return x->part_number < y->part_number ? -1 : 1;
	return (x->place > y->place) - (x->place < y->place);
}

/* The last record of each grain. */
static int collect(struct replay *r, const struct journal_record *records,
		   size_t count)
{
	size_t kept = 0;

	r->changes = calloc(count + 1, sizeof(*r->changes));
	if (!r->changes)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		r->changes[i] = (struct change){
			.part_number = records[i].detail,
			.grain = records[i].cluster,
			.entry = records[i].entry,
			.at = i,
		};
	qsort(r->changes, count, sizeof(*r->changes), compare_grains);
	for (size_t i = 0; i < count; i++)
		if (i + 1 == count ||
		    r->changes[i].part_number !=
			    r->changes[i + 1].part_number ||
		    r->changes[i].grain != r->changes[i + 1].grain)
			r->changes[kept++] = r->changes[i];
	r->count = kept;
	return 0;
}

/* The table of the change's grain, read if it is there. */
static int find_table(const struct replay *r, const struct change *c,
		      enum vmdk_table_state *ret_state,
		      struct vmdk_table *ret_table)
{
	struct vmdk *v = r->v;
	uint64_t offset = c->part->start + (c->grain << c->part->grain_bits);

	for (int i = 0; i < MAX_TRIES; i++) {
		struct image_extent extent;
		int err;

		*ret_state = vmdk_table_find(v, c->part, c->grain, ret_table);
		if (*ret_state == VMDK_TABLE_HERE ||
		    *ret_state == VMDK_TABLE_ABSENT)
			return 0;
		err = image_map(&v->image, IMAGE_READ, offset,
				VMDK_SECTOR_BYTES, &extent);
		if (err == 0 && extent.kind == IMAGE_NEED)
			err = image_read_need(&v->image, &extent);
		if (err)
			return err;
	}
	return -EBUSY;
}

static bool is_room(const struct vmdk_part *part, uint64_t entry,
		    uint64_t *ret_place)
{
	if (part->account)
		return vmdk_grain_judge(part, entry, ret_place) ==
		       VMDK_GRAIN_DATA;
	*ret_place = entry << VMDK_SECTOR_BITS;
	return entry <= UINT32_MAX && *ret_place >= part->s.overhead_bytes &&
	       *ret_place < part->file_bytes &&
	       is_aligned(*ret_place, UINT64_C(1) << part->grain_bits);
}

static int check_form(const struct replay *r, struct change *c)
{
	struct vmdk *v = r->v;
	struct vmdk_part *part;

	if (c->part_number >= v->part_count)
		return lie(r, c, "is of no extent");
	part = c->part = &v->parts[c->part_number];
	if (part->kind != VMDK_PART_SPARSE || !part->writable ||
	    c->grain >=
		    div_round_up(part->bytes, UINT64_C(1) << part->grain_bits))
		return lie(r, c, "is of no grain that can change");
	c->place = 0;
	if (c->entry == vmdk_zero_entry(part) && part->s.zero_grains)
		return 0;
	return is_room(part, c->entry, &c->place)
		       ? 0
		       : lie(r, c, "names no room for a grain");
}

/* *@ret_done: it is on disk already. */
static int judge(const struct replay *r, struct change *c, bool *ret_done)
{
	enum vmdk_table_state state;
	struct vmdk_table table;
	uint64_t old = 0, unused;
	int err = check_form(r, c);

	*ret_done = false;
	if (err == 0)
		err = find_table(r, c, &state, &table);
	if (err)
		return err;
	if (state == VMDK_TABLE_HERE)
		old = vmdk_table_entry(c->part, &table, 0);
	if (old == c->entry)
		*ret_done = true;
	else if (old &&
		 vmdk_grain_judge(c->part, old, &unused) != VMDK_GRAIN_ZEROES)
		return lie(r, c, "moves what has its place");
	else if (c->part->account && c->place &&
		 !vmdk_account_is_free(c->part->account,
				       vmdk_se_number(c->entry)))
		return lie(r, c, "names room of another grain");
	return 0;
}

static int judge_all(struct replay *r)
{
	size_t kept = 0;

	for (size_t i = 0; i < r->count; i++) {
		bool done;
		int err = judge(r, &r->changes[i], &done);

		if (err)
			return err;
		if (!done)
			r->changes[kept++] = r->changes[i];
	}
	r->count = kept;
	return 0;
}

/* --- Who else uses that room -------------------------------------------- */

/* The change of @part whose room [offset, offset + bytes) meets; or NULL. */
static const struct change *find_user(const struct replay *r,
				      const struct vmdk_part *part,
				      uint64_t offset, uint64_t bytes)
{
	uint64_t grain = UINT64_C(1) << part->grain_bits;
	uint64_t number = (uint64_t)(part - r->v->parts);
	size_t low = 0, high = r->count;

	/* The first one that ends past @offset. */
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct change *c = &r->changes[middle];

		if (c->part_number < number ||
		    (c->part_number == number && c->place + grain <= offset))
			low = middle + 1;
		else
			high = middle;
	}
	/* Zeroes name none, and come first. */
	if (low == r->count || r->changes[low].part_number != number ||
	    r->changes[low].place == 0)
		return NULL;
	return r->changes[low].place < offset + bytes ? &r->changes[low] : NULL;
}

static int search_table(const struct replay *r, struct vmdk_part *part,
			uint64_t index, uint64_t offset, uint8_t *data)
{
	uint32_t entries = vmdk_table_entries(part, index);
	const struct change *c =
		find_user(r, part, offset, (uint64_t)part->s.gt_entries * 4);
	int err =
		c ? lie(r, c, "names room of a table")
		  : store_read(part->store, offset, data, (size_t)entries * 4);

	for (uint32_t i = 0; i < entries && err == 0; i++) {
		uint32_t entry = get_le32(data + i * 4);

		if (entry == VMDK_GTE_ABSENT ||
		    (entry == VMDK_GTE_ZEROES && part->s.zero_grains))
			continue;
		c = find_user(r, part, (uint64_t)entry << VMDK_SECTOR_BITS,
			      UINT64_C(1) << part->grain_bits);
		if (c)
			err = lie(r, c, "names room of another grain");
	}
	return err;
}

static int search_part(const struct replay *r, struct vmdk_part *part)
{
	uint8_t data[MAX_TABLE_BYTES];
	int err = 0;

	for (uint64_t i = 0; i < part->s.gd_entries && err == 0; i++) {
		uint64_t first = get_le32(part->gd + i * 4);
		uint64_t second = part->rgd ? get_le32(part->rgd + i * 4) : 0;
		const struct change *c;

		if (first)
			err = search_table(r, part, i,
					   first << VMDK_SECTOR_BITS, data);
		if (err || !second)
			continue;
		c = find_user(r, part, second << VMDK_SECTOR_BITS,
			      (uint64_t)part->s.gt_entries * 4);
		if (c)
			err = lie(r, c, "names room of a table");
	}
	return err;
}

static int check_rooms(struct replay *r)
{
	int err = 0;

	qsort(r->changes, r->count, sizeof(*r->changes), compare_rooms);
	for (size_t i = 1; i < r->count; i++)
		if (compare_rooms(&r->changes[i - 1], &r->changes[i]) == 0 &&
		    r->changes[i].place != 0)
			return lie(r, &r->changes[i], "is of two grains");
	for (size_t i = 0; i < r->count && err == 0; i++)
		if (!r->changes[i].part->account &&
		    (i == 0 || r->changes[i].part != r->changes[i - 1].part))
			err = search_part(r, r->changes[i].part);
	return err;
}

/* --- Changing ----------------------------------------------------------- */

static int apply(const struct replay *r, const struct change *c)
{
	struct vmdk *v = r->v;
	enum vmdk_table_state state;
	struct vmdk_table table;
	bool full = vmdk_is_full(v) || !vmdk_can_note(v, c->part, 1);
	int err = full ? image_flush_sync(&v->image) : 0;

	if (err == 0)
		err = find_table(r, c, &state, &table);
	if (err == 0 && state == VMDK_TABLE_ABSENT) {
		err = vmdk_room_make_table(v, c->part, c->grain);
		if (err == 0)
			err = find_table(r, c, &state, &table);
	}
	if (err)
		return err;
	vmdk_table_set(v, c->part, c->grain, table.block, table.index,
		       c->entry);
	if (!c->part->account || c->place == 0)
		return 0;
	vmdk_account_take_one(c->part->account, vmdk_se_number(c->entry));
	vmdk_room_name(c->part, c->place, 1, table.block, table.index);
	return 0;
}

int vmdk_replay(struct image *image, const struct journal_record *records,
		size_t count)
{
	struct replay r = {.v = vmdk_of(image)};
	int err = collect(&r, records, count);

	if (err == 0)
		err = judge_all(&r);
	if (err == 0)
		err = check_rooms(&r);
	for (size_t i = 0; i < r.count && err == 0; i++)
		err = apply(&r, &r.changes[i]);
	if (err == 0)
		err = image_flush_sync(image);
	free(r.changes);
	return err;
}
