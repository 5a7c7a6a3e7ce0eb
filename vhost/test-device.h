/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device that serves nothing but remembers what the session did to it, and
 * the few helpers that tests and fuzzers need to hold a conversation with it.
 */
#ifndef VHOST_TEST_DEVICE_H
#define VHOST_TEST_DEVICE_H

#include <dirent.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "vhost/session.h"

enum {
	FAKE_QUEUES = 4,
	FAKE_CONFIG_BYTES = 24,
	FAKE_MAX_MTU = 9000,
};

struct fake_queue {
	struct virtq *vq;
	int kick_fd;
	bool running;
	bool enabled;
	unsigned starts;
	unsigned stops;
};

struct fake_device {
	struct vhost_device device;
	struct fake_queue queues[FAKE_QUEUES];
	uint8_t config[FAKE_CONFIG_BYTES];
	uint64_t features;
	unsigned features_set;
	unsigned resets;
	int status;
	uint64_t mtu;
	uint8_t rarp_mac[6];
	int start_result;
	uint8_t *area; /* of the in-flight region */
	size_t area_bytes;
	int area_result;
	unsigned areas_gone;
};

static inline struct fake_device *fake(struct vhost_device *device)
{
	return container_of(device, struct fake_device, device);
}

static void fake_set_features(struct vhost_device *device, uint64_t features)
{
	fake(device)->features = features;
	fake(device)->features_set++;
}

static int fake_queue_start(struct vhost_device *device, unsigned index,
			    struct virtq *vq, int kick_fd, bool enabled)
{
	struct fake_queue *queue = &fake(device)->queues[index];

	if (fake(device)->start_result < 0)
		return fake(device)->start_result;
	queue->vq = vq;
	queue->kick_fd = kick_fd;
	queue->enabled = enabled;
	queue->running = true;
	queue->starts++;
	return 0;
}

static void fake_queue_stop(struct vhost_device *device, unsigned index)
{
	struct fake_queue *queue = &fake(device)->queues[index];

	queue->running = false;
	queue->stops++;
}

static void fake_queue_enable(struct vhost_device *device, unsigned index,
			      bool enabled)
{
	fake(device)->queues[index].enabled = enabled;
}

static int fake_get_config(struct vhost_device *device, uint32_t offset,
			   void *ret_data, uint32_t size)
{
	if (!range_fits(offset, size, FAKE_CONFIG_BYTES))
		return -EINVAL;
	memcpy(ret_data, fake(device)->config + offset, size);
	return 0;
}

static int fake_set_config(struct vhost_device *device, uint32_t offset,
			   const void *data, uint32_t size, uint32_t flags)
{
	if (!range_fits(offset, size, FAKE_CONFIG_BYTES))
		return -EINVAL;
	memcpy(fake(device)->config + offset, data, size);
	return 0;
}

static int fake_set_mtu(struct vhost_device *device, uint64_t mtu)
{
	if (mtu > FAKE_MAX_MTU)
		return -EINVAL;
	fake(device)->mtu = mtu;
	return 0;
}

static int fake_send_rarp(struct vhost_device *device, const uint8_t mac[6])
{
	memcpy(fake(device)->rarp_mac, mac, 6);
	return 0;
}

static void fake_set_status(struct vhost_device *device, uint8_t status)
{
	fake(device)->status = status;
}

static void fake_reset(struct vhost_device *device)
{
	fake(device)->features = 0;
	fake(device)->resets++;
}

static int fake_inflight_area(struct vhost_device *device, void *area,
			      size_t bytes)
{
	struct fake_device *f = fake(device);

	/* Still there when it is said to go. */
	if (!area)
		f->area[0] = 0;
	f->areas_gone += !area;
	if (area && f->area_result)
		return f->area_result;
	f->area = area;
	f->area_bytes = bytes;
	return 0;
}

static const struct vhost_device_ops fake_ops = {
	.set_features = fake_set_features,
	.queue_start = fake_queue_start,
	.queue_stop = fake_queue_stop,
	.queue_enable = fake_queue_enable,
	.get_config = fake_get_config,
	.set_config = fake_set_config,
	.set_mtu = fake_set_mtu,
	.send_rarp = fake_send_rarp,
	.set_status = fake_set_status,
	.inflight_area = fake_inflight_area,
	.reset = fake_reset,
};

#define FAKE_FEATURES                              \
	(VHOST_USER_BIT(VIRTIO_F_VERSION_1) |      \
	 VHOST_USER_BIT(VHOST_F_LOG_ALL) |         \
	 VHOST_USER_BIT(VIRTIO_F_RING_PACKED) |    \
	 VHOST_USER_BIT(VIRTIO_RING_F_EVENT_IDX) | \
	 VHOST_USER_BIT(VIRTIO_RING_F_INDIRECT_DESC))

static inline void fake_init(struct fake_device *device)
{
	*device = (struct fake_device){
		.device =
			{
				.ops = &fake_ops,
				.name = "fake",
				.features = FAKE_FEATURES,
				.protocol_features = SESSION_PROTOCOL_FEATURES,
				.num_queues = FAKE_QUEUES,
				.config_size = FAKE_CONFIG_BYTES,
			},
	};
}

/* A request without payload; the caller fills in what it has. */
static inline struct vhost_message request(uint32_t number, uint32_t size)
{
	return (struct vhost_message){
		.header = {number, VHOST_USER_VERSION, size}};
}

static inline struct vhost_message request_u64(uint32_t number, uint64_t value)
{
	struct vhost_message m = request(number, sizeof(value));

	m.payload.u64 = value;
	return m;
}

static inline struct vhost_message request_state(uint32_t number,
						 uint32_t index, uint32_t num)
{
	struct vhost_message m = request(number, sizeof(m.payload.state));

	m.payload.state.index = index;
	m.payload.state.num = num;
	return m;
}

static inline void attach_fd(struct vhost_message *message, int fd)
{
	message->fds[message->fd_count++] = fd;
}

static inline int new_memfd(uint64_t size_bytes)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	if (fd >= 0 && ftruncate(fd, size_bytes) < 0)
		abort();
	return fd;
}

static inline unsigned open_fds(void)
{
	unsigned count = 0;
	DIR *folder = opendir("/proc/self/fd");

	while (readdir(folder))
		count++;
	closedir(folder);
	return count;
}

#endif
