/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bitmap.h"
#include "tests/cmocka.h"

enum {
	BITS = 200
};

static void ranges_are_exact_at_every_start_and_length(void **state)
{
	for (size_t first = 0; first < BITS; first++) {
		for (size_t count = 0; first + count <= BITS; count++) {
			uint64_t map[BITMAP_WORDS(BITS)] = {0};

			bitmap_set_range(map, first, count);
			assert_int_equal(bitmap_count(map, BITS), count);
			assert_int_equal(bitmap_next_set(map, BITS, 0),
					 count ? first : BITS);
			assert_int_equal(bitmap_next_clear(map, BITS, first),
					 first + count);
			bitmap_clear_range(map, first, count);
			assert_int_equal(bitmap_count(map, BITS), 0);
		}
	}
}

static void search_ends_at_the_last_bit_not_at_the_word(void **state)
{
	uint64_t map[BITMAP_WORDS(70)] = {0};

	bitmap_set(map, 100);
	assert_int_equal(bitmap_next_set(map, 70, 0), 70);
	assert_int_equal(bitmap_next_set(map, 101, 0), 100);
	assert_true(bitmap_test(map, 100));
	bitmap_clear(map, 100);
	assert_false(bitmap_test(map, 100));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges_are_exact_at_every_start_and_length),
		cmocka_unit_test(search_ends_at_the_last_bit_not_at_the_word),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
