/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended L2 entries whose two words contradict each other: such a cluster is
 * neither read nor written, all others are, and a repair keeps what data there
 * is.
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
#include "qcow2/create.h"
#include "qcow2/format.h"
#include "qcow2/qcow2.h"
#include "tests/cmocka.h"

enum {
	CLUSTER = 16 << 10,
	SUB = CLUSTER / 32,
	SIZE = 8 * CLUSTER,
};

/* Entry 0 of an image that has data in the clusters 0 and 1. */
struct invalid {
	const char *name;
	bool keeps_offset;
	uint64_t entry; /* flags */
	uint64_t bitmap;
	/* After a repair: how many sub-clusters are data, the rest being zero;
	 * or -1: a compressed cluster that cannot be unpacked. */
	int data_subs;
};

static const struct invalid invalids[] = {
	{"a_subcluster_both_allocated_and_zero", true, QCOW2_COPIED,
	 QCOW2_SUBS_ALLOCATED | UINT64_C(1) << 32, 32},
	{"all_subclusters_both_allocated_and_zero", true, QCOW2_COPIED,
	 UINT64_MAX, 32},
	{"the_last_subcluster_both_allocated_and_zero", true, QCOW2_COPIED,
	 UINT64_C(1) << 63 | UINT64_C(0xffffffff), 32},
	{"allocated_subclusters_without_an_offset", false, 0,
	 QCOW2_SUBS_ALLOCATED, 0},
	{"an_allocated_subcluster_without_an_offset", false, 0,
	 UINT64_C(1) << 31 | UINT64_C(1) << 32, 0},
	{"a_bitmap_on_a_compressed_entry", true, QCOW2_COMPRESSED, 1, -1},
	{"a_zero_bit_on_a_compressed_entry", true, QCOW2_COMPRESSED,
	 UINT64_C(1) << 63, -1},
};

static uint8_t *l2_of(struct faulty_store *f)
{
	uint8_t *data = store_memory_data(f->under);
	uint8_t *l1 = data + get_be64(data + offsetof(struct qcow2_wire_header,
						      l1_table_offset));

	return data + (get_be64(l1) & QCOW2_OFFSET_MASK);
}

static struct image *open_it(struct faulty_store *f, bool read_only, bool check)
{
	const struct image_open_options options = {
		.read_only = read_only,
		.check = check,
	};
	struct image *image;
	char *error = NULL;

	if (qcow2_format.open(&f->store, &options, &image, &error) != 0)
		fail_msg("%s", error ? error : "does not open");
	return image;
}

static void make(struct faulty_store *f, const struct invalid *invalid)
{
	const struct qcow2_create_options options = {
		.size_bytes = SIZE,
		.cluster_bytes = CLUSTER,
		.extended_l2 = true,
	};
	uint8_t *data = malloc(2 * CLUSTER), *l2;
	struct image *image;
	uint64_t entry;
	char *error = NULL;

	assert_int_equal(faulty_store_init(f), 0);
	if (qcow2_create(&f->store, &options, &error) != 0)
		fail_msg("%s", error);
	image = open_it(f, false, false);
	memset(data, 7, 2 * CLUSTER);
	assert_int_equal(sync_io_write(image, 0, data, 2 * CLUSTER), 0);
	assert_int_equal(image_close(image), 0);
	free(data);
	l2 = l2_of(f);
	entry = get_be64(l2) & QCOW2_OFFSET_MASK;
	put_be64(l2, (invalid->keeps_offset ? entry : 0) | invalid->entry);
	put_be64(l2 + 8, invalid->bitmap);
}

static void is_refused(void **state)
{
	uint8_t data[CLUSTER] = {0};
	struct faulty_store f;
	struct image *image;

	make(&f, *state);
	image = open_it(&f, true, false);
	/* Each sub-cluster, whatever it says of that one itself. */
	for (unsigned at = 0; at < CLUSTER; at += SUB)
		assert_int_equal(sync_io_read(image, at, data, SUB),
				 IMAGE_E_CORRUPT);
	assert_int_equal(sync_io_read(image, CLUSTER, data, CLUSTER), 0);
	assert_int_equal(data[0], 7);
	assert_int_equal(sync_io_read(image, 2 * CLUSTER, data, CLUSTER), 0);
	assert_int_equal(data[0], 0);
	image_close(image);
	image = open_it(&f, false, false);
	assert_int_equal(sync_io_write(image, SUB, data, SUB), IMAGE_E_CORRUPT);
	image_close(image);
	faulty_store_deinit(&f);
	make(&f, *state);
	image = open_it(&f, false, false);
	assert_int_equal(sync_io_write(image, 0, data, CLUSTER),
			 IMAGE_E_CORRUPT);
	image_close(image);
	faulty_store_deinit(&f);
}

