/* SPDX-License-Identifier: Apache-2.0 */
/* The driver as a whole on a store in memory, against a plain copy. */
#include <stdlib.h>

#include "base/bytes.h"
#include "image/open.h"
#include "image/sync-io.h"
#include "qcow2/create.h"
#include "qcow2/format.h"
#include "qcow2/qcow2.h"
#include "tests/cmocka.h"

enum {
	MIB = 1 << 20,
};

static struct image *open_memory(struct store *store)
{
	const struct image_open_options options = {.cache_bytes = 1};
	struct image *image = NULL;
	char *error = NULL;
	int err = qcow2_format.open(store, &options, &image, &error);

	if (err)
		print_error("%s\n", error);
	assert_int_equal(err, 0);
	return image;
}

static struct image *make(const struct qcow2_create_options *options)
{
	struct store *store;
	char *error = NULL;
	int err;

	assert_int_equal(store_new_memory(0, &store), 0);
	err = qcow2_create(store, options, &error);
	if (err)
		print_error("%s\n", error);
	assert_int_equal(err, 0);
	return open_memory(store);
}

/* Closes, and opens again what lies in the memory. */
static struct image *reopen(struct image *image)
{
	struct store *old = image->store, *store;

	assert_int_equal(sync_io_settle(image), 0);
	assert_int_equal(store_new_memory(old->size_bytes, &store), 0);
	memcpy(store_memory_data(store), store_memory_data(old),
	       old->size_bytes);
	assert_int_equal(image_close(image), 0);
	return open_memory(store);
}

static void assert_same(struct image *image, const uint8_t *model,
			uint64_t size)
{
	uint8_t *got = malloc(size);

	assert_int_equal(sync_io_read(image, 0, got, size), 0);
	assert_memory_equal(got, model, size);
	free(got);
}

static void fill_pattern(uint8_t *data, size_t length, unsigned seed)
{
	for (size_t i = 0; i < length; i++)
		data[i] = (uint8_t)(seed + i * 7 + (i >> 9)) | 1;
}

static void random_work(struct image *image, uint8_t *model, uint64_t size,
			unsigned steps, unsigned seed)
{
	uint8_t *data = malloc(size);

	srand(seed);
	for (unsigned i = 0; i < steps; i++) {
		uint64_t most = rand() % 4 ? 32768 : size;
		uint64_t offset = (uint64_t)rand() * 512 % size;
		uint64_t length = MIN(size - offset,
				      ((uint64_t)rand() * 512 % most) + 512);
		unsigned what = rand() % 8;
		int err = 0;

		if (what < 5) {
			fill_pattern(data, length, i);
			memcpy(model + offset, data, length);
			err = sync_io_write(image, offset, data, length);
		} else if (what == 5) {
			memset(model + offset, 0, length);
			err = sync_io_zero(image, offset, length);
		} else if (what == 6) {
			err = sync_io_discard(image, offset, length);
			if (err == 0)
				err = sync_io_read(image, offset,
						   model + offset, length);
		} else {
			err = image_flush_sync(image);
		}
		if (err)
			print_error("%d: %s\n", err, image_error(image));
		assert_int_equal(err, 0);
	}
	free(data);
}

static void run_options(const struct qcow2_create_options *options)
{
	uint64_t size = options->size_bytes;
	uint8_t *model = calloc(1, size);
	struct image *image = make(options);

	for (unsigned round = 0; round < 3; round++) {
		random_work(image, model, size, 60, round);
		assert_same(image, model, size);
		image = reopen(image);
		assert_same(image, model, size);
	}
	assert_int_equal(image_close(image), 0);
	free(model);
}

