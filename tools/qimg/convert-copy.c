/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The copying. A slot has a buffer and takes one piece after the other: it is
 * read in one request, searched for zeroes, and written in as many requests as
 * there are runs of data. All slots work at once on one loop; what costs time,
 * compression and decompression, is done by the codec pool's threads.
 *
 * Without -W the slots begin to write in the order of their pieces, so that
 * the target is laid out in order; they do not wait for each other's end.
 *
 * Requests' callbacks only note what happened, since they may come from within
 * executor_submit; pump() acts on it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "tools/qimg/convert.h"
#include "tools/qimg/progress.h"

enum {
	PARTS = 16, /* writes of one slot at once */
	TICK_NS = NS_PER_SECOND / 10,
	SALVAGE_BYTES = 4096, /* read again by so much after an error */
	MAX_GRANULE = 65536,
};

enum slot_state {
	SLOT_FREE,
	SLOT_READING,
	SLOT_READ,
	SLOT_WRITING,
};

struct part {
	struct executor_request request;
	struct iovec iov;
	struct slot *slot;
	bool used;
};

struct slot {
	struct copy *copy;
	struct convert_piece piece;
	uint64_t number; /* of the piece: the order */
	enum slot_state state;
	char *buffer;
	struct executor_request read;
	struct iovec iov;
	uint64_t read_at;
	uint64_t read_bytes; /* of the request */
	uint64_t write_at;
	struct part parts[PARTS];
	unsigned writing;
};

struct copy {
	struct convert *convert;
	struct convert_walk walk;
	struct slot slots[CONVERT_MAX_SLOTS];
	unsigned slot_count;
	char *buffers;
	size_t buffers_bytes;
	uint64_t next_number;  /* of the next piece */
	uint64_t next_written; /* whose turn it is to write */
	uint64_t started_bytes;
	uint64_t began_ns;
	bool ended; /* no piece is left */
	int status; /* 1: failed, and said so */
};

/* Only the first error is told. */
static void fail(struct copy *copy, const struct image *image, const char *what,
		 uint64_t offset, int err)
{
	if (copy->status == 0)
		cli_error("error while %s at byte %" PRIu64 ": %s", what,
			  offset, qimg_image_reason(image, err));
	copy->status = 1;
}

/* --- Reading --- */

static void read_done(struct executor_request *request, int result);

/* Where the piece begins in the source's image. */
static uint64_t place_of(const struct slot *slot)
{
	const struct convert_source *source = slot->piece.source;

	return source->from + slot->piece.offset - source->start;
}

static void start_read(struct slot *slot, uint64_t bytes)
{
	struct convert_source *source = slot->piece.source;

	slot->read_bytes = bytes;
	slot->iov = (struct iovec){slot->buffer + slot->read_at, bytes};
	slot->read = (struct executor_request){
		.op = EXECUTOR_READ,
		.offset = place_of(slot) + slot->read_at,
		.length = bytes,
		.iov = &slot->iov,
		.iov_count = 1,
		.done = read_done,
	};
	executor_submit(source->executor, &slot->read);
}

/* Bytes of the piece that the source has: its last sector may be incomplete. */
static uint64_t there(const struct slot *slot)
{
	uint64_t size = slot->piece.source->image->size_bytes;
	uint64_t offset = place_of(slot);

	return offset < size ? MIN(slot->piece.length, size - offset) : 0;
}

static void all_read(struct slot *slot)
{
	uint64_t bytes = there(slot);

	memset(slot->buffer + bytes, 0, slot->piece.length - bytes);
	/* What comes through a pipe may have ended within. */
	slot->piece.length =
		MIN(slot->piece.length,
		    slot->copy->convert->total_bytes - slot->piece.offset);
	slot->state = SLOT_READ;
}

/* A smaller request after an error; zeroes for what cannot be read. */
static void salvage(struct slot *slot, int err)
{
	uint64_t offset = slot->piece.offset + slot->read_at;
	uint64_t part =
		slot->read_bytes > SALVAGE_BYTES ? SALVAGE_BYTES : SECTOR_BYTES;

	if (slot->read_bytes <= SECTOR_BYTES) {
		cli_warning("error while reading offset %" PRIu64 ": %s",
			    offset,
			    qimg_image_reason(slot->piece.source->image, err));
		memset(slot->buffer + slot->read_at, 0, slot->read_bytes);
		slot->read_at += slot->read_bytes;
		part = SALVAGE_BYTES;
	}
	if (slot->read_at >= there(slot))
		all_read(slot);
	else
		start_read(slot, MIN(part, there(slot) - slot->read_at));
}

