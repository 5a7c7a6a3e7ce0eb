/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/images/vmdk-crash-image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/cmocka.h"
#include "vmdk/descriptor.h"
#include "vmdk/format.h"

enum {
	SECTOR = VMDK_SECTOR_BYTES,

	/* Hosted. */
	GRAIN_SECTORS = 8,
	GTES = 16,
	TABLES = 3,
	SECTORS = GRAIN_SECTORS * GTES * (TABLES - 1) + 77,
	TABLE_SECTORS = 1,
	DESCRIPTOR_SECTORS = 2,
	SECOND = 1 + DESCRIPTOR_SECTORS,
	FIRST = SECOND + 1 + TABLES * TABLE_SECTORS,
	OVERHEAD = (FIRST + 1 + TABLES * TABLE_SECTORS + GRAIN_SECTORS - 1) /
		   GRAIN_SECTORS * GRAIN_SECTORS,

	/* COWD: grains are sectors. */
	COWD_SECTORS = VMDK_COWD_GTES + 77,
	COWD_TABLES = 2,
	COWD_DIRECTORY = sizeof(struct vmdk_wire_cowd) / SECTOR,
	COWD_OVERHEAD = COWD_DIRECTORY + 1,
	COWD_TABLE_SECTORS = VMDK_COWD_GTES * 4 / SECTOR,

	/* SE: one table, each thing in sectors of its own. */
	SE_GRAIN_SECTORS = VMDK_SE_GRAIN_SECTORS,
	SE_GRAINS = 50,
	SE_SECTORS = (SE_GRAINS - 1) * SE_GRAIN_SECTORS + 3,
	SE_STATE = 1,
	SE_DIRECTORY = 2,
	SE_BITS = 3,
	SE_BACK_MAP = 4,
	SE_TABLES = 8,
	SE_OVERHEAD = SE_TABLES + VMDK_SE_TABLE_SECTORS,
};

static_assert(OVERHEAD * SECTOR <= VMDK_CRASH_BYTES, "");

uint64_t vmdk_crash_sectors(const struct vmdk_crash_kind *kind)
{
	if (kind->se)
		return SE_SECTORS;
	return kind->cowd ? COWD_SECTORS : SECTORS;
}

uint64_t vmdk_crash_grain_sectors(const struct vmdk_crash_kind *kind)
{
	return kind->cowd ? 1 : GRAIN_SECTORS;
}

/* --- Empty disks -------------------------------------------------------- */

static size_t put_descriptor(uint8_t *at, const char *type, const char *extent)
{
	return (size_t)sprintf((char *)at,
			       VMDK_DESCRIPTOR_MAGIC
			       "\nversion=1\nCID=%08x\nparentCID=ffffffff\n"
			       "createType=\"%s\"\nRW %s\n",
			       VMDK_CRASH_CID, type, extent);
}

static void put_directory(uint8_t *image, unsigned at)
{
	for (unsigned i = 0; i < TABLES; i++)
		put_le32(image + at * SECTOR + i * 4,
			 at + 1 + i * TABLE_SECTORS);
}

static size_t build_hosted(const struct vmdk_crash_kind *kind, uint8_t *image)
{
	struct vmdk_wire_sparse header = {
		.magic = VMDK_SPARSE_MAGIC,
		.version = kind->zeroes ? 2 : 1,
		.flags = VMDK_FLAG_LINE_ENDS |
			 (kind->second ? VMDK_FLAG_REDUNDANT : 0) |
			 (kind->zeroes ? VMDK_FLAG_ZERO_GRAINS : 0),
		.capacity = SECTORS,
		.grain_size = GRAIN_SECTORS,
		.descriptor_offset = 1,
		.descriptor_size = DESCRIPTOR_SECTORS,
		.gtes_per_gt = GTES,
		.rgd_offset = kind->second ? SECOND : 0,
		.gd_offset = FIRST,
		.overhead = OVERHEAD,
	};
	char extent[64];

	memcpy(header.line_ends, VMDK_LINE_ENDS, 4);
	memcpy(image, &header, sizeof(header));
	snprintf(extent, sizeof(extent), "%d SPARSE \"x.vmdk\"", SECTORS);
	put_descriptor(image + SECTOR, "monolithicSparse", extent);
	if (kind->tables && kind->second)
		put_directory(image, SECOND);
	if (kind->tables)
		put_directory(image, FIRST);
	return OVERHEAD * SECTOR;
}