static void random_work_reads_back_with_every_geometry(void **state)
{
	static const struct qcow2_create_options all[] = {
		{.size_bytes = 3 * MIB + 512},
		{.size_bytes = 3 * MIB, .version = 2},
		{.size_bytes = MIB, .cluster_bytes = 512},
		{.size_bytes = MIB, .cluster_bytes = 512, .version = 2},
		{.size_bytes = MIB, .cluster_bytes = 512, .refcount_bits = 64},
		{.size_bytes = 2 * MIB,
		 .cluster_bytes = 4096,
		 .refcount_bits = 1},
		{.size_bytes = 2 * MIB,
		 .cluster_bytes = 1024,
		 .refcount_bits = 2},
		{.size_bytes = 2 * MIB,
		 .cluster_bytes = 2048,
		 .refcount_bits = 4},
		{.size_bytes = 2 * MIB,
		 .cluster_bytes = 8192,
		 .refcount_bits = 8},
		{.size_bytes = 2 * MIB,
		 .cluster_bytes = 8192,
		 .refcount_bits = 32},
		{.size_bytes = 5 * MIB, .cluster_bytes = 2 * MIB},
		{.size_bytes = 3 * MIB + 512, .extended_l2 = true},
		{.size_bytes = 2 * MIB,
		 .cluster_bytes = 16384,
		 .refcount_bits = 1,
		 .extended_l2 = true},
		{.size_bytes = 5 * MIB,
		 .cluster_bytes = 2 * MIB,
		 .extended_l2 = true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		run_options(&all[i]);
}

/* As a backing image is opened: what it holds can be read, nothing changes. */
static struct image *open_read_only(struct store *store)
{
	const struct image_open_options options = {.read_only = true};
	struct image *image = NULL;

	store->read_only = true;
	store->can_grow = false;
	assert_int_equal(qcow2_format.open(store, &options, &image, NULL), 0);
	return image;
}

static void a_file_that_ends_inside_a_cluster_is_read_to_its_end(void **state)
{
	const struct qcow2_create_options options = {.size_bytes = MIB};
	struct image *image = make(&options);
	struct store *store = NULL;
	uint8_t data[512], got[1024];
	size_t end;

	fill_pattern(data, sizeof(data), 1);
	assert_int_equal(sync_io_write(image, 0, data, sizeof(data)), 0);
	assert_int_equal(sync_io_settle(image), 0);
	/* The data cluster comes last: cut behind the bytes that were written. */
	for (end = image->store->size_bytes; end > 0; end--)
		if (((uint8_t *)store_memory_data(image->store))[end - 1] != 0)
			break;
	assert_int_not_equal(end % image->cluster_bytes, 0);
	assert_int_equal(store_new_memory(end, &store), 0);
	memcpy(store_memory_data(store), store_memory_data(image->store), end);
	assert_int_equal(image_close(image), 0);

	image = open_read_only(store);
	assert_int_equal(sync_io_read(image, 0, got, sizeof(got)), 0);
	assert_memory_equal(got, data, sizeof(data));
	assert_true(bytes_are_zero(got + sizeof(data), sizeof(got) / 2));
	assert_int_equal(image_close(image), 0);
}

static void a_flush_of_a_read_only_image_writes_nothing(void **state)
{
	const struct qcow2_create_options options = {.size_bytes = MIB};
	struct image *image = make(&options);
	struct store *store = NULL;
	const size_t autoclear =
		offsetof(struct qcow2_wire_header, autoclear_features);

	assert_int_equal(store_new_memory(image->store->size_bytes, &store), 0);
	memcpy(store_memory_data(store), store_memory_data(image->store),
	       store->size_bytes);
	assert_int_equal(image_close(image), 0);
	put_be64((uint8_t *)store_memory_data(store) + autoclear,
		 QCOW2_AUTOCLEAR_BITMAPS);
	image = open_read_only(store);
	assert_int_equal(image_flush_sync(image), 0);
	assert_int_equal(
		get_be64((uint8_t *)store_memory_data(store) + autoclear),
		QCOW2_AUTOCLEAR_BITMAPS);
	assert_int_equal(image_close(image), 0);
}

/*
 * On a device new clusters hold what somebody left there. What lies past the
 * image's end in its last cluster shows when the image grows.
 */
static void a_copied_cluster_is_zero_past_the_images_end(void **state)
{
	const struct qcow2_create_options options = {
		.size_bytes = MIB + 1024,
		.backing_name = "not-opened",
		.backing_format = "raw",
	};
	struct image *image = make(&options);
	struct image_extent extent;
	struct store *store = NULL;
	uint8_t *bytes;

	assert_int_equal(store_new_memory(4 * MIB, &store), 0);
	bytes = store_memory_data(store);
	memset(bytes, 0xee, 4 * MIB);
	memcpy(bytes, store_memory_data(image->store),
	       image->store->size_bytes);
	assert_int_equal(image_close(image), 0);
	store->can_grow = false;
	image = open_memory(store);

	assert_int_equal(sync_io_write(image, MIB, "data", 4), 0);
	assert_int_equal(image_map(image, IMAGE_READ, MIB, 4, &extent), 0);
	assert_int_equal(extent.kind, IMAGE_DATA);
	assert_memory_equal(bytes + extent.host_offset, "data", 4);
	assert_true(bytes_are_zero(bytes + extent.host_offset + 4,
				   image->cluster_bytes - 4));
	assert_int_equal(image_close(image), 0);
}

/* A run that begins and ends off the tables, and has the L1 table inside. */
static void a_run_of_clusters_stops_before_a_table(void **state)
{
	const struct qcow2_create_options options = {.size_bytes = MIB};
	struct image *image = make(&options);
	struct image_extent extent;
	struct store *store = NULL;
	uint64_t l1, l2, cluster = image->cluster_bytes;
	uint8_t *bytes;

	assert_int_equal(sync_io_write(image, 0, "x", 1), 0);
	assert_int_equal(sync_io_settle(image), 0);
	assert_int_equal(store_new_memory(image->store->size_bytes, &store), 0);
	bytes = store_memory_data(store);
	memcpy(bytes, store_memory_data(image->store), store->size_bytes);
	assert_int_equal(image_close(image), 0);
	l1 = get_be64(bytes +
		      offsetof(struct qcow2_wire_header, l1_table_offset));
	l2 = get_be64(bytes + l1) & QCOW2_OFFSET_MASK;
	for (unsigned i = 0; i < 3; i++)
		put_be64(bytes + l2 + (size_t)i * 8,
			 (l1 + i * cluster - cluster) | QCOW2_COPIED);

	image = open_memory(store);
	do {
		assert_int_equal(
			image_map(image, IMAGE_WRITE, 0, 3 * cluster, &extent),
			0);
		if (extent.kind == IMAGE_NEED) {
			assert_int_equal(store_read(store, extent.host_offset,
						    extent.buffer,
						    extent.host_bytes),
					 0);
			image_provide(image, &extent, 0);
		}
	} while (extent.kind == IMAGE_NEED);
	assert_int_equal(extent.kind, IMAGE_DATA);
	assert_int_equal(extent.length, cluster);
	assert_int_equal(
		image_map(image, IMAGE_WRITE, cluster, cluster, &extent),
		IMAGE_E_CORRUPT);
	assert_int_equal(image_close(image), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_work_reads_back_with_every_geometry),
		cmocka_unit_test(
			a_file_that_ends_inside_a_cluster_is_read_to_its_end),
		cmocka_unit_test(a_flush_of_a_read_only_image_writes_nothing),
		cmocka_unit_test(a_copied_cluster_is_zero_past_the_images_end),
		cmocka_unit_test(a_run_of_clusters_stops_before_a_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
