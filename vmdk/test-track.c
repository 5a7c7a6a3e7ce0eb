/* SPDX-License-Identifier: Apache-2.0 */
/* Changed-block tracking: read, refused, and disowned by who changes the disk. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/manage.h"
#include "image/open.h"
#include "image/sync-io.h"
#include "tests/cmocka.h"
#include "vmdk/track.h"
#include "vmdk/vmdk.h"

enum {
	BLOCK = 64 << 10,
	/* Four blocks and a sector. */
	DISK_BYTES = 4 * BLOCK + 512,
	BLOCKS = 5,
	HEADER_BYTES = 512,
	TRACK_BYTES = HEADER_BYTES + BLOCKS * 4,
	DISK = 0,
	TRACK = 1,
};

static const char tracked[] = "# Disk DescriptorFile\nversion=3\n"
			      "CID=0badcafe\nparentCID=ffffffff\n"
			      "createType=\"vmfs\"\n"
			      "RW 513 VMFS \"a-flat.vmdk\"\n"
			      "# Change Tracking File\n"
			      "\tChangeTrackPath = \"a-ctk.vmdk\"\n"
			      "ddb.adapterType = \"lsilogic\"\n";

/* As libyal describes it, and numbers from byte 512 on. */
static const uint8_t header[] = {
	0xa2, 0x72, 0x19, 0xf6,			     /* the magic */
	1,    0,    0,	  0,			     /* version */
	0,    0,    0,	  0,			     /* */
	0,    2,    0,	  0,			     /* 0x200 */
	0x01, 0x02, 0,	  0,	0,    0,    0,	  0, /* sectors, one may guess */
	0x05, 0,    0,	  0,	0,    0,    0,	  0, /* blocks, one may guess */
	0x80, 0,    0,	  0,	0,    0,    0,	  0,	7,    0, 0,
	0,    0x52, 0x0a, 0x1b, 0x2c, 0x3d, 0x4e, 0x5f, 0x60, /* 16 bytes of an id */
	0x71, 0x82, 0x93, 0xa4, 0xb5, 0xc6, 0xd7, 0xe8,
};

/* Of each block; the last is that of one sector. */
static const uint8_t numbers[] = {
	0, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff,
};

static_assert(sizeof(numbers) == BLOCKS * 4, "all");

static struct store *memory(const void *data, size_t bytes)
{
	struct store *store;

	assert_int_equal(store_new_memory(bytes, &store), 0);
	if (data)
		memcpy(store_memory_data(store), data, bytes);
	return store;
}

static struct image *open_text(const char *text, bool read_only)
{
	const struct image_open_options options = {.read_only = read_only};
	struct store *store = memory(text, strlen(text));
	struct image *image;
	char *error = NULL;

	if (vmdk_format.open(store, &options, &image, &error) != 0)
		fail_msg("%s", error);
	assert_int_equal(
		image_attach(image, DISK, memory(NULL, DISK_BYTES), &error), 0);
	return image;
}

static struct store *track_file(void)
{
	struct store *store = memory(NULL, TRACK_BYTES);
	uint8_t *data = store_memory_data(store);

	memcpy(data, header, sizeof(header));
	memcpy(data + HEADER_BYTES, numbers, sizeof(numbers));
	return store;
}

static struct image *open_tracked(void)
{
	struct image *image = open_text(tracked, true);
	char *error = NULL;

	assert_int_equal(image->file_count, 2);
	assert_string_equal(image->files[TRACK].name, "a-ctk.vmdk");
	assert_true(image->files[TRACK].optional);
	assert_true(image->files[TRACK].read_only);
	if (image_attach(image, TRACK, track_file(), &error) != 0)
		fail_msg("%s", error);
	return image;
}

static void next_is(struct image *image, const char *name, uint64_t at,
		    uint64_t offset, uint64_t length)
{
	uint64_t got_offset = 0, got_length = 0;

	assert_int_equal(
		image_bitmap_next(image, name, at, &got_offset, &got_length),
		0);
	assert_int_equal(got_length, length);
	if (length)
		assert_int_equal(got_offset, offset);
}

static void changed_blocks_are_a_bitmap(void **state)
{
	struct image *image = open_tracked();
	struct image_bitmaps list;

	assert_int_equal(image_bitmap_list(image, &list), 0);
	assert_int_equal(list.count, 1);
	assert_string_equal(list.all[0].name, "changes");
	assert_int_equal(list.all[0].granularity_bytes, BLOCK);
	assert_int_equal(list.all[0].dirty_bytes, 2 * BLOCK + 512);
	assert_false(list.all[0].inconsistent);
	image_bitmaps_deinit(&list);
	next_is(image, "changes", 0, BLOCK, 2 * BLOCK);
	next_is(image, "changes", 2 * BLOCK + 5, 2 * BLOCK + 5, BLOCK - 5);
	next_is(image, "changes", 3 * BLOCK, 4 * BLOCK, 512);
	next_is(image, "changes", DISK_BYTES - 1, DISK_BYTES - 1, 1);
	assert_int_equal(image_close(image), 0);
}

