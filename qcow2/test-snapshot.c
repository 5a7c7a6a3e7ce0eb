/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots without anybody else: limits of their table, IDs and names, and
 * creating, applying and deleting them on a store of which one call fails, each
 * in turn, by itself or for good. Whatever failed, the disk and all snapshots
 * are as before or as after, and an image that can be marked dirty leaks nothing
 * once it was opened again.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "image/faulty-store.h"
#include "image/manage.h"
#include "image/open.h"
#include "image/sync-io.h"
#include "qcow2/core.h"
#include "qcow2/create.h"
#include "qcow2/qcow2.h"
#include "qcow2/snapshot-table.h"
#include "tests/cmocka.h"
#include "tests/images/qcow2-walk.h"

enum {
	KIB = 1 << 10,
	SIZE = 40 * KIB,
	NAMES_BYTES = 64,
};

/* --- Images ---------------------------------------------------------------- */

static void make(struct faulty_store *f, unsigned version)
{
	const struct qcow2_create_options options = {
		.size_bytes = SIZE,
		.cluster_bytes = KIB,
		.version = version,
	};
	char *error = NULL;

	assert_int_equal(faulty_store_init(f), 0);
	if (qcow2_create(&f->store, &options, &error) != 0)
		fail_msg("%s", error);
}

static struct image *open_as(struct faulty_store *f, const char *snapshot)
{
	const struct image_open_options options = {
		.cache_bytes = 1,
		.snapshot = snapshot,
		.read_only = snapshot != NULL,
	};
	struct image *image;
	char *error = NULL;

	if (qcow2_format.open(&f->store, &options, &image, &error) != 0)
		fail_msg("%s", error ? error : "does not open");
	return image;
}

static struct image *open_it(struct faulty_store *f)
{
	return open_as(f, NULL);
}

static void fill(struct image *image, uint64_t offset, uint64_t length,
		 uint8_t with)
{
	uint8_t data[SIZE];

	memset(data, with, length);
	assert_int_equal(sync_io_write(image, offset, data, length), 0);
}

/* Returns how many clusters leak. */
static uint64_t look(const struct faulty_store *f)
{
	struct qcow2_walk walk = {.data = store_memory_data(f->under),
				  .size_bytes = f->under->size_bytes};

	if (qcow2_walk(&walk) != 0)
		fail_msg("%s", walk.problem);
	free(walk.uses);
	return walk.leaked;
}

static void names_of(struct image *image, char *names)
{
	struct image_snapshots list;

	*names = '\0';
	assert_int_equal(image_snapshot_list(image, &list), 0);
	for (size_t i = 0; i < list.count; i++)
		snprintf(names + strlen(names), NAMES_BYTES - strlen(names),
			 "%s%s:%s", i ? " " : "", list.all[i].id,
			 list.all[i].name);
	image_snapshots_deinit(&list);
}

static void expect_names(struct image *image, const char *expected)
{
	char names[NAMES_BYTES];

	names_of(image, names);
	assert_string_equal(names, expected);
}

/* --- Limits ----------------------------------------------------------------- */

static struct qcow2_snapshot_table table_of(uint32_t count, size_t bytes_each)
{
	struct qcow2_snapshot_table table = {
		.bytes = calloc(count, bytes_each),
		.size = count * bytes_each,
		.all = calloc(count, sizeof(*table.all)),
		.count = count,
	};

	assert_non_null(table.bytes);
	assert_non_null(table.all);
	for (uint32_t i = 0; i < count; i++) {
		table.all[i].at = i * bytes_each;
		table.all[i].bytes = bytes_each;
	}
	return table;
}

