/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/kvm/guests/disk.h"

#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>

#include "tests/kvm/guests/kernel.h"

#define BIT(n) (UINT64_C(1) << (n))

static struct virtio_rings rings[VIRTIO_MAX_QUEUES]
	__attribute__((aligned(4096)));

/* Of each slot: what goes before the data and what comes after it. */
static struct {
	struct virtio_blk_outhdr header;
	volatile uint8_t status;
	bool done;
} requests[VIRTIO_MAX_QUEUES][VIRTIO_SLOTS];

void disk_open(struct disk *disk, const struct guest_boot *boot,
	       unsigned number, unsigned queues)
{
	uint64_t features = BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_MQ) |
			    BIT(VIRTIO_BLK_F_DISCARD) |
			    BIT(VIRTIO_BLK_F_WRITE_ZEROES);
	struct virtio *virtio = &disk->virtio;

	if (option_given(boot, "packed"))
		features |= BIT(VIRTIO_F_RING_PACKED);
	memset(rings, 0, sizeof(rings));
	virtio_open(virtio, number, VIRTIO_ID_BLOCK, features);
	disk->sectors = virtio_config(virtio, 0) |
			(uint64_t)virtio_config(virtio, 4) << 32;
	expect(!option_given(boot, "packed") ||
		       virtio_has(virtio, VIRTIO_F_RING_PACKED),
	       "the device has packed rings");
	virtio_start(virtio, rings, queues);
	interrupts_enable();
	disk_wait_by_interrupt(disk, false);
}

void disk_wait_by_interrupt(struct disk *disk, bool on)
{
	disk->interrupts = on;
	for (unsigned i = 0; i < disk->virtio.queue_count; i++)
		virtio_interrupts(&disk->virtio.queues[i], on);
}

static bool device_writes(uint32_t type)
{
	return type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
}

void disk_add(struct disk *disk, unsigned queue, unsigned slot, uint32_t type,
	      uint64_t sector, void *data, uint32_t bytes)
{
	struct virtio_blk_outhdr *header = &requests[queue][slot].header;
	struct virtio_buffer buffers[3] = {
		{(uint64_t)header, sizeof(*header), false}};
	unsigned count = 1;

	*header = (struct virtio_blk_outhdr){.type = type, .sector = sector};
	requests[queue][slot].status = DISK_STATUS_UNWRITTEN;
	requests[queue][slot].done = false;
	if (bytes > 0)
		buffers[count++] = (struct virtio_buffer){(uint64_t)data, bytes,
							  device_writes(type)};
	buffers[count++] = (struct virtio_buffer){
		(uint64_t)&requests[queue][slot].status, 1, true};
	virtio_add(&disk->virtio.queues[queue], slot, buffers, count);
}

void disk_kick(struct disk *disk, unsigned queue)
{
	virtio_kick(&disk->virtio.queues[queue]);
}

static void take_all(struct disk *disk, unsigned queue)
{
	int slot;

	while ((slot = virtio_take(&disk->virtio.queues[queue], NULL)) >= 0)
		requests[queue][slot].done = true;
}

/*
 * The count is taken before the look: an interrupt that comes in between is
 * not waited for.
 */
uint8_t disk_wait(struct disk *disk, unsigned queue, unsigned slot)
{
	while (!requests[queue][slot].done) {
		uint64_t seen = disk->interrupts ? interrupts_seen() : 0;

		take_all(disk, queue);
		if (disk->interrupts && !requests[queue][slot].done)
			kernel_call(KERNEL_WAIT, seen, 0, 0);
	}
	expect(requests[queue][slot].status != DISK_STATUS_UNWRITTEN,
	       "the device writes a status");
	return requests[queue][slot].status;
}

uint8_t disk_run(struct disk *disk, unsigned queue, uint32_t type,
		 uint64_t sector, void *data, uint32_t bytes)
{
	disk_add(disk, queue, 0, type, sector, data, bytes);
	disk_kick(disk, queue);
	return disk_wait(disk, queue, 0);
}

/* A mixture of three numbers that differs if one of them does. */
static uint64_t word(uint64_t sector, uint64_t turn, uint64_t i)
{
	uint64_t x = (sector << 20) + (turn << 8) + i + 1;

	x *= UINT64_C(0x9e3779b97f4a7c15);
	return x ^ x >> 29;
}

void disk_pattern(void *data, uint64_t sector, uint32_t bytes, uint64_t turn)
{
	enum {
		WORDS = DISK_SECTOR_BYTES / 8
	};
	uint64_t *words = data;

	for (uint32_t i = 0; i < bytes / 8; i++)
		words[i] = word(sector + i / WORDS, turn, i % WORDS);
}

bool disk_is_pattern(const void *data, uint64_t sector, uint32_t bytes,
		     uint64_t turn)
{
	enum {
		WORDS = DISK_SECTOR_BYTES / 8
	};
	const uint64_t *words = data;

	for (uint32_t i = 0; i < bytes / 8; i++)
		if (words[i] != word(sector + i / WORDS, turn, i % WORDS))
			return false;
	return true;
}
