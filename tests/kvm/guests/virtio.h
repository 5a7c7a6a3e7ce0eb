/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver's side of a virtio device (virtio 1.2): finding it, agreeing on
 * features, and queues of either layout.
 *
 * A queue is memory that both sides look at. The driver describes buffers in it
 * and rings a doorbell; the device says which it has used, and interrupts. So
 * that no list of free descriptors is needed, a request has a slot for life:
 * slot n owns the descriptors from VIRTIO_SLOT_BUFFERS * n on.
 */
#ifndef TESTS_KVM_GUESTS_VIRTIO_H
#define TESTS_KVM_GUESTS_VIRTIO_H

#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/kvm/guests/runtime.h"

enum {
	VIRTIO_SLOTS = 16,
	VIRTIO_SLOT_BUFFERS = 4,
	VIRTIO_QUEUE_SIZE = VIRTIO_SLOTS * VIRTIO_SLOT_BUFFERS,
	VIRTIO_MAX_QUEUES = 4,
};

struct virtio_buffer {
	uint64_t gpa;
	uint32_t bytes;
	bool device_writes;
};

/* The shared memory of one queue; which half is used depends on the layout. */
struct virtio_rings {
	struct vring_desc desc[VIRTIO_QUEUE_SIZE];
	struct {
		uint16_t flags;
		uint16_t index;
		uint16_t ring[VIRTIO_QUEUE_SIZE + 1];
	} avail;
	_Alignas(8) struct {
		uint16_t flags;
		uint16_t index;
		struct vring_used_elem ring[VIRTIO_QUEUE_SIZE];
		uint16_t event;
	} used;
	_Alignas(16) struct vring_packed_desc packed[VIRTIO_QUEUE_SIZE];
	struct vring_packed_desc_event driver_event;
	struct vring_packed_desc_event device_event;
};

struct virtio_queue {
	struct virtio_rings *rings;
	uint64_t doorbell_gpa;
	unsigned index;
	bool packed;
	/* Split: counted for ever. Packed: places in the ring. */
	uint16_t next_avail;
	uint16_t next_used;
	bool avail_wrap;
	bool used_wrap;
	uint8_t slot_buffers[VIRTIO_SLOTS]; /* 0: the slot is free */
};

struct virtio {
	struct guest_device device;
	uint64_t features;
	unsigned queue_count;
	struct virtio_queue queues[VIRTIO_MAX_QUEUES];
};

/*
 * Takes the device with this number on the command line, which has to be of
 * the kind @id, with those of @features that it offers. Its configuration may
 * then be read. Ends the guest if there is none.
 */
void virtio_open(struct virtio *virtio, unsigned number, uint32_t id,
		 uint64_t features);

/* Makes @count queues in @rings, zeroed memory, and starts the device. */
void virtio_start(struct virtio *virtio, struct virtio_rings *rings,
		  unsigned count);

/* The device forgets everything; so does @virtio, but for the device. */
void virtio_reset(struct virtio *virtio);

static inline bool virtio_has(const struct virtio *virtio, unsigned feature)
{
	return virtio->features >> feature & 1;
}

/* 4 bytes of the configuration, at a multiple of 4. */
uint32_t virtio_config(const struct virtio *virtio, unsigned offset);

/* Describes a request in a free slot, device-readable buffers first. */
void virtio_add(struct virtio_queue *queue, unsigned slot,
		const struct virtio_buffer *buffers, unsigned count);
/* Rings the doorbell, unless the device says that it looks by itself. */
void virtio_kick(struct virtio_queue *queue);
/*
 * The slot of the next request that the device is done with, or -1. How many
 * bytes it has written is left in *@ret_bytes, unless that is NULL.
 */
int virtio_take(struct virtio_queue *queue, uint32_t *ret_bytes);
/* Shall the device interrupt? A hint: it may do so in any case. */
void virtio_interrupts(struct virtio_queue *queue, bool on);

#endif
