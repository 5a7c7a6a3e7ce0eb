/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flushes. A request that asks for one joins the next to begin, never the one
 * under way, whose barrier may have passed already; any number share one. The
 * plan's steps go out in order: writes side by side up to the next barrier,
 * which waits for them and then syncs every store.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "image/executor-private.h"

static void go_on(struct executor *executor);
static void try_begin(struct executor *executor);

static void write_ended(struct executor_transfer *transfer, int result)
{
	struct executor_flush *flush = &transfer->executor->flush;

	transfer->next = flush->free;
	flush->free = transfer;
	flush->pending--;
	if (result < 0 && flush->result == 0 &&
	    transfer->kind != TRANSFER_PUNCH)
		flush->result = result;
	go_on(transfer->executor);
}

static void start_transfer(struct executor *executor,
			   const struct image_step *step)
{
	struct executor_flush *flush = &executor->flush;
	struct executor_transfer *transfer = flush->free;
	struct executor_file *file = executor_file(executor, step->store);

	if (!file) {
		flush->result = -EMFILE;
		return;
	}
	flush->free = transfer->next;
	flush->pending++;
	transfer->executor = executor;
	transfer->ended = write_ended;
	transfer->file = file;
	transfer->offset = step->offset;
	transfer_set_buffer(transfer, step->data, step->length);
	transfer->kind = step->kind == IMAGE_STEP_WRITE ? TRANSFER_WRITE
							: TRANSFER_PUNCH;
	transfer_start(transfer);
}

static void synced(struct executor *executor, int result)
{
	struct executor_flush *flush = &executor->flush;

	if (--flush->pending == 0)
		flush->at_barrier = false;
	if (result < 0 && flush->result == 0)
		flush->result = result;
}

static void sync_done(struct executor *executor, int32_t result)
{
	synced(executor, result);
	go_on(executor);
	executor_run(executor);
}

static void store_synced(struct loop_op *op, int32_t result, uint32_t flags)
{
	struct executor_barrier *barrier =
		container_of(op, struct executor_barrier, op);

	sync_done(barrier->executor, store_flushed(barrier->store, result));
}

/* On a thread of the store's. */
static void io_done(struct store_io *io, int result)
{
	struct executor_barrier *barrier =
		container_of(io, struct executor_barrier, io);

	barrier->io_result = result;
	loop_post(barrier->executor->loop, &barrier->io_ended);
}

static void io_ended(struct loop_message *message)
{
	struct executor_barrier *barrier =
		container_of(message, struct executor_barrier, io_ended);

	sync_done(barrier->executor, barrier->io_result);
}

static void sync_without_fd(struct executor_barrier *barrier)
{
	barrier->io = (struct store_io){
		.kind = STORE_IO_FLUSH,
		.done = io_done,
	};
	barrier->io_ended.run = io_ended;
	if (!store_submit(barrier->store, &barrier->io))
		synced(barrier->executor, store_flush(barrier->store));
}

static void sync_store(struct executor_barrier *barrier)
{
	struct executor *executor = barrier->executor;
	struct store *store = barrier->store;
	struct executor_file *file = executor_file(executor, store);
	struct io_uring_sqe *sqe;

	if (executor->no_sync)
		return;
	executor->flush.pending++;
	if (!file || file->fd < 0) {
		sync_without_fd(barrier);
		return;
	}
	sqe = loop_sqe(executor->loop);
	io_uring_prep_fsync(sqe, file->fd, IORING_FSYNC_DATASYNC);
	sqe->flags = file->sqe_flags;
	loop_bind(sqe, &barrier->op);
}

static void start_barrier(struct executor *executor)
{
	struct executor_flush *flush = &executor->flush;

	for (unsigned i = 0; i < flush->barrier_count; i++)
		sync_store(&flush->barriers[i]);
	flush->at_barrier = flush->pending > 0;
}