/* One more is added to @count entries of @bytes_each. */
static int add_to(struct image *image, uint32_t count, size_t bytes_each,
		  uint16_t name_bytes)
{
	static const char name[UINT16_MAX + 1];
	const struct qcow2_snapshot one = {
		.id = "1",
		.id_bytes = 1,
		.name = name,
		.name_bytes = name_bytes,
	};
	struct qcow2_snapshot_table from = table_of(count, bytes_each), to;
	int err = qcow2_snapshot_table_edit(qcow2_of(image), &from, UINT32_MAX,
					    &one, &to);

	if (err == 0) {
		assert_int_equal(to.count, count + 1);
		assert_true(to.size <= QCOW2_MAX_SNAPSHOTS_BYTES);
		qcow2_snapshot_table_deinit(&to);
	}
	qcow2_snapshot_table_deinit(&from);
	return err;
}

static void there_are_at_most_65536_snapshots(void **state)
{
	struct faulty_store f;
	struct image *image;

	make(&f, 3);
	image = open_it(&f);
	assert_int_equal(add_to(image, QCOW2_MAX_SNAPSHOTS - 1, 48, 3), 0);
	assert_int_equal(add_to(image, QCOW2_MAX_SNAPSHOTS, 48, 3), -EFBIG);
	assert_non_null(strstr(image_error(image), "65536"));
	image_close(image);
	faulty_store_deinit(&f);
}

static void their_table_has_at_most_64_mib(void **state)
{
	/* What the one more takes, in steps of 8. */
	const size_t more = 40 + 24 + 8, each = 1 << 20;
	struct faulty_store f;
	struct image *image;

	make(&f, 3);
	image = open_it(&f);
	assert_int_equal(add_to(image, 1, QCOW2_MAX_SNAPSHOTS_BYTES - more, 7),
			 0);
	assert_int_equal(add_to(image, 1, QCOW2_MAX_SNAPSHOTS_BYTES - more, 8),
			 -EFBIG);
	assert_int_equal(add_to(image, 64, each, 7), -EFBIG);
	assert_non_null(strstr(image_error(image), "64 MiB"));
	image_close(image);
	faulty_store_deinit(&f);
}

static void names_have_at_most_65535_bytes(void **state)
{
	char *name = malloc(UINT16_MAX + 2);
	struct image_snapshots list;
	struct faulty_store f;
	struct image *image;

	memset(name, 'n', UINT16_MAX + 1);
	name[UINT16_MAX + 1] = '\0';
	make(&f, 3);
	image = open_it(&f);
	assert_int_equal(image_snapshot_create(image, name), -ENAMETOOLONG);
	name[UINT16_MAX] = '\0';
	assert_int_equal(image_snapshot_create(image, name), 0);
	assert_int_equal(image_close(image), 0);
	assert_int_equal(look(&f), 0);
	image = open_it(&f);
	assert_int_equal(image_snapshot_list(image, &list), 0);
	assert_string_equal(list.all[0].name, name);
	image_snapshots_deinit(&list);
	assert_int_equal(image_snapshot_delete(image, name), 0);
	expect_names(image, "");
	assert_int_equal(image_close(image), 0);
	assert_int_equal(look(&f), 0);
	faulty_store_deinit(&f);
	free(name);
}

/* --- IDs and names ------------------------------------------------------------ */

static void an_id_is_above_all_others(void **state)
{
	struct faulty_store f;
	struct image *image;

	make(&f, 3);
	image = open_it(&f);
	assert_int_equal(image_snapshot_create(image, "a"), 0);
	assert_int_equal(image_snapshot_create(image, "b"), 0);
	assert_int_equal(image_snapshot_create(image, "c"), 0);
	assert_int_equal(image_snapshot_delete(image, "b"), 0);
	assert_int_equal(image_snapshot_create(image, "d"), 0);
	expect_names(image, "1:a 3:c 4:d");
	assert_int_equal(image_close(image), 0);
	assert_int_equal(look(&f), 0);
	faulty_store_deinit(&f);
}

static void new_id(const char *id, const char *expected)
{
	struct qcow2_snapshot one = {.id = id, .id_bytes = strlen(id)};
	const struct qcow2_snapshot_table table = {.all = &one, .count = 1};
	char got[24];

	qcow2_snapshot_new_id(&table, got);
	assert_string_equal(got, expected);
}

