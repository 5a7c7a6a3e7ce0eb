/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a request. executor-private.h says how the parts fit together.
 *
 * Plain data from end to end is the path that must be short: executor_submit,
 * begin, executor_map, submit_direct; then direct_done, complete, @done.
 */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "image/executor-private.h"

enum request_state {
	REQUEST_STEPPING, /* or waiting in a list: somebody will step it */
	REQUEST_DRAINING, /* mapped or failed; the last part steps it */
};

int executor_outcome(int outcome)
{
	if (outcome <= 0)
		return outcome;
	return outcome == IMAGE_E_NO_SPACE ? -ENOSPC : -EIO;
}

static bool has_work(const struct executor *executor)
{
	return executor->runnable.first || executor->ended ||
	       executor->busy > 0 || executor->released ||
	       executor_wants_flush(executor) ||
	       executor_has_packs_to_map(executor);
}

static void executor_poll(struct executor *executor)
{
	if (has_work(executor))
		executor_run(executor);
}

static bool moves_data(const struct executor_request *request)
{
	return request->op == EXECUTOR_READ || request->op == EXECUTOR_WRITE;
}

/* What it mapped is used no more. */
static void uncount(struct executor *executor, struct executor_request *request)
{
	if (!request->counted)
		return;
	request->counted = false;
	executor->live[request->parity]--;
	if (executor->draining && executor->live[executor->parity ^ 1] == 0)
		executor_group_drained(executor);
}

void executor_finish(struct executor_request *request, int result)
{
	request->executor->in_flight--;
	request->done(request, result);
}

static void begin(struct executor *executor, struct executor_request *request);

static void begin_waiting(struct executor *executor)
{
	while (executor->waiting.first && executor->active < executor->depth)
		begin(executor, request_list_pop(&executor->waiting));
}

/* Each byte is in place, or the request has failed. */
static void complete(struct executor *executor,
		     struct executor_request *request, int result)
{
	uncount(executor, request);
	if (request->nested) {
		request->done(request, result);
		return;
	}
	/* Somebody else may have its turn. */
	executor->active--;
	if (executor->writethrough && result == 0 &&
	    request->op != EXECUTOR_READ)
		executor_join_flush(request);
	else
		executor_finish(request, result);
	if (executor->waiting.first)
		begin_waiting(executor);
}

/*
 * The rest of a request whose direct transfer moved less than all: mapped
 * again from where it stopped, and carried out by parts.
 */
static void direct_short(struct executor *executor,
			 struct executor_request *request, int32_t result)
{
	if (result == 0 && request->op == EXECUTOR_READ) {
		/* The store ends before the first byte. */
		iov_fill(&request->cursor, 0, request->length);
		request->at = request->length;
	} else if (result == 0) {
		request->result = -EIO;
	} else if (result > 0) {
		request->at = result;
		iov_skip(&request->cursor, result);
	} else if (result != -EAGAIN && result != -EINTR) {
		request->result = result;
	}
	request_list_push(&executor->runnable, request);
}

static void direct_done(struct loop_op *op, int32_t result, uint32_t flags)
{
	struct executor_request *request =
		container_of(op, struct executor_request, loop_op);
	struct executor *executor = request->executor;

	if (result >= 0 && (uint64_t)result == request->length)
		complete(executor, request, 0);
	else
		direct_short(executor, request, result);
	executor_poll(executor);
}

/* Whether the caller's buffers can go to the store as they are. */
static bool is_direct(const struct executor_request *request,
		      const struct image_extent *extent,
		      const struct executor_file *file)
{
	const struct store *store = extent->store;

	if (extent->kind != IMAGE_DATA || extent->length != request->length ||
	    request->at != 0 || file->fd < 0 ||
	    request->length > TRANSFER_MAX_BYTES ||
	    request->iov_count > IOV_MAX || !moves_data(request))
		return false;
	if (!store->can_grow &&
	    !range_fits(extent->host_offset, extent->length, store->size_bytes))
		return false;
	if (store->alignment == 1)
		return true;
	return executor_is_aligned(store, extent->host_offset, request->iov,
				   request->iov_count);
}

