/* SPDX-License-Identifier: Apache-2.0 */
/* What a survey of a sparse extent lists, and what it finds wrong. */
#include <stdlib.h>

#include "tests/cmocka.h"
#include "vmdk/check.h"
#include "vmdk/test-disk.h"

enum {
	SECTOR = VMDK_SECTOR_BYTES,
};

static void look(struct test_disk *d, struct vmdk_survey *ret)
{
	test_disk_open(d);
	assert_int_equal(vmdk_survey(&d->part, test_disk_say, d, ret), 0);
}

/* Of a disk that was damaged, which is forgotten. */
static void expect(struct test_disk *d, unsigned count, const char *words)
{
	struct vmdk_survey s;

	look(d, &s);
	test_disk_expect(d, count, words);
	vmdk_survey_deinit(&s);
	test_disk_deinit(d);
}

static void all_that_lies_in_the_file_is_listed_by_place(void **state)
{
	static const struct {
		uint64_t sector;
		uint32_t bytes;
		enum vmdk_item_kind kind;
		uint64_t number;
	} listed[] = {
		{0, SECTOR, VMDK_ITEM_HEADER, 0},
		{SMALL_RGD, 8, VMDK_ITEM_DIRECTORY, 0},
		{SMALL_RGD + 1, SMALL_GTES * 4, VMDK_ITEM_TABLE, 0},
		{SMALL_RGD + 2, SMALL_GRAINS * 4, VMDK_ITEM_TABLE, 1},
		{SMALL_GD, 8, VMDK_ITEM_DIRECTORY, 0},
		{SMALL_GD + 1, SMALL_GTES * 4, VMDK_ITEM_TABLE, 0},
		{SMALL_GD + 2, SMALL_GRAINS * 4, VMDK_ITEM_TABLE, 1},
		{8, SMALL_GRAIN * SECTOR, VMDK_ITEM_GRAIN, 0},
		{16, SMALL_GRAIN * SECTOR, VMDK_ITEM_GRAIN, 1},
		{24, SMALL_GRAIN * SECTOR, VMDK_ITEM_GRAIN, SMALL_GTES},
	};
	struct test_disk d;
	struct vmdk_survey s;

	test_disk_init(&d, false);
	look(&d, &s);
	test_disk_expect(&d, 0, "");
	assert_int_equal(s.count, ARRAY_SIZE(listed));
	for (size_t i = 0; i < s.count; i++) {
		assert_int_equal(s.items[i].place, listed[i].sector * SECTOR);
		assert_int_equal(s.items[i].bytes, listed[i].bytes);
		assert_int_equal(s.items[i].kind, listed[i].kind);
		assert_int_equal(s.items[i].number, listed[i].number);
		assert_false(s.items[i].shared);
	}
	assert_int_equal(vmdk_survey_end(&s), SMALL_END * SECTOR);
	vmdk_survey_deinit(&s);
	test_disk_deinit(&d);
}

static void a_place_is_looked_up(void **state)
{
	struct vmdk_item item = {
		.place = 40 * SECTOR,
		.number = 3,
		.bytes = 2 * SECTOR,
		.kind = VMDK_ITEM_GRAIN,
	};
	struct test_disk d;
	struct vmdk_survey s;

	test_disk_init(&d, false);
	look(&d, &s);
	assert_true(vmdk_survey_has(&s, 31 * SECTOR, 1));
	assert_true(vmdk_survey_has(&s, 0, 1));
	assert_false(vmdk_survey_has(&s, 32 * SECTOR, 100));
	assert_false(vmdk_survey_has(&s, 7 * SECTOR, SECTOR));
	assert_int_equal(vmdk_survey_at(&s, 16 * SECTOR)->number, 1);
	assert_null(vmdk_survey_at(&s, 17 * SECTOR));
	assert_int_equal(vmdk_survey_insert(&s, item), 0);
	item.place = 7 * SECTOR;
	item.bytes = SECTOR;
	assert_int_equal(vmdk_survey_insert(&s, item), 0);
	assert_true(vmdk_survey_has(&s, 41 * SECTOR, 1));
	assert_true(vmdk_survey_has(&s, 7 * SECTOR, 1));
	for (size_t i = 1; i < s.count; i++)
		assert_true(s.items[i - 1].place < s.items[i].place);
	vmdk_survey_deinit(&s);
	test_disk_deinit(&d);
}

