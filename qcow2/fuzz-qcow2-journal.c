/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The input is what a journal's records say, of an image with data, zeroes and
 * holes in small clusters. Whatever that is, the image's structure stays whole:
 * a refusal changes nothing, and what was replayed has one owner per cluster.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "image/journal.h"
#include "image/open.h"
#include "image/sync-io.h"
#include "qcow2/create.h"
#include "qcow2/qcow2.h"
#include "tests/images/qcow2-walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	CAPACITY = 1 << 20,
	CLUSTER = 512,
	IMAGE_BYTES = 64 << 10,
	RECORDS = JOURNAL_MIN_RECORDS,
	AREA_BYTES = JOURNAL_HEAD_BYTES +
		     RECORDS * (int)sizeof(struct journal_record),
};

/* A sparse file of which only the first part is kept. */
struct file {
	struct store store;
	uint8_t data[CAPACITY];
};

static struct file made; /* once; each run begins with a copy */
static struct file file;

static int file_read(struct store *store, uint64_t offset, void *ret_data,
		     size_t length)
{
	struct file *f = container_of(store, struct file, store);
	uint64_t there = 0;

	if (offset < CAPACITY)
		there = MIN(CAPACITY - offset, (uint64_t)length);
	if (there)
		memcpy(ret_data, f->data + offset, there);
	memset((uint8_t *)ret_data + there, 0, length - there);
	return 0;
}

static int file_write(struct store *store, uint64_t offset, const void *data,
		      size_t length)
{
	struct file *f = container_of(store, struct file, store);

	if (!range_fits(offset, length, CAPACITY))
		return -ENOSPC;
	memcpy(f->data + offset, data, length);
	store->size_bytes = MAX(store->size_bytes, offset + length);
	return 0;
}

static int file_flush(struct store *store)
{
	return 0;
}

static int file_resize(struct store *store, uint64_t size_bytes)
{
	store->size_bytes = size_bytes;
	return 0;
}

static int file_zero(struct store *store, uint64_t offset, uint64_t length)
{
	struct file *f = container_of(store, struct file, store);

	if (offset < CAPACITY)
		memset(f->data + offset, 0, MIN(length, CAPACITY - offset));
	return 0;
}

static void file_free(struct store *store)
{
}

static const struct store_ops file_ops = {
	.read = file_read,
	.write = file_write,
	.flush = file_flush,
	.resize = file_resize,
	.punch = file_zero,
	.zero = file_zero,
	.free = file_free,
};

static struct image *open_file(struct file *f)
{
	const struct image_open_options options = {.cache_bytes = 1};
	struct image *image;
	char *error = NULL;

	if (qcow2_format.open(&f->store, &options, &image, &error) != 0)
		abort();
	return image;
}

/* Every second cluster of the first half has data, every eighth is zero. */
static void make_image(void)
{
	const struct qcow2_create_options options = {
		.size_bytes = IMAGE_BYTES,
		.cluster_bytes = CLUSTER,
	};
	uint8_t bytes[CLUSTER];
	struct image *image;
	char *error = NULL;

	made.store = (struct store){
		.ops = &file_ops,
		.name = "made",
		.fd = -1,
		.can_grow = true,
		.alignment = 1,
	};
	memset(bytes, 0x5a, sizeof(bytes));
	if (qcow2_create(&made.store, &options, &error) != 0)
		abort();
	image = open_file(&made);
	for (unsigned at = 0; at < IMAGE_BYTES / 2; at += 2 * CLUSTER)
		if (sync_io_write(image, at, bytes, CLUSTER) != 0)
			abort();
	for (unsigned at = 0; at < IMAGE_BYTES; at += 8 * CLUSTER)
		if (sync_io_zero(image, at, CLUSTER) != 0)
			abort();
	image_close(image);
}

static void write_journal(uint8_t *area, const uint8_t *data, size_t size)
{
	const struct journal_identity identity = {
		.size_bytes = IMAGE_BYTES,
		.cluster_bytes = CLUSTER,
		.instance = 1,
	};
	struct journal journal;

	memset(area, 0, AREA_BYTES);
	journal_start(&journal, area, AREA_BYTES, &identity);
	for (size_t at = 0; size - at >= 10 && journal_room(&journal); at += 10)
		journal_append(&journal, get_le16(data + at),
			       get_le64(data + at + 2), 0);
}

static void check_structure(void)
{
	struct qcow2_walk walk = {
		.data = file.data,
		.size_bytes = MIN(file.store.size_bytes, (uint64_t)CAPACITY),
	};

	if (qcow2_walk(&walk) != 0)
		abort();
	free(walk.uses);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static _Alignas(8) uint8_t area[AREA_BYTES];
	static uint8_t bytes[IMAGE_BYTES];
	struct image *image;

	if (!made.store.ops)
		make_image();
	file = made;
	write_journal(area, data, size);
	image = open_file(&file);
	if (image_journal_attach(image, area, AREA_BYTES) == 0) {
		(void)sync_io_read(image, 0, bytes, IMAGE_BYTES);
		(void)sync_io_write(image, IMAGE_BYTES / 2, bytes,
				    16 * CLUSTER);
		(void)image_journal_detach(image);
	} else if (memcmp(file.data, made.data, CAPACITY) != 0 &&
		   file.store.size_bytes <= CAPACITY) {
		abort();
	}
	image_close(image);
	check_structure();
	return 0;
}
