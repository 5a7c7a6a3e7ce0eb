/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many readers who must not slow each other down, and writers who are rare and
 * take turns by a lock of their own ("big reader").
 *
 * A reader says that it is reading in a word that no other thread writes, on a
 * cache line that no other reader touches, and looks whether somebody writes:
 * then it steps back (brlock_try_read returns false) and the caller goes the
 * writers' way. A writer says that it writes, then waits until each reader is
 * out. Either says its own before it looks for the other's, both in the order
 * that all threads agree on, so at least one of two that meet sees the other.
 *
 * Each thread gets a place at its first read and keeps it, for all locks, until
 * it ends. Threads past BRLOCK_READERS at a time are always sent back.
 *
 * Reads are short, do not nest on one lock, and nothing waits within one.
 */
#ifndef BASE_BRLOCK_H
#define BASE_BRLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/barrier.h"

enum {
	BRLOCK_READERS = 32,
	/* Two lines: some processors fetch them in pairs. */
	BRLOCK_APART_BYTES = 128,
};

/* Zeroed: free. */
struct brlock {
	struct {
		uint32_t reading;
		char apart[BRLOCK_APART_BYTES - sizeof(uint32_t)];
	} readers[BRLOCK_READERS];
	uint32_t writing;
	char apart[BRLOCK_APART_BYTES - sizeof(uint32_t)];
};

/* This thread's place + 1; 0: not asked for yet; > BRLOCK_READERS: none. */
extern _Thread_local unsigned brlock_place;

/* Gives this thread a place, or none. */
void brlock_take_place(void);

/* True: until brlock_end_read nobody writes. */
static inline bool brlock_try_read(struct brlock *lock)
{
	uint32_t *reading;

	if (brlock_place == 0)
		brlock_take_place();
	if (brlock_place > BRLOCK_READERS)
		return false;
	reading = &lock->readers[brlock_place - 1].reading;
	store_seq_cst(reading, 1);
	if (load_seq_cst(&lock->writing) == 0)
		return true;
	store_release(reading, 0);
	return false;
}

static inline void brlock_end_read(struct brlock *lock)
{
	store_release(&lock->readers[brlock_place - 1].reading, 0);
}

/* By whoever holds the writers' lock: until brlock_end_write nobody reads. */
void brlock_begin_write(struct brlock *lock);

static inline void brlock_end_write(struct brlock *lock)
{
	store_release(&lock->writing, 0);
}

#endif
