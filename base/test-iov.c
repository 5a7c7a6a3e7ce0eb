/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"
#include "base/iov.h"
#include "tests/cmocka.h"

/* "abcdefghij" in segments of 3, 0, 1, 6 bytes. */
static char text[] = "abcdefghij";
static const struct iovec segments[] = {
	{text, 3},
	{text + 3, 0},
	{text + 3, 1},
	{text + 4, 6},
};

static void reading_crosses_segments_and_stops_at_the_end(void **state)
{
	struct iov_cursor at = iov_cursor(segments, ARRAY_SIZE(segments));
	char out[16];

	assert_int_equal(iov_bytes(segments, ARRAY_SIZE(segments)), 10);
	assert_int_equal(iov_read(&at, out, 5), 5);
	assert_memory_equal(out, "abcde", 5);
	assert_int_equal(iov_skip(&at, 2), 2);
	assert_int_equal(iov_read(&at, out, sizeof(out)), 3);
	assert_memory_equal(out, "hij", 3);
	assert_int_equal(iov_read(&at, out, 1), 0);
}

static void slices_carry_exactly_the_bytes_asked_for(void **state)
{
	for (size_t from = 0; from <= 10; from++) {
		for (size_t length = 0; length <= 12; length++) {
			struct iov_cursor at =
				iov_cursor(segments, ARRAY_SIZE(segments));
			struct iovec slice[4];
			size_t bytes, count;
			char out[16];

			iov_skip(&at, from);
			count = iov_slice(&at, length, slice, 4, &bytes);
			assert_int_equal(bytes, MIN(length, 10 - from));
			at = iov_cursor(slice, count);
			assert_int_equal(iov_read(&at, out, 16), bytes);
			assert_memory_equal(out, text + from, bytes);
		}
	}
}

static void slice_short_of_segments_says_how_far_it_came(void **state)
{
	struct iov_cursor at = iov_cursor(segments, ARRAY_SIZE(segments));
	struct iovec slice[1];
	size_t bytes;

	assert_int_equal(iov_slice(&at, 10, slice, 1, &bytes), 1);
	assert_int_equal(bytes, 3);
	assert_int_equal(iov_slice(&at, 10, slice, 1, &bytes), 1);
	assert_int_equal(bytes, 1);
	assert_ptr_equal(slice[0].iov_base, text + 3);
}

static void writing_and_filling_stay_inside_the_segments(void **state)
{
	char out[8] = "--------";
	const struct iovec two[] = {{out + 1, 2}, {out + 4, 3}};
	struct iov_cursor at = iov_cursor(two, 2);

	assert_int_equal(iov_write(&at, "xyz", 3), 3);
	assert_int_equal(iov_fill(&at, '0', 100), 2);
	assert_memory_equal(out, "-xy-z00-", 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reading_crosses_segments_and_stops_at_the_end),
		cmocka_unit_test(slices_carry_exactly_the_bytes_asked_for),
		cmocka_unit_test(slice_short_of_segments_says_how_far_it_came),
		cmocka_unit_test(writing_and_filling_stay_inside_the_segments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
