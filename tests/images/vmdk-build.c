/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/images/vmdk-build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/bytes.h"
#include "tests/cmocka.h"
#include "vmdk/format.h"

enum {
	SECTOR = VMDK_SECTOR_BYTES,
	STREAM_GTES = 512,
	STREAM_OVERHEAD = 128, /* sectors */
	SE_GRAIN = VMDK_SE_GRAIN_SECTORS * SECTOR,
	SE_TABLE = VMDK_SE_TABLE_SECTORS * SECTOR,
};

static FILE *create(const char *name)
{
	FILE *file = fopen(name, "wb");

	assert_non_null(file);
	return file;
}

static void put(FILE *file, const void *data, size_t bytes)
{
	assert_int_equal(fwrite(data, 1, bytes, file), bytes);
}

static void put_zeroes(FILE *file, size_t bytes)
{
	while (bytes--)
		assert_true(fputc(0, file) != EOF);
}

/* To the next sector; which that is. */
static uint32_t pad(FILE *file)
{
	long at = ftell(file);

	put_zeroes(file, (size_t)(-at & (SECTOR - 1)));
	return (uint32_t)((at + SECTOR - 1) / SECTOR);
}

static void finish(FILE *file)
{
	assert_int_equal(fclose(file), 0);
}

static void put_marker(FILE *file, enum vmdk_marker type, uint64_t sectors)
{
	struct vmdk_wire_marker marker = {
		.value = htole64(sectors),
		.type = htole32((uint32_t)type),
	};

	put(file, &marker, sizeof(marker));
}

static struct vmdk_wire_sparse stream_header(uint64_t bytes, uint64_t gd)
{
	struct vmdk_wire_sparse header = {
		.magic = htole32(VMDK_SPARSE_MAGIC),
		.version = htole32(3),
		.flags = htole32(VMDK_FLAG_LINE_ENDS | VMDK_FLAG_COMPRESSED |
				 VMDK_FLAG_MARKERS),
		.capacity = htole64(bytes / SECTOR),
		.grain_size = htole64(VMDK_BUILD_GRAIN / SECTOR),
		.descriptor_offset = htole64(1),
		.descriptor_size = htole64(20),
		.gtes_per_gt = htole32(STREAM_GTES),
		.gd_offset = htole64(gd),
		.overhead = htole64(STREAM_OVERHEAD),
		.compression = htole16(VMDK_COMPRESSION_DEFLATE),
	};

	memcpy(header.line_ends, VMDK_LINE_ENDS, sizeof(header.line_ends));
	return header;
}

static void put_stream_head(FILE *file, const char *name, uint64_t bytes)
{
	struct vmdk_wire_sparse header = stream_header(bytes, VMDK_GD_AT_END);

	put(file, &header, sizeof(header));
	fprintf(file,
		"# Disk DescriptorFile\nversion=1\nCID=c0ffee00\n"
		"parentCID=ffffffff\ncreateType=\"streamOptimized\"\n"
		"RW %llu SPARSE \"%s\"\n",
		(unsigned long long)(bytes / SECTOR), name);
	put_zeroes(file, (size_t)(STREAM_OVERHEAD * SECTOR - ftell(file)));
}

/* The last grain ends with the disk. */
static uint32_t put_grain(FILE *file, const uint8_t *data, uint64_t offset,
			  uint64_t bytes)
{
	uint32_t sector = pad(file);
	uLongf length = compressBound((uLong)bytes);
	uint8_t *stream = malloc(length);
	uint8_t marker[VMDK_GRAIN_MARKER_BYTES];

	assert_int_equal(compress(stream, &length, data + offset, (uLong)bytes),
			 Z_OK);
	put_le64(marker, offset / SECTOR);
	put_le32(marker + 8, (uint32_t)length);
	put(file, marker, sizeof(marker));
	put(file, stream, length);
	(void)pad(file);
	free(stream);
	return sector;
}

