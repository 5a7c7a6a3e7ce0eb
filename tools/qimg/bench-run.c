/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As many requests as the depth says are under way at any time. The requests'
 * callbacks may come from within executor_submit, and so only note what
 * happened; pump() acts on it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "image/codec-pool.h"
#include "image/executor.h"
#include "tools/qimg/bench.h"

enum {
	LOOP_ENTRIES = 256,
	SECTOR_BYTES = 512,
	BUFFER_ALIGNMENT = 4096,
	TICK_NS = NS_PER_SECOND / 10,
};

struct slot {
	struct executor_request request;
	struct iovec iov;
	struct run *run;
	struct slot *next; /* free */
	uint64_t began_ns;
};

struct flush {
	struct executor_request request;
	struct run *run;
};

struct run {
	const struct bench_plan *plan;
	struct bench_result *result;
	struct loop *loop;
	struct codec_pool *pool;
	struct executor *executor;
	struct slot *slots, *free;
	size_t slot_count;
	char *buffers;
	size_t buffers_bytes;
	uint64_t left;	   /* to be started */
	uint64_t size;	   /* of the image, in whole sectors */
	uint64_t offset;   /* of the next request */
	size_t in_flight;  /* without flushes */
	unsigned flushing; /* flushes under way */
	bool draining;	   /* a flush is due when nothing is in flight */
	int status;	   /* 1: failed, and said so */
};

/* Only the first error is told. */
static void fail(struct run *run, int err)
{
	if (run->status == 0)
		cli_error("Failed request: %s",
			  qimg_image_reason(run->plan->image, err));
	run->status = 1;
}

static void request_done(struct executor_request *request, int result)
{
	struct slot *slot = container_of(request, struct slot, request);
	struct run *run = slot->run;

	histogram_add(&run->result->latency_ns, clock_ns() - slot->began_ns);
	if (result < 0)
		fail(run, result);
	run->result->requests++;
	run->in_flight--;
	slot->next = run->free;
	run->free = slot;
}

static void flush_done(struct executor_request *request, int result)
{
	struct flush *flush = container_of(request, struct flush, request);

	if (result < 0)
		fail(flush->run, result);
	flush->run->flushing--;
	free(flush);
}

static void start_flush(struct run *run)
{
	struct flush *flush = calloc(1, sizeof(*flush));

	if (!flush) {
		fail(run, -ENOMEM);
		return;
	}
	flush->run = run;
	flush->request.op = EXECUTOR_FLUSH;
	flush->request.done = flush_done;
	run->flushing++;
	run->result->flushes++;
	executor_submit(run->executor, &flush->request);
}

/*
 * Bytes of the next request that the image has: its last sector may not be
 * whole. 0, with a message, if the request goes past that.
 */
static uint64_t bytes_there(struct run *run)
{
	uint64_t bytes = run->plan->request_bytes;
	uint64_t image_bytes = run->plan->image->size_bytes;

	if (range_fits(run->offset, bytes, run->size))
		return run->offset < image_bytes
			       ? MIN(bytes, image_bytes - run->offset)
			       : 0;
	if (run->status == 0)
		cli_error("Failed request: Input/output error: %" PRIu64
			  " bytes from %" PRIu64 " on are not all in the "
			  "%" PRIu64 " of %s; use another -o, -s or -S",
			  bytes, run->offset, run->size, run->plan->name);
	run->status = 1;
	return 0;
}

static void start_request(struct run *run)
{
	const struct bench_plan *plan = run->plan;
	struct slot *slot = run->free;
	uint64_t bytes = bytes_there(run);

	if (run->status)
		return;
	run->free = slot->next;
	slot->iov.iov_len = bytes;
	slot->request = (struct executor_request){
		.op = plan->write ? EXECUTOR_WRITE : EXECUTOR_READ,
		.offset = run->offset,
		.length = bytes,
		.iov = &slot->iov,
		.iov_count = 1,
		.done = request_done,
	};
	run->offset = (run->offset + plan->step) % run->size;
	run->left--;
	run->in_flight++;
	slot->began_ns = clock_ns();
	executor_submit(run->executor, &slot->request);
}

