/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a seSparse file accounts for its room as we would. All tables are read:
 * of each grain that one names the bit has to be set and the back map has to lead
 * to the entry. Bits of grains that nobody names may be what a crash of ours left,
 * if the back map says nothing of them, or something that could be. The file has
 * to show how it is to be read: in a bitmap whose bytes are the same from both
 * sides the order of the bits cannot be seen, and in a back map of zeroes nothing.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bitmap.h"
#include "vmdk/account.h"
#include "vmdk/create.h"
#include "vmdk/table.h"

typedef unsigned long long number;

enum {
	PAGE_BYTES = 4096,
	PAGES = 1024,
	CHUNK_WORDS = 8192,
};

/* Pages of the back map that were read. */
struct page {
	uint64_t number;
	bool valid;
	uint8_t data[PAGE_BYTES];
};

struct opening {
	const struct vmdk_part *part;
	struct vmdk_account *account;
	bool strict; /* what is otherwise than ours is refused */
	char **ret_error;
	const struct vmdk_account_listener *listener; /* or NULL */
	struct page *pages;
	uint8_t *table;
	bool tells_bits;    /* in which order they are */
	bool tells_entries; /* that there are some */
};

static int tell(const struct opening *o, const char *format, ...)
{
	char text[256];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (o->listener)
		o->listener->differs(o->listener->opaque, text);
	return 0;
}

#define fail(o, outcome, ...)               \
	store_fail((o)->ret_error, outcome, \
		   "it can only be opened read-only: " __VA_ARGS__)

/* What is told unless it is refused; and what a survey tells of. */
#define refuse(o, ...) \
	((o)->strict ? fail(o, -EROFS, __VA_ARGS__) : tell(o, __VA_ARGS__))
#define corrupt(o, ...) \
	((o)->strict ? fail(o, IMAGE_E_CORRUPT, __VA_ARGS__) : 0)

/* Writes what should be there, if that is wanted. */
static int mend(const struct opening *o, uint64_t place, const void *data,
		size_t bytes)
{
	int err;

	if (o->strict || !o->listener || !o->listener->begin)
		return 0;
	err = o->listener->begin(o->listener->opaque);
	if (err == 0)
		err = store_write(o->part->store, place, data, bytes);
	return err;
}

/* --- Regions ------------------------------------------------------------ */

static bool meets(const struct vmdk_region *one,
		  const struct vmdk_region *other)
{
	return one->size && other->size &&
	       ranges_overlap(one->offset, one->size, other->offset,
			      other->size);
}

/* No two things in one place, or one of them would be written over the other. */
static const char *judge_places(const struct vmdk_part *part)
{
	const struct vmdk_sparse *s = &part->s;
	const struct vmdk_region fixed[] = {
		{0, 1},
		{s->state_offset >> VMDK_SECTOR_BITS, 1},
		{s->gd_offset >> VMDK_SECTOR_BITS,
		 div_round_up(s->gd_entries * 8, VMDK_SECTOR_BYTES)},
		{s->tables_offset >> VMDK_SECTOR_BITS,
		 s->tables_bytes >> VMDK_SECTOR_BITS},
		{s->grains_offset >> VMDK_SECTOR_BITS, s->grains_sectors},
	};
	struct vmdk_region all[VMDK_SE_RESERVED + ARRAY_SIZE(fixed)];

	memcpy(all, s->reserved, sizeof(s->reserved));
	memcpy(all + VMDK_SE_RESERVED, fixed, sizeof(fixed));
	for (unsigned i = 0; i < VMDK_SE_RESERVED; i++)
		if (!range_fits(all[i].offset, all[i].size,
				part->file_bytes >> VMDK_SECTOR_BITS))
			return "a part of its metadata lies outside of the "
			       "file";
	for (unsigned i = 0; i < ARRAY_SIZE(all); i++)
		for (unsigned k = 0; k < i; k++)
			if (meets(&all[i], &all[k]))
				return "two parts of its metadata share a "
				       "place";
	return NULL;
}

/* 0: it does not lie in the file. */
static uint64_t region_bytes(const struct vmdk_part *part,
			     enum vmdk_se_reserved which)
{
	const struct vmdk_region *region = &part->s.reserved[which];

