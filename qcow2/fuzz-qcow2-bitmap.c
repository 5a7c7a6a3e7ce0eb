/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bitmap directory and the tables of bitmaps: the input is what lies in a
 * sound image where these belong. The header's count and length are right for
 * it, so that every byte is looked at.
 *
 * The first byte says how many bitmaps the header claims, the second how many
 * clusters of the input are tables and bits; the rest is the directory, from
 * cluster DIRECTORY on, with those clusters behind it.
 */
#include <stdlib.h>

#include "base/bytes.h"
#include "image/manage.h"
#include "image/open.h"
#include "image/sync-io.h"
#include "qcow2/create.h"
#include "qcow2/format.h"
#include "qcow2/qcow2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	CLUSTER = 512,
	DISK = 128 << 10,
	TABLES = 64, /* the cluster that tables and bits begin in */
	MAX_TABLES = 16,
	DIRECTORY = TABLES + MAX_TABLES,
	MAX_DIRECTORY = 16 * CLUSTER,
	FILE_BYTES = DIRECTORY * CLUSTER + MAX_DIRECTORY,
	CAPACITY = 4 << 20,
};

static const struct qcow2_create_options how = {
	.size_bytes = DISK,
	.cluster_bytes = CLUSTER,
};

/* The extension goes where the feature names are, behind the header. */
static void put_extension(uint8_t *file, unsigned count, size_t directory)
{
	struct qcow2_wire_header *header = (struct qcow2_wire_header *)file;
	uint8_t *at = file + be32toh(header->header_length);

	header->autoclear_features = htobe64(QCOW2_AUTOCLEAR_BITMAPS);
	put_be32(at, QCOW2_EXT_BITMAPS);
	put_be32(at + 4, sizeof(struct qcow2_wire_bitmaps));
	put_be32(at + 8, count);
	put_be32(at + 12, 0);
	put_be64(at + 16, directory);
	put_be64(at + 24, DIRECTORY * CLUSTER);
	put_be64(at + 32, 0);
}

static struct store *make(const uint8_t *data, size_t size, unsigned count,
			  size_t tables)
{
	struct store *store;
	uint8_t *file;

	if (store_new_bounded(0, CAPACITY, &store) ||
	    qcow2_create(store, &how, NULL) || store_resize(store, FILE_BYTES))
		abort();
	file = store_memory_data(store);
	memcpy(file + TABLES * CLUSTER, data, tables);
	memcpy(file + DIRECTORY * CLUSTER, data + tables, size - tables);
	put_extension(file, count, size - tables);
	return store;
}

static void change(struct image *image, const struct image_bitmap *bitmap)
{
	struct image_bitmap_change change = {.name = bitmap->name};
	uint64_t offset = 0, length = 0;

	(void)image_bitmap_next(image, bitmap->name, 0, &offset, &length);
	(void)image_bitmap_set(image, bitmap->name, DISK / 2, 1);
	change.action =
		bitmap->enabled ? IMAGE_BITMAP_DISABLE : IMAGE_BITMAP_ENABLE;
	(void)image_bitmap_change(image, &change);
	change.action = IMAGE_BITMAP_MERGE;
	change.source_name = bitmap->name;
	(void)image_bitmap_change(image, &change);
	change.action = IMAGE_BITMAP_REMOVE;
	if (bitmap->granularity_bytes & 0x5555)
		(void)image_bitmap_change(image, &change);
}

static void run(struct store *store, bool read_only)
{
	const struct image_open_options options = {.read_only = read_only,
						   .cache_bytes = 1};
	struct image_bitmaps list = {0};
	struct image *image;

	store->read_only = read_only;
	if (qcow2_format.open(store, &options, &image, NULL)) {
		store_free(store);
		return;
	}
	if (!read_only)
		(void)sync_io_write(image, 1000, "x", 1);
	if (image_bitmap_list(image, &list) == 0)
		for (size_t i = 0; i < list.count && i < 8; i++)
			change(image, &list.all[i]);
	image_bitmaps_deinit(&list);
	if (!read_only)
		(void)image_resize(image, 2 * DISK, IMAGE_PREALLOCATION_OFF);
	image_close(image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t tables;

	if (size < 2)
		return 0;
	tables = data[1] % (MAX_TABLES + 1) * CLUSTER;
	size -= 2;
	if (size <= tables || size - tables > MAX_DIRECTORY)
		return 0;
	run(make(data + 2, size, data[0], tables), true);
	run(make(data + 2, size, data[0], tables), false);
	return 0;
}