static void what_lies_outside_of_the_file_is_told(void **state)
{
	struct test_disk d;

	test_disk_init(&d, false);
	test_disk_put(&d, false, 1, SMALL_END);
	test_disk_put(&d, true, 1, SMALL_END);
	expect(&d, 1, "grain 1 lies outside of the file");
	test_disk_init(&d, false);
	test_disk_put(&d, false, 1, SMALL_GD);
	test_disk_put(&d, true, 1, SMALL_GD);
	expect(&d, 1, "within its metadata (entry 0x4)");
	test_disk_init(&d, false);
	test_disk_put_table(&d, false, 1, UINT32_MAX);
	test_disk_put_table(&d, true, 1, UINT32_MAX);
	expect(&d, 2, "grain table 1 lies outside of the file");
}

static void what_shares_a_place_is_told_of_both(void **state)
{
	struct test_disk d;

	test_disk_init(&d, false);
	test_disk_put(&d, false, SMALL_GTES, 8);
	test_disk_put(&d, true, SMALL_GTES, 8);
	expect(&d, 1, "grain 0 and grain 16 share the place at byte 4096");
	/* One that begins within the other. */
	test_disk_init(&d, false);
	test_disk_put(&d, false, 1, 15);
	test_disk_put(&d, true, 1, 15);
	expect(&d, 1, "grain 0 and grain 1 share the place at byte 7680");
}

static void a_copy_that_says_something_else_is_told(void **state)
{
	struct test_disk d;

	test_disk_init(&d, false);
	test_disk_put(&d, true, 1, 0);
	expect(&d, 1, "grain table 0 and its second copy differ");
	/* What the last table has no grains for is nobody's. */
	test_disk_init(&d, false);
	test_disk_put(&d, true, SMALL_GTES + SMALL_GRAINS, 99);
	expect(&d, 0, "");
}

/* Whose entries they are is not known: neither is looked into. */
static void tables_in_one_place_are_not_looked_into(void **state)
{
	struct test_disk d;
	struct vmdk_survey s;

	test_disk_init(&d, false);
	test_disk_put_table(&d, false, 1, SMALL_GD + 1);
	test_disk_put_table(&d, true, 1, 0);
	look(&d, &s);
	for (size_t i = 0; i < s.count; i++)
		assert_true(s.items[i].kind != VMDK_ITEM_GRAIN);
	vmdk_survey_deinit(&s);
	test_disk_deinit(&d);
}

static void a_cowd_header_may_not_call_free_what_is_in_use(void **state)
{
	struct test_disk d;

	test_disk_init(&d, true);
	expect(&d, 0, "");
	test_disk_init(&d, true);
	put_le32(test_disk_sector(&d, 0) + 28, SMALL_COWD_END - 1);
	expect(&d, 1,
	       "free from sector 71 on, and it is in use up to sector "
	       "72");
	test_disk_init(&d, true);
	test_disk_put(&d, false, 1, 3);
	expect(&d, 1, "within its metadata");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_that_lies_in_the_file_is_listed_by_place),
		cmocka_unit_test(a_place_is_looked_up),
		cmocka_unit_test(what_lies_outside_of_the_file_is_told),
		cmocka_unit_test(what_shares_a_place_is_told_of_both),
		cmocka_unit_test(a_copy_that_says_something_else_is_told),
		cmocka_unit_test(tables_in_one_place_are_not_looked_into),
		cmocka_unit_test(
			a_cowd_header_may_not_call_free_what_is_in_use),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