static size_t build_cowd(uint8_t *image)
{
	struct vmdk_wire_cowd header = {
		.magic = VMDK_COWD_MAGIC,
		.version = 1,
		.flags = 3,
		.capacity = COWD_SECTORS,
		.grain_size = 1,
		.gd_offset = COWD_DIRECTORY,
		.gd_entries = COWD_TABLES,
		.next_free = COWD_OVERHEAD,
	};

	memcpy(image, &header, sizeof(header));
	return COWD_OVERHEAD * SECTOR;
}

static size_t build_se(uint8_t *image)
{
	struct vmdk_wire_se header = {
		.magic = VMDK_SE_MAGIC,
		.version = VMDK_SE_VERSION,
		.capacity = SE_SECTORS,
		.grain_size = SE_GRAIN_SECTORS,
		.grain_table_size = VMDK_SE_TABLE_SECTORS,
		.state = {SE_STATE, 1},
		.grain_directory = {SE_DIRECTORY, 1},
		.grain_tables = {SE_TABLES, VMDK_SE_TABLE_SECTORS},
		.free_bitmap = {SE_BITS, 1},
		.back_map = {SE_BACK_MAP, 1},
		.grains = {SE_OVERHEAD, SE_GRAINS * SE_GRAIN_SECTORS},
	};
	struct vmdk_wire_se_state state = {.magic = VMDK_SE_STATE_MAGIC};

	memcpy(image, &header, sizeof(header));
	memcpy(image + SE_STATE * SECTOR, &state, sizeof(state));
	return SE_OVERHEAD * SECTOR;
}

unsigned vmdk_crash_build(const struct vmdk_crash_kind *kind,
			  uint8_t (*ret_files)[VMDK_CRASH_BYTES],
			  size_t *ret_bytes)
{
	char extent[128];

	memset(ret_files[0], 0, VMDK_CRASH_BYTES);
	if (!kind->cowd && !kind->se) {
		ret_bytes[0] = build_hosted(kind, ret_files[0]);
		return 1;
	}
	memset(ret_files[1], 0, VMDK_CRASH_BYTES);
	if (kind->se) {
		snprintf(extent, sizeof(extent),
			 "%d SESPARSE \"x-sesparse.vmdk\"\n" VMDK_SE_MARK,
			 SE_SECTORS);
		ret_bytes[0] = put_descriptor(ret_files[0], "seSparse", extent);
		ret_bytes[1] = build_se(ret_files[1]);
		return 2;
	}
	snprintf(extent, sizeof(extent), "%d VMFSSPARSE \"x-delta.vmdk\"",
		 COWD_SECTORS);
	ret_bytes[0] = put_descriptor(ret_files[0], "vmfsSparse", extent);
	ret_bytes[1] = build_cowd(ret_files[1]);
	return 2;
}

/* --- The walk ----------------------------------------------------------- */

struct walk {
	const struct vmdk_crash_kind *kind;
	const uint8_t *data;
	uint64_t room_sectors, overhead;
	size_t position;
	uint8_t *uses; /* of each room in the file */
	uint64_t rooms;
	uint64_t end; /* of all that is used, in sectors */
};

static void use(struct walk *w, uint64_t sector, uint64_t sectors)
{
	for (uint64_t at = sector / w->room_sectors;
	     at < div_round_up(sector + sectors, w->room_sectors); at++)
		if (at >= w->rooms)
			fail_msg("position %zu: sector %llu is outside of the "
				 "file",
				 w->position, (unsigned long long)sector);
		else if (at >= w->overhead / w->room_sectors && w->uses[at]++)
			fail_msg("position %zu: room %llu is used twice",
				 w->position, (unsigned long long)at);
	w->end = MAX(w->end, sector + sectors);
}

