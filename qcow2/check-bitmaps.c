/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "Bitmaps": the directory, the tables that it names and the clusters that
 * these name. Only looked at while the autoclear bit vouches for them; else
 * they are nobody's, and leak.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "qcow2/check.h"

enum {
	ENTRY_BYTES = 24, /* "Bitmap directory": what each entry has */
	AT_TABLE_OFFSET = 0,
	AT_TABLE_ENTRIES = 8,
	AT_NAME_BYTES = 18,
	AT_EXTRA_BYTES = 20,

	MAX_DIRECTORY_BYTES = 64 << 20,
	TABLE_PIECE = 512 << 10,
};

#define TABLE_RESERVED UINT64_C(0xff000000000001fe)
#define TABLE_ALL_ONES UINT64_C(1)

__attribute__((format(printf, 2, 3))) static int broken(struct qcow2_check *c,
							const char *format, ...)
{
	char text[160];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	c->bitmaps_broken = true;
	qcow2_check_corrupt(c, 1, false, "%s", text);
	return 0;
}

static int use(struct qcow2_check *c, uint64_t offset, uint64_t bytes,
	       enum qcow2_use use, bool *ret_good)
{
	bool conflict;
	int err;

	*ret_good = false;
	if (qcow2_in_cluster(c->q, offset) || offset == 0 ||
	    !qcow2_check_in_file(c, offset, bytes))
		return broken(c, "%s at %llu is not in the file or not aligned",
			      qcow2_use_name(use), (unsigned long long)offset);
	err = qcow2_check_use(c, offset, bytes, 1, use, &conflict);
	if (err)
		return err;
	if (conflict)
		return broken(c, "%s at %llu overlaps with something else",
			      qcow2_use_name(use), (unsigned long long)offset);
	*ret_good = true;
	return 0;
}

static int check_table_entry(struct qcow2_check *c, uint64_t entry)
{
	uint64_t offset = entry & QCOW2_OFFSET_MASK;
	bool good;

	if ((entry & TABLE_RESERVED) || (offset && (entry & TABLE_ALL_ONES)))
		return broken(c, "a bitmap's table has the entry 0x%llx",
			      (unsigned long long)entry);
	if (offset == 0)
		return 0;
	return use(c, offset, qcow2_cluster_bytes(c->q), QCOW2_USE_BITMAP,
		   &good);
}

static int check_table(struct qcow2_check *c, uint64_t offset, uint64_t bytes)
{
	uint8_t *piece = malloc(TABLE_PIECE);
	int err = piece ? 0 : -ENOMEM;

	while (bytes && err == 0) {
		uint64_t length = MIN(bytes, (uint64_t)TABLE_PIECE);

		err = qcow2_check_read(c, offset, piece, length);
		for (uint64_t at = 0; at < length && err == 0; at += 8)
			err = check_table_entry(c, get_be64(piece + at));
		offset += length;
		bytes -= length;
	}
	free(piece);
	return err == -EIO ? 0 : err;
}

/* The entries of @directory; each has its length in itself. */
static int check_directory(struct qcow2_check *c, const uint8_t *directory,
			   uint64_t bytes)
{
	uint64_t at = 0;
	int err = 0;

	for (uint32_t i = 0; i < c->q->header.bitmap_count && err == 0; i++) {
		const uint8_t *entry = directory + at;
		uint64_t length, table, table_bytes;
		bool good;

		if (bytes - at < ENTRY_BYTES)
			return broken(c, "the bitmap directory is cut off");
		length = ENTRY_BYTES +
			 (uint64_t)get_be16(entry + AT_NAME_BYTES) +
			 get_be32(entry + AT_EXTRA_BYTES);
		length = align_up(length, 8);
		if (length > bytes - at)
			return broken(c, "the bitmap directory is cut off");
		table = get_be64(entry + AT_TABLE_OFFSET);
		table_bytes = get_be32(entry + AT_TABLE_ENTRIES) * UINT64_C(8);
		at += length;
		if (table_bytes == 0)
			continue;
		err = use(c, table, table_bytes, QCOW2_USE_BITMAP_TABLE, &good);
		if (err == 0 && good)
			err = check_table(c, table, table_bytes);
	}
	return err;
}

int qcow2_check_bitmaps(struct qcow2_check *c)
{
	const struct qcow2_header *h = &c->q->header;
	uint64_t bytes = h->bitmap_directory_bytes;
	uint8_t *directory;
	bool good;
	int err;

	if (h->bitmap_count == 0 || !(h->autoclear & QCOW2_AUTOCLEAR_BITMAPS))
		return 0;
	if (bytes == 0 || bytes > MAX_DIRECTORY_BYTES)
		return broken(c, "the bitmap directory has %llu bytes",
			      (unsigned long long)bytes);
	err = use(c, h->bitmap_directory_offset, bytes,
		  QCOW2_USE_BITMAP_DIRECTORY, &good);
	if (err || !good)
		return err;
	directory = malloc(bytes);
	if (!directory)
		return -ENOMEM;
	err = qcow2_check_read(c, h->bitmap_directory_offset, directory, bytes);
	if (err == 0)
		err = check_directory(c, directory, bytes);
	free(directory);
	return err == -EIO ? 0 : err;
}
