/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images over the product of what the format offers: each pair of values of two
 * properties is in one of them at least. Made by QEMU's tools and filled by them,
 * or made by ours and filled by ours; then the other side reads every byte, the
 * map, the bits of a bitmap and a snapshot, checks the image, and goes on.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "image/manage.h"
#include "image/open.h"
#include "image/sync-io.h"
#include "qcow2/qcow2.h"
#include "tests/cmocka.h"
#include "tests/images/bits.h"
#include "tests/images/reference.h"
#include "tests/images/scratch.h"
#include "tests/images/workload.h"
#include "tests/sanitized.h"

enum property {
	VERSION,
	CLUSTERS,
	REFCOUNTS,
	COMPRESSION,
	EXTENDED,
	DATA_FILE,
	BACKING,
	SNAPSHOT,
	BITMAP,
	ENCRYPTION,
	PROPERTIES,

	VALUES = 4, /* of one, at most */
	REQUESTS = 30,
	MIB = 1 << 20,
	DISK = 4 * MIB,
	GRANULARITY = 4096,
};

/* Options for qemu-img and image_create; or what is done; NULL: no more. */
static const char *const values[PROPERTIES][VALUES] = {
	[VERSION] = {"compat=1.1", "compat=0.10"},
	[CLUSTERS] = {"cluster_size=64k", "cluster_size=512",
		      "cluster_size=16k", "cluster_size=2M"},
	[REFCOUNTS] = {"refcount_bits=16", "refcount_bits=2",
		       "refcount_bits=64"},
	[COMPRESSION] = {"", "compression_type=zlib", "compression_type=zstd"},
	[EXTENDED] = {"extended_l2=off", "extended_l2=on"},
	[DATA_FILE] = {"", "data_file=data.raw",
		       "data_file=data.raw,data_file_raw=on"},
	[BACKING] = {"", "backing_file=base.qcow2,backing_fmt=qcow2"},
	[SNAPSHOT] = {"", ""},
	[BITMAP] = {"", ""},
	[ENCRYPTION] = {"", "encrypt.format=luks,encrypt.key-secret=s,"
			    "encrypt.iter-time=10"},
};

typedef unsigned combination[PROPERTIES];

/* Anew for each direction. */
static bool covered[PROPERTIES][VALUES][PROPERTIES][VALUES];

/* What the format, or QEMU, does not have together. */
static bool is_possible(const combination c)
{
	if (c[VERSION] == 1 && (c[REFCOUNTS] || c[COMPRESSION] == 2 ||
				c[EXTENDED] || c[DATA_FILE] || c[BITMAP]))
		return false;
	if (c[EXTENDED] && c[CLUSTERS] == 1)
		return false;
	if (c[DATA_FILE] && (c[COMPRESSION] || c[SNAPSHOT]))
		return false;
	/*
	 * Streams share clusters: their counts do not go up to 3 twice. Ours is
	 * given some whenever the image takes them.
	 */
	if (c[REFCOUNTS] == 1 && c[SNAPSHOT] && !c[ENCRYPTION])
		return false;
	if (c[COMPRESSION] && c[ENCRYPTION])
		return false;
	return !(c[DATA_FILE] == 2 && (c[BACKING] || c[ENCRYPTION]));
}

static unsigned count_new(const combination c, bool take)
{
	unsigned count = 0;

	for (unsigned p = 0; p < PROPERTIES; p++)
		for (unsigned q = p + 1; q < PROPERTIES; q++) {
			bool *pair = &covered[p][c[p]][q][c[q]];

			count += !*pair;
			*pair |= take;
		}
	return count;
}

/* The next in the order of all; false at the end. */
static bool advance(combination c)
{
	for (unsigned p = 0; p < PROPERTIES; p++) {
		if (++c[p] < VALUES && values[p][c[p]])
			return true;
		c[p] = 0;
	}
	return false;
}

/* The one with the most pairs that no other had. */
static bool choose(combination ret)
{
	combination c = {0};
	unsigned most = 0;

	do {
		unsigned count = is_possible(c) ? count_new(c, false) : 0;

		if (count > most) {
			most = count;
			memcpy(ret, c, sizeof(c));
		}
	} while (advance(c));
	if (most)
		count_new(ret, true);
	return most > 0;
}

