/* SPDX-License-Identifier: Apache-2.0 */
/* What a seSparse extent says of its room, while it is changed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/flaky-store.h"
#include "image/manage.h"
#include "image/open.h"
#include "image/sync-io.h"
#include "tests/cmocka.h"
#include "vmdk/account.h"
#include "vmdk/create.h"
#include "vmdk/vmdk.h"

enum {
	KIB = 1024,
	MIB = 1 << 20,
	GRAIN = 4 * KIB,
	PER_TABLE = 4096 * GRAIN,
	SIZE = 3 * PER_TABLE,
};

static const char text[] =
	VMDK_DESCRIPTOR_MAGIC "\nversion=1\nCID=11112222\nparentCID=ffffffff\n"
			      "createType=\"seSparse\"\n" VMDK_SE_MARK
			      "\nRW 98304 SESPARSE \"x-sesparse.vmdk\"\n";

static struct store *make_extent(uint64_t size)
{
	const struct image_create_request request = {.size_bytes = size};
	struct store *store;

	assert_int_equal(store_new_memory(0, &store), 0);
	assert_int_equal(vmdk_make_se(store, &request), 0);
	return store;
}

static struct store *copy_of(struct store *store)
{
	struct store *copy;

	assert_int_equal(store_new_memory(store->size_bytes, &copy), 0);
	memcpy(store_memory_data(copy), store_memory_data(store),
	       store->size_bytes);
	return copy;
}

/* Takes @extent. An account that is wrong would not be opened. */
static struct image *open_disk(struct store *extent)
{
	const struct image_open_options options = {.cache_bytes = 1};
	struct store *store;
	struct image *image;
	char *error = NULL;

	assert_int_equal(store_new_memory(sizeof(text) - 1, &store), 0);
	memcpy(store_memory_data(store), text, sizeof(text) - 1);
	assert_int_equal(vmdk_format.open(store, &options, &image, &error), 0);
	if (image_attach(image, 0, extent, &error))
		fail_msg("%s", error ? error : "cannot be attached");
	return image;
}

static struct vmdk_part *part_of(struct image *image)
{
	return &vmdk_of(image)->parts[0];
}

static const uint8_t *region(struct image *image, enum vmdk_se_reserved which)
{
	struct vmdk_part *part = part_of(image);

	return (const uint8_t *)store_memory_data(part->store) +
	       part->s.reserved[which].offset * VMDK_SECTOR_BYTES;
}

static uint64_t free_tables(struct image *image)
{
	return get_le64(
		(const uint8_t *)store_memory_data(part_of(image)->store) +
		VMDK_SECTOR_BYTES + 8);
}

static void write_grain(struct image *image, uint64_t offset, int value)
{
	uint8_t data[GRAIN];

	memset(data, value, sizeof(data));
	assert_int_equal(sync_io_write(image, offset, data, sizeof(data)), 0);
}

static void assert_grain(struct image *image, uint64_t offset, int value)
{
	uint8_t data[GRAIN];

	assert_int_equal(sync_io_read(image, offset, data, sizeof(data)), 0);
	for (size_t i = 0; i < sizeof(data); i++)
		if (data[i] != value)
			fail_msg("byte %zu is %d, not %d", i, data[i], value);
}

/* Tables get their numbers in the order in which they are wanted. */
static void the_back_map_counts_entries_of_tables(void **state)
{
	struct image *image = open_disk(make_extent(SIZE));
	const uint8_t *map;

	write_grain(image, 2 * PER_TABLE + 7 * GRAIN, 1);
	write_grain(image, 5 * GRAIN, 2);
	assert_int_equal(image_flush_sync(image), 0);
	map = region(image, VMDK_SE_BACK_MAP);
	assert_int_equal(get_le64(map), 7);
	assert_int_equal(get_le64(map + 8), 4096 + 5);
	assert_int_equal(*region(image, VMDK_SE_FREE_BITMAP), 3);
	assert_int_equal(free_tables(image), 2);
	assert_int_equal(image_close(image), 0);
}

static void what_is_opened_again_goes_on(void **state)
{
	struct store *extent = make_extent(SIZE);

	for (int i = 0; i < 20; i++) {
		struct store *copy;
		struct image *image = open_disk(extent);

		write_grain(image,
			    (uint64_t)(i * 7 % 20) * PER_TABLE / 7 / GRAIN *
				    GRAIN,
			    i + 1);
		assert_int_equal(image_flush_sync(image), 0);
		copy = copy_of(part_of(image)->store);
		assert_int_equal(image_close(image), 0);
		extent = copy;
	}
	store_free(extent);
}

