/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stores that remember everything done to them, and the states that a crash
 * could have left them in.
 *
 * Whatever was written to a store before a flush of it ended is there after a
 * crash. Of what came later, any part may be: each write, resize and punch, and
 * of a write or punch each 512-byte sector.
 */
#ifndef TESTS_IMAGES_CRASH_LOG_H
#define TESTS_IMAGES_CRASH_LOG_H

#include "image/store.h"

enum {
	CRASH_FILES = 2, /* an image and its data file */
};

struct crash_entry {
	enum {
		CRASH_WRITE,
		CRASH_FLUSH,
		CRASH_RESIZE, /* to @offset */
		CRASH_PUNCH,
	} kind;
	unsigned file;
	uint64_t offset;
	uint64_t length;
	uint8_t *data; /* WRITE */
};

struct crash_log {
	struct crash_entry *entries;
	size_t count;
	size_t capacity;
	unsigned files;
	/* Asked before each flush of the first file, which @data is now: true
	 * leaves it out. Or NULL. */
	bool (*is_lost)(const struct crash_log *log, const uint8_t *data);
	unsigned loses; /* its own */
	/* Each store's content before the first entry. */
	struct {
		uint8_t *start;
		uint64_t start_bytes;
	} file[CRASH_FILES];
};

/*
 * The recording store begins with a copy of @data. An image may own and "free"
 * it: it stays, to be looked at, until crash_log_release. The first one sets
 * the log up; crash_log_record_more adds another to it.
 */
struct store *crash_log_record(struct crash_log *log, const uint8_t *data,
			       uint64_t bytes);
struct store *crash_log_record_more(struct crash_log *log, const uint8_t *data,
				    uint64_t bytes);
uint8_t *crash_log_data(struct store *store);
void crash_log_release(struct store *store);
void crash_log_deinit(struct crash_log *log);

/* How much of the file was ever written. */
uint64_t crash_log_end(const struct crash_log *log, unsigned file);

struct crash_undo;

/* One file of a state. What is written to it goes when the state is set. */
struct crash_file {
	struct store store;
	struct crash_state *state;
	uint8_t *data;
	uint64_t written_end; /* nothing but zeroes at or past it */
	size_t flushed;	      /* entries that are there for certain */
};

/* A state of the stores, somewhere in the log. */
struct crash_state {
	const struct crash_log *log;
	struct crash_file file[CRASH_FILES];
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

/* Memory of the size that recorded stores may have, touched when used. */
enum {
	CRASH_CAPACITY = 1 << 29
};
uint8_t *crash_memory_map(void);
void crash_memory_unmap(uint8_t *memory);

#endif
