/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a stream, held against the layout of the "Virtual Disk Format 5.0"
 * as numbers, without the structures that write them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/bytes.h"
#include "image/flaky-store.h"
#include "image/manage.h"
#include "tests/cmocka.h"
#include "vmdk/manage.h"
#include "vmdk/stream-out.h"

enum {
	SECTOR = 512,
	GRAIN = 65536,
	GRAIN_SECTORS = 128,
	ENTRIES = 512,
	/* What a table covers. */
	SPAN_SECTORS = ENTRIES * GRAIN_SECTORS,
	TABLE_BYTES = ENTRIES * 4,
	HEAD_BYTES = GRAIN,
	/* Directory's marker, directory, footer's marker, footer, end. */
	TAIL_BYTES = 5 * SECTOR,
};

#define SPAN ((uint64_t)SPAN_SECTORS * SECTOR)

static struct image_stream begin(struct store *out, uint64_t size_bytes)
{
	struct image_options options = {0};
	struct image_create_request request = {
		.store = out,
		.path = "x.vmdk",
		.size_bytes = size_bytes,
		.options = &options,
	};
	struct image_stream stream;
	char *error = NULL;

	assert_int_equal(
		image_options_set(&options, "subformat", "streamOptimized"), 0);
	if (vmdk_stream(&request, &stream, &error))
		fail_msg("%s", error ? error : "no stream");
	image_options_deinit(&options);
	assert_int_equal(stream.unit_bytes, GRAIN);
	return stream;
}

static struct store *memory(void)
{
	struct store *store;

	assert_int_equal(store_new_memory(0, &store), 0);
	return store;
}

static void end(struct image_stream *stream)
{
	assert_int_equal(stream->end(stream->guest), 0);
	store_free(stream->guest);
}

static const uint8_t *bytes_of(struct store *store)
{
	return store_memory_data(store);
}

static bool is_zero(const uint8_t *data, size_t bytes)
{
	while (bytes > 0 && data[bytes - 1] == 0)
		bytes--;
	return bytes == 0;
}

/* --- The parts of a stream ---------------------------------------------- */

static void assert_header(const uint8_t *h, uint64_t sectors,
			  uint64_t directory)
{
	assert_memory_equal(h, "KDMV", 4);
	assert_int_equal(get_le32(h + 4), 3);	     /* version */
	assert_int_equal(get_le32(h + 8), 0x30001);  /* flags */
	assert_int_equal(get_le64(h + 12), sectors); /* capacity */
	assert_int_equal(get_le64(h + 20), GRAIN_SECTORS);
	assert_int_equal(get_le64(h + 28), 1);	/* descriptor, and */
	assert_int_equal(get_le64(h + 36), 20); /* its room */
	assert_int_equal(get_le32(h + 44), ENTRIES);
	assert_int_equal(get_le64(h + 48), 0); /* second directory */
	assert_true(get_le64(h + 56) == directory);
	assert_int_equal(get_le64(h + 64), GRAIN_SECTORS); /* overhead */
	assert_int_equal(h[72], 0);			   /* clean */
	assert_memory_equal(h + 73, "\n \r\n", 4);
	assert_int_equal(get_le16(h + 77), 1); /* deflate */
	assert_true(is_zero(h + 79, SECTOR - 79));
}

static void assert_marker(const uint8_t *m, uint64_t value, uint32_t type)
{
	assert_int_equal(get_le64(m), value);
	assert_int_equal(get_le32(m + 8), 0);
	assert_int_equal(get_le32(m + 12), type);
	assert_true(is_zero(m + 16, SECTOR - 16));
}

/* Of grain @number, all @value; returns the bytes that it takes. */
static size_t assert_grain(const uint8_t *at, uint64_t number, int value)
{
	static uint8_t data[GRAIN + 1];
	uLongf bytes = sizeof(data);
	uint32_t packed = get_le32(at + 8);
	size_t whole = align_up(12 + (size_t)packed, SECTOR);

	assert_int_equal(get_le64(at), number * GRAIN_SECTORS);
	assert_int_equal(uncompress(data, &bytes, at + 12, packed), Z_OK);
	assert_int_equal(bytes, GRAIN);
	for (size_t i = 0; i < GRAIN; i++)
		assert_int_equal(data[i], value);
	assert_true(is_zero(at + 12 + packed, whole - 12 - packed));
	return whole;
}

