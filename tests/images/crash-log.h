/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store that remembers everything done to it, and the states that a crash
 * could have left it in.
 *
 * Whatever was written before a flush ended is there after a crash. Of what
 * came later, any part may be: each write, resize and punch, and of a write or
 * punch each 512-byte sector.
 */
#ifndef TESTS_IMAGES_CRASH_LOG_H
#define TESTS_IMAGES_CRASH_LOG_H

#include "image/store.h"

struct crash_entry {
	enum {
		CRASH_WRITE,
		CRASH_FLUSH,
		CRASH_RESIZE, /* to @offset */
		CRASH_PUNCH,
	} kind;
	uint64_t offset;
	uint64_t length;
	uint8_t *data; /* WRITE */
};

struct crash_log {
	struct crash_entry *entries;
	size_t count;
	size_t capacity;
	uint8_t *start; /* the store's content before the first entry */
	uint64_t start_bytes;
};

/*
 * The recording store begins with a copy of @data. An image may own and "free"
 * it: it stays, to be looked at, until crash_log_release.
 */
struct store *crash_log_record(struct crash_log *log, const uint8_t *data,
			       uint64_t bytes);
uint8_t *crash_log_data(struct store *store);
void crash_log_release(struct store *store);
void crash_log_deinit(struct crash_log *log);

/* A state of the store, somewhere in the log. */
struct crash_state {
	struct store store; /* reads this state; read-only */
	const struct crash_log *log;
	uint8_t *data;
	uint64_t written_end; /* nothing but zeroes at or past it */
	size_t flushed;	      /* entries that are there for certain */
	struct crash_undo *undo;
	size_t undo_count;
	size_t undo_capacity;
};

void crash_state_init(struct crash_state *state, const struct crash_log *log);
void crash_state_deinit(struct crash_state *state);

/*
 * The state after a crash that came when the first @position entries had been
 * asked for; positions must not fall. @random is NULL: all of them happened;
 * else it decides for each, and each sector of it, and moves on.
 */
void crash_state_set(struct crash_state *state, size_t position,
		     uint64_t *random);

#endif