static void a_number_is_what_changed_since(void **state)
{
	struct image *image = open_tracked();
	uint64_t offset, length;

	/* Nothing that never changed. */
	next_is(image, "0", 0, BLOCK, 2 * BLOCK);
	next_is(image, "2", 0, 2 * BLOCK, BLOCK);
	next_is(image, "8", 0, 4 * BLOCK, 512);
	next_is(image, "4294967295", 0, 4 * BLOCK, 512);
	for (const char *const *name =
		     (const char *const[]){"", "x", "2x", "-1", " 1",
					   "4294967296", "99999999999999999999",
					   NULL};
	     *name; name++)
		assert_int_equal(
			image_bitmap_next(image, *name, 0, &offset, &length),
			-ENOENT);
	assert_int_equal(image_close(image), 0);
}

/* The sizes of two files of ESXi's, as listings of folders show them. */
static void blocks_are_as_large_as_products_make_them(void **state)
{
	const uint64_t gib = UINT64_C(1) << 30;

	assert_int_equal(vmdk_track_block_bytes(1), BLOCK);
	assert_int_equal(
		HEADER_BYTES + 40 * gib / vmdk_track_block_bytes(40 * gib) * 4,
		2621952);
	assert_int_equal(HEADER_BYTES +
				 200 * gib / vmdk_track_block_bytes(200 * gib) *
					 4,
			 6554112);
	assert_int_equal(vmdk_track_block_bytes(128 * gib), BLOCK);
	assert_int_equal(vmdk_track_block_bytes(128 * gib + 1), 2 * BLOCK);
	assert_int_equal(vmdk_track_block_bytes(INT64_MAX), 1ull << 42);
}

/* Attaches what @file is after one change; it is to be refused with @words. */
static void refused(struct store *file, int expected, const char *words)
{
	struct image *image = open_text(tracked, true);
	struct image_bitmaps list;
	uint64_t offset, length;
	uint8_t sector[512];
	char *error = NULL;
	int err = image_attach(image, TRACK, file, &error);

	if (err != expected || !error || !strstr(error, words))
		fail_msg("got %d \"%s\", expected %d \"%s\"", err,
			 error ? error : "", expected, words);
	store_free(file);
	free(error);
	/* The disk is whole without it, and nobody takes it for unchanged. */
	assert_int_equal(sync_io_read(image, 0, sector, sizeof(sector)), 0);
	assert_int_equal(image_bitmap_list(image, &list), 0);
	assert_int_equal(list.count, 1);
	assert_true(list.all[0].inconsistent);
	image_bitmaps_deinit(&list);
	assert_int_equal(
		image_bitmap_next(image, "changes", 0, &offset, &length),
		IMAGE_E_CORRUPT);
	assert_int_equal(image_close(image), 0);
}

static struct store *with_byte(size_t at, uint8_t value)
{
	struct store *file = track_file();

	((uint8_t *)store_memory_data(file))[at] = value;
	return file;
}

static void broken_files_are_refused_and_the_disk_is_not(void **state)
{
	refused(with_byte(0, 0xa3), IMAGE_E_CORRUPT, "does not begin");
	refused(with_byte(3, 0), IMAGE_E_CORRUPT, "does not begin");
	refused(with_byte(4, 2), IMAGE_E_UNSUPPORTED, "version 2");
	refused(with_byte(7, 0x80), IMAGE_E_UNSUPPORTED, "version 2147483649");
	refused(with_byte(13, 4), IMAGE_E_UNSUPPORTED, "byte 1024");
	refused(with_byte(15, 0xff), IMAGE_E_UNSUPPORTED, "numbers begin at");
	refused(memory(NULL, 0), IMAGE_E_CORRUPT, "0 bytes");
	refused(memory(header, sizeof(header)), IMAGE_E_CORRUPT, "60 bytes");
	refused(memory(NULL, TRACK_BYTES - 1), IMAGE_E_CORRUPT, "531 bytes");
	refused(memory(NULL, TRACK_BYTES + 4), IMAGE_E_CORRUPT,
		"a disk of 262656 bytes has 532");
	refused(memory(NULL, TRACK_BYTES), IMAGE_E_CORRUPT, "does not begin");
}

