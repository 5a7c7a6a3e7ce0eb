/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole images: the input is a file and, in its last bytes, requests. Opens,
 * reads, writes, zeroes, discards and flushes, with no I/O but memory.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "image/open.h"
#include "image/sync-io.h"
#include "qcow2/qcow2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	REQUESTS = 8,
	REQUEST_BYTES = 4, /* what, where (2), how much */
	TRAILER_BYTES = REQUESTS * REQUEST_BYTES,
	/* An image that grows past this meets a full disk. */
	CAPACITY = 4 << 20,
	MAX_LENGTH = 256 << 10,
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

static void run(const uint8_t *data, size_t size, bool read_only)
{
	const uint8_t *trailer = data + size;
	const struct image_open_options options = {
		.read_only = read_only,
		.cache_bytes = 1,
	};
	struct image *image = NULL;
	struct store *store;
	char *error = NULL;

	if (store_new_bounded(size, CAPACITY, &store) != 0)
		abort();
	if (size)
		memcpy(store_memory_data(store), data, size);
	store->read_only = read_only;
	if (qcow2_format.open(store, &options, &image, &error) == 0) {
		for (int i = 0; i < REQUESTS; i++)
			request(image, trailer + i * REQUEST_BYTES);
		image_close(image);
	} else {
		store_free(store);
	}
	free(error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < TRAILER_BYTES || size > CAPACITY)
		return 0;
	size -= TRAILER_BYTES;
	run(data, size, true);
	run(data, size, false);
	return 0;
}
