/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device with its threads, on real rings and a real file, but without a
 * session: the tests are the control thread, and the driver.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/loop.h"
#include "image/open.h"
#include "tests/cmocka.h"
#include "tests/frontend/driver-ring.h"
#include "tests/frontend/ram.h"
#include "vhost-blk/blk-device.h"
#include "vhost-blk/blk-request.h"

enum {
	IMAGE_BYTES = 1 << 20,
	RING_SIZE = 256,
	QUEUES = 2,
	SPLIT_QUEUE = 0,
	PACKED_QUEUE = 1,
	TIMEOUT_MS = 5000,
	UNWRITTEN = 0xee,
};

struct queue {
	struct driver_ring *driver;
	struct virtq *vq;
};

struct fixture {
	char path[64];
	struct image *image;
	struct loop *loop;
	struct blk_device *device;
	struct vhost_device *vhost;
	struct ram *ram;
	struct guest_memory *memory;
	struct queue queues[QUEUES];
	unsigned broken; /* a bit for each queue that was reported */
};

/* Where a request lies in guest memory. */
struct ask {
	uint64_t header_gpa;
	uint64_t data_gpa;
	uint64_t status_gpa;
	uint32_t written;
};

static void queue_broke(void *arg, unsigned index)
{
	struct fixture *f = arg;

	f->broken |= 1U << index;
	f->vhost->ops->queue_stop(f->vhost, index);
}

static void open_image(struct fixture *f)
{
	struct image_open_request request = {.path = f->path};
	char *error = NULL;
	int fd;

	strcpy(f->path, "/tmp/ringline-blk-XXXXXX");
	fd = mkstemp(f->path);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, IMAGE_BYTES), 0);
	close(fd);
	assert_int_equal(image_open(&request, &f->image, &error, NULL), 0);
}

static void open_memory(struct fixture *f)
{
	struct guest_region_spec specs[RAM_MAX_REGIONS];

	assert_int_equal(ram_new_usual(8 << 20, &f->ram), 0);
	for (unsigned i = 0; i < f->ram->count; i++)
		specs[i] = (struct guest_region_spec){
			.gpa = f->ram->regions[i].gpa,
			.size_bytes = f->ram->regions[i].size_bytes,
			.uva = f->ram->regions[i].uva,
			.mmap_offset = f->ram->regions[i].mmap_offset,
			.fd = f->ram->regions[i].fd,
		};
	assert_int_equal(guest_memory_new(specs, f->ram->count, &f->memory), 0);
}

static void open_ring(struct fixture *f, struct queue *queue, bool packed)
{
	const struct driver_ring_config config = {
		.size = RING_SIZE,
		.packed = packed,
		.indirect = true,
		.indirect_max = 300,
	};

	assert_int_equal(driver_ring_new(f->ram, &config, &queue->driver), 0);
	assert_int_equal(virtq_new(&queue->vq), 0);
}

/* As the session does it. */
static void start(struct fixture *f, unsigned index, bool enabled, bool kick)
{
	struct queue *queue = &f->queues[index];
	const struct virtq_config config = {
		.size = RING_SIZE,
		.packed = queue->driver->config.packed,
		.indirect = true,
		.base = driver_ring_first_base(queue->driver->config.packed),
		.desc_uva = ram_uva(f->ram, queue->driver->desc_gpa),
		.avail_uva = ram_uva(f->ram, queue->driver->avail_gpa),
		.used_uva = ram_uva(f->ram, queue->driver->used_gpa),
		.call_fd = queue->driver->call_fd,
		.err_fd = -1,
	};

	assert_int_equal(virtq_start(queue->vq, &config, f->memory, NULL,
				     (struct inflight_queue){0}),
			 0);
	assert_int_equal(f->vhost->ops->queue_start(
				 f->vhost, index, queue->vq,
				 kick ? queue->driver->kick_fd : -1, enabled),
			 0);
}

