/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMDK images of every kind, read by ours and by QEMU: each byte, and where it
 * lies. The first argument is qimg.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "image/open.h"
#include "image/sync-io.h"
#include "tests/cmocka.h"
#include "tests/images/scratch.h"
#include "tests/images/vmdk-build.h"
#include "vmdk/vmdk.h"

enum {
	KIB = 1024,
	MIB = 1 << 20,
	SECTOR = 512,
};

static const char *qimg;
static const char *const here[] = {".", NULL};

static int open_as(const char *name, const char *format,
		   const char *const *allowed, struct image **ret_image,
		   char **ret_error)
{
	const struct image_open_request request = {
		.path = name,
		.format = format,
		.read_only = true,
		.cache_bytes = 1,
		.allowed = allowed,
	};

	*ret_error = NULL;
	return image_open(&request, ret_image, ret_error, NULL);
}

static struct image *must_open(const char *name, const char *format)
{
	struct image *image = NULL;
	char *error;
	int err = open_as(name, format, here, &image, &error);

	if (err)
		fail_msg("%s: %d: %s", name, err, error ? error : "");
	assert_ptr_equal(image->format, &vmdk_format);
	return image;
}

static void refused(const char *name, const char *const *allowed, int expected,
		    const char *words)
{
	struct image *image;
	char *error;
	int err = open_as(name, "vmdk", allowed, &image, &error);

	if (err != expected || !error || !strstr(error, words))
		fail_msg("%s: got %d \"%s\", expected %d \"%s\"", name, err,
			 error ? error : "", expected, words);
	free(error);
}

static void assert_bytes(const char *name, const char *format,
			 const uint8_t *model, uint64_t size)
{
	struct image *image = must_open(name, format);
	uint8_t *got = malloc(size);
	int err;

	assert_int_equal(image->size_bytes, size);
	err = sync_io_read(image, 0, got, size);
	if (err)
		fail_msg("%s: %d: %s", name, err, image_error(image));
	for (uint64_t i = 0; i < size; i++)
		if (got[i] != model[i])
			fail_msg("%s: byte %llu differs", name,
				 (unsigned long long)i);
	free(got);
	assert_int_equal(image_close(image), 0);
}

/* Ours by both ways to the format, and through the executor, at any place. */
static void reads_as(const char *name, const uint8_t *model, uint64_t size)
{
	uint8_t *raw;
	size_t length;

	assert_bytes(name, "probe", model, size);
	assert_bytes(name, "vmdk", model, size);
	scratch_must("rm -f out.raw && %s convert -O raw %s out.raw", qimg,
		     name);
	raw = scratch_read("out.raw", &length);
	assert_int_equal(length, size);
	assert_memory_equal(raw, model, size);
	free(raw);
}

/* QEMU reads the same. */
static void theirs_reads_as(const char *name, const uint8_t *model,
			    uint64_t size)
{
	uint8_t *raw;
	size_t length;

	scratch_must("rm -f out.raw && qemu-img convert -f vmdk -O raw %s "
		     "out.raw",
		     name);
	raw = scratch_read("out.raw", &length);
	assert_int_equal(length, size);
	assert_memory_equal(raw, model, size);
	free(raw);
}

/*
 * Two words differ: QEMU calls a hole in a flat file data that is zero, and
 * where no image of a chain has anything it names the depth of the last.
 */
static void maps_as_theirs(const char *name)
{
	static const char alike[] =
		"sed -i -e 's/\"zero\": true, \"data\": true/"
		"\"zero\": true, \"data\": false/' "
		"-e 's/\"depth\": [0-9]*, \"present\": false/"
		"\"depth\": 0, \"present\": false/'";

	scratch_must("qemu-img map --output=json -f vmdk %s > theirs.map",
		     name);
	scratch_must("%s map --output=json -f vmdk %s > ours.map", qimg, name);
	scratch_must("%s ours.map theirs.map && diff ours.map theirs.map",
		     alike);
}

/*
 * Data that compresses and data that does not, grains that are full, partly so
 * and empty, and an end within a grain.
 */
