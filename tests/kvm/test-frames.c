/* SPDX-License-Identifier: Apache-2.0 */
/* Frames between machines: whatever happens to one on its way is seen. */
#include <string.h>

#include "base/bytes.h"
#include "tests/cmocka.h"
#include "tests/kvm/frames.h"

static const struct frames_word words[] = {
	{2, 1, FRAMES_HELLO, 0, 0},	 {1, 2, FRAMES_HELLO, 0, 3},
	{2, 1, FRAMES_DATA, 1, 0},	 {2, 1, FRAMES_DATA, 1, 7},
	{2, 1, FRAMES_DATA, 2, 7},	 {1, 2, FRAMES_DATA, 2, 12},
	{1, 255, FRAMES_FAREWELL, 3, 0},
};

/* Read as something, and nothing is wrong with it. */
static bool is_well(const uint8_t *frame, uint32_t bytes,
		    struct frames_word *ret_word)
{
	const char *wrong;

	return frames_read(frame, bytes, ret_word, &wrong) && !wrong;
}

static bool same(const struct frames_word *a, const struct frames_word *b)
{
	return a->to == b->to && a->from == b->from && a->kind == b->kind &&
	       a->turn == b->turn && a->number == b->number;
}

static void a_frame_says_what_it_was_made_of(void **state)
{
	uint8_t frame[FRAMES_MOST_BYTES];
	struct frames_word word;

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		uint32_t bytes = frames_make(&words[i], frame);

		assert_true(is_well(frame, bytes, &word));
		assert_true(same(&word, &words[i]));
	}
}

static void lengths_are_many_and_reach_both_ends(void **state)
{
	bool had[FRAMES_MOST_BYTES + 1] = {0};
	uint8_t frame[FRAMES_MOST_BYTES];
	unsigned lengths = 0;

	for (uint32_t i = 0; i < 1000; i++) {
		struct frames_word word = {2, 1, FRAMES_DATA, 1, i};
		uint32_t bytes = frames_make(&word, frame);

		assert_in_range(bytes, FRAMES_LEAST_BYTES, FRAMES_MOST_BYTES);
		lengths += !had[bytes];
		had[bytes] = true;
	}
	assert_true(had[FRAMES_LEAST_BYTES] && had[FRAMES_MOST_BYTES]);
	assert_true(lengths > 500);
}

static void a_changed_bit_is_seen(void **state)
{
	uint8_t frame[FRAMES_MOST_BYTES];
	struct frames_word word;

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		uint32_t bytes = frames_make(&words[i], frame);

		for (uint32_t bit = 0; bit < bytes * 8; bit++) {
			frame[bit / 8] ^= 1 << bit % 8;
			assert_false(is_well(frame, bytes, &word));
			frame[bit / 8] ^= 1 << bit % 8;
		}
	}
}

static void another_length_is_seen(void **state)
{
	uint8_t frame[FRAMES_MOST_BYTES + 64] = {0};
	struct frames_word word;

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		uint32_t bytes = frames_make(&words[i], frame);

		for (uint32_t other = 0; other < sizeof(frame); other++)
			assert_true(is_well(frame, other, &word) ==
				    (other == bytes));
	}
}

static void frames_that_moved_in_memory_are_seen(void **state)
{
	uint8_t frame[FRAMES_MOST_BYTES], moved[FRAMES_MOST_BYTES];
	const struct frames_word longest = {2, 1, FRAMES_DATA, 1, 7};
	struct frames_word word;
	uint32_t bytes = frames_make(&longest, frame);

	assert_int_equal(bytes, FRAMES_MOST_BYTES);
	/* As when the second of two buffers begins a little off. */
	for (uint32_t at = 64; at + 1 < bytes; at += 13) {
		memcpy(moved, frame, at);
		memcpy(moved + at, frame + at + 1, bytes - at - 1);
		moved[bytes - 1] = 0;
		assert_false(is_well(moved, bytes, &word));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_frame_says_what_it_was_made_of),
		cmocka_unit_test(lengths_are_many_and_reach_both_ends),
		cmocka_unit_test(a_changed_bit_is_seen),
		cmocka_unit_test(another_length_is_seen),
		cmocka_unit_test(frames_that_moved_in_memory_are_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
