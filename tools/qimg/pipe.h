/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stores for what can only be gone through from its beginning to its end: a
 * pipe, a socket, a terminal, a tape. No descriptor of theirs is used by anybody
 * else; all I/O is synchronous and may block. One thread.
 */
#ifndef QIMG_PIPE_H
#define QIMG_PIPE_H

#include "image/store.h"

/* Where guest bytes come to lie in what is sent out, in ascending order. */
struct pipe_run {
	uint64_t offset; /* guest bytes */
	uint64_t length;
	uint64_t host_offset;
};

struct pipe_runs {
	struct pipe_run *all; /* heap */
	size_t count, room;
};

/*
 * Adds a run after all others; one that goes on where the last one ends, on
 * both sides, makes that longer. 0 or -ENOMEM.
 */
int pipe_runs_add(struct pipe_runs *runs, uint64_t offset, uint64_t length,
		  uint64_t host_offset);
void pipe_runs_deinit(struct pipe_runs *runs);

/*
 * Reads @fd, which stays the caller's. The store has @size_bytes until the end
 * of what comes is reached before: then @ended(opaque, bytes) is told where that
 * is, once, from within the read, whose rest is zeroes. Reads that do not begin
 * where the last one ended are -ESPIPE. NULL: out of memory.
 */
struct store *pipe_new_reader(int fd, uint64_t size_bytes,
			      void (*ended)(void *opaque, uint64_t bytes),
			      void *opaque);

/* There may be so much from now on. */
void pipe_set_size(struct store *reader, uint64_t size_bytes);

/*
 * Keeps nothing of what is written but where that was: a run for each stretch,
 * its host_offset being its offset. Not in ascending order: -ESPIPE.
 */
struct store *pipe_new_note(uint64_t size_bytes, struct pipe_runs *runs);

/*
 * Sends what is written to @fd, each byte at its place by @runs; @between (or
 * NULL: zeroes) is sent where nothing was written. A write outside of @runs is
 * -ESTALE, one that comes too late -ESPIPE. All three stay the caller's.
 */
struct store *pipe_new_writer(int fd, uint64_t size_bytes,
			      const struct pipe_runs *runs,
			      struct store *between);

/* Sends what is missing up to @host_bytes. 0 or a negative errno. */
int pipe_finish(struct store *writer, uint64_t host_bytes);

#endif
