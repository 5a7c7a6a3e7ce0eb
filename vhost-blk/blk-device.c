/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-blk/blk-device.h"

#include <errno.h>
#include <linux/vhost_types.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "base/log.h"
#include "vhost-blk/blk-config.h"
#include "vhost-blk/blk-queue.h"
#include "vhost-blk/blk-thread.h"
#include "vhost/kick.h"
#include "vhost/protocol.h"

#define BIT(n) (UINT64_C(1) << (n))

/*
 * IN_ORDER is left out on purpose: it would hold back every request that has
 * ended behind an earlier one that is slow, and a disk's requests do end in
 * another order than they came.
 */
static const uint64_t ring_features =
	BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_RING_PACKED) |
	BIT(VIRTIO_RING_F_INDIRECT_DESC) | BIT(VIRTIO_RING_F_EVENT_IDX) |
	BIT(VHOST_F_LOG_ALL) | BIT(VHOST_USER_F_PROTOCOL_FEATURES);

/*
 * DEVICE_STATE: all that a disk knows is in its rings, once they are drained,
 * and in the configuration space, so the empty state is the whole state.
 */
static const uint64_t protocol_features =
	BIT(VHOST_USER_PROTOCOL_F_MQ) | BIT(VHOST_USER_PROTOCOL_F_CONFIG) |
	BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK) |
	BIT(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS) |
	BIT(VHOST_USER_PROTOCOL_F_BACKEND_REQ) |
	BIT(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD) |
	BIT(VHOST_USER_PROTOCOL_F_LOG_SHMFD) |
	BIT(VHOST_USER_PROTOCOL_F_STATUS) |
	BIT(VHOST_USER_PROTOCOL_F_RESET_DEVICE) |
	BIT(VHOST_USER_PROTOCOL_F_DEVICE_STATE);

/* One queue's place, whether or not it runs. */
struct slot {
	struct blk_queue queue;
	struct blk_device *device;
	struct blk_thread *thread; /* NULL: not started */
	int kick_fd;
	struct loop_message broke; /* from the I/O thread to us */
	bool broke_posted;
};

struct blk_device {
	struct vhost_device vhost;
	struct blk_device_config config;
	struct blk_disk disk;
	struct blk_shape shape;
	union blk_config space;
	uint64_t driver_features;
	bool writethrough;
	struct blk_thread **threads;
	unsigned thread_count;
	struct slot *slots;
	struct log_limit journal_limit;
};

static struct blk_device *from_vhost(struct vhost_device *vhost)
{
	return container_of(vhost, struct blk_device, vhost);
}

static void set_writethrough(struct blk_device *device, bool on)
{
	if (device->writethrough == on)
		return;
	device->writethrough = on;
	for (unsigned i = 0; i < device->thread_count; i++)
		blk_thread_set_writethrough(device->threads[i], on);
}

/*
 * A driver without FLUSH has no way to ask for stable data, so each write is
 * made stable before it ends. virtio 1.2, 5.2.6.2.
 */
static void choose_cache_mode(struct blk_device *device)
{
	bool can_flush = device->driver_features & BIT(VIRTIO_BLK_F_FLUSH);

	set_writethrough(device,
			 !can_flush || !blk_config_writeback(&device->space));
}

static void set_features(struct vhost_device *vhost, uint64_t features)
{
	struct blk_device *device = from_vhost(vhost);

	device->driver_features = features;
	choose_cache_mode(device);
}

static int queue_start(struct vhost_device *vhost, unsigned index,
		       struct virtq *vq, int kick_fd, bool enabled)
{
	struct blk_device *device = from_vhost(vhost);
	struct blk_thread *thread =
		device->threads[index % device->thread_count];
	struct slot *slot = &device->slots[index];
	int err = blk_queue_open(&slot->queue, &device->disk, index, vq);

	if (err < 0)
		return err;
	slot->kick_fd = kick_fd;
	slot->thread = thread;
	err = blk_thread_attach(thread, &slot->queue, kick_fd, enabled);
	if (err < 0) {
		slot->thread = NULL;
		blk_queue_close(&slot->queue);
	}
	return err;
}

static void queue_stop(struct vhost_device *vhost, unsigned index)
{
	struct slot *slot = &from_vhost(vhost)->slots[index];

	if (!slot->thread)
		return;
	blk_thread_detach(slot->thread, &slot->queue);
	slot->thread = NULL;
	blk_queue_close(&slot->queue);
	kick_drain(slot->kick_fd);
}

static void queue_enable(struct vhost_device *vhost, unsigned index,
			 bool enabled)
{
	struct slot *slot = &from_vhost(vhost)->slots[index];

	if (slot->thread)
		blk_thread_enable(slot->thread, &slot->queue, enabled);
}

static int get_config(struct vhost_device *vhost, uint32_t offset,
		      void *ret_data, uint32_t size)
{
	return blk_config_read(&from_vhost(vhost)->space, offset, ret_data,
			       size);
}

/* @flags tell the driver's writes from a migration's: both mean the same. */
static int set_config(struct vhost_device *vhost, uint32_t offset,
		      const void *data, uint32_t size, uint32_t flags)
{
	struct blk_device *device = from_vhost(vhost);
	int err = blk_config_write(&device->space, offset, data, size);

	if (err == 0)
		choose_cache_mode(device);
	return err;
}

static void reset(struct vhost_device *vhost)
{
	struct blk_device *device = from_vhost(vhost);

	device->driver_features = 0;
	blk_config_init(&device->space, &device->shape);
	choose_cache_mode(device);
}

