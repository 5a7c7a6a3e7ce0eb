/* SPDX-License-Identifier: Apache-2.0 */
/* Compressed writes among all others, on a store in memory. */
#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "image/open.h"
#include "image/sync-io.h"
#include "qcow2/core.h"
#include "qcow2/create.h"
#include "qcow2/qcow2.h"
#include "tests/cmocka.h"
#include "tests/images/qcow2-walk.h"
#include "tests/random.h"

enum {
	MIB = 1 << 20,
};

static uint64_t random_state = 88172645463325252;

static uint64_t pick(uint64_t below)
{
	return random_below(&random_state, below);
}

static struct image *open_memory(struct store *store)
{
	const struct image_open_options options = {.cache_bytes = 1};
	struct image *image = NULL;

	assert_int_equal(qcow2_format.open(store, &options, &image, NULL), 0);
	return image;
}

static struct image *make(const struct qcow2_create_options *options)
{
	struct store *store;

	assert_int_equal(store_new_memory(0, &store), 0);
	assert_int_equal(qcow2_create(store, options, NULL), 0);
	return open_memory(store);
}

static void check_structure(struct store *store)
{
	struct qcow2_walk walk = {
		.data = store_memory_data(store),
		.size_bytes = store->size_bytes,
	};

	if (qcow2_walk(&walk) != 0)
		fail_msg("%s", walk.problem);
	assert_int_equal(walk.leaked, 0);
	free(walk.uses);
}

/* Closes, looks for leaks and overlaps, and opens again. */
static struct image *reopen(struct image *image)
{
	struct store *old = image->store, *store;

	assert_int_equal(sync_io_settle(image), 0);
	check_structure(old);
	assert_int_equal(store_new_memory(old->size_bytes, &store), 0);
	memcpy(store_memory_data(store), store_memory_data(old),
	       old->size_bytes);
	assert_int_equal(image_close(image), 0);
	return open_memory(store);
}

/* From what packs well to what does not at all. */
static void fill(uint8_t *data, size_t length)
{
	unsigned kinds = 1 + pick(pick(4) ? 6 : 256);

	uint32_t number = pick(UINT32_MAX);

	for (size_t i = 0; i < length; i++) {
		number = number * 1664525 + 1013904223;
		data[i] = ((number >> 24) * kinds >> 8) * 5;
	}
}

static void run_one(struct image *image, uint8_t *model, uint64_t size)
{
	uint64_t cluster = image->cluster_bytes;
	uint64_t first = pick(div_round_up(size, cluster)) * cluster;
	uint64_t offset = pick(size / 512) * 512;
	uint64_t length = 1 + pick(MIN(4 * cluster, size - offset));
	unsigned what = pick(16);
	int err;

	if (what < 7) {
		length = MIN(cluster * (1 + pick(4)), size - first);
		fill(model + first, length);
		err = sync_io_write_packed(image, first, model + first, length);
	} else if (what < 10) {
		fill(model + offset, length);
		err = sync_io_write(image, offset, model + offset, length);
	} else if (what < 12) {
		memset(model + offset, 0, length);
		err = sync_io_zero(image, offset, length);
	} else if (what < 14) {
		err = sync_io_discard(image, offset, length);
		if (err == 0)
			err = sync_io_read(image, offset, model + offset,
					   length);
	} else {
		err = image_flush_sync(image);
	}
	if (err)
		print_error("%d: %s\n", err, image_error(image));
	assert_int_equal(err, 0);
}

static void assert_same(struct image *image, const uint8_t *model,
			uint64_t size)
{
	uint8_t *got = malloc(size);

	assert_int_equal(sync_io_read(image, 0, got, size), 0);
	assert_memory_equal(got, model, size);
	free(got);
}

static void run_options(const struct qcow2_create_options *options)
{
	uint64_t size = options->size_bytes;
	uint8_t *model = calloc(1, size);
	struct image *image = make(options);

	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 50; i++)
			run_one(image, model, size);
		assert_same(image, model, size);
		image = reopen(image);
		assert_same(image, model, size);
	}
	assert_int_equal(image_close(image), 0);
	free(model);
}

