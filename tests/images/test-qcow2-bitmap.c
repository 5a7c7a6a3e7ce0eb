/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Persistent bitmaps against QEMU's: each program reads what the other has
 * stored, bit for bit, and goes on with it. QEMU's bits are those that its NBD
 * server exports.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "image/manage.h"
#include "image/open.h"
#include "image/sync-io.h"
#include "qcow2/qcow2.h"
#include "tests/cmocka.h"
#include "tests/images/bits.h"
#include "tests/images/reference.h"
#include "tests/images/scratch.h"

enum {
	MIB = 1 << 20,
	DISK = 3 * MIB + 512,
	SECTOR = 512,
	ROUNDS = 12,
};

static void close_clean(struct image *image)
{
	assert_int_equal(image_close(image), 0);
	reference_clean("a.qcow2");
}

static void create(const char *options)
{
	scratch_must("rm -f a.qcow2 && "
		     "qemu-img create -q -f qcow2 -o %s a.qcow2 %d",
		     options, DISK);
}

/* Both programs find @want in a.qcow2. */
static void assert_stored(const char *name, const struct bits *want)
{
	struct image *image = reference_open("a.qcow2", false);

	bits_must_be("ours", name, bits_of_ours(image, name), want);
	assert_int_equal(image_close(image), 0);
	bits_must_be("theirs", name, bits_of_theirs("-f qcow2 a.qcow2", name),
		     want);
}

/* --- Guests ----------------------------------------------------------------- */

struct model {
	struct bits fine, coarse;
};

enum {
	FINE = 4096,
	COARSE = MIB,
};

static void pick(struct model *model, uint64_t *ret_offset,
		 uint64_t *ret_length)
{
	uint64_t offset = (uint64_t)rand() * SECTOR % DISK;
	uint64_t length = (1 + (uint64_t)rand() % 64) * SECTOR;

	length = MIN(length, DISK - offset);
	bits_set(&model->fine, FINE, DISK, offset, length);
	bits_set(&model->coarse, COARSE, DISK, offset, length);
	*ret_offset = offset;
	*ret_length = length;
}

static void ours_writes(struct model *model)
{
	static const uint8_t data[64 * SECTOR] = {1, 2, 3};
	struct image *image = reference_open("a.qcow2", false);

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t offset, length;
		int err;

		pick(model, &offset, &length);
		if (i % 3 == 0)
			err = sync_io_zero(image, offset, length);
		else if (i % 3 == 1)
			err = sync_io_discard(image, offset, length);
		else
			err = sync_io_write(image, offset, data, length);
		assert_int_equal(err, 0);
	}
	close_clean(image);
}

static void theirs_writes(struct model *model)
{
	static const char *const how[] = {"write -z", "discard", "write -P 7"};
	char commands[ROUNDS * 64] = "";

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t offset, length;

		pick(model, &offset, &length);
		snprintf(commands + strlen(commands),
			 sizeof(commands) - strlen(commands),
			 " -c '%s %llu %llu'", how[i % 3],
			 (unsigned long long)offset,
			 (unsigned long long)length);
	}
	scratch_must("qemu-io -f qcow2 %s a.qcow2", commands);
	reference_clean("a.qcow2");
}

static void add(struct image *image, const char *name, uint32_t granularity,
		bool disabled)
{
	const struct image_bitmap_change change = {
		.action = IMAGE_BITMAP_ADD,
		.name = name,
		.granularity_bytes = granularity,
		.disabled = disabled,
	};

	assert_int_equal(image_bitmap_change(image, &change), 0);
}

static void change(enum image_bitmap_action action, const char *name,
		   const char *source_name)
{
	const struct image_bitmap_change what = {
		.action = action, .name = name, .source_name = source_name};
	struct image *image = reference_open("a.qcow2", false);

	assert_int_equal(image_bitmap_change(image, &what), 0);
	close_clean(image);
}

static const char *const option_sets[] = {
	"cluster_size=64k",
	"cluster_size=512",
	"cluster_size=2M,refcount_bits=1",
	"extended_l2=on,cluster_size=32k",
};

static void ours_are_read_and_followed_by_qemu(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(option_sets); i++) {
		static const struct bits none;
		struct model model = {0};
		struct image *image;

		create(option_sets[i]);
		image = reference_open("a.qcow2", false);
		add(image, "fine", FINE, false);
		add(image, "coarse", COARSE, false);
		add(image, "off", SECTOR, true);
		close_clean(image);
		srand(i);
		ours_writes(&model);
		theirs_writes(&model);
		ours_writes(&model);
		assert_stored("fine", &model.fine);
		assert_stored("coarse", &model.coarse);
		assert_stored("off", &none);
	}
}

static void qemus_are_read_and_followed_by_ours(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(option_sets); i++) {
		struct model model = {0}, before;

		create(option_sets[i]);
		scratch_must("qemu-img bitmap --add -g 4k a.qcow2 fine && "
			     "qemu-img bitmap --add -g 4k a.qcow2 stopped && "
			     "qemu-img bitmap --add -g 1M a.qcow2 coarse");
		srand(100 + i);
		theirs_writes(&model);
		before = model;
		scratch_must("qemu-img bitmap --disable a.qcow2 stopped");
		ours_writes(&model);
		assert_stored("fine", &model.fine);
		assert_stored("coarse", &model.coarse);
		assert_stored("stopped", &before.fine);
	}
}