static void read_done(struct executor_request *request, int result)
{
	struct slot *slot = container_of(request, struct slot, read);
	struct copy *copy = slot->copy;

	if (result < 0 && copy->convert->salvage) {
		salvage(slot, result);
		return;
	}
	if (result < 0) {
		fail(copy, slot->piece.source->image, "reading",
		     slot->piece.offset + slot->read_at, result);
		slot->state = SLOT_READ;
		return;
	}
	slot->read_at += slot->read_bytes;
	if (slot->read_at >= there(slot))
		all_read(slot);
	else
		start_read(slot, MIN((uint64_t)SALVAGE_BYTES,
				     there(slot) - slot->read_at));
}

/* --- Writing --- */

static void part_done(struct executor_request *request, int result)
{
	struct part *part = container_of(request, struct part, request);
	struct slot *slot = part->slot;

	part->used = false;
	slot->writing--;
	if (result < 0)
		fail(slot->copy, slot->copy->convert->target, "writing",
		     request->offset, result);
}

/* Compressed are whole clusters; the seams of joined sources may not be. */
static bool can_compress(const struct convert *convert, uint64_t offset,
			 uint64_t length)
{
	uint64_t unit = convert_unit(convert);

	return convert->compress && is_aligned(offset, unit) &&
	       (is_aligned(length, unit) ||
		offset + length == convert->target->size_bytes);
}

static void start_write(struct slot *slot, enum executor_op op, uint64_t at,
			uint64_t length)
{
	struct convert *convert = slot->copy->convert;
	uint64_t offset = slot->piece.offset + at;
	struct part *part = slot->parts;

	while (part->used)
		part++;
	if (op == EXECUTOR_WRITE && can_compress(convert, offset, length))
		op = EXECUTOR_WRITE_COMPRESSED;
	part->used = true;
	part->slot = slot;
	part->iov = (struct iovec){slot->buffer + at, length};
	part->request = (struct executor_request){
		.op = op,
		.offset = offset,
		.length = length,
		.iov = &part->iov,
		.iov_count = op == EXECUTOR_ZERO ? 0 : 1,
		.done = part_done,
	};
	slot->writing++;
	executor_submit(convert->executor, &part->request);
}

/* A power of two, in which zeroes are looked for. */
static uint64_t granule(const struct convert *convert)
{
	uint64_t g = SECTOR_BYTES;

	if (convert->compress)
		return convert_unit(convert);
	while (2 * g <= MIN(convert->sparse, (uint64_t)MAX_GRANULE))
		g *= 2;
	return g;
}

static uint64_t skip_granules(const struct slot *slot, uint64_t at, bool zero)
{
	uint64_t g = granule(slot->copy->convert);
	uint64_t length = slot->piece.length;

	while (at < length) {
		uint64_t end = MIN(align_down(slot->piece.offset + at, g) + g -
					   slot->piece.offset,
				   length);

		if (bytes_are_zero(slot->buffer + at, end - at) != zero)
			break;
		at = end;
	}
	return at;
}

/*
 * A gap of zeroes is worth leaving out if it is long enough, and does not part
 * one cluster's data in two. Where zeroes must be written it is whole clusters.
 */
static bool is_gap(const struct slot *slot, uint64_t *start, uint64_t *end)
{
	const struct convert *convert = slot->copy->convert;
	uint64_t unit = convert_unit(convert);
	uint64_t first = slot->piece.offset + *start;
	uint64_t last = slot->piece.offset + *end;
	bool to_end = *end == slot->piece.length;

	if (!convert->reads_zero) {
		first = align_up(first, unit);
		last = to_end ? last : align_down(last, unit);
		if (first >= last)
			return false;
		*start = first - slot->piece.offset;
		*end = last - slot->piece.offset;
		return true;
	}
	if (*start == 0 || to_end)
		return true;
	if (last - first < convert->sparse)
		return false;
	return is_aligned(first, unit) || is_aligned(last, unit) ||
	       first / unit != last / unit;
}