static void a_write_that_fails_leaves_its_room_free(void **state)
{
	struct image *image = open_disk(make_extent(SIZE));
	struct image_extent e;

	write_grain(image, 0, 1);
	assert_int_equal(image_map(image, IMAGE_WRITE, GRAIN, 3 * GRAIN, &e),
			 0);
	assert_int_equal(e.kind, IMAGE_ALLOCATE);
	assert_true(e.reads_zero);
	/* A plan may have called it used. */
	assert_int_equal(image_flush_sync(image), 0);
	assert_int_equal(*region(image, VMDK_SE_FREE_BITMAP), 0xf);
	assert_int_equal(image_commit(image, &e, -EIO), 0);
	assert_int_equal(image_map(image, IMAGE_WRITE, 9 * GRAIN, GRAIN, &e),
			 0);
	assert_int_equal(e.kind, IMAGE_ALLOCATE);
	assert_false(e.reads_zero);
	assert_int_equal(e.host_offset,
			 part_of(image)->s.grains_offset + GRAIN);
	assert_int_equal(image_commit(image, &e, -ECANCELED), 0);
	write_grain(image, 9 * GRAIN, 2);
	assert_int_equal(image_flush_sync(image), 0);
	assert_int_equal(*region(image, VMDK_SE_FREE_BITMAP), 3);
	assert_int_equal(image_close(image), 0);
}

static void what_a_flush_could_not_write_the_next_one_writes(void **state)
{
	struct store *under = make_extent(SIZE), *copy;
	bool fails = false;
	struct image *image = open_disk(flaky_new(under, &fails));
	unsigned failures = 0;
	uint8_t data[GRAIN];

	memset(data, 7, sizeof(data));
	assert_int_equal(sync_io_write(image, 0, data, sizeof(data)), 0);
	fails = true;
	for (unsigned i = 1; i < 60; i++) {
		uint64_t at = i % 3 * PER_TABLE + i * GRAIN;

		while (sync_io_write(image, at, data, sizeof(data)))
			failures++;
		while (image_flush_sync(image))
			failures++;
	}
	fails = false;
	assert_true(failures > 10);
	assert_int_equal(image_flush_sync(image), 0);
	copy = copy_of(under);
	assert_int_equal(image_close(image), 0);
	image = open_disk(copy);
	for (unsigned i = 0; i < 60; i++)
		assert_grain(image, i % 3 * PER_TABLE + i * GRAIN, 7);
	assert_int_equal(image_close(image), 0);
}

/* --- Alone -------------------------------------------------------------- */

static struct image_plan plan(struct image *image)
{
	const struct vmdk_part *part = part_of(image);
	struct plan_draft draft;
	struct image_plan made;
	size_t steps = 0, bytes = 0;

	vmdk_account_measure(part->account, &steps, &bytes);
	assert_int_equal(plan_draft_init(&draft, steps, bytes), 0);
	vmdk_account_add(part, &draft);
	assert_true(draft.count <= steps && draft.used <= bytes);
	plan_take(&draft, &made);
	return made;
}

static void as_many_changes_as_fit_are_noted(void **state)
{
	enum {
		RUN = 4096
	};
	struct store *extent = make_extent(UINT64_C(1) << 30);
	struct image *image = open_disk(extent);
	struct vmdk_account *a = part_of(image)->account;
	struct image_plan out;
	uint64_t grain = 0;

	for (int i = 0; i < VMDK_ACCOUNT_CHANGES / RUN; i++) {
		uint32_t count = RUN;

		assert_true(vmdk_account_has_room(a, RUN));
		assert_int_equal(vmdk_account_take(a, &count, &grain), 0);
		assert_int_equal(count, RUN);
		assert_int_equal(grain, (uint64_t)i * RUN);
		vmdk_account_name(a, grain, RUN, grain + 1);
	}
	assert_false(vmdk_account_has_room(a, 1));
	out = plan(image);
	vmdk_account_planned(a, -EIO);
	plan_free(&out);
	assert_false(vmdk_account_has_room(a, 1));
	out = plan(image);
	/* Neighbours are one write: bits, and the back map by the MiB. */
	assert_true(out.count <= 3);
	vmdk_account_planned(a, 0);
	plan_free(&out);
	assert_true(vmdk_account_has_room(a, VMDK_ACCOUNT_CHANGES));
	assert_int_equal(image_close(image), 0);
}

static void room_that_is_gone_is_gone(void **state)
{
	struct image *image = open_disk(make_extent(SIZE));
	struct vmdk_account *a = part_of(image)->account;
	uint32_t count = UINT32_MAX, table = 0;
	uint64_t grain;

	assert_int_equal(vmdk_account_take(a, &count, &grain), 0);
	assert_int_equal(count, SIZE / GRAIN);
	assert_int_equal(vmdk_account_take(a, &count, &grain),
			 IMAGE_E_NO_SPACE);
	vmdk_account_give_back(a, 3, 2);
	vmdk_account_give_back(a, 9, count - 9);
	count = 10;
	assert_int_equal(vmdk_account_take(a, &count, &grain), 0);
	assert_int_equal(grain, 3);
	assert_int_equal(count, 2);
	while (vmdk_account_take_table(a, &table) == 0)
		;
	assert_int_equal(table, 31); /* a MiB of tables */
	vmdk_account_give_table_back(a, 5);
	assert_int_equal(vmdk_account_take_table(a, &table), 0);
	assert_int_equal(table, 5);
	assert_int_equal(image_close(image), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_back_map_counts_entries_of_tables),
		cmocka_unit_test(what_is_opened_again_goes_on),
		cmocka_unit_test(a_write_that_fails_leaves_its_room_free),
		cmocka_unit_test(
			what_a_flush_could_not_write_the_next_one_writes),
		cmocka_unit_test(as_many_changes_as_fit_are_noted),
		cmocka_unit_test(room_that_is_gone_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
