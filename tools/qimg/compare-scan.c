/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both images' block status is walked side by side, and only what may differ is
 * read: nothing where both read as zeroes, one side where the other does. Many
 * pieces are read at once, of both images; each is compared when its last
 * request ends.
 *
 * Pieces end in any order, so a difference is kept only if it lies before the
 * one that is known, and no piece is begun once there is one. The walk is in
 * order: all that lies before was begun then.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bytes.h"
#include "image/block-status.h"
#include "image/codec-pool.h"
#include "image/executor.h"
#include "tools/qimg/compare.h"

enum {
	SLOTS = 16,
	PIECE_BYTES = 256 << 10, /* or a cluster, if that is more */
	SECTOR_BYTES = 512,
	LOOP_ENTRIES = 128,
	TICK_NS = 100000000,
};

/* One side of a piece. */
struct half {
	struct slot *slot;
	struct executor_request request;
	struct iovec iov;
	char *buffer;
	bool zero; /* not read */
};

struct slot {
	struct scan *scan;
	uint64_t offset, length;
	struct half halves[2];
	unsigned reading;
	bool used;
};

struct side {
	struct image *image;
	struct executor *executor;
	struct block_status status; /* of what follows scan->at; or empty */
};

struct scan {
	const struct compare_scan *what;
	struct side sides[2];
	struct slot slots[SLOTS];
	struct loop *loop;
	struct codec_pool *pool;
	char *memory;
	size_t memory_bytes;
	uint64_t piece_bytes;
	uint64_t at, end;
	struct compare_outcome found;
};

uint64_t compare_bytes(const struct image *image)
{
	return align_up(image->size_bytes, SECTOR_BYTES);
}

static void note(struct scan *scan, struct compare_outcome outcome)
{
	if (scan->found.result == COMPARE_SAME ||
	    outcome.offset < scan->found.offset)
		scan->found = outcome;
}

/* --- One piece --- */

/* Bytes from @offset on that the image has; behind them there are zeroes. */
static uint64_t there(const struct image *image, uint64_t offset,
		      uint64_t length)
{
	return offset < image->size_bytes
		       ? MIN(length, image->size_bytes - offset)
		       : 0;
}

static bool differs(const struct slot *slot, uint64_t at, uint64_t bytes)
{
	const struct half *a = &slot->halves[0], *b = &slot->halves[1];

	if (a->zero)
		return !bytes_are_zero(b->buffer + at, bytes);
	if (b->zero)
		return !bytes_are_zero(a->buffer + at, bytes);
	return memcmp(a->buffer + at, b->buffer + at, bytes) != 0;
}

static void compare_slot(struct slot *slot)
{
	uint64_t at = 0;

	slot->used = false;
	if (!differs(slot, 0, slot->length))
		return;
	while (!differs(slot, at, SECTOR_BYTES))
		at += SECTOR_BYTES;
	note(slot->scan, (struct compare_outcome){
				 .result = COMPARE_DIFFERS,
				 .offset = slot->offset + at,
			 });
}

static void read_done(struct executor_request *request, int result)
{
	struct half *half = container_of(request, struct half, request);
	struct slot *slot = half->slot;

	if (result < 0)
		note(slot->scan, (struct compare_outcome){
					 .result = COMPARE_NO_READ,
					 .offset = slot->offset,
					 .side = half == &slot->halves[1],
					 .err = result,
				 });
	if (--slot->reading == 0)
		compare_slot(slot);
}

static void start_half(struct half *half, struct side *side)
{
	struct slot *slot = half->slot;
	uint64_t bytes = there(side->image, slot->offset, slot->length);

	memset(half->buffer + bytes, 0, slot->length - bytes);
	half->iov = (struct iovec){half->buffer, bytes};
	half->request = (struct executor_request){
		.op = EXECUTOR_READ,
		.offset = slot->offset,
		.length = bytes,
		.iov = &half->iov,
		.iov_count = 1,
		.done = read_done,
	};
	executor_submit(side->executor, &half->request);
}

/* The next @length bytes, which are not zeroes on both sides. */
static void start_slot(struct slot *slot, uint64_t length)
{
	struct scan *scan = slot->scan;

	slot->used = true;
	slot->offset = scan->at;
	slot->length = length;
	slot->reading = 0;
	for (int i = 0; i < 2; i++) {
		slot->halves[i].zero = scan->sides[i].status.zero;
		slot->reading += !slot->halves[i].zero;
	}
	/* One that is done at once must not end the piece. */
	slot->reading++;
	for (int i = 0; i < 2; i++)
		if (!slot->halves[i].zero)
			start_half(&slot->halves[i], &scan->sides[i]);
	if (--slot->reading == 0)
		compare_slot(slot);
}

/* --- The walk --- */

static bool is_busy(const struct scan *scan)
{
	for (unsigned i = 0; i < SLOTS; i++)
		if (scan->slots[i].used)
			return true;
	return false;
}

/* What @side says of scan->at, and for how long. */
static int look(const struct scan *scan, struct side *side)
{
	struct block_status *s = &side->status;
	uint64_t size = side->image->size_bytes;

	if (s->length)
		return 0;
	if (scan->at < size)
		return block_status_next(side->image, scan->at, size - scan->at,
					 s);
	*s = (struct block_status){
		.offset = scan->at,
		.length = scan->end - scan->at,
		.zero = true,
	};
	return 0;
}

static bool stored_alike(const struct block_status *a,
			 const struct block_status *b)
{
	return a->present == b->present && a->zero == b->zero &&
	       a->data == b->data && a->has_offset == b->has_offset;
}

