/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"
#include "tests/cmocka.h"

static void loads_and_stores_keep_their_byte_order(void **state)
{
	const uint8_t bytes[9] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
	uint8_t out[9] = {0};

	assert_int_equal(get_le16(bytes + 1), 0x0201);
	assert_int_equal(get_be16(bytes + 1), 0x0102);
	assert_int_equal(get_le32(bytes + 1), 0x04030201);
	assert_int_equal(get_be32(bytes + 1), 0x01020304);
	assert_true(get_le64(bytes + 1) == 0x0807060504030201);
	assert_true(get_be64(bytes + 1) == 0x0102030405060708);
	put_be64(out + 1, 0x0102030405060708);
	assert_memory_equal(out, bytes, sizeof(out));
}

static void range_at_the_top_of_the_address_space_does_not_wrap(void **state)
{
	assert_false(range_fits(UINT64_MAX, 2, UINT64_MAX));
	assert_false(range_fits(2, UINT64_MAX, UINT64_MAX));
	assert_true(range_fits(UINT64_MAX, 0, UINT64_MAX));
	assert_true(range_fits(10, 5, 15));
	assert_false(range_fits(11, 5, 15));
}

static void ranges_that_only_touch_do_not_overlap(void **state)
{
	assert_false(ranges_overlap(0, 10, 10, 5));
	assert_false(ranges_overlap(10, 5, 0, 10));
	assert_true(ranges_overlap(0, 11, 10, 5));
	assert_false(ranges_overlap(3, 0, 0, 10));
	assert_true(ranges_overlap(UINT64_MAX - 1, 1, UINT64_MAX - 4, 4));
}

static void one_set_byte_anywhere_is_seen(void **state)
{
	uint8_t bytes[200] = {0};

	for (size_t i = 0; i < sizeof(bytes); i++) {
		assert_true(bytes_are_zero(bytes, sizeof(bytes)));
		bytes[i] = 1;
		assert_false(bytes_are_zero(bytes, sizeof(bytes)));
		assert_true(bytes_are_zero(bytes, i));
		bytes[i] = 0;
	}
}

static void rounding_division_does_not_overflow(void **state)
{
	assert_true(div_round_up(UINT64_MAX, 2) == (UINT64_C(1) << 63));
	assert_int_equal(div_round_up(0, 7), 0);
	assert_int_equal(div_round_up(8, 7), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(loads_and_stores_keep_their_byte_order),
		cmocka_unit_test(
			range_at_the_top_of_the_address_space_does_not_wrap),
		cmocka_unit_test(ranges_that_only_touch_do_not_overlap),
		cmocka_unit_test(one_set_byte_anywhere_is_seen),
		cmocka_unit_test(rounding_division_does_not_overflow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
