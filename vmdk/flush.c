/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan that makes what happened so far stable:
 *
 *	1. another CID, if one is wanted: then nothing was changed yet; and
 *	   changed-block tracking is disowned; where COWD's room is
 *	   free; what seSparse's account says of the grains		BARRIER
 *	2. grain tables, in both copies					BARRIER
 *	3. grain directories, in both copies				BARRIER
 *
 * The barrier of 1, which is never left out, also stands between the grains'
 * data and the tables that name them; that of 2 between a new table and the
 * directory that names it. A file's grains and tables are taken from its end
 * and never given back, so that nothing else has to be in order: a crash leaves
 * room at the end that nobody names, or the second copy behind the first.
 */
#include "base/bitmap.h"
#include "image/plan.h"
#include "vmdk/account.h"
#include "vmdk/cid.h"
#include "vmdk/free-sector.h"
#include "vmdk/table.h"
#include "vmdk/track.h"

static uint32_t directory_sectors(const struct vmdk_part *part)
{
	return (uint32_t)div_round_up(part->s.gd_entries << part->entry_bits,
				      VMDK_SECTOR_BYTES);
}

static size_t count_sectors(const struct vmdk *v)
{
	size_t count = 0;

	for (size_t i = 0; i < v->part_count; i++)
		count += v->parts[i].gd_dirty_count;
	return count;
}

/*
 * How much of the piece at @offset is table @number's: where others made the file,
 * something else may follow the last entry that the disk needs.
 */
static size_t piece_bytes(const struct vmdk_part *part, uint32_t number,
			  uint64_t offset)
{
	uint64_t table = 0;
	uint32_t entries = part->s.gt_entries;

	(void)vmdk_table_offset(part, vmdk_directory_entry(part, number),
				&table);
	if (table < part->old_end && part->s.kind != VMDK_KIND_SE)
		entries = vmdk_table_entries(part, number);
	return MIN(((uint64_t)entries << part->entry_bits) - (offset - table),
		   (uint64_t)VMDK_PIECE_BYTES);
}

static void add_table(struct vmdk *v, struct plan_draft *draft,
		      const struct metacache_block *block)
{
	struct vmdk_part *part = &v->parts[block->offset >> VMDK_FILE_BITS];
	uint32_t number = v->table_numbers[block - v->cache.blocks];
	uint64_t offset = block->offset - part->cache_base;
	size_t bytes = piece_bytes(part, number, offset);
	uint64_t second =
		part->rgd ? get_le32(part->rgd + (size_t)number * 4) : 0;

	plan_add_write(draft, part->store, offset, block->data, bytes);
	/* Tables of which there are two consist of one piece. */
	if (second)
		plan_add_write(draft, part->store, second << VMDK_SECTOR_BITS,
			       block->data, bytes);
}

static void add_tables(struct vmdk *v, struct plan_draft *draft)
{
	for (uint32_t i = 0; i < v->cache.writing_count; i++)
		add_table(v, draft, &v->cache.blocks[v->cache.writing[i]]);
	plan_add_barrier(draft, false);
}

/* The last sector may not be whole. */
static void add_sector(struct plan_draft *draft, const struct vmdk_part *part,
		       uint64_t offset, const uint8_t *directory, size_t sector)
{
	size_t at = sector * VMDK_SECTOR_BYTES;
	size_t bytes = MIN((part->s.gd_entries << part->entry_bits) - at,
			   (uint64_t)VMDK_SECTOR_BYTES);

	plan_add_write(draft, part->store, offset + at, directory + at, bytes);
}

static void add_directory(struct plan_draft *draft, struct vmdk_part *part)
{
	uint32_t sectors;
	size_t i;

	if (part->gd_dirty_count == 0)
		return;
	sectors = directory_sectors(part);
	for (i = bitmap_next_set(part->gd_dirty, sectors, 0); i < sectors;
	     i = bitmap_next_set(part->gd_dirty, sectors, i + 1)) {
		add_sector(draft, part, part->s.gd_offset, part->gd, i);
		if (part->rgd)
			add_sector(draft, part, part->s.rgd_offset, part->rgd,
				   i);
		bitmap_clear(part->gd_dirty, i);
		bitmap_set(part->gd_writing, i);
	}
	part->gd_dirty_count = 0;
}

static int init_draft(const struct vmdk *v, struct plan_draft *ret)
{
	size_t sectors = count_sectors(v);
	/* Each twice; the CID, and tracking; free sectors; three barriers. */
	size_t steps = 2 * (v->cache.dirty_count + sectors) + 4 +
		       VMDK_TRACK_STEPS + v->part_count;
	size_t bytes = 2 * ((size_t)v->cache.dirty_count * VMDK_PIECE_BYTES +
			    sectors * VMDK_SECTOR_BYTES) +
		       VMDK_CID_DIGITS + VMDK_TRACK_STEP_BYTES +
		       v->part_count * VMDK_FREE_SECTOR_BYTES;

	for (size_t i = 0; i < v->part_count; i++)
		if (v->parts[i].account)
			vmdk_account_measure(v->parts[i].account, &steps,
					     &bytes);
	return plan_draft_init(ret, steps, bytes);
}

/* Before a table names any of it. */
static void add_room(struct vmdk_part *part, struct plan_draft *draft)
{
	vmdk_free_sector_add(part, draft);
	if (part->account)
		vmdk_account_add(part, draft);
}

int vmdk_flush_begin(struct image *image, struct image_plan *ret_plan)
{
	struct vmdk *v = vmdk_of(image);
	struct plan_draft draft;
	int err;

	if (v->plan_out)
		return IMAGE_E_BUSY;
	err = init_draft(v, &draft);
	if (err)
		return err;
	v->plan_out = true;
	vmdk_cid_add(v, &draft);
	for (size_t i = 0; i < v->part_count; i++)
		add_room(&v->parts[i], &draft);
	plan_add_barrier(&draft, true);
	metacache_start_writing(&v->cache);
	add_tables(v, &draft);
	for (size_t i = 0; i < v->part_count; i++)
		add_directory(&draft, &v->parts[i]);
	plan_add_barrier(&draft, false);
	plan_take(&draft, ret_plan);
	return 0;
}

static void directory_written(struct vmdk_part *part, bool failed)
{
	uint32_t sectors;
	size_t i;

	if (!part->gd_writing)
		return;
	sectors = directory_sectors(part);
	for (i = bitmap_next_set(part->gd_writing, sectors, 0); i < sectors;
	     i = bitmap_next_set(part->gd_writing, sectors, i + 1)) {
		bitmap_clear(part->gd_writing, i);
		if (failed && !bitmap_test(part->gd_dirty, i)) {
			bitmap_set(part->gd_dirty, i);
			part->gd_dirty_count++;
		}
	}
}

void vmdk_flush_end(struct image *image, struct image_plan *plan, int result)
{
	struct vmdk *v = vmdk_of(image);

	v->plan_out = false;
	metacache_end_writing(&v->cache, result != 0);
	for (size_t i = 0; i < v->part_count; i++) {
		directory_written(&v->parts[i], result != 0);
		vmdk_free_sector_planned(&v->parts[i], result);
		if (v->parts[i].account)
			vmdk_account_planned(v->parts[i].account, result);
	}
	vmdk_cid_planned(v, result);
	plan_free(plan);
}

bool vmdk_is_dirty(struct image *image)
{
	const struct vmdk *v = vmdk_of(image);

	return v->cid.state == VMDK_CID_WANTED || v->cache.dirty_count ||
	       count_sectors(v);
}
