/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "tests/cmocka.h"
#include "tests/images/crash-log.h"
#include "tests/random.h"

enum {
	SECTOR = 512,
};

/* What was in a place before something that may be taken back. */
struct crash_undo {
	struct crash_file *file;
	uint64_t offset;
	uint64_t length;
	uint8_t *data;
	uint64_t size_bytes;
	uint64_t written_end;
};

static struct crash_file *file_of(struct store *store)
{
	return container_of(store, struct crash_file, store);
}

static void remember(struct crash_file *file, uint64_t offset, uint64_t length)
{
	struct crash_state *state = file->state;
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
		.file = file,
		.offset = offset,
		.length = length,
		.data = malloc(length + 1),
		.size_bytes = file->store.size_bytes,
		.written_end = file->written_end,
	};
	assert_non_null(undo->data);
	memcpy(undo->data, file->data + offset, length);
}

static void undo_all(struct crash_state *state)
{
	while (state->undo_count) {
		struct crash_undo *undo = &state->undo[--state->undo_count];
		struct crash_file *file = undo->file;

		memcpy(file->data + undo->offset, undo->data, undo->length);
		file->store.size_bytes = undo->size_bytes;
		file->written_end = undo->written_end;
		free(undo->data);
	}
}

static void put(struct crash_file *file, uint64_t offset, const uint8_t *data,
		uint64_t length)
{
	if (!data) {
		memset(file->data + offset, 0, length);
		return;
	}
	memcpy(file->data + offset, data, length);
	file->store.size_bytes = MAX(file->store.size_bytes, offset + length);
	file->written_end = MAX(file->written_end, offset + length);
}

static void set_size(struct crash_file *file, uint64_t size)
{
	if (size < file->written_end) {
		memset(file->data + size, 0, file->written_end - size);
		file->written_end = size;
	}
	file->store.size_bytes = size;
}

/* What a resize cuts off can come back, too. */
static void remember_size(struct crash_file *file, uint64_t size)
{
	uint64_t from = MIN(size, file->written_end);

	remember(file, from, file->written_end - from);
}

static int state_read(struct store *store, uint64_t offset, void *ret_data,
		      size_t length)
{
	uint64_t there = 0;

	if (offset < store->size_bytes)
		there = MIN(store->size_bytes - offset, (uint64_t)length);
	memcpy(ret_data, file_of(store)->data + (there ? offset : 0), there);
	memset((uint8_t *)ret_data + there, 0, length - there);
	return 0;
}

static int state_write(struct store *store, uint64_t offset, const void *data,
		       size_t length)
{
	if (!range_fits(offset, length, CRASH_CAPACITY))
		return -ENOSPC;
	remember(file_of(store), offset, length);
	put(file_of(store), offset, data, length);
	return 0;
}

static int state_flush(struct store *store)
{
	return 0;
}

static int state_resize(struct store *store, uint64_t size_bytes)
{
	if (size_bytes > CRASH_CAPACITY)
		return -ENOSPC;
	remember_size(file_of(store), size_bytes);
	set_size(file_of(store), size_bytes);
	return 0;
}

static int state_punch(struct store *store, uint64_t offset, uint64_t length)
{
	uint64_t end = file_of(store)->written_end;

	if (offset >= end)
		return 0;
	length = MIN(length, end - offset);
	remember(file_of(store), offset, length);
	put(file_of(store), offset, NULL, length);
	return 0;
}

static void keep(struct store *store)
{
}

static const struct store_ops state_ops = {
	.read = state_read,
	.write = state_write,
	.flush = state_flush,
	.resize = state_resize,
	.punch = state_punch,
	.zero = state_punch,
	.free = keep,
};

void crash_state_init(struct crash_state *state, const struct crash_log *log)
{
	*state = (struct crash_state){.log = log};
	for (unsigned i = 0; i < log->files; i++) {
		uint64_t bytes = log->file[i].start_bytes;

		state->file[i] = (struct crash_file){
			.store = {.ops = &state_ops,
				  .name = i ? "crash 2" : "crash",
				  .fd = -1,
				  .size_bytes = bytes,
				  .can_grow = true,
				  .alignment = 1},
			.state = state,
			.data = crash_memory_map(),
			.written_end = bytes,
		};
		memcpy(state->file[i].data, log->file[i].start, bytes);
	}
}

void crash_state_deinit(struct crash_state *state)
{
	undo_all(state);
	free(state->undo);
	for (unsigned i = 0; i < state->log->files; i++)
		crash_memory_unmap(state->file[i].data);
}

static void apply(struct crash_file *file, const struct crash_entry *entry)
{
	if (entry->kind == CRASH_RESIZE)
		set_size(file, entry->offset);
	else if (entry->kind != CRASH_FLUSH)
		put(file, entry->offset, entry->data, entry->length);
}

static uint64_t next_random(uint64_t *random)
{
	return random_next(random) >> 13;
}

/* Some of the entry's sectors; sectors of the store, not of the write. */
static void apply_torn(struct crash_file *file, const struct crash_entry *entry,
		       uint64_t *random)
{
	uint64_t at = 0;

	while (at < entry->length) {
		uint64_t part = SECTOR - (entry->offset + at) % SECTOR;

		part = MIN(part, entry->length - at);
		if (next_random(random) % 2)
			put(file, entry->offset + at,
			    entry->data ? entry->data + at : NULL, part);
		at += part;
	}
}

static void maybe_apply(struct crash_file *file,
			const struct crash_entry *entry, uint64_t *random)
{
	uint64_t choice = next_random(random) % 4;

	if (choice == 0)
		return;
	if (choice == 1 && entry->kind != CRASH_RESIZE)
		apply_torn(file, entry, random);
	else
		apply(file, entry);
}

/* Brings the file to its last flush before @position; returns that. */
static size_t go_to_flush(struct crash_state *state, unsigned which,
			  size_t position)
{
	const struct crash_entry *entries = state->log->entries;
	struct crash_file *file = &state->file[which];
	size_t flushed = position;

	while (flushed > file->flushed &&
	       !(entries[flushed - 1].kind == CRASH_FLUSH &&
		 entries[flushed - 1].file == which))
		flushed--;
	for (; file->flushed < flushed; file->flushed++)
		if (entries[file->flushed].file == which)
			apply(file, &entries[file->flushed]);
	return flushed;
}

void crash_state_set(struct crash_state *state, size_t position,
		     uint64_t *random)
{
	size_t from = position;

	undo_all(state);
	for (unsigned i = 0; i < state->log->files; i++)
		from = MIN(from, go_to_flush(state, i, position));
	for (size_t i = from; i < position; i++) {
		const struct crash_entry *entry = &state->log->entries[i];
		struct crash_file *file = &state->file[entry->file];

		if (i < file->flushed || entry->kind == CRASH_FLUSH)
			continue;
		if (entry->kind == CRASH_RESIZE)
			remember_size(file, entry->offset);
		else
			remember(file, entry->offset, entry->length);
		if (random)
			maybe_apply(file, entry, random);
		else
			apply(file, entry);
	}
}