/*
 * The image's journal lives there: what guests were told is written survives us
 * even where no flush has written the metadata yet.
 */
static int take_area(struct vhost_device *vhost, void *area, size_t bytes)
{
	struct blk_device *device = from_vhost(vhost);
	struct image *image = device->config.image;
	int err = area ? image_journal_attach(image, area, bytes)
		       : image_journal_detach(image);

	if (err != 0)
		log_ratelimited(&device->journal_limit, LOG_LEVEL_ERROR,
				"%s: %s: %s", device->config.name,
				area ? "the journal cannot be replayed"
				     : "the last flush of a session failed",
				err < 0 ? strerror(-err) : image_error(image));
	return err;
}

static const struct vhost_device_ops ops = {
	.set_features = set_features,
	.queue_start = queue_start,
	.queue_stop = queue_stop,
	.queue_enable = queue_enable,
	.get_config = get_config,
	.set_config = set_config,
	.inflight_area = take_area,
	.reset = reset,
};

/* Control thread. By now the queue may have been stopped, or started anew. */
static void run_broke(struct loop_message *message)
{
	struct slot *slot = container_of(message, struct slot, broke);
	struct blk_device *device = slot->device;

	store_release(&slot->broke_posted, false);
	if (slot->thread && load_acquire(&slot->queue.broken))
		device->config.queue_broke(device->config.arg,
					   slot - device->slots);
}

/* I/O thread. */
static void queue_broke(void *arg, struct blk_queue *queue)
{
	struct slot *slot = container_of(queue, struct slot, queue);
	struct blk_device *device = arg;

	if (!exchange_acq_rel(&slot->broke_posted, true))
		loop_post(device->config.control, &slot->broke);
}

static void init_shape(struct blk_device *device)
{
	const struct blk_options *options = device->config.options;
	const struct image *image = device->config.image;
	uint64_t size =
		align_down(image->size_bytes, options->logical_block_bytes);

	if (size != image->size_bytes)
		log_warning("%s: the image's %llu bytes are not a multiple of "
			    "%u: the last %llu are not served",
			    device->config.name,
			    (unsigned long long)image->size_bytes,
			    options->logical_block_bytes,
			    (unsigned long long)(image->size_bytes - size));
	device->shape = (struct blk_shape){
		.size_bytes = size,
		.logical_block_bytes = options->logical_block_bytes,
		.physical_block_bytes = options->physical_block_bytes,
		.cluster_bytes = image->cluster_bytes,
		.num_queues = options->num_queues,
		.read_only = options->read_only,
		.writeback = options->cache != BLK_CACHE_WRITETHROUGH,
	};
}

static void init_disk(struct blk_device *device)
{
	const char *serial = device->config.options->serial;
	struct blk_disk *disk = &device->disk;

	disk->name = device->config.name;
	disk->image = device->config.image;
	disk->limits = (struct blk_limits){
		.capacity_sectors = device->shape.size_bytes / BLK_SECTOR_BYTES,
		.read_only = device->shape.read_only,
	};
	disk->limiter.iops = device->config.options->iops;
	disk->limiter.bps = device->config.options->bps;
	/* Not terminated when it fills the field; virtio 1.2, 5.2.6. */
	if (serial)
		memcpy(disk->serial, serial,
		       strnlen(serial, sizeof(disk->serial)));
}

static int make_threads(struct blk_device *device, enum spin_mode poll)
{
	while (device->thread_count < device->config.options->threads) {
		const struct blk_thread_config config = {
			.image = device->config.image,
			.writethrough = device->writethrough,
			.poll = poll,
			.number = device->thread_count,
			.queue_broke = queue_broke,
			.arg = device,
		};
		int err = blk_thread_new(
			&config, &device->threads[device->thread_count]);

		if (err < 0)
			return err;
		device->thread_count++;
	}
	return 0;
}

static int device_init(struct blk_device *device)
{
	const struct blk_options *options = device->config.options;

	device->threads = calloc(options->threads, sizeof(*device->threads));
	device->slots = calloc(options->num_queues, sizeof(*device->slots));
	if (!device->threads || !device->slots)
		return -ENOMEM;
	for (unsigned i = 0; i < options->num_queues; i++) {
		device->slots[i].device = device;
		device->slots[i].broke.run = run_broke;
	}
	init_shape(device);
	init_disk(device);
	blk_config_init(&device->space, &device->shape);
	device->writethrough = !device->shape.writeback;
	device->vhost = (struct vhost_device){
		.ops = &ops,
		.name = device->config.name,
		.features = ring_features | blk_config_features(&device->shape),
		.protocol_features = protocol_features,
		.num_queues = options->num_queues,
		.config_size = BLK_CONFIG_BYTES,
		.inflight_area_bytes =
			image_journal_bytes(device->config.image),
	};
	return make_threads(device, options->daemon.poll);
}

int blk_device_new(const struct blk_device_config *config,
		   struct blk_device **ret_device)
{
	struct blk_device *device = calloc(1, sizeof(*device));
	int err;

	if (!device)
		return -ENOMEM;
	device->config = *config;
	err = device_init(device);
	device->config.options = NULL;
	if (err < 0) {
		blk_device_free(device);
		return err;
	}
	*ret_device = device;
	return 0;
}

void blk_device_free(struct blk_device *device)
{
	if (!device)
		return;
	for (unsigned i = 0; i < device->thread_count; i++)
		blk_thread_free(device->threads[i]);
	free(device->threads);
	free(device->slots);
	free(device);
}

struct vhost_device *blk_device_vhost(struct blk_device *device)
{
	return &device->vhost;
}
