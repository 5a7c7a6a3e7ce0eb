/* SPDX-License-Identifier: Apache-2.0 */
/* Other sizes: what fails on the way, and what is allocated and given up. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "image/executor.h"
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
	ANY_OFFSET = -1,
};

/* A store on top of one in memory, one call of which fails. */
struct faulty {
	struct store store;
	struct store *under;
	int64_t at;	    /* only writes there, and the flushes after them */
	uint64_t countdown; /* calls until one fails; 0: none does */
	bool failed;
	uint64_t limit; /* larger it cannot be made; or 0 */
	bool after;	/* the last write was there */
};

static struct faulty *faulty_of(struct store *store)
{
	return container_of(store, struct faulty, store);
}

static bool fails(struct faulty *f, bool counts)
{
	if (!counts || f->countdown == 0 || --f->countdown)
		return false;
	f->failed = true;
	return true;
}

static int faulty_read(struct store *store, uint64_t offset, void *ret_data,
		       size_t length)
{
	return store_read(faulty_of(store)->under, offset, ret_data, length);
}

static int faulty_write(struct store *store, uint64_t offset, const void *data,
			size_t length)
{
	struct faulty *f = faulty_of(store);
	int err;

	f->after = f->at == ANY_OFFSET || (uint64_t)f->at == offset;
	if (f->limit && !range_fits(offset, length, f->limit))
		return -EFBIG;
	if (fails(f, f->after))
		return -EIO;
	err = store_write(f->under, offset, data, length);
	store->size_bytes = f->under->size_bytes;
	return err;
}

static int faulty_flush(struct store *store)
{
	return fails(faulty_of(store), faulty_of(store)->after) ? -EIO : 0;
}

static int faulty_resize(struct store *store, uint64_t size_bytes)
{
	struct faulty *f = faulty_of(store);
	int err;

	if (f->limit && size_bytes > f->limit)
		return -EFBIG;
	if (fails(f, f->at == ANY_OFFSET))
		return -EIO;
	err = store_resize(f->under, size_bytes);
	store->size_bytes = f->under->size_bytes;
	return err;
}

static int faulty_punch(struct store *store, uint64_t offset, uint64_t length)
{
	return store_punch(faulty_of(store)->under, offset, length);
}

/* An image frees its store; this one is looked at afterwards. */
static void keep(struct store *store)
{
}

static const struct store_ops faulty_ops = {
	.read = faulty_read,
	.write = faulty_write,
	.flush = faulty_flush,
	.resize = faulty_resize,
	.punch = faulty_punch,
	.zero = faulty_punch,
	.free = keep,
};

static void make(struct faulty *f, const struct qcow2_create_options *options)
{
	char *error = NULL;

	*f = (struct faulty){.at = ANY_OFFSET};
	assert_int_equal(store_new_memory(0, &f->under), 0);
	f->store = *f->under;
	f->store.ops = &faulty_ops;
	if (qcow2_create(&f->store, options, &error) != 0)
		fail_msg("%s", error);
}

static struct image *open_it(struct faulty *f)
{
	const struct image_open_options options = {.cache_bytes = 1};
	struct image *image;
	char *error = NULL;

	if (qcow2_format.open(&f->store, &options, &image, &error) != 0)
		fail_msg("%s", error);
	return image;
}

/* Returns how many clusters leak. */
static uint64_t look(const struct faulty *f)
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
	struct faulty f;
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
	store_free(f.under);
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

		while (resize_and_fail(ANY_OFFSET, calls, sizes[i],
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
			struct faulty f;

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
			store_free(f.under);
		}
	}
}

static void a_smaller_image_has_a_smaller_file(void **state)
{
	struct faulty f;
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
	store_free(f.under);
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
	struct faulty f;

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
	store_free(f.under);
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
