/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blk: a guest with a disk that another process serves.
 *
 * The disk is a virtio device: a page of registers, and queues in memory that
 * driver and device share. Nothing of a request passes through the monitor. The
 * driver puts descriptors into a queue and writes to the doorbell; the write is
 * caught by KVM and turned into a kick of the back-end (vhost-blk), which reads
 * the queue, transfers between the image and the guest's own memory, writes
 * what it has used into the queue, and signals; KVM turns that into an
 * interrupt of the guest. The monitor made the introductions and sleeps in
 * KVM_RUN.
 *
 * What is shown, on every queue, once by looking and once by interrupts:
 *
 *	what is written is read back, also after other queues wrote beside it,
 *	also when the data lies in another part of memory than the queue, also
 *	in memory that was plugged in when the device was already running;
 *	zeroes and discards touch what they name and no more;
 *	a request beyond the disk fails, and only that one.
 *
 * Words on the command line:
 *	queues=N, packed	which queues
 *	trips=N			round trips to be measured
 *	again			look for what the last run has left, no more
 *	endless			read for ever
 */
#include "tests/kvm/guests/disk.h"
#include "tests/kvm/guests/kernel.h"

enum {
	MAX_AREAS = 3,
	AREA_BYTES = 4 << 20,
	DEPTH = 8,    /* requests at once on a queue */
	SECTORS = 32, /* of each */
	BYTES = SECTORS * DISK_SECTOR_BYTES,
	DEFAULT_TRIPS = 200,
	/* Sectors between what two requests write. */
	GAP = 8,
	FIRST_TURN = 1,
	LAST_TURN = 17,
};

/* Memory for data, one piece in each range that the guest has. */
static uint8_t *areas[MAX_AREAS];
static unsigned area_count;

static void add_area(uint64_t gpa, uint64_t bytes)
{
	/* Below this are the image and, in QEMU, what firmware left. */
	const uint64_t lowest = 8 << 20;

	if (gpa < lowest) {
		if (bytes <= lowest - gpa)
			return;
		bytes -= lowest - gpa;
		gpa = lowest;
	}
	if (bytes >= AREA_BYTES && area_count < MAX_AREAS)
		areas[area_count++] = (uint8_t *)gpa;
}

/* The device runs already; its back-end is told by the monitor. */
static void plug_memory(const struct guest_boot *boot)
{
	if (boot->starter != MACHINE_BY_MONITOR)
		return;
	port_write32(MACHINE_ASK_PORT, MACHINE_ASK_PLUG);
	expect(port_read32(MACHINE_ANSWER_PORT) == 0, "memory is plugged in");
	add_area(MACHINE_PLUGGED_GPA, MACHINE_PLUGGED_BYTES);
}

/* Of one request: neighbours lie in different parts of memory. */
static void *data_of(unsigned queue, unsigned slot)
{
	unsigned n = queue * DEPTH + slot;

	return areas[n % area_count] + n / area_count * BYTES;
}

static uint64_t sector_of(unsigned queue, unsigned slot)
{
	return (queue * DEPTH + slot) * (uint64_t)(SECTORS + GAP) + GAP;
}

/* The same on all queues and slots, everything in flight at once. */
static void run_all(struct disk *disk, uint32_t type)
{
	unsigned queues = disk->virtio.queue_count;

	for (unsigned q = 0; q < queues; q++) {
		for (unsigned i = 0; i < DEPTH; i++)
			disk_add(disk, q, i, type, sector_of(q, i),
				 data_of(q, i), BYTES);
		disk_kick(disk, q);
	}
	for (unsigned q = 0; q < queues; q++)
		for (unsigned i = 0; i < DEPTH; i++)
			expect(disk_wait(disk, q, i) == VIRTIO_BLK_S_OK,
			       "a request is carried out");
}