/* The first gap at or after @at; empty at the end if there is none. */
static void find_gap(const struct slot *slot, uint64_t at, uint64_t *ret_start,
		     uint64_t *ret_end)
{
	uint64_t length = slot->piece.length;

	*ret_start = *ret_end = length;
	if (slot->copy->convert->sparse == 0)
		return;
	while (at < length) {
		uint64_t start = skip_granules(slot, at, false);
		uint64_t end = skip_granules(slot, start, true);

		at = end;
		if (start < end && is_gap(slot, &start, &end)) {
			*ret_start = start;
			*ret_end = end;
			return;
		}
	}
}

/* The next run of data, or of zeroes. */
static void write_run(struct slot *slot)
{
	uint64_t at = slot->write_at, start, end;

	find_gap(slot, at, &start, &end);
	if (start > at) {
		slot->write_at = start;
		start_write(slot, EXECUTOR_WRITE, at, start - at);
		return;
	}
	slot->write_at = end;
	if (!slot->copy->convert->reads_zero)
		start_write(slot, EXECUTOR_ZERO, at, end - at);
}

static void write_zero_piece(struct slot *slot)
{
	slot->write_at = slot->piece.length;
	start_write(slot, EXECUTOR_ZERO, 0, slot->piece.length);
}

/* --- The slots --- */

/* True if it is allowed to write now. */
static bool has_turn(const struct slot *slot)
{
	return slot->copy->convert->out_of_order ||
	       slot->number == slot->copy->next_written;
}

/* All of it is under way: the next one may begin. */
static bool pass_turn(struct slot *slot)
{
	if (slot->write_at < slot->piece.length ||
	    slot->number != slot->copy->next_written)
		return false;
	slot->copy->next_written++;
	return true;
}

static bool is_written(const struct slot *slot)
{
	return slot->writing == 0 && (slot->copy->status != 0 ||
				      slot->write_at == slot->piece.length);
}

static bool write_slot(struct slot *slot)
{
	bool moved = false;

	if (slot->state != SLOT_WRITING)
		return false;
	while (slot->write_at < slot->piece.length && slot->writing < PARTS &&
	       slot->copy->status == 0) {
		if (slot->piece.kind == CONVERT_ZERO)
			write_zero_piece(slot);
		else
			write_run(slot);
		moved = true;
	}
	moved |= pass_turn(slot);
	if (!is_written(slot))
		return moved;
	progress_add(slot->piece.length);
	slot->state = SLOT_FREE;
	return true;
}

/* Too fast for -r. */
static bool must_wait(const struct copy *copy)
{
	uint64_t rate = copy->convert->rate_bytes;
	double seconds = (double)(clock_ns() - copy->began_ns) / NS_PER_SECOND;

	return rate && (double)copy->started_bytes > (double)rate * seconds;
}

static bool uses_slots(const struct copy *copy)
{
	for (unsigned i = 0; i < copy->slot_count; i++)
		if (copy->slots[i].state != SLOT_FREE)
			return true;
	return false;
}

static void clone_piece(struct copy *copy, const struct convert_piece *piece)
{
	uint64_t done = convert_clone(copy->convert, piece);

	progress_add(done);
	if (done < piece->length)
		convert_walk_give_back(&copy->walk, piece, done);
}

/* The next piece that needs a slot; false if there is none now. */
static bool next_piece(struct copy *copy, struct convert_piece *piece)
{
	struct convert *convert = copy->convert;

	for (;;) {
		int err;

		if (copy->ended || copy->status || must_wait(copy))
			return false;
		err = convert_walk_next(&copy->walk, piece);
		/* A table is being read for a piece: asked again after it. */
		if (err == -EAGAIN && uses_slots(copy))
			return false;
		if (err) {
			fail(copy, convert->sources[copy->walk.source].image,
			     "reading block status", copy->walk.at, err);
			return false;
		}
		if (piece->kind == CONVERT_END) {
			copy->ended = true;
			return false;
		}
		if (piece->whole)
			clone_piece(copy, piece);
		else if (piece->kind == CONVERT_SKIP)
			progress_add(piece->length);
		else
			return true;
	}
}

