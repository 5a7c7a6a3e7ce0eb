/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-blk/blk-config.h"

#include <assert.h>
#include <errno.h>

#include "base/bytes.h"
#include "vhost-blk/blk-request.h"

static_assert(offsetof(struct virtio_blk_config, wce) == 32,
	      "virtio 1.2, 5.2.4");
static_assert(offsetof(struct virtio_blk_config, max_discard_sectors) == 36,
	      "virtio 1.2, 5.2.4");

#define BIT(n) (UINT64_C(1) << (n))

static uint8_t log2_of(uint32_t power)
{
	return __builtin_ctz(power);
}

/* What the image can give back: whole clusters, or else physical blocks. */
static uint32_t discard_unit_bytes(const struct blk_shape *shape)
{
	return MAX(shape->cluster_bytes, shape->physical_block_bytes);
}

static void init_topology(struct virtio_blk_config *fields,
			  const struct blk_shape *shape)
{
	uint32_t per_physical =
		shape->physical_block_bytes / shape->logical_block_bytes;
	uint32_t optimal = shape->cluster_bytes / shape->logical_block_bytes;

	fields->blk_size = htole32(shape->logical_block_bytes);
	fields->physical_block_exp = log2_of(per_physical);
	fields->min_io_size = htole16(MIN(per_physical, (uint32_t)UINT16_MAX));
	fields->opt_io_size = htole32(optimal);
}

/*
 * A Linux driver takes max_discard_sectors = 0 for "no limit" and refuses a
 * device whose limits make no sense, so they are always filled in.
 */
static void init_ranges(struct virtio_blk_config *fields,
			const struct blk_shape *shape)
{
	fields->max_discard_sectors = htole32(BLK_MAX_RANGE_SECTORS);
	fields->max_discard_seg = htole32(BLK_MAX_RANGES);
	fields->discard_sector_alignment =
		htole32(discard_unit_bytes(shape) / BLK_SECTOR_BYTES);
	fields->max_write_zeroes_sectors = htole32(BLK_MAX_RANGE_SECTORS);
	fields->max_write_zeroes_seg = htole32(BLK_MAX_RANGES);
	fields->write_zeroes_may_unmap = 1;
}

void blk_config_init(union blk_config *config, const struct blk_shape *shape)
{
	struct virtio_blk_config *fields = &config->fields;

	memset(config, 0, sizeof(*config));
	fields->capacity = htole64(shape->size_bytes / BLK_SECTOR_BYTES);
	fields->size_max = htole32(BLK_MAX_SEGMENT_BYTES);
	fields->seg_max = htole32(BLK_MAX_SEGMENTS);
	fields->wce = shape->writeback;
	fields->num_queues = htole16(shape->num_queues);
	init_topology(fields, shape);
	if (!shape->read_only)
		init_ranges(fields, shape);
}

uint64_t blk_config_features(const struct blk_shape *shape)
{
	uint64_t features =
		BIT(VIRTIO_BLK_F_SIZE_MAX) | BIT(VIRTIO_BLK_F_SEG_MAX) |
		BIT(VIRTIO_BLK_F_BLK_SIZE) | BIT(VIRTIO_BLK_F_TOPOLOGY) |
		BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_CONFIG_WCE) |
		BIT(VIRTIO_BLK_F_MQ);

	if (shape->read_only)
		features |= BIT(VIRTIO_BLK_F_RO);
	else
		features |= BIT(VIRTIO_BLK_F_DISCARD) |
			    BIT(VIRTIO_BLK_F_WRITE_ZEROES);
	return features;
}

int blk_config_read(const union blk_config *config, uint32_t offset,
		    void *ret_data, uint32_t size)
{
	if (!range_fits(offset, size, sizeof(*config)))
		return -EINVAL;
	memcpy(ret_data, config->bytes + offset, size);
	return 0;
}

int blk_config_write(union blk_config *config, uint32_t offset,
		     const void *data, uint32_t size)
{
	uint8_t wce;

	if (offset != offsetof(struct virtio_blk_config, wce) ||
	    size != sizeof(wce))
		return -EINVAL;
	memcpy(&wce, data, sizeof(wce));
	if (wce > 1)
		return -EINVAL;
	config->fields.wce = wce;
	return 0;
}