/* How qemu-img and qimg are told of it. */
static const char *source(const combination c)
{
	return c[ENCRYPTION] ? REFERENCE_ENCRYPTED "disk.qcow2"
			     : "-f qcow2 disk.qcow2";
}

/* The same for `snapshot`, which guesses a format. */
static const char *guessed_source(const combination c)
{
	return c[ENCRYPTION] ? source(c) : "disk.qcow2";
}

static void say_options(const combination c, char *ret, size_t size)
{
	size_t used = 0;

	for (unsigned p = 0; p < PROPERTIES; p++)
		if (values[p][c[p]][0])
			used += (size_t)snprintf(ret + used, size - used,
						 "%s%s", used ? "," : "",
						 values[p][c[p]]);
	assert_true(used < size);
}

/* --- By ours ------------------------------------------------------------- */

static void ours_makes(const combination c)
{
	char options[512];
	char *error = NULL;

	say_options(c, options, sizeof(options));
	scratch_must("rm -f data.raw disk.qcow2");
	if (reference_create(&qcow2_format, "disk.qcow2", options, DISK,
			     &error))
		fail_msg("%s: %s", options, error ? error : "");
}

static void ours_adds_bitmap(struct image *image)
{
	const struct image_bitmap_change change = {
		.action = IMAGE_BITMAP_ADD,
		.name = "bits",
		.granularity_bytes = GRANULARITY,
	};

	assert_int_equal(image_bitmap_change(image, &change), 0);
}

/* A snapshot is of what @kept, if not NULL, is set to. */
static void ours_fills(const combination c, struct workload *work,
		       uint8_t *kept)
{
	struct image *image = work->image;

	if (c[BITMAP])
		ours_adds_bitmap(image);
	workload_run(work, REQUESTS);
	if (c[SNAPSHOT]) {
		assert_int_equal(image_snapshot_create(image, "one"), 0);
		memcpy(kept, work->model, DISK);
	}
	workload_run(work, REQUESTS);
	workload_check(work);
}

/* --- By theirs ----------------------------------------------------------- */

/* A key takes QEMU seconds: test-luks-reference.c has it make some. */
static void theirs_makes(const combination c)
{
	char options[512];

	if (c[ENCRYPTION]) {
		ours_makes(c);
		return;
	}
	say_options(c, options, sizeof(options));
	scratch_must("rm -f data.raw disk.qcow2; "
		     "qemu-img create -q -f qcow2 -o %s disk.qcow2 4M",
		     options);
}

static void theirs_fills(const combination c)
{
	const char *image = source(c);

	if (c[BITMAP])
		scratch_must("qemu-img bitmap --add -g %d %s bits", GRANULARITY,
			     image);
	scratch_must("qemu-io %s -c 'write %s -P 1 2M 2M' "
		     "-c 'write -P 2 300k 12k' -c 'write -z 64k 64k' "
		     "-c 'write -P 3 1M 200k' -c 'write -z -u 1M 64k' "
		     "-c 'discard 2M 64k'",
		     image, c[COMPRESSION] ? "-c" : "");
	if (c[SNAPSHOT])
		scratch_must("qemu-img snapshot -c one %s && qemu-io %s "
			     "-c 'write -P 4 290k 12k' -c 'write -P 5 3M 512' "
			     "-c 'write -z 1200k 4k'",
			     guessed_source(c), image);
}

/* --- Both look ----------------------------------------------------------- */

static void both_find_bits(const combination c)
{
	struct image *image;

	if (!c[BITMAP])
		return;
	image = reference_open("disk.qcow2", true);
	bits_must_be("ours", "bits", bits_of_ours(image, "bits"),
		     bits_of_theirs(source(c), "bits"));
	assert_int_equal(image_close(image), 0);
}

static void ours_reads(const char *snapshot, const uint8_t *model)
{
	struct image *image = reference_open_as("disk.qcow2", snapshot, true);
	struct workload found;

	workload_init(&found, image, 1);
	assert_int_equal(found.size_bytes, DISK);
	assert_memory_equal(found.model, model, DISK);
	assert_int_equal(image_close(image), 0);
	workload_deinit(&found);
}

static void both_read(const combination c, const char *snapshot,
		      const uint8_t *model)
{
	char text[256];

	ours_reads(snapshot, model);
	snprintf(text, sizeof(text), "%s %s %s", snapshot ? "-l" : "",
		 snapshot ? snapshot : "", source(c));
	reference_source_reads_as(text, model, DISK);
}

