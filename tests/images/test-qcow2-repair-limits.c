/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshot tables over a limit: refused by name unless all is repaired; then
 * what is over the limit is given up and all before it stays, as with QEMU.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "image/open.h"
#include "qcow2/format.h"
#include "qcow2/qcow2.h"
#include "tests/cmocka.h"
#include "tests/images/damaged.h"
#include "tests/images/scratch.h"

#define AT(field) offsetof(struct qcow2_wire_header, field)

enum {
	EXTRA_BYTES = 24,
};

static uint64_t entry_bytes(uint32_t extra, uint32_t name)
{
	return align_up(sizeof(struct qcow2_wire_snapshot) + extra + 8 + name,
			8);
}

/* An image with a table of its own: @count snapshots without L1 tables. */
static void make(uint32_t count, uint32_t extra, uint32_t name)
{
	uint64_t bytes = count * entry_bytes(extra, name), at;
	struct damaged f;

	scratch_must("rm -f damaged.qcow2 && "
		     "qemu-img create -q -f qcow2 -o cluster_size=64k "
		     "damaged.qcow2 1M && "
		     "qemu-io -f qcow2 -c 'write -P 1 0 256k' damaged.qcow2");
	damaged_load(&f, "damaged.qcow2");
	at = align_up(f.size, f.cluster);
	f.size = align_up(at + bytes, f.cluster);
	f.data = realloc(f.data, f.size);
	assert_non_null(f.data);
	memset(f.data + at, 0, f.size - at);
	damaged_put(&f, AT(nb_snapshots), 4, count);
	damaged_put(&f, AT(snapshots_offset), 8, at);
	for (uint32_t i = 0; i < count; i++) {
		uint64_t after = at + sizeof(struct qcow2_wire_snapshot);
		char id[9];

		damaged_put(&f, at + 12, 2, 8);
		damaged_put(&f, at + 14, 2, name);
		damaged_put(&f, at + 36, 4, extra);
		damaged_put(&f, after + 8, 8, 1 << 20);
		snprintf(id, sizeof(id), "%08u", i + 1);
		memcpy(f.data + after + extra, id, 8);
		memset(f.data + after + extra + 8, 'n', name);
		at += entry_bytes(extra, name);
	}
	damaged_write("damaged.qcow2", &f);
	damaged_free(&f);
}

static uint64_t snapshots_of(const char *name)
{
	struct damaged f;
	uint64_t count;

	damaged_load(&f, name);
	count = damaged_get(&f, AT(nb_snapshots), 4);
	damaged_free(&f);
	return count;
}

/* @left of those in damaged.qcow2 are, after either repair. */
static void expect_cut(uint32_t left)
{
	struct image_check counts;

	damaged_copy_file("before.qcow2", "damaged.qcow2");
	assert_int_equal(
		damaged_check("damaged.qcow2", IMAGE_FIX_NONE, &counts), 1);
	assert_int_equal(
		damaged_check("damaged.qcow2", IMAGE_FIX_LEAKS, &counts), 1);
	assert_true(damaged_same_files("damaged.qcow2", "before.qcow2"));
	damaged_copy_file("theirs.qcow2", "damaged.qcow2");
	/* It reads each entry in steps: threads would take twice as long. */
	scratch_must("qemu-img check -q -r all --image-opts driver=qcow2,"
		     "file.driver=file,file.aio=io_uring,"
		     "file.filename=theirs.qcow2");
	assert_int_equal(snapshots_of("theirs.qcow2"), left);
	assert_int_equal(damaged_check("damaged.qcow2", IMAGE_FIX_ALL, &counts),
			 0);
	assert_true(counts.corruptions_fixed > 0);
	if (left < 1000)
		assert_int_equal(damaged_check_theirs("damaged.qcow2"), 0);
	assert_int_equal(snapshots_of("damaged.qcow2"), left);
	/* They read each entry in five steps. */
	if (left < 1000)
		scratch_must("qemu-img snapshot -l theirs.qcow2 >theirs.txt && "
			     "qemu-img snapshot -l damaged.qcow2 >ours.txt && "
			     "cmp theirs.txt ours.txt && "
			     "qemu-img compare -q theirs.qcow2 damaged.qcow2");
	damaged_copy_file("twice.qcow2", "damaged.qcow2");
	assert_int_equal(damaged_check("twice.qcow2", IMAGE_FIX_ALL, &counts),
			 0);
	assert_true(damaged_same_files("damaged.qcow2", "twice.qcow2"));
}

static void snapshots_over_65536_are_given_up(void **state)
{
	make(QCOW2_MAX_SNAPSHOTS + 1, EXTRA_BYTES, 2);
	expect_cut(QCOW2_MAX_SNAPSHOTS);
}

static void exactly_65536_snapshots_are_whole(void **state)
{
	struct image_check counts;

	make(QCOW2_MAX_SNAPSHOTS, EXTRA_BYTES, 2);
	assert_int_equal(damaged_check("damaged.qcow2", IMAGE_FIX_ALL, &counts),
			 0);
	assert_int_equal(snapshots_of("damaged.qcow2"), QCOW2_MAX_SNAPSHOTS);
}

static void snapshots_past_64_mib_are_given_up(void **state)
{
	const uint64_t bytes = entry_bytes(EXTRA_BYTES, UINT16_MAX);
	const uint32_t fit = QCOW2_MAX_SNAPSHOTS_BYTES / bytes;

	make(fit + 3, EXTRA_BYTES, UINT16_MAX);
	expect_cut(fit);
}

static void too_much_extra_data_is_refused_without_repair(void **state)
{
	make(3, QCOW2_MAX_SNAPSHOT_EXTRA + 1, 2);
	expect_cut(3);
}

/* As QEMU does, even to repair it. */
static void a_table_that_is_not_aligned_is_refused_by_name(void **state)
{
	const struct image_open_options options = {.check = true};
	const struct store_file_options file = {0};
	struct store *store;
	struct image *image;
	struct damaged f;
	char *error = NULL;

	make(3, EXTRA_BYTES, 2);
	damaged_load(&f, "damaged.qcow2");
	damaged_put(&f, AT(snapshots_offset), 8, f.snapshots + 512);
	damaged_write("damaged.qcow2", &f);
	damaged_free(&f);
	damaged_copy_file("before.qcow2", "damaged.qcow2");
	assert_int_equal(scratch_run("qemu-img check -r all damaged.qcow2"), 1);
	assert_int_equal(
		store_open_file("damaged.qcow2", &file, &store, &error), 0);
	assert_int_equal(qcow2_format.open(store, &options, &image, &error),
			 IMAGE_E_CORRUPT);
	assert_non_null(strstr(error, "snapshot table"));
	assert_non_null(strstr(error, "aligned"));
	free(error);
	store_free(store);
	assert_true(damaged_same_files("damaged.qcow2", "before.qcow2"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(snapshots_over_65536_are_given_up),
		cmocka_unit_test(exactly_65536_snapshots_are_whole),
		cmocka_unit_test(snapshots_past_64_mib_are_given_up),
		cmocka_unit_test(too_much_extra_data_is_refused_without_repair),
		cmocka_unit_test(
			a_table_that_is_not_aligned_is_refused_by_name),
	};
	int failed;

	scratch_prefer_memory();
	scratch_enter("qemu-img");
	image_register_format(&qcow2_format);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	scratch_leave();
	return failed;
}
