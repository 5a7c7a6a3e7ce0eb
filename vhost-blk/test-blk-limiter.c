/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "tests/cmocka.h"
#include "vhost-blk/blk-limiter.h"

/* Requests admitted in @seconds when there is always one more. */
static uint64_t admitted_in(struct blk_limiter *limiter, uint64_t seconds,
			    uint64_t bytes)
{
	uint64_t now = 7 * NS_PER_SECOND;
	const uint64_t end = now + seconds * NS_PER_SECOND;
	uint64_t count = 0;

	while (now < end) {
		uint64_t wait = blk_limiter_wait_ns(limiter, now);

		now += wait;
		if (wait == 0) {
			blk_limiter_charge(limiter, now, bytes);
			count++;
		}
	}
	return count;
}

static void requests_are_held_to_their_rate(void **state)
{
	struct blk_limiter limiter = {.iops = 1000};

	/* The burst comes on top: 50 ms of it, and the one that ends it. */
	assert_in_range(admitted_in(&limiter, 10, 4096), 10000, 10051);
}

static void bytes_are_held_to_their_rate(void **state)
{
	struct blk_limiter limiter = {.bps = 100 << 20};

	assert_in_range(admitted_in(&limiter, 10, 1 << 20), 1000, 1006);
}

static void request_larger_than_a_second_delays_the_next(void **state)
{
	struct blk_limiter limiter = {.bps = 1 << 20};
	const uint64_t now = NS_PER_SECOND;

	assert_int_equal(blk_limiter_wait_ns(&limiter, now), 0);
	blk_limiter_charge(&limiter, now, UINT64_C(512) << 20);
	assert_true(blk_limiter_wait_ns(&limiter, now) ==
		    512 * NS_PER_SECOND - BLK_LIMITER_BURST_NS);
}

static void idle_time_is_not_saved_up(void **state)
{
	struct blk_limiter limiter = {.iops = 100};

	blk_limiter_charge(&limiter, NS_PER_SECOND, 0);
	assert_in_range(admitted_in(&limiter, 1, 0), 100, 106);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_held_to_their_rate),
		cmocka_unit_test(bytes_are_held_to_their_rate),
		cmocka_unit_test(request_larger_than_a_second_delays_the_next),
		cmocka_unit_test(idle_time_is_not_saved_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
