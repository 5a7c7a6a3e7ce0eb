/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hosted extent has its directory and tables twice. What one copy has lost the
 * other may have: an entry that leads nowhere, or to a place that is another
 * grain's, is replaced by the other copy's, if that leads to a place which is
 * nobody's. Then both are made to say the same, and grains that still share a
 * place get one each. Entries that are wrong in both copies stay as they are: a
 * grain that cannot be read is not turned into zeroes.
 *
 * COWD and seSparse extents have them once: of these, grains that share a place get
 * one each. COWD's header says then where the file is free; what seSparse accounts
 * for is mended afterwards (vmdk/account.h).
 *
 * What is written anew is stable before anything points at it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "vmdk/account.h"
#include "vmdk/check.h"
#include "vmdk/free-sector.h"
#include "vmdk/room.h"
#include "vmdk/table.h"

typedef unsigned long long number;

struct repair {
	struct vmdk_part *part;
	struct vmdk_survey survey;
	const struct vmdk_repair_listener *listener;
	uint8_t *first, *second; /* copies of one table, as they were */
	uint64_t end;		 /* seSparse: of what was given out */
};

static size_t table_bytes(const struct vmdk_part *part)
{
	return (size_t)part->s.gt_entries * 4;
}

static uint64_t table_place(const uint8_t *directory, uint64_t index)
{
	return (uint64_t)get_le32(directory + index * 4) << VMDK_SECTOR_BITS;
}

/* --- Entries ------------------------------------------------------------ */

static bool is_shared(const struct repair *r, uint64_t place)
{
	const struct vmdk_item *item = vmdk_survey_at(&r->survey, place);

	return item && item->shared;
}

/*
 * The entry that @first and @second of @grain should be. 1: it cannot be told, as
 * what the second one leads to is another grain's.
 */
static int merge(struct repair *r, uint64_t grain, uint32_t first,
		 uint32_t second, uint32_t *ret)
{
	const struct vmdk_part *part = r->part;
	uint64_t bytes = UINT64_C(1) << part->grain_bits;
	enum vmdk_grain_kind kind, other;
	uint64_t place = 0, other_place = 0;

	*ret = first;
	kind = vmdk_grain_judge(part, first, &place);
	other = vmdk_grain_judge(part, second, &other_place);
	if (first == second || kind == VMDK_GRAIN_ZEROES ||
	    (kind == VMDK_GRAIN_DATA && !is_shared(r, place)) ||
	    other != VMDK_GRAIN_DATA)
		return 0;
	if (vmdk_survey_has(&r->survey, other_place, bytes))
		return 1;
	*ret = second;
	return vmdk_survey_insert(&r->survey, (struct vmdk_item){
						      .place = other_place,
						      .number = grain,
						      .bytes = (uint32_t)bytes,
						      .kind = VMDK_ITEM_GRAIN,
					      });
}

/* 0, 1 as above, or a negative errno. */
static int merge_table(struct repair *r, uint64_t index, uint8_t *ret_table)
{
	uint32_t entries = r->part->s.gt_entries;
	int err = 0;

	for (uint32_t i = 0; i < entries && err == 0; i++) {
		uint32_t entry = 0;

		err = merge(r, index * entries + i, get_le32(r->first + i * 4),
			    get_le32(r->second + i * 4), &entry);
		put_le32(ret_table + i * 4, entry);
	}
	return err;
}

/* --- Tables ------------------------------------------------------------- */

/*
 * Whether the copy of table @index that @directory names can be relied on: it is
 * in the file, and in nobody else's place. Reads it.
 */
static int read_copy(struct repair *r, const uint8_t *directory, uint64_t index,
		     uint8_t *table, bool *ret_usable)
{
	int err;

	*ret_usable =
		vmdk_survey_table(r->part, directory, index, table, &err) &&
		table_place(directory, index) != 0 &&
		!is_shared(r, table_place(directory, index));
	if (err == 0 && !*ret_usable)
		memset(table, 0, table_bytes(r->part));
	return err;
}

/* Before anything is written. */
static int begin(const struct repair *r)
{
	const struct vmdk_repair_listener *l = r->listener;

	return l->begin ? l->begin(l->opaque) : 0;
}