	return range_fits(region->offset, region->size,
			  part->file_bytes >> VMDK_SECTOR_BITS)
		       ? region->size << VMDK_SECTOR_BITS
		       : 0;
}

uint64_t vmdk_account_limit(const struct vmdk_part *part)
{
	const struct vmdk_sparse *s = &part->s;
	uint64_t bits = region_bytes(part, VMDK_SE_FREE_BITMAP) * 8;
	uint64_t entries =
		region_bytes(part, VMDK_SE_BACK_MAP) / sizeof(uint64_t);
	uint64_t both = MIN(bits, entries);
	uint64_t sectors =
		MIN(s->grains_sectors, (uint64_t)VMDK_MAX_SE_SECTORS);

	return MIN(sectors / s->grain_sectors, both);
}

static int make(struct opening *o)
{
	const struct vmdk_sparse *s = &o->part->s;
	struct vmdk_account *a = o->account;
	size_t sectors;

	a->table_count = (uint32_t)MIN(s->tables_bytes / VMDK_SE_TABLE_BYTES,
				       (uint64_t)VMDK_MAX_GD_ENTRIES);
	a->limit = vmdk_account_limit(o->part);
	sectors = div_round_up(a->limit, VMDK_SECTOR_BYTES * 8);
	a->used = calloc(BITMAP_WORDS(a->limit) + 1, sizeof(*a->used));
	a->dirty = calloc(BITMAP_WORDS(sectors) + 1, sizeof(*a->dirty));
	a->writing = calloc(BITMAP_WORDS(sectors) + 1, sizeof(*a->writing));
	a->tables =
		calloc(BITMAP_WORDS(a->table_count) + 1, sizeof(*a->tables));
	a->changes = calloc(VMDK_ACCOUNT_CHANGES, sizeof(*a->changes));
	o->table = malloc(VMDK_SE_TABLE_BYTES);
	o->pages = calloc(PAGES, sizeof(*o->pages));
	return a->used && a->dirty && a->writing && a->tables && a->changes &&
			       o->table && o->pages
		       ? 0
		       : -ENOMEM;
}

/* --- The back map ------------------------------------------------------- */

static int read_back(struct opening *o, uint64_t grain, uint64_t *ret_entry)
{
	uint64_t at = grain * sizeof(uint64_t);
	struct page *page = &o->pages[at / PAGE_BYTES % PAGES];
	const struct vmdk_region *map = &o->part->s.reserved[VMDK_SE_BACK_MAP];
	uint64_t first = at / PAGE_BYTES * PAGE_BYTES;
	uint64_t bytes = (map->size << VMDK_SECTOR_BITS) - first;
	int err = 0;

	if (!page->valid || page->number != at / PAGE_BYTES) {
		page->valid = false;
		err = store_read(o->part->store,
				 vmdk_se_region(o->part, VMDK_SE_BACK_MAP) +
					 first,
				 page->data, MIN(bytes, (uint64_t)PAGE_BYTES));
		page->number = at / PAGE_BYTES;
		page->valid = err == 0;
	}
	*ret_entry = get_le64(page->data + at % PAGE_BYTES);
	return err;
}

/* --- Tables ------------------------------------------------------------- */

static int judge_grain(struct opening *o, uint64_t grain, uint64_t entry)
{
	struct vmdk_account *a = o->account;
	uint64_t back = 0;
	uint8_t right[8];
	int err;

	if (grain >= a->limit)
		return refuse(o,
			      "grain %llu of its room, which entry %llu "
			      "names, is past the %llu that it has",
			      (number)grain, (number)entry, (number)a->limit);
	if (bitmap_test(a->used, grain))
		return corrupt(o, "grain %llu of its room is two entries'",
			       (number)grain);
	bitmap_set(a->used, grain);
	a->end = MAX(a->end, grain + 1);
	err = read_back(o, grain, &back);
	if (err)
		return err;
	o->tells_entries |= entry != 0;
	if (back == entry)
		return 0;
	err = refuse(o,
		     "its back map has %llu for grain %llu of its "
		     "room, and entry %llu names that",
		     (number)back, (number)grain, (number)entry);
	put_le64(right, entry);
	return err ? err
		   : mend(o,
			  vmdk_se_region(o->part, VMDK_SE_BACK_MAP) +
				  grain * sizeof(right),
			  right, sizeof(right));
}

