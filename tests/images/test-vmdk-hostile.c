/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole images made to do harm: each limit and hole of docs/vmdk.md that the tests
 * of headers and descriptors do not reach.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "base/bytes.h"
#include "image/manage.h"
#include "image/open.h"
#include "image/sync-io.h"
#include "tests/cmocka.h"
#include "tests/images/scratch.h"
#include "tests/images/vmdk-build.h"
#include "vmdk/descriptor.h"
#include "vmdk/manage.h"
#include "vmdk/vmdk.h"

enum {
	SECTOR = 512,
	GRAIN = 65536,
	STREAM_BYTES = 3 * GRAIN,
	FIRST_GRAIN = GRAIN, /* in the file, behind header and descriptor */
};

static const char *const here[] = {".", NULL};

/* --- Files -------------------------------------------------------------- */

static int open_as(const char *name, struct image **ret_image, char **ret_error)
{
	const struct image_open_request request = {
		.path = name,
		.format = "vmdk",
		.read_only = true,
		.allowed = here,
	};

	*ret_error = NULL;
	return image_open(&request, ret_image, ret_error, NULL);
}

static void refused(const char *name, int expected, const char *words)
{
	struct image *image;
	char *error;
	int err = open_as(name, &image, &error);

	if (err != expected || !error || !strstr(error, words))
		fail_msg("%s: got %d \"%s\", expected %d \"%s\"", name, err,
			 error ? error : "", expected, words);
	free(error);
}

static void opened(const char *name, uint64_t size_bytes)
{
	struct image *image;
	char *error;

	if (open_as(name, &image, &error))
		fail_msg("%s: %s", name, error ? error : "");
	assert_int_equal(image->size_bytes, size_bytes);
	assert_int_equal(image_close(image), 0);
}

static void put_file(const char *name, const char *text, size_t bytes)
{
	FILE *file = fopen(name, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, bytes, file), bytes);
	assert_int_equal(fclose(file), 0);
}

/* A delta of @parent, whose CID it knows. */
static void put_delta(const char *name, const char *parent)
{
	char text[512];
	int bytes = snprintf(text, sizeof(text),
			     "# Disk DescriptorFile\nCID=00000001\n"
			     "parentCID=%s\n%s%s%screateType=\"custom\"\n"
			     "RW 8 ZERO\n",
			     parent ? "00000001" : "ffffffff",
			     parent ? "parentFileNameHint=\"" : "",
			     parent ? parent : "", parent ? "\"\n" : "");

	put_file(name, text, (size_t)bytes);
}

static void cycles_of_parents_are_refused(void **state)
{
	put_delta("a.vmdk", "a.vmdk");
	refused("a.vmdk", -ELOOP, "infinite loop");
	put_delta("a.vmdk", "b.vmdk");
	put_delta("b.vmdk", "./c.vmdk");
	put_delta("c.vmdk", "a.vmdk");
	refused("a.vmdk", -ELOOP, "infinite loop");
	refused("b.vmdk", -ELOOP, "infinite loop");
	/* By another name of the same file. */
	scratch_must("ln -sf a.vmdk link.vmdk");
	put_delta("c.vmdk", "link.vmdk");
	refused("a.vmdk", -ELOOP, "infinite loop");
}

static void chains_of_64_links_are_opened_and_no_longer_ones(void **state)
{
	char name[32], parent[32];

	put_delta("d0.vmdk", NULL);
	for (int i = 1; i <= IMAGE_MAX_CHAIN; i++) {
		snprintf(name, sizeof(name), "d%d.vmdk", i);
		snprintf(parent, sizeof(parent), "d%d.vmdk", i - 1);
		put_delta(name, parent);
	}
	opened("d63.vmdk", 8 * SECTOR);
	refused("d64.vmdk", -ELOOP, "more than 64 images");
}