static void walk_table(struct walk *w, uint32_t sector, unsigned entries)
{
	for (unsigned i = 0; i < entries; i++) {
		uint32_t entry =
			get_le32(w->data + (uint64_t)sector * SECTOR + i * 4);

		if (entry == 0 || (entry == 1 && w->kind->zeroes))
			continue;
		if (entry < w->overhead || entry % w->room_sectors)
			fail_msg("position %zu: a grain at sector %u",
				 w->position, entry);
		use(w, entry, w->room_sectors);
	}
}

/* Both tables of a grain that was made later lie in one room. */
static void walk_hosted(struct walk *w)
{
	for (unsigned i = 0; i < TABLES; i++) {
		uint32_t first = get_le32(w->data + FIRST * SECTOR + i * 4);
		uint32_t second = get_le32(w->data + SECOND * SECTOR + i * 4);

		if (first) {
			use(w, first, 1);
			walk_table(w, first, GTES);
		}
		if (w->kind->second && first && second && !w->kind->tables &&
		    second != first + TABLE_SECTORS)
			fail_msg("the second table is elsewhere");
	}
}

/* What the header calls free must be so. */
static void walk_cowd(struct walk *w)
{
	uint32_t free_sector =
		get_le32(w->data + offsetof(struct vmdk_wire_cowd, next_free));

	for (unsigned i = 0; i < COWD_TABLES; i++) {
		uint32_t table =
			get_le32(w->data + COWD_DIRECTORY * SECTOR + i * 4);

		if (!table)
			continue;
		use(w, table, COWD_TABLE_SECTORS);
		walk_table(w, table, VMDK_COWD_GTES);
	}
	if (free_sector < w->end)
		fail_msg("position %zu: free from sector %u on, and used up to "
			 "%llu",
			 w->position, free_sector, (unsigned long long)w->end);
}

static unsigned se_bit(const struct walk *w, uint64_t grain)
{
	return w->data[SE_BITS * SECTOR + grain / 8] >> (grain % 8) & 1;
}

/* What a table names has its bit, and the back map leads to the entry. */
static void walk_se(struct walk *w)
{
	uint64_t table = get_le64(w->data + SE_DIRECTORY * SECTOR);
	uint64_t free_table = get_le64(w->data + SE_STATE * SECTOR + 8);

	if (table == 0)
		return;
	if (table != UINT64_C(1) << 60 || free_table != 1)
		fail_msg("position %zu: the table is 0x%llx, and %llu is free",
			 w->position, (unsigned long long)table,
			 (unsigned long long)free_table);
	for (uint64_t i = 0; i < VMDK_SE_GTES; i++) {
		uint64_t entry = get_le64(w->data + SE_TABLES * SECTOR + i * 8);
		uint64_t grain = entry >> 48 & 0xfff;

		if (entry >> 60 != VMDK_SE_DATA)
			continue;
		if (i >= SE_GRAINS || grain >= SE_GRAINS || entry << 16)
			fail_msg("position %zu: entry %llu is 0x%llx",
				 w->position, (unsigned long long)i,
				 (unsigned long long)entry);
		use(w, SE_OVERHEAD + grain * SE_GRAIN_SECTORS,
		    SE_GRAIN_SECTORS);
		if (!se_bit(w, grain) ||
		    get_le64(w->data + SE_BACK_MAP * SECTOR + grain * 8) != i)
			fail_msg("position %zu: grain %llu of the room is not "
				 "accounted for",
				 w->position, (unsigned long long)grain);
	}
}

static uint64_t overhead(const struct vmdk_crash_kind *kind)
{
	if (kind->se)
		return SE_OVERHEAD;
	return kind->cowd ? COWD_OVERHEAD : OVERHEAD;
}

void vmdk_crash_walk(const struct vmdk_crash_kind *kind, const uint8_t *data,
		     uint64_t bytes, size_t position)
{
	struct walk w = {
		.kind = kind,
		.data = data,
		.room_sectors = vmdk_crash_grain_sectors(kind),
		.overhead = overhead(kind),
		.position = position,
	};

	w.rooms = div_round_up(bytes, w.room_sectors * SECTOR) + 1;
	w.uses = calloc(w.rooms, 1);
	assert_non_null(w.uses);
	if (kind->se)
		walk_se(&w);
	else if (kind->cowd)
		walk_cowd(&w);
	else
		walk_hosted(&w);
	free(w.uses);
}
