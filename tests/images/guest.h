/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that fills sectors with stamps, its requests crossing each other and
 * drawn-out flushes, and what each sector may hold at any time because of it.
 *
 * Each change of a sector is a version of it. Which of them may be found is a
 * matter of three moments: where the log stood when it was asked for, which
 * changes were complete before that, and which was the how-manieth to complete.
 * A version is gone for certain when a later one, begun after it was complete,
 * is there for certain: because a flush has promised so, or, where only the
 * process ends and nothing is lost, because it is complete.
 */
#ifndef TESTS_IMAGES_GUEST_H
#define TESTS_IMAGES_GUEST_H

#include "image/image.h"

enum {
	GUEST_SECTOR = 512,
	GUEST_MAX_SECTORS = 160, /* in a request: whole clusters of 64 KiB */
	GUEST_NUMBER_BITS = 20,	 /* of a sector, below the stamp in its words */
};

struct guest_version {
	uint64_t stamp;	      /* 0: zeroes */
	size_t asked_at;      /* position in the log */
	uint64_t asked_after; /* so many completions */
	uint64_t done_at; /* number of the completion; UINT64_MAX: not yet */
};

struct guest_sector {
	struct guest_version *versions;
	size_t count;
	unsigned open; /* requests under way */
	bool crossed;  /* by others since none was */
};

/* A flush that ended: what was complete before it began is there after it. */
struct guest_promise {
	size_t position;
	uint64_t done_before;
};

struct guest {
	struct image *image;
	const size_t *position; /* of the log, or NULL: there is none */
	struct guest_sector *sectors;
	uint64_t sector_count;
	struct guest_promise *promises;
	size_t promise_count;
	uint64_t completions;
	uint64_t stamp; /* the last one used */
	uint64_t random;
	unsigned depth; /* of requests within requests */
	bool only_writes;
	bool unflushed; /* a flush began and none has succeeded since */
};

/* Every sector holds what @stamps says (NULL: zeroes), for certain. */
void guest_init(struct guest *guest, struct image *image, uint64_t sector_count,
		const uint64_t *stamps, uint64_t seed);
void guest_deinit(struct guest *guest);

uint64_t guest_pick(struct guest *guest, uint64_t below);

/* @count sectors from number @first on, each full of @stamp. */
void guest_fill(uint8_t *data, uint64_t first, uint64_t count, uint64_t stamp);

/* The stamp in a sector; fails if it is torn, or another one's. */
uint64_t guest_stamp(const uint8_t *data, uint64_t sector);

/*
 * Every third sector is written with stamp 1; or is known to have been, by a
 * guest that was told zeroes.
 */
void guest_write_thirds(struct image *image);
void guest_know_thirds(struct guest *guest);

/*
 * One request of at most @most sectors, within one cluster if @small. One that
 * is not nested has to succeed.
 */
void guest_request(struct guest *guest, uint64_t most, bool small);

/*
 * For requests of other kinds: @count sectors from @first get @stamp, by
 * something that began now; guest_end says how it went.
 */
void guest_begin(struct guest *guest, uint64_t first, uint64_t count,
		 uint64_t stamp, size_t *ret_versions);
void guest_end(struct guest *guest, uint64_t first, uint64_t count,
	       const size_t *versions, int err);

/* A flush with other requests between its steps; now and then it fails. */
void guest_flush_slowly(struct guest *guest);

/* One with nothing else under way, that has to succeed. */
void guest_flush(struct guest *guest);

/*
 * From now on (until it is given NULL) other things happen while allocations of
 * this guest are open.
 */
void guest_interrupt(struct guest *guest);

/* Completions that a crash at this position cannot undo. */
uint64_t guest_promised(const struct guest *guest, size_t position);

/*
 * Whether the sector may hold @stamp when the log stood at @position and the
 * first @done_before completions cannot be undone.
 */
bool guest_may_hold(const struct guest *guest, uint64_t sector, uint64_t stamp,
		    size_t position, uint64_t done_before);

#endif
