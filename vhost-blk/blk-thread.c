/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-blk/blk-thread.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/loop-call.h"
#include "base/loop.h"
#include "base/spin.h"

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
	struct blk_thread_config config;
	pthread_t pthread;
	struct loop *loop;
	struct executor *executor;
	struct attachment *attachments;
	struct spin spin;
	bool quit;
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

static int call_and_wait(struct call *call)
{
	return loop_call(call->thread->loop, &call->call);
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
		err = loop_watch_new(thread->loop, call->kick_fd, POLLIN,
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

static void run_quit(struct loop_call *posted)
{
	struct call *call = from_loop(posted);
	call->thread->quit = true;
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
static bool serve(struct blk_thread *thread)
{
	struct attachment **at = &thread->attachments;
	unsigned work = 0;

	for (struct attachment *a = thread->attachments; a; a = a->next)
		work += blk_queue_take(a->queue);
	loop_submit(thread->loop);
	work += loop_reap(thread->loop);
	while (*at) {
		struct attachment *attachment = *at;

		blk_queue_publish(attachment->queue);
		look_after(thread, at);
		if (*at == attachment)
			at = &attachment->next;
	}
	return work > 0;
}

static void sleep_for(struct blk_thread *thread, uint64_t timeout_ns)
{
	uint64_t began = clock_ns();

	if (loop_wait(thread->loop, timeout_ns) <= 0)
		return;
	spin_slept(&thread->spin, clock_ns() - began);
}

/*
 * What is under way may be in the hands of a kernel thread that wants this very
 * core (io_uring's workers, for what cannot be done without waiting): while
 * requests are out the core is offered to others at each turn.
 */
static bool look_again(struct blk_thread *thread)
{
	if (!thread->attachments || !spin_again(&thread->spin, clock_ns()))
		return false;
	if (executor_in_flight(thread->executor) > 0)
		sched_yield();
	else
		cpu_relax();
	return true;
}

/* Until a kick, a completion, a message; or the time to look at the rings. */
static void sleep_on_loop(struct blk_thread *thread)
{
	uint64_t timeout = UINT64_MAX;
	uint64_t wait;
	bool again = false;

	for (struct attachment *a = thread->attachments; a; a = a->next) {
		if (!blk_queue_can_take(a->queue))
			continue;
		wait = blk_queue_wait_ns(a->queue);
		if (wait == 0) {
			wait = a->watch ? UINT64_MAX : NOFD_NS;
			again |= virtq_kicks_on(a->queue->vq);
		}
		timeout = MIN(timeout, wait);
	}
	if (!again)
		sleep_for(thread, timeout);
	for (struct attachment *a = thread->attachments; a; a = a->next)
		virtq_kicks_off(a->queue->vq);
}

static void thread_run(struct blk_thread *thread)
{
	while (!thread->quit) {
		if (serve(thread))
			spin_worked(&thread->spin);
		else if (!look_again(thread))
			sleep_on_loop(thread);
	}
}

static int thread_open(struct blk_thread *thread)
{
	const struct executor_config config = {
		.depth = BLK_QUEUE_DEPTH,
		.writethrough = thread->config.writethrough,
	};
	int err = loop_new(LOOP_ENTRIES, &thread->loop);

	if (err < 0)
		return err;
	err = executor_new(thread->loop, thread->config.image, &config,
			   &thread->executor);
	if (err < 0)
		loop_free(thread->loop);
	return err;
}

/* A loop belongs to the thread that makes it. */
static void *thread_main(void *arg)
{
	struct call *started = arg;
	struct blk_thread *thread = started->thread;
	char name[16];
	int err = thread_open(thread);

	snprintf(name, sizeof(name), "io-%u", thread->config.number);
	prctl(PR_SET_NAME, name);
	loop_call_end(&started->call, err);
	if (err < 0)
		return NULL;
	thread_run(thread);
	executor_free(thread->executor);
	loop_free(thread->loop);
	return NULL;
}

int blk_thread_new(const struct blk_thread_config *config,
		   struct blk_thread **ret_thread)
{
	struct blk_thread *thread = calloc(1, sizeof(*thread));
	struct call started = {.thread = thread};
	int err;

	if (!thread)
		return -ENOMEM;
	thread->config = *config;
	spin_init(&thread->spin, config->poll);
	loop_call_begin(&started.call);
	err = -pthread_create(&thread->pthread, NULL, thread_main, &started);
	if (err < 0)
		goto free_thread;
	err = loop_call_await(&started.call);
	if (err < 0) {
		pthread_join(thread->pthread, NULL);
		goto free_thread;
	}
	*ret_thread = thread;
	return 0;

free_thread:
	free(thread);
	return err;
}

void blk_thread_free(struct blk_thread *thread)
{
	struct call call = {.thread = thread, .call.run = run_quit};

	if (!thread)
		return;
	call_and_wait(&call);
	pthread_join(thread->pthread, NULL);
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
