/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole images that were made to do harm, each opened by name as a program
 * does. What was once a hole in some other program has its number as its name;
 * those of single header fields are in qcow2/test-header.c, too.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "image/manage.h"
#include "image/open.h"
#include "image/sync-io.h"
#include "qcow2/create.h"
#include "qcow2/format.h"
#include "qcow2/qcow2.h"
#include "tests/cmocka.h"
#include "tests/images/scratch.h"

enum {
	CLUSTER = 4096,
	SIZE = 1 << 20,
};

#define AT(field)  offsetof(struct qcow2_wire_header, field)
#define COPIED	   (UINT64_C(1) << 63)
#define COMPRESSED (UINT64_C(1) << 62)
#define FAR_AWAY   (UINT64_C(1) << 50)
#define NAME	   "hostile.qcow2"

/* --- Images ---------------------------------------------------------------- */

static void make_with(const char *backing, const char *format)
{
	const struct qcow2_create_options options = {
		.size_bytes = SIZE,
		.cluster_bytes = CLUSTER,
		.backing_name = backing,
		.backing_format = format,
	};
	struct store *store;
	char *error = NULL;

	unlink(NAME);
	assert_int_equal(store_create_file(NAME, true, &store, &error), 0);
	assert_int_equal(qcow2_create(store, &options, &error), 0);
	store_free(store);
}

static int open_it(const char *format, bool read_only, struct image **ret,
		   char **ret_error)
{
	static const char *const allowed[] = {"allowed", NULL};
	const struct image_open_request request = {
		.path = NAME,
		.format = format,
		.read_only = read_only,
		.allowed = allowed,
	};

	*ret_error = NULL;
	return image_open(&request, ret, ret_error, NULL);
}

static struct image *must_open(bool read_only)
{
	struct image *image;
	char *error;
	int err = open_it("qcow2", read_only, &image, &error);

	if (err)
		fail_msg("%d: %s", err, error ? error : "");
	return image;
}

/* An image with data in its first cluster, and one snapshot of it. */
static void make(void)
{
	uint8_t data[CLUSTER];
	struct image *image;

	make_with(NULL, NULL);
	image = must_open(false);
	memset(data, 7, sizeof(data));
	assert_int_equal(sync_io_write(image, 0, data, sizeof(data)), 0);
	assert_int_equal(image_snapshot_create(image, "one"), 0);
	assert_int_equal(sync_io_write(image, 0, data, sizeof(data)), 0);
	assert_int_equal(image_close(image), 0);
}

static void put(uint64_t at, const void *data, size_t length)
{
	int fd = open(NAME, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, data, length, at), length);
	close(fd);
}

static void put_number(uint64_t at, unsigned bytes, uint64_t value)
{
	uint8_t wire[8];

	put_be64(wire, value << (64 - 8 * bytes));
	put(at, wire, bytes);
}

static uint64_t get(uint64_t at)
{
	uint8_t wire[8];
	int fd = open(NAME, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, wire, sizeof(wire), at), sizeof(wire));
	close(fd);
	return get_be64(wire);
}

static uint64_t l2_table(void)
{
	return get(get(AT(l1_table_offset))) & QCOW2_OFFSET_MASK;
}

static void expect_refused(const char *words)
{
	struct image *image;
	char *error;
	int err = open_it("qcow2", true, &image, &error);

	if (err == 0)
		fail_msg("opened");
	if (!error || !strstr(error, words))
		fail_msg("%d: \"%s\", not \"%s\"", err, error ? error : "",
			 words);
	free(error);
}

/* --- What a header claims ---------------------------------------------------- */

struct claim {
	const char *name;
	uint64_t at;
	unsigned bytes;
	uint64_t value;
	const char *words; /* of the refusal */
};