void vmdk_build_stream(const char *name, const uint8_t *data, uint64_t bytes)
{
	uint64_t grains = div_round_up(bytes, VMDK_BUILD_GRAIN);
	uint64_t tables = div_round_up(grains, STREAM_GTES);
	uint32_t *directory = calloc(tables + SECTOR, 4);
	struct vmdk_wire_sparse footer;
	FILE *file = create(name);

	put_stream_head(file, name, bytes);
	for (uint64_t t = 0; t < tables; t++) {
		uint32_t table[STREAM_GTES] = {0};
		uint64_t first = t * STREAM_GTES;

		for (uint64_t g = first; g < MIN(first + STREAM_GTES, grains);
		     g++) {
			uint64_t at = g * VMDK_BUILD_GRAIN;
			uint64_t length =
				MIN(bytes - at, (uint64_t)VMDK_BUILD_GRAIN);

			if (!bytes_are_zero(data + at, length))
				table[g - first] = htole32(
					put_grain(file, data, at, length));
		}
		put_marker(file, VMDK_MARKER_GRAIN_TABLE,
			   sizeof(table) / SECTOR);
		directory[t] = htole32(pad(file));
		put(file, table, sizeof(table));
	}
	put_marker(file, VMDK_MARKER_GRAIN_DIRECTORY,
		   div_round_up(tables * 4, SECTOR));
	footer = stream_header(bytes, pad(file));
	put(file, directory, tables * 4);
	(void)pad(file);
	put_marker(file, VMDK_MARKER_FOOTER, 1);
	put(file, &footer, sizeof(footer));
	put_marker(file, VMDK_MARKER_END, 0);
	finish(file);
	free(directory);
}

void vmdk_build_cowd(const char *name, const uint8_t *data, uint64_t bytes)
{
	uint32_t sectors = (uint32_t)(bytes / SECTOR);
	uint32_t tables = (uint32_t)div_round_up(sectors, VMDK_COWD_GTES);
	uint32_t gd_sectors = (uint32_t)div_round_up(tables * 4, SECTOR);
	uint32_t next = 4 + gd_sectors;
	uint32_t *directory = calloc(gd_sectors, SECTOR);
	struct vmdk_wire_cowd header = {
		.magic = htole32(VMDK_COWD_MAGIC),
		.version = htole32(1),
		.flags = htole32(3),
		.capacity = htole32(sectors),
		.grain_size = htole32(1),
		.gd_offset = htole32(4),
		.gd_entries = htole32(tables),
	};
	FILE *file = create(name);

	put(file, &header, sizeof(header));
	put_zeroes(file, gd_sectors * SECTOR);
	/* Each table, then its grains; tables without grains are not there. */
	for (uint32_t t = 0; t < tables; t++) {
		uint32_t table[VMDK_COWD_GTES] = {0};
		uint32_t first = t * VMDK_COWD_GTES;
		uint32_t end = MIN(first + VMDK_COWD_GTES, sectors);
		uint32_t at = next + sizeof(table) / SECTOR;

		for (uint32_t s = first; s < end; s++)
			if (!bytes_are_zero(data + (size_t)s * SECTOR, SECTOR))
				table[s - first] = htole32(at++);
		if (at == next + sizeof(table) / SECTOR)
			continue;
		directory[t] = htole32(next);
		put(file, table, sizeof(table));
		for (uint32_t s = first; s < end; s++)
			if (table[s - first])
				put(file, data + (size_t)s * SECTOR, SECTOR);
		next = at;
	}
	header.next_free = htole32(next);
	rewind(file);
	put(file, &header, sizeof(header));
	put(file, directory, gd_sectors * SECTOR);
	finish(file);
	free(directory);
}

/* In the order of the grains' numbers, which are turned by twelve bits. */
static uint64_t se_entry(uint64_t number)
{
	return (uint64_t)VMDK_SE_DATA << VMDK_SE_KIND_SHIFT |
	       (number & 0xfff) << 48 | number >> 12;
}

