/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for IMAGE_BUSY to end, at one image of the chain. The word may come
 * from this thread, within a call of ours, or from another one's: then it is
 * posted to our loop.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "image/executor-private.h"

/* The executor whose call into an image this thread is in. */
static _Thread_local const struct executor *calling;

void executor_calls_image(struct executor *executor)
{
	calling = executor;
}

void executor_called_image(struct executor *executor)
{
	calling = NULL;
	if (executor->busy > 0)
		executor_collect(executor);
}

/* Any thread, with the image's lock held. */
static void wake(struct image_waiter *waiter)
{
	struct executor_level *level =
		container_of(waiter, struct executor_level, waiter);

	store_release(&level->woken, true);
	if (calling != level->executor &&
	    !exchange_acq_rel(&level->posted, true))
		loop_post(level->executor->loop, &level->message);
}

static void run_wake(struct loop_message *message)
{
	struct executor_level *level =
		container_of(message, struct executor_level, message);

	store_release(&level->posted, false);
	executor_run(level->executor);
}

void executor_collect(struct executor *executor)
{
	struct executor_request *request;

	for (unsigned i = 0; i < executor->level_count; i++) {
		struct executor_level *level = &executor->levels[i];

		if (!level->waiters.first || !load_acquire(&level->woken))
			continue;
		store_once(&level->woken, false);
		while ((request = request_list_pop(&level->waiters))) {
			request_list_push(&executor->runnable, request);
			executor->busy--;
		}
	}
}

void executor_wait(struct executor_request *request, unsigned number,
		   uint64_t generation)
{
	struct executor *executor = request->executor;
	struct executor_level *level = &executor->levels[number];

	if (!image_wait(level->image, generation, &level->waiter)) {
		request_list_push(&executor->runnable, request);
		return;
	}
	request_list_push(&level->waiters, request);
	executor->busy++;
}

int executor_make_levels(struct executor *executor)
{
	for (struct image *i = executor->image; i; i = i->backing)
		executor->level_count++;
	executor->levels =
		calloc(executor->level_count, sizeof(*executor->levels));
	if (!executor->levels)
		return -ENOMEM;
	executor->level_count = 0;
	for (struct image *i = executor->image; i; i = i->backing)
		executor->levels[executor->level_count++] =
			(struct executor_level){
				.executor = executor,
				.image = i,
				.waiter.wake = wake,
				.message.run = run_wake,
			};
	return 0;
}

/* Nobody waits any more, but a message may still be on its way to us. */
void executor_free_levels(struct executor *executor)
{
	for (unsigned i = 0; executor->levels && i < executor->level_count;
	     i++) {
		struct executor_level *level = &executor->levels[i];

		image_unwait(level->image, &level->waiter);
		while (load_acquire(&level->posted))
			loop_wait(executor->loop, NS_PER_SECOND);
	}
	free(executor->levels);
	executor->levels = NULL;
}