static void write_and_read_back(struct disk *disk, uint64_t turn)
{
	unsigned queues = disk->virtio.queue_count;

	for (unsigned q = 0; q < queues; q++)
		for (unsigned i = 0; i < DEPTH; i++)
			disk_pattern(data_of(q, i), sector_of(q, i), BYTES,
				     turn);
	run_all(disk, VIRTIO_BLK_T_OUT);
	expect(disk_run(disk, 0, VIRTIO_BLK_T_FLUSH, 0, NULL, 0) ==
		       VIRTIO_BLK_S_OK,
	       "a flush is carried out");
	for (unsigned q = 0; q < queues; q++)
		for (unsigned i = 0; i < DEPTH; i++)
			memset(data_of(q, i), 0xcc, BYTES);
	run_all(disk, VIRTIO_BLK_T_IN);
	for (unsigned q = 0; q < queues; q++)
		for (unsigned i = 0; i < DEPTH; i++)
			expect(disk_is_pattern(data_of(q, i), sector_of(q, i),
					       BYTES, turn),
			       "what was written is read back");
}

/* A few sectors in the middle of what one request wrote; the rest stays. */
static void overwrite(struct disk *disk, unsigned queue, uint64_t turn)
{
	enum {
		FIRST = 5,
		COUNT = 3
	};
	const uint32_t at = FIRST * DISK_SECTOR_BYTES;
	const uint32_t bytes = COUNT * DISK_SECTOR_BYTES;
	uint64_t sector = sector_of(queue, 0);
	uint8_t *data = data_of(queue, 0);

	disk_pattern(data, sector + FIRST, bytes, turn + 1);
	expect(disk_run(disk, queue, VIRTIO_BLK_T_OUT, sector + FIRST, data,
			bytes) == VIRTIO_BLK_S_OK,
	       "a part is overwritten");
	expect(disk_run(disk, queue, VIRTIO_BLK_T_IN, sector, data, BYTES) ==
		       VIRTIO_BLK_S_OK,
	       "it is read");
	expect(disk_is_pattern(data, sector, at, turn) &&
		       disk_is_pattern(data + at, sector + FIRST, bytes,
				       turn + 1) &&
		       disk_is_pattern(data + at + bytes,
				       sector + FIRST + COUNT,
				       BYTES - at - bytes, turn),
	       "what surrounds an overwritten part stays");
}

static bool is_zero(const uint8_t *data, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		if (data[i] != 0)
			return false;
	return true;
}

/* Both take ranges as data; what a discarded one reads as is open. */
static void clear(struct disk *disk, unsigned queue, unsigned slot,
		  uint32_t type, uint64_t turn)
{
	static struct virtio_blk_discard_write_zeroes range;
	uint64_t sector = sector_of(queue, slot);
	const uint32_t half = BYTES / 2;
	uint8_t *data = data_of(queue, slot);

	range = (struct virtio_blk_discard_write_zeroes){
		.sector = sector, .num_sectors = SECTORS / 2};
	expect(disk_run(disk, queue, type, 0, &range, sizeof(range)) ==
		       VIRTIO_BLK_S_OK,
	       "a range is cleared");
	expect(disk_run(disk, queue, VIRTIO_BLK_T_IN, sector, data, BYTES) ==
		       VIRTIO_BLK_S_OK,
	       "a range is read after it was cleared");
	if (type == VIRTIO_BLK_T_WRITE_ZEROES)
		expect(is_zero(data, half), "zeroes are read as zeroes");
	expect(disk_is_pattern(data + half, sector + SECTORS / 2, half, turn),
	       "what follows a cleared range stays");
}

static void reach_beyond(struct disk *disk, unsigned queue)
{
	void *data = data_of(queue, 0);

	expect(disk_run(disk, queue, VIRTIO_BLK_T_IN, disk->sectors, data,
			BYTES) != VIRTIO_BLK_S_OK,
	       "a read beyond the disk fails");
	expect(disk_run(disk, queue, VIRTIO_BLK_T_OUT, disk->sectors - 1, data,
			BYTES) != VIRTIO_BLK_S_OK,
	       "a write across the end fails");
	expect(disk_run(disk, queue, VIRTIO_BLK_T_IN, 0, data, BYTES) ==
		       VIRTIO_BLK_S_OK,
	       "the device goes on after a request that failed");
}

