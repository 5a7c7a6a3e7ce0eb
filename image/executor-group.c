/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The executors of one image, and when what a flush freed may be used again.
 *
 * A request that was mapped before a flush ended may still be reading or
 * writing clusters which that flush freed. So after a flush a round begins: each
 * executor turns its parity, which new requests take with them, and reports when
 * the last request of the other parity has ended. When all have reported, the
 * format may reuse what was freed up to the flush that began the round.
 * Requests count themselves on their own thread; only reports take the lock.
 *
 * One round at a time, so that an executor has at most two parities alive. A
 * flush that ends during a round leads to one more round after it.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "image/executor-private.h"

struct executor_group {
	pthread_mutex_t lock;
	struct executor *members;
	unsigned awaited; /* reports; 0: no round */
	bool again;	  /* a flush ended during the round */
	uint64_t flush;	  /* that the round will reclaim */
};

/* True if nothing of the old parity is under way. */
static bool turn_parity(struct executor *executor)
{
	executor->parity ^= 1;
	executor->draining = executor->live[executor->parity ^ 1] > 0;
	return !executor->draining;
}

/* With the lock held. The caller's own turn is the caller's to do. */
static void begin_round(struct executor *executor)
{
	struct executor_group *group = executor->group;

	group->flush = image_flushes(executor->image);
	for (struct executor *m = group->members; m; m = m->group_next) {
		group->awaited++;
		if (m == executor)
			continue;
		m->group_posted = true;
		loop_post(m->loop, &m->group_message);
	}
}

/* True if this was the last report and another round has begun. */
static bool report(struct executor *executor)
{
	struct executor_group *group = executor->group;
	bool again = false;
	uint64_t flush;
	bool last;

	executor_forget_unpacked(executor);
	pthread_mutex_lock(&group->lock);
	last = --group->awaited == 0;
	flush = group->flush;
	if (last) {
		again = group->again;
		group->again = false;
		if (again)
			begin_round(executor);
	}
	pthread_mutex_unlock(&group->lock);
	/* Takes the image's lock, under which a group is joined. */
	if (last)
		image_reclaim(executor->image, flush);
	return again;
}

void executor_group_drained(struct executor *executor)
{
	executor->draining = false;
	while (report(executor) && turn_parity(executor))
		;
}

void executor_group_flushed(struct executor *executor)
{
	struct executor_group *group = executor->group;
	bool begun = false;

	if (!executor->image->format->reclaim)
		return;
	pthread_mutex_lock(&group->lock);
	if (group->awaited > 0) {
		group->again = true;
	} else {
		begin_round(executor);
		begun = true;
	}
	pthread_mutex_unlock(&group->lock);
	if (begun && turn_parity(executor))
		executor_group_drained(executor);
}

static void run_round(struct loop_message *message)
{
	struct executor *executor =
		container_of(message, struct executor, group_message);

	pthread_mutex_lock(&executor->group->lock);
	executor->group_posted = false;
	pthread_mutex_unlock(&executor->group->lock);
	if (turn_parity(executor))
		executor_group_drained(executor);
}

static struct executor_group *new_group(void)
{
	struct executor_group *group = calloc(1, sizeof(*group));

	if (group)
		pthread_mutex_init(&group->lock, NULL);
	return group;
}

static void free_group(struct executor_group *group)
{
	pthread_mutex_destroy(&group->lock);
	free(group);
}

/* Of every image's group pointer: taken before a group's own lock. */
static pthread_mutex_t groups_lock = PTHREAD_MUTEX_INITIALIZER;

int executor_join_group(struct executor *executor)
{
	struct image *image = executor->image;

	executor->group_message.run = run_round;
	pthread_mutex_lock(&groups_lock);
	if (!image->group)
		image->group = new_group();
	executor->group = image->group;
	if (executor->group) {
		pthread_mutex_lock(&executor->group->lock);
		executor->group_next = executor->group->members;
		executor->group->members = executor;
		pthread_mutex_unlock(&executor->group->lock);
	}
	pthread_mutex_unlock(&groups_lock);
	return executor->group ? 0 : -ENOMEM;
}

/* True once no round waits for us and we are out of the list. */
static bool try_leave(struct executor *executor)
{
	struct executor_group *group = executor->group;
	struct executor **link = &group->members;
	bool leaves;

	pthread_mutex_lock(&group->lock);
	leaves = !executor->group_posted;
	if (leaves) {
		while (*link != executor)
			link = &(*link)->group_next;
		*link = executor->group_next;
	}
	pthread_mutex_unlock(&group->lock);
	return leaves;
}

void executor_leave_group(struct executor *executor)
{
	struct image *image = executor->image;

	if (!executor->group)
		return;
	while (!try_leave(executor))
		loop_wait(executor->loop, NS_PER_SECOND);
	pthread_mutex_lock(&groups_lock);
	/* Of two that leave at once, the first here may have freed it. */
	if (image->group == executor->group && !image->group->members) {
		free_group(image->group);
		image->group = NULL;
	}
	pthread_mutex_unlock(&groups_lock);
}
