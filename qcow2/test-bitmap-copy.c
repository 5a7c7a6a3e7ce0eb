/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bitmaps copied from one image to another, on a store of which one call fails,
 * each in turn: all of them are there, or none.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "image/faulty-store.h"
#include "image/manage.h"
#include "image/open.h"
#include "qcow2/create.h"
#include "qcow2/qcow2.h"
#include "tests/cmocka.h"

enum {
	MIB = 1 << 20,
	SIZE = 3 * MIB,
	BITMAPS = 3,
	GRANULE = 512,
};

static struct image *open_it(struct faulty_store *f, bool check)
{
	const struct image_open_options options = {.cache_bytes = 1,
						   .check = check};
	struct image *image;
	char *error = NULL;

	if (qcow2_format.open(&f->store, &options, &image, &error) != 0)
		fail_msg("%s", error ? error : "does not open");
	return image;
}

static void make(struct faulty_store *f, uint64_t size)
{
	const struct qcow2_create_options options = {
		.size_bytes = size,
		.cluster_bytes = 1024,
	};
	char *error = NULL;

	assert_int_equal(faulty_store_init(f), 0);
	if (qcow2_create(&f->store, &options, &error) != 0)
		fail_msg("%s", error);
}

static void name_of(unsigned number, char ret[8])
{
	snprintf(ret, 8, "b%u", number);
}

/* The second one is disabled, and the third has no bit. */
static void add_bitmaps(struct image *image)
{
	for (unsigned i = 0; i < BITMAPS; i++) {
		char name[8];
		const struct image_bitmap_change add = {
			.action = IMAGE_BITMAP_ADD,
			.name = name,
			.granularity_bytes = GRANULE << i,
			.disabled = i == 1,
		};

		name_of(i, name);
		assert_int_equal(image_bitmap_change(image, &add), 0);
		if (i < 2)
			assert_int_equal(
				image_bitmap_set(image, name, i * 70000, MIB),
				0);
	}
}

/* Whether all are there, as add_bitmaps made them; else none is. */
static bool has_bitmaps(struct image *image)
{
	struct image_bitmaps list;
	bool some;

	assert_int_equal(image_bitmap_list(image, &list), 0);
	some = list.count > 0;
	assert_int_equal(list.count, some ? BITMAPS : 0);
	for (unsigned i = 0; i < list.count; i++) {
		const struct image_bitmap *b = &list.all[i];
		uint64_t granule = GRANULE << i;
		uint64_t start = align_down(i * UINT64_C(70000), granule);
		uint64_t end = align_up(i * UINT64_C(70000) + MIB, granule);
		char name[8];

		name_of(i, name);
		assert_string_equal(b->name, name);
		assert_int_equal(b->granularity_bytes, granule);
		assert_int_equal(b->enabled, i != 1);
		assert_false(b->inconsistent);
		assert_int_equal(b->dirty_bytes, i < 2 ? end - start : 0);
	}
	image_bitmaps_deinit(&list);
	return some;
}

static uint64_t leaks(struct faulty_store *f)
{
	struct image *image = open_it(f, true);
	struct image_check found;

	assert_int_equal(image_check(image, IMAGE_FIX_NONE, NULL, NULL, &found),
			 0);
	assert_int_equal(found.corruptions, 0);
	assert_int_equal(image_close(image), 0);
	return found.leaks;
}

static struct image *make_source(struct faulty_store *f)
{
	struct image *image;

	make(f, SIZE);
	image = open_it(f, false);
	add_bitmaps(image);
	assert_true(has_bitmaps(image));
	return image;
}

/* Fails the call that @countdown counts to; false if there are not so many. */
static bool copy_and_fail(struct image *source, uint64_t countdown)
{
	struct faulty_store f;
	struct image *image;
	bool there;
	int err;

	make(&f, SIZE);
	image = open_it(&f, false);
	f.at = FAULTY_ANY_OFFSET;
	faulty_store_arm(&f, countdown, false);
	err = image_bitmap_copy(image, source);
	f.countdown = 0;
	(void)image_close(image);
	image = open_it(&f, false);
	there = has_bitmaps(image);
	if (err == 0)
		assert_true(there);
	/* It goes on from there. */
	if (!there)
		assert_int_equal(image_bitmap_copy(image, source), 0);
	assert_true(has_bitmaps(image));
	assert_int_equal(image_close(image), 0);
	image = open_it(&f, false);
	assert_true(has_bitmaps(image));
	assert_int_equal(image_close(image), 0);
	if (!f.failed)
		assert_int_equal(leaks(&f), 0);
	faulty_store_deinit(&f);
	return f.failed;
}

static void all_are_copied_or_none(void **state)
{
	struct faulty_store f;
	struct image *source = make_source(&f);
	uint64_t calls = 1;

	while (copy_and_fail(source, calls))
		calls++;
	/* Tables, bits, a directory, refcounts, the header, and flushes. */
	assert_true(calls > 8);
	assert_int_equal(image_close(source), 0);
	faulty_store_deinit(&f);
}

static void what_is_there_already_stays_alone(void **state)
{
	struct faulty_store from, to;
	struct image *source = make_source(&from);
	struct image *image;
	const struct image_bitmap_change add = {.action = IMAGE_BITMAP_ADD,
						.name = "b2"};
	struct image_bitmaps list;

	make(&to, SIZE);
	image = open_it(&to, false);
	assert_int_equal(image_bitmap_change(image, &add), 0);
	assert_int_equal(image_bitmap_copy(image, source), -EEXIST);
	assert_non_null(strstr(image_error(image), "\"b2\""));
	assert_int_equal(image_bitmap_list(image, &list), 0);
	assert_int_equal(list.count, 1);
	image_bitmaps_deinit(&list);
	assert_int_equal(image_close(image), 0);
	assert_int_equal(leaks(&to), 0);
	assert_int_equal(image_close(source), 0);
	faulty_store_deinit(&to);
	faulty_store_deinit(&from);
}

static void images_of_different_sizes_have_no_bitmaps_in_common(void **state)
{
	struct faulty_store from, to;
	struct image *source = make_source(&from);
	struct image *image;

	make(&to, SIZE + MIB);
	image = open_it(&to, false);
	assert_int_equal(image_bitmap_copy(image, source), -EINVAL);
	assert_false(has_bitmaps(image));
	assert_int_equal(image_close(image), 0);
	assert_int_equal(leaks(&to), 0);
	assert_int_equal(image_close(source), 0);
	faulty_store_deinit(&to);
	faulty_store_deinit(&from);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_are_copied_or_none),
		cmocka_unit_test(what_is_there_already_stays_alone),
		cmocka_unit_test(
			images_of_different_sizes_have_no_bitmaps_in_common),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
