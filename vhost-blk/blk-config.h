/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration space of a block device: what the driver may read of the
 * disk's shape, and the one field that it may write, the cache mode (wce).
 * virtio 1.2, 5.2.4. Pure; the caller sees to threads.
 */
#ifndef VHOST_BLK_BLK_CONFIG_H
#define VHOST_BLK_BLK_CONFIG_H

#include <linux/virtio_blk.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	/*
	 * As much as a vhost-user message can carry: front-ends ask for the
	 * structure that they were compiled with, which may be longer than
	 * ours. Fields that we do not know read as zero.
	 */
	BLK_CONFIG_BYTES = 256,
};

/* The disk's shape, from options and the image. */
struct blk_shape {
	uint64_t size_bytes; /* rounded down to a sector */
	uint32_t logical_block_bytes;
	uint32_t physical_block_bytes;
	uint32_t cluster_bytes; /* the image's unit of allocation; 0: none */
	uint16_t num_queues;
	bool read_only;
	bool writeback; /* the cache mode at first */
};

union blk_config {
	struct virtio_blk_config fields;
	uint8_t bytes[BLK_CONFIG_BYTES];
};

void blk_config_init(union blk_config *config, const struct blk_shape *shape);

/* The virtio-blk feature bits (not those of rings and transport). */
uint64_t blk_config_features(const struct blk_shape *shape);

/* -EINVAL outside of the configuration space. */
int blk_config_read(const union blk_config *config, uint32_t offset,
		    void *ret_data, uint32_t size);

/*
 * A write of the driver or, on the way in of a migration, the front-end:
 * only of wce, to 0 or 1; all else is -EINVAL.
 */
int blk_config_write(union blk_config *config, uint32_t offset,
		     const void *data, uint32_t size);

static inline bool blk_config_writeback(const union blk_config *config)
{
	return config->fields.wce != 0;
}

#endif
