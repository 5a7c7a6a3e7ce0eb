/* SPDX-License-Identifier: Apache-2.0 */
/* Limits: exact over time, bursts and no more, shared by threads. */
#include "base/limit.h"

#include <errno.h>
#include <pthread.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "tests/cmocka.h"

enum {
	MILLION = 1000000,
	SECONDS = 3,
	THREADS = 3,
};

/* @size every @step_ns: units that passed in @ns. */
static uint64_t pass(struct limit *limit, uint32_t size, uint64_t step_ns,
		     uint64_t start_ns, uint64_t ns)
{
	uint64_t passed = 0;

	for (uint64_t at = 0; at < ns; at += step_ns)
		passed += limit_take(limit, size, start_ns + at) ? size : 0;
	return passed;
}

static void a_rate_is_kept(void **state)
{
	static const struct {
		uint64_t rate, burst;
		uint32_t size;
		uint64_t step_ns;
	} cases[] = {
		{MILLION, 1000, 1, 700},
		{1000, 10, 1, 100000},
		{125 * MILLION, 100000, 1518, 2000}, /* 1 Gbit/s */
		{125 * MILLION, 100000, 64, 400},
		{1250 * UINT64_C(1000000), 200000, 1518, 300},
		{50000 * UINT64_C(1000000), 1 << 20, 65536, 1000}, /* 400 */
		{77777, 65536, 9000, 5000},
		{3, 1, 1, 10 * MILLION},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct limit limit = {0};
		uint64_t passed, most;

		assert_int_equal(
			limit_set(&limit, cases[i].rate, cases[i].burst), 0);
		passed = pass(&limit, cases[i].size, cases[i].step_ns, 12345,
			      SECONDS * NS_PER_SECOND);
		most = cases[i].rate * SECONDS + cases[i].burst + cases[i].size;
		if (passed > most + most / 1000 ||
		    passed < cases[i].rate * SECONDS * 999 / 1000 -
				     cases[i].size)
			fail_msg("case %zu: %llu of %llu", i,
				 (unsigned long long)passed,
				 (unsigned long long)most);
	}
}

static void a_burst_passes_and_no_more(void **state)
{
	struct limit limit = {0};
	unsigned passed = 0;

	assert_int_equal(limit_set(&limit, MILLION, 100), 0);
	for (unsigned i = 0; i < 200; i++)
		passed += limit_take(&limit, 1, 5000);
	assert_int_equal(passed, 100);
	/* Ten microseconds later ten more do; after a while, a burst again. */
	passed = pass(&limit, 1, 100, 15000, 100);
	assert_int_equal(passed, 1);
	for (unsigned i = 0; i < 200; i++)
		passed += limit_take(&limit, 1, 15000);
	assert_int_equal(passed, 10);
	passed = 0;
	for (unsigned i = 0; i < 200; i++)
		passed += limit_take(&limit, 1, NS_PER_SECOND);
	assert_int_equal(passed, 100);
}

static void what_is_larger_than_the_burst_is_paid_for(void **state)
{
	struct limit limit = {0};
	const uint64_t ms = MILLION;

	assert_int_equal(limit_set(&limit, 1000, 10), 0);
	assert_true(limit_take(&limit, 500, ms));
	assert_false(limit_take(&limit, 1, 2 * ms));
	assert_false(limit_take(&limit, 1, 490 * ms));
	assert_true(limit_take(&limit, 1, 502 * ms));
}

static void no_limit_limits_nothing(void **state)
{
	struct limit limit = {0};

	assert_int_equal(limit_set(&limit, 0, 0), 0);
	for (unsigned i = 0; i < 1000; i++)
		assert_true(limit_take(&limit, UINT32_MAX, 1));
}

/* The times are modulo 2^56 ns: any start, a long rest, a step back. */
static void any_time_will_do(void **state)
{
	static const uint64_t starts[] = {0, (UINT64_C(1) << 56) - 500,
					  UINT64_MAX - 1000000};
	const uint64_t day = 86400 * NS_PER_SECOND;

	for (size_t i = 0; i < ARRAY_SIZE(starts); i++) {
		struct limit limit = {0};

		assert_int_equal(limit_set(&limit, MILLION, 1), 0);
		assert_true(limit_take(&limit, 1, starts[i]));
		assert_false(limit_take(&limit, 1, starts[i] + 500));
		assert_true(limit_take(&limit, 1, starts[i] + 1000));
		assert_false(limit_take(&limit, 1, starts[i] + 900));
		assert_true(limit_take(&limit, 1, starts[i] + 300 * day));
		assert_true(limit_take(&limit, 1, starts[i] + 800 * day));
	}
}

static void what_cannot_be_is_refused(void **state)
{
	struct limit limit = {0};

	assert_int_equal(limit_set(&limit, LIMIT_MAX_RATE + 1, 1), -EINVAL);
	assert_int_equal(limit_set(&limit, 1, LIMIT_MAX_BURST + 1), -EINVAL);
	assert_int_equal(limit_set(&limit, 1, 0), -EINVAL);
	/* A burst of centuries. */
	assert_int_equal(limit_set(&limit, 1, LIMIT_MAX_BURST), -EINVAL);
	assert_int_equal(limit_set(&limit, LIMIT_MAX_RATE, LIMIT_MAX_BURST), 0);
}

/* --- Several threads ------------------------------------------------------ */

static struct limit shared;

static void *keep_taking(void *arg)
{
	uint64_t *passed = arg;

	for (uint64_t at = 0; at < NS_PER_SECOND / 10; at += 100)
		*passed += limit_take(&shared, 1, at);
	return NULL;
}

/* Each at its own pace: none gets back what another took. */
static void threads_share_a_limit(void **state)
{
	pthread_t threads[THREADS];
	uint64_t passed[THREADS] = {0}, all = 0;

	assert_int_equal(limit_set(&shared, MILLION, 100), 0);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, keep_taking,
						&passed[i]),
				 0);
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		all += passed[i];
	}
	assert_in_range(all, MILLION / 10 - 1, MILLION / 10 + 101);
}

/* As a pump does: it waits, takes what there is, and owes for it. */
static void who_waits_keeps_the_rate(void **state)
{
	struct limit limit = {0};
	uint64_t now = 5, passed = 0;

	assert_int_equal(limit_wait_ns(&limit, now), 0);
	limit_owe(&limit, MILLION, now);
	assert_int_equal(limit_wait_ns(&limit, now), 0);
	assert_int_equal(limit_set(&limit, MILLION, 1000), 0);
	while (now < SECONDS * NS_PER_SECOND) {
		uint64_t wait = limit_wait_ns(&limit, now);

		assert_true(wait <= 64 * 1000 + 1);
		now += wait;
		assert_int_equal(limit_wait_ns(&limit, now), 0);
		limit_owe(&limit, 64, now);
		passed += 64;
	}
	assert_in_range(passed, SECONDS * MILLION, SECONDS * MILLION + 1100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_rate_is_kept),
		cmocka_unit_test(a_burst_passes_and_no_more),
		cmocka_unit_test(what_is_larger_than_the_burst_is_paid_for),
		cmocka_unit_test(no_limit_limits_nothing),
		cmocka_unit_test(any_time_will_do),
		cmocka_unit_test(what_cannot_be_is_refused),
		cmocka_unit_test(threads_share_a_limit),
		cmocka_unit_test(who_waits_keeps_the_rate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