/* From @at to the file's end; @directory has @tables entries. */
static void assert_tail(struct store *store, size_t at, uint64_t sectors,
			const uint32_t *directory, size_t tables)
{
	const uint8_t *tail = bytes_of(store) + at;

	assert_int_equal(store->size_bytes - at, TAIL_BYTES);
	assert_marker(tail, 1, 2);
	for (size_t i = 0; i < tables; i++)
		assert_int_equal(get_le32(tail + SECTOR + i * 4), directory[i]);
	assert_true(is_zero(tail + SECTOR + tables * 4, SECTOR - tables * 4));
	assert_marker(tail + 2 * SECTOR, 1, 3);
	assert_header(tail + 3 * SECTOR, sectors, at / SECTOR + 1);
	assert_marker(tail + 4 * SECTOR, 0, 0);
}

/* --- Streams ------------------------------------------------------------ */

static void a_stream_of_nothing_is_exact(void **state)
{
	struct store *out = memory();
	struct image_stream stream = begin(out, SPAN + SECTOR);
	const uint32_t directory[2] = {0};
	const char *text;

	end(&stream);
	assert_header(bytes_of(out), SPAN_SECTORS + 1, UINT64_MAX);
	text = (const char *)bytes_of(out) + SECTOR;
	assert_memory_equal(text, "# Disk DescriptorFile\n", 22);
	assert_non_null(strstr(text, "\nRW 65537 SPARSE \"x.vmdk\"\n"));
	assert_true(
		is_zero(bytes_of(out) + 21 * SECTOR, HEAD_BYTES - 21 * SECTOR));
	assert_tail(out, HEAD_BYTES, SPAN_SECTORS + 1, directory, 2);
	store_free(out);
}

static void fill(struct image_stream *stream, uint64_t grain, int value)
{
	uint8_t data[GRAIN];

	memset(data, value, sizeof(data));
	assert_int_equal(store_write(stream->guest, grain * GRAIN, data, GRAIN),
			 0);
}

/* Grains in tables 0 and 2 of 4: the others are not there. */
static void
tables_follow_their_grains_and_only_those_that_have_some(void **state)
{
	struct store *out = memory();
	struct image_stream stream = begin(out, 4 * SPAN);
	const uint8_t *data;
	uint32_t directory[4] = {0}, first, last, third;
	size_t at = HEAD_BYTES;

	fill(&stream, 3, 0x33);
	fill(&stream, 511, 0x44);
	fill(&stream, 1024, 0x55);
	end(&stream);
	data = bytes_of(out);
	first = (uint32_t)(at / SECTOR);
	at += assert_grain(data + at, 3, 0x33);
	last = (uint32_t)(at / SECTOR);
	at += assert_grain(data + at, 511, 0x44);
	assert_marker(data + at, TABLE_BYTES / SECTOR, 1);
	at += SECTOR;
	directory[0] = (uint32_t)(at / SECTOR);
	for (unsigned i = 0; i < ENTRIES; i++)
		assert_int_equal(get_le32(data + at + i * 4), i == 3	 ? first
							      : i == 511 ? last
									 : 0);
	at += TABLE_BYTES;
	third = (uint32_t)(at / SECTOR);
	at += assert_grain(data + at, 1024, 0x55);
	assert_marker(data + at, TABLE_BYTES / SECTOR, 1);
	at += SECTOR;
	directory[2] = (uint32_t)(at / SECTOR);
	assert_int_equal(get_le32(data + at), third);
	assert_true(is_zero(data + at + 4, TABLE_BYTES - 4));
	assert_tail(out, at + TABLE_BYTES, 4 * SPAN_SECTORS, directory, 4);
	store_free(out);
}

