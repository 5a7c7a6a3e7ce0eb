/* SPDX-License-Identifier: Apache-2.0 */
/* Every stream is unpacked by zlib with QEMU's window, and looked into. */
#include <libdeflate.h>
#include <stdlib.h>
#include <zlib.h>

#include "base/bytes.h"
#include "image/deflate.h"
#include "image/inflate-walk.h"
#include "tests/cmocka.h"

enum {
	MAX_BYTES = 2 << 20,
	QEMU_WINDOW_BITS = 12,
};

static struct deflate *deflater;
static uint8_t *in, *out, *back;
static size_t room;

static int set_up(void **state)
{
	room = deflate_bound(MAX_BYTES);
	in = malloc(MAX_BYTES);
	out = malloc(room);
	back = malloc(MAX_BYTES);
	return in && out && back ? deflate_new(&deflater) : -1;
}

static int tear_down(void **state)
{
	deflate_free(deflater);
	free(in);
	free(out);
	free(back);
	return 0;
}

static uint32_t random_state = 1;

static uint32_t random_number(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return random_state;
}

static void check_zlib(size_t bytes, size_t stream)
{
	z_stream z = {
		.next_in = out,
		.avail_in = stream,
		.next_out = back,
		.avail_out = bytes,
	};

	assert_int_equal(inflateInit2(&z, -QEMU_WINDOW_BITS), Z_OK);
	assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
	assert_int_equal(z.avail_in, 0);
	assert_int_equal(z.avail_out, 0);
	inflateEnd(&z);
	assert_memory_equal(back, in, bytes);
}

static void check_libdeflate(size_t bytes, size_t stream)
{
	struct libdeflate_decompressor *d = libdeflate_alloc_decompressor();

	memset(back, 0, bytes);
	assert_int_equal(libdeflate_deflate_decompress(d, out, stream, back,
						       bytes, NULL),
			 LIBDEFLATE_SUCCESS);
	assert_memory_equal(back, in, bytes);
	libdeflate_free_decompressor(d);
}

/* Returns the stream's length; *@ret_walk is what was found in it. */
static size_t round_trip_looking(size_t bytes, int level,
				 struct inflate_walk *ret_walk)
{
	size_t bound = deflate_bound(bytes);
	size_t stream =
		deflate_compress(deflater, level, in, bytes, out, bound);

	assert_in_range(stream, 1, bound - DEFLATE_SLACK_BYTES);
	if (bytes > 0)
		check_zlib(bytes, stream);
	check_libdeflate(bytes, stream);
	memset(back, 0, bytes);
	assert_true(inflate_walk(out, stream, back, bytes, ret_walk));
	assert_memory_equal(back, in, bytes);
	assert_int_equal(ret_walk->out_bytes, bytes);
	assert_int_equal(ret_walk->in_bytes, stream);
	assert_in_range(ret_walk->farthest, 0, DEFLATE_WINDOW_BYTES);
	assert_in_range(ret_walk->longest, 0, 258);
	return stream;
}

static size_t round_trip(size_t bytes, int level)
{
	struct inflate_walk walk;

	return round_trip_looking(bytes, level, &walk);
}

static void fill_text(size_t bytes)
{
	static const char *const words[] = {
		"the ", "cluster ", "of ", "a ", "table ", "is ", "refcount ",
		"and ", "offset ",  "in ", "\n", "0x",	   "no ", "snapshot ",
	};
	size_t at = 0;

	while (at < bytes) {
		const char *word = words[random_number() % ARRAY_SIZE(words)];
		size_t length = MIN(strlen(word), bytes - at);

		memcpy(in + at, word, length);
		at += length;
	}
}

static void fill_random(size_t bytes, unsigned kinds)
{
	for (size_t i = 0; i < bytes; i++)
		in[i] = random_number() % kinds;
}

static void all_levels(size_t bytes)
{
	for (int level = 0; level <= 10; level++)
		round_trip(bytes, level);
}

static void tiny_inputs_round_trip(void **state)
{
	static const size_t sizes[] = {0, 1, 2, 3, 4, 5, 7, 8, 63, 257, 259};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		memset(in, 'a', sizes[i]);
		all_levels(sizes[i]);
		fill_random(sizes[i], 256);
		all_levels(sizes[i]);
	}
}

static void every_cluster_size_round_trips(void **state)
{
	for (size_t bytes = 512; bytes <= MAX_BYTES; bytes *= 2) {
		fill_text(bytes);
		round_trip(bytes, 1);
		assert_true(round_trip(bytes, 6) < bytes * 3 / 4);
		memset(in, 0, bytes);
		assert_true(round_trip(bytes, 6) <= 32 + bytes / 500);
		fill_random(bytes, 256);
		round_trip(bytes, 6);
		fill_random(bytes, 3);
		assert_true(round_trip(bytes, 6) < bytes / 2);
	}
}

static void what_is_random_becomes_stored_blocks(void **state)
{
	struct inflate_walk walk;

	fill_random(200000, 256);
	round_trip_looking(200000, 6, &walk);
	assert_true(walk.stored > 0);
	assert_int_equal(walk.dynamic, 0);
}

static void all_byte_values_in_a_row_round_trip(void **state)
{
	for (size_t i = 0; i < 65536; i++)
		in[i] = i + i / 256;
	all_levels(65536);
}

