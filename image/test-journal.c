/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "image/image.h"
#include "image/journal.h"
#include "tests/cmocka.h"

enum {
	RECORDS = JOURNAL_MIN_RECORDS,
	BYTES = JOURNAL_HEAD_BYTES +
		RECORDS * (int)sizeof(struct journal_record),
};

static const struct journal_identity before = {
	.size_bytes = 1 << 30,
	.cluster_bytes = 65536,
	.device = 3,
	.inode = 4,
	.instance = 5,
};

static struct journal_identity now;
static _Alignas(8) uint8_t area[BYTES];
static struct journal journal;
static char error[JOURNAL_ERROR_BYTES];

static int setup(void **state)
{
	memset(area, 0, sizeof(area));
	now = before;
	now.instance = 6;
	assert_true(journal_start(&journal, area, BYTES, &before));
	return 0;
}

static struct journal_head *head(void)
{
	return (struct journal_head *)area;
}

/* What a new process finds: @count records, numbered from @first on. */
static void expect_records(uint64_t first, size_t count)
{
	struct journal_record *records;
	size_t found;

	assert_int_equal(
		journal_read(area, BYTES, &now, &records, &found, error), 0);
	assert_int_equal(found, count);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(records[i].cluster, first + i);
		assert_int_equal(records[i].entry, ~(first + i));
		assert_int_equal(records[i].detail, (first + i) * 3);
	}
	free(records);
}

static void append(uint64_t first, size_t count)
{
	for (size_t i = 0; i < count; i++)
		journal_append(&journal, first + i, ~(first + i),
			       (first + i) * 3);
}

static void expect_refused(const char *words)
{
	struct journal_record *records;
	size_t found;

	assert_int_equal(
		journal_read(area, BYTES, &now, &records, &found, error),
		IMAGE_E_CORRUPT);
	assert_null(records);
	if (!strstr(error, words))
		fail_msg("\"%s\" is not in \"%s\"", words, error);
}

static void each_record_counts_once_it_is_appended(void **state)
{
	expect_records(0, 0);
	append(0, 1);
	expect_records(0, 1);
	append(1, 9);
	expect_records(0, 10);
}

static void a_flush_drops_what_it_covers_and_no_more(void **state)
{
	append(0, 10);
	journal_plan_began(&journal);
	append(10, 5);
	expect_records(0, 15);
	journal_plan_succeeded(&journal);
	expect_records(10, 5);
	/* One that fails has only begun. */
	journal_plan_began(&journal);
	append(15, 5);
	journal_plan_began(&journal);
	expect_records(10, 10);
	journal_plan_succeeded(&journal);
	expect_records(0, 0);
}

static void room_goes_down_to_nothing_and_comes_back(void **state)
{
	for (unsigned round = 0; round < 5; round++) {
		uint64_t first = (uint64_t)round * RECORDS;

		assert_int_equal(journal_room(&journal), RECORDS);
		journal.reserved += 10;
		append(first, RECORDS - 10);
		assert_int_equal(journal_room(&journal), 0);
		journal.reserved -= 10;
		append(first + RECORDS - 10, 10);
		assert_int_equal(journal_room(&journal), 0);
		expect_records(first, RECORDS);
		journal_plan_began(&journal);
		journal_plan_succeeded(&journal);
		/* So that the next round goes over the end of the ring. */
		append(first + RECORDS - 7, 7);
		journal_plan_began(&journal);
		journal_plan_succeeded(&journal);
	}
}

static void our_own_records_are_not_lost_changes(void **state)
{
	append(0, 10);
	now.instance = before.instance;
	expect_records(0, 0);
}

static void another_images_records_are_refused_by_name(void **state)
{
	append(0, 1);
	now.inode++;
	expect_refused("another image");
	now.inode--;
	now.size_bytes += 512;
	expect_refused("another image");
	/* Where there are none it does not matter whose they were. */
	journal_plan_began(&journal);
	journal_plan_succeeded(&journal);
	expect_records(0, 0);
}

static void a_head_that_lies_is_refused(void **state)
{
	append(0, 3);
	head()->magic++;
	expect_refused("no head");
	setup(NULL);
	head()->version = 1;
	expect_refused("version 1");
	setup(NULL);
	head()->record_bytes = 8;
	expect_refused("version");
	setup(NULL);
	head()->capacity = RECORDS + 1;
	expect_refused("claims 65");
	head()->capacity = 0;
	expect_refused("claims 0");
	setup(NULL);
	head()->end = RECORDS + 1;
	expect_refused("records 0 to 65 of 64");
	head()->first = 1;
	head()->end = 0;
	expect_refused("records 1 to 0");
	head()->first = 0;
	head()->end = UINT64_MAX;
	expect_refused("records 0 to");
}

static void a_small_memory_is_none(void **state)
{
	struct journal_record *records;
	size_t found;

	assert_false(journal_start(&journal, area, BYTES - 1, &before));
	assert_int_equal(journal_read(area, 8, &now, &records, &found, error),
			 0);
	assert_int_equal(found, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(each_record_counts_once_it_is_appended,
				       setup),
		cmocka_unit_test_setup(a_flush_drops_what_it_covers_and_no_more,
				       setup),
		cmocka_unit_test_setup(room_goes_down_to_nothing_and_comes_back,
				       setup),
		cmocka_unit_test_setup(our_own_records_are_not_lost_changes,
				       setup),
		cmocka_unit_test_setup(
			another_images_records_are_refused_by_name, setup),
		cmocka_unit_test_setup(a_head_that_lies_is_refused, setup),
		cmocka_unit_test_setup(a_small_memory_is_none, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
