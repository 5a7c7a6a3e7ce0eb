/* SPDX-License-Identifier: Apache-2.0 */
#include "base/loop.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"

enum {
	REAP_BATCH = 64,
	MAX_FILES = 64
};

struct loop {
	struct io_uring ring;
	bool files_registered;
	struct {
		int fd;
		unsigned users; /* 0: the slot is free */
	} files[MAX_FILES];

	int wake_fd;
	struct loop_watch *wake_watch;
	pthread_mutex_t messages_lock;
	struct loop_message *messages; /* oldest first */
	struct loop_message **messages_tail;

	unsigned (*batch_run)(void *arg);
	void *batch_arg;
	unsigned batch_completions; /* not yet counted by a reap */

	struct loop_watch *watches; /* all that wait for a last completion */
};

/* A multishot poll; outlives loop_watch_free until its last completion. */
struct loop_watch {
	struct loop_op op;
	struct loop *loop;
	struct loop_watch *next, **link;
	void (*ready)(void *arg, int revents); /* NULL once freed */
	void *arg;
	int fd;
	unsigned events;
	bool armed; /* a completion is still to come */
};

/* The result of a cancellation says nothing that the poll itself does not. */
static void ignore_result(struct loop_op *op, int32_t result, uint32_t flags)
{
}

static struct loop_op ignored = {.done = ignore_result};

static const unsigned setup_flags[] = {
	IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
		IORING_SETUP_TASKRUN_FLAG,
	IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
	0,
};

static int ring_init(struct io_uring *ring, unsigned entries)
{
	int err = -EINVAL;

	for (size_t i = 0; i < ARRAY_SIZE(setup_flags); i++) {
		struct io_uring_params params = {
			.flags = setup_flags[i] | IORING_SETUP_CQSIZE,
			.cq_entries = entries * 4,
		};

		err = io_uring_queue_init_params(entries, ring, &params);
		if (err != -EINVAL)
			break;
	}
	return err;
}

static struct loop_message *take_messages(struct loop *loop)
{
	struct loop_message *first;

	pthread_mutex_lock(&loop->messages_lock);
	first = loop->messages;
	loop->messages = NULL;
	loop->messages_tail = &loop->messages;
	pthread_mutex_unlock(&loop->messages_lock);
	return first;
}

static void run_messages(void *arg, int revents)
{
	struct loop *loop = arg;
	struct loop_message *message;
	eventfd_t count;

	/* Non-blocking: a spurious wake-up reads nothing, which is fine. */
	(void)eventfd_read(loop->wake_fd, &count);
	message = take_messages(loop);
	while (message) {
		/* The poster may free it as soon as run is entered. */
		struct loop_message *next = message->next;

		message->run(message);
		message = next;
	}
}

int loop_new(unsigned entries, struct loop **ret_loop)
{
	struct loop *loop = calloc(1, sizeof(*loop));
	int err;

	if (!loop)
		return -ENOMEM;
	loop->messages_tail = &loop->messages;
	pthread_mutex_init(&loop->messages_lock, NULL);
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->wake_fd < 0) {
		err = -errno;
		goto free_loop;
	}
	err = ring_init(&loop->ring, entries);
	if (err < 0)
		goto close_wake;
	err = loop_watch_new(loop, loop->wake_fd, POLLIN, run_messages, loop,
			     &loop->wake_watch);
	if (err < 0)
		goto exit_ring;
	loop->files_registered =
		io_uring_register_files_sparse(&loop->ring, MAX_FILES) == 0;
	*ret_loop = loop;
	return 0;

exit_ring:
	io_uring_queue_exit(&loop->ring);
close_wake:
	close(loop->wake_fd);
free_loop:
	pthread_mutex_destroy(&loop->messages_lock);
	free(loop);
	return err;
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	io_uring_queue_exit(&loop->ring);
	while (loop->watches) {
		struct loop_watch *watch = loop->watches;

		loop->watches = watch->next;
		free(watch);
	}
	close(loop->wake_fd);
	pthread_mutex_destroy(&loop->messages_lock);
	free(loop);
}

struct io_uring_sqe *loop_sqe(struct loop *loop)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&loop->ring);

	/* A full completion queue (-EBUSY) empties only by reaping. */
	while (!sqe) {
		if (loop_submit(loop) == -EBUSY)
			loop_reap(loop);
		sqe = io_uring_get_sqe(&loop->ring);
	}
	return sqe;
}

void loop_set_batch(struct loop *loop, unsigned (*run)(void *arg), void *arg)
{
	loop->batch_run = run;
	loop->batch_arg = arg;
}

void *loop_batch(const struct loop *loop, unsigned (*run)(void *arg))
{
	return loop->batch_run == run ? loop->batch_arg : NULL;
}

static void run_batch(struct loop *loop)
{
	if (loop->batch_run)
		loop->batch_completions += loop->batch_run(loop->batch_arg);
}

int loop_submit(struct loop *loop)
{
	int submitted;

	run_batch(loop);
	if (io_uring_sq_ready(&loop->ring) == 0)
		return 0;
	do {
		submitted = io_uring_submit(&loop->ring);
	} while (submitted == -EINTR);
	return submitted < 0 ? submitted : 0;
}

struct completion {
	struct loop_op *op;
	int32_t result;
	uint32_t flags;
};

