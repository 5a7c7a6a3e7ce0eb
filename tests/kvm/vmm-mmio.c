/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/kvm/vmm-mmio.h"

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <string.h>

#include "base/bytes.h"

enum {
	MAGIC = 0x74726976, /* "virt" */
	VERSION = 2,
	VENDOR = 0x474e4952, /* "RING" */
	/* Chosen features and queues are fixed from here on. */
	FIXED = VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK,
};

/* The shared memory region that is not there has this length. */
#define NO_REGION UINT32_MAX

void vmm_mmio_init(struct vmm_mmio *mmio, const struct vmm_mmio_device *device)
{
	memset(mmio, 0, sizeof(*mmio));
	mmio->device = device;
}

static struct vmm_mmio_queue *selected(struct vmm_mmio *mmio)
{
	if (mmio->queue_select >= mmio->device->queues)
		return NULL;
	return &mmio->queues[mmio->queue_select];
}

static uint32_t half(uint64_t value, uint32_t select)
{
	if (select > 1)
		return 0;
	return value >> (32 * select);
}

static void set_half(uint64_t *value, uint32_t select, uint32_t half_value)
{
	if (select > 1)
		return;
	*value &= ~((uint64_t)UINT32_MAX << (32 * select));
	*value |= (uint64_t)half_value << (32 * select);
}

static uint32_t read_register(struct vmm_mmio *mmio, uint32_t offset)
{
	struct vmm_mmio_queue *queue = selected(mmio);

	switch (offset) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return MAGIC;
	case VIRTIO_MMIO_VERSION:
		return VERSION;
	case VIRTIO_MMIO_DEVICE_ID:
		return mmio->device->id;
	case VIRTIO_MMIO_VENDOR_ID:
		return VENDOR;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return half(mmio->device->features, mmio->features_select);
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		return queue ? VMM_MMIO_QUEUE_SIZE : 0;
	case VIRTIO_MMIO_QUEUE_READY:
		return queue && queue->ready;
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		/*
		 * The back-end interrupts the guest past us. All that there is
		 * to be interrupted for is a used buffer.
		 */
		return mmio->started ? VIRTIO_MMIO_INT_VRING : 0;
	case VIRTIO_MMIO_STATUS:
		return mmio->status;
	case VIRTIO_MMIO_SHM_LEN_LOW:
	case VIRTIO_MMIO_SHM_LEN_HIGH:
		return NO_REGION;
	default:
		return 0;
	}
}

static bool features_are_sane(const struct vmm_mmio *mmio)
{
	uint64_t chosen = mmio->driver_features;

	return (chosen & ~mmio->device->features) == 0 &&
	       (chosen >> VIRTIO_F_VERSION_1 & 1);
}

static bool size_is_sane(const struct vmm_mmio *mmio, uint32_t size)
{
	bool packed = mmio->driver_features >> VIRTIO_F_RING_PACKED & 1;

	return size > 0 && size <= VMM_MMIO_QUEUE_SIZE &&
	       (packed || is_power_of_two(size));
}

static void start(struct vmm_mmio *mmio)
{
	const struct vmm_mmio_device *device = mmio->device;

	if (device->start(device->arg, mmio->driver_features, mmio->queues) ==
	    0)
		mmio->started = true;
	else
		mmio->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
}

void vmm_mmio_reset(struct vmm_mmio *mmio)
{
	if (mmio->started)
		mmio->device->stop(mmio->device->arg);
	vmm_mmio_init(mmio, mmio->device);
}

/* Bits are only added, but for the reset. */
static void write_status(struct vmm_mmio *mmio, uint32_t status)
{
	uint32_t added = status & ~mmio->status;

	if (status == 0) {
		vmm_mmio_reset(mmio);
		return;
	}
	if ((added & VIRTIO_CONFIG_S_FEATURES_OK) && !features_are_sane(mmio))
		status &= ~VIRTIO_CONFIG_S_FEATURES_OK;
	mmio->status |= status & ~VIRTIO_CONFIG_S_NEEDS_RESET;
	if ((added & VIRTIO_CONFIG_S_DRIVER_OK) &&
	    (mmio->status & VIRTIO_CONFIG_S_FEATURES_OK))
		start(mmio);
}

static void write_queue(struct vmm_mmio *mmio, struct vmm_mmio_queue *queue,
			uint32_t offset, uint32_t value)
{
	/* A queue that is up keeps its place. */
	if (queue->ready)
		return;
	switch (offset) {
	case VIRTIO_MMIO_QUEUE_NUM:
		queue->size = value;
		break;
	case VIRTIO_MMIO_QUEUE_READY:
		queue->ready = value == 1 && size_is_sane(mmio, queue->size);
		break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
		set_half(&queue->desc_gpa, 0, value);
		break;
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
		set_half(&queue->desc_gpa, 1, value);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
		set_half(&queue->driver_gpa, 0, value);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
		set_half(&queue->driver_gpa, 1, value);
		break;
	case VIRTIO_MMIO_QUEUE_USED_LOW:
		set_half(&queue->device_gpa, 0, value);
		break;
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		set_half(&queue->device_gpa, 1, value);
		break;
	}
}

static void write_register(struct vmm_mmio *mmio, uint32_t offset,
			   uint32_t value)
{
	struct vmm_mmio_queue *queue = selected(mmio);

	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		mmio->features_select = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		mmio->driver_select = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		if (!(mmio->status & FIXED))
			set_half(&mmio->driver_features, mmio->driver_select,
				 value);
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		mmio->queue_select = value;
		break;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		if (mmio->started && value < mmio->device->queues)
			mmio->device->notify(mmio->device->arg, value);
		break;
	case VIRTIO_MMIO_STATUS:
		write_status(mmio, value);
		break;
	default:
		if (queue && !mmio->started)
			write_queue(mmio, queue, offset, value);
	}
}

uint64_t vmm_mmio_read(struct vmm_mmio *mmio, uint32_t offset, uint32_t bytes)
{
	const struct vmm_mmio_device *device = mmio->device;

	if (offset >= VIRTIO_MMIO_CONFIG)
		return device->config_read(device->arg,
					   offset - VIRTIO_MMIO_CONFIG, bytes);
	return bytes == sizeof(uint32_t) ? read_register(mmio, offset) : 0;
}

void vmm_mmio_write(struct vmm_mmio *mmio, uint32_t offset, uint32_t bytes,
		    uint64_t value)
{
	const struct vmm_mmio_device *device = mmio->device;

	if (offset >= VIRTIO_MMIO_CONFIG)
		device->config_write(device->arg, offset - VIRTIO_MMIO_CONFIG,
				     bytes, value);
	else if (bytes == sizeof(uint32_t))
		write_register(mmio, offset, value);
}