static int set_up(void **state)
{
	static struct fixture fixture;
	static struct blk_options options;
	char *argv[] = {(char *)"vhost-blk",	     (char *)"--blk-file=x",
			(char *)"--num-queues=2",    (char *)"--threads=2",
			(char *)"--serial=a serial", NULL};
	char error[OPTIONS_ERROR_BYTES];
	struct fixture *f = &fixture;

	memset(f, 0, sizeof(*f));
	assert_int_equal(blk_options_parse(5, argv, &options, error), 0);
	open_image(f);
	open_memory(f);
	assert_int_equal(loop_new(64, &f->loop), 0);
	assert_int_equal(blk_device_new(
				 &(struct blk_device_config){
					 .options = &options,
					 .name = "test",
					 .image = f->image,
					 .control = f->loop,
					 .queue_broke = queue_broke,
					 .arg = f,
				 },
				 &f->device),
			 0);
	f->vhost = blk_device_vhost(f->device);
	f->vhost->ops->set_features(f->vhost, f->vhost->features);
	for (unsigned i = 0; i < QUEUES; i++)
		open_ring(f, &f->queues[i], i == PACKED_QUEUE);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < QUEUES; i++) {
		f->vhost->ops->queue_stop(f->vhost, i);
		virtq_free(f->queues[i].vq);
		driver_ring_free(f->queues[i].driver);
	}
	blk_device_free(f->device);
	loop_free(f->loop);
	guest_memory_unref(f->memory);
	ram_free(f->ram);
	image_close(f->image);
	unlink(f->path);
	return 0;
}

static struct ask prepare(struct fixture *f, uint32_t type, uint64_t sector,
			  uint32_t bytes)
{
	struct ask ask = {
		.header_gpa = ram_alloc(f->ram, 16, 16),
		.data_gpa = ram_alloc(f->ram, bytes + 1, 512),
		.status_gpa = ram_alloc(f->ram, 1, 1),
	};
	struct virtio_blk_outhdr *header = ram_at(f->ram, ask.header_gpa);

	*header = (struct virtio_blk_outhdr){.type = htole32(type),
					     .sector = htole64(sector)};
	*(uint8_t *)ram_at(f->ram, ask.status_gpa) = UNWRITTEN;
	return ask;
}

static void add(struct fixture *f, unsigned queue, struct ask *ask,
		uint32_t bytes, bool device_writes)
{
	const struct driver_buffer buffers[] = {
		{ask->header_gpa, 16, false},
		{ask->data_gpa, bytes, device_writes},
		{ask->status_gpa, 1, true},
	};

	assert_int_equal(
		driver_ring_add(f->queues[queue].driver, buffers, 3, ask), 0);
}

static void submit(struct fixture *f, unsigned queue)
{
	driver_ring_publish(f->queues[queue].driver);
	driver_ring_kick(f->queues[queue].driver);
}

static uint8_t await_one(struct fixture *f, unsigned queue)
{
	struct driver_ring *driver = f->queues[queue].driver;
	struct ask *ask;
	uint32_t written;
	void *token;

	assert_int_equal(driver_ring_wait(driver, true, TIMEOUT_MS), 0);
	assert_int_equal(driver_ring_pop(driver, &token, &written), 1);
	ask = token;
	ask->written = written;
	return *(uint8_t *)ram_at(f->ram, ask->status_gpa);
}

static uint8_t run(struct fixture *f, unsigned queue, struct ask *ask,
		   uint32_t bytes, bool device_writes)
{
	add(f, queue, ask, bytes, device_writes);
	submit(f, queue);
	return await_one(f, queue);
}

