/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An I/O thread: one loop, one executor and the queues that were attached.
 *
 * It goes round its queues, taking, submitting, reaping and publishing. When a
 * round finds nothing to do it goes on looking for a while, kicks suppressed,
 * since the driver's next request is usually near; then it asks for kicks,
 * looks once more, and sleeps in the loop until a kick, a completion or a
 * message wakes it.
 *
 * Everything here is called on the control thread.
 */
#ifndef VHOST_BLK_BLK_THREAD_H
#define VHOST_BLK_BLK_THREAD_H

#include <stdbool.h>

#include "vhost-blk/blk-options.h"
#include "vhost-blk/blk-queue.h"

struct blk_thread;

struct blk_thread_config {
	struct image *image;
	bool writethrough;
	enum spin_mode poll;
	unsigned number; /* of the thread, for its name */
	/* On the I/O thread: @queue, with broken set, needs to be stopped. */
	void (*queue_broke)(void *arg, struct blk_queue *queue);
	void *arg;
};

/* Returns when the thread runs. A negative errno, io_uring's among them. */
int blk_thread_new(const struct blk_thread_config *config,
		   struct blk_thread **ret_thread);

/* No queue may be attached. Accepts NULL. */
void blk_thread_free(struct blk_thread *thread);

/*
 * Serves @queue, which was opened, from now on. @kick_fd is borrowed until
 * blk_thread_detach; -1 makes the thread look at the ring now and then.
 */
int blk_thread_attach(struct blk_thread *thread, struct blk_queue *queue,
		      int kick_fd, bool enabled);

/* Takes nothing more, waits for what is under way, publishes, lets go. */
void blk_thread_detach(struct blk_thread *thread, struct blk_queue *queue);

void blk_thread_enable(struct blk_thread *thread, struct blk_queue *queue,
		       bool enabled);

void blk_thread_set_writethrough(struct blk_thread *thread, bool on);

#endif