static uint8_t *make_source(uint64_t size)
{
	static const struct {
		uint32_t at, bytes;
		bool noise;
	} runs[] = {
		{0, 300 * KIB, false},
		{700 * KIB, 200 * KIB, true},
		{2 * MIB + SECTOR, SECTOR, false},
		{3 * MIB, 64 * KIB, true},
	};
	uint8_t *data = calloc(1, size);
	FILE *file = fopen("src.raw", "wb");

	assert_true(data && file);
	srand(7);
	for (size_t i = 0; i < ARRAY_SIZE(runs); i++)
		for (uint32_t at = 0; at < runs[i].bytes; at++)
			if (runs[i].at + at < size)
				data[runs[i].at + at] =
					(uint8_t)(runs[i].noise
							  ? (size_t)rand()
							  : 1 + i +
								    at / SECTOR %
									    7);
	for (uint64_t at = size - 40 * KIB; at < size; at++)
		data[at] = 0x77;
	assert_int_equal(fwrite(data, 1, size, file), size);
	fclose(file);
	return data;
}

static void every_subformat_is_read_as_qemu_reads_it(void **state)
{
	static const char *const sets[] = {
		"subformat=monolithicSparse",
		"subformat=monolithicFlat",
		"subformat=twoGbMaxExtentSparse",
		"subformat=twoGbMaxExtentFlat",
		"subformat=streamOptimized",
		"subformat=monolithicSparse,zeroed_grain=on",
		"subformat=monolithicSparse,compat6=on,adapter_type=lsilogic",
	};
	const uint64_t size = 5000 * KIB;
	uint8_t *model = make_source(size);

	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		scratch_must("rm -f t.vmdk t-* && "
			     "qemu-img convert -O vmdk -o %s src.raw t.vmdk",
			     sets[i]);
		reads_as("t.vmdk", model, size);
		maps_as_theirs("t.vmdk");
	}
	free(model);
}

static void zeroed_grains_are_zeroes_above_a_parent(void **state)
{
	uint8_t *model = calloc(1, 4 * MIB);

	scratch_must("rm -f *.vmdk && qemu-img create -q -f vmdk base.vmdk 4M "
		     "&& qemu-io -f vmdk -c 'write -P 1 0 4M' base.vmdk && "
		     "qemu-img create -q -f vmdk -o zeroed_grain=on "
		     "-b base.vmdk -F vmdk t.vmdk && "
		     "qemu-io -f vmdk -c 'write -z 1M 128k' "
		     "-c 'write -P 2 2M 100k' t.vmdk");
	memset(model, 1, 4 * MIB);
	memset(model + MIB, 0, 128 * KIB);
	memset(model + 2 * MIB, 2, 100 * KIB);
	reads_as("t.vmdk", model, 4 * MIB);
	theirs_reads_as("t.vmdk", model, 4 * MIB);
	maps_as_theirs("t.vmdk");
	free(model);
}

static void a_delta_link_needs_the_parent_that_it_was_made_for(void **state)
{
	uint8_t *model = calloc(1, 4 * MIB);

	scratch_must("rm -f *.vmdk && qemu-img create -q -f vmdk "
		     "-o subformat=twoGbMaxExtentSparse base.vmdk 4M && "
		     "qemu-io -f vmdk -c 'write -P 1 0 1M' base.vmdk && "
		     "qemu-img create -q -f vmdk -b base.vmdk -F vmdk t.vmdk "
		     "&& qemu-io -f vmdk -c 'write -P 2 512k 1M' t.vmdk");
	memset(model, 1, 512 * KIB);
	memset(model + 512 * KIB, 2, MIB);
	reads_as("t.vmdk", model, 4 * MIB);
	maps_as_theirs("t.vmdk");
	refused("t.vmdk", NULL, -EACCES, "base.vmdk");
	scratch_must("qemu-io -f vmdk -c 'write -P 3 3M 1M' base.vmdk");
	refused("t.vmdk", here, IMAGE_E_CORRUPT, "was changed since");
	free(model);
}

static void large_disks_go_on_in_the_next_extent(void **state)
{
	const uint64_t edge = UINT64_C(2) << 30;
	static uint8_t got[256 * KIB], expected[256 * KIB];
	struct image *image;

	scratch_must("rm -f *.vmdk && qemu-img create -q -f vmdk "
		     "-o subformat=twoGbMaxExtentSparse t.vmdk 5G && "
		     "qemu-io -f vmdk -c 'write -P 5 2047M 2M' "
		     "-c 'write -P 6 4095M 2M' t.vmdk");
	image = must_open("t.vmdk", "probe");
	memset(expected, 5, sizeof(expected));
	assert_int_equal(
		sync_io_read(image, edge - sizeof(got) / 2, got, sizeof(got)),
		0);
	assert_memory_equal(got, expected, sizeof(got));
	memset(expected, 6, sizeof(expected));
	assert_int_equal(sync_io_read(image, 2 * edge - sizeof(got) / 2, got,
				      sizeof(got)),
			 0);
	assert_memory_equal(got, expected, sizeof(got));
	image_close(image);
	maps_as_theirs("t.vmdk");
}