/* A directory of more than one sector, as its marker says. */
static void a_large_directory_has_whole_sectors(void **state)
{
	enum {
		TABLES = 129
	};
	struct store *out = memory();
	struct image_stream stream = begin(out, TABLES * SPAN);
	const uint8_t *tail;

	end(&stream);
	tail = bytes_of(out) + HEAD_BYTES;
	assert_int_equal(out->size_bytes, HEAD_BYTES + TAIL_BYTES + SECTOR);
	assert_marker(tail, 2, 2);
	assert_true(is_zero(tail + SECTOR, 2 * SECTOR));
	assert_marker(tail + 3 * SECTOR, 1, 3);
	store_free(out);
}

static void a_part_of_a_grain_is_filled_up_with_zeroes(void **state)
{
	static uint8_t data[GRAIN];
	struct store *out = memory();
	struct image_stream stream = begin(out, 2 * GRAIN + SECTOR);
	uLongf bytes = sizeof(data);
	const uint8_t *at;

	/* A middle, and the disk's last sector. */
	assert_int_equal(store_write(stream.guest, GRAIN + 1000, "middle", 6),
			 0);
	assert_int_equal(store_write(stream.guest, 2 * GRAIN, "last", 4), 0);
	end(&stream);
	at = bytes_of(out) + HEAD_BYTES;
	assert_int_equal(uncompress(data, &bytes, at + 12, get_le32(at + 8)),
			 Z_OK);
	assert_int_equal(bytes, GRAIN);
	assert_true(is_zero(data, 1000));
	assert_memory_equal(data + 1000, "middle", 6);
	assert_true(is_zero(data + 1006, GRAIN - 1006));
	at += align_up(12 + get_le32(at + 8), (uint32_t)SECTOR);
	assert_int_equal(get_le64(at), 2 * GRAIN_SECTORS);
	bytes = sizeof(data);
	assert_int_equal(uncompress(data, &bytes, at + 12, get_le32(at + 8)),
			 Z_OK);
	assert_int_equal(bytes, GRAIN);
	assert_memory_equal(data, "last", 4);
	assert_true(is_zero(data + 4, GRAIN - 4));
	store_free(out);
}

/* What deflate cannot make smaller has to fit all the same. */
static void noise_becomes_a_grain_that_is_larger(void **state)
{
	static uint8_t data[GRAIN], back[GRAIN];
	struct store *out = memory();
	struct image_stream stream = begin(out, GRAIN);
	uLongf bytes = sizeof(back);
	const uint8_t *at;
	uint64_t random = 88172645463325252;

	for (size_t i = 0; i < GRAIN; i++) {
		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		data[i] = (uint8_t)(random >> 32);
	}
	assert_int_equal(store_write(stream.guest, 0, data, GRAIN), 0);
	end(&stream);
	at = bytes_of(out) + HEAD_BYTES;
	assert_true(get_le32(at + 8) > GRAIN);
	assert_int_equal(uncompress(back, &bytes, at + 12, get_le32(at + 8)),
			 Z_OK);
	assert_memory_equal(back, data, GRAIN);
	store_free(out);
}

/* However the guest's bytes are cut, and whoever compressed first. */
static void pieces_make_the_same_stream_as_a_whole(void **state)
{
	enum {
		BYTES = 40 * GRAIN + 3 * SECTOR
	};
	uint8_t *data = malloc(BYTES);
	struct store *outs[2];

	for (size_t i = 0; i < BYTES; i++)
		data[i] = (uint8_t)(i * i >> 9);
	for (unsigned way = 0; way < 2; way++) {
		struct image_stream stream;
		size_t step = way ? BYTES : 5 * SECTOR;

		outs[way] = memory();
		stream = begin(outs[way], BYTES);
		for (size_t at = 0; at < BYTES; at += step)
			assert_int_equal(store_write(stream.guest, at,
						     data + at,
						     MIN(step, BYTES - at)),
					 0);
		end(&stream);
	}
	assert_int_equal(outs[0]->size_bytes, outs[1]->size_bytes);
	/* The descriptors have a CID each. */
	assert_memory_equal(bytes_of(outs[0]) + HEAD_BYTES,
			    bytes_of(outs[1]) + HEAD_BYTES,
			    outs[0]->size_bytes - HEAD_BYTES);
	store_free(outs[0]);
	store_free(outs[1]);
	free(data);
}

