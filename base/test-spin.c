/* SPDX-License-Identifier: Apache-2.0 */
#include "base/spin.h"

#include "tests/cmocka.h"

enum {
	US = 1000,
};

/* How long a thread that became idle at @now looks, in steps of a µs. */
static unsigned spins_us(struct spin *spin, uint64_t now)
{
	unsigned us = 0;

	while (us < 1000 && spin_again(spin, now + us * US))
		us++;
	return us;
}

static void long_sleeps_make_looking_shorter_and_a_short_one_long(void **state)
{
	struct spin spin;

	spin_init(&spin, SPIN_ADAPTIVE);
	assert_int_equal(spins_us(&spin, 1000 * US), 50);
	for (unsigned limit = 50; limit > 1; limit /= 2) {
		spin_slept(&spin, 1000 * US);
		assert_in_range(spins_us(&spin, 5000 * US), limit / 2,
				limit / 2 + 1);
	}
	for (unsigned i = 0; i < 20; i++)
		spin_slept(&spin, 1000 * US);
	assert_int_equal(spins_us(&spin, 9000 * US), 0);
	spin_slept(&spin, 10 * US);
	assert_int_equal(spins_us(&spin, 10000 * US), 50);
	/* Neither short nor long: nothing changes. */
	spin_slept(&spin, 100 * US);
	assert_int_equal(spins_us(&spin, 11000 * US), 50);
}

static void work_starts_the_clock_anew(void **state)
{
	struct spin spin;

	spin_init(&spin, SPIN_ADAPTIVE);
	assert_true(spin_again(&spin, 1000 * US));
	assert_true(spin_again(&spin, 1040 * US));
	spin_worked(&spin);
	assert_true(spin_again(&spin, 1080 * US));
	assert_true(spin_again(&spin, 1120 * US));
	assert_false(spin_again(&spin, 1140 * US));
}

static void other_modes_do_as_they_are_told(void **state)
{
	struct spin spin;

	spin_init(&spin, SPIN_ALWAYS);
	spin_slept(&spin, 1000 * US);
	assert_int_equal(spins_us(&spin, 1), 1000);
	spin_init(&spin, SPIN_NEVER);
	spin_slept(&spin, 1);
	assert_int_equal(spins_us(&spin, 1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			long_sleeps_make_looking_shorter_and_a_short_one_long),
		cmocka_unit_test(work_starts_the_clock_anew),
		cmocka_unit_test(other_modes_do_as_they_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
