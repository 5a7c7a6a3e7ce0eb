/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio device as a guest sees it: a page of registers (virtio 1.2, 4.2.2).
 * The driver reads what the device is, chooses features, says where its queues
 * are, and sets DRIVER_OK; from then on it writes to one register only, the
 * doorbell, which KVM turns into a kick of the back-end before we would see it.
 *
 * What the driver writes is judged here: the device behind gets features that
 * it offered and queues of legal sizes, or is not started. Pure: calls nothing
 * but the device.
 */
#ifndef TESTS_KVM_VMM_MMIO_H
#define TESTS_KVM_VMM_MMIO_H

#include <stdbool.h>
#include <stdint.h>

enum {
	VMM_MMIO_MAX_QUEUES = 16,
	VMM_MMIO_QUEUE_SIZE = 256, /* at most */
};

struct vmm_mmio_queue {
	uint32_t size;
	bool ready;
	uint64_t desc_gpa;
	uint64_t driver_gpa;
	uint64_t device_gpa;
};

/* The device behind the registers. */
struct vmm_mmio_device {
	uint32_t id; /* VIRTIO_ID_… */
	uint64_t features;
	unsigned queues; /* at most VMM_MMIO_MAX_QUEUES */
	/* @bytes is 1, 2, 4 or 8; anything beyond the space reads as 0. */
	uint64_t (*config_read)(void *arg, uint32_t offset, uint32_t bytes);
	void (*config_write)(void *arg, uint32_t offset, uint32_t bytes,
			     uint64_t value);
	/* DRIVER_OK; an error makes the device ask for a reset. */
	int (*start)(void *arg, uint64_t features,
		     const struct vmm_mmio_queue *queues);
	/* Only after a start that succeeded. */
	void (*stop)(void *arg);
	/* A doorbell that no ioeventfd took. */
	void (*notify)(void *arg, uint32_t queue);
	void *arg;
};

struct vmm_mmio {
	const struct vmm_mmio_device *device; /* borrowed */
	uint32_t features_select;	      /* which half is read */
	uint32_t driver_select;		      /* which half is written */
	uint64_t driver_features;
	uint32_t queue_select;
	uint32_t status;
	bool started;
	struct vmm_mmio_queue queues[VMM_MMIO_MAX_QUEUES];
};

void vmm_mmio_init(struct vmm_mmio *mmio, const struct vmm_mmio_device *device);

/* An access to the registers. Registers proper have 4 bytes. */
uint64_t vmm_mmio_read(struct vmm_mmio *mmio, uint32_t offset, uint32_t bytes);
void vmm_mmio_write(struct vmm_mmio *mmio, uint32_t offset, uint32_t bytes,
		    uint64_t value);

/* Stops the device and forgets what the driver chose, as status 0 does. */
void vmm_mmio_reset(struct vmm_mmio *mmio);

#endif
