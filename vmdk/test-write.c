/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of sparse extents, one answer at a time, and on stores that fail. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/flaky-store.h"
#include "image/manage.h"
#include "image/open.h"
#include "image/sync-io.h"
#include "tests/cmocka.h"
#include "vmdk/core.h"
#include "vmdk/manage.h"
#include "vmdk/vmdk.h"

enum {
	KIB = 1024,
	MIB = 1 << 20,
	GRAIN = 64 * KIB,
	PER_TABLE = 512 * GRAIN,
};

static struct store *make(uint64_t size, bool zeroed)
{
	struct image_options options = {0};
	struct image_create_request request = {
		.path = "x.vmdk",
		.size_bytes = size,
		.options = &options,
	};
	struct store *store;

	assert_int_equal(store_new_memory(0, &store), 0);
	request.store = store;
	if (zeroed)
		assert_int_equal(
			image_options_set(&options, "zeroed_grain", "on"), 0);
	assert_int_equal(vmdk_create(&request, NULL), 0);
	image_options_deinit(&options);
	return store;
}

static struct image *open_store(struct store *store)
{
	const struct image_open_options options = {.cache_bytes = 1};
	struct image *image;
	char *error = NULL;

	if (vmdk_format.open(store, &options, &image, &error))
		fail_msg("%s", error ? error : "does not open");
	return image;
}

static int open_fails(struct store *store, char **ret_error)
{
	const struct image_open_options options = {.cache_bytes = 1};
	struct image *image;

	*ret_error = NULL;
	return vmdk_format.open(store, &options, &image, ret_error);
}

static struct image_extent map(struct image *image, enum image_op op,
			       uint64_t offset, uint64_t length)
{
	struct image_extent e = {0};

	do {
		assert_int_equal(image_map(image, op, offset, length, &e), 0);
		if (e.kind == IMAGE_NEED)
			assert_int_equal(image_read_need(image, &e), 0);
		else if (e.kind == IMAGE_MUST_FLUSH)
			assert_int_equal(image_flush_sync(image), 0);
	} while (e.kind == IMAGE_NEED || e.kind == IMAGE_MUST_FLUSH);
	return e;
}

static void assert_bytes(struct image *image, uint64_t offset, uint64_t length,
			 int value)
{
	uint8_t *got = malloc(length);

	assert_int_equal(sync_io_read(image, offset, got, length), 0);
	for (uint64_t i = 0; i < length; i++)
		if (got[i] != value)
			fail_msg("byte %llu is %d, not %d",
				 (unsigned long long)(offset + i), got[i],
				 value);
	free(got);
}

static void a_write_asks_for_the_rest_of_its_grains(void **state)
{
	struct image *image = open_store(make(MIB, false));
	struct image_extent e = map(image, IMAGE_WRITE, 3 * KIB, 2 * GRAIN);

	assert_int_equal(e.kind, IMAGE_ALLOCATE);
	assert_int_equal(e.length, 2 * GRAIN);
	assert_int_equal(e.head_bytes, 3 * KIB);
	assert_int_equal(e.tail_bytes, GRAIN - 3 * KIB);
	assert_true(e.fill_zeroes && e.reads_zero);
	/* Nobody else gets at these grains, and reads find what was there. */
	assert_int_equal(map(image, IMAGE_WRITE, 2 * GRAIN, 512).kind,
			 IMAGE_BUSY);
	assert_int_equal(map(image, IMAGE_ZERO, 0, 512).kind, IMAGE_BUSY);
	assert_int_equal(map(image, IMAGE_READ, 2 * GRAIN, 512).kind,
			 IMAGE_HOLE);
	/* Up to them. */
	assert_int_equal(map(image, IMAGE_ZERO, 3 * GRAIN, GRAIN).kind,
			 IMAGE_DONE);
	assert_int_equal(image_commit(image, &e, 0), 0);
	assert_int_equal(map(image, IMAGE_WRITE, 2 * GRAIN, 512).kind,
			 IMAGE_DATA);
	assert_int_equal(image_close(image), 0);
}

/* What a write that failed left there must not be taken for zeroes. */
static void room_that_is_given_back_is_not_clean(void **state)
{
	struct store *store = make(MIB, false);
	struct image *image = open_store(store);
	struct image_extent e = map(image, IMAGE_WRITE, 0, GRAIN), again;
	uint8_t dirt[512];

	memset(dirt, 0xdd, sizeof(dirt));
	assert_int_equal(store_write(store, e.host_offset + KIB, dirt, 512), 0);
	assert_int_equal(image_commit(image, &e, -EIO), 0);
	again = map(image, IMAGE_WRITE, 5 * GRAIN, 512);
	assert_int_equal(again.host_offset, e.host_offset);
	assert_false(again.reads_zero);
	assert_int_equal(image_commit(image, &again, -ECANCELED), 0);
	assert_int_equal(sync_io_write(image, 5 * GRAIN, dirt, 512), 0);
	assert_bytes(image, 5 * GRAIN, 512, 0xdd);
	assert_bytes(image, 5 * GRAIN + 512, GRAIN - 512, 0);
	assert_int_equal(image_close(image), 0);
}