static void streams_with_a_footer_are_read_at_any_place(void **state)
{
	/* More than one table, and whole grains at the end or not. */
	static const uint64_t sizes[] = {4 * MIB, 33 * MIB,
					 5000 * KIB + SECTOR};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint8_t *model = make_source(sizes[i]);

		vmdk_build_stream("t.vmdk", model, sizes[i]);
		reads_as("t.vmdk", model, sizes[i]);
		theirs_reads_as("t.vmdk", model, sizes[i]);
		maps_as_theirs("t.vmdk");
		free(model);
	}
}

static void cowd_extents_are_read(void **state)
{
	uint64_t size = 5000 * KIB;
	uint8_t *model = make_source(size);

	vmdk_build_cowd("t-delta.vmdk", model, size);
	/* QEMU wants a descriptor. */
	reads_as("t-delta.vmdk", model, size);
	vmdk_build_descriptor("t.vmdk", "vmfsSparse", "ffffffff",
			      "RW 10000 VMFSSPARSE \"t-delta.vmdk\"");
	reads_as("t.vmdk", model, size);
	theirs_reads_as("t.vmdk", model, size);
	maps_as_theirs("t.vmdk");
	free(model);
}

static void sesparse_extents_are_read(void **state)
{
	/* Three tables of 16 MiB; the numbers of grains pass 4096. */
	uint64_t size = 40 * MIB + 3 * SECTOR;
	uint8_t *model = make_source(size);

	memset(model + 20 * MIB, 0x33, 19 * MIB);
	model[8 * MIB] = 0xee;
	model[9 * MIB] = 0xdd;
	vmdk_build_se("t-sesparse.vmdk", model, size);
	model[8 * MIB] = model[9 * MIB] = 0;
	vmdk_build_descriptor("t.vmdk", "seSparse", "ffffffff",
			      "RW 81923 SESPARSE \"t-sesparse.vmdk\"");
	reads_as("t.vmdk", model, size);
	theirs_reads_as("t.vmdk", model, size);
	maps_as_theirs("t.vmdk");
	free(model);
}

static void flat_extents_begin_where_they_say(void **state)
{
	uint64_t size = 3 * MIB;
	uint8_t *model = make_source(size);

	vmdk_build_descriptor("t.vmdk", "vmfs", "ffffffff",
			      "RW 6144 VMFS \"src.raw\"");
	reads_as("t.vmdk", model, size);
	maps_as_theirs("t.vmdk");
	/* One file, in other order. */
	vmdk_build_descriptor("t.vmdk", "monolithicFlat", "ffffffff",
			      "RW 100 FLAT \"src.raw\" 1400\n"
			      "RW 200 FLAT \"src.raw\" 7\n");
	memmove(model + 150 * KIB, model + 7 * SECTOR, 100 * KIB);
	memcpy(model, model + 700 * KIB, 50 * KIB);
	memmove(model + 50 * KIB, model + 150 * KIB, 100 * KIB);
	reads_as("t.vmdk", model, 150 * KIB);
	theirs_reads_as("t.vmdk", model, 150 * KIB);
	free(model);
}

/* QEMU leaves such extents out, and takes the disk for a smaller one. */
static void zero_extents_are_zeroes(void **state)
{
	uint64_t size = 3 * MIB;
	uint8_t *model = make_source(size);

	vmdk_build_descriptor("t.vmdk", "custom", "ffffffff",
			      "RW 100 FLAT \"src.raw\" 0\nRW 200 ZERO\n"
			      "RDONLY 100 FLAT \"src.raw\" 100\n");
	memmove(model + 150 * KIB, model + 50 * KIB, 50 * KIB);
	memset(model + 50 * KIB, 0, 100 * KIB);
	reads_as("t.vmdk", model, 200 * KIB);
	free(model);
}

