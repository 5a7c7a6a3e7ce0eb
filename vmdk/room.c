/* SPDX-License-Identifier: Apache-2.0 */
#include "vmdk/room.h"
#include "vmdk/table.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bitmap.h"
#include "image/journal.h"
#include "vmdk/account.h"

/* Past this a place cannot be said. */
#define MAX_FILE_BYTES ((uint64_t)UINT32_MAX << VMDK_SECTOR_BITS)

enum {
	MAX_PIECES = VMDK_SE_GTES * 8 / VMDK_PIECE_BYTES,
};

/* So far ahead of what is taken the file is made longer, or as far as it goes. */
#define AHEAD_BYTES (UINT64_C(1) << 20)

/* --- Opening ------------------------------------------------------------ */

static int read_second(struct vmdk_part *part, size_t bytes)
{
	if (!part->s.rgd_offset)
		return 0;
	part->rgd = malloc(bytes);
	return part->rgd ? store_read(part->store, part->s.rgd_offset,
				      part->rgd, bytes)
			 : -ENOMEM;
}

static bool overlaps(uint64_t offset, uint64_t bytes, uint64_t from,
		     uint64_t length)
{
	return length && ranges_overlap(offset, bytes, from, length);
}

/* Whether table @index, at sector @entry, can be written without harm to others. */
static bool is_sound(const struct vmdk_part *part, uint64_t index,
		     uint32_t entry)
{
	const struct vmdk_sparse *s = &part->s;
	uint64_t offset = (uint64_t)entry << VMDK_SECTOR_BITS;
	uint64_t bytes = (uint64_t)vmdk_table_entries(part, index) * 4;
	uint64_t directory = s->gd_entries * 4;

	return offset >= s->header_bytes && offset < part->file_bytes &&
	       !overlaps(offset, bytes, s->descriptor_offset,
			 s->descriptor_bytes) &&
	       !overlaps(offset, bytes, s->gd_offset, directory) &&
	       !(part->rgd &&
		 overlaps(offset, bytes, s->rgd_offset, directory));
}

/* A crash may have left a table in one of the directories alone. */
static int check_directories(const struct vmdk_part *part, char **ret_error)
{
	for (uint64_t i = 0; i < part->s.gd_entries; i++) {
		uint32_t first = get_le32(part->gd + i * 4);
		uint32_t second = part->rgd ? get_le32(part->rgd + i * 4) : 0;

		if ((first && !is_sound(part, i, first)) ||
		    (second && (second == first || !is_sound(part, i, second))))
			return store_fail(
				ret_error, IMAGE_E_CORRUPT,
				"entry %llu of the grain directories is 0x%x "
				"and 0x%x, where no table can be written; open "
				"the image read-only",
				(unsigned long long)i, first, second);
	}
	return 0;
}

/* The file may end within one, which may be the last; 0: there is none. */
static uint64_t end_of_table(const struct vmdk_part *part,
			     const uint8_t *directory, uint64_t index)
{
	uint64_t offset = 0;

	if (directory)
		offset = (uint64_t)get_le32(directory + index * 4)
			 << VMDK_SECTOR_BITS;
	return offset == 0 || offset >= part->file_bytes
		       ? 0
		       : offset + (uint64_t)part->s.gt_entries * 4;
}

static uint64_t used_bytes(const struct vmdk_part *part)
{
	uint64_t used = MAX(part->file_bytes, part->s.overhead_bytes);

	for (uint64_t i = 0; i < part->s.gd_entries; i++) {
		used = MAX(used, end_of_table(part, part->gd, i));
		used = MAX(used, end_of_table(part, part->rgd, i));
	}
	return used;
}

/* Its tables lie among the metadata, and the file may end before its grains. */
static uint64_t end_of_room(const struct vmdk_part *part)
{
	if (part->account)
		return MAX(part->file_bytes,
			   vmdk_se_place(part, part->account->end));
	return align_up(used_bytes(part), UINT64_C(1) << part->grain_bits);
}