static const struct claim claims[] = {
	{"cve_2014_0143_an_l1_table_of_4_gi_entries", AT(l1_size), 4,
	 UINT32_MAX, "L1"},
	{"cve_2014_0143_an_l1_table_of_32_mib_and_an_entry", AT(l1_size), 4,
	 QCOW2_MAX_L1_BYTES / 8 + 1, "L1"},
	{"cve_2014_0144_a_refcount_table_of_4_gi_clusters",
	 AT(refcount_table_clusters), 4, UINT32_MAX, "refcount table"},
	{"cve_2014_0144_a_refcount_table_of_8_mib_and_a_cluster",
	 AT(refcount_table_clusters), 4, QCOW2_MAX_REFTABLE_BYTES / CLUSTER + 1,
	 "refcount table"},
	{"cve_2014_0144_clusters_of_256_bytes", AT(cluster_bits), 4, 8,
	 "cluster"},
	{"cve_2014_0144_clusters_of_4_mib", AT(cluster_bits), 4, 22, "cluster"},
	{"cve_2014_0144_clusters_of_2_to_the_64", AT(cluster_bits), 4, 64,
	 "cluster"},
	{"cve_2014_0145_65537_snapshots", AT(nb_snapshots), 4,
	 QCOW2_MAX_SNAPSHOTS + 1, "snapshot"},
	{"cve_2014_0145_4_gi_snapshots", AT(nb_snapshots), 4, UINT32_MAX,
	 "snapshot"},
	{"cve_2014_0146_a_backing_name_of_1024_bytes", AT(backing_file_offset),
	 12, 1024, "backing"},
	{"cve_2014_0147_an_l1_table_that_is_not_aligned", AT(l1_table_offset),
	 8, CLUSTER + 512, "L1"},
	{"cve_2014_0147_an_l1_table_outside", AT(l1_table_offset), 8, FAR_AWAY,
	 "L1"},
	{"cve_2014_0147_an_l1_table_that_wraps", AT(l1_table_offset), 8,
	 UINT64_MAX - CLUSTER + 1, "L1"},
	{"cve_2014_0147_a_refcount_table_that_wraps", AT(refcount_table_offset),
	 8, UINT64_MAX - CLUSTER + 1, "refcount table"},
	{"cve_2014_0147_a_snapshot_table_that_wraps", AT(snapshots_offset), 8,
	 UINT64_MAX - CLUSTER + 1, "snapshot"},
	{"refcounts_of_128_bits", AT(refcount_order), 4, 7, "refcount"},
	{"a_header_of_4_gib", AT(header_length), 4, UINT32_MAX, "header"},
	{"an_unknown_incompatible_bit_is_named", AT(incompatible_features), 8,
	 UINT64_C(1) << 37, "feature: 2000000000"},
};

static void is_refused(void **state)
{
	const struct claim *claim = *state;

	make();
	if (claim->bytes == 12) {
		put_number(claim->at, 8, 512);
		put_number(claim->at + 8, 4, claim->value);
	} else {
		put_number(claim->at, claim->bytes, claim->value);
	}
	expect_refused(claim->words);
}

/* The limits themselves are kept: all that is claimed lies in a hole. */
static const struct claim limits[] = {
	{"an_l1_table_of_exactly_32_mib", AT(l1_table_offset), 8, 0, ""},
	{"a_refcount_table_of_exactly_8_mib", AT(refcount_table_offset), 12,
	 QCOW2_MAX_REFTABLE_BYTES / CLUSTER, ""},
	{"exactly_65536_snapshots", AT(nb_snapshots), 12, QCOW2_MAX_SNAPSHOTS,
	 ""},
};

static void is_not_refused(void **state)
{
	const uint64_t hole = UINT64_C(64) << 20;
	const struct claim *limit = *state;

	make();
	assert_int_equal(truncate(NAME, 2 * hole), 0);
	if (limit->at == AT(nb_snapshots)) {
		put_number(limit->at, 4, limit->value);
		put_number(AT(snapshots_offset), 8, hole);
	} else {
		put_number(limit->at, 8, hole);
	}
	if (limit->at == AT(l1_table_offset))
		put_number(AT(l1_size), 4, QCOW2_MAX_L1_BYTES / 8);
	if (limit->at == AT(refcount_table_offset))
		put_number(AT(refcount_table_clusters), 4, limit->value);
	image_close(must_open(true));
}