static void put_se_headers(FILE *file, uint64_t bytes, uint64_t tables,
			   uint64_t grains_at)
{
	struct vmdk_wire_se header = {
		.magic = htole64(VMDK_SE_MAGIC),
		.version = htole64(VMDK_SE_VERSION),
		.capacity = htole64(bytes / SECTOR),
		.grain_size = htole64(VMDK_SE_GRAIN_SECTORS),
		.grain_table_size = htole64(VMDK_SE_TABLE_SECTORS),
		.state = {htole64(1), htole64(1)},
		.grain_directory = {htole64(8), htole64(8)},
		.grain_tables = {htole64(16),
				 htole64(tables * VMDK_SE_TABLE_SECTORS)},
		.grains = {htole64(grains_at), htole64(1)},
	};
	struct vmdk_wire_se_state state = {
		.magic = htole64(VMDK_SE_STATE_MAGIC),
	};

	put(file, &header, sizeof(header));
	put(file, &state, sizeof(state));
	put_zeroes(file, 6 * SECTOR);
}

/* What @grain's entry says; @next is the next free number. */
static uint64_t se_grain(const uint8_t *grain, uint64_t length, uint64_t *next)
{
	if (*grain == 0xee)
		return (uint64_t)VMDK_SE_ZEROES << VMDK_SE_KIND_SHIFT;
	if (*grain == 0xdd)
		return (uint64_t)VMDK_SE_UNMAPPED << VMDK_SE_KIND_SHIFT;
	return bytes_are_zero(grain, length) ? 0 : se_entry((*next)++);
}

void vmdk_build_se(const char *name, const uint8_t *data, uint64_t bytes)
{
	uint64_t grains = div_round_up(bytes, SE_GRAIN);
	uint64_t tables = div_round_up(grains, VMDK_SE_GTES);
	uint64_t grains_at = 16 + tables * VMDK_SE_TABLE_SECTORS;
	uint64_t *entries = calloc(tables, SE_TABLE), *directory;
	uint64_t next = 0;
	FILE *file = create(name);

	assert_true(tables <= 512);
	directory = calloc(512, 8);
	put_se_headers(file, bytes, tables, grains_at);
	/* Tables in reverse, as they could be. */
	for (uint64_t t = 0; t < tables; t++)
		directory[t] =
			htole64((uint64_t)VMDK_SE_TABLE << VMDK_SE_KIND_SHIFT |
				(tables - 1 - t));
	put(file, directory, 512 * 8);
	for (uint64_t g = 0; g < grains; g++) {
		uint64_t at = g * SE_GRAIN;
		uint64_t table = tables - 1 - g / VMDK_SE_GTES;

		entries[table * VMDK_SE_GTES + g % VMDK_SE_GTES] = htole64(
			se_grain(data + at, MIN(bytes - at, (uint64_t)SE_GRAIN),
				 &next));
	}
	put(file, entries, tables * SE_TABLE);
	for (uint64_t g = 0; g < grains; g++) {
		uint64_t at = g * SE_GRAIN, number = 0;
		uint64_t length = MIN(bytes - at, (uint64_t)SE_GRAIN);

		if (!se_grain(data + at, length, &number) || number == 0)
			continue;
		put(file, data + at, length);
		put_zeroes(file, SE_GRAIN - length);
	}
	finish(file);
	free(directory);
	free(entries);
}

void vmdk_build_descriptor(const char *name, const char *create_type,
			   const char *parent, const char *lines)
{
	FILE *file = create(name);

	fprintf(file,
		"# Disk DescriptorFile\nversion=1\nCID=12345678\n"
		"parentCID=%s\ncreateType=\"%s\"\n%s"
		"\n# Extent description\n%s\nddb.adapterType = \"ide\"\n",
		parent, create_type,
		strcmp(parent, "ffffffff") == 0
			? ""
			: "parentFileNameHint=\"base.vmdk\"\n",
		lines);
	finish(file);
}
