/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way to a grain: the directory in memory, a piece of a table in the cache,
 * and what an entry means. Nothing here changes a thing but the cache's mark
 * that a piece was used: lookups use it, too.
 */
#ifndef VMDK_TABLE_H
#define VMDK_TABLE_H

#include "vmdk/core.h"

enum vmdk_table_state {
	VMDK_TABLE_HERE,
	VMDK_TABLE_ABSENT,  /* no grain of it was ever written */
	VMDK_TABLE_AWAY,    /* to be read first */
	VMDK_TABLE_LOADING, /* somebody is at it */
	VMDK_TABLE_CORRUPT,
};

/* What is known of the entries from one grain on. */
struct vmdk_table {
	uint32_t count;		       /* of entries that are seen at once */
	uint64_t offset;	       /* of the piece, in its file */
	uint32_t bytes;		       /* of the piece */
	struct metacache_block *block; /* HERE */
	uint32_t index;		       /* HERE: of the first entry, in it */
};

enum vmdk_table_state vmdk_table_find(struct vmdk *v,
				      const struct vmdk_part *part,
				      uint64_t grain, struct vmdk_table *ret);

/*
 * Where the table begins that a directory's @entry, which is not 0, names. False:
 * there can be none.
 */
bool vmdk_table_offset(const struct vmdk_part *part, uint64_t entry,
		       uint64_t *ret_offset);

/* What a directory's entry says: 0 is none. */
uint64_t vmdk_directory_entry(const struct vmdk_part *part, uint64_t index);

/* Of table @index: the last one may be shorter than the others. */
static inline uint32_t vmdk_table_entries(const struct vmdk_part *part,
					  uint64_t index)
{
	uint64_t grains =
		div_round_up(part->s.capacity_sectors, part->s.grain_sectors);

	return (uint32_t)MIN(grains - index * part->s.gt_entries,
			     (uint64_t)part->s.gt_entries);
}

/* Entry @index of a directory or a table of @part, as it lies in its file. */
static inline uint64_t vmdk_entry(const struct vmdk_part *part,
				  const uint8_t *from, uint64_t index)
{
	const uint8_t *data = from + (index << part->entry_bits);

	return part->entry_bits == 3 ? get_le64(data) : get_le32(data);
}

static inline void vmdk_entry_put(const struct vmdk_part *part, uint8_t *to,
				  uint64_t index, uint64_t entry)
{
	uint8_t *data = to + (index << part->entry_bits);

	if (part->entry_bits == 3)
		put_le64(data, entry);
	else
		put_le32(data, (uint32_t)entry);
}

static inline uint64_t vmdk_table_entry(const struct vmdk_part *part,
					const struct vmdk_table *table,
					uint32_t at)
{
	return vmdk_entry(part, table->block->data, table->index + at);
}

/* SE: a grain's number is turned by twelve bits. */
static inline uint64_t vmdk_se_number(uint64_t entry)
{
	return (entry >> 48 & 0xfff) | (entry & UINT64_C(0xffffffffffff)) << 12;
}

/* SE: the byte of the file at which a grain of its room begins; and back. */
static inline uint64_t vmdk_se_place(const struct vmdk_part *part,
				     uint64_t number)
{
	return part->s.grains_offset + (number << part->grain_bits);
}

static inline uint64_t vmdk_se_grain(const struct vmdk_part *part,
				     uint64_t place)
{
	return (place - part->s.grains_offset) >> part->grain_bits;
}

/* The entry of a grain at byte @offset of its file, and of one of zeroes. */
uint64_t vmdk_data_entry(const struct vmdk_part *part, uint64_t offset);
static inline uint64_t vmdk_zero_entry(const struct vmdk_part *part)
{
	return part->s.kind == VMDK_KIND_SE
		       ? (uint64_t)VMDK_SE_ZEROES << VMDK_SE_KIND_SHIFT
		       : VMDK_GTE_ZEROES;
}

enum vmdk_grain_kind {
	VMDK_GRAIN_ABSENT,
	VMDK_GRAIN_ZEROES,
	VMDK_GRAIN_DATA,
	VMDK_GRAIN_CORRUPT,
};

/* *@ret_offset is where a grain of DATA begins in its file, and inside it. */
enum vmdk_grain_kind vmdk_grain_judge(const struct vmdk_part *part,
				      uint64_t entry, uint64_t *ret_offset);

#endif
