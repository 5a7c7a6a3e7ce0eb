/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/flat-store.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/bytes.h"

struct flat_store {
	struct store store;
	char *data;
	uint64_t capacity;
	uint64_t window; /* 0: all of it */
};

static struct flat_store *to_flat(struct store *store)
{
	return container_of(store, struct flat_store, store);
}

static int flat_read(struct store *store, uint64_t offset, void *ret_data,
		     size_t length)
{
	struct flat_store *flat = to_flat(store);
	uint64_t there = 0;

	if (flat->window)
		offset %= flat->window;
	if (offset < flat->capacity)
		there = MIN(flat->capacity - offset, (uint64_t)length);
	memcpy(ret_data, flat->data + offset, there);
	memset((char *)ret_data + there, 0, length - there);
	return 0;
}

static int flat_write(struct store *store, uint64_t offset, const void *data,
		      size_t length)
{
	struct flat_store *flat = to_flat(store);

	if (!range_fits(offset, length, flat->capacity))
		return -ENOSPC;
	memcpy(flat->data + offset, data, length);
	if (offset + length > store->size_bytes)
		store->size_bytes = offset + length;
	return 0;
}

static int flat_flush(struct store *store)
{
	return 0;
}

static int flat_resize(struct store *store, uint64_t size_bytes)
{
	if (size_bytes > to_flat(store)->capacity)
		return -ENOSPC;
	if (size_bytes < store->size_bytes)
		memset(to_flat(store)->data + size_bytes, 0,
		       store->size_bytes - size_bytes);
	store->size_bytes = size_bytes;
	return 0;
}

static int flat_zero(struct store *store, uint64_t offset, uint64_t length)
{
	if (!range_fits(offset, length, to_flat(store)->capacity))
		return -ENOSPC;
	memset(to_flat(store)->data + offset, 0, length);
	return 0;
}

static void flat_free(struct store *store)
{
	struct flat_store *flat = to_flat(store);

	munmap(flat->data, flat->capacity);
	free(flat);
}

static const struct store_ops flat_ops = {
	.read = flat_read,
	.write = flat_write,
	.flush = flat_flush,
	.resize = flat_resize,
	.punch = flat_zero,
	.zero = flat_zero,
	.free = flat_free,
};

int flat_store_new(uint64_t capacity_bytes, struct store **ret_store)
{
	struct flat_store *flat = calloc(1, sizeof(*flat));

	if (!flat)
		return -ENOMEM;
	flat->capacity = capacity_bytes;
	flat->data = mmap(NULL, capacity_bytes, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (flat->data == MAP_FAILED) {
		free(flat);
		return -ENOMEM;
	}
	/* Where there are none: slower, as the page tables are walked. */
	madvise(flat->data, capacity_bytes, MADV_HUGEPAGE);
	flat->store = (struct store){
		.ops = &flat_ops,
		.name = "memory",
		.fd = -1,
		.can_grow = true,
		.alignment = 1,
	};
	*ret_store = &flat->store;
	return 0;
}

void flat_store_fold(struct store *store, uint64_t window_bytes)
{
	to_flat(store)->window = window_bytes;
}
