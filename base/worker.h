/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A serving thread: one loop, and rounds of work on what belongs to it.
 *
 * It goes round. When a round finds nothing to do it goes on looking for a
 * while, kicks suppressed, since work tends to follow work (base/spin.h); then
 * it asks for the kicks that would bring work, looks once more, and sleeps in
 * the loop until a kick, a completion or a message comes.
 *
 * What the thread owns is changed by messages: loop_call on worker->loop.
 */
#ifndef BASE_WORKER_H
#define BASE_WORKER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"
#include "base/spin.h"

struct worker;

/* All on the serving thread. */
struct worker_ops {
	/* Before the first round, worker->loop being there: a negative errno
	 * ends the thread. After the last one. Both may be NULL. */
	int (*open)(struct worker *worker);
	void (*close)(struct worker *worker);
	/* One round, with loop_submit and loop_reap in it. True if there was
	 * anything to do. */
	bool (*serve)(struct worker *worker);
	/* Whether there is anything that looking again could find. */
	bool (*may_spin)(struct worker *worker);
	/* Between two looks; NULL: cpu_relax. */
	void (*relax)(struct worker *worker);
	/*
	 * Before sleep: asks for kicks, and lowers *@timeout_ns to when the
	 * next round is due even if none comes. True: there is work already.
	 */
	bool (*prepare_sleep)(struct worker *worker, uint64_t *timeout_ns);
	/* After it, or instead of it: no kicks. */
	void (*awake)(struct worker *worker);
};

struct worker_config {
	const struct worker_ops *ops; /* borrowed */
	const char *name;	      /* of the thread: "name-number" */
	unsigned number;
	unsigned loop_entries;
	enum spin_mode poll;
};

/* Embedded in what it serves. */
struct worker {
	const struct worker_ops *ops;
	struct loop *loop;
	struct spin spin;
	pthread_t pthread;
	bool quit;
};

/* Returns when the thread runs. A negative errno, io_uring's among them. */
int worker_start(struct worker *worker, const struct worker_config *config);

/* Ends the thread after its round; nothing is left for it to serve. */
void worker_stop(struct worker *worker);

#endif
