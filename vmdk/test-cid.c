/* SPDX-License-Identifier: Apache-2.0 */
/* When an image gets another CID, and that nothing is changed before. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/open.h"
#include "image/sync-io.h"
#include "tests/cmocka.h"
#include "vmdk/core.h"
#include "vmdk/vmdk.h"

enum {
	FLAT_BYTES = 64 << 10,
};

static const char sound[] = "# Disk DescriptorFile\r\nversion=1\r\n"
			    "  CID = 0badcafe\r\ncreateType=\"custom\"\r\n"
			    "RW 64 FLAT \"a\" 8\r\nRDONLY 8 FLAT \"a\" 0\r\n"
			    "RW 8 ZERO\r\nddb.adapterType = \"ide\"\r\n";

static struct store *memory(const void *data, size_t bytes)
{
	struct store *store;

	assert_int_equal(store_new_memory(bytes, &store), 0);
	if (data)
		memcpy(store_memory_data(store), data, bytes);
	return store;
}

static int open_text(const char *text, bool read_only, struct image **ret_image,
		     char **ret_error)
{
	const struct image_open_options options = {
		.read_only = read_only,
		.cache_bytes = 1,
	};
	struct store *store = memory(text, strlen(text));
	int err = vmdk_format.open(store, &options, ret_image, ret_error);

	if (err)
		store_free(store);
	return err;
}

static struct image *open_sound(bool read_only)
{
	struct image *image;
	char *error = NULL;

	assert_int_equal(open_text(sound, read_only, &image, &error), 0);
	assert_int_equal(image->file_count, 1);
	assert_false(image->files[0].read_only);
	assert_int_equal(
		image_attach(image, 0, memory(NULL, FLAT_BYTES), &error), 0);
	return image;
}

static const char *text_of(struct image *image)
{
	return store_memory_data(image->store);
}

static enum image_extent_kind ask(struct image *image, enum image_op op)
{
	struct image_extent extent;

	assert_int_equal(image_map(image, op, 512, 512, &extent), 0);
	return extent.kind;
}

/* All bytes but the eight of the CID are as they were. */
static void assert_only_cid_changed(struct image *image)
{
	size_t at = (size_t)(strstr(sound, "0badcafe") - sound);
	const char *text = text_of(image);
	unsigned cid;

	assert_int_equal(image->store->size_bytes, strlen(sound));
	assert_memory_equal(text, sound, at);
	assert_memory_equal(text + at + 8, sound + at + 8,
			    strlen(sound) - at - 8);
	assert_int_equal(sscanf(text + at, "%8x", &cid), 1);
	assert_int_not_equal(cid, 0x0badcafe);
	assert_int_equal(cid, vmdk_of(image)->d.cid);
}

static void the_first_change_waits_for_another_cid(void **state)
{
	struct image *image = open_sound(false);
	struct image_extent extent;
	struct image_plan plan;

	assert_int_equal(ask(image, IMAGE_READ), IMAGE_DATA);
	assert_false(image_is_dirty(image));
	assert_int_equal(ask(image, IMAGE_WRITE), IMAGE_MUST_FLUSH);
	assert_true(image_is_dirty(image));
	assert_int_equal(image_flush_begin(image, &plan), 0);
	assert_int_equal(image_flush_begin(image, &(struct image_plan){0}),
			 IMAGE_E_BUSY);
	assert_int_equal(plan.count, 2);
	assert_int_equal(plan.steps[0].kind, IMAGE_STEP_WRITE);
	assert_int_equal(plan.steps[0].length, 8);
	assert_int_equal(plan.steps[1].kind, IMAGE_STEP_BARRIER);
	assert_int_equal(ask(image, IMAGE_ZERO), IMAGE_BUSY);
	image_flush_end(image, &plan, -EIO);
	assert_int_equal(ask(image, IMAGE_DISCARD), IMAGE_MUST_FLUSH);
	assert_memory_equal(text_of(image), sound, strlen(sound));
	assert_int_equal(image_flush_sync(image), 0);
	assert_only_cid_changed(image);
	assert_int_equal(image_map(image, IMAGE_WRITE, 512, 512, &extent), 0);
	assert_int_equal(extent.kind, IMAGE_DATA);
	assert_int_equal(extent.host_offset, 8 * 512 + 512);
	assert_ptr_equal(extent.store, image->files[0].store);
	/* Not again. */
	assert_int_equal(image_flush_begin(image, &plan), 0);
	assert_int_equal(plan.count, 1);
	image_flush_end(image, &plan, 0);
	assert_int_equal(image_close(image), 0);
}

static void who_only_reads_leaves_the_cid(void **state)
{
	static uint8_t data[1024];

	for (int read_only = 0; read_only < 2; read_only++) {
		struct image *image = open_sound(read_only);

		assert_int_equal(sync_io_read(image, 0, data, sizeof(data)), 0);
		assert_int_equal(image_flush_sync(image), 0);
		assert_memory_equal(text_of(image), sound, strlen(sound));
		assert_int_equal(image_close(image), 0);
	}
}

static void parts_that_may_not_be_written_are_not(void **state)
{
	static uint8_t data[512];
	struct image *image = open_sound(false);

	assert_int_equal(sync_io_write(image, 64 * 512, data, 512), -EROFS);
	assert_int_equal(sync_io_zero(image, 64 * 512, 512), -EROFS);
	assert_int_equal(sync_io_write(image, 72 * 512, data, 512), -EROFS);
	assert_memory_equal(text_of(image), sound, strlen(sound));
	/* Zeroes are there already. */
	assert_int_equal(sync_io_zero(image, 72 * 512, 512), 0);
	assert_int_equal(sync_io_discard(image, 72 * 512, 512), 0);
	assert_int_equal(image_close(image), 0);
}

static void refused(const char *text, int expected, const char *words)
{
	struct image *image;
	char *error = NULL;
	int err = open_text(text, false, &image, &error);

	if (err != expected || !error || !strstr(error, words))
		fail_msg("got %d \"%s\", expected %d \"%s\"", err,
			 error ? error : "", expected, words);
	free(error);
	error = NULL;
	/* To be read they are good. */
	assert_int_equal(open_text(text, true, &image, &error), 0);
	assert_int_equal(image_close(image), 0);
}

static void what_cannot_be_kept_right_is_only_read(void **state)
{
	refused("CID=1\ncreateType=\"custom\"\nRW 8 FLAT \"a\" 0\n",
		IMAGE_E_UNSUPPORTED, "a CID of 1 digits");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_change_waits_for_another_cid),
		cmocka_unit_test(who_only_reads_leaves_the_cid),
		cmocka_unit_test(parts_that_may_not_be_written_are_not),
		cmocka_unit_test(what_cannot_be_kept_right_is_only_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
