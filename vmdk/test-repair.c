/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a repair of a sparse extent makes of each damage: which copy it believes,
 * and what it leaves alone.
 */
#include <errno.h>
#include <stdlib.h>

#include "image/flaky-store.h"
#include "tests/cmocka.h"
#include "vmdk/check.h"
#include "vmdk/test-disk.h"

enum {
	SECTOR = VMDK_SECTOR_BYTES,
};

static int mend(struct test_disk *d)
{
	const struct vmdk_repair_listener listener = {
		.fixed = test_disk_say,
		.opaque = d,
	};

	test_disk_open(d);
	return vmdk_repair(&d->part, &listener);
}

/* Nothing is left to be found; the grains hold what they held. */
static void assert_whole(struct test_disk *d)
{
	struct vmdk_survey s;

	test_disk_open(d);
	assert_int_equal(vmdk_survey(&d->part, test_disk_say, d, &s), 0);
	test_disk_expect(d, 0, "");
	vmdk_survey_deinit(&s);
	for (unsigned i = 0; i < ARRAY_SIZE(d->grains); i++) {
		uint32_t sector = test_disk_get(d, false, d->grains[i]);

		assert_int_equal(*test_disk_sector(d, sector), 'a' + i);
		assert_int_equal(test_disk_get(d, true, d->grains[i]), sector);
	}
}

static void expect_mended(struct test_disk *d, unsigned count,
			  const char *words)
{
	assert_int_equal(mend(d), 0);
	test_disk_expect(d, count, words);
	assert_whole(d);
	test_disk_deinit(d);
}

static void expect_left(struct test_disk *d)
{
	uint64_t bytes = d->store->size_bytes;
	uint8_t *before = malloc(bytes);

	memcpy(before, store_memory_data(d->store), bytes);
	assert_int_equal(mend(d), 0);
	test_disk_expect(d, 0, "");
	assert_int_equal(d->store->size_bytes, bytes);
	assert_memory_equal(store_memory_data(d->store), before, bytes);
	free(before);
	test_disk_deinit(d);
}

static void what_is_sound_is_left_as_it_is(void **state)
{
	struct test_disk d;

	for (int cowd = 0; cowd < 2; cowd++) {
		test_disk_init(&d, cowd);
		expect_left(&d);
	}
}

static void an_entry_that_one_copy_lost_is_the_other_s(void **state)
{
	/* None, outside of the file, in the metadata, another one's. */
	static const uint32_t wrong[] = {0, SMALL_END, 3, 8};
	struct test_disk d;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		for (int second = 0; second < 2; second++) {
			test_disk_init(&d, false);
			test_disk_put(&d, second, 1, wrong[i]);
			expect_mended(&d, 1, "taken from the other copy");
		}
}

static void a_table_that_has_no_place_is_written_anew(void **state)
{
	static const struct {
		uint32_t sector;
		unsigned count;
	} wrong[] = {
		{0, 1},
		{SMALL_END, 1},
		{SMALL_GD, 1},
		/* Another table, which then has no place either. */
		{SMALL_RGD + 2, 2},
	};
	struct test_disk d;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		test_disk_init(&d, false);
		test_disk_put_table(&d, false, 0, wrong[i].sector);
		expect_mended(&d, wrong[i].count, "written anew");
	}
}

/* Both directories name one table: who changes an entry changes both. */
static void one_table_for_both_copies_becomes_two(void **state)
{
	struct test_disk d;

	test_disk_init(&d, false);
	test_disk_put_table(&d, false, 0, SMALL_RGD + 1);
	expect_mended(&d, 1, "grain table 0");
}

static void what_both_copies_lost_is_not_made_zeroes(void **state)
{
	struct test_disk d;

	for (int cowd = 0; cowd < 2; cowd++) {
		test_disk_init(&d, cowd);
		test_disk_put(&d, false, 1, 1 << 20);
		test_disk_put(&d, true, 1, 1 << 20);
		expect_left(&d);
	}
	test_disk_init(&d, false);
	test_disk_put_table(&d, false, 1, 1 << 20);
	test_disk_put_table(&d, true, 1, 1 << 20);
	expect_left(&d);
}

