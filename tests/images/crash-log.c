/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/images/crash-log.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/bytes.h"
#include "tests/cmocka.h"

enum {
	SECTOR = 512,
	CAPACITY = 1 << 29,
};

/* The store that records: content in lazily touched memory. */
struct recorder {
	struct store store;
	struct crash_log *log;
	uint8_t *data;
	uint64_t written_end; /* zeroes, never touched, past it */
};

static uint8_t *reserve_memory(void)
{
	void *data = mmap(NULL, CAPACITY, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	assert_true(data != MAP_FAILED);
	return data;
}

static struct crash_entry *append(struct crash_log *log, int kind,
				  uint64_t offset, uint64_t length)
{
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

	if (!range_fits(offset, length, CAPACITY))
		return -ENOSPC;
	entry = append(r->log, CRASH_WRITE, offset, length);
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
	append(container_of(store, struct recorder, store)->log, CRASH_FLUSH, 0,
	       0);
	return 0;
}

static int recorder_resize(struct store *store, uint64_t size_bytes)
{
	struct recorder *r = container_of(store, struct recorder, store);

	if (size_bytes > CAPACITY)
		return -ENOSPC;
	append(r->log, CRASH_RESIZE, size_bytes, 0);
	if (size_bytes < r->written_end)
		memset(r->data + size_bytes, 0, r->written_end - size_bytes);
	store->size_bytes = size_bytes;
	return 0;
}

static int recorder_punch(struct store *store, uint64_t offset, uint64_t length)
{
	struct recorder *r = container_of(store, struct recorder, store);

	append(r->log, CRASH_PUNCH, offset, length);
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

struct store *crash_log_record(struct crash_log *log, const uint8_t *data,
			       uint64_t bytes)
{
	struct recorder *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	*log = (struct crash_log){
		.start = malloc(bytes + 1),
		.start_bytes = bytes,
	};
	if (bytes)
		memcpy(log->start, data, bytes);
	*r = (struct recorder){
		.store = {.ops = &recorder_ops,
			  .name = "recorder",
			  .fd = -1,
			  .size_bytes = bytes,
			  .can_grow = true,
			  .alignment = 1},
		.log = log,
		.data = reserve_memory(),
		.written_end = bytes,
	};
	if (bytes)
		memcpy(r->data, data, bytes);
	return &r->store;
}

uint8_t *crash_log_data(struct store *store)
{
	return container_of(store, struct recorder, store)->data;
}

void crash_log_release(struct store *store)
{
	struct recorder *r = container_of(store, struct recorder, store);

	munmap(r->data, CAPACITY);
	free(r);
}

void crash_log_deinit(struct crash_log *log)
{
	for (size_t i = 0; i < log->count; i++)
		free(log->entries[i].data);
	free(log->entries);
	free(log->start);
	*log = (struct crash_log){0};
}

/* What was in a place before something uncertain happened to it. */
struct crash_undo {
	uint64_t offset;
	uint64_t length;
	uint8_t *data;
	uint64_t size_bytes;
	uint64_t written_end;
};

static struct crash_state *state_of(struct store *store)
{
	return container_of(store, struct crash_state, store);
}

static int state_read(struct store *store, uint64_t offset, void *ret_data,
		      size_t length)
{
	return read_bytes(store, state_of(store)->data, offset, ret_data,
			  length);
}

static int refuse_write(struct store *store, uint64_t offset, const void *data,
			size_t length)
{
	return -EROFS;
}

static int refuse_resize(struct store *store, uint64_t size_bytes)
{
	return -EROFS;
}

static int refuse_punch(struct store *store, uint64_t offset, uint64_t length)
{
	return -EROFS;
}

static int state_flush(struct store *store)
{
	return 0;
}

static const struct store_ops state_ops = {
	.read = state_read,
	.write = refuse_write,
	.flush = state_flush,
	.resize = refuse_resize,
	.punch = refuse_punch,
	.zero = refuse_punch,
	.free = keep,
};

void crash_state_init(struct crash_state *state, const struct crash_log *log)
{
	*state = (struct crash_state){
		.store = {.ops = &state_ops,
			  .name = "crash",
			  .fd = -1,
			  .size_bytes = log->start_bytes,
			  .read_only = true,
			  .can_grow = true,
			  .alignment = 1},
		.log = log,
		.data = reserve_memory(),
		.written_end = log->start_bytes,
	};
	memcpy(state->data, log->start, log->start_bytes);
}

static void undo_all(struct crash_state *state)
{
	while (state->undo_count) {
		struct crash_undo *undo = &state->undo[--state->undo_count];

		memcpy(state->data + undo->offset, undo->data, undo->length);
		state->store.size_bytes = undo->size_bytes;
		state->written_end = undo->written_end;
		free(undo->data);
	}
}

void crash_state_deinit(struct crash_state *state)
{
	undo_all(state);
	free(state->undo);
	munmap(state->data, CAPACITY);
}

static void remember(struct crash_state *state, uint64_t offset,
		     uint64_t length)
{
	struct crash_undo *undo;

	if (state->undo_count == state->undo_capacity) {
		state->undo_capacity =
			MAX(state->undo_capacity * 2, (size_t)64);
		state->undo = realloc(state->undo,
				      state->undo_capacity * sizeof(*undo));
		assert_non_null(state->undo);
	}
	undo = &state->undo[state->undo_count++];
	*undo = (struct crash_undo){
		.offset = offset,
		.length = length,
		.data = malloc(length + 1),
		.size_bytes = state->store.size_bytes,
		.written_end = state->written_end,
	};
	memcpy(undo->data, state->data + offset, length);
}

static void put(struct crash_state *state, uint64_t offset, const uint8_t *data,
		uint64_t length)
{
	if (data)
		memcpy(state->data + offset, data, length);
	else
		memset(state->data + offset, 0, length);
	if (!data)
		return;
	state->store.size_bytes = MAX(state->store.size_bytes, offset + length);
	state->written_end = MAX(state->written_end, offset + length);
}

static void set_size(struct crash_state *state, uint64_t size)
{
	if (size < state->written_end) {
		memset(state->data + size, 0, state->written_end - size);
		state->written_end = size;
	}
	state->store.size_bytes = size;
}

static void apply(struct crash_state *state, const struct crash_entry *entry)
{
	if (entry->kind == CRASH_RESIZE)
		set_size(state, entry->offset);
	else if (entry->kind != CRASH_FLUSH)
		put(state, entry->offset, entry->data, entry->length);
}

static uint64_t next_random(uint64_t *random)
{
	*random ^= *random << 13;
	*random ^= *random >> 7;
	*random ^= *random << 17;
	return *random >> 13;
}

/* Some of the entry's sectors; sectors of the store, not of the write. */
static void apply_torn(struct crash_state *state,
		       const struct crash_entry *entry, uint64_t *random)
{
	uint64_t at = 0;

	while (at < entry->length) {
		uint64_t part = SECTOR - (entry->offset + at) % SECTOR;

		part = MIN(part, entry->length - at);
		if (next_random(random) % 2)
			put(state, entry->offset + at,
			    entry->data ? entry->data + at : NULL, part);
		at += part;
	}
}

static void maybe_apply(struct crash_state *state,
			const struct crash_entry *entry, uint64_t *random)
{
	uint64_t choice = next_random(random) % 4;
	bool grows = entry->kind == CRASH_RESIZE &&
		     entry->offset >= state->written_end;

	if (choice == 0 || (entry->kind == CRASH_RESIZE && !grows))
		return;
	if (choice == 1 && entry->kind != CRASH_RESIZE)
		apply_torn(state, entry, random);
	else
		apply(state, entry);
}

void crash_state_set(struct crash_state *state, size_t position,
		     uint64_t *random)
{
	size_t flushed = position;

	while (flushed > 0 &&
	       state->log->entries[flushed - 1].kind != CRASH_FLUSH)
		flushed--;
	undo_all(state);
	for (; state->flushed < flushed; state->flushed++)
		apply(state, &state->log->entries[state->flushed]);
	for (size_t i = flushed; i < position; i++) {
		const struct crash_entry *entry = &state->log->entries[i];

		remember(state, entry->offset,
			 entry->kind == CRASH_RESIZE ? 0 : entry->length);
		if (random)
			maybe_apply(state, entry, random);
		else
			apply(state, entry);
	}
}