static void the_last_grain_ends_with_the_disk(void **state)
{
	struct image *image = open_store(make(GRAIN + 5 * 512, false));
	struct image_extent e = map(image, IMAGE_WRITE, GRAIN + 512, 512);

	assert_int_equal(e.head_bytes, 512);
	assert_int_equal(e.tail_bytes, 3 * 512);
	assert_int_equal(image_commit(image, &e, -ECANCELED), 0);
	assert_int_equal(image_close(image), 0);
}

static void zeroes_take_no_room(void **state)
{
	struct store *store = make(4 * MIB, false);
	struct image *image = open_store(store);
	uint64_t bytes = store->size_bytes;

	assert_int_equal(sync_io_zero(image, 100, 3 * MIB), 0);
	assert_int_equal(sync_io_discard(image, 100, 3 * MIB), 0);
	assert_int_equal(store->size_bytes, bytes);
	assert_int_equal(image_close(image), 0);
}

/* Its sectors are never written: a hole in the file, and no end before it. */
static void a_grain_of_zeroes_has_its_room_in_the_file(void **state)
{
	struct store *store = make(4 * MIB, false), *copy;
	struct image *image = open_store(store);
	struct image_extent zeroes, data;
	uint8_t bytes[512];

	memset(bytes, 0xaa, sizeof(bytes));
	image->backing_changes = true;
	zeroes = map(image, IMAGE_ZERO, 3 * GRAIN + 512, 512);
	assert_int_equal(zeroes.kind, IMAGE_ALLOCATE);
	assert_true(zeroes.reads_zero);
	assert_int_equal(image_commit(image, &zeroes, 0), 0);
	assert_int_equal(image_flush_sync(image), 0);
	assert_true(store->size_bytes >= zeroes.host_offset + GRAIN);
	/* As after a crash. */
	assert_int_equal(store_new_memory(store->size_bytes, &copy), 0);
	assert_int_equal(store_write(copy, 0, store_memory_data(store),
				     store->size_bytes),
			 0);
	assert_int_equal(image_close(image), 0);
	image = open_store(copy);
	data = map(image, IMAGE_WRITE, 0, 512);
	assert_true(data.host_offset >= zeroes.host_offset + GRAIN);
	assert_int_equal(image_commit(image, &data, -ECANCELED), 0);
	assert_int_equal(sync_io_write(image, 0, bytes, sizeof(bytes)), 0);
	assert_bytes(image, 3 * GRAIN, GRAIN, 0);
	assert_bytes(image, 0, 512, 0xaa);
	assert_int_equal(image_close(image), 0);
}

static void a_file_that_was_closed_ends_with_its_last_grain(void **state)
{
	struct store *store = make(4 * MIB, false);
	struct image *image = open_store(store);
	struct image_extent e = map(image, IMAGE_WRITE, 0, 512);
	uint64_t end = e.host_offset + GRAIN;

	assert_int_equal(image_commit(image, &e, 0), 0);
	assert_int_equal(sync_io_settle(image), 0);
	assert_true(store->size_bytes >= end);
	image->store = image->data_store = NULL;
	assert_int_equal(image_close(image), 0);
	assert_int_equal(store->size_bytes, end);
	store_free(store);
}

/* Something shows through: then it is marked, whole grains of it. */
static void zeroes_over_another_image_are_marked(void **state)
{
	struct image *image = open_store(make(4 * MIB, true));
	struct image_extent e;

	image->backing_changes = true;
	assert_int_equal(map(image, IMAGE_ZERO, 0, GRAIN).kind, IMAGE_DONE);
	assert_int_equal(map(image, IMAGE_READ, 0, GRAIN).kind, IMAGE_ZEROES);
	e = map(image, IMAGE_ZERO, 3 * GRAIN, 2 * GRAIN + 512);
	assert_int_equal(e.kind, IMAGE_DONE);
	assert_int_equal(e.length, 2 * GRAIN);
	e = map(image, IMAGE_ZERO, 5 * GRAIN, 512);
	assert_int_equal(e.kind, IMAGE_ALLOCATE);
	assert_false(e.fill_zeroes);
	assert_int_equal(image_commit(image, &e, -ECANCELED), 0);
	/* What is zeroes already has no other neighbours. */
	e = map(image, IMAGE_WRITE, 512, 512);
	assert_true(e.kind == IMAGE_ALLOCATE && e.fill_zeroes);
	assert_int_equal(image_commit(image, &e, -ECANCELED), 0);
	assert_int_equal(image_close(image), 0);
}

