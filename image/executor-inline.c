/* SPDX-License-Identifier: Apache-2.0 */
/* The inline batch of a loop: one, shared by the loop's executors. */
#include <stdlib.h>

#include "image/executor-private.h"

struct shared_batch {
	struct inline_batch *batch;
	unsigned users;
};

static unsigned run_shared(void *arg)
{
	struct shared_batch *shared = arg;

	return inline_batch_run(shared->batch);
}

static struct shared_batch *new_shared(struct loop *loop)
{
	struct shared_batch *shared = calloc(1, sizeof(*shared));

	if (!shared)
		return NULL;
	if (inline_batch_new(&shared->batch) < 0) {
		free(shared);
		return NULL;
	}
	loop_set_batch(loop, run_shared, shared);
	return shared;
}

bool executor_take_batch(struct executor *executor)
{
	struct shared_batch *shared;

	if (executor->batch)
		return true;
	shared = loop_batch(executor->loop, run_shared);
	if (!shared)
		shared = new_shared(executor->loop);
	if (!shared)
		return false;
	shared->users++;
	executor->batch = shared->batch;
	return true;
}

void executor_give_batch(struct executor *executor)
{
	struct shared_batch *shared;

	if (!executor->batch)
		return;
	executor->batch = NULL;
	shared = loop_batch(executor->loop, run_shared);
	if (--shared->users > 0)
		return;
	loop_set_batch(executor->loop, NULL, NULL);
	inline_batch_free(shared->batch);
	free(shared);
}