static int write_stably(const struct repair *r, uint64_t place,
			const void *data, size_t bytes)
{
	int err = begin(r);

	if (err == 0)
		err = store_write(r->part->store, place, data, bytes);
	return err ? err : store_flush(r->part->store);
}

/* @table gets a place of its own, that entry @index of a directory names. */
static int place_table(struct repair *r, uint8_t *directory,
		       uint64_t directory_place, uint64_t index,
		       const uint8_t *table)
{
	uint64_t place = 0;
	int err = vmdk_room_take_end(r->part, table_bytes(r->part), &place);

	if (err == 0)
		err = write_stably(r, place, table, table_bytes(r->part));
	if (err)
		return err;
	put_le32(directory + index * 4, (uint32_t)(place >> VMDK_SECTOR_BITS));
	err = write_stably(r, directory_place + index * 4,
			   directory + index * 4, 4);
	return err ? err
		   : vmdk_survey_insert(
			     &r->survey,
			     (struct vmdk_item){
				     .place = place,
				     .number = index,
				     .bytes = (uint32_t)table_bytes(r->part),
				     .kind = VMDK_ITEM_TABLE,
			     });
}

/* A copy that is to be @table, which it was not, or had no place for. */
static int write_copy(struct repair *r, uint64_t index, bool second,
		      bool usable, const uint8_t *old, const uint8_t *table)
{
	struct vmdk_part *part = r->part;
	uint8_t *directory = second ? part->rgd : part->gd;
	int err;

	if (usable && memcmp(old, table, table_bytes(part)) == 0)
		return 0;
	err = usable ? write_stably(r, table_place(directory, index), table,
				    table_bytes(part))
		     : place_table(r, directory,
				   second ? part->s.rgd_offset
					  : part->s.gd_offset,
				   index, table);
	if (err == 0)
		VMDK_SAY(r->listener->fixed, r->listener->opaque,
			 "%sgrain table %llu: %s", second ? "second " : "",
			 (number)index,
			 usable ? "entries are taken from the other copy"
				: "it is written anew, from the other copy");
	return err;
}

/* Both directories name one table, and it is nobody else's. */
static bool is_one_table(const struct repair *r, uint64_t index)
{
	uint64_t place = table_place(r->part->gd, index);
	size_t bytes = table_bytes(r->part);
	unsigned count = 0;

	if (place == 0 || place != table_place(r->part->rgd, index))
		return false;
	for (size_t i = 0; i < r->survey.count; i++) {
		const struct vmdk_item *item = &r->survey.items[i];

		count += ranges_overlap(place, bytes, item->place, item->bytes);
	}
	return count == 2;
}

static int repair_table(struct repair *r, uint64_t index)
{
	struct vmdk_part *part = r->part;
	bool has_first = false, has_second = false;
	int err = read_copy(r, part->gd, index, r->first, &has_first);

	if (err == 0)
		err = read_copy(r, part->rgd, index, r->second, &has_second);
	if (err == 0 && !has_first && !has_second && is_one_table(r, index))
		has_second = vmdk_survey_table(part, part->rgd, index,
					       r->second, &err);
	/* Nothing to go by, or nothing at all. */
	if (err || (!has_first && !has_second))
		return err;
	err = merge_table(r, index, r->survey.table);
	if (err > 0)
		return 0;
	if (err == 0)
		err = write_copy(r, index, false, has_first, r->first,
				 r->survey.table);
	if (err == 0)
		err = write_copy(r, index, true, has_second, r->second,
				 r->survey.table);
	return err;
}

static int repair_tables(struct repair *r)
{
	int err = 0;

	if (!r->part->rgd)
		return 0;
	for (uint64_t i = 0; i < r->part->s.gd_entries && err == 0; i++)
		err = repair_table(r, i);
	return err;
}

/* --- Grains that share a place ------------------------------------------ */

static int point_at(struct repair *r, const uint8_t *directory, uint64_t grain,
		    uint64_t place)
{
	const struct vmdk_part *part = r->part;
	uint64_t index = grain / part->s.gt_entries;
	uint64_t in_table = grain % part->s.gt_entries;
	uint64_t table = 0;
	uint8_t entry[8];

	if (directory && part->s.kind == VMDK_KIND_SE)
		(void)vmdk_table_offset(part, vmdk_directory_entry(part, index),
					&table);
	else if (directory)
		table = table_place(directory, index);
	if (table == 0)
		return 0;
	put_le64(entry, vmdk_data_entry(part, place));
	return write_stably(r, table + (in_table << part->entry_bits), entry,
			    (size_t)1 << part->entry_bits);
}