static void read_returns_what_another_queue_wrote(void **state)
{
	struct fixture *f = *state;
	struct ask write = prepare(f, VIRTIO_BLK_T_OUT, 8, 8192);
	struct ask read = prepare(f, VIRTIO_BLK_T_IN, 8, 8192);

	start(f, 0, true, true);
	start(f, 1, true, true);
	memset(ram_at(f->ram, write.data_gpa), 0x5a, 8192);
	assert_int_equal(run(f, 0, &write, 8192, false), VIRTIO_BLK_S_OK);
	assert_int_equal(write.written, 1);
	assert_int_equal(run(f, 1, &read, 8192, true), VIRTIO_BLK_S_OK);
	assert_int_equal(read.written, 8193);
	assert_memory_equal(ram_at(f->ram, read.data_gpa),
			    ram_at(f->ram, write.data_gpa), 8192);
}

static void sleeping_thread_wakes_for_a_kick(void **state)
{
	struct fixture *f = *state;

	start(f, 0, true, true);
	for (int i = 0; i < 5; i++) {
		struct ask ask = prepare(f, VIRTIO_BLK_T_IN, 0, 512);

		usleep(2000); /* longer than it spins */
		assert_int_equal(run(f, 0, &ask, 512, true), VIRTIO_BLK_S_OK);
	}
}

static void queue_without_a_kick_descriptor_is_looked_at(void **state)
{
	struct fixture *f = *state;
	struct ask ask = prepare(f, VIRTIO_BLK_T_IN, 0, 512);

	start(f, 0, true, false);
	usleep(2000);
	assert_int_equal(run(f, 0, &ask, 512, true), VIRTIO_BLK_S_OK);
}

static void disabled_queue_is_left_alone(void **state)
{
	struct fixture *f = *state;
	struct ask ask = prepare(f, VIRTIO_BLK_T_IN, 0, 512);

	start(f, 0, false, true);
	add(f, 0, &ask, 512, true);
	submit(f, 0);
	usleep(5000);
	assert_false(driver_ring_has_used(f->queues[0].driver));
	/* No second kick: the ring is looked at when it is enabled. */
	f->vhost->ops->queue_enable(f->vhost, 0, true);
	assert_int_equal(await_one(f, 0), VIRTIO_BLK_S_OK);
}

static void stop_gives_back_all_that_was_taken(void **state)
{
	enum {
		COUNT = 64
	};
	struct fixture *f = *state;
	struct ask asks[COUNT];
	unsigned used = 0;
	uint32_t base;

	start(f, 0, true, true);
	for (int i = 0; i < COUNT; i++) {
		asks[i] = prepare(f, VIRTIO_BLK_T_OUT, i, 512);
		add(f, 0, &asks[i], 512, false);
	}
	submit(f, 0);
	f->vhost->ops->queue_stop(f->vhost, 0);
	assert_int_equal(virtq_in_flight(f->queues[0].vq), 0);
	base = virtq_stop(f->queues[0].vq);
	while (driver_ring_pop(f->queues[0].driver, NULL, NULL) == 1)
		used++;
	assert_int_equal(used, base);
}

static void stopped_queue_goes_on_where_it_was(void **state)
{
	struct fixture *f = *state;
	struct ask first = prepare(f, VIRTIO_BLK_T_IN, 0, 512);
	struct ask second = prepare(f, VIRTIO_BLK_T_IN, 0, 512);
	struct queue *queue = &f->queues[0];

	start(f, 0, true, true);
	assert_int_equal(run(f, 0, &first, 512, true), VIRTIO_BLK_S_OK);
	f->vhost->ops->queue_stop(f->vhost, 0);
	/* With the memory swapped, say; the ring itself was not stopped. */
	assert_int_equal(f->vhost->ops->queue_start(f->vhost, 0, queue->vq,
						    queue->driver->kick_fd,
						    true),
			 0);
	assert_int_equal(run(f, 0, &second, 512, true), VIRTIO_BLK_S_OK);
}

static void await_broken(struct fixture *f, unsigned index)
{
	const uint64_t end = clock_ns() + 5 * NS_PER_SECOND;

	while (!(f->broken & 1U << index) && clock_ns() < end)
		loop_wait(f->loop, NS_PER_SECOND / 10);
	assert_true(f->broken & 1U << index);
}

