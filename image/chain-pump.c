/* SPDX-License-Identifier: Apache-2.0 */
#include "image/chain-pump.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "image/executor.h"

enum {
	DEPTH = 16,
	LOOP_ENTRIES = 64,
	PIECE_BYTES = 1 << 20,
	ALIGNMENT = 4096,
	SECTOR = 512,
};

struct pump_run;

/* One piece on its way. */
struct slot {
	struct executor_request request;
	struct pump_run *run;
	struct iovec iov;
	bool busy;
	enum chain_action action;
	uint64_t offset;
	uint64_t length;
	uint64_t at; /* COMPARE: so much is settled */
	uint8_t *data;
	uint8_t *other; /* COMPARE */
};

struct pump_run {
	struct chain_pump *pump;
	struct loop *loop;
	struct executor *source;
	struct executor *target; /* may be the source */
	struct executor *other;	 /* or NULL */
	struct slot slots[DEPTH];
	struct executor_request flush;
	bool flushing;
	unsigned in_flight;
	uint64_t piece_bytes;
	uint64_t next;	/* guest bytes handed out */
	uint64_t done;	/* and settled */
	uint64_t moved; /* for the rate */
	uint64_t began_ns;
	int err;
};

/* --- One piece ------------------------------------------------------------- */

static void fail_in(struct pump_run *run, struct image *image, int err)
{
	if (run->err)
		return;
	run->err = err;
	run->pump->failed = image;
}

static void settle(struct pump_run *run, uint64_t bytes)
{
	const struct chain_options *o = run->pump->options;

	run->done += bytes;
	if (o->progress && run->err == 0)
		o->progress(o->opaque, run->done, run->pump->size_bytes);
}

static void end_slot(struct slot *slot)
{
	slot->busy = false;
	slot->run->in_flight--;
	settle(slot->run, slot->length);
}

/* [from, from + length) of the slot's piece, in @data. */
static void submit(struct slot *slot, struct executor *executor,
		   enum executor_op op, uint8_t *data, uint64_t from,
		   uint64_t length,
		   void (*done)(struct executor_request *request, int result))
{
	slot->iov = (struct iovec){data + from, length};
	slot->request = (struct executor_request){
		.op = op,
		.offset = slot->offset + from,
		.length = length,
		.iov = op == EXECUTOR_ZERO ? NULL : &slot->iov,
		.iov_count = op == EXECUTOR_ZERO ? 0 : 1,
		.done = done,
	};
	executor_submit(executor, &slot->request);
}

static struct slot *slot_of(struct executor_request *request)
{
	return container_of(request, struct slot, request);
}

/* True if the piece is at its end because of an error, here or elsewhere. */
static bool gives_up(struct slot *slot, struct image *image, int result)
{
	if (result)
		fail_in(slot->run, image, result);
	if (slot->run->err)
		end_slot(slot);
	return slot->run->err;
}

static void put(struct slot *slot, uint64_t from, uint64_t length,
		void (*done)(struct executor_request *request, int result))
{
	bool zero = slot->action == CHAIN_ZERO ||
		    bytes_are_zero(slot->data + from, length);

	submit(slot, slot->run->target, zero ? EXECUTOR_ZERO : EXECUTOR_WRITE,
	       slot->data, from, length, done);
}

static void was_put(struct executor_request *request, int result)
{
	struct slot *slot = slot_of(request);

	if (!gives_up(slot, slot->run->pump->target, result))
		end_slot(slot);
}

static void was_read(struct executor_request *request, int result)
{
	struct slot *slot = slot_of(request);

	if (!gives_up(slot, slot->run->pump->source, result))
		put(slot, 0, slot->length, was_put);
}

