/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/images/crash-log.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/bytes.h"
#include "tests/cmocka.h"

/* The store that records: content in lazily touched memory. */
struct recorder {
	struct store store;
	struct crash_log *log;
	unsigned file;
	uint8_t *data;
	uint64_t written_end; /* zeroes, never touched, past it */
};

uint8_t *crash_memory_map(void)
{
	void *data = mmap(NULL, CRASH_CAPACITY, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	assert_true(data != MAP_FAILED);
	/* An image is copied here for every kill: not page by page. */
	(void)madvise(data, CRASH_CAPACITY, MADV_HUGEPAGE);
	return data;
}

void crash_memory_unmap(uint8_t *memory)
{
	munmap(memory, CRASH_CAPACITY);
}

static struct crash_entry *append(struct recorder *r, int kind, uint64_t offset,
				  uint64_t length)
{
	struct crash_log *log = r->log;
	struct crash_entry *entry;

	if (log->count == log->capacity) {
		log->capacity = MAX(log->capacity * 2, (size_t)1024);
		log->entries = realloc(log->entries,
				       log->capacity * sizeof(*log->entries));
		assert_non_null(log->entries);
	}
	entry = &log->entries[log->count++];
	*entry = (struct crash_entry){.offset = offset, .length = length};
	entry->kind = kind;
	entry->file = r->file;
	return entry;
}

static int read_bytes(struct store *store, const uint8_t *data, uint64_t offset,
		      void *ret_data, size_t length)
{
	uint64_t there = 0;

	if (offset < store->size_bytes)
		there = MIN(store->size_bytes - offset, (uint64_t)length);
	memcpy(ret_data, data + offset, there);
	memset((uint8_t *)ret_data + there, 0, length - there);
	return 0;
}

static int recorder_read(struct store *store, uint64_t offset, void *ret_data,
			 size_t length)
{
	struct recorder *r = container_of(store, struct recorder, store);

	return read_bytes(store, r->data, offset, ret_data, length);
}

static int recorder_write(struct store *store, uint64_t offset,
			  const void *data, size_t length)
{
	struct recorder *r = container_of(store, struct recorder, store);
	struct crash_entry *entry;

	if (!range_fits(offset, length, CRASH_CAPACITY))
		return -ENOSPC;
	entry = append(r, CRASH_WRITE, offset, length);
	entry->data = malloc(length);
	assert_non_null(entry->data);
	memcpy(entry->data, data, length);
	memcpy(r->data + offset, data, length);
	store->size_bytes = MAX(store->size_bytes, offset + length);
	r->written_end = MAX(r->written_end, offset + length);
	return 0;
}

static int recorder_flush(struct store *store)
{
	struct recorder *r = container_of(store, struct recorder, store);
	struct crash_log *log = r->log;

	if (log->is_lost && r->file == 0 && log->is_lost(log, r->data))
		return 0;
	append(r, CRASH_FLUSH, 0, 0);
	return 0;
}

static int recorder_resize(struct store *store, uint64_t size_bytes)
{
	struct recorder *r = container_of(store, struct recorder, store);

	if (size_bytes > CRASH_CAPACITY)
		return -ENOSPC;
	append(r, CRASH_RESIZE, size_bytes, 0);
	if (size_bytes < r->written_end)
		memset(r->data + size_bytes, 0, r->written_end - size_bytes);
	store->size_bytes = size_bytes;
	return 0;
}

static int recorder_punch(struct store *store, uint64_t offset, uint64_t length)
{
	struct recorder *r = container_of(store, struct recorder, store);

	/* Past what was written all is zero. */
	if (offset >= r->written_end)
		return 0;
	length = MIN(length, r->written_end - offset);
	append(r, CRASH_PUNCH, offset, length);
	memset(r->data + offset, 0, length);
	return 0;
}

static void keep(struct store *store)
{
}

static const struct store_ops recorder_ops = {
	.read = recorder_read,
	.write = recorder_write,
	.flush = recorder_flush,
	.resize = recorder_resize,
	.punch = recorder_punch,
	.zero = recorder_punch,
	.free = keep,
};

struct store *crash_log_record_more(struct crash_log *log, const uint8_t *data,
				    uint64_t bytes)
{
	struct recorder *r = calloc(1, sizeof(*r));
	unsigned file = log->files++;

	assert_non_null(r);
	assert_true(file < CRASH_FILES);
	log->file[file].start = malloc(bytes + 1);
	log->file[file].start_bytes = bytes;
	assert_non_null(log->file[file].start);
	*r = (struct recorder){
		.store = {.ops = &recorder_ops,
			  .name = file ? "recorder 2" : "recorder",
			  .fd = -1,
			  .size_bytes = bytes,
			  .can_grow = true,
			  .alignment = 1},
		.log = log,
		.file = file,
		.data = crash_memory_map(),
		.written_end = bytes,
	};
	if (bytes) {
		memcpy(log->file[file].start, data, bytes);
		memcpy(r->data, data, bytes);
	}
	return &r->store;
}

struct store *crash_log_record(struct crash_log *log, const uint8_t *data,
			       uint64_t bytes)
{
	*log = (struct crash_log){0};
	return crash_log_record_more(log, data, bytes);
}

uint8_t *crash_log_data(struct store *store)
{
	return container_of(store, struct recorder, store)->data;
}

void crash_log_release(struct store *store)
{
	struct recorder *r = container_of(store, struct recorder, store);

	crash_memory_unmap(r->data);
	free(r);
}

uint64_t crash_log_end(const struct crash_log *log, unsigned file)
{
	uint64_t end = log->file[file].start_bytes;

	for (size_t i = 0; i < log->count; i++) {
		const struct crash_entry *e = &log->entries[i];

		if (e->file == file && e->kind == CRASH_WRITE)
			end = MAX(end, e->offset + e->length);
	}
	return end;
}

void crash_log_deinit(struct crash_log *log)
{
	for (size_t i = 0; i < log->count; i++)
		free(log->entries[i].data);
	free(log->entries);
	for (unsigned i = 0; i < CRASH_FILES; i++)
		free(log->file[i].start);
	*log = (struct crash_log){0};
}