static void chain_without_a_status_stops_its_queue_alone(void **state)
{
	struct fixture *f = *state;
	struct ask bad = prepare(f, VIRTIO_BLK_T_OUT, 0, 512);
	struct ask good = prepare(f, VIRTIO_BLK_T_IN, 0, 512);
	const struct driver_buffer buffers[] = {
		{bad.header_gpa, 16, false},
		{bad.data_gpa, 512, false},
	};

	start(f, 0, true, true);
	start(f, 1, true, true);
	assert_int_equal(driver_ring_add(f->queues[0].driver, buffers, 2, &bad),
			 0);
	submit(f, 0);
	await_broken(f, 0);
	assert_non_null(virtq_error(f->queues[0].vq));
	assert_int_equal(run(f, 1, &good, 512, true), VIRTIO_BLK_S_OK);
	assert_int_equal(f->broken, 1);
}

static void too_many_segments_on(struct fixture *f, unsigned queue)
{
	enum {
		PIECES = 250
	};
	struct ask ask = prepare(f, VIRTIO_BLK_T_IN, 0, PIECES * 512);
	struct ask good = prepare(f, VIRTIO_BLK_T_IN, 0, 512);
	struct driver_buffer buffers[PIECES + 2];

	buffers[0] = (struct driver_buffer){ask.header_gpa, 16, false};
	for (unsigned i = 0; i < PIECES; i++)
		buffers[i + 1] = (struct driver_buffer){ask.data_gpa + i * 512,
							512, true};
	buffers[PIECES + 1] = (struct driver_buffer){ask.status_gpa, 1, true};
	start(f, queue, true, true);
	assert_int_equal(driver_ring_add(f->queues[queue].driver, buffers,
					 PIECES + 2, &ask),
			 0);
	submit(f, queue);
	assert_int_equal(await_one(f, queue), VIRTIO_BLK_S_IOERR);
	assert_int_equal(run(f, queue, &good, 512, true), VIRTIO_BLK_S_OK);
}

static void chain_of_too_many_segments_gets_a_status(void **state)
{
	too_many_segments_on(*state, SPLIT_QUEUE);
	too_many_segments_on(*state, PACKED_QUEUE);
}

/* Each buffer lies across the edge of two regions, and so is two segments. */
static void chain_longer_than_all_of_memory_stops_its_queue(void **state)
{
	enum {
		PIECES = 20000
	};
	struct fixture *f = *state;
	const struct ram_region *above = &f->ram->regions[1];
	struct driver_ring *driver = f->queues[SPLIT_QUEUE].driver;
	uint64_t table_gpa = ram_alloc(f->ram, PIECES * 16, 16);
	struct vring_desc *table = ram_at(f->ram, table_gpa);
	struct vring_desc *desc = ram_at(f->ram, driver->desc_gpa);
	struct vring_avail *avail = ram_at(f->ram, driver->avail_gpa);

	for (unsigned i = 0; i < PIECES; i++)
		table[i] = (struct vring_desc){
			.addr = htole64(above->gpa - 1),
			.len = htole32(2),
			.flags = htole16(
				VRING_DESC_F_WRITE |
				(i + 1 < PIECES ? VRING_DESC_F_NEXT : 0)),
			.next = htole16(i + 1),
		};
	desc[0] = (struct vring_desc){
		.addr = htole64(table_gpa),
		.len = htole32(PIECES * 16),
		.flags = htole16(VRING_DESC_F_INDIRECT),
	};
	avail->ring[0] = 0;
	avail->idx = htole16(1);
	start(f, SPLIT_QUEUE, true, true);
	await_broken(f, SPLIT_QUEUE);
	assert_non_null(virtq_error(f->queues[SPLIT_QUEUE].vq));
}

static void serial_is_what_was_set(void **state)
{
	struct fixture *f = *state;
	struct ask ask = prepare(f, VIRTIO_BLK_T_GET_ID, 0, 20);

	start(f, 0, true, true);
	assert_int_equal(run(f, 0, &ask, 20, true), VIRTIO_BLK_S_OK);
	assert_string_equal(ram_at(f->ram, ask.data_gpa), "a serial");
}