/* Of the piece at @from, whole clusters of the target that are all alike. */
static uint64_t next_run(const struct slot *slot, uint64_t from, bool *ret_same)
{
	uint64_t unit =
		MAX(slot->run->pump->target->cluster_bytes, (uint32_t)SECTOR);
	uint64_t at = from;

	while (at < slot->length) {
		uint64_t end = MIN(align_down(slot->offset + at, unit) + unit -
					   slot->offset,
				   slot->length);
		bool same = memcmp(slot->data + at, slot->other + at,
				   end - at) == 0;

		if (at == from)
			*ret_same = same;
		else if (same != *ret_same)
			break;
		at = end;
	}
	return at - from;
}

static void difference_was_put(struct executor_request *request, int result);

static void put_differences(struct slot *slot)
{
	while (slot->at < slot->length) {
		uint64_t from = slot->at;
		bool same = false;
		uint64_t length = next_run(slot, from, &same);

		slot->at += length;
		if (!same) {
			put(slot, from, length, difference_was_put);
			return;
		}
	}
	end_slot(slot);
}

static void difference_was_put(struct executor_request *request, int result)
{
	struct slot *slot = slot_of(request);

	if (!gives_up(slot, slot->run->pump->target, result))
		put_differences(slot);
}

static void other_was_read(struct executor_request *request, int result)
{
	struct slot *slot = slot_of(request);

	if (!gives_up(slot, slot->run->pump->other, result))
		put_differences(slot);
}

static void read_other(struct executor_request *request, int result)
{
	struct slot *slot = slot_of(request);
	struct image *other = slot->run->pump->other;
	uint64_t there = 0;

	if (gives_up(slot, slot->run->pump->source, result))
		return;
	if (other && other->size_bytes > slot->offset)
		there = MIN(slot->length, other->size_bytes - slot->offset);
	memset(slot->other + there, 0, slot->length - there);
	slot->at = 0;
	if (there)
		submit(slot, slot->run->other, EXECUTOR_READ, slot->other, 0,
		       there, other_was_read);
	else
		put_differences(slot);
}

static void start(struct slot *slot, enum chain_action action, uint64_t offset,
		  uint64_t length)
{
	struct pump_run *run = slot->run;

	slot->busy = true;
	slot->action = action;
	slot->offset = offset;
	slot->length = length;
	run->in_flight++;
	run->moved += action == CHAIN_ZERO ? 0 : length;
	if (action == CHAIN_ZERO)
		put(slot, 0, length, was_put);
	else
		submit(slot, run->source, EXECUTOR_READ, slot->data, 0, length,
		       action == CHAIN_COPY ? was_read : read_other);
}

/* --- All of them ----------------------------------------------------------- */

static void wait_for_some(struct pump_run *run, uint64_t timeout_ns)
{
	int err = loop_wait(run->loop, timeout_ns);

	if (err < 0 && err != -EINTR && err != -ETIME)
		fail_in(run, NULL, err);
}

static void flushed(struct executor_request *request, int result)
{
	struct pump_run *run = container_of(request, struct pump_run, flush);

	run->flushing = false;
	if (result)
		fail_in(run, NULL, result);
}

static void flush(struct pump_run *run, struct executor *executor)
{
	run->flush = (struct executor_request){
		.op = EXECUTOR_FLUSH,
		.done = flushed,
	};
	run->flushing = true;
	executor_submit(executor, &run->flush);
	while (run->flushing)
		wait_for_some(run, UINT64_MAX);
}

/* Neighbours of which the same is to be done are one piece. */
static int next_piece(struct pump_run *run, enum chain_action *ret,
		      uint64_t *ret_length)
{
	struct chain_pump *pump = run->pump;
	uint64_t end =
		MIN(align_down(run->next, run->piece_bytes) + run->piece_bytes,
		    pump->size_bytes);
	uint64_t at = run->next;

	while (at < end) {
		enum chain_action action;
		uint64_t length = 0;
		int err = pump->judge(pump, at, end - at, &action, &length);

		if (err && at == run->next)
			return err;
		if (err || (at > run->next && action != *ret))
			break;
		*ret = action;
		at += length;
	}
	*ret_length = at - run->next;
	return 0;
}