static void submit_direct(struct executor *executor,
			  struct executor_request *request,
			  const struct executor_file *file,
			  uint64_t store_offset)
{
	uint64_t offset = file->store->fd_offset + store_offset;
	const struct iovec *iov = request->iov;
	bool write = request->op == EXECUTOR_WRITE;
	struct io_uring_sqe *sqe;

	request->loop_op.done = direct_done;
	if (file->in_line &&
	    executor_add_inline(executor, file, write, iov, request->iov_count,
				offset, &request->loop_op))
		return;
	sqe = loop_sqe(executor->loop);
	if (request->iov_count != 1)
		io_uring_prep_rw(write ? IORING_OP_WRITEV : IORING_OP_READV,
				 sqe, file->fd, iov, request->iov_count,
				 offset);
	else
		io_uring_prep_rw(write ? IORING_OP_WRITE : IORING_OP_READ, sqe,
				 file->fd, iov->iov_base, iov->iov_len, offset);
	sqe->flags = file->sqe_flags;
	loop_bind(sqe, &request->loop_op);
}

/* A read never needs a fill, and must not wait for one: it may be a fill's. */
static bool has_room(const struct executor *executor,
		     const struct executor_request *request)
{
	return executor->free_transfers &&
	       (executor->free_fills || request->op == EXECUTOR_READ);
}

static int map_rest(struct executor *executor, struct executor_request *request,
		    struct found *ret_found)
{
	if (request->op == EXECUTOR_WRITE_COMPRESSED)
		return executor_pack_map(request, ret_found);
	return executor_map(executor, request->op,
			    request->offset + request->at,
			    request->length - request->at, ret_found);
}

/* One extent, or what keeps it from being carried out now. */
static enum step step_once(struct executor *executor,
			   struct executor_request *request)
{
	struct executor_file *file;
	struct found found;

	if (request->op == EXECUTOR_WRITE_COMPRESSED && !request->packed)
		return executor_pack_step(request);
	/* Before the map: some extents must be followed up once answered. */
	if (!has_room(executor, request)) {
		request_list_push(&executor->starved, request);
		return STEP_PARKED;
	}
	request->result = map_rest(executor, request, &found);
	if (request->result < 0)
		return STEP_ON;
	if (request->packed && found.extent.length > 0)
		executor_pack_mapped(request);
	if (found.extent.kind == IMAGE_DATA && !found.extent.cipher) {
		file = executor_file(executor, found.extent.store);
		if (file && is_direct(request, &found.extent, file)) {
			submit_direct(executor, request, file,
				      found.extent.host_offset);
			return STEP_PARKED;
		}
	}
	return executor_extent(request, &found);
}

/*
 * A request that waited and has no part under way holds nothing that was mapped
 * before: it counts as a new one. Otherwise one that waits for freed room to be
 * reclaimed (a flush cannot bring that about alone) would wait for itself.
 */
static void renew(struct executor *executor, struct executor_request *request)
{
	if (!request->counted || request->pending > 0 ||
	    request->parity == executor->parity)
		return;
	executor->live[request->parity]--;
	request->parity = executor->parity;
	executor->live[request->parity]++;
	if (executor->draining && executor->live[executor->parity ^ 1] == 0)
		executor_group_drained(executor);
}

static void step(struct executor *executor, struct executor_request *request)
{
	renew(executor, request);
	request->state = REQUEST_STEPPING;
	while (request->at < request->length && request->result == 0)
		if (step_once(executor, request) == STEP_PARKED)
			return;
	request->state = REQUEST_DRAINING;
	if (request->pending == 0)
		complete(executor, request, request->result);
}

void executor_part_ended(struct executor_request *request, int result)
{
	request->pending--;
	if (result < 0 && request->result == 0)
		request->result = result;
	if (request->pending == 0 && request->state == REQUEST_DRAINING)
		request_list_push(&request->executor->runnable, request);
}

/*
 * The first step at once, since it is often the only one; what is left is
 * stepped from executor_run, so that @done never runs deeper than one level.
 */
static void begin_step(struct executor *executor,
		       struct executor_request *request)
{
	request->state = REQUEST_STEPPING;
	if (request->length == 0 || step_once(executor, request) == STEP_ON)
		request_list_push(&executor->runnable, request);
}

static void count(struct executor *executor, struct executor_request *request)
{
	request->counted = true;
	request->parity = executor->parity;
	executor->live[request->parity]++;
}