static int judge_entry(struct opening *o, uint64_t value, uint64_t entry)
{
	uint64_t kind = value >> VMDK_SE_KIND_SHIFT, place;

	if (value == 0)
		return 0;
	if (kind == VMDK_SE_DATA &&
	    vmdk_grain_judge(o->part, value, &place) == VMDK_GRAIN_DATA)
		return judge_grain(o, vmdk_se_number(value), entry);
	/* What else such an entry keeps is not known. */
	if ((kind == VMDK_SE_UNMAPPED || kind == VMDK_SE_ZEROES) &&
	    value << 4 == 0)
		return 0;
	return corrupt(o,
		       "entry %llu of its tables is 0x%llx, where no grain "
		       "can be",
		       (number)entry, (number)value);
}

static int judge_table(struct opening *o, uint64_t index)
{
	const struct vmdk_part *part = o->part;
	uint64_t named = vmdk_directory_entry(part, index), offset, table;
	int err;

	if (named == 0)
		return 0;
	if (!vmdk_table_offset(part, named, &offset))
		return corrupt(o,
			       "entry %llu of its directory is 0x%llx, "
			       "where no table can be",
			       (number)index, (number)named);
	table = (offset - part->s.tables_offset) / VMDK_SE_TABLE_BYTES;
	if (bitmap_test(o->account->tables, table))
		return corrupt(o, "grain table %llu is named twice",
			       (number)table);
	bitmap_set(o->account->tables, table);
	o->account->free_table_wanted =
		MAX(o->account->free_table_wanted, table + 1);
	err = store_read(part->store, offset, o->table, VMDK_SE_TABLE_BYTES);
	for (uint32_t i = 0; i < VMDK_SE_GTES && err == 0; i++)
		err = judge_entry(o, get_le64(o->table + (size_t)i * 8),
				  table * VMDK_SE_GTES + i);
	return err;
}

static int judge_free_table(struct opening *o)
{
	struct vmdk_account *a = o->account;
	uint64_t place = o->part->s.state_offset +
			 offsetof(struct vmdk_wire_se_state, free_gt);
	uint8_t data[8];
	int err = store_read(o->part->store, place, data, sizeof(data));

	if (err)
		return err;
	a->free_table = get_le64(data);
	if (a->free_table >= a->free_table_wanted &&
	    a->free_table <= a->table_count) {
		a->free_table_wanted = a->free_table;
		return 0;
	}
	err = refuse(o,
		     "its second header says that its grain tables are free "
		     "from %llu on, and %llu of %u are in use",
		     (number)a->free_table, (number)a->free_table_wanted,
		     a->table_count);
	put_le64(data, a->free_table_wanted);
	return err ? err : mend(o, place, data, sizeof(data));
}

/* --- The free bitmap ---------------------------------------------------- */

static uint8_t turned(uint8_t byte)
{
	uint8_t turn = 0;

	for (unsigned i = 0; i < 8; i++)
		turn |= (byte >> i & 1) << (7 - i);
	return turn;
}

static bool is_symmetric(uint64_t word)
{
	for (unsigned i = 0; i < 64; i += 8)
		if ((uint8_t)(word >> i) != turned((uint8_t)(word >> i)))
			return false;
	return true;
}

/* A bit of a grain that nobody names: the next plan clears it. */
static int judge_leftover(struct opening *o, uint64_t grain)
{
	struct vmdk_account *a = o->account;
	size_t sector = grain / (VMDK_SECTOR_BYTES * 8);
	uint64_t back = 0;
	int err = grain < a->limit ? read_back(o, grain, &back) : 0;

	if (err)
		return err;
	if (grain >= a->limit ||
	    back >= (uint64_t)a->table_count * VMDK_SE_GTES)
		return refuse(o,
			      "its free bitmap has a bit for grain %llu of "
			      "its room, which nobody names",
			      (number)grain);
	a->dirty_count += !bitmap_test(a->dirty, sector);
	bitmap_set(a->dirty, sector);
	return 0;
}

