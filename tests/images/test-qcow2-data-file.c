/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images whose data lies in a file of its own, in turns with QEMU. What is raw
 * holds, byte for byte, what the guest sees, whenever somebody looks.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "image/manage.h"
#include "image/open.h"
#include "image/sync-io.h"
#include "qcow2/qcow2.h"
#include "tests/cmocka.h"
#include "tests/images/reference.h"
#include "tests/images/scratch.h"
#include "tests/images/workload.h"

enum {
	MIB = 1 << 20,
	REQUESTS = 60,
};

static const char *const option_sets[] = {
	"data_file=data.raw,data_file_raw=off",
	"data_file=data.raw,data_file_raw=on",
	"data_file=data.raw,data_file_raw=off,cluster_size=512",
	"data_file=data.raw,data_file_raw=on,cluster_size=512",
	"data_file=data.raw,data_file_raw=off,cluster_size=2M",
	"data_file=data.raw,data_file_raw=off,extended_l2=on",
	"data_file=data.raw,data_file_raw=on,extended_l2=on",
	"data_file=data.raw,data_file_raw=off,extended_l2=on,cluster_size=16k",
};

static bool is_raw(const char *options)
{
	return strstr(options, "raw=on");
}

static void assert_raw_is(const uint8_t *model, uint64_t size)
{
	size_t length;
	uint8_t *raw = scratch_read("data.raw", &length);

	assert_int_equal(length, size);
	for (uint64_t i = 0; i < size; i++)
		if (raw[i] != model[i])
			fail_msg("byte %llu of the raw file differs",
				 (unsigned long long)i);
	free(raw);
}

static void close_image(struct image *image)
{
	assert_int_equal(image_close(image), 0);
}

static void ours_and_qemu_take_turns(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(option_sets); i++) {
		struct workload work;

		reference_make(option_sets[i]);
		reference_work_on("theirs.qcow2", NULL, 10 + i);
		scratch_must("qemu-io -f qcow2 -c 'write -P 5 700k 90k' "
			     "-c 'write -z 720k 13k' -c 'discard 2M 1M' "
			     "theirs.qcow2");
		workload_init(&work, reference_open("theirs.qcow2", true),
			      20 + i);
		assert_true(work.image->data_store->read_only);
		if (is_raw(option_sets[i]))
			assert_raw_is(work.model, work.size_bytes);
		close_image(work.image);
		workload_deinit(&work);
	}
}

/* Unlike at their making by QEMU, nothing is mapped. */
static void a_raw_file_is_right_where_nothing_is_mapped(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(option_sets); i++) {
		struct workload work;
		struct image *image;

		if (!is_raw(option_sets[i]))
			continue;
		reference_make(option_sets[i]);
		image = reference_open("theirs.qcow2", false);
		assert_int_equal(image->format->manage->make_empty(image), 0);
		workload_init(&work, image, 30 + i);
		assert_raw_is(work.model, work.size_bytes);
		workload_run(&work, REQUESTS);
		close_image(image);
		reference_clean("theirs.qcow2");
		reference_reads_as("theirs.qcow2", "", work.model,
				   work.size_bytes);
		assert_raw_is(work.model, work.size_bytes);
		workload_deinit(&work);
	}
}

/* As a crash leaves it: written there, and the entry never came to be. */
static void zeroes_are_written_where_a_raw_file_is_not(void **state)
{
	uint8_t *zeroes = calloc(1, 4 * MIB);
	struct image *image;

	scratch_must("rm -f theirs.qcow2 && qemu-img create -q -f qcow2 "
		     "-o data_file=data.raw,data_file_raw=on theirs.qcow2 4M");
	image = reference_open("theirs.qcow2", false);
	assert_int_equal(image->format->manage->make_empty(image), 0);
	close_image(image);
	scratch_must("dd if=/dev/urandom of=data.raw bs=64k count=64 "
		     "conv=notrunc");
	image = reference_open("theirs.qcow2", false);
	assert_int_equal(sync_io_write(image, 100000, zeroes, 512), 0);
	assert_int_equal(sync_io_zero(image, 0, 4 * MIB), 0);
	close_image(image);
	assert_raw_is(zeroes, 4 * MIB);
	reference_clean("theirs.qcow2");
	free(zeroes);
}

