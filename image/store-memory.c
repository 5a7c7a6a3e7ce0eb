/* SPDX-License-Identifier: Apache-2.0 */
/* A store in memory: no descriptor, so all its I/O is synchronous. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "image/store.h"

enum {
	CAPACITY_STEP = 65536
};

struct store_memory {
	struct store store;
	pthread_mutex_t lock; /* of all below, and of store.size_bytes */
	char *data;	      /* bytes past the size are zero */
	size_t capacity;
	uint64_t limit; /* none at or past it are kept */
	bool is_sparse; /* the size may be more */
};

static struct store_memory *to_memory(struct store *store)
{
	return container_of(store, struct store_memory, store);
}

/* Mapped, not allocated: growing ahead costs nothing until it is touched. */
static int reserve(struct store_memory *memory, uint64_t bytes)
{
	size_t capacity =
		MAX(bytes, MIN((uint64_t)memory->capacity * 2, memory->limit));
	void *data;

	if (bytes <= memory->capacity)
		return 0;
	if (bytes > memory->limit)
		return -ENOSPC;
	capacity = align_up(capacity, CAPACITY_STEP);
	if (memory->data)
		data = mremap(memory->data, memory->capacity, capacity,
			      MREMAP_MAYMOVE);
	else
		data = mmap(NULL, capacity, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (data == MAP_FAILED)
		return -ENOMEM;
	memory->data = data;
	memory->capacity = capacity;
	return 0;
}

/* How much of [offset, offset + length) is kept. */
static size_t kept(const struct store_memory *memory, uint64_t offset,
		   uint64_t length)
{
	uint64_t end = MIN(memory->store.size_bytes, memory->limit);

	return offset < end ? MIN(end - offset, length) : 0;
}

/*
 * Zero again; whole pages are given back instead of written. With the lock, and
 * inside the size.
 */
static void clear(struct store_memory *memory, uint64_t from, uint64_t to)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t first = align_up(from, page), last = align_down(to, page);

	if (from == to)
		return;
	if (first >= last ||
	    madvise(memory->data + first, last - first, MADV_DONTNEED) < 0) {
		memset(memory->data + from, 0, to - from);
		return;
	}
	memset(memory->data + from, 0, first - from);
	memset(memory->data + last, 0, to - last);
}

static int memory_read(struct store *store, uint64_t offset, void *ret_data,
		       size_t length)
{
	struct store_memory *memory = to_memory(store);
	size_t there;

	pthread_mutex_lock(&memory->lock);
	there = kept(memory, offset, length);
	if (there > 0)
		memcpy(ret_data, memory->data + offset, there);
	pthread_mutex_unlock(&memory->lock);
	memset((char *)ret_data + there, 0, length - there);
	return 0;
}

static int memory_write(struct store *store, uint64_t offset, const void *data,
			size_t length)
{
	struct store_memory *memory = to_memory(store);
	int err;

	if (store->read_only)
		return -EBADF;
	if (length == 0)
		return 0;
	if (!range_fits(offset, length, memory->limit))
		return -ENOSPC;
	pthread_mutex_lock(&memory->lock);
	err = reserve(memory, offset + length);
	if (err == 0) {
		memcpy(memory->data + offset, data, length);
		store->size_bytes = MAX(store->size_bytes, offset + length);
	}
	pthread_mutex_unlock(&memory->lock);
	return err;
}

static int memory_flush(struct store *store)
{
	return 0;
}

static int memory_resize(struct store *store, uint64_t size_bytes)
{
	struct store_memory *memory = to_memory(store);
	uint64_t keep =
		memory->is_sparse ? MIN(size_bytes, memory->limit) : size_bytes;
	size_t cut;
	int err;

	pthread_mutex_lock(&memory->lock);
	err = reserve(memory, keep);
	cut = kept(memory, size_bytes, UINT64_MAX);
	if (err == 0 && cut)
		clear(memory, size_bytes, size_bytes + cut);
	if (err == 0)
		store->size_bytes = size_bytes;
	pthread_mutex_unlock(&memory->lock);
	return err;
}

static int memory_zero(struct store *store, uint64_t offset, uint64_t length)
{
	struct store_memory *memory = to_memory(store);

	if (store->read_only)
		return -EBADF;
	pthread_mutex_lock(&memory->lock);
	clear(memory, offset, offset + kept(memory, offset, length));
	pthread_mutex_unlock(&memory->lock);
	return 0;
}

static void memory_free(struct store *store)
{
	struct store_memory *memory = to_memory(store);

	pthread_mutex_destroy(&memory->lock);
	if (memory->data)
		munmap(memory->data, memory->capacity);
	free(memory);
}

static const struct store_ops memory_ops = {
	.read = memory_read,
	.write = memory_write,
	.flush = memory_flush,
	.resize = memory_resize,
	.punch = memory_zero,
	.zero = memory_zero,
	.free = memory_free,
};

static int new_memory(uint64_t size_bytes, uint64_t limit, bool is_sparse,
		      struct store **ret_store)
{
	struct store_memory *memory = calloc(1, sizeof(*memory));
	int err;

	if (!memory)
		return -ENOMEM;
	memory->store = (struct store){
		.ops = &memory_ops,
		.name = "memory",
		.fd = -1,
		.can_grow = true,
		.alignment = 1,
	};
	memory->limit = limit;
	memory->is_sparse = is_sparse;
	pthread_mutex_init(&memory->lock, NULL);
	err = memory_resize(&memory->store, size_bytes);
	if (err < 0) {
		memory_free(&memory->store);
		return err;
	}
	*ret_store = &memory->store;
	return 0;
}

int store_new_memory(uint64_t size_bytes, struct store **ret_store)
{
	return new_memory(size_bytes, STORE_MEMORY_MAX_BYTES, false, ret_store);
}

int store_new_bounded(uint64_t size_bytes, uint64_t limit_bytes,
		      struct store **ret_store)
{
	return new_memory(size_bytes,
			  MIN(limit_bytes, (uint64_t)STORE_MEMORY_MAX_BYTES),
			  true, ret_store);
}

void *store_memory_data(struct store *store)
{
	return to_memory(store)->data;
}
