/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "vmdk/check.h"
#include "vmdk/table.h"

typedef unsigned long long number;

static size_t table_bytes(const struct vmdk_part *part)
{
	return (size_t)part->s.gt_entries << part->entry_bits;
}

/* --- Items -------------------------------------------------------------- */

static int add(struct vmdk_survey *s, struct vmdk_item item)
{
	struct vmdk_item *grown;

	if (s->count == s->room) {
		s->room = MAX(2 * s->room, (size_t)1024);
		grown = reallocarray(s->items, s->room, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		s->items = grown;
	}
	s->items[s->count++] = item;
	return 0;
}

static int by_place(const void *a, const void *b)
{
	const struct vmdk_item *one = a, *other = b;

	if (one->place != other->place)
		return one->place < other->place ? -1 : 1;
	if (one->kind != other->kind)
		return one->kind - other->kind;
	if (one->second != other->second)
		return one->second - other->second;
	return one->number < other->number ? -1 : one->number > other->number;
}

/* How many of the first @count items, which are sorted, begin before @place. */
static size_t before(const struct vmdk_survey *s, size_t count, uint64_t place)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (s->items[middle].place < place)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct vmdk_item *vmdk_survey_at(const struct vmdk_survey *s, uint64_t place)
{
	size_t i = before(s, s->count, place);

	return i < s->count && s->items[i].place == place ? &s->items[i] : NULL;
}

bool vmdk_survey_has(const struct vmdk_survey *s, uint64_t place,
		     uint64_t bytes)
{
	size_t i = before(s, s->count, place + bytes);

	return i > 0 && s->items[i - 1].place + s->items[i - 1].bytes > place;
}

int vmdk_survey_insert(struct vmdk_survey *s, struct vmdk_item item)
{
	size_t i = before(s, s->count, item.place);
	int err = add(s, item);

	if (err)
		return err;
	memmove(&s->items[i + 1], &s->items[i],
		(s->count - 1 - i) * sizeof(*s->items));
	s->items[i] = item;
	return 0;
}

/* --- What is wrong ------------------------------------------------------ */

static void name_item(const struct vmdk_item *item, char ret[64])
{
	static const char *const names[] = {
		[VMDK_ITEM_HEADER] = "the header",
		[VMDK_ITEM_STATE] = "the second header",
		[VMDK_ITEM_JOURNAL_HEADER] = "the journal's header",
		[VMDK_ITEM_JOURNAL] = "the journal",
		[VMDK_ITEM_FREE_BITMAP] = "the free bitmap",
		[VMDK_ITEM_BACK_MAP] = "the back map",
		[VMDK_ITEM_DESCRIPTOR] = "the descriptor",
		[VMDK_ITEM_DIRECTORY] = "grain directory",
		[VMDK_ITEM_TABLE] = "grain table",
		[VMDK_ITEM_GRAIN] = "grain",
	};
	const char *which = item->second ? "second " : "";

	if (item->kind < VMDK_ITEM_DIRECTORY)
		snprintf(ret, 64, "%s", names[item->kind]);
	else if (item->kind == VMDK_ITEM_DIRECTORY)
		snprintf(ret, 64, "the %s%s", which, names[item->kind]);
	else
		snprintf(ret, 64, "%s%s %llu", which, names[item->kind],
			 (number)item->number);
}

/* An item that reaches into the next one; the longest so far is what counts. */
static void find_shared(struct vmdk_survey *s)
{
	struct vmdk_item *longest = NULL;

	for (size_t i = 0; i < s->count; i++) {
		struct vmdk_item *item = &s->items[i];

		if (longest && longest->place + longest->bytes > item->place) {
			char one[64], other[64];

			longest->shared = item->shared = true;
			name_item(longest, one);
			name_item(item, other);
			VMDK_SAY(s->found, s->opaque,
				 "ERROR: %s and %s share the place at byte "
				 "%llu of the file",
				 one, other, (number)item->place);
		}
		if (!longest ||
		    longest->place + longest->bytes < item->place + item->bytes)
			longest = item;
	}
}

uint64_t vmdk_survey_end(const struct vmdk_survey *s)
{
	uint64_t end = 0;

	for (size_t i = 0; i < s->count; i++)
		end = MAX(end, s->items[i].place + s->items[i].bytes);
	return end;
}

/* COWD: VMware would write the next grain there. */
static void judge_free_sector(struct vmdk_survey *s)
{
	const struct vmdk_sparse *h = &s->part->s;

	if (h->kind == VMDK_KIND_COWD && h->free_offset < vmdk_survey_end(s))
		VMDK_SAY(s->found, s->opaque,
			 "ERROR: the header says that the file is free from "
			 "sector %llu on, and it is in use up to sector %llu",
			 (number)(h->free_offset >> VMDK_SECTOR_BITS),
			 (number)(vmdk_survey_end(s) >> VMDK_SECTOR_BITS));
}

/* --- Looking ------------------------------------------------------------ */

static bool is_table_place(const struct vmdk_part *part, uint64_t entry,
			   uint64_t *ret_offset)
{
	return vmdk_table_offset(part, entry, ret_offset) &&
	       *ret_offset >= VMDK_SECTOR_BYTES &&
	       *ret_offset < part->file_bytes;
}

bool vmdk_survey_table(struct vmdk_part *part, const uint8_t *directory,
		       uint64_t index, uint8_t *table, int *ret_err)
{
	uint64_t entry = directory ? vmdk_entry(part, directory, index) : 0;
	uint64_t offset;

	*ret_err = 0;
	memset(table, 0, table_bytes(part));
	if (entry == 0)
		return true;
	if (!is_table_place(part, entry, &offset))
		return false;
	/* The last one may be shorter than the others. */
	*ret_err = store_read(
		part->store, offset, table,
		MIN((uint64_t)table_bytes(part), part->file_bytes - offset));
	return true;
}

static int add_table(struct vmdk_survey *s, uint64_t index, bool second)
{
	struct vmdk_part *part = s->part;
	uint64_t entry = vmdk_entry(part, second ? s->rgd : part->gd, index);
	struct vmdk_item item = {
		.number = index,
		.bytes = vmdk_table_entries(part, index) << part->entry_bits,
		.kind = VMDK_ITEM_TABLE,
		.second = second,
	};

	if (entry == 0)
		return 0;
	if (is_table_place(part, entry, &item.place))
		return add(s, item);
	VMDK_SAY(s->found, s->opaque,
		 "ERROR: %sgrain table %llu lies outside of the file (entry "
		 "0x%llx of the directory)",
		 second ? "second " : "", (number)index, (number)entry);
	return 0;
}

static int add_tables(struct vmdk_survey *s)
{
	int err = 0;

	for (uint64_t i = 0; i < s->part->s.gd_entries && err == 0; i++) {
		err = add_table(s, i, false);
		if (err == 0 && s->rgd)
			err = add_table(s, i, true);
	}
	qsort(s->items, s->count, sizeof(*s->items), by_place);
	s->tables = s->count;
	return err;
}

/*
 * Tables that overlap each other, or metadata, are not looked into: whose entries
 * they are is not known, and there would be more of them than the file has room
 * for.
 */
static void mark_tables(struct vmdk_survey *s)
{
	struct vmdk_item *longest = NULL;

	for (size_t i = 0; i < s->tables; i++) {
		struct vmdk_item *item = &s->items[i];

		if (longest && longest->place + longest->bytes > item->place)
			longest->shared = item->shared = true;
		if (!longest ||
		    longest->place + longest->bytes < item->place + item->bytes)
			longest = item;
	}
}

/* Whether table @index is absent, or has a place for itself, as marked. */
static bool is_to_be_read(const struct vmdk_survey *s, uint64_t index,
			  bool second)
{
	const struct vmdk_part *part = s->part;
	uint64_t entry = vmdk_entry(part, second ? s->rgd : part->gd, index);
	uint64_t place;
	size_t i;

	if (entry == 0)
		return true;
	if (!is_table_place(part, entry, &place))
		return false;
	i = before(s, s->tables, place);
	while (i < s->tables && s->items[i].kind != VMDK_ITEM_TABLE)
		i++;
	return i < s->tables && s->items[i].place == place &&
	       s->items[i].number == index && s->items[i].second == second &&
	       !s->items[i].shared;
}

static int look_at_grain(struct vmdk_survey *s, uint64_t grain, uint64_t entry)
{
	const struct vmdk_part *part = s->part;
	struct vmdk_item item = {
		.number = grain,
		/* How long a compressed one is the next one says. */
		.bytes = part->s.compressed ? VMDK_SECTOR_BYTES
					    : 1u << part->grain_bits,
		.kind = VMDK_ITEM_GRAIN,
	};

	switch (vmdk_grain_judge(part, entry, &item.place)) {
	case VMDK_GRAIN_CORRUPT:
		VMDK_SAY(
			s->found, s->opaque,
			"ERROR: grain %llu lies outside of the file, or within "
			"its metadata (entry 0x%llx)",
			(number)grain, (number)entry);
		return 0;
	case VMDK_GRAIN_DATA:
		return add(s, item);
	default:
		return 0;
	}
}

/* Table @index into @table, or zeroes where it is not to be read. */
static int read_table(struct vmdk_survey *s, uint64_t index, bool second,
		      uint8_t *table)
{
	int err = 0;

	if (is_to_be_read(s, index, second))
		(void)vmdk_survey_table(s->part, second ? s->rgd : s->part->gd,
					index, table, &err);
	else
		memset(table, 0, table_bytes(s->part));
	return err;
}

static int look_at_tables(struct vmdk_survey *s, uint64_t index)
{
	const struct vmdk_part *part = s->part;
	uint32_t entries = vmdk_table_entries(part, index);
	int err;

	if (vmdk_entry(part, part->gd, index) == 0 &&
	    (!s->rgd || vmdk_entry(part, s->rgd, index) == 0))
		return 0;
	err = read_table(s, index, false, s->table);
	if (err == 0 && s->rgd) {
		err = read_table(s, index, true, s->other);
		if (err == 0 && memcmp(s->table, s->other, entries * 4) != 0)
			VMDK_SAY(s->found, s->opaque,
				 "ERROR: grain table %llu and its second copy "
				 "differ",
				 (number)index);
	}
	for (uint32_t i = 0; i < entries && err == 0; i++)
		err = look_at_grain(s, index * part->s.gt_entries + i,
				    vmdk_entry(part, s->table, i));
	return err;
}

static const uint8_t reserved_kinds[] = {
	[VMDK_SE_JOURNAL_HEADER] = VMDK_ITEM_JOURNAL_HEADER,
	[VMDK_SE_JOURNAL] = VMDK_ITEM_JOURNAL,
	[VMDK_SE_FREE_BITMAP] = VMDK_ITEM_FREE_BITMAP,
	[VMDK_SE_BACK_MAP] = VMDK_ITEM_BACK_MAP,
};

static int add_fixed(struct vmdk_survey *s, enum vmdk_item_kind kind,
		     uint64_t place, uint64_t bytes, bool second)
{
	return bytes == 0 ? 0
			  : add(s, (struct vmdk_item){
					   .place = place,
					   .bytes = (uint32_t)MIN(
						   bytes, (uint64_t)UINT32_MAX),
					   .kind = kind,
					   .second = second,
				   });
}

/* What only a seSparse extent has. */
static int look_at_reserved(struct vmdk_survey *s)
{
	const struct vmdk_sparse *h = &s->part->s;
	int err = 0;

	if (h->kind != VMDK_KIND_SE)
		return 0;
	err = add_fixed(s, VMDK_ITEM_STATE, h->state_offset, VMDK_SECTOR_BYTES,
			false);
	for (unsigned i = 0; i < VMDK_SE_RESERVED && err == 0; i++) {
		const struct vmdk_region *region = &h->reserved[i];
		struct vmdk_item item = {.kind = reserved_kinds[i]};
		char name[64];

		if (range_fits(region->offset, region->size,
			       s->part->file_bytes >> VMDK_SECTOR_BITS)) {
			err = add_fixed(s, item.kind,
					region->offset << VMDK_SECTOR_BITS,
					region->size << VMDK_SECTOR_BITS,
					false);
			continue;
		}
		name_item(&item, name);
		VMDK_SAY(s->found, s->opaque,
			 "ERROR: %s lies outside of the file (sector %llu)",
			 name, (number)region->offset);
	}
	return err;
}

static int look_at_header(struct vmdk_survey *s)
{
	const struct vmdk_sparse *h = &s->part->s;
	uint64_t directory = h->gd_entries << s->part->entry_bits;
	int err = add_fixed(s, VMDK_ITEM_HEADER, 0, h->header_bytes, false);

	if (err == 0)
		err = look_at_reserved(s);
	if (err == 0)
		err = add_fixed(s, VMDK_ITEM_DESCRIPTOR, h->descriptor_offset,
				h->descriptor_bytes, false);
	if (err == 0)
		err = add_fixed(s, VMDK_ITEM_DIRECTORY, h->gd_offset, directory,
				false);
	if (err == 0 && h->rgd_offset)
		err = add_fixed(s, VMDK_ITEM_DIRECTORY, h->rgd_offset,
				directory, true);
	return err;
}

static int read_second(struct vmdk_survey *s)
{
	const struct vmdk_sparse *h = &s->part->s;
	size_t bytes = h->gd_entries << s->part->entry_bits;

	if (!h->rgd_offset)
		return 0;
	s->rgd = malloc(bytes);
	return s->rgd ? store_read(s->part->store, h->rgd_offset, s->rgd, bytes)
		      : -ENOMEM;
}

int vmdk_survey(struct vmdk_part *part,
		void (*found)(void *opaque, const char *finding), void *opaque,
		struct vmdk_survey *ret)
{
	int err;

	*ret = (struct vmdk_survey){
		.part = part,
		.table = malloc(table_bytes(part)),
		.other = malloc(table_bytes(part)),
		.found = found,
		.opaque = opaque,
	};
	if (!ret->table || !ret->other)
		return -ENOMEM;
	err = read_second(ret);
	if (err == 0)
		err = look_at_header(ret);
	if (err == 0)
		err = add_tables(ret);
	if (err == 0)
		mark_tables(ret);
	for (uint64_t i = 0; i < part->s.gd_entries && err == 0; i++)
		err = look_at_tables(ret, i);
	if (err)
		return err;
	qsort(ret->items, ret->count, sizeof(*ret->items), by_place);
	find_shared(ret);
	judge_free_sector(ret);
	return 0;
}

void vmdk_survey_deinit(struct vmdk_survey *survey)
{
	free(survey->rgd);
	free(survey->items);
	free(survey->table);
	free(survey->other);
	*survey = (struct vmdk_survey){0};
}
