/* SPDX-License-Identifier: Apache-2.0 */
#include "vmdk/stream-out.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "image/store.h"

static int put(struct vmdk_stream_out *out, const void *data, size_t bytes)
{
	int err = store_write(out->store, out->at, data, bytes);

	if (err == 0)
		out->at += bytes;
	return err;
}

/* Of what comes next; 0 is nowhere, so no place is. -EFBIG. */
static int place(const struct vmdk_stream_out *out, uint32_t *ret)
{
	uint64_t sector = out->at >> VMDK_SECTOR_BITS;

	if (sector > UINT32_MAX)
		return -EFBIG;
	*ret = (uint32_t)sector;
	return 0;
}

static struct vmdk_wire_sparse header(const struct vmdk_stream_out *out,
				      uint64_t directory)
{
	struct vmdk_wire_sparse h = {
		.magic = VMDK_SPARSE_MAGIC,
		.version = 3,
		.flags = VMDK_FLAG_LINE_ENDS | VMDK_FLAG_COMPRESSED |
			 VMDK_FLAG_MARKERS,
		.capacity = out->sectors,
		.grain_size = VMDK_GRAIN_SECTORS,
		.descriptor_offset = 1,
		.descriptor_size = VMDK_DESCRIPTOR_SECTORS,
		.gtes_per_gt = VMDK_MAX_GTES,
		.gd_offset = directory,
		.overhead = VMDK_GRAIN_SECTORS,
		.compression = VMDK_COMPRESSION_DEFLATE,
	};

	memcpy(h.line_ends, VMDK_LINE_ENDS, sizeof(h.line_ends));
	return h;
}

int vmdk_stream_out_begin(struct vmdk_stream_out *out, struct store *store,
			  uint64_t sectors, const char *descriptor,
			  size_t descriptor_bytes)
{
	uint64_t tables = div_round_up(sectors, (uint64_t)VMDK_GRAIN_SECTORS *
							VMDK_MAX_GTES);
	uint8_t *head = calloc(1, VMDK_GRAIN_BYTES);
	struct vmdk_wire_sparse h;
	int err;

	*out = (struct vmdk_stream_out){
		.store = store,
		.sectors = sectors,
		.directory_sectors =
			div_round_up(tables * 4, VMDK_SECTOR_BYTES),
	};
	out->directory = calloc(out->directory_sectors, VMDK_SECTOR_BYTES);
	if (!head || !out->directory) {
		free(head);
		return -ENOMEM;
	}
	h = header(out, VMDK_GD_AT_END);
	memcpy(head, &h, sizeof(h));
	memcpy(head + VMDK_SECTOR_BYTES, descriptor,
	       MIN(descriptor_bytes, (size_t)VMDK_DESCRIPTOR_ROOM));
	err = put(out, head, VMDK_GRAIN_BYTES);
	free(head);
	return err;
}

/* A marker of @sectors that follow it. */
static int put_marker(struct vmdk_stream_out *out, enum vmdk_marker type,
		      uint64_t sectors)
{
	const struct vmdk_wire_marker marker = {
		.value = sectors,
		.type = type,
	};

	return put(out, &marker, sizeof(marker));
}

/* Nothing if there is none. */
static int put_table(struct vmdk_stream_out *out)
{
	uint32_t sector = 0;
	int err;

	if (!out->has_table)
		return 0;
	err = put_marker(out, VMDK_MARKER_GRAIN_TABLE, VMDK_TABLE_SECTORS);
	if (err == 0)
		err = place(out, &sector);
	if (err == 0)
		err = put(out, out->table, sizeof(out->table));
	if (err)
		return err;
	put_le32(out->directory + out->table_index * 4, sector);
	memset(out->table, 0, sizeof(out->table));
	out->has_table = false;
	return 0;
}

int vmdk_stream_out_grain(struct vmdk_stream_out *out, uint64_t grain,
			  uint8_t *packed, uint32_t bytes)
{
	uint64_t used = VMDK_GRAIN_MARKER_BYTES + bytes;
	uint64_t whole = align_up(used, (uint64_t)VMDK_SECTOR_BYTES);
	uint32_t sector = 0;
	int err = 0;

	if (grain / VMDK_MAX_GTES != out->table_index)
		err = put_table(out);
	if (err == 0)
		err = place(out, &sector);
	if (err)
		return err;
	put_le64(packed, grain * VMDK_GRAIN_SECTORS);
	put_le32(packed + offsetof(struct vmdk_wire_marker, size), bytes);
	memset(packed + used, 0, whole - used);
	err = put(out, packed, whole);
	if (err)
		return err;
	out->table_index = grain / VMDK_MAX_GTES;
	out->has_table = true;
	put_le32(out->table + grain % VMDK_MAX_GTES * 4, sector);
	return 0;
}

static int put_directory(struct vmdk_stream_out *out, uint32_t *ret_sector)
{
	int err = put_marker(out, VMDK_MARKER_GRAIN_DIRECTORY,
			     out->directory_sectors);

	if (err == 0)
		err = place(out, ret_sector);
	return err ? err
		   : put(out, out->directory,
			 out->directory_sectors << VMDK_SECTOR_BITS);
}

int vmdk_stream_out_end(struct vmdk_stream_out *out)
{
	struct vmdk_wire_footer footer = {
		.marker = {.value = 1, .type = VMDK_MARKER_FOOTER},
		.end = {.type = VMDK_MARKER_END},
	};
	uint32_t directory = 0;
	int err = put_table(out);

	if (err == 0)
		err = put_directory(out, &directory);
	if (err)
		return err;
	footer.header = header(out, directory);
	return put(out, &footer, sizeof(footer));
}

void vmdk_stream_out_deinit(struct vmdk_stream_out *out)
{
	free(out->directory);
	out->directory = NULL;
}
