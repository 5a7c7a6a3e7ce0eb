/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Has something done on another thread's loop, and waits until it is done:
 * how a control thread changes what belongs to a serving thread. The answer
 * may come later than the function that was called returns, when the thread
 * has come so far.
 *
 *	struct my_call { struct loop_call call; … } c = { .call.run = run, … };
 *	err = loop_call(loop, &c.call);
 */
#ifndef BASE_LOOP_CALL_H
#define BASE_LOOP_CALL_H

#include <semaphore.h>

#include "base/loop.h"

struct loop_call {
	/* On the loop's thread; it or somebody after it calls loop_call_end. */
	void (*run)(struct loop_call *call);
	struct loop_message message;
	sem_t ended;
	int result;
};

/* Posts @call, whose run is set, and returns what loop_call_end was given. */
int loop_call(struct loop *loop, struct loop_call *call);

/* The caller goes on, and @call is gone. */
void loop_call_end(struct loop_call *call, int result);

/* For a call that is not posted: that a thread has started, for instance. */
void loop_call_begin(struct loop_call *call);
int loop_call_await(struct loop_call *call);

#endif