/* More than any fixed table of files would have. */
static void a_disk_may_have_hundreds_of_extents(void **state)
{
	enum {
		EXTENTS = 300,
	};
	static char lines[EXTENTS * 40];
	uint8_t *model = make_source(EXTENTS * 4 * KIB);
	size_t used = 0;

	for (int i = 0; i < EXTENTS; i++)
		used += (size_t)sprintf(lines + used,
					"RW 8 FLAT \"e-%d.raw\" 0\n", i);
	scratch_must("split -a 3 -d -b 4096 src.raw e- && for i in "
		     "$(seq 0 299); do mv e-$(printf %%03d $i) e-$i.raw; done");
	vmdk_build_descriptor("t.vmdk", "twoGbMaxExtentFlat", "ffffffff",
			      lines);
	reads_as("t.vmdk", model, EXTENTS * 4 * KIB);
	free(model);
}

static void what_an_image_names_is_opened_by_the_policy(void **state)
{
	static const char *const other[] = {"t.vmdk", NULL};

	free(make_source(MIB));
	vmdk_build_descriptor("t.vmdk", "monolithicFlat", "ffffffff",
			      "RW 2048 FLAT \"src.raw\" 0");
	refused("t.vmdk", NULL, -EACCES, "src.raw would allow it");
	refused("t.vmdk", other, -EACCES, "src.raw would allow it");
	vmdk_build_descriptor("t.vmdk", "monolithicFlat", "ffffffff",
			      "RW 2048 FLAT \"/etc/hostname\" 0");
	refused("t.vmdk", here, -EACCES, "/etc/hostname");
	vmdk_build_descriptor("t.vmdk", "monolithicFlat", "ffffffff",
			      "RW 2048 FLAT \"nbd://host/x\" 0");
	refused("t.vmdk", here, -EACCES, "not a plain path");
	vmdk_build_descriptor("t.vmdk", "monolithicFlat", "ffffffff",
			      "RW 2048 FLAT \"away.raw\" 0");
	refused("t.vmdk", here, -ENOENT, "away.raw");
	vmdk_build_descriptor("t.vmdk", "monolithicFlat", "ffffffff",
			      "RW 1 FLAT \"t.vmdk\" 0");
	refused("t.vmdk", here, -ELOOP, "in which an image of the chain lies");
}

static void what_cannot_be_read_is_refused_by_name(void **state)
{
	free(make_source(MIB));
	vmdk_build_descriptor("t.vmdk", "monolithicFlat", "ffffffff",
			      "RW 2049 FLAT \"src.raw\" 0");
	refused("t.vmdk", here, IMAGE_E_CORRUPT, "1048576 bytes");
	vmdk_build_descriptor("t.vmdk", "twoGbMaxExtentSparse", "ffffffff",
			      "RW 8 SPARSE \"src.raw\"");
	refused("t.vmdk", here, IMAGE_E_CORRUPT, "src.raw: vmdk: it does not");
	vmdk_build_descriptor("t.vmdk", "custom", "ffffffff",
			      "RW 8 FLAT \"src.raw\" 0\n"
			      "RW 8 SPARSE \"src.raw\"");
	refused("t.vmdk", here, IMAGE_E_CORRUPT, "another extent's");
	vmdk_build_descriptor("t.vmdk", "custom", "ffffffff",
			      "RW 8 VMFSRDM \"/dev/sda\"");
	refused("t.vmdk", here, IMAGE_E_UNSUPPORTED, "device \"/dev/sda\"");
	vmdk_build_descriptor("t.vmdk", "fullDevice", "ffffffff",
			      "RW 8 FLAT \"/dev/sda\" 0");
	refused("t.vmdk", here, IMAGE_E_UNSUPPORTED, "\"fullDevice\"");
	vmdk_build_descriptor("t.vmdk", "vmfsSparse", "ffffffff",
			      "RW 8 SPARSE");
	refused("t.vmdk", here, IMAGE_E_CORRUPT, "line ");
	scratch_must("qemu-img create -q -f vmdk u.vmdk 1M && "
		     "truncate -s 60000 u.vmdk");
	refused("u.vmdk", here, IMAGE_E_CORRUPT, "cut off");
}

