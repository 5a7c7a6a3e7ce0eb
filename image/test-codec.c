/* SPDX-License-Identifier: Apache-2.0 */
#include <libdeflate.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/bytes.h"
#include "image/codec.h"
#include "tests/cmocka.h"

enum {
	CLUSTER = 65536
};

static const enum image_codec kinds[] = {IMAGE_CODEC_DEFLATE, IMAGE_CODEC_ZLIB,
					 IMAGE_CODEC_ZSTD};

static struct codec *codec;
static char cluster[CLUSTER], stream[2 * CLUSTER], out[CLUSTER];

static int set_up(void **state)
{
	for (size_t i = 0; i < CLUSTER; i++)
		cluster[i] = i * i / 977;
	return codec_new(&codec);
}

static int tear_down(void **state)
{
	codec_free(codec);
	return 0;
}

static size_t compress(enum image_codec kind, size_t bytes)
{
	struct libdeflate_compressor *c = libdeflate_alloc_compressor(6);
	size_t got;

	if (kind == IMAGE_CODEC_ZSTD)
		got = ZSTD_compress(stream, sizeof(stream), cluster, bytes, 3);
	else if (kind == IMAGE_CODEC_ZLIB)
		got = libdeflate_zlib_compress(c, cluster, bytes, stream,
					       sizeof(stream));
	else
		got = libdeflate_deflate_compress(c, cluster, bytes, stream,
						  sizeof(stream));
	libdeflate_free_compressor(c);
	assert_true(got > 0 && got < CLUSTER);
	return got;
}

static void what_follows_the_stream_is_not_looked_at(void **state)
{
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		size_t bytes = compress(kinds[k], CLUSTER);

		memset(stream + bytes, 0x5a, 600);
		memset(out, 0, sizeof(out));
		assert_int_equal(codec_decompress(codec, kinds[k], stream,
						  bytes + 600, out, CLUSTER),
				 0);
		assert_memory_equal(out, cluster, CLUSTER);
	}
}

static void a_stream_of_another_length_is_refused(void **state)
{
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		size_t bytes = compress(kinds[k], CLUSTER - 1);

		assert_int_equal(codec_decompress(codec, kinds[k], stream,
						  bytes, out, CLUSTER),
				 IMAGE_E_CORRUPT);
		bytes = compress(kinds[k], CLUSTER);
		assert_int_equal(codec_decompress(codec, kinds[k], stream,
						  bytes, out, CLUSTER - 1),
				 IMAGE_E_CORRUPT);
	}
}

static void a_stream_cut_anywhere_is_refused(void **state)
{
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		size_t bytes = compress(kinds[k], 4096);

		for (size_t cut = 0; cut < bytes; cut++) {
			/* On the heap: a sanitizer sees one byte over. */
			char *copy = malloc(cut ? cut : 1);

			memcpy(copy, stream, cut);
			assert_int_equal(codec_decompress(codec, kinds[k], copy,
							  cut, out, 4096),
					 IMAGE_E_CORRUPT);
			free(copy);
		}
	}
}

static void a_codec_that_is_none_is_refused(void **state)
{
	assert_int_equal(
		codec_decompress(codec, IMAGE_CODEC_NONE, stream, 10, out, 10),
		IMAGE_E_UNSUPPORTED);
	assert_int_equal(codec_decompress(codec, (enum image_codec)99, stream,
					  10, out, 10),
			 IMAGE_E_UNSUPPORTED);
}

static void what_is_compressed_comes_back(void **state)
{
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
		for (int level = 0; level <= 20; level++) {
			size_t bytes = 0;

			assert_int_equal(codec_compress(codec, kinds[k], level,
							cluster, CLUSTER,
							stream, CLUSTER,
							&bytes),
					 0);
			assert_in_range(bytes, 1, CLUSTER - 1);
			memset(out, 0, sizeof(out));
			assert_int_equal(codec_decompress(codec, kinds[k],
							  stream, bytes, out,
							  CLUSTER),
					 0);
			assert_memory_equal(out, cluster, CLUSTER);
		}
}

static void a_stream_that_does_not_fit_is_said_to(void **state)
{
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		size_t bytes = 0, unchanged = 77;

		assert_int_equal(codec_compress(codec, kinds[k], 0, cluster,
						CLUSTER, stream, CLUSTER,
						&bytes),
				 0);
		for (size_t room = 0; room < bytes; room += 1 + room / 2) {
			/* On the heap: a sanitizer sees one byte over. */
			char *small = malloc(room + 1);

			assert_int_equal(codec_compress(codec, kinds[k], 0,
							cluster, CLUSTER, small,
							room, &unchanged),
					 IMAGE_E_NO_SPACE);
			free(small);
		}
		assert_int_equal(unchanged, 77);
	}
	assert_int_equal(codec_compress(codec, IMAGE_CODEC_NONE, 0, cluster, 10,
					stream, 100, &(size_t){0}),
			 IMAGE_E_UNSUPPORTED);
}

static void a_short_stream_is_filled_up_where_that_is_allowed(void **state)
{
	size_t bytes = 0;

	assert_int_equal(codec_compress(codec, IMAGE_CODEC_ZLIB, 0, cluster,
					CLUSTER / 2, stream, CLUSTER, &bytes),
			 0);
	memset(out, 0x55, sizeof(out));
	assert_int_equal(codec_decompress_short(codec, IMAGE_CODEC_ZLIB, stream,
						bytes, out, CLUSTER),
			 0);
	assert_memory_equal(out, cluster, CLUSTER / 2);
	for (size_t i = CLUSTER / 2; i < CLUSTER; i++)
		assert_int_equal(out[i], 0);
	assert_int_equal(codec_decompress_short(codec, IMAGE_CODEC_ZLIB, stream,
						bytes, out, CLUSTER / 2 - 1),
			 IMAGE_E_CORRUPT);
	assert_int_equal(codec_decompress_short(codec, IMAGE_CODEC_ZSTD, stream,
						bytes, out, CLUSTER),
			 IMAGE_E_UNSUPPORTED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			a_short_stream_is_filled_up_where_that_is_allowed),
		cmocka_unit_test(what_follows_the_stream_is_not_looked_at),
		cmocka_unit_test(a_stream_of_another_length_is_refused),
		cmocka_unit_test(a_stream_cut_anywhere_is_refused),
		cmocka_unit_test(a_codec_that_is_none_is_refused),
		cmocka_unit_test(what_is_compressed_comes_back),
		cmocka_unit_test(a_stream_that_does_not_fit_is_said_to),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