static bool is_flush_due(const struct run *run)
{
	uint64_t interval = run->plan->flush_interval;

	return interval && run->left % interval == 0;
}

static void pump(struct run *run)
{
	if (run->draining && run->in_flight == 0 && run->flushing == 0) {
		run->draining = false;
		start_flush(run);
	}
	while (run->left && run->free && !run->draining && run->status == 0) {
		if (run->plan->drain && run->flushing)
			return;
		start_request(run);
		if (!is_flush_due(run))
			continue;
		if (run->plan->drain)
			run->draining = true;
		else
			start_flush(run);
	}
}

static bool is_busy(const struct run *run)
{
	return run->in_flight || run->flushing ||
	       (run->status == 0 && (run->left || run->draining));
}

/* --- Before and after --- */

static int make_slots(struct run *run)
{
	const struct bench_plan *plan = run->plan;
	size_t count = MIN((uint64_t)plan->depth, plan->count);
	size_t bytes = align_up(plan->request_bytes, BUFFER_ALIGNMENT);

	if (count == 0)
		return 0;
	run->slots = calloc(count, sizeof(*run->slots));
	if (!run->slots || bytes > SIZE_MAX / count)
		return -ENOMEM;
	run->buffers = mmap(NULL, bytes * count, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (run->buffers == MAP_FAILED) {
		run->buffers = NULL;
		return -ENOMEM;
	}
	run->buffers_bytes = bytes * count;
	/* So that none of it is made while time is taken. */
	memset(run->buffers, plan->pattern, run->buffers_bytes);
	for (size_t i = count; i-- > 0;) {
		struct slot *slot = &run->slots[i];

		slot->run = run;
		slot->iov.iov_base = run->buffers + i * bytes;
		slot->next = run->free;
		run->free = slot;
	}
	return 0;
}

static bool is_compressed(const struct image *image)
{
	while (image && image->codec == IMAGE_CODEC_NONE)
		image = image->backing;
	return image != NULL;
}

static int start(struct run *run)
{
	const struct bench_plan *plan = run->plan;
	int err = make_slots(run);

	if (err == 0)
		err = loop_new(LOOP_ENTRIES, &run->loop);
	if (err == 0 && is_compressed(plan->image))
		err = codec_pool_new(0, &run->pool);
	if (err == 0) {
		const struct executor_config config = {
			.depth = plan->depth,
			.writethrough = plan->cache.writethrough,
			.no_sync = plan->cache.no_flush,
			.pool = run->pool,
		};

		err = executor_new(run->loop, plan->image, &config,
				   &run->executor);
	}
	return err ? cli_error("cannot start: %s", strerror(-err)) : 0;
}

static void stop(struct run *run)
{
	executor_free(run->executor);
	codec_pool_free(run->pool);
	if (run->loop)
		loop_free(run->loop);
	if (run->buffers)
		munmap(run->buffers, run->buffers_bytes);
	free(run->slots);
}

static void send_all(struct run *run)
{
	uint64_t began_ns = clock_ns();

	for (pump(run); is_busy(run); pump(run))
		loop_wait(run->loop, TICK_NS);
	run->result->elapsed_ns = clock_ns() - began_ns;
}

int bench_run(const struct bench_plan *plan, struct bench_result *ret)
{
	struct run run = {
		.plan = plan,
		.result = ret,
		.left = plan->count,
		.size = align_up(plan->image->size_bytes, SECTOR_BYTES),
		.offset = plan->offset,
	};

	*ret = (struct bench_result){0};
	run.status = start(&run);
	if (run.status == 0)
		send_all(&run);
	stop(&run);
	return run.status;
}