/* True if the step was started (or done); false: it waits for the others. */
static bool start_step(struct executor *executor, const struct image_step *step)
{
	struct executor_flush *flush = &executor->flush;

	if (flush->at_barrier)
		return false;
	switch (step->kind) {
	case IMAGE_STEP_WRITE:
	case IMAGE_STEP_PUNCH:
		if (!flush->free)
			return false;
		start_transfer(executor, step);
		return true;
	case IMAGE_STEP_BARRIER:
		if (flush->pending > 0)
			return false;
		start_barrier(executor);
		return true;
	case IMAGE_STEP_RESIZE:
		if (flush->pending > 0)
			return false;
		flush->result = store_resize(step->store, step->offset);
		return true;
	}
	flush->result = -EINVAL;
	return true;
}

/* Everybody who waited for this flush goes on. */
static void release(struct executor *executor, int result)
{
	struct executor_flush *flush = &executor->flush;
	struct request_list current = flush->current;
	struct executor_request *request;

	flush->current.first = NULL;
	flush->running = false;
	while ((request = request_list_pop(&flush->must))) {
		if (result < 0 && request->result == 0)
			request->result = result;
		request_list_push(&executor->runnable, request);
	}
	while ((request = request_list_pop(&current)))
		executor_finish(request, result);
}

static void end(struct executor *executor)
{
	struct executor_flush *flush = &executor->flush;
	int result = flush->result;

	executor_calls_image(executor);
	image_flush_end(executor->image, &flush->plan, result);
	executor_called_image(executor);
	if (result == 0)
		executor_group_flushed(executor);
	if (flush->plan.again)
		try_begin(executor);
	else
		release(executor, result);
}

/* loop_sqe may reap, and so come back here: the outer call sees to it. */
static void go_on(struct executor *executor)
{
	struct executor_flush *flush = &executor->flush;

	if (flush->stepping)
		return;
	flush->stepping = true;
	while (flush->result == 0 && flush->step < flush->plan.count &&
	       start_step(executor, &flush->plan.steps[flush->step]))
		flush->step++;
	flush->stepping = false;
	if (flush->pending == 0 &&
	    (flush->result < 0 || flush->step == flush->plan.count))
		end(executor);
}

static void try_begin(struct executor *executor)
{
	struct executor_flush *flush = &executor->flush;
	uint64_t generation = image_generation(executor->image);
	int outcome = image_flush_begin(executor->image, &flush->plan);

	if (outcome == IMAGE_E_BUSY) {
		/* Another executor's: ours begins when that has ended. */
		executor_wait(&flush->retry, 0, generation);
		return;
	}
	flush->result = 0;
	flush->step = 0;
	if (outcome == 0)
		go_on(executor);
	else
		release(executor, executor_outcome(outcome));
}

/* The retry is a request of no bytes: stepping it ends it. */
static void retry(struct executor_request *request, int result)
{
	try_begin(request->executor);
}

/* Stores that cannot be written have nothing to sync. */
static int make_barriers(struct executor *executor)
{
	struct image *image = executor->image;
	struct executor_flush *flush = &executor->flush;

	flush->barriers =
		calloc(image_store_count(image), sizeof(*flush->barriers));
	if (!flush->barriers)
		return -ENOMEM;
	for (size_t i = 0; i < image_store_count(image); i++) {
		struct store *store = image_store_at(image, i);

		if (!store || store->read_only)
			continue;
		flush->barriers[flush->barrier_count++] =
			(struct executor_barrier){
				.op.done = store_synced,
				.executor = executor,
				.store = store,
			};
	}
	return 0;
}

void executor_deinit_flush(struct executor *executor)
{
	free(executor->flush.barriers);
}

int executor_init_flush(struct executor *executor)
{
	struct executor_flush *flush = &executor->flush;

	for (unsigned i = 0; i < FLUSH_TRANSFERS; i++) {
		flush->transfers[i].next = flush->free;
		flush->free = &flush->transfers[i];
	}
	flush->retry = (struct executor_request){
		.executor = executor, .nested = true, .done = retry};
	return make_barriers(executor);
}

void executor_join_flush(struct executor_request *request)
{
	request_list_push(&request->executor->flush.next, request);
}

void executor_park_for_flush(struct executor_request *request)
{
	request_list_push(&request->executor->flush.must, request);
}

void executor_flush_go(struct executor *executor)
{
	struct executor_flush *flush = &executor->flush;

	flush->running = true;
	flush->current = flush->next;
	flush->next.first = NULL;
	try_begin(executor);
}