static void an_id_that_is_no_number_counts_as_none(void **state)
{
	new_id("", "1");
	new_id("new", "1");
	new_id("-5", "1");
	new_id("7th", "8");
	new_id("41", "42");
	/* As far as it can be counted. */
	new_id("99999999999999999999999", "10000000000000000000");
}

static void a_name_goes_before_an_id(void **state)
{
	struct faulty_store f;
	struct image *image;

	make(&f, 3);
	image = open_it(&f);
	assert_int_equal(image_snapshot_create(image, "x"), 0);
	assert_int_equal(image_snapshot_create(image, "1"), 0);
	assert_int_equal(image_snapshot_create(image, "x"), 0);
	expect_names(image, "1:x 2:1 3:x");
	assert_int_equal(image_snapshot_delete(image, "1"), 0);
	expect_names(image, "1:x 3:x");
	assert_int_equal(image_snapshot_delete(image, "3"), 0);
	expect_names(image, "1:x");
	assert_int_equal(image_snapshot_delete(image, "3"), -ENOENT);
	assert_int_equal(image_snapshot_apply(image, "y"), -ENOENT);
	assert_int_equal(image_snapshot_delete(image, ""), -ENOENT);
	assert_int_equal(image_close(image), 0);
	assert_int_equal(look(&f), 0);
	faulty_store_deinit(&f);
}

/* --- What fails on the way ------------------------------------------------------ */

struct operation {
	const char *name;
	int (*act)(struct image *image, const char *name);
	const char *snapshot;
	const char *names_after;
	uint8_t data_after; /* of the disk's first half */
};

static const char names_before[] = "1:one 2:two";

static const struct operation operations[] = {
	{"create", image_snapshot_create, "three", "1:one 2:two 3:three", 3},
	{"apply", image_snapshot_apply, "one", "1:one 2:two", 1},
	{"delete", image_snapshot_delete, "one", "2:two", 3},
	{"delete the last", image_snapshot_delete, "two", "1:one", 3},
};

static bool is_filled(struct image *image, uint8_t with)
{
	uint8_t data[SIZE];

	assert_int_equal(image->size_bytes, SIZE);
	assert_int_equal(sync_io_read(image, 0, data, SIZE), 0);
	for (size_t i = 0; i < SIZE; i++)
		if (data[i] != (i < SIZE / 2 ? with : 9))
			return false;
	return true;
}

static void make_with_snapshots(struct faulty_store *f, unsigned version)
{
	struct image *image;

	make(f, version);
	image = open_it(f);
	fill(image, SIZE / 2, SIZE / 2, 9);
	fill(image, 0, SIZE / 2, 1);
	assert_int_equal(image_snapshot_create(image, "one"), 0);
	fill(image, 0, SIZE / 2, 2);
	assert_int_equal(image_snapshot_create(image, "two"), 0);
	fill(image, 0, SIZE / 2, 3);
	assert_int_equal(image_close(image), 0);
	assert_int_equal(look(f), 0);
}

/* As before or as after, the list and the disk. Returns whether after. */
static void check_state(struct image *image, const struct operation *o,
			bool must_be_after)
{
	char names[NAMES_BYTES];
	bool after_list, after_disk;

	names_of(image, names);
	after_list = strcmp(names, o->names_after) == 0;
	if (!after_list && strcmp(names, names_before) != 0)
		fail_msg("%s: snapshots are %s", o->name, names);
	after_disk = is_filled(image, o->data_after);
	if (!after_disk && !is_filled(image, 3))
		fail_msg("%s: the disk is another", o->name);
	if (must_be_after && (!after_list || !after_disk))
		fail_msg("%s: it did nothing", o->name);
}

static void check_snapshots(struct faulty_store *f, const struct operation *o)
{
	static const struct {
		const char *name;
		uint8_t data;
	} all[] = {{"one", 1}, {"two", 2}, {"three", 3}};
	struct image *image = open_it(f);
	char names[NAMES_BYTES];

	names_of(image, names);
	assert_int_equal(image_close(image), 0);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		if (!strstr(names, all[i].name))
			continue;
		image = open_as(f, all[i].name);
		if (!is_filled(image, all[i].data))
			fail_msg("%s: snapshot %s is another", o->name,
				 all[i].name);
		image_close(image);
	}
}

