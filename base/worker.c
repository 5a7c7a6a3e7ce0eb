/* SPDX-License-Identifier: Apache-2.0 */
#include "base/worker.h"

#include <errno.h>
#include <stdio.h>
#include <sys/prctl.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/loop-call.h"

struct start {
	struct loop_call call;
	struct worker *worker;
	const struct worker_config *config;
};

struct quit {
	struct loop_call call;
	struct worker *worker;
};

static bool look_again(struct worker *worker)
{
	if (!worker->ops->may_spin(worker) ||
	    !spin_again(&worker->spin, clock_ns()))
		return false;
	if (worker->ops->relax)
		worker->ops->relax(worker);
	else
		cpu_relax();
	return true;
}

static void sleep_for(struct worker *worker, uint64_t timeout_ns)
{
	uint64_t began = clock_ns();

	if (loop_wait(worker->loop, timeout_ns) > 0)
		spin_slept(&worker->spin, clock_ns() - began);
}

static void sleep_on_loop(struct worker *worker)
{
	uint64_t timeout_ns = UINT64_MAX;

	/* Whoever reaped since the last round may have run what ends us. */
	if (!worker->ops->prepare_sleep(worker, &timeout_ns) && !worker->quit)
		sleep_for(worker, timeout_ns);
	worker->ops->awake(worker);
}

static void run(struct worker *worker)
{
	while (!worker->quit) {
		if (worker->ops->serve(worker))
			spin_worked(&worker->spin);
		else if (!look_again(worker))
			sleep_on_loop(worker);
	}
}

/* A loop belongs to the thread that makes it. */
static int open_here(struct worker *worker, const struct worker_config *config)
{
	int err = loop_new(config->loop_entries, &worker->loop);

	if (err < 0)
		return err;
	if (config->ops->open)
		err = config->ops->open(worker);
	if (err < 0)
		loop_free(worker->loop);
	return err;
}

static void *thread_main(void *arg)
{
	struct start *start = arg;
	struct worker *worker = start->worker;
	char name[16];
	int err = open_here(worker, start->config);

	snprintf(name, sizeof(name), "%s-%u", start->config->name,
		 start->config->number);
	prctl(PR_SET_NAME, name);
	loop_call_end(&start->call, err);
	if (err < 0)
		return NULL;
	run(worker);
	if (worker->ops->close)
		worker->ops->close(worker);
	loop_free(worker->loop);
	return NULL;
}

int worker_start(struct worker *worker, const struct worker_config *config)
{
	struct start start = {.worker = worker, .config = config};
	int err;

	*worker = (struct worker){.ops = config->ops};
	spin_init(&worker->spin, config->poll);
	loop_call_begin(&start.call);
	err = -pthread_create(&worker->pthread, NULL, thread_main, &start);
	if (err < 0)
		return err;
	err = loop_call_await(&start.call);
	if (err < 0)
		pthread_join(worker->pthread, NULL);
	return err;
}

static void run_quit(struct loop_call *call)
{
	container_of(call, struct quit, call)->worker->quit = true;
	loop_call_end(call, 0);
}

void worker_stop(struct worker *worker)
{
	struct quit quit = {.worker = worker, .call.run = run_quit};

	loop_call(worker->loop, &quit.call);
	pthread_join(worker->pthread, NULL);
}
