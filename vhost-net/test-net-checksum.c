/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/bytes.h"
#include "tests/cmocka.h"
#include "vhost-net/net-checksum.h"
#include "vhost-net/test-packet.h"

enum {
	BYTES = 4096
};

static uint8_t data[BYTES];
static uint8_t copy[BYTES + 16];

static int fill(void **state)
{
	for (size_t i = 0; i < BYTES; i++)
		data[i] = i % 3 ? packet_payload(i) : 0xff;
	return 0;
}

static uint16_t stored(const struct net_sum *sum)
{
	uint8_t place[2];

	net_sum_store(sum, place);
	return get_be16(place);
}

static void every_length_and_alignment_is_summed_as_by_the_book(void **state)
{
	for (size_t at = 0; at < 9; at++) {
		for (size_t bytes = 1; bytes < 300; bytes++) {
			struct net_sum sum = {0};

			net_sum_add(&sum, data + at, bytes);
			assert_int_equal(stored(&sum),
					 packet_checksum(data + at, bytes));
		}
	}
}

static void pieces_of_any_length_give_the_same_sum(void **state)
{
	const uint16_t whole = packet_checksum(data, BYTES);

	for (size_t piece = 1; piece < 200; piece++) {
		struct net_sum sum = {0};

		for (size_t at = 0; at < BYTES; at += piece)
			net_sum_add(&sum, data + at, MIN(piece, BYTES - at));
		assert_int_equal(stored(&sum), whole);
	}
}

static void a_copy_is_summed_and_writes_nothing_beside(void **state)
{
	for (size_t bytes = 0; bytes < 300; bytes++) {
		struct net_sum sum = {0};

		memset(copy, 0xee, sizeof(copy));
		net_sum_copy(&sum, copy + 3, data + 5, bytes);
		assert_memory_equal(copy + 3, data + 5, bytes);
		assert_int_equal(copy[2], 0xee);
		assert_int_equal(copy[3 + bytes], 0xee);
		if (bytes > 0)
			assert_int_equal(stored(&sum),
					 packet_checksum(data + 5, bytes));
	}
}

static void a_checksum_of_zero_becomes_all_ones(void **state)
{
	struct net_sum sum = {0};

	net_sum_add_u16(&sum, 0x1234);
	net_sum_add_u16(&sum, 0xedcb);
	assert_int_equal(net_sum_fold(&sum), 0xffff);
	assert_int_equal(stored(&sum), 0xffff);
}

static void a_sum_of_many_full_words_keeps_its_carries(void **state)
{
	struct net_sum sum = {0};

	memset(copy, 0xff, BYTES);
	for (unsigned i = 0; i < 1 << 16; i++)
		net_sum_add(&sum, copy, BYTES);
	assert_int_equal(net_sum_fold(&sum), 0xffff);
	net_sum_add_u16(&sum, 1);
	assert_int_equal(get_be16((uint8_t[]){0, 1}), 1);
	assert_int_equal(be16toh(net_sum_fold(&sum)), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			every_length_and_alignment_is_summed_as_by_the_book),
		cmocka_unit_test(pieces_of_any_length_give_the_same_sum),
		cmocka_unit_test(a_copy_is_summed_and_writes_nothing_beside),
		cmocka_unit_test(a_checksum_of_zero_becomes_all_ones),
		cmocka_unit_test(a_sum_of_many_full_words_keeps_its_carries),
	};

	return cmocka_run_group_tests(tests, fill, NULL);
}
