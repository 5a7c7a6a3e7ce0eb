/* SPDX-License-Identifier: Apache-2.0 */
#include "vmdk/test-disk.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/cmocka.h"
#include "vmdk/room.h"

enum {
	SECTOR = VMDK_SECTOR_BYTES,
	COWD_SECTORS = VMDK_COWD_GTES + 77,
};

uint8_t *test_disk_sector(struct test_disk *disk, uint64_t sector)
{
	assert_true(sector < disk->store->size_bytes / SECTOR);
	return (uint8_t *)store_memory_data(disk->store) + sector * SECTOR;
}

static bool is_cowd(struct test_disk *disk)
{
	return get_le32(test_disk_sector(disk, 0)) == VMDK_COWD_MAGIC;
}

static uint64_t directory_of(struct test_disk *disk, bool second)
{
	return is_cowd(disk) ? SMALL_COWD_GD : second ? SMALL_RGD : SMALL_GD;
}

/* --- Entries ------------------------------------------------------------ */

void test_disk_put_table(struct test_disk *disk, bool second, uint32_t index,
			 uint32_t entry)
{
	put_le32(test_disk_sector(disk, directory_of(disk, second)) +
			 (size_t)index * 4,
		 entry);
}

static uint8_t *entry_at(struct test_disk *disk, bool second, uint32_t grain)
{
	uint32_t entries = is_cowd(disk) ? VMDK_COWD_GTES : SMALL_GTES;
	uint32_t table =
		get_le32(test_disk_sector(disk, directory_of(disk, second)) +
			 (size_t)(grain / entries) * 4);

	return test_disk_sector(disk, table) + (size_t)(grain % entries) * 4;
}

uint32_t test_disk_get(struct test_disk *disk, bool second, uint32_t grain)
{
	return get_le32(entry_at(disk, second, grain));
}

void test_disk_put(struct test_disk *disk, bool second, uint32_t grain,
		   uint32_t entry)
{
	put_le32(entry_at(disk, second, grain), entry);
}

/* --- Building ----------------------------------------------------------- */

static void build_hosted(struct test_disk *disk)
{
	struct vmdk_wire_sparse header = {
		.magic = VMDK_SPARSE_MAGIC,
		.version = 1,
		.flags = VMDK_FLAG_REDUNDANT,
		.capacity = (SMALL_GTES + SMALL_GRAINS) * SMALL_GRAIN,
		.grain_size = SMALL_GRAIN,
		.gtes_per_gt = SMALL_GTES,
		.rgd_offset = SMALL_RGD,
		.gd_offset = SMALL_GD,
		.overhead = SMALL_OVERHEAD,
	};

	memcpy(test_disk_sector(disk, 0), &header, sizeof(header));
	for (uint32_t i = 0; i < 2; i++) {
		test_disk_put_table(disk, true, i, SMALL_RGD + 1 + i);
		test_disk_put_table(disk, false, i, SMALL_GD + 1 + i);
	}
}

static void build_cowd(struct test_disk *disk)
{
	struct vmdk_wire_cowd header = {
		.magic = VMDK_COWD_MAGIC,
		.version = 1,
		.flags = 3,
		.capacity = COWD_SECTORS,
		.grain_size = 1,
		.gd_offset = SMALL_COWD_GD,
		.gd_entries = 2,
		.next_free = SMALL_COWD_END,
	};

	memcpy(test_disk_sector(disk, 0), &header, sizeof(header));
	for (uint32_t i = 0; i < 2; i++)
		test_disk_put_table(disk, false, i,
				    SMALL_COWD_GD + 1 + i * SMALL_COWD_TABLE);
}

static void put_grains(struct test_disk *disk)
{
	uint32_t first = is_cowd(disk) ? SMALL_COWD_OVERHEAD : SMALL_OVERHEAD;
	uint32_t sectors = is_cowd(disk) ? 1 : SMALL_GRAIN;

	for (uint32_t i = 0; i < ARRAY_SIZE(disk->grains); i++) {
		uint32_t sector = first + i * sectors;

		test_disk_put(disk, false, disk->grains[i], sector);
		test_disk_put(disk, true, disk->grains[i], sector);
		memset(test_disk_sector(disk, sector), (int)('a' + i),
		       (size_t)sectors * SECTOR);
	}
}

void test_disk_init(struct test_disk *disk, bool cowd)
{
	*disk = (struct test_disk){
		.grains = {0, 1, cowd ? VMDK_COWD_GTES : SMALL_GTES},
	};
	assert_int_equal(
		store_new_memory((cowd ? SMALL_COWD_END : SMALL_END) * SECTOR,
				 &disk->store),
		0);
	if (cowd)
		build_cowd(disk);
	else
		build_hosted(disk);
	put_grains(disk);
}

/* --- Opening ------------------------------------------------------------ */

static void close_part(struct test_disk *disk)
{
	free(disk->part.gd);
	vmdk_room_deinit(&disk->part);
	disk->part = (struct vmdk_part){0};
}

void test_disk_open(struct test_disk *disk)
{
	struct vmdk_part *part = &disk->part;
	char *error = NULL;

	close_part(disk);
	*part = (struct vmdk_part){
		.kind = VMDK_PART_SPARSE,
		.writable = true,
		.store = disk->store,
		.file_bytes = disk->store->size_bytes,
		.entry_bits = 2,
	};
	if (vmdk_read_sparse(disk->store, VMDK_SPARSE, &part->s, &error))
		fail_msg("%s", error);
	part->grain_bits = (unsigned)__builtin_ctzll(part->s.grain_sectors) +
			   VMDK_SECTOR_BITS;
	part->gd = malloc(part->s.gd_entries * 4);
	assert_int_equal(store_read(disk->store, part->s.gd_offset, part->gd,
				    part->s.gd_entries * 4),
			 0);
	assert_int_equal(vmdk_room_init(part, true, true, NULL), 0);
}

void test_disk_deinit(struct test_disk *disk)
{
	close_part(disk);
	store_free(disk->store);
}

/* --- Findings ----------------------------------------------------------- */

void test_disk_say(void *opaque, const char *finding)
{
	struct test_disk *disk = opaque;

	assert_true(disk->said_count < TEST_DISK_SAYINGS);
	snprintf(disk->said[disk->said_count++], sizeof(disk->said[0]), "%s",
		 finding);
}

void test_disk_expect(struct test_disk *disk, unsigned count, const char *words)
{
	if (disk->said_count != count ||
	    (count && !strstr(disk->said[0], words)))
		fail_msg("%u things were said, not %u with \"%s\": \"%s\", "
			 "\"%s\"",
			 disk->said_count, count, words, disk->said[0],
			 disk->said[1]);
	memset(disk->said, 0, sizeof(disk->said));
	disk->said_count = 0;
}