static void share(struct test_disk *d)
{
	uint32_t place = test_disk_get(d, false, 0);

	test_disk_put(d, false, d->grains[2], place);
	test_disk_put(d, true, d->grains[2], place);
}

static void grains_that_share_a_place_get_one_each(void **state)
{
	struct test_disk d;
	uint32_t one, other;

	for (int cowd = 0; cowd < 2; cowd++) {
		test_disk_init(&d, cowd);
		share(&d);
		assert_int_equal(mend(&d), 0);
		test_disk_expect(&d, 1, "a place of its own");
		one = test_disk_get(&d, false, 0);
		other = test_disk_get(&d, false, d.grains[2]);
		assert_true(one != other);
		assert_int_equal(test_disk_get(&d, true, d.grains[2]), other);
		assert_int_equal(*test_disk_sector(&d, one), 'a');
		assert_int_equal(*test_disk_sector(&d, other), 'a');
		/* And COWD's header says where the file is free now. */
		assert_int_equal(mend(&d), 0);
		test_disk_expect(&d, 0, "");
		test_disk_deinit(&d);
	}
}

static void a_cowd_header_says_where_the_file_is_free(void **state)
{
	static const uint32_t wrong[] = {0, SMALL_COWD_END - 1};
	struct test_disk d;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		test_disk_init(&d, true);
		put_le32(test_disk_sector(&d, 0) + 28, wrong[i]);
		expect_mended(&d, 1, "free from sector 72 on");
	}
}

/* Wherever it stopped: what is written anew is stable before it is named. */
static void a_repair_that_fails_can_be_tried_again(void **state)
{
	bool fails = true;
	unsigned failures = 0;

	for (int i = 0; i < 40; i++) {
		const struct vmdk_repair_listener nobody = {0};
		struct test_disk d;
		int err;

		test_disk_init(&d, i % 2);
		share(&d);
		test_disk_put(&d, false, 1, 0);
		d.store = flaky_new(d.store, &fails);
		fails = true;
		test_disk_open(&d);
		err = vmdk_repair(&d.part, &nobody);
		failures += err != 0;
		fails = false;
		assert_int_equal(mend(&d), 0);
		memset(d.said, 0, sizeof(d.said));
		d.said_count = 0;
		assert_int_equal(mend(&d), 0);
		test_disk_expect(&d, 0, "");
		test_disk_deinit(&d);
	}
	assert_true(failures > 0);
}

static int refuse(void *opaque)
{
	return -EACCES;
}

/* What has to be done before the first change failed: there is none. */
static void nothing_is_written_before_it_may_be(void **state)
{
	const struct vmdk_repair_listener listener = {.begin = refuse};

	for (int cowd = 0; cowd < 2; cowd++) {
		struct test_disk d;
		uint64_t bytes;
		uint8_t *before;

		test_disk_init(&d, cowd);
		share(&d);
		test_disk_open(&d);
		bytes = d.part.file_bytes;
		before = malloc(bytes);
		assert_non_null(before);
		assert_int_equal(store_read(d.store, 0, before, bytes), 0);
		assert_int_equal(vmdk_repair(&d.part, &listener), -EACCES);
		assert_memory_equal(test_disk_sector(&d, 0), before, bytes);
		free(before);
		test_disk_deinit(&d);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_sound_is_left_as_it_is),
		cmocka_unit_test(an_entry_that_one_copy_lost_is_the_other_s),
		cmocka_unit_test(a_table_that_has_no_place_is_written_anew),
		cmocka_unit_test(one_table_for_both_copies_becomes_two),
		cmocka_unit_test(what_both_copies_lost_is_not_made_zeroes),
		cmocka_unit_test(grains_that_share_a_place_get_one_each),
		cmocka_unit_test(a_cowd_header_says_where_the_file_is_free),
		cmocka_unit_test(a_repair_that_fails_can_be_tried_again),
		cmocka_unit_test(nothing_is_written_before_it_may_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