static void every_range_of_write_zeroes_is_carried_out(void **state)
{
	struct fixture *f = *state;
	struct ask write = prepare(f, VIRTIO_BLK_T_OUT, 0, 8192);
	struct ask zero = prepare(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, 32);
	struct ask read = prepare(f, VIRTIO_BLK_T_IN, 0, 8192);
	struct virtio_blk_discard_write_zeroes *ranges =
		ram_at(f->ram, zero.data_gpa);
	const uint8_t *data = ram_at(f->ram, read.data_gpa);

	start(f, 0, true, true);
	memset(ram_at(f->ram, write.data_gpa), 0xff, 8192);
	assert_int_equal(run(f, 0, &write, 8192, false), VIRTIO_BLK_S_OK);
	ranges[0] = (struct virtio_blk_discard_write_zeroes){
		.sector = htole64(1), .num_sectors = htole32(1)};
	ranges[1] = (struct virtio_blk_discard_write_zeroes){
		.sector = htole64(8), .num_sectors = htole32(8)};
	assert_int_equal(run(f, 0, &zero, 32, false), VIRTIO_BLK_S_OK);
	assert_int_equal(run(f, 0, &read, 8192, true), VIRTIO_BLK_S_OK);
	assert_int_equal(data[511], 0xff);
	assert_true(bytes_are_zero(data + 512, 512));
	assert_int_equal(data[1024], 0xff);
	assert_int_equal(data[4095], 0xff);
	assert_true(bytes_are_zero(data + 4096, 4096));
}

static void flush_succeeds_and_unknown_is_unsupported(void **state)
{
	struct fixture *f = *state;
	struct ask flush = prepare(f, VIRTIO_BLK_T_FLUSH, 0, 0);
	struct ask unknown = prepare(f, 77, 0, 512);
	const struct driver_buffer buffers[] = {
		{flush.header_gpa, 16, false},
		{flush.status_gpa, 1, true},
	};

	start(f, 0, true, true);
	assert_int_equal(
		driver_ring_add(f->queues[0].driver, buffers, 2, &flush), 0);
	submit(f, 0);
	assert_int_equal(await_one(f, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(run(f, 0, &unknown, 512, true), VIRTIO_BLK_S_UNSUPP);
}

static void reset_brings_the_first_cache_mode_back(void **state)
{
	struct fixture *f = *state;
	const uint8_t off = 0;
	uint8_t wce = 7;

	assert_int_equal(f->vhost->ops->set_config(f->vhost, 32, &off, 1, 0),
			 0);
	assert_int_equal(f->vhost->ops->get_config(f->vhost, 32, &wce, 1), 0);
	assert_int_equal(wce, 0);
	f->vhost->ops->reset(f->vhost);
	assert_int_equal(f->vhost->ops->get_config(f->vhost, 32, &wce, 1), 0);
	assert_int_equal(wce, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(read_returns_what_another_queue_wrote),
		TEST(sleeping_thread_wakes_for_a_kick),
		TEST(queue_without_a_kick_descriptor_is_looked_at),
		TEST(disabled_queue_is_left_alone),
		TEST(stop_gives_back_all_that_was_taken),
		TEST(stopped_queue_goes_on_where_it_was),
		TEST(chain_without_a_status_stops_its_queue_alone),
		TEST(chain_of_too_many_segments_gets_a_status),
		TEST(chain_longer_than_all_of_memory_stops_its_queue),
		TEST(serial_is_what_was_set),
		TEST(every_range_of_write_zeroes_is_carried_out),
		TEST(flush_succeeds_and_unknown_is_unsupported),
		TEST(reset_brings_the_first_cache_mode_back),
	};
#undef TEST

	return cmocka_run_group_tests(tests, NULL, NULL);
}
