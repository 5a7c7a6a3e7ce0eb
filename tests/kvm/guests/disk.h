/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio-blk disk (virtio 1.2, 5.2): requests of a header that the device
 * reads, data, and a status byte that it writes. What `blk` and `slices` share.
 *
 * Whatever fails beyond what a caller asks to be told of ends the guest.
 */
#ifndef TESTS_KVM_GUESTS_DISK_H
#define TESTS_KVM_GUESTS_DISK_H

#include <linux/virtio_blk.h>

#include "tests/kvm/guests/virtio.h"

enum {
	DISK_SECTOR_BYTES = 512,
	DISK_STATUS_UNWRITTEN = 0xee,
};

struct disk {
	struct virtio virtio;
	uint64_t sectors;
	bool interrupts; /* how to wait: for one, or by looking */
};

/*
 * Opens the device with this number, with @queues of them ("packed" on the
 * command line: of that layout), waiting by looking.
 */
void disk_open(struct disk *disk, const struct guest_boot *boot,
	       unsigned number, unsigned queues);

void disk_wait_by_interrupt(struct disk *disk, bool interrupts);

/*
 * Starts a request in a free slot: VIRTIO_BLK_T_…, with @bytes of data at
 * @data. Not yet told to the device.
 */
void disk_add(struct disk *disk, unsigned queue, unsigned slot, uint32_t type,
	      uint64_t sector, void *data, uint32_t bytes);
void disk_kick(struct disk *disk, unsigned queue);

/* Waits for the slot's end; the status, VIRTIO_BLK_S_…. */
uint8_t disk_wait(struct disk *disk, unsigned queue, unsigned slot);

/* The three in one. */
uint8_t disk_run(struct disk *disk, unsigned queue, uint32_t type,
		 uint64_t sector, void *data, uint32_t bytes);

/* Data that says where it belongs and in which turn it was written. */
void disk_pattern(void *data, uint64_t sector, uint32_t bytes, uint64_t turn);
bool disk_is_pattern(const void *data, uint64_t sector, uint32_t bytes,
		     uint64_t turn);

#endif