static void mixed_writes_read_back_with_every_geometry(void **state)
{
	static const struct qcow2_create_options all[] = {
		{.size_bytes = 3 * MIB + 512},
		{.size_bytes = 3 * MIB + 512,
		 .compression = QCOW2_COMPRESSION_ZSTD},
		{.size_bytes = 3 * MIB, .version = 2},
		{.size_bytes = MIB / 8, .cluster_bytes = 512},
		{.size_bytes = MIB / 8, .cluster_bytes = 512, .version = 2},
		{.size_bytes = MIB / 8,
		 .cluster_bytes = 512,
		 .refcount_bits = 64},
		{.size_bytes = MIB, .cluster_bytes = 4096, .refcount_bits = 1},
		{.size_bytes = MIB / 2,
		 .cluster_bytes = 1024,
		 .refcount_bits = 2},
		{.size_bytes = MIB, .cluster_bytes = 2048, .refcount_bits = 4},
		{.size_bytes = MIB, .cluster_bytes = 8192, .refcount_bits = 8},
		{.size_bytes = MIB, .cluster_bytes = 8192, .refcount_bits = 32},
		{.size_bytes = 5 * MIB + 4096, .cluster_bytes = 2 * MIB},
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		run_options(&all[i]);
}

static struct image_extent room_for(struct image *image, uint64_t offset,
				    uint32_t bytes)
{
	struct image_extent extent = {.kind = IMAGE_NEED};

	while (extent.kind != IMAGE_ALLOCATE) {
		assert_int_equal(
			image_map_packed(image, offset, bytes, &extent), 0);
		if (extent.kind == IMAGE_MUST_FLUSH)
			assert_int_equal(image_flush_sync(image), 0);
		else if (extent.kind == IMAGE_NEED) {
			assert_int_equal(
				store_read(extent.store, extent.host_offset,
					   extent.buffer, extent.host_bytes),
				0);
			image_provide(image, &extent, 0);
		} else
			assert_int_equal(extent.kind, IMAGE_ALLOCATE);
	}
	return extent;
}

static void streams_lie_side_by_side_and_run_on(void **state)
{
	const struct qcow2_create_options options = {.size_bytes = MIB};
	struct image *image = make(&options);
	struct image_extent extents[4];
	uint64_t at;

	for (unsigned i = 0; i < 4; i++)
		extents[i] = room_for(image, i * 65536, 30000);
	at = extents[0].host_offset;
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(extents[i].host_offset, at + i * 30000);
		assert_int_equal(extents[i].length, 65536);
		assert_int_equal(extents[i].host_bytes, 30000);
		assert_int_equal(image_commit(image, &extents[i], -EIO), 0);
	}
	assert_int_equal(image_close(reopen(image)), 0);
}

/* A write that is torn by a crash can hurt what shares its block. */
static void what_was_flushed_shares_no_block_with_what_comes(void **state)
{
	const struct qcow2_create_options options = {.size_bytes = MIB};
	struct image *image = make(&options);
	struct image_extent first = room_for(image, 0, 1000), second;

	assert_int_equal(image_commit(image, &first, 0), 0);
	assert_int_equal(image_flush_sync(image), 0);
	second = room_for(image, 65536, 1000);
	assert_int_equal(second.host_offset, first.host_offset + 4096);
	assert_int_equal(image_commit(image, &second, 0), 0);
	assert_int_equal(image_close(image), 0);
}

/* The cluster would be given out again, or punched, under a new stream. */
static void a_cluster_that_all_streams_left_is_not_packed_on(void **state)
{
	const struct qcow2_create_options options = {.size_bytes = MIB};
	static uint8_t data[65536], got[65536];
	struct image *image = make(&options);

	for (unsigned round = 0; round < 20; round++) {
		memset(data, round + 1, sizeof(data));
		assert_int_equal(sync_io_write_packed(image, 0, data, 65536),
				 0);
		assert_int_equal(sync_io_discard(image, 0, 65536), 0);
		for (unsigned flush = 0; flush < round % 5; flush++)
			assert_int_equal(image_flush_sync(image), 0);
		assert_int_equal(
			sync_io_write_packed(image, 65536, data, 65536), 0);
		for (unsigned flush = 0; flush < 4; flush++)
			assert_int_equal(image_flush_sync(image), 0);
		assert_int_equal(sync_io_read(image, 65536, got, 65536), 0);
		assert_memory_equal(got, data, 65536);
	}
	assert_int_equal(image_close(reopen(image)), 0);
}

static void the_same_cluster_is_busy_until_it_is_committed(void **state)
{
	const struct qcow2_create_options options = {.size_bytes = MIB};
	struct image *image = make(&options);
	struct image_extent extent = room_for(image, 0, 1000), other;

	assert_int_equal(image_map_packed(image, 0, 1000, &other), 0);
	assert_int_equal(other.kind, IMAGE_BUSY);
	assert_int_equal(image_map(image, IMAGE_WRITE, 512, 512, &other), 0);
	assert_int_equal(other.kind, IMAGE_BUSY);
	assert_int_equal(image_commit(image, &extent, -EIO), 0);
	extent = room_for(image, 0, 1000);
	assert_int_equal(image_commit(image, &extent, -EIO), 0);
	assert_int_equal(image_close(reopen(image)), 0);
}

static void what_cannot_be_packed_is_refused(void **state)
{
	const struct qcow2_create_options options = {.size_bytes = MIB};
	struct image *image = make(&options);
	struct image_extent extent;

	assert_int_equal(image_map_packed(image, 512, 100, &extent), -EINVAL);
	assert_int_equal(image_map_packed(image, MIB, 100, &extent), -EINVAL);
	assert_int_equal(image_map_packed(image, 0, 0, &extent), -EINVAL);
	assert_int_equal(image_map_packed(image, 0, 65536, &extent), -EINVAL);
	image->read_only = true;
	assert_int_equal(image_map_packed(image, 0, 100, &extent), -EROFS);
	image->read_only = false;
	assert_int_equal(image_close(image), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mixed_writes_read_back_with_every_geometry),
		cmocka_unit_test(streams_lie_side_by_side_and_run_on),
		cmocka_unit_test(
			what_was_flushed_shares_no_block_with_what_comes),
		cmocka_unit_test(
			a_cluster_that_all_streams_left_is_not_packed_on),
		cmocka_unit_test(
			the_same_cluster_is_busy_until_it_is_committed),
		cmocka_unit_test(what_cannot_be_packed_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
