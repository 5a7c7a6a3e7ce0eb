/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/cmocka.h"
#include "vhost-blk/blk-config.h"
#include "vhost-blk/blk-request.h"

#define BIT(n) (UINT64_C(1) << (n))

static const struct blk_shape shape = {
	.size_bytes = UINT64_C(10) << 30,
	.logical_block_bytes = 512,
	.physical_block_bytes = 4096,
	.cluster_bytes = 65536,
	.num_queues = 4,
	.writeback = true,
};

static void fields_tell_the_shape_of_the_disk(void **state)
{
	union blk_config config;

	blk_config_init(&config, &shape);
	assert_true(le64toh(config.fields.capacity) ==
		    (UINT64_C(10) << 30) / 512);
	assert_int_equal(le32toh(config.fields.blk_size), 512);
	assert_int_equal(config.fields.physical_block_exp, 3);
	assert_int_equal(le16toh(config.fields.min_io_size), 8);
	assert_int_equal(le32toh(config.fields.opt_io_size), 128);
	assert_int_equal(le32toh(config.fields.seg_max), 126);
	assert_int_equal(le16toh(config.fields.num_queues), 4);
	assert_int_equal(config.fields.wce, 1);
}

static void linux_driver_finds_limits_that_it_accepts(void **state)
{
	union blk_config config;

	blk_config_init(&config, &shape);
	assert_true(config.fields.max_discard_sectors != 0);
	assert_true(config.fields.max_discard_seg != 0);
	assert_int_equal(le32toh(config.fields.discard_sector_alignment), 128);
	assert_true(config.fields.max_write_zeroes_sectors != 0);
	assert_true(config.fields.max_write_zeroes_seg != 0);
}

static void read_only_disk_offers_nothing_that_writes(void **state)
{
	struct blk_shape read_only = shape;

	read_only.read_only = true;
	assert_true(blk_config_features(&read_only) & BIT(VIRTIO_BLK_F_RO));
	assert_false(
		blk_config_features(&read_only) &
		(BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_BLK_F_WRITE_ZEROES)));
	assert_false(blk_config_features(&shape) & BIT(VIRTIO_BLK_F_RO));
	assert_true(blk_config_features(&shape) & BIT(VIRTIO_BLK_F_DISCARD));
}

static void reads_past_the_space_are_refused(void **state)
{
	uint8_t data[BLK_CONFIG_BYTES + 1];
	union blk_config config;

	blk_config_init(&config, &shape);
	assert_int_equal(blk_config_read(&config, 0, data, 256), 0);
	assert_int_equal(blk_config_read(&config, 0, data, 257), -EINVAL);
	assert_int_equal(blk_config_read(&config, 1, data, 256), -EINVAL);
	assert_int_equal(blk_config_read(&config, UINT32_MAX, data, 2),
			 -EINVAL);
	assert_int_equal(blk_config_read(&config, 2, data, UINT32_MAX),
			 -EINVAL);
}

static void only_the_cache_mode_can_be_written(void **state)
{
	static const uint8_t zeroes[64];
	const uint8_t two = 2;
	union blk_config config, before;

	blk_config_init(&config, &shape);
	before = config;
	assert_int_equal(blk_config_write(&config, 0, zeroes, 1), -EINVAL);
	assert_int_equal(blk_config_write(&config, 31, zeroes, 2), -EINVAL);
	assert_int_equal(blk_config_write(&config, 32, zeroes, 0), -EINVAL);
	assert_int_equal(blk_config_write(&config, 32, zeroes, 60), -EINVAL);
	assert_int_equal(blk_config_write(&config, 32, &two, 1), -EINVAL);
	assert_memory_equal(&config, &before, sizeof(config));
	assert_int_equal(blk_config_write(&config, 32, zeroes, 1), 0);
	assert_false(blk_config_writeback(&config));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields_tell_the_shape_of_the_disk),
		cmocka_unit_test(linux_driver_finds_limits_that_it_accepts),
		cmocka_unit_test(read_only_disk_offers_nothing_that_writes),
		cmocka_unit_test(reads_past_the_space_are_refused),
		cmocka_unit_test(only_the_cache_mode_can_be_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