int vmdk_room_init(struct vmdk_part *part, bool own_account, bool check,
		   char **ret_error)
{
	size_t bytes = part->s.gd_entries << part->entry_bits;
	size_t words =
		BITMAP_WORDS(div_round_up(bytes, (size_t)VMDK_SECTOR_BYTES));
	int err = read_second(part, bytes);

	if (err == 0 && part->s.kind == VMDK_KIND_SE)
		err = vmdk_account_open(part, own_account, check,
					&part->account, ret_error);
	else if (err == 0 && !check)
		err = check_directories(part, ret_error);
	if (err)
		return err;
	part->gd_dirty = calloc(words, sizeof(*part->gd_dirty));
	part->gd_writing = calloc(words, sizeof(*part->gd_writing));
	if (!part->gd_dirty || !part->gd_writing)
		return -ENOMEM;
	part->end = end_of_room(part);
	part->old_end = part->end;
	part->fresh = part->end;
	part->longer = part->file_bytes;
	return 0;
}

void vmdk_room_trim(struct vmdk_part *part)
{
	if (part->longer > part->end && part->store)
		(void)store_resize(part->store, part->end);
}

void vmdk_room_deinit(struct vmdk_part *part)
{
	free(part->rgd);
	free(part->gd_dirty);
	free(part->gd_writing);
	vmdk_account_free(part->account);
}

/* --- Tables ------------------------------------------------------------- */

void vmdk_answer_full(const struct vmdk *v, struct image_extent *ret)
{
	*ret = (struct image_extent){
		.kind = v->plan_out ? IMAGE_BUSY : IMAGE_MUST_FLUSH,
	};
}

/* Half of the cache, so that reads go on in the other. */
bool vmdk_is_full(const struct vmdk *v)
{
	return metacache_room(&v->cache) <= v->cache.block_count / 2;
}

bool vmdk_can_note(const struct vmdk *v, const struct vmdk_part *part,
		   uint64_t changes)
{
	return (!v->image.journal ||
		journal_room(v->image.journal) >= changes) &&
	       (!part->account ||
		vmdk_account_has_room(part->account, changes));
}

/* Its last table may be shorter than the others: only what is there counts. */
void vmdk_table_set(struct vmdk *v, const struct vmdk_part *part,
		    uint64_t grain, struct metacache_block *block,
		    uint32_t index, uint64_t entry)
{
	vmdk_entry_put(part, block->data, index, entry);
	v->table_numbers[block - v->cache.blocks] =
		(uint32_t)(grain / part->s.gt_entries);
	metacache_mark_dirty(&v->cache, block);
}

void vmdk_table_change(struct vmdk *v, const struct vmdk_part *part,
		       uint64_t grain, struct metacache_block *block,
		       uint32_t index, uint64_t entry)
{
	vmdk_table_set(v, part, grain, block, index, entry);
	if (v->image.journal)
		journal_append(v->image.journal, grain, entry,
			       (uint64_t)(part - v->parts));
}

/*
 * A grain that reads as zeroes may not be written at all. The file has to hold it
 * all the same, and before a table names it: who opens the file next, after a
 * crash too, takes room from its end.
 */
static int lengthen(struct vmdk_part *part, uint64_t end)
{
	uint64_t longer = align_up(end, AHEAD_BYTES);
	int err;

	if (part->s.kind != VMDK_KIND_SE)
		longer = MIN(longer, MAX_FILE_BYTES);
	if (end <= part->longer || !part->store->can_grow)
		return 0;
	err = store_resize(part->store, longer);
	if (err) {
		longer = end;
		err = store_resize(part->store, longer);
	}
	if (err == 0)
		part->longer = longer;
	return err;
}

int vmdk_room_reach(struct vmdk_part *part, uint64_t end)
{
	int err;

	if (!part->store->can_grow && end > part->store->size_bytes)
		return -ENOSPC;
	err = lengthen(part, end);
	if (err)
		return err;
	part->end = MAX(part->end, end);
	part->file_bytes = MAX(part->file_bytes, end);
	return 0;
}