static void names_that_leave_the_folder_are_refused(void **state)
{
	static const char *const names[] = {
		"../outside.raw", "sub/../../outside.raw", "/etc/hostname",
		"link.raw",	  "sublink/outside.raw",
	};

	scratch_must("mkdir -p in/sub && echo 0123456789 > outside.raw && "
		     "truncate -s 4096 outside.raw && "
		     "ln -sf ../outside.raw in/link.raw && "
		     "ln -sfn .. in/sublink");
	assert_int_equal(chdir("in"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char line[128];

		snprintf(line, sizeof(line), "RW 1 FLAT \"%s\" 0", names[i]);
		vmdk_build_descriptor("t.vmdk", "custom", "ffffffff", line);
		refused("t.vmdk", -EACCES, "--allow-file");
		put_delta("t.vmdk", names[i]);
		refused("t.vmdk", -EACCES, "--allow-file");
	}
	assert_int_equal(chdir(".."), 0);
}

/* The last size that is counted in 63 bits, and what is one sector more. */
static void capacities_near_2_63_are_right_or_refused(void **state)
{
	struct image *image;
	uint8_t sector[SECTOR];
	char *error;

	vmdk_build_descriptor("t.vmdk", "custom", "ffffffff",
			      "RW 18014398509481983 ZERO");
	opened("t.vmdk", UINT64_C(0x7ffffffffffffe00));
	assert_int_equal(open_as("t.vmdk", &image, &error), 0);
	assert_int_equal(
		sync_io_read(image, image->size_bytes - SECTOR, sector, SECTOR),
		0);
	assert_true(bytes_are_zero(sector, SECTOR));
	assert_int_equal(sync_io_read(image, image->size_bytes - 1, sector, 2),
			 -EINVAL);
	assert_int_equal(image_close(image), 0);
	vmdk_build_descriptor("t.vmdk", "custom", "ffffffff",
			      "RW 18014398509481983 ZERO\nRW 1 ZERO");
	refused("t.vmdk", IMAGE_E_CORRUPT, "too large");
	vmdk_build_descriptor("t.vmdk", "custom", "ffffffff",
			      "RW 18014398509481984 ZERO");
	refused("t.vmdk", IMAGE_E_CORRUPT, "that many sectors");
	scratch_must("truncate -s 4096 small.raw");
	vmdk_build_descriptor("t.vmdk", "custom", "ffffffff",
			      "RW 8 FLAT \"small.raw\" 18014398509481975");
	refused("t.vmdk", IMAGE_E_CORRUPT, "it has 4096 bytes");
}

/* Its directory has no entry for what the descriptor says it has. */
static void a_file_that_is_smaller_than_its_extent_is_refused(void **state)
{
	static const struct {
		void (*build)(const char *name, const uint8_t *data,
			      uint64_t bytes);
		const char *type;
	} kinds[] = {{vmdk_build_cowd, "VMFSSPARSE"},
		     {vmdk_build_se, "SESPARSE"},
		     {vmdk_build_stream, "SPARSE"}};
	static const uint8_t data[16 * SECTOR] = {1};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		char line[64];

		kinds[i].build("e.vmdk", data, sizeof(data));
		snprintf(line, sizeof(line), "RW 16 %s \"e.vmdk\"",
			 kinds[i].type);
		vmdk_build_descriptor("t.vmdk", "custom", "ffffffff", line);
		opened("t.vmdk", sizeof(data));
		snprintf(line, sizeof(line), "RW 99999999 %s \"e.vmdk\"",
			 kinds[i].type);
		vmdk_build_descriptor("t.vmdk", "custom", "ffffffff", line);
		refused("t.vmdk", IMAGE_E_CORRUPT, "has room for 16 sectors");
	}
}

static void a_descriptor_of_1_mib_is_one_and_no_longer_one(void **state)
{
	char *text = malloc(VMDK_MAX_DESCRIPTOR_BYTES + 1);
	size_t used = (size_t)sprintf(text, "# Disk DescriptorFile\nCID=1\n"
					    "createType=\"custom\"\n"
					    "RW 8 ZERO\n");

	memset(text + used, ' ', VMDK_MAX_DESCRIPTOR_BYTES + 1 - used);
	put_file("t.vmdk", text, VMDK_MAX_DESCRIPTOR_BYTES);
	opened("t.vmdk", 8 * SECTOR);
	put_file("t.vmdk", text, VMDK_MAX_DESCRIPTOR_BYTES + 1);
	refused("t.vmdk", IMAGE_E_UNSUPPORTED, "at most 1048576 bytes");
	/* What is not there takes no memory. */
	scratch_must("truncate -s 1T t.vmdk");
	refused("t.vmdk", IMAGE_E_UNSUPPORTED, "at most 1048576 bytes");
	free(text);
}

/* --- Compressed grains -------------------------------------------------- */

/* A stream of three grains of zeroes and a byte each, in memory. */
static struct store *make_stream(void)
{
	struct image_options options = {0};
	struct image_create_request request = {
		.path = "x.vmdk",
		.size_bytes = STREAM_BYTES,
		.options = &options,
	};
	struct image_stream stream;

	assert_int_equal(store_new_memory(0, &request.store), 0);
	assert_int_equal(
		image_options_set(&options, "subformat", "streamOptimized"), 0);
	assert_int_equal(vmdk_stream(&request, &stream, NULL), 0);
	image_options_deinit(&options);
	for (uint64_t i = 0; i < 3; i++)
		assert_int_equal(
			store_write(stream.guest, i * GRAIN + 7, "x", 1), 0);
	assert_int_equal(stream.end(stream.guest), 0);
	store_free(stream.guest);
	return request.store;
}

