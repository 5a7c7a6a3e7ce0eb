/* SPDX-License-Identifier: Apache-2.0 */
#include "vmdk/table.h"

uint64_t vmdk_directory_entry(const struct vmdk_part *part, uint64_t index)
{
	return vmdk_entry(part, part->gd, index);
}

/* Where table @entry of a seSparse directory begins; false: it cannot be. */
static bool se_table(const struct vmdk_part *part, uint64_t entry,
		     uint64_t *ret_offset)
{
	uint64_t number = entry & UINT32_MAX;
	uint64_t bytes = VMDK_SE_TABLE_SECTORS * VMDK_SECTOR_BYTES;

	if (entry >> 32 != (uint64_t)VMDK_SE_TABLE << (VMDK_SE_KIND_SHIFT - 32))
		return false;
	*ret_offset = part->s.tables_offset + number * bytes;
	return number < part->s.tables_bytes / bytes;
}

bool vmdk_table_offset(const struct vmdk_part *part, uint64_t entry,
		       uint64_t *ret_offset)
{
	if (part->s.kind == VMDK_KIND_SE)
		return se_table(part, entry, ret_offset);
	*ret_offset = entry << VMDK_SECTOR_BITS;
	return true;
}

enum vmdk_table_state vmdk_table_find(struct vmdk *v,
				      const struct vmdk_part *part,
				      uint64_t grain, struct vmdk_table *ret)
{
	uint64_t directory = grain / part->s.gt_entries;
	uint32_t in_table = (uint32_t)(grain % part->s.gt_entries);
	uint32_t piece_entries = VMDK_PIECE_BYTES >> part->entry_bits;
	uint32_t first = in_table / piece_entries * piece_entries;
	uint32_t end = MIN(first + piece_entries, part->s.gt_entries);
	uint64_t entry = vmdk_directory_entry(part, directory);
	struct metacache_block *block;
	uint64_t offset;

	ret->count = part->s.gt_entries - in_table;
	if (entry == 0)
		return VMDK_TABLE_ABSENT;
	if (!vmdk_table_offset(part, entry, &offset))
		return VMDK_TABLE_CORRUPT;
	ret->count = end - in_table;
	ret->index = in_table - first;
	ret->offset = offset + ((uint64_t)first << part->entry_bits);
	ret->bytes = (end - first) << part->entry_bits;
	/* The last table may be shorter than the others: the rest is absent. */
	if (ret->offset >= part->file_bytes ||
	    ret->offset >= UINT64_C(1) << VMDK_FILE_BITS)
		return VMDK_TABLE_CORRUPT;
	block = metacache_find(&v->cache, part->cache_base + ret->offset);
	if (!block)
		return VMDK_TABLE_AWAY;
	if (block->loading)
		return VMDK_TABLE_LOADING;
	ret->block = block;
	return VMDK_TABLE_HERE;
}

uint64_t vmdk_data_entry(const struct vmdk_part *part, uint64_t offset)
{
	uint64_t number;

	if (part->s.kind != VMDK_KIND_SE)
		return offset >> VMDK_SECTOR_BITS;
	number = vmdk_se_grain(part, offset);
	return (uint64_t)VMDK_SE_DATA << VMDK_SE_KIND_SHIFT |
	       (number & 0xfff) << 48 | number >> 12;
}

static enum vmdk_grain_kind judge_se(const struct vmdk_part *part,
				     uint64_t entry, uint64_t *ret_offset)
{
	uint64_t number = vmdk_se_number(entry);

	switch (entry >> VMDK_SE_KIND_SHIFT) {
	case VMDK_SE_ABSENT:
		return entry ? VMDK_GRAIN_CORRUPT : VMDK_GRAIN_ABSENT;
	case VMDK_SE_UNMAPPED:
	case VMDK_SE_ZEROES:
		return VMDK_GRAIN_ZEROES;
	case VMDK_SE_DATA:
		break;
	default:
		return VMDK_GRAIN_CORRUPT;
	}
	if (number >= part->file_bytes >> part->grain_bits)
		return VMDK_GRAIN_CORRUPT;
	*ret_offset = vmdk_se_place(part, number);
	return *ret_offset < part->file_bytes ? VMDK_GRAIN_DATA
					      : VMDK_GRAIN_CORRUPT;
}

enum vmdk_grain_kind vmdk_grain_judge(const struct vmdk_part *part,
				      uint64_t entry, uint64_t *ret_offset)
{
	if (part->s.kind == VMDK_KIND_SE)
		return judge_se(part, entry, ret_offset);
	if (entry == VMDK_GTE_ABSENT)
		return VMDK_GRAIN_ABSENT;
	if (entry == VMDK_GTE_ZEROES && part->s.zero_grains)
		return VMDK_GRAIN_ZEROES;
	*ret_offset = entry << VMDK_SECTOR_BITS;
	if (*ret_offset >= part->file_bytes)
		return VMDK_GRAIN_CORRUPT;
	/* Streams have been seen whose metadata ends elsewhere. */
	if (part->s.compressed)
		return VMDK_GRAIN_DATA;
	if (*ret_offset < part->s.overhead_bytes)
		return VMDK_GRAIN_CORRUPT;
	/* Where the next grain goes, none may reach into. */
	if (part->end &&
	    *ret_offset + (UINT64_C(1) << part->grain_bits) > part->end)
		return VMDK_GRAIN_CORRUPT;
	return VMDK_GRAIN_DATA;
}
