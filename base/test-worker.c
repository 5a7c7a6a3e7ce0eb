/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <unistd.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "base/loop-call.h"
#include "base/worker.h"
#include "tests/cmocka.h"

enum {
	ROUNDS = 1000,
	SOON_NS = 1000 * 1000,
};

/* A worker that counts what it is asked. */
struct counting {
	struct worker worker;
	int open_result;
	unsigned work;	 /* rounds that shall have some */
	unsigned rounds; /* served */
	unsigned sleeps, awakes, closes;
	bool spins;
	uint64_t timeout_ns; /* 0: none */
};

static struct counting *of(struct worker *worker)
{
	return container_of(worker, struct counting, worker);
}

static int open_it(struct worker *worker)
{
	return of(worker)->open_result;
}

static void close_it(struct worker *worker)
{
	of(worker)->closes++;
}

static bool serve(struct worker *worker)
{
	struct counting *c = of(worker);

	loop_submit(worker->loop);
	loop_reap(worker->loop);
	store_release(&c->rounds, c->rounds + 1);
	if (c->work == 0)
		return false;
	c->work--;
	return true;
}

static bool may_spin(struct worker *worker)
{
	return of(worker)->spins;
}

static bool prepare_sleep(struct worker *worker, uint64_t *timeout_ns)
{
	struct counting *c = of(worker);

	store_release(&c->sleeps, c->sleeps + 1);
	if (c->timeout_ns)
		*timeout_ns = c->timeout_ns;
	return false;
}

static void awake(struct worker *worker)
{
	of(worker)->awakes++;
}

static const struct worker_ops ops = {
	.open = open_it,
	.close = close_it,
	.serve = serve,
	.may_spin = may_spin,
	.prepare_sleep = prepare_sleep,
	.awake = awake,
};

static int start(struct counting *c, enum spin_mode poll)
{
	const struct worker_config config = {
		.ops = &ops,
		.name = "test",
		.loop_entries = 8,
		.poll = poll,
	};

	return worker_start(&c->worker, &config);
}

static void what_open_says_ends_the_thread(void **state)
{
	struct counting c = {.open_result = -ENOTTY};

	assert_int_equal(start(&c, SPIN_NEVER), -ENOTTY);
	assert_int_equal(c.rounds, 0);
	assert_int_equal(c.closes, 0);
}

static void rounds_follow_while_there_is_work(void **state)
{
	struct counting c = {.work = ROUNDS};

	assert_int_equal(start(&c, SPIN_NEVER), 0);
	while (load_acquire(&c.sleeps) == 0)
		usleep(1000);
	worker_stop(&c.worker);
	assert_true(c.rounds > ROUNDS);
	assert_int_equal(c.sleeps, c.awakes);
	assert_int_equal(c.closes, 1);
}

static void end_call(struct loop_call *call)
{
	loop_call_end(call, 7);
}

/* Each call would wait for ever if the thread slept through it. */
static void message_wakes_a_thread_that_sleeps(void **state)
{
	struct counting c = {0};

	assert_int_equal(start(&c, SPIN_NEVER), 0);
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct loop_call call = {.run = end_call};

		assert_int_equal(loop_call(c.worker.loop, &call), 7);
	}
	worker_stop(&c.worker);
}

static void thread_that_always_polls_does_not_sleep(void **state)
{
	struct counting c = {.spins = true};

	assert_int_equal(start(&c, SPIN_ALWAYS), 0);
	while (load_acquire(&c.rounds) < ROUNDS)
		usleep(1000);
	worker_stop(&c.worker);
	assert_int_equal(c.sleeps, 0);
}

static void sleep_ends_when_a_round_is_due(void **state)
{
	struct counting c = {.timeout_ns = SOON_NS};

	assert_int_equal(start(&c, SPIN_NEVER), 0);
	while (load_acquire(&c.sleeps) < 3)
		usleep(1000);
	worker_stop(&c.worker);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_open_says_ends_the_thread),
		cmocka_unit_test(rounds_follow_while_there_is_work),
		cmocka_unit_test(message_wakes_a_thread_that_sleeps),
		cmocka_unit_test(thread_that_always_polls_does_not_sleep),
		cmocka_unit_test(sleep_ends_when_a_round_is_due),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