/* In a new image the table of feature names is the first extension. */
static void name_bitmaps(uint32_t count, uint64_t directory_bytes)
{
	uint8_t extension[40] = {0};

	make_with(NULL, NULL);
	assert_int_equal(truncate(NAME, 256 << 20), 0);
	put_be32(extension, QCOW2_EXT_BITMAPS);
	put_be32(extension + 4, 24);
	put_be32(extension + 8, count);
	put_be64(extension + 16, directory_bytes);
	put_be64(extension + 24, 64 << 20);
	put(get(AT(refcount_order)) & UINT32_MAX, extension, sizeof(extension));
	put_number(AT(autoclear_features), 8, QCOW2_AUTOCLEAR_BITMAPS);
}

static void bitmaps_over_65535_are_refused(void **state)
{
	name_bitmaps(QCOW2_MAX_BITMAPS, 24 * QCOW2_MAX_BITMAPS);
	image_close(must_open(true));
	name_bitmaps(QCOW2_MAX_BITMAPS + 1, 24 * QCOW2_MAX_BITMAPS);
	expect_refused("65536 bitmaps");
	name_bitmaps(UINT32_MAX, 24 * QCOW2_MAX_BITMAPS);
	expect_refused("bitmaps");
	name_bitmaps(QCOW2_MAX_BITMAPS, QCOW2_MAX_BITMAP_DIRECTORY_BYTES);
	image_close(must_open(true));
	name_bitmaps(QCOW2_MAX_BITMAPS, QCOW2_MAX_BITMAP_DIRECTORY_BYTES + 1);
	expect_refused("bitmap directory");
}

/* It is looked for as any other, and there is none. */
static void a_backing_name_of_1023_bytes_is_a_name(void **state)
{
	char name[QCOW2_MAX_BACKING_NAME + 1];
	struct image *image;
	char *error;

	for (size_t i = 0; i < QCOW2_MAX_BACKING_NAME; i++)
		name[i] = i % 2 ? '/' : 'x';
	name[QCOW2_MAX_BACKING_NAME] = '\0';
	make_with(name, "raw");
	assert_int_equal(open_it("qcow2", true, &image, &error), -ENOENT);
	free(error);
}

/* --- What tables claim ------------------------------------------------------- */

/* Neither read nor written; the file stays as it is, but is marked corrupt. */
static void expect_no_way(const char *what)
{
	uint8_t data[CLUSTER] = {0};
	struct image *image;
	size_t before_bytes, after_bytes;
	uint8_t *before = scratch_read(NAME, &before_bytes), *after;

	image = must_open(true);
	if (sync_io_read(image, 0, data, sizeof(data)) == 0)
		fail_msg("%s: read", what);
	image_close(image);
	image = must_open(false);
	if (sync_io_write(image, 512, data, 512) == 0)
		fail_msg("%s: written", what);
	image_close(image);
	after = scratch_read(NAME, &after_bytes);
	assert_true(after_bytes >= before_bytes);
	before[offsetof(struct qcow2_wire_header, incompatible_features) + 7] |=
		QCOW2_INCOMPAT_CORRUPT;
	assert_memory_equal(before, after, before_bytes);
	free(before);
	free(after);
}

static void cve_2014_0147_l2_tables_where_none_can_be(void **state)
{
	static const uint64_t places[] = {
		512,
		CLUSTER + 512,
		FAR_AWAY,
		QCOW2_OFFSET_MASK - 8 * CLUSTER + 512,
	};

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		make();
		put_number(get(AT(l1_table_offset)), 8, places[i] | COPIED);
		expect_no_way("L2 table");
	}
}

static void cve_2014_0147_data_where_none_can_be(void **state)
{
	static const uint64_t places[] = {
		512,
		CLUSTER + 1024,
		FAR_AWAY,
		QCOW2_OFFSET_MASK - 8 * CLUSTER + 512,
	};

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		make();
		put_number(l2_table(), 8, places[i] | COPIED);
		expect_no_way("data");
	}
}