static void begin(struct executor *executor, struct executor_request *request)
{
	executor->active++;
	if (request->op != EXECUTOR_WRITE_COMPRESSED)
		count(executor, request);
	begin_step(executor, request);
}

static void prepare(struct executor *executor, struct executor_request *request)
{
	request->executor = executor;
	request->at = 0;
	request->pending = 0;
	request->result = 0;
	request->counted = false;
	request->cursor = iov_cursor(request->iov, request->iov_count);
}

void executor_begin_nested(struct executor *executor,
			   struct executor_request *request)
{
	prepare(executor, request);
	request->nested = true;
	if (request->packed)
		count(executor, request);
	begin_step(executor, request);
}

void executor_submit(struct executor *executor,
		     struct executor_request *request)
{
	prepare(executor, request);
	request->nested = false;
	request->packed = false;
	executor->in_flight++;
	if (request->op == EXECUTOR_FLUSH)
		executor_join_flush(request);
	else if (executor->active >= executor->depth)
		request_list_push(&executor->waiting, request);
	else
		begin(executor, request);
	executor_poll(executor);
}

/* What is runnable now; what they make runnable is left for the next round. */
static void step_runnable(struct executor *executor)
{
	struct request_list list = executor->runnable;
	struct executor_request *request;

	executor->runnable.first = NULL;
	while ((request = request_list_pop(&list)))
		step(executor, request);
}

static void end_transfers(struct executor *executor)
{
	struct executor_transfer *transfer = executor->ended;

	executor->ended = NULL;
	executor->ended_tail = &executor->ended;
	while (transfer) {
		struct executor_transfer *next = transfer->next;

		transfer->ended(transfer, transfer->result);
		transfer = next;
	}
}

/* Everybody may look at the pools again, in the order of their arrival. */
static void feed_starved(struct executor *executor)
{
	if (!executor->released)
		return;
	executor->released = false;
	executor_bounce_waiters(executor);
	if (executor->free_transfers)
		request_list_move(&executor->runnable, &executor->starved);
}

void executor_run(struct executor *executor)
{
	if (executor->running)
		return;
	executor->running = true;
	do {
		if (executor->busy > 0)
			executor_collect(executor);
		end_transfers(executor);
		feed_starved(executor);
		step_runnable(executor);
		executor_map_packs(executor);
		if (executor_wants_flush(executor))
			executor_flush_go(executor);
	} while (executor->runnable.first || executor->ended ||
		 executor->released || executor_wants_flush(executor) ||
		 executor_has_packs_to_map(executor));
	executor->running = false;
}

static int make(struct executor *executor, const struct executor_config *config)
{
	int err;

	executor->depth = MAX(config->depth, 1u);
	executor->writethrough = config->writethrough;
	executor->no_sync = config->no_sync;
	executor->in_line = config->in_line;
	executor->pool = config->pool;
	executor->level = config->level;
	executor->ended_tail = &executor->ended;
	err = executor_init_flush(executor);
	if (err == 0)
		err = codec_new(&executor->codec);
	if (err == 0)
		err = executor_make_levels(executor);
	if (err == 0)
		err = executor_make_pools(executor);
	if (err == 0 && config->compress)
		err = executor_make_packs(executor);
	if (err == 0)
		err = executor_join_group(executor);
	return err;
}

int executor_new(struct loop *loop, struct image *image,
		 const struct executor_config *config,
		 struct executor **ret_executor)
{
	struct executor *executor = calloc(1, sizeof(*executor));
	int err;

	if (!executor)
		return -ENOMEM;
	executor->loop = loop;
	executor->image = image;
	err = make(executor, config);
	if (err < 0) {
		executor_free(executor);
		return err;
	}
	*ret_executor = executor;
	return 0;
}

void executor_free(struct executor *executor)
{
	if (!executor)
		return;
	assert(executor->in_flight == 0);
	executor_leave_group(executor);
	executor_free_levels(executor);
	executor_free_pools(executor);
	executor_free_packs(executor);
	executor_deinit_flush(executor);
	codec_free(executor->codec);
	free(executor);
}

void executor_set_writethrough(struct executor *executor, bool on)
{
	executor->writethrough = on;
}

unsigned executor_in_flight(const struct executor *executor)
{
	return executor->in_flight;
}