static uint8_t *first_grain(struct store *store)
{
	uint8_t *grain = (uint8_t *)store_memory_data(store) + FIRST_GRAIN;

	assert_int_equal(get_le64(grain), 0);
	return grain;
}

/* Where the table's entry of grain 0 lies, by its marker. */
static uint8_t *first_entry(struct store *store)
{
	uint8_t *data = store_memory_data(store);

	for (size_t at = FIRST_GRAIN; at < store->size_bytes; at += SECTOR)
		if (get_le32(data + at + 8) == 0 &&
		    get_le32(data + at + 12) == 1)
			return data + at + SECTOR;
	fail_msg("no table");
	return NULL;
}

/* The result of a read of the first grain; the others are as they were. */
static int read_first(struct store *store, uint8_t *ret_data)
{
	const struct image_open_options options = {.read_only = true};
	struct image *image;
	char *error = NULL;
	uint8_t byte;
	int err;

	if (vmdk_format.open(store, &options, &image, &error))
		fail_msg("%s", error ? error : "does not open");
	err = sync_io_read(image, 0, ret_data, GRAIN);
	for (uint64_t i = 1; i < 3; i++) {
		assert_int_equal(sync_io_read(image, i * GRAIN + 7, &byte, 1),
				 0);
		assert_int_equal(byte, 'x');
	}
	assert_int_equal(image_close(image), 0);
	return err;
}

/* The number in a marker decides nothing: neither more is read, nor less. */
static void the_size_in_a_grains_marker_is_not_believed(void **state)
{
	static const uint32_t sizes[] = {1, GRAIN, INT32_MAX, UINT32_MAX};
	static uint8_t data[GRAIN];

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct store *store = make_stream();

		put_le32(first_grain(store) + 8, sizes[i]);
		assert_int_equal(read_first(store, data), 0);
		assert_int_equal(data[7], 'x');
	}
}

/* Into the room that the first grain has; it ends before the next sector. */
static struct store *with_stream_of(const void *plain, size_t bytes)
{
	struct store *store = make_stream();
	uLongf room = SECTOR - 12;

	assert_int_equal(
		compress2(first_grain(store) + 12, &room, plain, bytes, 9),
		Z_OK);
	return store;
}

static void a_grain_that_is_no_grain_is_an_error(void **state)
{
	static uint8_t data[GRAIN], plain[4 * GRAIN];
	struct store *store;

	/* More than a grain, as a bomb would have it; and less. */
	assert_int_not_equal(
		read_first(with_stream_of(plain, sizeof(plain)), data), 0);
	assert_int_not_equal(read_first(with_stream_of(plain, GRAIN + 1), data),
			     0);
	assert_int_not_equal(read_first(with_stream_of(plain, GRAIN - 1), data),
			     0);
	assert_int_equal(read_first(with_stream_of(plain, GRAIN), data), 0);
	store = make_stream();
	first_grain(store)[13] ^= 0x55;
	assert_int_not_equal(read_first(store, data), 0);
	/* Its sum is another one's. */
	store = make_stream();
	for (size_t i = 0; i < 8; i++)
		first_grain(store)[12 + get_le32(first_grain(store) + 8) - 4 +
				   i % 4] ^= 1 << i / 4;
	assert_int_not_equal(read_first(store, data), 0);
}

static void grains_that_lie_nowhere_are_errors(void **state)
{
	static uint8_t data[GRAIN];
	struct store *store = make_stream();
	const uint32_t sectors = (uint32_t)(store->size_bytes / SECTOR);
	const uint32_t places[] = {
		UINT32_MAX,  sectors,	  sectors + 1,
		sectors - 1, sectors - 3, /* the end; the footer */
		1,	     20,	  /* the descriptor */
	};

	store_free(store);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		store = make_stream();
		put_le32(first_entry(store), places[i]);
		assert_int_not_equal(read_first(store, data), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cycles_of_parents_are_refused),
		cmocka_unit_test(
			chains_of_64_links_are_opened_and_no_longer_ones),
		cmocka_unit_test(names_that_leave_the_folder_are_refused),
		cmocka_unit_test(capacities_near_2_63_are_right_or_refused),
		cmocka_unit_test(
			a_file_that_is_smaller_than_its_extent_is_refused),
		cmocka_unit_test(
			a_descriptor_of_1_mib_is_one_and_no_longer_one),
		cmocka_unit_test(the_size_in_a_grains_marker_is_not_believed),
		cmocka_unit_test(a_grain_that_is_no_grain_is_an_error),
		cmocka_unit_test(grains_that_lie_nowhere_are_errors),
	};
	int failed;

	scratch_prefer_memory();
	scratch_enter("true");
	image_register_format(&vmdk_format);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	scratch_leave();
	return failed;
}
