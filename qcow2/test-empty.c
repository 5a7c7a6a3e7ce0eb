/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making an image empty on a store of which one call fails, each in turn: it is
 * as before or empty, and what was to be the new table does not leak.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "image/faulty-store.h"
#include "image/manage.h"
#include "image/open.h"
#include "image/sync-io.h"
#include "qcow2/create.h"
#include "qcow2/qcow2.h"
#include "tests/cmocka.h"
#include "tests/images/qcow2-walk.h"

enum {
	KIB = 1 << 10,
	SIZE = 40 * KIB,
};

static struct image *open_it(struct faulty_store *f)
{
	const struct image_open_options options = {.cache_bytes = 1};
	struct image *image;
	char *error = NULL;

	if (qcow2_format.open(&f->store, &options, &image, &error) != 0)
		fail_msg("%s", error ? error : "does not open");
	return image;
}

static void make(struct faulty_store *f)
{
	const struct qcow2_create_options options = {
		.size_bytes = SIZE,
		.cluster_bytes = KIB,
	};
	uint8_t data[SIZE];
	struct image *image;
	char *error = NULL;

	assert_int_equal(faulty_store_init(f), 0);
	if (qcow2_create(&f->store, &options, &error) != 0)
		fail_msg("%s", error);
	image = open_it(f);
	memset(data, 5, SIZE);
	assert_int_equal(sync_io_write(image, 0, data, SIZE), 0);
	assert_int_equal(image_close(image), 0);
}

static uint64_t leaks(const struct faulty_store *f)
{
	struct qcow2_walk walk = {.data = store_memory_data(f->under),
				  .size_bytes = f->under->size_bytes};

	if (qcow2_walk(&walk) != 0)
		fail_msg("%s", walk.problem);
	free(walk.uses);
	return walk.leaked;
}

/* All of it is as before, or all is zeroes. */
static bool is_empty(struct image *image)
{
	uint8_t data[SIZE];

	assert_int_equal(sync_io_read(image, 0, data, SIZE), 0);
	assert_true(data[0] == 0 || data[0] == 5);
	for (size_t i = 1; i < SIZE; i++)
		assert_int_equal(data[i], data[0]);
	return data[0] == 0;
}

/*
 * Fails the call that @countdown counts to, of those that write at @at. Only
 * what was mapped before may leak, once it is not any more.
 */
static bool empty_and_fail(int64_t at, uint64_t countdown)
{
	struct faulty_store f;
	struct image *image;
	bool emptied;
	int err;

	make(&f);
	image = open_it(&f);
	f.at = at;
	faulty_store_arm(&f, countdown, false);
	err = image_make_empty(image);
	f.countdown = 0;
	emptied = is_empty(image);
	if (err == 0)
		assert_true(emptied);
	(void)image_close(image);
	if (leaks(&f) && !emptied)
		fail_msg("call %llu: leaks", (unsigned long long)countdown);
	image = open_it(&f);
	assert_int_equal(is_empty(image), emptied);
	/* It goes on from there. */
	assert_int_equal(image_make_empty(image), 0);
	assert_true(is_empty(image));
	assert_int_equal(image_close(image), 0);
	faulty_store_deinit(&f);
	return f.failed;
}

static void a_header_that_cannot_be_written_leaks_nothing(void **state)
{
	uint64_t calls = 1;

	while (empty_and_fail(0, calls))
		calls++;
	/* The header and a flush, at least. */
	assert_true(calls > 2);
}

static void what_fails_on_the_way_leaves_it_whole(void **state)
{
	uint64_t calls = 1;

	while (empty_and_fail(FAULTY_ANY_OFFSET, calls))
		calls++;
	assert_true(calls > 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_header_that_cannot_be_written_leaks_nothing),
		cmocka_unit_test(what_fails_on_the_way_leaves_it_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
