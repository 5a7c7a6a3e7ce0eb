/* SPDX-License-Identifier: Apache-2.0 */
/* What an image's header may claim, and what is refused, with which words. */
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "image/image.h"
#include "qcow2/create.h"
#include "qcow2/header.h"
#include "tests/cmocka.h"

#define AT(field) offsetof(struct qcow2_wire_header, field)

/* A sound image of 64 MiB with 4 KiB clusters. */
static struct store *sound_image(unsigned version)
{
	const struct qcow2_create_options options = {
		.size_bytes = 64 << 20,
		.cluster_bytes = 4096,
		.version = version,
		.backing_name = "base.raw",
		.backing_format = "raw",
	};
	struct store *store;
	char *error = NULL;

	assert_int_equal(store_new_memory(0, &store), 0);
	assert_int_equal(qcow2_create(store, &options, &error), 0);
	return store;
}

static int read_header(struct store *store, bool writable,
		       struct qcow2_header *ret_header, char **ret_error)
{
	*ret_error = NULL;
	return qcow2_header_read(
		store, writable ? QCOW2_HEADER_WRITE : QCOW2_HEADER_READ,
		ret_header, ret_error);
}

/* Reading fails with @outcome, and the message has @words in it. */
static void expect_refusal(struct store *store, bool writable, int outcome,
			   const char *words)
{
	struct qcow2_header header;
	char *error;
	int err = read_header(store, writable, &header, &error);

	if (err != outcome || !error || !strstr(error, words))
		fail_msg("got %d \"%s\", expected %d \"%s\"", err,
			 error ? error : "", outcome, words);
	free(error);
	store_free(store);
}

static void expect_refused_32(size_t at, uint32_t value, const char *words)
{
	struct store *store = sound_image(3);

	put_be32((uint8_t *)store_memory_data(store) + at, value);
	expect_refusal(store, true, IMAGE_E_CORRUPT, words);
}

static void expect_refused_64(size_t at, uint64_t value, const char *words)
{
	struct store *store = sound_image(3);

	put_be64((uint8_t *)store_memory_data(store) + at, value);
	expect_refusal(store, true, IMAGE_E_CORRUPT, words);
}

static void a_sound_header_is_taken_apart(void **state)
{
	for (unsigned version = 2; version <= 3; version++) {
		struct store *store = sound_image(version);
		struct qcow2_header h;
		char *error;

		assert_int_equal(read_header(store, true, &h, &error), 0);
		assert_int_equal(h.version, version);
		assert_int_equal(h.cluster_bits, 12);
		assert_int_equal(h.refcount_order, 4);
		assert_int_equal(h.size_bytes, 64 << 20);
		assert_int_equal(h.l1_entries, 32);
		assert_string_equal(h.backing_name, "base.raw");
		assert_string_equal(h.backing_format, "raw");
		qcow2_header_deinit(&h);
		store_free(store);
	}
}

static void sizes_out_of_bounds_are_refused(void **state)
{
	expect_refused_32(AT(magic), 0, "no qcow2 image");
	expect_refused_32(AT(cluster_bits), 8, "clusters of 2^8");
	expect_refused_32(AT(cluster_bits), 22, "clusters of 2^22");
	expect_refused_32(AT(cluster_bits), 0xffffffff, "clusters of");
	expect_refused_32(AT(refcount_order), 7, "more than 64 bits");
	expect_refused_32(AT(header_length), 96, "header's length");
	expect_refused_32(AT(header_length), 108, "header's length");
	expect_refused_32(AT(header_length), 8192, "header's length");
	expect_refused_64(AT(size), UINT64_MAX, "size is too large");
}

static void l1_table_size_cve_2014_0143_is_refused(void **state)
{
	expect_refused_32(AT(l1_size), 0xffffffff, "larger than 32 MiB");
	expect_refused_32(AT(l1_size), (32 << 20) / 8 + 1,
			  "larger than 32 MiB");
	/* Within the limit and past the file's end. */
	expect_refused_32(AT(l1_size), (32 << 20) / 8, "not inside the file");
	expect_refused_32(AT(l1_size), 31, "too small");
	expect_refused_64(AT(size), INT64_MAX, "too big");
}

static void refcount_table_size_cve_2014_0144_is_refused(void **state)
{
	expect_refused_32(AT(refcount_table_clusters), 0, "no refcount table");
	expect_refused_32(AT(refcount_table_clusters), 0x80000001,
			  "larger than 8 MiB");
	expect_refused_32(AT(refcount_table_clusters), 2048,
			  "not inside the file");
}

static void snapshot_table_size_cve_2014_0145_is_refused(void **state)
{
	expect_refused_32(AT(nb_snapshots), 65537, "65536 snapshots");
	expect_refused_32(AT(nb_snapshots), 65536, "snapshot table");
}

