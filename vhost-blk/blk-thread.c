/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-blk/blk-thread.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "base/loop-call.h"
#include "base/worker.h"

enum {
	LOOP_ENTRIES = 256,
	/* How often a queue without a kick descriptor is looked at. */
	NOFD_NS = 1000 * 1000,
};

/* A queue as its thread sees it. */
struct attachment {
	struct attachment *next;
	struct blk_queue *queue;
	struct loop_watch *watch; /* of the kick; NULL: look now and then */
	bool reported;		  /* as broken */
	struct call *detach;	  /* who waits for the last request; or NULL */
};

struct blk_thread {
	struct worker worker;
	struct blk_thread_config config;
	struct executor *executor;
	struct attachment *attachments;
};

/* Something that the control thread has done on the I/O thread, and awaits. */
struct call {
	struct loop_call call;
	struct blk_thread *thread;
	struct blk_queue *queue;
	int kick_fd;
	bool on;
};

static struct call *from_loop(struct loop_call *call)
{
	return container_of(call, struct call, call);
}

static struct blk_thread *from_worker(struct worker *worker)
{
	return container_of(worker, struct blk_thread, worker);
}

static int call_and_wait(struct call *call)
{
	return loop_call(call->thread->worker.loop, &call->call);
}

static struct attachment **find(struct blk_thread *thread,
				const struct blk_queue *queue)
{
	struct attachment **at = &thread->attachments;

	while (*at && (*at)->queue != queue)
		at = &(*at)->next;
	return at;
}

/*
 * Nothing to do: that the loop woke is enough, and the eventfd's counter need
 * not be read, since the watch reports each write to it. It is emptied when
 * the queue stops; see blk-device.c.
 */
static void kicked(void *arg, int revents)
{
	struct attachment *attachment = arg;

	if (revents < 0) {
		loop_watch_free(attachment->watch);
		attachment->watch = NULL;
	}
}

static void run_attach(struct loop_call *posted)
{
	struct call *call = from_loop(posted);
	struct attachment *attachment = calloc(1, sizeof(*attachment));
	struct blk_thread *thread = call->thread;
	int err;

	if (!attachment) {
		loop_call_end(&call->call, -ENOMEM);
		return;
	}
	attachment->queue = call->queue;
	if (call->kick_fd >= 0) {
		err = loop_watch_new(thread->worker.loop, call->kick_fd, POLLIN,
				     kicked, attachment, &attachment->watch);
		if (err < 0) {
			free(attachment);
			loop_call_end(&call->call, err);
			return;
		}
	}
	call->queue->executor = thread->executor;
	call->queue->enabled = call->on;
	virtq_kicks_off(call->queue->vq);
	attachment->next = thread->attachments;
	thread->attachments = attachment;
	loop_call_end(&call->call, 0);
}

static void run_detach(struct loop_call *posted)
{
	struct call *call = from_loop(posted);
	struct attachment *attachment = *find(call->thread, call->queue);

	call->queue->enabled = false;
	attachment->detach = call;
}

static void run_enable(struct loop_call *posted)
{
	struct call *call = from_loop(posted);
	struct attachment *attachment = *find(call->thread, call->queue);

	if (attachment && !attachment->detach)
		call->queue->enabled = call->on;
	loop_call_end(&call->call, 0);
}

static void run_writethrough(struct loop_call *posted)
{
	struct call *call = from_loop(posted);
	executor_set_writethrough(call->thread->executor, call->on);
	loop_call_end(&call->call, 0);
}

/* After a queue's round: reports that it broke, or lets it go. */
static void look_after(struct blk_thread *thread, struct attachment **at)
{
	struct attachment *attachment = *at;
	struct call *detach = attachment->detach;

	if (attachment->queue->broken && !attachment->reported) {
		attachment->reported = true;
		thread->config.queue_broke(thread->config.arg,
					   attachment->queue);
	}
	if (detach && attachment->queue->in_flight == 0) {
		*at = attachment->next;
		loop_watch_free(attachment->watch);
		free(attachment);
		loop_call_end(&detach->call, 0);
	}
}