int vmdk_room_take_end(struct vmdk_part *part, uint64_t bytes,
		       uint64_t *ret_offset)
{
	uint64_t offset = part->end;
	uint64_t end =
		offset + align_up(bytes, UINT64_C(1) << part->grain_bits);
	int err = end > MAX_FILE_BYTES ? IMAGE_E_NO_SPACE
				       : vmdk_room_reach(part, end);

	if (err == 0)
		*ret_offset = offset;
	return err;
}

/* The entry for a table at @offset of the file. */
static uint64_t directory_entry(const struct vmdk_part *part, uint64_t offset)
{
	if (part->s.kind != VMDK_KIND_SE)
		return offset >> VMDK_SECTOR_BITS;
	return (uint64_t)VMDK_SE_TABLE << VMDK_SE_KIND_SHIFT |
	       (offset - part->s.tables_offset) / VMDK_SE_TABLE_BYTES;
}

static void set_directory(struct vmdk_part *part, uint64_t index,
			  uint64_t first, uint64_t second)
{
	size_t sector = (index << part->entry_bits) / VMDK_SECTOR_BYTES;

	vmdk_entry_put(part, part->gd, index, directory_entry(part, first));
	if (part->rgd)
		put_le32(part->rgd + index * 4,
			 (uint32_t)(second >> VMDK_SECTOR_BITS));
	if (bitmap_test(part->gd_dirty, sector))
		return;
	bitmap_set(part->gd_dirty, sector);
	part->gd_dirty_count++;
}

/* Blocks for all pieces of a table, loading; false: for none. */
static bool take_pieces(struct vmdk *v, uint64_t offset, unsigned count,
			struct metacache_block **ret)
{
	for (unsigned i = 0; i < count; i++) {
		ret[i] = metacache_insert(
			&v->cache, offset + (uint64_t)i * VMDK_PIECE_BYTES, 0);
		if (ret[i])
			continue;
		while (i-- > 0)
			metacache_drop(&v->cache, ret[i]);
		return false;
	}
	return true;
}

/* Room for a table of @bytes, and for the second one. */
static int take_table(struct vmdk_part *part, uint64_t bytes,
		      uint64_t *ret_offset)
{
	uint32_t table;
	int err;

	if (!part->account)
		return vmdk_room_take_end(part, part->rgd ? 2 * bytes : bytes,
					  ret_offset);
	err = vmdk_account_take_table(part->account, &table);
	if (err == 0)
		*ret_offset = part->s.tables_offset +
			      (uint64_t)table * VMDK_SE_TABLE_BYTES;
	return err;
}

static void give_table_back(struct vmdk_part *part, uint64_t offset)
{
	if (part->account)
		vmdk_account_give_table_back(
			part->account,
			(uint32_t)((offset - part->s.tables_offset) /
				   VMDK_SE_TABLE_BYTES));
	else
		part->end = offset;
}

int vmdk_room_make_table(struct vmdk *v, struct vmdk_part *part, uint64_t grain)
{
	struct metacache_block *pieces[MAX_PIECES];
	uint64_t bytes =
		align_up((uint64_t)part->s.gt_entries << part->entry_bits,
			 VMDK_SECTOR_BYTES);
	unsigned count = (unsigned)div_round_up(bytes, VMDK_PIECE_BYTES);
	uint64_t offset;
	int err = take_table(part, bytes, &offset);

	if (err)
		return err;
	if (!take_pieces(v, part->cache_base + offset, count, pieces)) {
		give_table_back(part, offset);
		return -EBUSY;
	}
	set_directory(part, grain / part->s.gt_entries, offset, offset + bytes);
	for (unsigned i = 0; i < count; i++) {
		memset(pieces[i]->data, 0, VMDK_PIECE_BYTES);
		metacache_loaded(&v->cache, pieces[i]);
		vmdk_table_set(v, part, grain, pieces[i], 0, VMDK_GTE_ABSENT);
	}
	return 0;
}

/* --- Grains ------------------------------------------------------------- */

