/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/vbench/blk-load.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "tools/vbench/random.h"

enum {
	TABLE_ENTRIES = 3,
	TABLE_BYTES = TABLE_ENTRIES * 16,
	/* Chains taken back before new ones are published in their stead. */
	BATCH = 16,
	SPINS_PER_CLOCK = 256,
	STALL_SECONDS = 10,
	LOOK_AT_SOCKET_MS = 100,
	SLOT_EXTRA_BYTES = 512,
};

static struct blk_options driver_options(const struct bench_options *o)
{
	struct blk_options d = {
		.queues = o->queues,
		.queue_size = o->queue_size,
		.poll = !o->notify,
		.ram_bytes = (uint64_t)o->queues *
			     (o->iodepth * (o->block_bytes + 4096ull) +
			      o->queue_size * 128ull + 65536),
		.indirect_max = TABLE_ENTRIES,
		.without = UINT64_C(1) << VIRTIO_F_IN_ORDER,
		.protocol_without =
			VHOST_USER_BIT(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD),
	};

	if (!o->packed)
		d.without |= UINT64_C(1) << VIRTIO_F_RING_PACKED;
	if (!o->indirect)
		d.without |= UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC;
	if (!o->event_idx)
		d.without |= UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX;
	return d;
}

static void describe_slot(struct blk_load *load, struct blk_slot *slot,
			  uint64_t extra_gpa, uint64_t data_gpa)
{
	struct ram *ram = load->driver->ram;

	slot->header = ram_at(ram, extra_gpa);
	slot->status = ram_at(ram, extra_gpa + 64);
	slot->data = ram_at(ram, data_gpa);
	slot->tables_gpa = extra_gpa + 128;
	for (unsigned write = 0; write < 2; write++) {
		struct driver_buffer *b = slot->buffers[write];

		b[0] = (struct driver_buffer){extra_gpa, BLK_HEADER_BYTES,
					      false};
		b[1] = (struct driver_buffer){
			data_gpa, load->options->block_bytes, !write};
		b[2] = (struct driver_buffer){extra_gpa + 64, 1, true};
		driver_ring_table(
			load->driver->rings[0],
			ram_at(ram, slot->tables_gpa + write * TABLE_BYTES), b,
			TABLE_ENTRIES);
	}
}

static int make_slots(struct blk_load *load)
{
	const struct bench_options *o = load->options;
	struct ram *ram = load->driver->ram;
	uint64_t seed = o->seed;

	load->slot_count = o->queues * o->iodepth;
	load->slots = calloc(load->slot_count, sizeof(*load->slots));
	if (!load->slots)
		return -ENOMEM;
	for (unsigned i = 0; i < load->slot_count; i++) {
		uint64_t extra = ram_alloc(ram, SLOT_EXTRA_BYTES, 64);
		uint64_t data = ram_alloc(ram, o->block_bytes, 4096);

		if (extra == RAM_NONE || data == RAM_NONE)
			return -ENOMEM;
		describe_slot(load, &load->slots[i], extra, data);
		load->slots[i].queue = i / o->iodepth;
		random_fill(&seed, load->slots[i].data, o->block_bytes);
	}
	return 0;
}

/* Whether the back-end gave what was asked for. */
static int check_offer(const struct blk_load *load)
{
	const struct bench_options *o = load->options;
	const struct frontend *fe = load->driver->fe;

	if (o->packed && !frontend_has(fe, VIRTIO_F_RING_PACKED)) {
		fprintf(stderr,
			"vbench: --packed: the back-end has no packed rings\n");
		return -EOPNOTSUPP;
	}
	if ((o->verify || o->rw == BLK_RW_WRITE || o->rw == BLK_RW_RANDWRITE ||
	     o->rw == BLK_RW_RANDRW) &&
	    frontend_has(fe, VIRTIO_BLK_F_RO)) {
		fprintf(stderr, "vbench: the device is read-only\n");
		return -EROFS;
	}
	return 0;
}