/* Behind all that is in use: seSparse's grains are the last in the file. */
static int take_se_place(struct repair *r, size_t bytes, uint64_t *ret_place)
{
	struct vmdk_part *part = r->part;
	const uint64_t first = part->s.grains_offset;
	const uint64_t used = MAX(vmdk_survey_end(&r->survey), r->end);
	const uint64_t grain =
		used > first ? div_round_up(used - first, (uint64_t)bytes) : 0;
	const uint64_t place = vmdk_se_place(part, grain);
	int err = grain < vmdk_account_limit(part)
			  ? vmdk_room_reach(part, place + bytes)
			  : -ENOSPC;

	if (err == 0)
		r->end = place + bytes;
	*ret_place = place;
	return err;
}

static int take_place(struct repair *r, size_t bytes, uint64_t *ret_place)
{
	return r->part->s.kind == VMDK_KIND_SE
		       ? take_se_place(r, bytes, ret_place)
		       : vmdk_room_take_end(r->part, bytes, ret_place);
}

static int give_own_place(struct repair *r, const struct vmdk_item *item)
{
	struct vmdk_part *part = r->part;
	size_t bytes = (size_t)1 << part->grain_bits;
	uint8_t *data = malloc(bytes);
	uint64_t place = 0;
	int err = data ? take_place(r, bytes, &place) : -ENOMEM;

	if (err == 0)
		err = store_read(part->store, item->place, data, bytes);
	if (err == 0)
		err = write_stably(r, place, data, bytes);
	free(data);
	if (err == 0)
		err = vmdk_free_sector_write(part);
	if (err == 0)
		err = point_at(r, part->rgd, item->number, place);
	if (err == 0)
		err = point_at(r, part->gd, item->number, place);
	if (err == 0)
		VMDK_SAY(r->listener->fixed, r->listener->opaque,
			 "grain %llu: it gets a place of its own",
			 (number)item->number);
	return err;
}

/* Metadata has its place, and of several grains the first one. */
static int repair_grains(struct repair *r)
{
	const struct vmdk_survey *s = &r->survey;
	uint64_t end = 0;
	bool grain = false;
	int err = 0;

	for (size_t i = 0; i < s->count && err == 0; i++) {
		const struct vmdk_item *item = &s->items[i];
		uint64_t until = item->place + item->bytes;

		if (item->kind == VMDK_ITEM_GRAIN && grain && item->place < end)
			err = give_own_place(r, item);
		if (until > end) {
			end = until;
			grain = item->kind == VMDK_ITEM_GRAIN;
		}
	}
	return err;
}

/* --- All ---------------------------------------------------------------- */

static int repair_free_sector(struct repair *r)
{
	const struct vmdk_sparse *h = &r->part->s;
	int err;

	if (h->kind != VMDK_KIND_COWD ||
	    h->free_offset >= vmdk_survey_end(&r->survey))
		return 0;
	err = begin(r);
	if (err == 0)
		err = vmdk_free_sector_write(r->part);
	if (err == 0)
		VMDK_SAY(r->listener->fixed, r->listener->opaque,
			 "the header: the file is free from sector %llu on",
			 (number)(h->free_offset >> VMDK_SECTOR_BITS));
	return err;
}

static int survey_again(struct repair *r)
{
	vmdk_survey_deinit(&r->survey);
	return vmdk_survey(r->part, NULL, NULL, &r->survey);
}

int vmdk_repair(struct vmdk_part *part,
		const struct vmdk_repair_listener *listener)
{
	struct repair r = {
		.part = part,
		.listener = listener,
		.first = malloc(table_bytes(part)),
		.second = malloc(table_bytes(part)),
	};
	int err = r.first && r.second ? survey_again(&r) : -ENOMEM;

	if (err == 0)
		err = repair_tables(&r);
	if (err == 0)
		err = survey_again(&r);
	if (err == 0)
		err = repair_free_sector(&r);
	if (err == 0)
		err = repair_grains(&r);
	vmdk_survey_deinit(&r.survey);
	free(r.first);
	free(r.second);
	return err;
}