static bool start_slot(struct slot *slot)
{
	struct copy *copy = slot->copy;

	if (!next_piece(copy, &slot->piece))
		return false;
	copy->started_bytes += slot->piece.length;
	slot->number = copy->next_number++;
	slot->read_at = slot->write_at = 0;
	slot->state = SLOT_READING;
	if (slot->piece.kind == CONVERT_ZERO)
		slot->state = SLOT_READ;
	else if (there(slot) == 0)
		all_read(slot);
	else
		start_read(slot, there(slot));
	return true;
}

/* True if anything moved. */
static bool pump_slot(struct slot *slot)
{
	struct copy *copy = slot->copy;

	switch (slot->state) {
	case SLOT_FREE:
		return start_slot(slot);
	case SLOT_READING:
		return false;
	case SLOT_READ:
		if (copy->status == 0 && !has_turn(slot))
			return false;
		slot->state = SLOT_WRITING;
		return true;
	case SLOT_WRITING:
		break;
	}
	return write_slot(slot);
}

static void pump(struct copy *copy)
{
	bool moved = true;

	while (moved) {
		moved = false;
		for (unsigned i = 0; i < copy->slot_count; i++)
			moved |= pump_slot(&copy->slots[i]);
	}
}

static bool is_busy(const struct copy *copy)
{
	return uses_slots(copy) || (!copy->ended && copy->status == 0);
}

/* Written, and stable unless the cache mode says that it need not be. */
static int flush_result;

static void flushed(struct executor_request *request, int result)
{
	flush_result = result;
}

static void flush(struct copy *copy)
{
	struct convert *convert = copy->convert;
	struct executor_request request = {
		.op = EXECUTOR_FLUSH,
		.done = flushed,
	};

	executor_submit(convert->executor, &request);
	while (executor_in_flight(convert->executor) > 0)
		loop_wait(convert->loop, TICK_NS);
	if (flush_result < 0)
		fail(copy, convert->target, "flushing what was written",
		     copy->walk.at, flush_result);
}

static int make_slots(struct copy *copy)
{
	struct convert *convert = copy->convert;
	size_t bytes =
		MAX((uint64_t)CONVERT_PIECE_BYTES, convert_unit(convert));

	copy->slot_count = MAX(convert->slots, (unsigned)CONVERT_MIN_SLOTS);
	/* What is wrong is told in order, and a broken disk is no faster. */
	if (convert->salvage)
		copy->slot_count = 1;
	copy->buffers_bytes = copy->slot_count * bytes;
	copy->buffers = mmap(NULL, copy->buffers_bytes, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (copy->buffers == MAP_FAILED)
		return cli_error("out of memory");
	for (unsigned i = 0; i < copy->slot_count; i++) {
		copy->slots[i].copy = copy;
		copy->slots[i].buffer = copy->buffers + i * bytes;
	}
	return 0;
}

/*
 * What a broken source does not tell of itself is said before any of its data is
 * read, as qemu-img does; and then once more where it matters.
 */
static void look_ahead(struct convert *convert)
{
	struct convert_walk walk = {
		.convert = convert,
		.at = convert->begin_bytes,
	};
	struct convert_piece piece;

	do
		if (convert_walk_next(&walk, &piece))
			return;
	while (piece.kind != CONVERT_END);
}

int convert_copy(struct convert *convert)
{
	struct copy *copy = calloc(1, sizeof(*copy));
	int status;

	if (!copy)
		return cli_error("out of memory");
	copy->convert = convert;
	copy->walk.convert = convert;
	copy->walk.at = convert->begin_bytes;
	copy->began_ns = clock_ns();
	if (make_slots(copy)) {
		free(copy);
		return 1;
	}
	if (convert->salvage && !convert->from_stdin)
		look_ahead(convert);
	for (pump(copy); is_busy(copy); pump(copy))
		loop_wait(convert->loop, TICK_NS);
	if (copy->status == 0)
		flush(copy);
	status = copy->status;
	munmap(copy->buffers, copy->buffers_bytes);
	free(copy);
	return status;
}