/* A random block again exactly @distance later. */
static unsigned farthest_of_repetition(size_t distance)
{
	struct inflate_walk walk;

	fill_random(4 * distance, 256);
	for (size_t i = distance; i < 4 * distance; i++)
		in[i] = in[i - distance];
	round_trip_looking(4 * distance, 9, &walk);
	return walk.farthest;
}

static void no_distance_exceeds_the_window_that_qemu_has(void **state)
{
	assert_int_equal(farthest_of_repetition(4095), 4095);
	assert_int_equal(farthest_of_repetition(4096), 4096);
	assert_in_range(farthest_of_repetition(4097), 0, 4096);
	assert_in_range(farthest_of_repetition(32768), 0, 4096);
	assert_in_range(farthest_of_repetition(65536), 0, 4096);
}

static void matches_of_the_greatest_length_round_trip(void **state)
{
	struct inflate_walk walk;

	for (size_t bytes = 255; bytes < 530; bytes++) {
		memset(in, 'x', bytes);
		round_trip_looking(bytes, 6, &walk);
		assert_int_equal(walk.longest, MIN(bytes - 1, (size_t)258));
	}
}

/* Counts like Fibonacci's make a code that wants more than 15 bits. */
static void codes_are_limited_in_length(void **state)
{
	size_t at = 0, count = 1, before = 1;

	for (unsigned symbol = 0; symbol < 24 && at + count < 65536; symbol++) {
		size_t sum = count + before;

		memset(in + at, symbol * 7, count);
		at += count;
		before = count;
		count = sum;
	}
	/* Shuffled, so that literals remain. */
	for (size_t i = at - 1; i > 0; i--) {
		size_t other = random_number() % (i + 1);
		uint8_t byte = in[i];

		in[i] = in[other];
		in[other] = byte;
	}
	all_levels(at);
}

static void a_mixture_is_split_into_blocks(void **state)
{
	struct inflate_walk walk;

	fill_text(24576);
	for (size_t i = 24576; i < 49152; i++)
		in[i] = 128 + random_number() % 64;
	round_trip_looking(49152, 6, &walk);
	assert_true(walk.dynamic > 1);
}

static void random_mixtures_round_trip(void **state)
{
	for (unsigned i = 0; i < 300; i++) {
		size_t bytes = random_number() % 70000, at = 0;

		while (at < bytes) {
			size_t length =
				MIN(1 + random_number() % 9000, bytes - at);
			unsigned kinds = 1 + random_number() % 256;
			size_t back_to = random_number() % 5000;
			bool repeat = random_number() % 2 && at > back_to;

			for (size_t k = 0; k < length; k++, at++)
				in[at] = repeat ? in[at - back_to - 1]
						: random_number() % kinds;
		}
		round_trip(bytes, 1 + i % 9);
	}
}

static void a_stream_that_does_not_fit_is_given_up(void **state)
{
	uint8_t *small;
	size_t stream;

	fill_text(65536);
	stream = deflate_compress(deflater, 6, in, 65536, out, room);
	/* On the heap: a sanitizer sees one byte over. */
	for (size_t less = 0; less < stream; less += 1 + less / 3) {
		size_t bytes = stream + DEFLATE_SLACK_BYTES - less;

		small = malloc(bytes);
		assert_int_equal(
			deflate_compress(deflater, 6, in, 65536, small, bytes),
			less == 0 ? stream : 0);
		free(small);
	}
	assert_int_equal(deflate_compress(deflater, 6, in, 65536, out, 3), 0);
}

static void what_was_encoded_before_makes_no_difference(void **state)
{
	uint8_t *first = malloc(room);
	size_t stream;

	fill_text(65536);
	stream = deflate_compress(deflater, 6, in, 65536, first, room);
	deflate_compress(deflater, 9, back, 100000, out, room);
	assert_int_equal(deflate_compress(deflater, 6, in, 65536, out, room),
			 stream);
	assert_memory_equal(first, out, stream);
	free(first);
}

/* A level is worth its time: none makes text larger than the one below by much. */
static void higher_levels_make_smaller_streams(void **state)
{
	size_t last;

	fill_text(MAX_BYTES / 4);
	last = round_trip(MAX_BYTES / 4, 1);
	for (int level = 2; level <= 9; level++) {
		size_t now = round_trip(MAX_BYTES / 4, level);

		assert_true(now <= last + last / 200);
		last = now;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tiny_inputs_round_trip),
		cmocka_unit_test(every_cluster_size_round_trips),
		cmocka_unit_test(what_is_random_becomes_stored_blocks),
		cmocka_unit_test(all_byte_values_in_a_row_round_trip),
		cmocka_unit_test(no_distance_exceeds_the_window_that_qemu_has),
		cmocka_unit_test(matches_of_the_greatest_length_round_trip),
		cmocka_unit_test(codes_are_limited_in_length),
		cmocka_unit_test(a_mixture_is_split_into_blocks),
		cmocka_unit_test(random_mixtures_round_trip),
		cmocka_unit_test(a_stream_that_does_not_fit_is_given_up),
		cmocka_unit_test(what_was_encoded_before_makes_no_difference),
		cmocka_unit_test(higher_levels_make_smaller_streams),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