uint64_t vmdk_room_limit(const struct vmdk *v, const struct vmdk_part *part,
			 uint64_t grain, uint64_t count)
{
	for (unsigned i = 0, seen = 0; seen < v->pending_count; i++) {
		const struct vmdk_pending *p = &v->pending[i];

		seen += p->used;
		if (p->used && p->part == part &&
		    ranges_overlap(grain, count, p->grain, p->count))
			count = p->grain > grain ? p->grain - grain : 0;
	}
	return count;
}

static int take_accounted(struct vmdk_part *part, uint32_t *count,
			  uint64_t *ret_offset)
{
	uint64_t number;
	int err = vmdk_account_take(part->account, count, &number);

	if (err)
		return err;
	err = vmdk_room_reach(part, vmdk_se_place(part, number + *count));
	if (err)
		vmdk_account_give_back(part->account, number, *count);
	else
		*ret_offset = vmdk_se_place(part, number);
	return err;
}

static int take_grains(struct vmdk_part *part, uint32_t *count,
		       uint64_t *ret_offset)
{
	return part->account
		       ? take_accounted(part, count, ret_offset)
		       : vmdk_room_take_end(
				 part, (uint64_t)*count << part->grain_bits,
				 ret_offset);
}

int vmdk_room_take(struct vmdk *v, struct vmdk_part *part, uint64_t grain,
		   uint32_t *count, const struct vmdk_table *table,
		   uint64_t *ret_ticket, uint64_t *ret_offset)
{
	unsigned ticket = 0;
	int err = take_grains(part, count, ret_offset);

	if (err)
		return err;
	while (v->pending[ticket].used)
		ticket++;
	v->pending[ticket] = (struct vmdk_pending){
		.used = true,
		.part = part,
		.grain = grain,
		.count = *count,
		.offset = *ret_offset,
		.block = table->block,
		.index = table->index,
	};
	v->pending_count++;
	if (v->image.journal)
		v->image.journal->reserved += *count;
	metacache_pin(&v->cache, table->block);
	*ret_ticket = ticket;
	return 0;
}

/* Of the entry @index of @block, among all of an SE extent. */
static uint64_t entry_number(const struct vmdk_part *part,
			     const struct metacache_block *block,
			     uint32_t index)
{
	return (block->offset - part->cache_base - part->s.tables_offset) / 8 +
	       index;
}

void vmdk_room_name(struct vmdk_part *part, uint64_t offset, uint32_t count,
		    const struct metacache_block *block, uint32_t index)
{
	if (part->account)
		vmdk_account_name(part->account, vmdk_se_grain(part, offset),
				  count, entry_number(part, block, index));
}

static void map_grains(struct vmdk *v, const struct vmdk_pending *p)
{
	struct vmdk_part *part = p->part;

	for (uint32_t i = 0; i < p->count; i++) {
		uint64_t offset = p->offset + ((uint64_t)i << part->grain_bits);

		vmdk_table_change(v, part, p->grain + i, p->block, p->index + i,
				  vmdk_data_entry(part, offset));
	}
	vmdk_room_name(part, p->offset, p->count, p->block, p->index);
}

/*
 * Room that is still the last is used again, that of an SE extent always; it may
 * have been written to.
 */
static void give_back(const struct vmdk_pending *p)
{
	struct vmdk_part *part = p->part;
	uint64_t end = p->offset + ((uint64_t)p->count << part->grain_bits);

	if (part->account)
		vmdk_account_give_back(part->account,
				       vmdk_se_grain(part, p->offset),
				       p->count);
	else if (end == part->end)
		part->end = p->offset;
	else
		return;
	part->fresh = MAX(part->fresh, end);
}

int vmdk_commit(struct image *image, const struct image_extent *extent,
		int result)
{
	struct vmdk *v = vmdk_of(image);
	struct vmdk_pending *p = &v->pending[extent->ticket];

	if (v->image.journal)
		v->image.journal->reserved -= p->count;
	if (result == 0)
		map_grains(v, p);
	else
		give_back(p);
	metacache_unpin(&v->cache, p->block);
	p->used = false;
	v->pending_count--;
	return 0;
}
