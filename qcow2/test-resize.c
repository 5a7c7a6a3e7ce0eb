/* SPDX-License-Identifier: Apache-2.0 */
/* Other sizes: what fails on the way, and what is allocated and given up. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "image/executor.h"
#include "image/faulty-store.h"
#include "image/manage.h"
#include "image/open.h"
#include "image/sync-io.h"
#include "qcow2/core.h"
#include "qcow2/create.h"
#include "qcow2/qcow2.h"
#include "tests/cmocka.h"
#include "tests/images/qcow2-walk.h"

enum {
	KIB = 1 << 10,
	MIB = 1 << 20,
};

static void make(struct faulty_store *f,
		 const struct qcow2_create_options *options)
{
	char *error = NULL;

	assert_int_equal(faulty_store_init(f), 0);
	if (qcow2_create(&f->store, options, &error) != 0)
		fail_msg("%s", error);
}

static struct image *open_it(struct faulty_store *f)
{
	const struct image_open_options options = {.cache_bytes = 1};
	struct image *image;
	char *error = NULL;

	if (qcow2_format.open(&f->store, &options, &image, &error) != 0)
		fail_msg("%s", error);
	return image;
}

/* Returns how many clusters leak. */
static uint64_t look(const struct faulty_store *f)
{
	struct qcow2_walk walk = {.data = store_memory_data(f->under),
				  .size_bytes = f->under->size_bytes};

	if (qcow2_walk(&walk) != 0)
		fail_msg("%s", walk.problem);
	free(walk.uses);
	assert_int_equal(walk.hidden, 0);
	return walk.leaked;
}

static void write_all(struct image *image)
{
	size_t size = image->size_bytes;
	uint8_t *data = malloc(size);

	assert_non_null(data);
	memset(data, 0xa5, size);
	assert_int_equal(sync_io_write(image, 0, data, size), 0);
	free(data);
	assert_int_equal(image_flush_sync(image), 0);
}

/* The first @size bytes are what write_all wrote, the rest is zero. */
static void expect(struct image *image, uint64_t size)
{
	size_t all = image->size_bytes;
	uint8_t *data = malloc(all + 1);

	assert_non_null(data);
	assert_int_equal(sync_io_read(image, 0, data, all), 0);
	for (size_t i = 0; i < all; i++)
		if (data[i] != (i < size ? 0xa5 : 0))
			fail_msg("byte %zu", i);
	free(data);
}

static const struct qcow2_create_options small = {
	.size_bytes = 40 * KIB + 512,
	.cluster_bytes = 1 * KIB,
};

/* Fails the call that @countdown counts to, if there is one. */
static bool resize_and_fail(int64_t at, uint64_t countdown, uint64_t to,
			    enum image_preallocation how, bool may_leak)
{
	struct faulty_store f;
	struct image *image;
	uint64_t size;
	int err;

	make(&f, &small);
	image = open_it(&f);
	write_all(image);
	f.at = at;
	f.countdown = countdown;
	err = image_resize(image, to, how);
	f.countdown = 0;
	size = image->size_bytes;
	/* The file's last cut may fail when the size has changed. */
	if (err == 0)
		assert_int_equal(size, to);
	(void)image_close(image);
	if (look(&f) > 0 && !may_leak)
		fail_msg("call %llu: leaks", (unsigned long long)countdown);
	image = open_it(&f);
	assert_int_equal(image->size_bytes, size);
	if (to > small.size_bytes || size == to)
		expect(image, MIN(size, small.size_bytes));
	assert_int_equal(image_close(image), 0);
	faulty_store_deinit(&f);
	return f.failed;
}

/* The L1 table of one cluster is too small for 16 MiB. */
static void a_header_that_cannot_be_written_leaks_nothing(void **state)
{
	unsigned calls = 1;

	while (resize_and_fail(0, calls, 24 * MIB, IMAGE_PREALLOCATION_METADATA,
			       false))
		calls++;
	/* Two headers, each a write and two flushes at least. */
	assert_true(calls > 4);
	for (calls = 1;
	     resize_and_fail(0, calls, 7 * KIB, IMAGE_PREALLOCATION_OFF, false);
	     calls++)
		;
	assert_true(calls > 2);
}

static void what_fails_on_the_way_leaves_it_whole(void **state)
{
	static const uint64_t sizes[] = {7 * KIB + 512, 24 * MIB};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		unsigned calls = 1;

		while (resize_and_fail(FAULTY_ANY_OFFSET, calls, sizes[i],
				       IMAGE_PREALLOCATION_OFF, true))
			calls++;
		assert_true(calls > 8);
	}
}