static int find_size(struct blk_load *load)
{
	const struct bench_options *o = load->options;
	struct virtio_blk_config config;
	uint64_t bytes;
	int err = blk_config(load->driver, &config);

	if (err < 0) {
		fprintf(stderr, "vbench: the device's size: %s\n",
			strerror(-err));
		return err;
	}
	bytes = le64toh(config.capacity) * BLK_SECTOR_BYTES;
	if (o->size_bytes > bytes) {
		fprintf(stderr,
			"vbench: --size=%" PRIu64 ": the device has %" PRIu64
			" bytes\n",
			o->size_bytes, bytes);
		return -EINVAL;
	}
	load->blocks = (o->size_bytes ? o->size_bytes : bytes) / o->block_bytes;
	if (load->blocks < o->queues) {
		fprintf(stderr,
			"vbench: --bs=%u: no such block for each queue in "
			"%" PRIu64 " bytes\n",
			o->block_bytes, o->size_bytes ? o->size_bytes : bytes);
		return -EINVAL;
	}
	return 0;
}

int blk_load_new(const struct bench_options *options,
		 struct blk_load **ret_load)
{
	const struct blk_options d = driver_options(options);
	struct blk_load *load = calloc(1, sizeof(*load));
	int err;

	if (!load)
		return -ENOMEM;
	load->options = options;
	err = blk_driver_open(options->socket_path, &d, &load->driver);
	if (err == -ERANGE)
		fprintf(stderr,
			"vbench: --queues=%u: the back-end has not so many\n",
			options->queues);
	else if (err < 0)
		fprintf(stderr, "vbench: %s: %s\n", options->socket_path,
			strerror(-err));
	if (err == 0)
		err = check_offer(load);
	if (err == 0)
		err = find_size(load);
	if (err == 0)
		err = make_slots(load);
	if (err < 0) {
		blk_load_free(load);
		return err;
	}
	*ret_load = load;
	return 0;
}

void blk_load_free(struct blk_load *load)
{
	if (!load)
		return;
	blk_driver_free(load->driver);
	free(load->slots);
	free(load);
}

static void submit(struct blk_load *load, struct driver_ring *ring,
		   struct blk_slot *slot, uint64_t now)
{
	uint64_t sector =
		slot->block * (load->options->block_bytes / BLK_SECTOR_BYTES);
	uint32_t written = 1 + (slot->write ? 0 : load->options->block_bytes);

	slot->header->type =
		htole32(slot->write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN);
	slot->header->sector = htole64(sector);
	*slot->status = BLK_STATUS_UNWRITTEN;
	slot->start_ns = now;
	/* There is room: a slot is only here when it is not in the ring. */
	if (ring->config.indirect)
		driver_ring_add_table(
			ring, slot->tables_gpa + slot->write * TABLE_BYTES,
			TABLE_ENTRIES, written, slot);
	else
		driver_ring_add(ring, slot->buffers[slot->write], TABLE_ENTRIES,
				slot);
	load->in_flight++;
}

static void count_error(struct blk_load *load, const struct blk_slot *slot)
{
	if (load->errors++ == 0)
		fprintf(stderr,
			"vbench: %s of block %" PRIu64
			" failed with status %u\n",
			slot->write ? "write" : "read", slot->block,
			*slot->status);
}

/*
 * Takes back up to BATCH chains of one queue and, while the run @goes_on,
 * sends their slots out again. How many, or -EPROTO.
 */
static int turn_around(struct blk_load *load, struct driver_ring *ring,
		       struct blk_plan *plan, bool *goes_on)
{
	uint64_t now = clock_ns();
	int taken = 0, found = 0;
	void *token;

	while (taken < BATCH &&
	       (found = driver_ring_pop(ring, &token, NULL)) == 1) {
		struct blk_slot *slot = token;

		taken++;
		load->in_flight--;
		if (*slot->status != VIRTIO_BLK_S_OK)
			count_error(load, slot);
		else if (!plan->done(plan, slot, now))
			*goes_on = false;
		if (*goes_on && plan->next(plan, slot))
			submit(load, ring, slot, now);
	}
	if (found < 0)
		return found;
	driver_ring_publish(ring);
	driver_ring_kick(ring);
	load->last_completion_ns = now;
	return taken;
}