static void check_repaired(struct faulty_store *f,
			   const struct invalid *invalid)
{
	uint8_t data[CLUSTER];
	struct image *image = open_it(f, true, false);
	int err = sync_io_read(image, 0, data, CLUSTER);

	assert_int_equal(err != 0, invalid->data_subs < 0);
	for (int i = 0; i < CLUSTER && err == 0; i++)
		assert_int_equal(data[i], i < invalid->data_subs * SUB ? 7 : 0);
	assert_int_equal(sync_io_read(image, CLUSTER, data, CLUSTER), 0);
	assert_int_equal(data[CLUSTER - 1], 7);
	image_close(image);
}

static void is_found_and_mended(void **state)
{
	const struct invalid *invalid = *state;
	struct image_check counts;
	struct faulty_store f;
	struct image *image;

	make(&f, invalid);
	image = open_it(&f, true, true);
	assert_int_equal(
		image_check(image, IMAGE_FIX_NONE, NULL, NULL, &counts), 0);
	assert_true(counts.corruptions > 0);
	image_close(image);
	image = open_it(&f, false, true);
	assert_int_equal(image_check(image, IMAGE_FIX_ALL, NULL, NULL, &counts),
			 0);
	assert_int_equal(counts.corruptions + counts.leaks, 0);
	assert_true(counts.corruptions_fixed > 0);
	assert_int_equal(image_close(image), 0);
	check_repaired(&f, invalid);
	image = open_it(&f, false, true);
	assert_int_equal(image_check(image, IMAGE_FIX_ALL, NULL, NULL, &counts),
			 0);
	assert_int_equal(counts.corruptions_fixed + counts.leaks_fixed, 0);
	assert_int_equal(image_close(image), 0);
	faulty_store_deinit(&f);
}

/* A backing image may have it. */
static void what_was_absent_stays_so_when_data_is_lost(void **state)
{
	static const struct invalid misplaced = {
		.keeps_offset = true,
		.entry = QCOW2_COPIED | 512,
		.bitmap = UINT64_C(1) | UINT64_C(1) << 33,
	};
	struct image_check counts;
	struct faulty_store f;
	struct image *image;

	make(&f, &misplaced);
	image = open_it(&f, false, true);
	assert_int_equal(image_check(image, IMAGE_FIX_ALL, NULL, NULL, &counts),
			 0);
	assert_int_equal(counts.corruptions + counts.leaks, 0);
	assert_int_equal(image_close(image), 0);
	assert_int_equal(get_be64(l2_of(&f)), 0);
	assert_int_equal(get_be64(l2_of(&f) + 8), UINT64_C(3) << 32);
	faulty_store_deinit(&f);
}

int main(void)
{
	struct CMUnitTest tests[1 + 2 * ARRAY_SIZE(invalids)];
	char names[ARRAY_SIZE(invalids)][80];

	for (size_t i = 0; i < ARRAY_SIZE(invalids); i++) {
		snprintf(names[i], sizeof(names[i]), "%s_is_mended",
			 invalids[i].name);
		tests[2 * i] = (struct CMUnitTest)cmocka_unit_test_prestate(
			is_refused, (void *)&invalids[i]);
		tests[2 * i].name = invalids[i].name;
		tests[2 * i + 1] = (struct CMUnitTest)cmocka_unit_test_prestate(
			is_found_and_mended, (void *)&invalids[i]);
		tests[2 * i + 1].name = names[i];
	}
	tests[2 * ARRAY_SIZE(invalids)] = (struct CMUnitTest)cmocka_unit_test(
		what_was_absent_stays_so_when_data_is_lost);
	return cmocka_run_group_tests_name("subcluster", tests, NULL, NULL);
}