/* @kept is what the snapshot holds, if there is one. */
static void both_agree(const combination c, const uint8_t *model,
		       const uint8_t *kept)
{
	reference_same("check %s", source(c));
	scratch_must("grep 'No errors were found' theirs.txt");
	reference_same("map --output=json %s", source(c));
	both_read(c, NULL, model);
	if (c[SNAPSHOT])
		both_read(c, "one", kept);
	both_find_bits(c);
}

/* Of what is made for people as well. */
static void both_say_the_same(const combination c)
{
	reference_same("check --output=json %s", source(c));
	reference_same("map %s", source(c));
	if (c[ENCRYPTION]) /* QEMU makes up a name for those */
		return;
	reference_same("info %s", source(c));
	reference_same("info --output=json %s", source(c));
}

/* What ours reads of it, NULL: of the image as it is; to be freed. */
static uint8_t *read_all(const char *snapshot)
{
	struct image *image = reference_open_as("disk.qcow2", snapshot, true);
	uint8_t *data = malloc(DISK);

	assert_non_null(data);
	assert_int_equal(sync_io_read(image, 0, data, DISK), 0);
	assert_int_equal(image_close(image), 0);
	return data;
}

static void from_theirs(const combination c, uint64_t seed)
{
	struct workload work;
	uint8_t *kept;

	theirs_makes(c);
	theirs_fills(c);
	kept = read_all(c[SNAPSHOT] ? "one" : NULL);
	workload_init(&work, reference_open("disk.qcow2", false), seed);
	assert_int_equal(image_close(work.image), 0);
	both_agree(c, work.model, kept);
	both_say_the_same(c);
	work.image = reference_open("disk.qcow2", false);
	workload_run(&work, REQUESTS);
	workload_check(&work);
	assert_int_equal(image_close(work.image), 0);
	both_agree(c, work.model, kept);
	workload_deinit(&work);
	free(kept);
}

static void from_ours(const combination c, uint64_t seed)
{
	struct workload work;
	uint8_t *kept = malloc(DISK), *after;

	assert_non_null(kept);
	ours_makes(c);
	workload_init(&work, reference_open("disk.qcow2", false), seed);
	ours_fills(c, &work, kept);
	assert_int_equal(image_close(work.image), 0);
	both_agree(c, work.model, kept);
	both_say_the_same(c);
	scratch_must("qemu-io %s -c 'write -P 7 700k 300k' "
		     "-c 'write -z -u 1500k 100k' -c 'discard 3M 130k'",
		     source(c));
	after = read_all(NULL);
	both_agree(c, after, kept);
	workload_deinit(&work);
	free(after);
	free(kept);
}

static void for_all_pairs(void (*go)(const combination c, uint64_t seed))
{
	combination c;
	unsigned count = 0;

	memset(covered, 0, sizeof(covered));
	scratch_must("rm -f base.qcow2; "
		     "qemu-img create -q -f qcow2 base.qcow2 3M && "
		     "qemu-io -f qcow2 -c 'write -P 9 100k 1M' "
		     "-c 'write -P 8 2500k 300k' base.qcow2");
	while (choose(c)) {
		if (getenv("RINGLINE_TELL")) {
			char options[512];

			say_options(c, options, sizeof(options));
			print_message("# %u %s%s %s\n", count + 1,
				      c[SNAPSHOT] ? "snapshot " : "",
				      c[BITMAP] ? "bitmap" : "", options);
		}
		if (count++ % SAMPLED(5) == 0)
			go(c, count);
	}
	print_message("# %u images\n", count);
	assert_true(count >= 12);
}

static void all_pairs_of_properties_of_qemus_images_are_ours(void **state)
{
	for_all_pairs(from_theirs);
}

static void all_pairs_of_properties_of_our_images_are_qemus(void **state)
{
	for_all_pairs(from_ours);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			all_pairs_of_properties_of_qemus_images_are_ours),
		cmocka_unit_test(
			all_pairs_of_properties_of_our_images_are_qemus),
	};
	int failed;

	reference_take_qimg(argc, argv);
	scratch_prefer_memory();
	scratch_enter("qemu-img");
	image_register_format(&qcow2_format);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	scratch_leave();
	return failed;
}