static void resize_to(const char *options, uint64_t size, uint64_t seed)
{
	struct image *image = reference_open("theirs.qcow2", false);
	uint64_t old = image->size_bytes;
	struct workload work;
	struct stat st;

	assert_int_equal(image->format->manage->resize(image, size,
						       IMAGE_PREALLOCATION_OFF),
			 0);
	workload_init(&work, image, seed);
	for (uint64_t i = old; i < size; i++)
		assert_int_equal(work.model[i], 0);
	workload_run(&work, REQUESTS / 4);
	close_image(image);
	reference_clean("theirs.qcow2");
	reference_reads_as("theirs.qcow2", "", work.model, size);
	assert_int_equal(stat("data.raw", &st), 0);
	if (is_raw(options))
		assert_raw_is(work.model, size);
	else
		assert_true(st.st_size >= (off_t)(size > old ? size : 0));
	workload_deinit(&work);
}

static void the_data_file_follows_the_size(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(option_sets); i++) {
		const char *options = option_sets[i];

		reference_make(options);
		resize_to(options, 5 * MIB + 512, 40 + i);
		resize_to(options, 3 * MIB + 1024, 60 + i);
		/* What lies there is nobody's, and must not show. */
		scratch_must("head -c 4M /dev/urandom >> data.raw");
		resize_to(options, 4 * MIB, 80 + i);
		scratch_must("qemu-img resize -q theirs.qcow2 6M");
		resize_to(options, 7 * MIB, 100 + i);
	}
}

static void ours_goes_on_where_a_backing_file_shows(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(option_sets); i++) {
		if (is_raw(option_sets[i]))
			continue;
		reference_make("compat=1.1");
		scratch_must("mv theirs.qcow2 base.qcow2 && "
			     "qemu-img create -q -f qcow2 -b base.qcow2 "
			     "-F qcow2 -o %s theirs.qcow2 5M",
			     option_sets[i]);
		reference_work_on("theirs.qcow2", NULL, 120 + i);
	}
}

static void what_needs_refcounts_is_refused(void **state)
{
	struct image *image;
	struct image_extent extent;

	reference_make(option_sets[0]);
	image = reference_open("theirs.qcow2", false);
	assert_int_equal(image_map_packed(image, 0, 512, &extent), -ENOTSUP);
	assert_int_equal(image->format->manage->snapshot_create(image, "one"),
			 -ENOTSUP);
	close_image(image);
	reference_clean("theirs.qcow2");
}

static void refused(const char *const *allowed, int expected, const char *why)
{
	const struct image_open_request request = {
		.path = "theirs.qcow2",
		.format = "qcow2",
		.allowed = allowed,
	};
	struct image *image = NULL;
	char *error = NULL;

	assert_int_equal(image_open(&request, &image, &error, NULL), expected);
	assert_non_null(error);
	if (!strstr(error, why))
		fail_msg("\"%s\" lacks \"%s\"", error, why);
	free(error);
}

static void a_data_file_is_opened_by_the_policy_of_backing_files(void **state)
{
	static const char *const here[] = {".", NULL};
	static const char *const other[] = {"theirs.qcow2", NULL};

	reference_make(option_sets[0]);
	refused(NULL, -EACCES, "data.raw would allow it");
	refused(other, -EACCES, "data.raw would allow it");
	scratch_must("mv data.raw away");
	refused(here, -ENOENT, "data.raw");
	scratch_must("ln -s /dev/zero data.raw");
	refused(here, -EACCES, "/dev/zero");
	/* The image itself, and what is under it. */
	scratch_must("ln -sf theirs.qcow2 data.raw");
	refused(here, -ELOOP, "in which an image of the chain lies");
	scratch_must("rm -f data.raw base.qcow2 theirs.qcow2 && "
		     "qemu-img create -q -f raw base.raw 1M && "
		     "qemu-img create -q -f qcow2 -o data_file=data.raw "
		     "-b base.raw -F raw theirs.qcow2 && "
		     "ln -sf base.raw data.raw");
	refused(here, -ELOOP, "base.raw");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ours_and_qemu_take_turns),
		cmocka_unit_test(a_raw_file_is_right_where_nothing_is_mapped),
		cmocka_unit_test(zeroes_are_written_where_a_raw_file_is_not),
		cmocka_unit_test(the_data_file_follows_the_size),
		cmocka_unit_test(ours_goes_on_where_a_backing_file_shows),
		cmocka_unit_test(what_needs_refcounts_is_refused),
		cmocka_unit_test(
			a_data_file_is_opened_by_the_policy_of_backing_files),
	};
	int failed;

	scratch_prefer_memory();
	scratch_enter("qemu-img");
	image_register_format(&qcow2_format);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	scratch_leave();
	return failed;
}
