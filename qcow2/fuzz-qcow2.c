/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole images: the input is a file and, in its last bytes, requests. Opens,
 * reads, writes, zeroes, discards and flushes, with no I/O but memory.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "image/open.h"
#include "qcow2/qcow2.h"
#include "qcow2/sync-io.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	REQUESTS = 8,
	REQUEST_BYTES = 4, /* what, where (2), how much */
	TRAILER_BYTES = REQUESTS * REQUEST_BYTES,
	/* An image that grows past this meets a full disk. */
	CAPACITY = 4 << 20,
	MAX_LENGTH = 256 << 10,
};

/* A sparse file: its length costs nothing. */
static uint8_t content[CAPACITY];
static size_t content_end;

static int file_read(struct store *store, uint64_t offset, void *ret_data,
		     size_t length)
{
	uint64_t there = 0;

	if (offset < CAPACITY)
		there = MIN(CAPACITY - offset, (uint64_t)length);
	memcpy(ret_data, content + (there ? offset : 0), there);
	memset((uint8_t *)ret_data + there, 0, length - there);
	return 0;
}

static int file_write(struct store *store, uint64_t offset, const void *data,
		      size_t length)
{
	if (!range_fits(offset, length, CAPACITY))
		return -ENOSPC;
	memcpy(content + offset, data, length);
	content_end = MAX(content_end, offset + length);
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
	if (offset < content_end)
		memset(content + offset, 0, MIN(length, content_end - offset));
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

static void request(struct image *image, const uint8_t *how)
{
	static uint8_t buffer[MAX_LENGTH];
	uint64_t size = image->size_bytes;
	/* Spread over the image: near its start, by sector, or by part. */
	uint64_t where = get_le16(how + 1);
	uint64_t offset = how[0] & 0x80 ? (size >> 16) * where : where * 512;
	uint64_t length = (uint64_t)(how[3] + 1) << (how[0] >> 4 & 7) * 2;

	length = MIN(length, (uint64_t)MAX_LENGTH);
	if (offset >= size)
		return;
	length = MIN(length, size - offset);
	switch (how[0] & 7) {
	case 0:
	case 1:
		(void)sync_io_read(image, offset, buffer, length);
		break;
	case 2:
	case 3:
		(void)sync_io_write(image, offset, buffer, length);
		break;
	case 4:
		(void)sync_io_zero(image, offset, length);
		break;
	case 5:
		(void)sync_io_discard(image, offset, length);
		break;
	default:
		(void)image_flush_sync(image);
	}
}

static void run(const uint8_t *trailer, size_t size, bool read_only)
{
	struct store store = {
		.ops = &file_ops,
		.name = "input",
		.fd = -1,
		.size_bytes = size,
		.read_only = read_only,
		.can_grow = true,
		.alignment = 1,
	};
	const struct image_open_options options = {
		.read_only = read_only,
		.cache_bytes = 1,
	};
	struct image *image = NULL;
	char *error = NULL;

	if (qcow2_format.open(&store, &options, &image, &error) == 0) {
		for (int i = 0; i < REQUESTS; i++)
			request(image, trailer + i * REQUEST_BYTES);
		image_close(image);
	}
	free(error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < TRAILER_BYTES || size > CAPACITY)
		return 0;
	size -= TRAILER_BYTES;
	memset(content, 0, content_end);
	memcpy(content, data, size);
	content_end = size;
	run(data + size, size, true);
	run(data + size, size, false);
	return 0;
}
