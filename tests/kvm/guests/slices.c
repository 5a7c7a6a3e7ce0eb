/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slices: one disk image, divided among machines that do not know of each
 * other.
 *
 * An exokernel hands out pieces of the real resource and keeps nothing but the
 * borders. Here the resource is an image file, a piece is a range of it that
 * one vhost-blk serves (--range=OFFSET:LENGTH), and a machine may do with its
 * piece what it likes. To it the piece is a disk with a beginning and an end,
 * and there is no request that means anything else: sector 0 is the piece's.
 *
 * Two machines fill their pieces with patterns of their own at the same time,
 * try to read and to write past both ends, and then find their own pattern
 * everywhere. A third, with the whole image, looks at both.
 *
 * Words on the command line:
 *	machine=N	fill with pattern N, try to reach beyond; wait for a
 *			character on the serial line; look
 *	whole		halves are of patterns 1 and 2
 */
#include "tests/kvm/guests/disk.h"

enum {
	SECTORS = 64,
	BYTES = SECTORS * DISK_SECTOR_BYTES,
	WHOLE_MACHINES = 2,
};

static uint8_t data[BYTES] __attribute__((aligned(4096)));

static void fill(struct disk *disk, uint64_t pattern)
{
	for (uint64_t s = 0; s < disk->sectors; s += SECTORS) {
		disk_pattern(data, s, BYTES, pattern);
		expect(disk_run(disk, 0, VIRTIO_BLK_T_OUT, s, data, BYTES) ==
			       VIRTIO_BLK_S_OK,
		       "a machine writes to its slice");
	}
	expect(disk_run(disk, 0, VIRTIO_BLK_T_FLUSH, 0, NULL, 0) ==
		       VIRTIO_BLK_S_OK,
	       "a machine flushes its slice");
}

/* Sectors from @first on read as the disk of a machine that filled it. */
static void look(struct disk *disk, uint64_t first, uint64_t count,
		 uint64_t pattern)
{
	for (uint64_t s = 0; s < count; s += SECTORS) {
		expect(disk_run(disk, 0, VIRTIO_BLK_T_IN, first + s, data,
				BYTES) == VIRTIO_BLK_S_OK,
		       "a machine reads its slice");
		expect(disk_is_pattern(data, s, BYTES, pattern),
		       "a slice holds what its machine wrote");
	}
}

/*
 * Past the end, across it, and "before" the beginning: numbers that would be
 * there if sums wrapped around.
 */
static void reach_beyond(struct disk *disk)
{
	const uint64_t sectors[] = {
		disk->sectors,
		disk->sectors - 1,
		UINT64_MAX,
		UINT64_MAX / DISK_SECTOR_BYTES,
		0 - disk->sectors,
		UINT64_MAX / DISK_SECTOR_BYTES - disk->sectors + 1,
	};

	for (unsigned i = 0; i < sizeof(sectors) / sizeof(sectors[0]); i++) {
		memset(data, 0xa5, BYTES);
		expect(disk_run(disk, 0, VIRTIO_BLK_T_IN, sectors[i], data,
				BYTES) != VIRTIO_BLK_S_OK,
		       "no read leaves the slice");
		memset(data, 0xa5, BYTES);
		expect(disk_run(disk, 0, VIRTIO_BLK_T_OUT, sectors[i], data,
				BYTES) != VIRTIO_BLK_S_OK,
		       "no write leaves the slice");
	}
}

static void live_in_slice(struct disk *disk, uint64_t machine)
{
	fill(disk, machine);
	reach_beyond(disk);
	print("machine %u: %u sectors are filled\n", machine, disk->sectors);
	while (serial_poll() < 0)
		;
	look(disk, 0, disk->sectors, machine);
	print("machine %u: they are as they were\n", machine);
}

static void look_at_whole(struct disk *disk)
{
	uint64_t slice = disk->sectors / WHOLE_MACHINES;

	for (unsigned i = 0; i < WHOLE_MACHINES; i++)
		look(disk, i * slice, slice, 1 + i);
	print("the whole: each slice is its machine's\n");
}

int guest_main(const struct guest_boot *boot)
{
	uint64_t machine = option_number(boot, "machine", 0);
	static struct disk disk;

	disk_open(&disk, boot, 0, 1);
	expect(disk.sectors > 0 && disk.sectors % (2 * SECTORS) == 0,
	       "the disk can be filled by whole requests");
	if (option_given(boot, "whole"))
		look_at_whole(&disk);
	else
		live_in_slice(&disk, machine);
	virtio_reset(&disk.virtio);
	return MACHINE_OK;
}