static void disks_past_all_products_are_refused(void **state)
{
	static const char huge[] = "CID=0badcafe\ncreateType=\"custom\"\n"
				   "RW 9007199254740992 ZERO\n"
				   "changeTrackPath=\"a-ctk.vmdk\"\n";
	const struct image_open_options options = {.read_only = true};
	struct store *file = track_file(), *store = memory(huge, sizeof(huge));
	struct image *image;
	char *error = NULL;

	assert_int_equal(vmdk_format.open(store, &options, &image, &error), 0);
	assert_int_equal(image_attach(image, 0, file, &error),
			 IMAGE_E_UNSUPPORTED);
	assert_non_null(strstr(error, "cannot be tracked"));
	free(error);
	store_free(file);
	assert_int_equal(image_close(image), 0);
}

static void an_untracked_disk_has_no_bitmap(void **state)
{
	static const char plain[] = "CID=0badcafe\ncreateType=\"vmfs\"\n"
				    "RW 513 VMFS \"a-flat.vmdk\"\n"
				    "changeTrackPath=\"\"\n";
	struct image *image = open_text(plain, true);
	struct image_bitmaps list;
	uint64_t offset, length;

	assert_int_equal(image->file_count, 1);
	assert_int_equal(image_bitmap_list(image, &list), 0);
	assert_int_equal(list.count, 0);
	assert_int_equal(
		image_bitmap_next(image, "changes", 0, &offset, &length),
		-ENOENT);
	assert_int_equal(image_close(image), 0);
}

static void the_first_change_disowns_the_tracking(void **state)
{
	struct image *image = open_text(tracked, false);
	struct image_extent extent;
	struct image_plan plan;
	const char *text = store_memory_data(image->store);

	/* Nobody needs the file for that. */
	assert_int_equal(image->file_count, 1);
	assert_int_equal(image_map(image, IMAGE_WRITE, 0, 512, &extent), 0);
	assert_int_equal(extent.kind, IMAGE_MUST_FLUSH);
	/* A plan that fails leaves it to the next one. */
	assert_int_equal(image_flush_begin(image, &plan), 0);
	assert_int_equal(plan.count, 4);
	assert_int_equal(plan.steps[3].kind, IMAGE_STEP_BARRIER);
	image_flush_end(image, &plan, -EIO);
	assert_string_equal(text, tracked);
	assert_int_equal(image_flush_sync(image), 0);
	assert_non_null(strstr(text, "\nversion=1\n"));
	assert_non_null(strstr(text, "\n\t#staleTrackPath = \"a-ctk.vmdk\"\n"));
	assert_null(strstr(text, "0badcafe"));
	assert_int_equal(strlen(text), strlen(tracked));
	/* Not again. */
	assert_int_equal(image_flush_begin(image, &plan), 0);
	assert_int_equal(plan.count, 1);
	image_flush_end(image, &plan, 0);
	assert_int_equal(image_close(image), 0);
}

static void who_is_told_so_finds_no_tracking(void **state)
{
	struct image *image = open_text(tracked, false);
	static const uint8_t sector[512];
	char text[sizeof(tracked)];

	assert_int_equal(sync_io_write(image, 0, sector, sizeof(sector)), 0);
	memcpy(text, store_memory_data(image->store), sizeof(tracked) - 1);
	text[sizeof(tracked) - 1] = '\0';
	assert_int_equal(image_close(image), 0);
	image = open_text(text, true);
	assert_int_equal(image->file_count, 1);
	assert_int_equal(image_close(image), 0);
}

static void who_only_reads_leaves_it(void **state)
{
	struct image *image = open_text(tracked, false);
	uint8_t sector[512];

	assert_int_equal(sync_io_read(image, 0, sector, sizeof(sector)), 0);
	assert_int_equal(image_flush_sync(image), 0);
	assert_memory_equal(store_memory_data(image->store), tracked,
			    sizeof(tracked) - 1);
	assert_int_equal(image_close(image), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(changed_blocks_are_a_bitmap),
		cmocka_unit_test(a_number_is_what_changed_since),
		cmocka_unit_test(blocks_are_as_large_as_products_make_them),
		cmocka_unit_test(broken_files_are_refused_and_the_disk_is_not),
		cmocka_unit_test(disks_past_all_products_are_refused),
		cmocka_unit_test(an_untracked_disk_has_no_bitmap),
		cmocka_unit_test(the_first_change_disowns_the_tracking),
		cmocka_unit_test(who_is_told_so_finds_no_tracking),
		cmocka_unit_test(who_only_reads_leaves_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
