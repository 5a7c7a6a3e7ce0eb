/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An empty sparse extent, as VMware lays it out:
 *
 *	header | descriptor | second directory and tables | directory and tables
 *
 * All tables are there from the beginning, empty, in both copies.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "image/store.h"
#include "vmdk/create.h"

/* In sectors. */
struct layout {
	uint64_t capacity;
	uint64_t tables;
	uint64_t directory; /* length */
	uint64_t second;    /* where the second one lies */
	uint64_t first;
	uint64_t overhead;
};

static struct layout lay_out(uint64_t sectors)
{
	struct layout l = {.capacity = sectors};

	l.tables = div_round_up(sectors,
				(uint64_t)VMDK_GRAIN_SECTORS * VMDK_MAX_GTES);
	l.directory = div_round_up(l.tables * 4, VMDK_SECTOR_BYTES);
	l.second = 1 + VMDK_DESCRIPTOR_SECTORS;
	l.first = l.second + l.directory + l.tables * VMDK_TABLE_SECTORS;
	l.overhead =
		align_up(l.first + l.directory + l.tables * VMDK_TABLE_SECTORS,
			 (uint64_t)VMDK_GRAIN_SECTORS);
	return l;
}

/* Entries of a directory at sector @at, whose tables follow it. */
static int write_directory(struct store *store, const struct layout *l,
			   uint64_t at)
{
	size_t bytes = l->directory * VMDK_SECTOR_BYTES;
	uint8_t *directory = calloc(1, MAX(bytes, (size_t)1));
	int err;

	if (!directory)
		return -ENOMEM;
	for (uint64_t i = 0; i < l->tables; i++)
		put_le32(directory + i * 4, (uint32_t)(at + l->directory +
						       i * VMDK_TABLE_SECTORS));
	err = store_write(store, at << VMDK_SECTOR_BITS, directory, bytes);
	free(directory);
	return err;
}

static uint32_t version(const struct vmdk_subformat *f, bool zero_grains)
{
	if (f->stream)
		return 3;
	return zero_grains ? 2 : 1;
}

static int write_header(struct store *store, const struct layout *l,
			const struct vmdk_subformat *f, bool zero_grains)
{
	struct vmdk_wire_sparse header = {
		.magic = VMDK_SPARSE_MAGIC,
		.version = version(f, zero_grains),
		.flags = VMDK_FLAG_LINE_ENDS | VMDK_FLAG_REDUNDANT |
			 (zero_grains ? VMDK_FLAG_ZERO_GRAINS : 0) |
			 (f->stream ? VMDK_FLAG_COMPRESSED | VMDK_FLAG_MARKERS
				    : 0),
		.capacity = l->capacity,
		.grain_size = VMDK_GRAIN_SECTORS,
		.descriptor_offset = 1,
		.descriptor_size = VMDK_DESCRIPTOR_SECTORS,
		.gtes_per_gt = VMDK_MAX_GTES,
		.rgd_offset = l->second,
		.gd_offset = l->first,
		.overhead = l->overhead,
		.compression = f->stream ? VMDK_COMPRESSION_DEFLATE
					 : VMDK_COMPRESSION_NONE,
	};

	memcpy(header.line_ends, VMDK_LINE_ENDS, sizeof(header.line_ends));
	return store_write(store, 0, &header, sizeof(header));
}

/* The header comes last: without it this is no extent. */
int vmdk_make_sparse(struct store *store, const struct vmdk_subformat *format,
		     bool zero_grains, uint64_t sectors, const char *descriptor,
		     size_t descriptor_bytes)
{
	struct layout l = lay_out(sectors);
	int err = 0;

	if (store->can_grow)
		err = store_resize(store, 0);
	if (err == 0 && store->can_grow)
		err = store_resize(store, l.overhead << VMDK_SECTOR_BITS);
	else if (err == 0)
		err = store_zero(store, 0, l.overhead << VMDK_SECTOR_BITS);
	if (err == 0)
		err = write_directory(store, &l, l.second);
	if (err == 0)
		err = write_directory(store, &l, l.first);
	if (err == 0 && descriptor)
		err = store_write(store, VMDK_SECTOR_BYTES, descriptor,
				  descriptor_bytes);
	if (err == 0)
		err = store_flush(store);
	if (err == 0)
		err = write_header(store, &l, format, zero_grains);
	return err ? err : store_flush(store);
}