/* Copies completions out and gives their ring entries back. */
static unsigned take_completions(struct loop *loop, struct completion *batch)
{
	struct io_uring_cqe *cqes[REAP_BATCH];
	unsigned count;

	count = io_uring_peek_batch_cqe(&loop->ring, cqes, REAP_BATCH);
	for (unsigned i = 0; i < count; i++)
		batch[i] = (struct completion){
			.op = io_uring_cqe_get_data(cqes[i]),
			.result = cqes[i]->res,
			.flags = cqes[i]->flags,
		};
	io_uring_cq_advance(&loop->ring, count);
	return count;
}

unsigned loop_reap(struct loop *loop)
{
	/* Copied out first, since done may submit and so reap again. */
	struct completion batch[REAP_BATCH];
	unsigned total = loop->batch_completions;
	unsigned count;

	loop->batch_completions = 0;
	do {
		count = take_completions(loop, batch);
		for (unsigned i = 0; i < count; i++)
			batch[i].op->done(batch[i].op, batch[i].result,
					  batch[i].flags);
		total += count;
	} while (count == REAP_BATCH);
	return total;
}

int loop_wait(struct loop *loop, uint64_t timeout_ns)
{
	struct __kernel_timespec timeout = {
		.tv_sec = timeout_ns / NS_PER_SECOND,
		.tv_nsec = timeout_ns % NS_PER_SECOND,
	};
	struct io_uring_cqe *cqe;
	int err;

	run_batch(loop);
	if (loop->batch_completions > 0) {
		err = loop_submit(loop);
		return err < 0 ? err : (int)loop_reap(loop);
	}
	err = io_uring_submit_and_wait_timeout(
		&loop->ring, &cqe, 1,
		timeout_ns == UINT64_MAX ? NULL : &timeout, NULL);
	if (err < 0 && err != -ETIME && err != -EINTR && err != -EBUSY)
		return err;
	return loop_reap(loop);
}

void loop_post(struct loop *loop, struct loop_message *message)
{
	bool first;

	message->next = NULL;
	pthread_mutex_lock(&loop->messages_lock);
	first = !loop->messages;
	*loop->messages_tail = message;
	loop->messages_tail = &message->next;
	pthread_mutex_unlock(&loop->messages_lock);
	/*
	 * Whoever posted the first one wakes the loop, which takes all that are
	 * there then. Fails only when the counter is full, when a wake-up is
	 * due anyway.
	 */
	if (first)
		(void)eventfd_write(loop->wake_fd, 1);
}

static void watch_arm(struct loop_watch *watch)
{
	struct io_uring_sqe *sqe = loop_sqe(watch->loop);

	io_uring_prep_poll_multishot(sqe, watch->fd, watch->events);
	loop_bind(sqe, &watch->op);
	watch->armed = true;
}

static void watch_unlink(struct loop_watch *watch)
{
	*watch->link = watch->next;
	if (watch->next)
		watch->next->link = watch->link;
}

static void watch_delete(struct loop_watch *watch)
{
	watch_unlink(watch);
	free(watch);
}

static void watch_done(struct loop_op *op, int32_t result, uint32_t flags)
{
	struct loop_watch *watch = container_of(op, struct loop_watch, op);

	/* ready may call loop_watch_free, which leaves an armed watch alone. */
	if (watch->ready)
		watch->ready(watch->arg, result);
	if (flags & IORING_CQE_F_MORE)
		return;
	if (!watch->ready)
		watch_delete(watch);
	else if (result >= 0)
		watch_arm(watch);
	else
		watch->armed = false;
}

int loop_watch_new(struct loop *loop, int fd, unsigned events,
		   void (*ready)(void *arg, int revents), void *arg,
		   struct loop_watch **ret_watch)
{
	struct loop_watch *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return -ENOMEM;
	*watch = (struct loop_watch){
		.op.done = watch_done,
		.loop = loop,
		.next = loop->watches,
		.link = &loop->watches,
		.ready = ready,
		.arg = arg,
		.fd = fd,
		.events = events,
	};
	if (watch->next)
		watch->next->link = &watch->next;
	loop->watches = watch;
	watch_arm(watch);
	*ret_watch = watch;
	return 0;
}

void loop_watch_free(struct loop_watch *watch)
{
	struct io_uring_sqe *sqe;

	if (!watch)
		return;
	if (!watch->armed) {
		watch_delete(watch);
		return;
	}
	watch->ready = NULL;
	sqe = loop_sqe(watch->loop);
	io_uring_prep_cancel(sqe, &watch->op, 0);
	loop_bind(sqe, &ignored);
	/* The poll holds the file open: submit before the caller closes it. */
	loop_submit(watch->loop);
}

/* The slot of @fd, or the first free one for -1; -1 if there is none. */
static int find_slot(const struct loop *loop, int fd)
{
	for (int i = 0; i < MAX_FILES; i++)
		if (fd >= 0 ? loop->files[i].users && loop->files[i].fd == fd
			    : !loop->files[i].users)
			return i;
	return -1;
}

int loop_register_file(struct loop *loop, int fd)
{
	int slot = find_slot(loop, fd);

	if (!loop->files_registered)
		return -1;
	if (slot < 0) {
		slot = find_slot(loop, -1);
		if (slot < 0 || io_uring_register_files_update(
					&loop->ring, slot, &fd, 1) != 1)
			return -1;
		loop->files[slot].fd = fd;
	}
	loop->files[slot].users++;
	return slot;
}

void loop_unregister_file(struct loop *loop, int fd)
{
	int slot = find_slot(loop, fd);
	int none = -1;

	if (slot < 0 || --loop->files[slot].users > 0)
		return;
	io_uring_register_files_update(&loop->ring, slot, &none, 1);
}