/* One round. True if there was anything to do. */
static bool serve(struct worker *worker)
{
	struct blk_thread *thread = from_worker(worker);
	struct attachment **at = &thread->attachments;
	unsigned work = 0;

	for (struct attachment *a = thread->attachments; a; a = a->next)
		work += blk_queue_take(a->queue);
	loop_submit(worker->loop);
	work += loop_reap(worker->loop);
	while (*at) {
		struct attachment *attachment = *at;

		blk_queue_publish(attachment->queue);
		look_after(thread, at);
		if (*at == attachment)
			at = &attachment->next;
	}
	return work > 0;
}

static bool may_spin(struct worker *worker)
{
	return from_worker(worker)->attachments;
}

/*
 * What is under way may be in the hands of a kernel thread that wants this very
 * core (io_uring's workers, for what cannot be done without waiting): while
 * requests are out the core is offered to others at each turn.
 */
static void relax(struct worker *worker)
{
	if (executor_in_flight(from_worker(worker)->executor) > 0)
		sched_yield();
	else
		cpu_relax();
}

static bool prepare_sleep(struct worker *worker, uint64_t *timeout_ns)
{
	struct attachment *a = from_worker(worker)->attachments;
	bool again = false;
	uint64_t wait;

	for (; a; a = a->next) {
		if (!blk_queue_can_take(a->queue))
			continue;
		wait = blk_queue_wait_ns(a->queue);
		if (wait == 0) {
			wait = a->watch ? UINT64_MAX : NOFD_NS;
			again |= virtq_kicks_on(a->queue->vq);
		}
		*timeout_ns = MIN(*timeout_ns, wait);
	}
	return again;
}

static void awake(struct worker *worker)
{
	struct attachment *a = from_worker(worker)->attachments;

	for (; a; a = a->next)
		virtq_kicks_off(a->queue->vq);
}

static int open_executor(struct worker *worker)
{
	struct blk_thread *thread = from_worker(worker);
	const struct executor_config config = {
		.depth = BLK_QUEUE_DEPTH,
		.writethrough = thread->config.writethrough,
	};

	return executor_new(worker->loop, thread->config.image, &config,
			    &thread->executor);
}

static void close_executor(struct worker *worker)
{
	executor_free(from_worker(worker)->executor);
}

static const struct worker_ops ops = {
	.open = open_executor,
	.close = close_executor,
	.serve = serve,
	.may_spin = may_spin,
	.relax = relax,
	.prepare_sleep = prepare_sleep,
	.awake = awake,
};

int blk_thread_new(const struct blk_thread_config *config,
		   struct blk_thread **ret_thread)
{
	const struct worker_config worker = {
		.ops = &ops,
		.name = "io",
		.number = config->number,
		.loop_entries = LOOP_ENTRIES,
		.poll = config->poll,
	};
	struct blk_thread *thread = calloc(1, sizeof(*thread));
	int err;

	if (!thread)
		return -ENOMEM;
	thread->config = *config;
	err = worker_start(&thread->worker, &worker);
	if (err < 0) {
		free(thread);
		return err;
	}
	*ret_thread = thread;
	return 0;
}

void blk_thread_free(struct blk_thread *thread)
{
	if (!thread)
		return;
	worker_stop(&thread->worker);
	free(thread);
}

int blk_thread_attach(struct blk_thread *thread, struct blk_queue *queue,
		      int kick_fd, bool enabled)
{
	struct call call = {
		.thread = thread,
		.call.run = run_attach,
		.queue = queue,
		.kick_fd = kick_fd,
		.on = enabled,
	};

	return call_and_wait(&call);
}

void blk_thread_detach(struct blk_thread *thread, struct blk_queue *queue)
{
	struct call call = {
		.thread = thread,
		.call.run = run_detach,
		.queue = queue,
	};

	call_and_wait(&call);
}

void blk_thread_enable(struct blk_thread *thread, struct blk_queue *queue,
		       bool enabled)
{
	struct call call = {
		.thread = thread,
		.call.run = run_enable,
		.queue = queue,
		.on = enabled,
	};

	call_and_wait(&call);
}

void blk_thread_set_writethrough(struct blk_thread *thread, bool on)
{
	struct call call = {
		.thread = thread,
		.call.run = run_writethrough,
		.on = on,
	};

	call_and_wait(&call);
}