static enum image_extent_kind kind_at(struct image *image, uint64_t offset)
{
	struct image_extent e;

	do
		assert_int_equal(image_map(image, IMAGE_READ, offset, 1, &e),
				 0);
	while (e.kind == IMAGE_NEED && image_read_need(image, &e) == 0);
	return e.kind;
}

static void a_cluster_that_begins_before_is_preallocated_too(void **state)
{
	static const enum image_preallocation all[] = {
		IMAGE_PREALLOCATION_METADATA,
		IMAGE_PREALLOCATION_FALLOC,
		IMAGE_PREALLOCATION_FULL,
	};
	const uint64_t old = small.size_bytes;

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		/* In the same cluster, and past it; written before, or not. */
		for (unsigned way = 0; way < 4; way++) {
			bool written = way & 1;
			uint64_t to = way & 2 ? old + 256 : old + 9 * KIB;
			struct image *image;
			struct faulty_store f;

			make(&f, &small);
			image = open_it(&f);
			if (written)
				write_all(image);
			assert_int_equal(image_resize(image, to, all[i]), 0);
			for (uint64_t at = old; at < to; at += 256)
				assert_int_equal(kind_at(image, at),
						 IMAGE_DATA);
			expect(image, written ? old : 0);
			assert_int_equal(image_close(image), 0);
			assert_int_equal(look(&f), 0);
			faulty_store_deinit(&f);
		}
	}
}

static void a_smaller_image_has_a_smaller_file(void **state)
{
	struct faulty_store f;
	struct image *image;
	uint64_t before;

	make(&f, &small);
	image = open_it(&f);
	write_all(image);
	before = f.store.size_bytes;
	assert_int_equal(image_resize(image, 5 * KIB, IMAGE_PREALLOCATION_OFF),
			 0);
	assert_true(f.store.size_bytes < before - 30 * KIB);
	expect(image, 5 * KIB);
	/* And what is cut off can be used again. */
	assert_int_equal(image_resize(image, 48 * KIB, IMAGE_PREALLOCATION_OFF),
			 0);
	expect(image, 5 * KIB);
	write_all(image);
	expect(image, 48 * KIB);
	assert_int_equal(image_close(image), 0);
	assert_int_equal(look(&f), 0);
	faulty_store_deinit(&f);
}

static void note(struct executor_request *request, int result)
{
	assert_int_equal(result, 0);
}

static void flush_by_executor(struct image *image)
{
	const struct executor_config config = {.depth = 1};
	struct executor_request request = {.op = EXECUTOR_FLUSH, .done = note};
	struct executor *executor;
	struct loop *loop;

	assert_int_equal(loop_new(64, &loop), 0);
	assert_int_equal(executor_new(loop, image, &config, &executor), 0);
	executor_submit(executor, &request);
	while (executor_in_flight(executor))
		(void)loop_wait(loop, UINT64_MAX);
	executor_free(executor);
	loop_free(loop);
}

/* Growing by a MiB ahead is refused, and what is needed is not. */
static void write_up_to_the_limit(void (*flush)(struct image *image))
{
	struct qcow2_create_options options = {.size_bytes = 2 * MIB,
					       .cluster_bytes = 4 * KIB};
	uint8_t data[4 * KIB];
	struct image *image;
	struct faulty_store f;

	make(&f, &options);
	image = open_it(&f);
	f.limit = f.store.size_bytes + 256 * KIB;
	memset(data, 0xa5, sizeof(data));
	/* Leaves room for a few tables. */
	for (uint64_t at = 0; at < 200 * KIB; at += sizeof(data)) {
		assert_int_equal(sync_io_write(image, at, data, sizeof(data)),
				 0);
		assert_int_equal(image_flush_sync(image), 0);
	}
	assert_true(f.store.size_bytes <= f.limit);
	expect(image, 200 * KIB);
	assert_int_equal(image_close(image), 0);
	assert_int_equal(look(&f), 0);
	faulty_store_deinit(&f);
}

static void flush_by_call(struct image *image)
{
	assert_int_equal(image_flush_sync(image), 0);
}

static void a_limit_on_the_file_leaves_room_up_to_it(void **state)
{
	write_up_to_the_limit(flush_by_call);
	write_up_to_the_limit(flush_by_executor);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_header_that_cannot_be_written_leaks_nothing),
		cmocka_unit_test(what_fails_on_the_way_leaves_it_whole),
		cmocka_unit_test(
			a_cluster_that_begins_before_is_preallocated_too),
		cmocka_unit_test(a_smaller_image_has_a_smaller_file),
		cmocka_unit_test(a_limit_on_the_file_leaves_room_up_to_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