static int judge_word(struct opening *o, size_t at, uint64_t word)
{
	uint64_t used = o->account->used[at];
	uint64_t lacking = used & ~word, more = word & ~used;
	int err = 0;

	if (lacking) {
		uint8_t right[8];

		err = refuse(o,
			     "its free bitmap calls grain %llu of its room "
			     "free, and an entry names that",
			     (number)at * 64 +
				     (number)__builtin_ctzll(lacking));
		put_le64(right, used);
		return err ? err
			   : mend(o,
				  vmdk_se_region(o->part, VMDK_SE_FREE_BITMAP) +
					  at * sizeof(right),
				  right, sizeof(right));
	}
	o->tells_bits |= !is_symmetric(word);
	for (; more && err == 0; more &= more - 1)
		err = judge_leftover(o,
				     at * 64 + (uint64_t)__builtin_ctzll(more));
	return err;
}

static int judge_bits(struct opening *o)
{
	uint64_t place = vmdk_se_region(o->part, VMDK_SE_FREE_BITMAP);
	size_t words = BITMAP_WORDS(o->account->limit);
	uint8_t *data = malloc(CHUNK_WORDS * 8);
	int err = data ? 0 : -ENOMEM;

	for (size_t i = 0; i < words && err == 0; i += CHUNK_WORDS) {
		size_t count = MIN(words - i, (size_t)CHUNK_WORDS);

		err = store_read(o->part->store, place + i * 8, data,
				 count * 8);
		for (size_t k = 0; k < count && err == 0; k++)
			err = judge_word(o, i + k, get_le64(data + k * 8));
	}
	free(data);
	return err;
}

/* --- All ---------------------------------------------------------------- */

static int judge(struct opening *o)
{
	const struct vmdk_part *part = o->part;
	int err = 0;

	for (uint64_t i = 0; i < part->s.gd_entries && err == 0; i++)
		err = judge_table(o, i);
	if (err == 0)
		err = judge_free_table(o);
	return err ? err : judge_bits(o);
}

static int judge_strictly(struct opening *o, bool own)
{
	const char *wrong = judge_places(o->part);
	int err;

	if (wrong)
		return corrupt(o, "%s", wrong);
	if (o->part->s.capacity_sectors > VMDK_MAX_SE_SECTORS)
		return refuse(o, "it is larger than VMware's disks are");
	if (o->account->limit == 0)
		return refuse(o, "it has no free bitmap, no back map or no "
				 "room for grains");
	err = judge(o);
	if (err == 0 && !own && !(o->tells_bits && o->tells_entries))
		return refuse(o, "so little of its room is used that it cannot "
				 "be seen how it is accounted for");
	return err;
}

static void finish(struct opening *o)
{
	free(o->pages);
	free(o->table);
	vmdk_account_free(o->account);
}

static int begin(struct opening *o)
{
	o->account = calloc(1, sizeof(*o->account));
	return o->account ? make(o) : -ENOMEM;
}

int vmdk_account_open(const struct vmdk_part *part, bool own, bool check,
		      struct vmdk_account **ret, char **ret_error)
{
	struct opening o = {
		.part = part,
		.strict = !check,
		.ret_error = ret_error,
	};
	int err = begin(&o);

	/* Whoever checks it changes nothing that an account is needed for. */
	if (err == 0 && o.strict)
		err = judge_strictly(&o, own);
	if (err == 0) {
		*ret = o.account;
		o.account = NULL;
	}
	finish(&o);
	return err;
}

int vmdk_account_check(const struct vmdk_part *part,
		       const struct vmdk_account_listener *listener)
{
	struct opening o = {.part = part, .listener = listener};
	int err = begin(&o);

	/* A survey tells of what is wrong with the places. */
	if (err == 0 && o.account->limit && !judge_places(part))
		err = judge(&o);
	if (err == 0 && listener->begin)
		err = store_flush(part->store);
	finish(&o);
	return err;
}