static struct slot *free_slot(struct pump_run *run)
{
	for (unsigned i = 0; i < DEPTH; i++)
		if (!run->slots[i].busy)
			return &run->slots[i];
	return NULL;
}

/* Nanoseconds until the rate allows for more. */
static uint64_t too_fast_by(const struct pump_run *run)
{
	uint64_t rate = run->pump->options->rate_bytes;
	double due, now = clock_ns() - run->began_ns;

	if (rate == 0)
		return 0;
	due = (double)run->moved / rate * 1e9;
	return due > now ? due - now : 0;
}

static void step(struct pump_run *run, struct slot *slot)
{
	enum chain_action action = CHAIN_SKIP;
	uint64_t length = 0, offset = run->next;
	int err = next_piece(run, &action, &length);

	if (err == -EAGAIN) {
		if (run->in_flight)
			wait_for_some(run, UINT64_MAX);
		else
			flush(run, run->source);
	} else if (err) {
		fail_in(run, run->pump->failed, err);
	} else {
		run->next += length;
		if (action == CHAIN_SKIP)
			settle(run, length);
		else
			start(slot, action, offset, length);
	}
}

static void go_through(struct pump_run *run)
{
	run->began_ns = clock_ns();
	while (run->err == 0 && run->next < run->pump->size_bytes) {
		struct slot *slot = free_slot(run);
		uint64_t pause = too_fast_by(run);

		if (!slot)
			wait_for_some(run, UINT64_MAX);
		else if (pause)
			wait_for_some(run, pause);
		else
			step(run, slot);
	}
	/* Whatever happened: the slots' memory is in use until they end. */
	while (run->in_flight)
		wait_for_some(run, UINT64_MAX);
	if (run->err == 0) {
		flush(run, run->target);
		if (run->err)
			run->pump->failed = run->pump->target;
	}
}

static int make_slots(struct pump_run *run)
{
	const struct chain_pump *pump = run->pump;

	run->piece_bytes =
		MAX(pump->target->cluster_bytes, (uint32_t)PIECE_BYTES);
	for (unsigned i = 0; i < DEPTH; i++) {
		struct slot *slot = &run->slots[i];

		slot->run = run;
		slot->data = aligned_alloc(ALIGNMENT, run->piece_bytes);
		slot->other = aligned_alloc(ALIGNMENT, run->piece_bytes);
		if (!slot->data || !slot->other)
			return -ENOMEM;
	}
	return 0;
}

static int make_executors(struct pump_run *run)
{
	struct chain_pump *pump = run->pump;
	const struct executor_config plain = {.depth = DEPTH};
	const struct executor_config writes = {
		.depth = DEPTH,
		.writethrough = pump->options->writethrough,
	};
	bool one = pump->source == pump->target;
	int err = loop_new(LOOP_ENTRIES, &run->loop);

	if (err == 0)
		err = executor_new(run->loop, pump->target, &writes,
				   &run->target);
	if (err == 0 && !one)
		err = executor_new(run->loop, pump->source, &plain,
				   &run->source);
	if (err == 0 && pump->other)
		err = executor_new(run->loop, pump->other, &plain, &run->other);
	if (one)
		run->source = run->target;
	return err;
}

static void free_run(struct pump_run *run)
{
	if (run->other)
		executor_free(run->other);
	if (run->source && run->source != run->target)
		executor_free(run->source);
	if (run->target)
		executor_free(run->target);
	if (run->loop)
		loop_free(run->loop);
	for (unsigned i = 0; i < DEPTH; i++) {
		free(run->slots[i].data);
		free(run->slots[i].other);
	}
	free(run);
}

int chain_pump_run(struct chain_pump *pump)
{
	struct pump_run *run = calloc(1, sizeof(*run));
	int err;

	if (!run)
		return -ENOMEM;
	run->pump = pump;
	err = make_slots(run);
	if (err == 0)
		err = make_executors(run);
	if (err == 0) {
		go_through(run);
		err = run->err;
	}
	free_run(run);
	return err;
}