/* Fails the call that @countdown counts to; false if there is none. */
static bool act_and_fail(const struct operation *o, unsigned version,
			 uint64_t countdown, bool for_good)
{
	struct faulty_store f;
	struct image *image;
	bool failed;
	int err;

	make_with_snapshots(&f, version);
	image = open_it(&f);
	faulty_store_arm(&f, countdown, for_good);
	err = o->act(image, o->snapshot);
	failed = f.failed;
	if (!failed)
		assert_int_equal(err, 0);
	if (!for_good)
		check_state(image, o, err == 0);
	if (for_good)
		(void)image_close(image);
	faulty_store_arm(&f, 0, false);
	if (!for_good)
		(void)image_close(image);
	look(&f);
	image = open_it(&f);
	check_state(image, o, err == 0);
	assert_int_equal(image_close(image), 0);
	if (look(&f) > 0 && version == 3)
		fail_msg("%s: call %llu: leaks", o->name,
			 (unsigned long long)countdown);
	check_snapshots(&f, o);
	faulty_store_deinit(&f);
	return failed;
}

static void fail_everywhere(unsigned version, bool for_good)
{
	for (size_t i = 0; i < ARRAY_SIZE(operations); i++) {
		uint64_t calls = 1;

		while (act_and_fail(&operations[i], version, calls, for_good))
			calls++;
		/* A table, refcounts and a header, each with a flush. */
		assert_true(calls > 6);
	}
}

static void one_call_that_fails_loses_nothing(void **state)
{
	fail_everywhere(3, false);
}

static void one_call_that_fails_loses_nothing_of_version_2(void **state)
{
	fail_everywhere(2, false);
}

static void a_disk_that_fails_for_good_loses_nothing(void **state)
{
	fail_everywhere(3, true);
}

static void a_disk_that_fails_for_good_loses_nothing_of_version_2(void **state)
{
	fail_everywhere(2, true);
}

/* What failed once can be done again, in the same session. */
static void what_failed_can_be_tried_again(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(operations); i++) {
		const struct operation *o = &operations[i];
		bool failed = true;

		for (uint64_t calls = 1; failed; calls++) {
			struct faulty_store f;
			struct image *image;
			int err;

			make_with_snapshots(&f, 3);
			image = open_it(&f);
			faulty_store_arm(&f, calls, false);
			err = o->act(image, o->snapshot);
			failed = f.failed;
			faulty_store_arm(&f, 0, false);
			if (err)
				err = o->act(image, o->snapshot);
			/* It may have been done, and its end have failed. */
			if (err != 0 && err != -ENOENT &&
			    err != IMAGE_E_CORRUPT)
				fail_msg("%s: call %llu: %d: %s", o->name,
					 (unsigned long long)calls, err,
					 image_error(image));
			(void)image_close(image);
			image = open_it(&f);
			assert_int_equal(image_close(image), 0);
			assert_int_equal(look(&f), 0);
			faulty_store_deinit(&f);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_are_at_most_65536_snapshots),
		cmocka_unit_test(their_table_has_at_most_64_mib),
		cmocka_unit_test(names_have_at_most_65535_bytes),
		cmocka_unit_test(an_id_is_above_all_others),
		cmocka_unit_test(an_id_that_is_no_number_counts_as_none),
		cmocka_unit_test(a_name_goes_before_an_id),
		cmocka_unit_test(one_call_that_fails_loses_nothing),
		cmocka_unit_test(
			one_call_that_fails_loses_nothing_of_version_2),
		cmocka_unit_test(a_disk_that_fails_for_good_loses_nothing),
		cmocka_unit_test(
			a_disk_that_fails_for_good_loses_nothing_of_version_2),
		cmocka_unit_test(what_failed_can_be_tried_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
