/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For unit tests: a sparse extent in memory, byte by byte, as an image would have
 * opened it to be checked, and what is said of it. Each kind has two tables and
 * three grains: numbers 0 and 1, and the first of the second table.
 */
#ifndef VMDK_TEST_DISK_H
#define VMDK_TEST_DISK_H

#include "vmdk/core.h"

enum {
	TEST_DISK_SAYINGS = 16,

	/* Sectors of the hosted kind. */
	SMALL_GRAIN = 8,
	SMALL_GTES = 16,
	SMALL_RGD = 1, /* and its tables */
	SMALL_GD = 4,
	SMALL_OVERHEAD = 8,
	SMALL_GRAINS = 13, /* in the second table */
	SMALL_END = SMALL_OVERHEAD + 3 * SMALL_GRAIN,

	/* Of COWD: both tables, then the grains. */
	SMALL_COWD_GD = 4,
	SMALL_COWD_TABLE = 32,
	SMALL_COWD_OVERHEAD = SMALL_COWD_GD + 1 + 2 * SMALL_COWD_TABLE,
	SMALL_COWD_END = SMALL_COWD_OVERHEAD + 3,
};

struct test_disk {
	struct store *store;
	struct vmdk_part part;
	uint32_t grains[3]; /* their numbers */
	char said[TEST_DISK_SAYINGS][256];
	unsigned said_count;
};

/* Sound, and not open. */
void test_disk_init(struct test_disk *disk, bool cowd);
void test_disk_deinit(struct test_disk *disk);

/* Opens it for repairs; again, after its bytes were changed. */
void test_disk_open(struct test_disk *disk);

/* 32 bits of a directory or of a table, by the copy, and a sector's first byte. */
uint32_t test_disk_get(struct test_disk *disk, bool second, uint32_t grain);
void test_disk_put(struct test_disk *disk, bool second, uint32_t grain,
		   uint32_t entry);
void test_disk_put_table(struct test_disk *disk, bool second, uint32_t index,
			 uint32_t entry);
uint8_t *test_disk_sector(struct test_disk *disk, uint64_t sector);

/* For whoever tells of findings: @opaque is the disk. */
void test_disk_say(void *opaque, const char *finding);

/* Fails unless so many things were said, the first one with @words; forgets it. */
void test_disk_expect(struct test_disk *disk, unsigned count,
		      const char *words);

#endif
