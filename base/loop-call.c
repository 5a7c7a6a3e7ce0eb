/* SPDX-License-Identifier: Apache-2.0 */
#include "base/loop-call.h"

#include <errno.h>

#include "base/bytes.h"

static void run_message(struct loop_message *message)
{
	struct loop_call *call =
		container_of(message, struct loop_call, message);

	call->run(call);
}

void loop_call_begin(struct loop_call *call)
{
	call->message.run = run_message;
	sem_init(&call->ended, 0, 0);
}

int loop_call_await(struct loop_call *call)
{
	while (sem_wait(&call->ended) < 0 && errno == EINTR)
		;
	sem_destroy(&call->ended);
	return call->result;
}

int loop_call(struct loop *loop, struct loop_call *call)
{
	loop_call_begin(call);
	loop_post(loop, &call->message);
	return loop_call_await(call);
}

void loop_call_end(struct loop_call *call, int result)
{
	call->result = result;
	sem_post(&call->ended);
}