/* False: something was noted. */
static bool look_at_both(struct scan *scan)
{
	struct side *sides = scan->sides;

	for (int i = 0; i < 2; i++) {
		int err = look(scan, &sides[i]);

		/* A table that is being read for a piece is there soon. */
		while (err == -EAGAIN && is_busy(scan) &&
		       loop_wait(scan->loop, TICK_NS) >= 0)
			err = look(scan, &sides[i]);
		if (err) {
			note(scan, (struct compare_outcome){
					   .result = COMPARE_NO_STATUS,
					   .offset = scan->at,
					   .side = i,
					   .err = err,
				   });
			return false;
		}
	}
	/* The end of the last sector, if it is incomplete, is nowhere stored. */
	if (!scan->what->strict || scan->at >= sides[0].image->size_bytes ||
	    scan->at >= sides[1].image->size_bytes ||
	    stored_alike(&sides[0].status, &sides[1].status))
		return true;
	note(scan, (struct compare_outcome){.result = COMPARE_STATUS,
					    .offset = scan->at});
	return false;
}

/* Of what follows: alike on either side; sectors; not too much to be read. */
static uint64_t next_length(const struct scan *scan)
{
	const struct block_status *a = &scan->sides[0].status;
	const struct block_status *b = &scan->sides[1].status;
	uint64_t length = MIN(a->length, b->length);
	uint64_t border =
		align_down(scan->at, scan->piece_bytes) + scan->piece_bytes;

	if (!(a->zero && b->zero))
		length = MIN(length, border - scan->at);
	return MIN(align_up(length, SECTOR_BYTES), scan->end - scan->at);
}

static void pass(struct scan *scan, uint64_t length)
{
	for (int i = 0; i < 2; i++) {
		struct block_status *s = &scan->sides[i].status;

		s->length -= MIN(s->length, length);
	}
	scan->at += length;
	if (scan->what->progress)
		scan->what->progress(NULL, scan->at, scan->end);
}

/* Begins what @slot can; false: there is nothing left. */
static bool fill_slot(struct scan *scan, struct slot *slot)
{
	while (scan->at < scan->end && scan->found.result == COMPARE_SAME) {
		const struct side *sides = scan->sides;
		uint64_t length;
		bool skip;

		if (!look_at_both(scan))
			return false;
		length = next_length(scan);
		skip = sides[0].status.zero && sides[1].status.zero;
		if (!skip)
			start_slot(slot, length);
		pass(scan, length);
		if (!skip)
			return true;
	}
	return false;
}

static void walk(struct scan *scan)
{
	bool more = true;

	while (more || is_busy(scan)) {
		for (unsigned i = 0; i < SLOTS && more; i++)
			if (!scan->slots[i].used)
				more = fill_slot(scan, &scan->slots[i]);
		if (is_busy(scan))
			loop_wait(scan->loop, TICK_NS);
	}
}

/* --- From begin to end --- */

static bool has_compressed(struct image *image)
{
	for (; image; image = image->backing)
		if (image->codec != IMAGE_CODEC_NONE)
			return true;
	return false;
}

static int make_buffers(struct scan *scan)
{
	char *next;

	scan->memory_bytes = 2 * SLOTS * scan->piece_bytes;
	scan->memory = mmap(NULL, scan->memory_bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (scan->memory == MAP_FAILED)
		return -ENOMEM;
	next = scan->memory;
	for (unsigned i = 0; i < SLOTS; i++) {
		scan->slots[i].scan = scan;
		for (int j = 0; j < 2; j++, next += scan->piece_bytes) {
			scan->slots[i].halves[j].slot = &scan->slots[i];
			scan->slots[i].halves[j].buffer = next;
		}
	}
	return 0;
}

static int begin(struct scan *scan)
{
	struct image *const *images = scan->what->images;
	struct executor_config config = {.depth = SLOTS};
	int err = loop_new(LOOP_ENTRIES, &scan->loop);

	if (err == 0 &&
	    (has_compressed(images[0]) || has_compressed(images[1])))
		err = codec_pool_new(0, &scan->pool);
	config.pool = scan->pool;
	scan->piece_bytes = PIECE_BYTES;
	for (int i = 0; i < 2 && err == 0; i++) {
		scan->sides[i].image = images[i];
		scan->end = MAX(scan->end, compare_bytes(images[i]));
		scan->piece_bytes = MAX(scan->piece_bytes,
					(uint64_t)images[i]->cluster_bytes);
		err = executor_new(scan->loop, images[i], &config,
				   &scan->sides[i].executor);
	}
	return err ? err : make_buffers(scan);
}

static void end(struct scan *scan)
{
	for (int i = 0; i < 2; i++)
		executor_free(scan->sides[i].executor);
	codec_pool_free(scan->pool);
	if (scan->loop)
		loop_free(scan->loop);
	if (scan->memory && scan->memory != MAP_FAILED)
		munmap(scan->memory, scan->memory_bytes);
}

void compare_scan(const struct compare_scan *what,
		  struct compare_outcome *ret_outcome)
{
	struct scan *scan = calloc(1, sizeof(*scan));
	int err = -ENOMEM;

	if (scan) {
		scan->what = what;
		err = begin(scan);
		if (err == 0)
			walk(scan);
		*ret_outcome = scan->found;
		end(scan);
		free(scan);
	}
	if (err)
		*ret_outcome = (struct compare_outcome){
			.result = COMPARE_FAILED,
			.err = err,
		};
}