static void info_says_the_same(const char *name)
{
	scratch_must("qemu-img info %s > theirs.info && "
		     "qemu-img info --output=json %s >> theirs.info && "
		     "%s info %s > ours.info && "
		     "%s info --output=json %s >> ours.info && "
		     "diff ours.info theirs.info",
		     name, name, qimg, name, qimg, name);
}

static void info_is_what_qemu_says(void **state)
{
	free(make_source(MIB));
	scratch_must("rm -f *.vmdk && mkdir -p sub && for s in "
		     "monolithicSparse monolithicFlat twoGbMaxExtentSparse "
		     "twoGbMaxExtentFlat streamOptimized; do "
		     "qemu-img convert -O vmdk -o subformat=$s src.raw "
		     "sub/$s.vmdk || exit 1; done && "
		     "cp sub/monolithicSparse.vmdk base.vmdk && "
		     "qemu-img create -q -f vmdk -b base.vmdk -F vmdk d.vmdk");
	info_says_the_same("sub/monolithicSparse.vmdk");
	info_says_the_same("sub/monolithicFlat.vmdk");
	info_says_the_same("sub/twoGbMaxExtentSparse.vmdk");
	info_says_the_same("sub/twoGbMaxExtentFlat.vmdk");
	info_says_the_same("sub/streamOptimized.vmdk");
	info_says_the_same("d.vmdk");
}

/* Ours writes, directly and by its executor; QEMU reads and writes on. */
static void flat_disks_are_written_in_turns(void **state)
{
	static const char *const kinds[] = {"monolithicFlat",
					    "twoGbMaxExtentFlat"};
	const uint64_t size = 5000 * KIB;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const struct image_open_request request = {
			.path = "t.vmdk",
			.format = "vmdk",
			.allowed = here,
		};
		uint8_t *model = make_source(size);
		struct image *image = NULL;

		scratch_must("rm -f *.vmdk && qemu-img create -q -f vmdk -o "
			     "subformat=%s t.vmdk %llu && "
			     "qemu-img create -q -f vmdk -b t.vmdk -F vmdk "
			     "d.vmdk && %s convert -n -O vmdk src.raw t.vmdk",
			     kinds[i], (unsigned long long)size, qimg);
		refused("d.vmdk", here, IMAGE_E_CORRUPT, "was changed since");
		theirs_reads_as("t.vmdk", model, size);
		assert_int_equal(image_open(&request, &image, NULL, NULL), 0);
		memset(model + 100 * KIB, 9, MIB);
		memset(model + MIB, 0, 7 * SECTOR);
		assert_int_equal(
			sync_io_write(image, 100 * KIB, model + 100 * KIB, MIB),
			0);
		assert_int_equal(sync_io_zero(image, MIB, 7 * SECTOR), 0);
		assert_int_equal(image_close(image), 0);
		theirs_reads_as("t.vmdk", model, size);
		scratch_must("qemu-io -f vmdk -c 'write -P 4 3M 5k' t.vmdk");
		memset(model + 3 * MIB, 4, 5 * KIB);
		reads_as("t.vmdk", model, size);
		free(model);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_subformat_is_read_as_qemu_reads_it),
		cmocka_unit_test(zeroed_grains_are_zeroes_above_a_parent),
		cmocka_unit_test(
			a_delta_link_needs_the_parent_that_it_was_made_for),
		cmocka_unit_test(large_disks_go_on_in_the_next_extent),
		cmocka_unit_test(streams_with_a_footer_are_read_at_any_place),
		cmocka_unit_test(cowd_extents_are_read),
		cmocka_unit_test(sesparse_extents_are_read),
		cmocka_unit_test(flat_extents_begin_where_they_say),
		cmocka_unit_test(zero_extents_are_zeroes),
		cmocka_unit_test(a_disk_may_have_hundreds_of_extents),
		cmocka_unit_test(info_is_what_qemu_says),
		cmocka_unit_test(flat_disks_are_written_in_turns),
		cmocka_unit_test(what_an_image_names_is_opened_by_the_policy),
		cmocka_unit_test(what_cannot_be_read_is_refused_by_name),
	};
	char path[4096];
	int failed;

	if (argc < 2 || !realpath(argv[1], path)) {
		fprintf(stderr, "usage: %s QIMG\n", argv[0]);
		return 1;
	}
	qimg = path;
	scratch_prefer_memory();
	scratch_enter("qemu-img");
	image_register_format(&vmdk_format);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	scratch_leave();
	return failed;
}