/* The guest must not get at the tables, whoever says that they are its data. */
static void a_guest_cannot_write_into_tables(void **state)
{
	static const size_t fields[] = {AT(l1_table_offset),
					AT(refcount_table_offset)};
	uint8_t data[CLUSTER] = {0};

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		struct image *image;
		uint64_t table, first;

		make();
		table = get(fields[i]);
		first = get(table);
		put_number(l2_table(), 8, table | COPIED);
		image = must_open(false);
		assert_int_not_equal(sync_io_write(image, 0, data, CLUSTER), 0);
		image_close(image);
		assert_int_equal(get(table), first);
	}
}

static void cve_2026_2243_compressed_sizes_past_all_ends(void **state)
{
	/* Cluster bits less 8: the sectors' bits. */
	const unsigned shift = 62 - (12 - 8);
	static const uint64_t offsets[] = {
		0, 1, 511, CLUSTER, FAR_AWAY, (UINT64_C(1) << 58) - 1};
	uint8_t data[CLUSTER];

	for (size_t i = 0; i < ARRAY_SIZE(offsets); i++)
		for (uint64_t sectors = 0; sectors < 16; sectors += 5) {
			struct image *image;

			make();
			put_number(l2_table(), 8,
				   COMPRESSED | sectors << shift | offsets[i]);
			image = must_open(true);
			assert_int_not_equal(
				sync_io_read(image, 0, data, CLUSTER), 0);
			assert_int_equal(
				sync_io_read(image, CLUSTER, data, CLUSTER), 0);
			image_close(image);
		}
}