static void backing_name_length_cve_2014_0146_is_refused(void **state)
{
	expect_refused_32(AT(backing_file_size), 1024, "at most 1023");
	expect_refused_32(AT(backing_file_size), 0xffffffff, "at most 1023");
	expect_refused_64(AT(backing_file_offset), 4095, "first cluster");
	expect_refused_64(AT(backing_file_offset), UINT64_MAX, "first cluster");
	expect_refused_64(AT(backing_file_offset), 1, "first cluster");
}

static void table_offsets_cve_2014_0147_are_refused(void **state)
{
	expect_refused_64(AT(l1_table_offset), 4097, "not aligned");
	expect_refused_64(AT(l1_table_offset), UINT64_MAX - 4095,
			  "not inside the file");
	expect_refused_64(AT(l1_table_offset), UINT64_C(1) << 40,
			  "not inside the file");
	expect_refused_64(AT(l1_table_offset), 0, "not inside the file");
	expect_refused_64(AT(l1_table_offset), 4096, "overlap");
	expect_refused_64(AT(refcount_table_offset), 4100, "not aligned");
	expect_refused_64(AT(refcount_table_offset), UINT64_C(1) << 62,
			  "not inside the file");
}

static void an_extension_longer_than_its_cluster_is_refused(void **state)
{
	/* The first extension's length. */
	expect_refused_32(sizeof(struct qcow2_wire_header) + 4, 0xffffffff,
			  "too long");
	expect_refused_32(sizeof(struct qcow2_wire_header) + 4, 100,
			  "of 100 bytes");
}

/* An extension of @length bytes in front of all others. */
static uint8_t *add_extension(struct store *store, uint32_t type,
			      uint32_t length)
{
	uint8_t *at = (uint8_t *)store_memory_data(store) +
		      sizeof(struct qcow2_wire_header);
	size_t bytes = 8 + align_up(length, 8);

	/* The backing file's name lies behind the extensions. */
	memmove(at + bytes, at, 1024);
	put_be64((uint8_t *)store_memory_data(store) + AT(backing_file_offset),
		 get_be64((uint8_t *)store_memory_data(store) +
			  AT(backing_file_offset)) +
			 bytes);
	memset(at, 0, bytes);
	put_be32(at, type);
	put_be32(at + 4, length);
	return at + 8;
}

static void expect_bitmaps_refused(uint32_t count, uint32_t reserved,
				   uint64_t bytes, uint64_t offset,
				   const char *words)
{
	struct store *store = sound_image(3);
	uint8_t *e = add_extension(store, QCOW2_EXT_BITMAPS, 24);

	put_be64((uint8_t *)store_memory_data(store) + AT(autoclear_features),
		 QCOW2_AUTOCLEAR_BITMAPS);
	put_be32(e, count);
	put_be32(e + 4, reserved);
	put_be64(e + 8, bytes);
	put_be64(e + 16, offset);
	expect_refusal(store, true, IMAGE_E_CORRUPT, words);
}

static void bitmap_directories_out_of_bounds_are_refused(void **state)
{
	expect_bitmaps_refused(0, 0, 32, 4096, "0 bitmaps");
	expect_bitmaps_refused(65536, 0, 32, 4096, "65536 bitmaps");
	expect_bitmaps_refused(1, 1, 32, 4096, "bitmaps");
	expect_bitmaps_refused(1, 0, 0, 4096, "directory has 0 bytes");
	expect_bitmaps_refused(1, 0, 1024 * 65535 + 1, 4096, "directory has");
	expect_bitmaps_refused(1, 0, UINT64_MAX, 4096, "directory has");
	expect_bitmaps_refused(1, 0, 32, 4097, "not aligned");
	expect_bitmaps_refused(1, 0, 32, UINT64_MAX - 4095, "not inside");
	expect_bitmaps_refused(1, 0, 32, UINT64_C(1) << 40, "not inside");
	expect_bitmaps_refused(1, 0, 1024 * 65535, 4096, "not inside");
}

static void names_in_extensions_out_of_bounds_are_refused(void **state)
{
	struct store *store = sound_image(3);

	memset(add_extension(store, QCOW2_EXT_DATA_FILE, 1024), 'x', 1024);
	expect_refusal(store, true, IMAGE_E_CORRUPT, "at most 1023");
	store = sound_image(3);
	memcpy(add_extension(store, QCOW2_EXT_DATA_FILE, 8), "ab\0cdefg", 8);
	expect_refusal(store, true, IMAGE_E_CORRUPT, "zero byte");
	store = sound_image(3);
	memset(add_extension(store, QCOW2_EXT_BACKING_FORMAT, 64), 'x', 64);
	expect_refusal(store, true, IMAGE_E_CORRUPT, "at most");
}

static void what_a_check_can_mend_is_let_through_to_it(void **state)
{
	struct store *store = sound_image(3);
	struct qcow2_header h;
	char *error = NULL;

	put_be64((uint8_t *)store_memory_data(store) +
			 AT(incompatible_features),
		 QCOW2_INCOMPAT_DIRTY | QCOW2_INCOMPAT_CORRUPT);
	assert_int_equal(
		qcow2_header_read(store, QCOW2_HEADER_CHECK, &h, &error), 0);
	qcow2_header_deinit(&h);
	store_free(store);
}

