/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/cmocka.h"

#include "base/histogram.h"

static struct histogram h;

static int clear(void **state)
{
	h = (struct histogram){0};
	return 0;
}

static void an_empty_histogram_answers_zero(void **state)
{
	assert_int_equal(histogram_percentile(&h, 500), 0);
	assert_int_equal(histogram_mean(&h), 0);
}

static void buckets_follow_each_other_without_a_gap(void **state)
{
	unsigned last = 0;

	for (uint64_t v = 1; v < UINT64_C(1) << 41; v += 1 + v / 200) {
		unsigned bucket = histogram_bucket(v);

		assert_in_range(bucket, last, last + 1);
		assert_true(bucket < HISTOGRAM_BUCKETS);
		last = bucket;
	}
	assert_int_equal(last, HISTOGRAM_BUCKETS - 1);
}

static void percentiles_are_within_two_percent(void **state)
{
	for (uint64_t v = 1; v <= 100000; v++)
		histogram_add(&h, v);
	assert_in_range(histogram_percentile(&h, 500), 49000, 51000);
	assert_in_range(histogram_percentile(&h, 990), 97500, 100000);
	assert_int_equal(histogram_percentile(&h, 1000), 100000);
	assert_int_equal(histogram_mean(&h), 50000);
}

static void small_values_are_exact(void **state)
{
	for (unsigned i = 0; i < 10; i++)
		histogram_add(&h, 7);
	histogram_add(&h, 50);
	assert_int_equal(histogram_percentile(&h, 500), 7);
	assert_int_equal(histogram_percentile(&h, 999), 50);
}

static void a_value_beyond_all_buckets_counts_in_the_last(void **state)
{
	histogram_add(&h, UINT64_MAX);
	assert_int_equal(h.buckets[HISTOGRAM_BUCKETS - 1], 1);
	assert_int_equal(h.max, UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(an_empty_histogram_answers_zero, clear),
		cmocka_unit_test_setup(buckets_follow_each_other_without_a_gap,
				       clear),
		cmocka_unit_test_setup(percentiles_are_within_two_percent,
				       clear),
		cmocka_unit_test_setup(small_values_are_exact, clear),
		cmocka_unit_test_setup(
			a_value_beyond_all_buckets_counts_in_the_last, clear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