static void send_all(struct blk_load *load, struct blk_plan *plan)
{
	uint64_t now = clock_ns();

	load->last_completion_ns = now;
	for (unsigned i = 0; i < load->slot_count; i++) {
		struct blk_slot *slot = &load->slots[i];

		if (plan->next(plan, slot))
			submit(load, load->driver->rings[slot->queue], slot,
			       now);
	}
	for (unsigned i = 0; i < load->driver->queues; i++) {
		driver_ring_publish(load->driver->rings[i]);
		driver_ring_kick(load->driver->rings[i]);
	}
}

static int look_for_trouble(const struct blk_load *load, uint64_t now)
{
	struct pollfd pfd = {
		.fd = load->driver->fe->fd,
		.events = POLLRDHUP,
	};
	uint64_t silence = now - load->last_completion_ns;

	if (load->in_flight == 0 || silence < LOOK_AT_SOCKET_MS * 1000000ull)
		return 0;
	if (poll(&pfd, 1, 0) > 0) {
		fprintf(stderr, "vbench: the back-end hung up\n");
		return -ECONNRESET;
	}
	if (silence < STALL_SECONDS * NS_PER_SECOND)
		return 0;
	fprintf(stderr, "vbench: no completion for %d seconds, %u in flight\n",
		STALL_SECONDS, load->in_flight);
	return -ETIMEDOUT;
}

/* Sleeps until a queue interrupts, unless one has something already. */
static void wait_for_calls(struct blk_load *load)
{
	struct pollfd fds[BLK_MAX_QUEUES];
	unsigned count = load->driver->queues;
	bool found = false;
	uint64_t ignored;

	for (unsigned i = 0; i < count; i++) {
		struct driver_ring *ring = load->driver->rings[i];

		fds[i] = (struct pollfd){.fd = ring->call_fd, .events = POLLIN};
		found |= driver_ring_calls_on(ring);
	}
	if (!found)
		poll(fds, count, LOOK_AT_SOCKET_MS);
	for (unsigned i = 0; i < count; i++) {
		if (!found && fds[i].revents & POLLIN &&
		    read(fds[i].fd, &ignored, sizeof(ignored)) < 0)
			continue; /* somebody signalled and took it back */
		driver_ring_calls_off(load->driver->rings[i]);
	}
}

/* Nothing came back on any queue. */
static void idle(struct blk_load *load, unsigned *spins)
{
	if (load->options->notify)
		wait_for_calls(load);
	else
		cpu_relax();
	++*spins;
}

static int one_round(struct blk_load *load, struct blk_plan *plan,
		     bool *goes_on, unsigned *ret_taken)
{
	unsigned total = 0;

	for (unsigned i = 0; i < load->driver->queues; i++) {
		struct driver_ring *ring = load->driver->rings[i];
		int taken;

		if (!driver_ring_has_used(ring))
			continue;
		taken = turn_around(load, ring, plan, goes_on);
		if (taken < 0) {
			fprintf(stderr,
				"vbench: queue %u: the back-end "
				"returned what it did not have\n",
				i);
			return taken;
		}
		total += taken;
	}
	*ret_taken = total;
	return 0;
}

int blk_load_run(struct blk_load *load, struct blk_plan *plan)
{
	bool goes_on = true;
	unsigned spins = 0, taken = 0;
	uint64_t now;
	int err = 0;

	send_all(load, plan);
	while (load->in_flight > 0 && err == 0) {
		err = one_round(load, plan, &goes_on, &taken);
		if (err < 0)
			break;
		if (taken == 0)
			idle(load, &spins);
		if (taken == 0 && !load->options->notify &&
		    spins % SPINS_PER_CLOCK != 0)
			continue;
		now = taken > 0 ? load->last_completion_ns : clock_ns();
		if (!plan->goes_on(plan, now))
			goes_on = false;
		err = look_for_trouble(load, now);
	}
	return err;
}