/* Its place, its L1 table's place and size, lengths of what follows. */
static void cve_2014_0145_snapshots_that_cannot_be(void **state)
{
	static const struct claim lies[] = {
		{"L1 table outside", 0, 8, FAR_AWAY, ""},
		{"L1 table not aligned", 0, 8, 513, ""},
		{"L1 table wraps", 0, 8, UINT64_MAX - CLUSTER + 1, ""},
		{"L1 table of 4 Gi entries", 8, 4, UINT32_MAX, ""},
		{"extra data of 4 GiB", 36, 4, UINT32_MAX, ""},
		{"extra data of 1025 bytes", 36, 4, 1025, ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		struct image *image = NULL;
		char *error;
		int err;

		make();
		put_number(get(AT(snapshots_offset)) + lies[i].at,
			   lies[i].bytes, lies[i].value);
		err = open_it("qcow2", false, &image, &error);
		if (err == 0) {
			err = image_snapshot_apply(image, "one");
			image_close(image);
		}
		if (err == 0)
			fail_msg("%s: applied", lies[i].name);
		free(error);
	}
}

/* --- What images name -------------------------------------------------------- */

static void expect_denied(const char *backing, const char *format)
{
	struct image *image;
	char *error;
	int err;

	make_with(backing, format);
	err = open_it("qcow2", true, &image, &error);
	if (err != -EACCES)
		fail_msg("%s: %d: %s", backing, err, error ? error : "");
	assert_non_null(strstr(error, backing));
	free(error);
}

static void cve_2015_5163_backing_files_of_the_host(void **state)
{
	expect_denied("/etc/passwd", "raw");
	expect_denied("secret", "raw");
	expect_denied("allowed/../secret", "raw");
	expect_denied("allowed/link", "raw");
	expect_denied("/proc/self/environ", "raw");
	expect_denied("/dev/zero", "raw");
}

static void cve_2024_4467_json_and_protocols_in_names(void **state)
{
	expect_denied("json:{\"driver\":\"file\",\"filename\":\"secret\"}",
		      "raw");
	expect_denied("json:{}", "qcow2");
	expect_denied("nbd://localhost/disk", "raw");
	expect_denied("nbd:unix:/run/socket", "raw");
	expect_denied("ssh://root@localhost/etc/shadow", "raw");
	expect_denied("https://localhost/", "raw");
	expect_denied("file:allowed/base", "raw");
	expect_denied("fat:rw:/etc", "raw");
	expect_denied("blkdebug::secret", "raw");
	expect_denied("host_device:/dev/sda", "raw");
}

/* In a new image the table of feature names is the first extension. */
static void name_data_file(const char *name)
{
	uint8_t extension[512] = {0};
	size_t length = strlen(name);

	make_with(NULL, NULL);
	put_be32(extension, 0x44415441);
	put_be32(extension + 4, length);
	memcpy(extension + 8, name, length);
	put(get(AT(refcount_order)) & UINT32_MAX, extension, sizeof(extension));
	put_number(AT(incompatible_features), 8, 1 << 2);
}

static void cve_2024_32498_data_files_of_the_host(void **state)
{
	static const char *const names[] = {
		"/etc/passwd",
		"secret",
		"allowed/../secret",
		"allowed/link",
		"json:{\"driver\":\"file\",\"filename\":\"secret\"}",
		"nbd://localhost/disk",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		name_data_file(names[i]);
		expect_refused(names[i]);
	}
}

/* What a guest wrote at its disk's beginning says nothing about the disk. */
static void cve_2026_24708_a_raw_disk_that_looks_like_an_image(void **state)
{
	struct image *image;
	uint8_t head[4];
	char *error;

	make_with("secret", "raw");
	assert_int_equal(open_it(NULL, true, &image, &error), 0);
	assert_string_equal(image->format->name, "raw");
	assert_int_equal(sync_io_read(image, 0, head, sizeof(head)), 0);
	assert_int_equal(get_be32(head), 0x514649fb);
	image_close(image);
}

static void cve_2022_47951_a_backing_file_whose_format_is_not_told(void **state)
{
	struct image *image;
	char *error;

	make_with("allowed/base", NULL);
	assert_int_equal(open_it("qcow2", true, &image, &error), -EINVAL);
	free(error);
	/* Told, and allowed: this one is no attack. */
	make_with("allowed/base", "raw");
	assert_int_equal(open_it("qcow2", true, &image, &error), 0);
	image_close(image);
}

static int set_up(void **state)
{
	assert_int_equal(mkdir("allowed", 0700), 0);
	assert_int_equal(
		scratch_run("echo secret >secret; echo base >allowed/base; "
			    "ln -s ../secret allowed/link"),
		0);
	return 0;
}

int main(void)
{
	const struct CMUnitTest whole[] = {
		cmocka_unit_test(bitmaps_over_65535_are_refused),
		cmocka_unit_test(a_backing_name_of_1023_bytes_is_a_name),
		cmocka_unit_test(cve_2014_0145_snapshots_that_cannot_be),
		cmocka_unit_test(cve_2014_0147_l2_tables_where_none_can_be),
		cmocka_unit_test(cve_2014_0147_data_where_none_can_be),
		cmocka_unit_test(a_guest_cannot_write_into_tables),
		cmocka_unit_test(cve_2026_2243_compressed_sizes_past_all_ends),
		cmocka_unit_test(cve_2015_5163_backing_files_of_the_host),
		cmocka_unit_test(cve_2024_4467_json_and_protocols_in_names),
		cmocka_unit_test(cve_2024_32498_data_files_of_the_host),
		cmocka_unit_test(
			cve_2026_24708_a_raw_disk_that_looks_like_an_image),
		cmocka_unit_test(
			cve_2022_47951_a_backing_file_whose_format_is_not_told),
	};
	struct CMUnitTest tests[ARRAY_SIZE(whole) + ARRAY_SIZE(claims) +
				ARRAY_SIZE(limits)];
	int failed;

	memcpy(tests, whole, sizeof(whole));
	for (size_t i = 0; i < ARRAY_SIZE(claims); i++)
		tests[ARRAY_SIZE(whole) + i] = (struct CMUnitTest){
			.name = claims[i].name,
			.test_func = is_refused,
			.initial_state = (void *)&claims[i],
		};
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++)
		tests[ARRAY_SIZE(whole) + ARRAY_SIZE(claims) + i] =
			(struct CMUnitTest){
				.name = limits[i].name,
				.test_func = is_not_refused,
				.initial_state = (void *)&limits[i],
			};
	scratch_enter("sh");
	image_register_format(&qcow2_format);
	failed = cmocka_run_group_tests_name("hostile", tests, set_up, NULL);
	scratch_leave();
	return failed;
}