static void a_stream_goes_one_way(void **state)
{
	struct store *out = memory();
	struct image_stream stream = begin(out, 2 * GRAIN);
	uint8_t data[SECTOR] = {1};

	assert_int_equal(store_write(stream.guest, GRAIN, data, SECTOR), 0);
	assert_int_equal(store_write(stream.guest, 0, data, SECTOR), -ESPIPE);
	assert_int_equal(store_write(stream.guest, GRAIN, data, SECTOR),
			 -ESPIPE);
	assert_int_equal(store_write(stream.guest, 2 * GRAIN - 1, data, 2),
			 -EINVAL);
	assert_int_equal(store_write(stream.guest, UINT64_MAX, data, 2),
			 -EINVAL);
	assert_int_equal(store_read(stream.guest, 0, data, SECTOR), -ESPIPE);
	assert_int_equal(store_resize(stream.guest, 4 * GRAIN), -ENOTSUP);
	assert_int_equal(store_punch(stream.guest, 0, GRAIN), -ENOTSUP);
	end(&stream);
	store_free(out);
}

/* It is no disk then, and whoever goes on is told so again. */
static void a_store_that_fails_ends_the_stream(void **state)
{
	bool on = false;
	struct store *out = flaky_new(memory(), &on);
	struct image_stream stream = begin(out, 4 * SPAN);
	uint8_t data[GRAIN] = {1};
	int err = 0;

	on = true;
	for (uint64_t i = 0; i < 4 * SPAN / GRAIN && err == 0; i++)
		err = store_write(stream.guest, i * GRAIN, data, GRAIN);
	assert_true(err < 0);
	on = false;
	assert_int_equal(store_flush(stream.guest), err);
	assert_int_equal(stream.end(stream.guest), err);
	store_free(stream.guest);
	store_free(out);
}

static void a_stream_that_is_given_up_leaves_nothing_behind(void **state)
{
	struct store *out = memory();
	struct image_stream stream = begin(out, SPAN);

	for (uint64_t i = 0; i < 20; i++)
		fill(&stream, i, (int)i);
	store_free(stream.guest);
	store_free(out);
}

/* --- Past what 32 bits can name ----------------------------------------- */

static int swallow(struct store *store, uint64_t offset, const void *data,
		   size_t length)
{
	return 0;
}

static void no_place_past_two_tebibytes_is_named(void **state)
{
	static const struct store_ops ops = {.write = swallow};
	struct store store = {
		.ops = &ops,
		.name = "x",
		.fd = -1,
		.size_bytes = INT64_MAX,
	};
	const uint64_t last = (uint64_t)UINT32_MAX * SECTOR;
	uint8_t grain[2 * SECTOR] = {0};
	struct vmdk_stream_out out;

	assert_int_equal(
		vmdk_stream_out_begin(&out, &store, SPAN_SECTORS, "", 0), 0);
	out.at = last;
	assert_int_equal(vmdk_stream_out_grain(&out, 0, grain, 100), 0);
	assert_int_equal(get_le32(out.table), UINT32_MAX);
	assert_int_equal(vmdk_stream_out_grain(&out, 1, grain, 100), -EFBIG);
	/* Nor that of a table, or of the directory. */
	assert_int_equal(vmdk_stream_out_end(&out), -EFBIG);
	out.has_table = false;
	assert_int_equal(vmdk_stream_out_end(&out), -EFBIG);
	vmdk_stream_out_deinit(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stream_of_nothing_is_exact),
		cmocka_unit_test(
			tables_follow_their_grains_and_only_those_that_have_some),
		cmocka_unit_test(a_large_directory_has_whole_sectors),
		cmocka_unit_test(a_part_of_a_grain_is_filled_up_with_zeroes),
		cmocka_unit_test(noise_becomes_a_grain_that_is_larger),
		cmocka_unit_test(pieces_make_the_same_stream_as_a_whole),
		cmocka_unit_test(a_stream_goes_one_way),
		cmocka_unit_test(a_store_that_fails_ends_the_stream),
		cmocka_unit_test(
			a_stream_that_is_given_up_leaves_nothing_behind),
		cmocka_unit_test(no_place_past_two_tebibytes_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