static void set_incompatible(struct store *store, uint64_t bits)
{
	put_be64((uint8_t *)store_memory_data(store) +
			 AT(incompatible_features),
		 bits);
}

static void unknown_features_are_refused_by_the_image_s_own_name(void **state)
{
	struct store *store = sound_image(3);
	uint8_t *data = store_memory_data(store);
	/* After the backing format's extension: the names' first entry. */
	uint8_t *entry = data + sizeof(struct qcow2_wire_header) + 16 + 8;

	set_incompatible(store, UINT64_C(1) << 40);
	entry[1] = 40;
	memcpy(entry + 2, "time\033travel\0", 12);
	expect_refusal(store, false, IMAGE_E_UNSUPPORTED, "time?travel");

	store = sound_image(3);
	set_incompatible(store, UINT64_C(1) << 63);
	expect_refusal(store, false, IMAGE_E_UNSUPPORTED,
		       "Unknown incompatible feature: 8000000000000000");
}

static void features_not_built_are_refused_by_name(void **state)
{
	static const struct {
		uint64_t bit;
		const char *words;
	} all[] = {
		{QCOW2_INCOMPAT_DATA_FILE, "external data file"},
	};
	struct store *store;

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		store = sound_image(3);
		set_incompatible(store, all[i].bit);
		expect_refusal(store, false, IMAGE_E_UNSUPPORTED, all[i].words);
	}
	store = sound_image(3);
	put_be32((uint8_t *)store_memory_data(store) + AT(crypt_method), 2);
	expect_refusal(store, false, IMAGE_E_CORRUPT, "LUKS");
	store = sound_image(3);
	put_be32((uint8_t *)store_memory_data(store) + AT(crypt_method), 3);
	expect_refusal(store, false, IMAGE_E_UNSUPPORTED, "method 3");
	store = sound_image(3);
	put_be32((uint8_t *)store_memory_data(store) + AT(version), 4);
	expect_refusal(store, false, IMAGE_E_UNSUPPORTED, "version 4");
}

static void a_corrupt_image_is_for_reading_only(void **state)
{
	struct store *store = sound_image(3);
	struct qcow2_header h;
	char *error;

	set_incompatible(store, QCOW2_INCOMPAT_CORRUPT);
	assert_int_equal(read_header(store, false, &h, &error), 0);
	qcow2_header_deinit(&h);
	expect_refusal(store, true, IMAGE_E_UNSUPPORTED, "open it read-only");
}

static void compression_type_and_its_bit_go_together(void **state)
{
	struct store *store = sound_image(3);

	set_incompatible(store, QCOW2_INCOMPAT_COMPRESSION);
	expect_refusal(store, false, IMAGE_E_CORRUPT, "disagree");
	store = sound_image(3);
	((uint8_t *)store_memory_data(store))[AT(compression_type)] = 1;
	expect_refusal(store, false, IMAGE_E_CORRUPT, "disagree");
	store = sound_image(3);
	set_incompatible(store, QCOW2_INCOMPAT_COMPRESSION);
	((uint8_t *)store_memory_data(store))[AT(compression_type)] = 9;
	expect_refusal(store, false, IMAGE_E_UNSUPPORTED, "compression type 9");
}

static void a_file_that_ends_in_the_header_is_refused(void **state)
{
	for (uint64_t size = 0; size < 4096; size += 71) {
		struct store *store = sound_image(3);
		struct qcow2_header h;
		char *error;

		assert_int_equal(store_resize(store, size), 0);
		assert_int_equal(read_header(store, true, &h, &error),
				 IMAGE_E_CORRUPT);
		free(error);
		store_free(store);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sound_header_is_taken_apart),
		cmocka_unit_test(sizes_out_of_bounds_are_refused),
		cmocka_unit_test(l1_table_size_cve_2014_0143_is_refused),
		cmocka_unit_test(refcount_table_size_cve_2014_0144_is_refused),
		cmocka_unit_test(snapshot_table_size_cve_2014_0145_is_refused),
		cmocka_unit_test(backing_name_length_cve_2014_0146_is_refused),
		cmocka_unit_test(table_offsets_cve_2014_0147_are_refused),
		cmocka_unit_test(
			an_extension_longer_than_its_cluster_is_refused),
		cmocka_unit_test(bitmap_directories_out_of_bounds_are_refused),
		cmocka_unit_test(names_in_extensions_out_of_bounds_are_refused),
		cmocka_unit_test(what_a_check_can_mend_is_let_through_to_it),
		cmocka_unit_test(
			unknown_features_are_refused_by_the_image_s_own_name),
		cmocka_unit_test(features_not_built_are_refused_by_name),
		cmocka_unit_test(a_corrupt_image_is_for_reading_only),
		cmocka_unit_test(compression_type_and_its_bit_go_together),
		cmocka_unit_test(a_file_that_ends_in_the_header_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
