/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-blk/blk-thread.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/loop.h"

enum {
	LOOP_ENTRIES = 256,
	/* How long an adaptive thread looks for work before it sleeps, … */
	SPIN_NS = 50 * 1000,
	/* … and after how long a sleep it thinks less of looking. */
	LONG_SLEEP_NS = 4 * SPIN_NS,
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
	uint64_t idle_since; /* ns; 0: the last round had work */
	uint64_t spin_ns;    /* what adaptive polling has come to */
	bool quit;
};

/* Something that the control thread has done on the I/O thread, and awaits. */
struct call {
	struct loop_message message;
	void (*run)(struct call *call);
	struct blk_thread *thread;
	sem_t ended;

	struct blk_queue *queue;
	int kick_fd;
	bool on;
	int result;
};

static void call_end(struct call *call, int result)
{
	call->result = result;
	sem_post(&call->ended);
}

static void call_message(struct loop_message *message)
{
	struct call *call = container_of(message, struct call, message);

	call->run(call);
}

static void await(sem_t *semaphore)
{
	while (sem_wait(semaphore) < 0 && errno == EINTR)
		;
}

/* @call is set up but for the message; returns its result. */
static int call_and_wait(struct call *call)
{
	call->message.run = call_message;
	sem_init(&call->ended, 0, 0);
	loop_post(call->thread->loop, &call->message);
	await(&call->ended);
	sem_destroy(&call->ended);
	return call->result;
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

static void run_attach(struct call *call)
{
	struct attachment *attachment = calloc(1, sizeof(*attachment));
	struct blk_thread *thread = call->thread;
	int err;

	if (!attachment) {
		call_end(call, -ENOMEM);
		return;
	}
	attachment->queue = call->queue;
	if (call->kick_fd >= 0) {
		err = loop_watch_new(thread->loop, call->kick_fd, POLLIN,
				     kicked, attachment, &attachment->watch);
		if (err < 0) {
			free(attachment);
			call_end(call, err);
			return;
		}
	}
	call->queue->executor = thread->executor;
	call->queue->enabled = call->on;
	virtq_kicks_off(call->queue->vq);
	attachment->next = thread->attachments;
	thread->attachments = attachment;
	call_end(call, 0);
}

static void run_detach(struct call *call)
{
	struct attachment *attachment = *find(call->thread, call->queue);

	call->queue->enabled = false;
	attachment->detach = call;
}

static void run_enable(struct call *call)
{
	struct attachment *attachment = *find(call->thread, call->queue);

	if (attachment && !attachment->detach)
		call->queue->enabled = call->on;
	call_end(call, 0);
}

static void run_writethrough(struct call *call)
{
	executor_set_writethrough(call->thread->executor, call->on);
	call_end(call, 0);
}

static void run_quit(struct call *call)
{
	call->thread->quit = true;
	call_end(call, 0);
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
		call_end(detach, 0);
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

static uint64_t spin_ns(const struct blk_thread *thread)
{
	switch (thread->config.poll) {
	case BLK_POLL_ALWAYS:
		return thread->attachments ? UINT64_MAX : 0;
	case BLK_POLL_NEVER:
		return 0;
	default:
		return thread->spin_ns;
	}
}

/*
 * A sleep shorter than a spin was not worth it; after long ones, spinning is
 * not: requests that come one by one would each cost a spin for nothing.
 */
static void learn_from_sleep(struct blk_thread *thread, uint64_t slept_ns)
{
	if (slept_ns < SPIN_NS)
		thread->spin_ns = SPIN_NS;
	else if (slept_ns > LONG_SLEEP_NS)
		thread->spin_ns /= 2;
}

static void sleep_for(struct blk_thread *thread, uint64_t timeout_ns)
{
	uint64_t began = clock_ns();

	if (loop_wait(thread->loop, timeout_ns) <= 0)
		return;
	thread->idle_since = 0;
	learn_from_sleep(thread, clock_ns() - began);
}

/*
 * What is under way may be in the hands of a kernel thread that wants this very
 * core (io_uring's workers, for what cannot be done without waiting): while
 * requests are out the core is offered to others at each turn.
 */
static bool spin(struct blk_thread *thread)
{
	uint64_t now = clock_ns();

	if (thread->idle_since == 0)
		thread->idle_since = now;
	if (now - thread->idle_since >= spin_ns(thread))
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
			thread->idle_since = 0;
		else if (!spin(thread))
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
	call_end(started, err);
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
	thread->spin_ns = SPIN_NS;
	sem_init(&started.ended, 0, 0);
	err = -pthread_create(&thread->pthread, NULL, thread_main, &started);
	if (err < 0)
		goto free_thread;
	await(&started.ended);
	err = started.result;
	if (err < 0) {
		pthread_join(thread->pthread, NULL);
		goto free_thread;
	}
	sem_destroy(&started.ended);
	*ret_thread = thread;
	return 0;

free_thread:
	sem_destroy(&started.ended);
	free(thread);
	return err;
}

void blk_thread_free(struct blk_thread *thread)
{
	struct call call = {.thread = thread, .run = run_quit};

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
		.run = run_attach,
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
		.run = run_detach,
		.queue = queue,
	};

	call_and_wait(&call);
}

void blk_thread_enable(struct blk_thread *thread, struct blk_queue *queue,
		       bool enabled)
{
	struct call call = {
		.thread = thread,
		.run = run_enable,
		.queue = queue,
		.on = enabled,
	};

	call_and_wait(&call);
}

void blk_thread_set_writethrough(struct blk_thread *thread, bool on)
{
	struct call call = {
		.thread = thread,
		.run = run_writethrough,
		.on = on,
	};

	call_and_wait(&call);
}