/* As `qemu-img info` says it, up to the next bitmap. */
static void assert_info(const char *name, const char *flag,
			const char *granularity)
{
	scratch_must("qemu-img info a.qcow2 | tr -s ' \\n' ' ' | "
		     "grep -o 'flags:[^g]*name: %s granularity: [0-9]*'",
		     name);
	if (strstr(scratch_output(), "[0]: auto") ? !*flag : *flag)
		fail_msg("%s: not %s", scratch_output(), flag);
	assert_non_null(strstr(scratch_output(), granularity));
}

static void changes_by_name_are_qemus(void **state)
{
	struct model model = {0};
	struct bits both = {0}, none = {0};
	struct image *image;

	create("cluster_size=4k");
	image = reference_open("a.qcow2", false);
	add(image, "b1", 0, false);
	add(image, "b2", 65536, true);
	assert_int_equal(image_bitmap_set(image, "b2", 2 * MIB, 1), 0);
	close_clean(image);
	assert_info("b1", "auto", "granularity: 4096");
	assert_info("b2", "", "granularity: 65536");
	srand(7);
	theirs_writes(&model);
	both = model.fine;
	bits_set(&both, 65536, DISK, 2 * MIB, 1);
	change(IMAGE_BITMAP_MERGE, "b1", "b2");
	assert_stored("b1", &both);
	change(IMAGE_BITMAP_DISABLE, "b1", NULL);
	assert_info("b1", "", "granularity: 4096");
	theirs_writes(&model);
	ours_writes(&model);
	assert_stored("b1", &both);
	change(IMAGE_BITMAP_ENABLE, "b1", NULL);
	assert_info("b1", "auto", "granularity: 4096");
	change(IMAGE_BITMAP_CLEAR, "b1", NULL);
	assert_stored("b1", &none);
	scratch_must("qemu-img bitmap --merge b2 a.qcow2 b1");
	bits_set(&none, 65536, DISK, 2 * MIB, 1);
	assert_stored("b1", &none);
	change(IMAGE_BITMAP_REMOVE, "b1", NULL);
	change(IMAGE_BITMAP_REMOVE, "b2", NULL);
	scratch_must("qemu-img info a.qcow2");
	assert_null(strstr(scratch_output(), "bitmaps"));
}

static void a_size_that_changes_keeps_bits(void **state)
{
	struct bits bits = {0};
	struct image *image;

	create("cluster_size=64k");
	image = reference_open("a.qcow2", false);
	add(image, "b", FINE, false);
	assert_int_equal(sync_io_write(image, MIB, "x", 1), 0);
	assert_int_equal(sync_io_write(image, DISK - 1, "x", 1), 0);
	assert_int_equal(image_resize(image, 5 * MIB, IMAGE_PREALLOCATION_OFF),
			 0);
	close_clean(image);
	bits_set(&bits, FINE, 5 * MIB, MIB, 1);
	bits_set(&bits, FINE, 5 * MIB, DISK - 1, 1);
	assert_stored("b", &bits);
	scratch_must("qemu-img resize -q -f qcow2 a.qcow2 7M");
	assert_stored("b", &bits);
	image = reference_open("a.qcow2", false);
	assert_int_equal(image_resize(image, 2 * MIB, IMAGE_PREALLOCATION_OFF),
			 0);
	close_clean(image);
	memset(bits.set + 2 * MIB / SECTOR, 0,
	       sizeof(bits.set) - 2 * MIB / SECTOR);
	assert_stored("b", &bits);
}

/* The file as a machine that stops leaves it. */
static void what_a_crash_leaves_is_inconsistent_to_qemu(void **state)
{
	struct image *image;

	create("cluster_size=64k");
	image = reference_open("a.qcow2", false);
	add(image, "on", FINE, false);
	add(image, "off", FINE, true);
	assert_int_equal(sync_io_write(image, MIB, "x", 1), 0);
	assert_int_equal(image_flush_sync(image), 0);
	scratch_must("cp a.qcow2 dead.qcow2");
	close_clean(image);
	scratch_must("qemu-img info a.qcow2");
	assert_null(strstr(scratch_output(), "in-use"));
	scratch_must("mv dead.qcow2 a.qcow2 && qemu-img info a.qcow2");
	assert_non_null(strstr(scratch_output(), "in-use"));
	scratch_must("qemu-img bitmap --remove a.qcow2 on && "
		     "qemu-img info a.qcow2");
	assert_null(strstr(scratch_output(), "in-use"));
	assert_non_null(strstr(scratch_output(), "name: off"));
	reference_clean("a.qcow2");
	image = reference_open("a.qcow2", false);
	close_clean(image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ours_are_read_and_followed_by_qemu),
		cmocka_unit_test(qemus_are_read_and_followed_by_ours),
		cmocka_unit_test(changes_by_name_are_qemus),
		cmocka_unit_test(a_size_that_changes_keeps_bits),
		cmocka_unit_test(what_a_crash_leaves_is_inconsistent_to_qemu),
	};
	int failed;

	scratch_prefer_memory();
	scratch_enter("qemu-nbd");
	image_register_format(&qcow2_format);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	scratch_leave();
	return failed;
}