/* More tables than the cache holds changed ones. */
static void changed_tables_are_flushed_in_time(void **state)
{
	enum {
		TABLES = 100
	};
	struct image *image =
		open_store(make((uint64_t)TABLES * PER_TABLE, false));
	uint8_t sector[512];

	for (unsigned i = 0; i < TABLES; i++) {
		memset(sector, (int)i + 1, sizeof(sector));
		assert_int_equal(sync_io_write(image, (uint64_t)i * PER_TABLE,
					       sector, sizeof(sector)),
				 0);
	}
	for (unsigned i = 0; i < TABLES; i++)
		assert_bytes(image, (uint64_t)i * PER_TABLE, 512, (int)i + 1);
	assert_int_equal(image_close(image), 0);
}

static void what_a_flush_could_not_write_the_next_one_writes(void **state)
{
	struct store *under = make(4 * MIB, false), *copy;
	bool fails = false;
	struct image *image = open_store(flaky_new(under, &fails));
	uint8_t data[4 * KIB];
	unsigned failures = 0;

	memset(data, 7, sizeof(data));
	assert_int_equal(sync_io_write(image, 0, data, sizeof(data)), 0);
	fails = true;
	for (unsigned i = 1; i < 60; i++) {
		int err = sync_io_write(image, i * GRAIN, data, sizeof(data));

		while (err) {
			failures++;
			err = sync_io_write(image, i * GRAIN, data,
					    sizeof(data));
		}
		while (image_flush_sync(image))
			failures++;
	}
	fails = false;
	assert_true(failures > 10);
	assert_int_equal(image_flush_sync(image), 0);
	assert_false(image_is_dirty(image));
	assert_int_equal(store_new_memory(under->size_bytes, &copy), 0);
	memcpy(store_memory_data(copy), store_memory_data(under),
	       under->size_bytes);
	assert_int_equal(image_close(image), 0);
	image = open_store(copy);
	for (unsigned i = 0; i < 60; i++)
		assert_bytes(image, i * GRAIN, sizeof(data), 7);
	assert_int_equal(image_close(image), 0);
}

/* Of the first table, by both directories. */
static void set_table(struct store *store, uint32_t first, uint32_t second)
{
	uint8_t *image = store_memory_data(store);
	uint64_t rgd = get_le64(image + 48) * 512, gd = get_le64(image + 56);

	put_le32(image + gd * 512, first);
	put_le32(image + rgd, second);
}

static void tables_that_would_do_harm_are_not_written(void **state)
{
	/* Header, descriptor, directory, the other copy, past the end. */
	static const uint32_t wrong[] = {1, 5, 21, 26, 1 << 20};
	char *error;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct store *store = make(MIB, false);

		set_table(store, wrong[i], 40);
		assert_int_equal(open_fails(store, &error), IMAGE_E_CORRUPT);
		assert_non_null(strstr(error, "no table can be written"));
		free(error);
		set_table(store, 40, wrong[i]);
		assert_int_equal(open_fails(store, &error), IMAGE_E_CORRUPT);
		free(error);
		store_free(store);
	}
}

static void an_extent_without_a_descriptor_is_only_read(void **state)
{
	struct store *store = make(MIB, false);
	char *error;

	put_le64((uint8_t *)store_memory_data(store) + 28, 0);
	assert_int_equal(open_fails(store, &error), -EROFS);
	assert_non_null(strstr(error, "without its descriptor"));
	free(error);
	store_free(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_write_asks_for_the_rest_of_its_grains),
		cmocka_unit_test(room_that_is_given_back_is_not_clean),
		cmocka_unit_test(the_last_grain_ends_with_the_disk),
		cmocka_unit_test(zeroes_take_no_room),
		cmocka_unit_test(zeroes_over_another_image_are_marked),
		cmocka_unit_test(a_grain_of_zeroes_has_its_room_in_the_file),
		cmocka_unit_test(
			a_file_that_was_closed_ends_with_its_last_grain),
		cmocka_unit_test(changed_tables_are_flushed_in_time),
		cmocka_unit_test(
			what_a_flush_could_not_write_the_next_one_writes),
		cmocka_unit_test(tables_that_would_do_harm_are_not_written),
		cmocka_unit_test(an_extent_without_a_descriptor_is_only_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