static void exercise(struct disk *disk, uint64_t turn)
{
	write_and_read_back(disk, turn);
	for (unsigned q = 0; q < disk->virtio.queue_count; q++) {
		overwrite(disk, q, turn);
		if (virtio_has(&disk->virtio, VIRTIO_BLK_F_WRITE_ZEROES))
			clear(disk, q, 1, VIRTIO_BLK_T_WRITE_ZEROES, turn);
		if (virtio_has(&disk->virtio, VIRTIO_BLK_F_DISCARD))
			clear(disk, q, 2, VIRTIO_BLK_T_DISCARD, turn);
		reach_beyond(disk, q);
	}
}

/* Kick to call: a request that needs no image, over and over. */
static void measure(struct disk *disk, const struct guest_boot *boot)
{
	uint64_t trips = option_number(boot, "trips", DEFAULT_TRIPS);
	uint64_t khz = option_number(boot, "tsc_khz", 0);
	uint64_t least = UINT64_MAX, sum = 0;

	for (uint64_t i = 0; i < trips; i++) {
		uint64_t began = time_stamp(), took;

		expect(disk_run(disk, 0, VIRTIO_BLK_T_GET_ID, 0, areas[0],
				VIRTIO_BLK_ID_BYTES) == VIRTIO_BLK_S_OK,
		       "the disk tells its name");
		took = time_stamp() - began;
		sum += took;
		if (took < least)
			least = took;
	}
	print("round trip, %s: ", disk->interrupts ? "interrupts" : "looking");
	if (khz > 0)
		print("%u ns on average, %u ns at least\n",
		      sum / trips * 1000000 / khz, least * 1000000 / khz);
	else
		print("%u ticks on average, %u at least\n", sum / trips, least);
}

static void exercise_both(struct disk *disk, const struct guest_boot *boot)
{
	uint64_t before;

	disk_wait_by_interrupt(disk, false);
	exercise(disk, FIRST_TURN);
	measure(disk, boot);
	before = interrupts_seen();
	disk_wait_by_interrupt(disk, true);
	exercise(disk, LAST_TURN);
	measure(disk, boot);
	/*
	 * On a machine with one processor the device may have been done each
	 * time before we looked: what it announced still waits at our door.
	 */
	kernel_call(KERNEL_WAIT, before, 0, 0);
	expect(interrupts_seen() > before, "interrupts have come");
	print("blk: all is as it was written, in %u areas of memory\n",
	      (uint64_t)area_count);
}

/* What no request after write_and_read_back of the last turn has changed. */
static void look_again(struct disk *disk)
{
	for (unsigned q = 0; q < disk->virtio.queue_count; q++) {
		for (unsigned i = 3; i < DEPTH; i++) {
			expect(disk_run(disk, q, VIRTIO_BLK_T_IN,
					sector_of(q, i), areas[0],
					BYTES) == VIRTIO_BLK_S_OK,
			       "the disk is read again");
			expect(disk_is_pattern(areas[0], sector_of(q, i), BYTES,
					       LAST_TURN),
			       "the disk has what the last run left");
		}
	}
	print("blk: all is as the last run left it\n");
}

static void read_for_ever(struct disk *disk)
{
	print("blk: reading until something happens\n");
	for (;;)
		disk_run(disk, 0, VIRTIO_BLK_T_IN, 0, areas[0], BYTES);
}

int guest_main(const struct guest_boot *boot)
{
	unsigned queues = option_number(boot, "queues", 1);
	static struct disk disk;

	expect(queues > 0 && queues <= VIRTIO_MAX_QUEUES, "queues=1 to 4");
	for (unsigned i = 0; i < boot->ram_count; i++)
		add_area(boot->ram[i].gpa, boot->ram[i].bytes);
	disk_open(&disk, boot, 0, queues);
	print("disk: %u sectors, %u queues, %s\n", disk.sectors,
	      (uint64_t)queues,
	      disk.virtio.queues[0].packed ? "packed" : "split");
	plug_memory(boot);
	expect(area_count > 0, "there is memory for data");
	if (option_given(boot, "endless"))
		read_for_ever(&disk);
	if (option_given(boot, "again"))
		look_again(&disk);
	else
		exercise_both(&disk, boot);
	virtio_reset(&disk.virtio);
	return MACHINE_OK;
}
