/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole images: the input is a file, what every file that it names holds, and,
 * in its last bytes, requests. Opens, reads and changes, with no I/O but memory.
 */
#include <stdlib.h>

#include "base/bytes.h"
#include "image/manage.h"
#include "image/open.h"
#include "image/sync-io.h"
#include "vmdk/vmdk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	REQUESTS = 8,
	REQUEST_BYTES = 4, /* how, where (2), how much */
	TRAILER_BYTES = 4 + REQUESTS * REQUEST_BYTES,
	MAX_BYTES = 4 << 20,
	MAX_LENGTH = 256 << 10,
	MAX_FILES = 8,
	/* In a request's first byte; the first one's is of the opening, too. */
	CHANGES = 0x40,
	ZEROES = 0x20,
};

static void request(struct image *image, const uint8_t *how)
{
	static uint8_t buffer[MAX_LENGTH];
	uint64_t size = image->size_bytes;
	uint64_t where = get_le16(how + 1);
	uint64_t offset = how[0] & 0x80 ? (size >> 16) * where : where * 512;
	uint64_t length = (uint64_t)(how[3] + 1) << (how[0] & 15);

	length = MIN(length, (uint64_t)MAX_LENGTH);
	if (offset >= size)
		return;
	length = MIN(length, size - offset);
	if (!image->read_only && how[0] & CHANGES)
		(void)(how[0] & ZEROES
			       ? sync_io_zero(image, offset, length)
			       : sync_io_write(image, offset, buffer, length));
	else
		(void)sync_io_read(image, offset, buffer, length);
}

static struct store *new_file(const uint8_t *data, size_t size, bool read_only)
{
	struct store *store;

	if (store_new_memory(size, &store) != 0)
		abort();
	if (size)
		memcpy(store_memory_data(store), data, size);
	store->read_only = read_only;
	return store;
}

/* False: a file is none of its extent's. */
static bool attach_all(struct image *image, const uint8_t *data, size_t size)
{
	if (image->file_count > MAX_FILES)
		return false;
	for (size_t i = 0; i < image->file_count; i++) {
		struct store *store = new_file(data, size, image->read_only);
		char *error = NULL;
		int err = image_attach(image, i, store, &error);

		free(error);
		if (err == 0)
			continue;
		store_free(store);
		if (!image->files[i].optional)
			return false;
	}
	return true;
}

/* All runs of changed blocks. */
static void walk_changes(struct image *image)
{
	struct image_bitmaps list;
	uint64_t at = 0, length = 1;

	if (image_bitmap_list(image, &list) == 0)
		image_bitmaps_deinit(&list);
	while (at < image->size_bytes && length > 0 &&
	       image_bitmap_next(image, "changes", at, &at, &length) == 0) {
		if (length > image->size_bytes - at)
			abort();
		at += length;
	}
}

/* A repair makes the file hardly longer: what it moves was there. */
static void check(const uint8_t *data, size_t first, size_t size,
		  bool read_only)
{
	const struct image_open_options options = {
		.cache_bytes = 1,
		.check = true,
		.read_only = read_only,
	};
	struct store *store = new_file(data, first, read_only);
	struct image_check result;
	struct image *image;
	char *error = NULL;

	if (vmdk_format.open(store, &options, &image, &error) != 0) {
		store_free(store);
		free(error);
		return;
	}
	if (attach_all(image, data + first, size - first))
		(void)image_check(image,
				  read_only ? IMAGE_FIX_NONE : IMAGE_FIX_ALL,
				  NULL, NULL, &result);
	image_close(image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct image_open_options options = {.cache_bytes = 1};
	struct image *image = NULL;
	struct store *store;
	const uint8_t *trailer;
	char *error = NULL;
	size_t first;

	if (size < TRAILER_BYTES || size > MAX_BYTES)
		return 0;
	size -= TRAILER_BYTES;
	trailer = data + size;
	/* The rest is what all other files hold. */
	first = MIN((size_t)get_le32(trailer), size);
	options.read_only = !(trailer[4] & CHANGES);
	check(data, first, size, options.read_only);
	store = new_file(data, first, options.read_only);
	if (vmdk_format.open(store, &options, &image, &error) != 0) {
		store_free(store);
	} else {
		if (attach_all(image, data + first, size - first)) {
			for (int i = 0; i < REQUESTS; i++)
				request(image, trailer + 4 + i * REQUEST_BYTES);
			walk_changes(image);
		}
		image_close(image);
	}
	free(error);
	return 0;
}
