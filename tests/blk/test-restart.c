/* SPDX-License-Identifier: Apache-2.0 */
/* Rings and daemons that stop and go on, and what was written meanwhile. */
#include <errno.h>
#include <linux/virtio_config.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "tests/blk/fixture.h"

enum {
	REQUESTS = 96,
	REQUEST_BYTES = 4096,
	PAGE_BYTES = 4096,
	SETTLE_US = 30000,
	QCOW2_CLUSTER = 65536,
};

static const uint64_t no_packed = UINT64_C(1) << VIRTIO_F_RING_PACKED;
static const uint64_t no_in_order = UINT64_C(1) << VIRTIO_F_IN_ORDER;

/* Half writes of patterns, half reads of what nobody writes. */
static void make_requests(struct blk_driver *d, struct blk_request *r,
			  uint64_t seed)
{
	for (unsigned i = 0; i < REQUESTS; i++) {
		bool write = i & 1;

		assert_int_equal(
			blk_prepare(d, &r[i],
				    write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN,
				    i * 8 + (write ? 8192 : 0),
				    write ? REQUEST_BYTES : 0,
				    write ? 0 : REQUEST_BYTES),
			0);
		if (write)
			fixture_pattern(blk_out_data(d, &r[i]), REQUEST_BYTES,
					seed + i);
	}
}

static void send_again(struct blk_driver *d, struct blk_request *r)
{
	for (unsigned i = 0; i < REQUESTS; i++) {
		r[i].completions = 0;
		assert_int_equal(blk_add(d, i % d->queues, &r[i]), 0);
	}
	for (unsigned i = 0; i < d->queues; i++)
		blk_kick(d, i);
}

static void check_data(const struct fixture *f, const struct blk_driver *d,
		       const struct blk_request *r)
{
	uint8_t found[REQUEST_BYTES];

	for (unsigned i = 0; i < REQUESTS; i++) {
		bool write = i & 1;
		uint64_t offset = (i * 8 + (write ? 8192 : 0)) * 512;

		assert_int_equal(r[i].completions, 1);
		assert_int_equal(r[i].status, VIRTIO_BLK_S_OK);
		fixture_read_image(f, offset, found, REQUEST_BYTES);
		assert_memory_equal(found,
				    write ? blk_out_data(d, &r[i])
					  : blk_in_data(d, &r[i]),
				    REQUEST_BYTES);
	}
}

/* All come back once, and nothing after them. */
static void collect(const struct fixture *f, struct blk_driver *d,
		    struct blk_request *r)
{
	for (unsigned i = 0; i < REQUESTS; i++)
		if (blk_wait(d, i % d->queues, &r[i]) < 0)
			fail_msg("request %u of %u is lost", i, REQUESTS);
	/* No event to wait for: what must not come is given time to. */
	usleep(SETTLE_US);
	for (unsigned i = 0; i < d->queues; i++) {
		assert_int_equal(blk_reap(d, i), 0);
		assert_int_equal(driver_ring_in_flight(d->rings[i]), 0);
	}
	check_data(f, d, r);
}

/*
 * The socket of a killed process may take connections for a moment yet, until
 * the kernel has ended what it had under way: as a real front-end, try again.
 */
static void go_on(const struct fixture *f, struct blk_driver *d)
{
	struct frontend *fe;
	int err = -ECONNRESET;

	for (unsigned tries = 0; tries < 100 && err == -ECONNRESET; tries++) {
		assert_int_equal(frontend_connect(f->process.socket, &fe), 0);
		err = blk_driver_reconnect(d, fe);
		if (err < 0)
			usleep(10000);
	}
	if (err < 0)
		fail_msg("cannot go on: %s", strerror(-err));
}

/* Returns how many requests were in flight when it died. */
static unsigned kill_and_go_on(struct fixture *f, struct blk_driver *d)
{
	unsigned in_flight = 0;

	process_stop(&f->process, SIGKILL);
	for (unsigned i = 0; i < d->queues; i++) {
		assert_true(blk_reap(d, i) >= 0);
		in_flight += driver_ring_in_flight(d->rings[i]);
	}
	f->process.pid = fixture_spawn(f, f->process.socket, NULL);
	go_on(f, d);
	return in_flight;
}

static void killed_with_requests_in_flight(struct fixture *f, uint64_t without)
{
	const struct blk_options options = {
		.queues = 2,
		.without = without,
		.queue_size = 64,
	};
	static struct blk_request r[REQUESTS];
	unsigned in_flight = 0;
	struct blk_driver *d;

	fixture_start(f, NULL);
	d = fixture_open(f, &options);
	assert_true(frontend_has_protocol(
		d->fe, VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD));
	make_requests(d, r, 1);
	for (unsigned round = 0; round < 12; round++) {
		send_again(d, r);
		/* From before the first to after the last. */
		usleep(round * 40);
		if (round % 2)
			assert_true(blk_reap(d, 0) >= 0);
		in_flight += kill_and_go_on(f, d);
		collect(f, d, r);
	}
	/* Else the killing proved nothing. */
	assert_true(in_flight > 0);
	blk_driver_free(d);
}

static void a_killed_daemon_loses_nothing_of_a_split_ring(void **state)
{
	killed_with_requests_in_flight(*state, no_packed | no_in_order);
}

static void a_killed_daemon_loses_nothing_of_a_packed_ring(void **state)
{
	killed_with_requests_in_flight(*state, no_in_order);
}

static void a_killed_daemon_loses_nothing_in_order(void **state)
{
	killed_with_requests_in_flight(*state, no_packed);
}

static void run_tool(const char *format, const struct fixture *f)
{
	char command[256];

	snprintf(command, sizeof(command), format, f->image);
	assert_int_equal(system(command), 0);
}

/* Every 64 KiB of the first @count a piece that tells its place and round. */
static void write_pieces(struct blk_driver *d, unsigned first, unsigned count,
			 uint8_t *model)
{
	for (unsigned i = first; i < first + count; i++) {
		uint8_t *piece = model + i * QCOW2_CLUSTER + 8192;

		fixture_pattern(piece, REQUEST_BYTES, i + first * 1000);
		assert_int_equal(blk_write(d, 0,
					   (piece - model) / BLK_SECTOR_BYTES,
					   piece, REQUEST_BYTES),
				 VIRTIO_BLK_S_OK);
	}
}

static void discard_piece(struct blk_driver *d, unsigned at, uint8_t *model)
{
	const struct virtio_blk_discard_write_zeroes range = {
		.sector = at * QCOW2_CLUSTER / BLK_SECTOR_BYTES,
		.num_sectors = QCOW2_CLUSTER / BLK_SECTOR_BYTES,
	};

	assert_int_equal(blk_ranges(d, 0, VIRTIO_BLK_T_WRITE_ZEROES, &range, 1),
			 VIRTIO_BLK_S_OK);
	memset(model + at * QCOW2_CLUSTER, 0, QCOW2_CLUSTER);
}

static void check_model(struct blk_driver *d, const uint8_t *model)
{
	static uint8_t found[QCOW2_CLUSTER];

	for (unsigned i = 0; i < FIXTURE_IMAGE_BYTES / QCOW2_CLUSTER; i++) {
		assert_int_equal(blk_read(d, 0,
					  i * QCOW2_CLUSTER / BLK_SECTOR_BYTES,
					  found, QCOW2_CLUSTER),
				 VIRTIO_BLK_S_OK);
		if (memcmp(found, model + i * QCOW2_CLUSTER, QCOW2_CLUSTER))
			fail_msg("cluster %u is not what was written", i);
	}
}

/*
 * Nothing is flushed: the mapping of new clusters was in the memory of the
 * daemon that died, and in the front-end's region.
 */
static void a_killed_daemon_loses_no_new_cluster(void **state)
{
	static const char *const qcow2[] = {"--format=qcow2", NULL};
	struct fixture *f = *state;
	uint8_t *model = calloc(1, FIXTURE_IMAGE_BYTES);
	struct blk_driver *d;

	if (system("command -v qemu-img >/dev/null") != 0)
		skip();
	run_tool("qemu-img create -q -f qcow2 %s 16M", f);
	fixture_start(f, qcow2);
	d = fixture_open(f, NULL);
	for (unsigned round = 0; round < 6; round++) {
		write_pieces(d, round * 40, 40, model);
		if (round == 3)
			assert_int_equal(blk_flush(d, 0), VIRTIO_BLK_S_OK);
		if (round)
			discard_piece(d, round * 40 - 7, model);
		if (round == 4)
			write_pieces(d, 20, 10, model);
		process_stop(&f->process, SIGKILL);
		f->process.pid = fixture_spawn(f, f->process.socket, qcow2);
		go_on(f, d);
		check_model(d, model);
	}
	/* With the front-end its region goes: that takes a flush. */
	write_pieces(d, 240, 10, model);
	blk_driver_free(d);
	d = fixture_open(f, NULL); /* served when the one before has ended */
	process_stop(&f->process, SIGKILL);
	blk_driver_free(d);
	fixture_start(f, qcow2);
	d = fixture_open(f, NULL);
	check_model(d, model);
	blk_driver_free(d);
	process_stop(&f->process, SIGTERM);
	run_tool("qemu-img check -q -f qcow2 %s", f);
	free(model);
}

/* Only then is it certain that nothing of the guest's is given to another. */
static void a_region_of_another_image_is_refused(void **state)
{
	static const char *const qcow2[] = {"--format=qcow2", NULL};
	struct fixture *f = *state;
	uint8_t data[REQUEST_BYTES];
	struct frontend *fe;
	struct blk_driver *d;

	if (system("command -v qemu-img >/dev/null") != 0)
		skip();
	run_tool("qemu-img create -q -f qcow2 %s 16M", f);
	fixture_start(f, qcow2);
	d = fixture_open(f, NULL);
	memset(data, 1, sizeof(data));
	assert_int_equal(blk_write(d, 0, 0, data, sizeof(data)),
			 VIRTIO_BLK_S_OK);
	process_stop(&f->process, SIGKILL);
	run_tool("i=%s; mv $i $i.old; qemu-img create -q -f qcow2 $i 16M; "
		 "rm $i.old",
		 f);
	fixture_start(f, qcow2);
	assert_int_equal(frontend_connect(f->process.socket, &fe), 0);
	assert_true(blk_driver_reconnect(d, fe) < 0);
	blk_driver_free(d);
	process_assert_alive(&f->process);
	fixture_assert_serves(f);
}

/* The front-end's connection is lost, the daemon is not. */
static void a_front_end_that_comes_back_loses_nothing(void **state)
{
	struct fixture *f = *state;
	const uint64_t forms[] = {no_packed, 0};

	for (unsigned form = 0; form < ARRAY_SIZE(forms); form++) {
		const struct blk_options options = {
			.queues = 2,
			.without = forms[form],
			.queue_size = 64,
		};
		struct blk_driver *d = fixture_open(f, &options);
		static struct blk_request r[REQUESTS];

		make_requests(d, r, 2);
		for (unsigned round = 0; round < 8; round++) {
			send_again(d, r);
			usleep(round * 30);
			fd_close(&d->fe->fd);
			go_on(f, d);
			collect(f, d, r);
		}
		blk_driver_free(d);
	}
}

/* GET_VRING_BASE after all requests are done is where both sides are. */
static void a_stopped_ring_goes_on_where_it_was(void **state)
{
	struct fixture *f = *state;
	const uint64_t forms[] = {no_packed, 0, no_packed | no_in_order,
				  no_in_order};

	for (unsigned form = 0; form < ARRAY_SIZE(forms); form++) {
		const struct blk_options options = {
			.without = forms[form],
			.queue_size = 256,
		};
		struct blk_driver *d = fixture_open(f, &options);
		struct driver_ring *ring = d->rings[0];
		static struct blk_request r[REQUESTS];
		uint32_t base;

		make_requests(d, r, 3);
		for (unsigned round = 0; round < 12; round++) {
			send_again(d, r);
			/* Stopping completes what was taken, no less. */
			assert_int_equal(frontend_ring_stop(d->fe, 0, &base),
					 0);
			while (blk_reap(d, 0) > 0)
				;
			if (!ring->config.packed)
				assert_int_equal(base, driver_ring_base(ring));
			else
				assert_int_equal(base & 0xffff,
						 driver_ring_base(ring) &
							 0xffff);
			assert_int_equal(frontend_ring_base(d->fe, 0, base), 0);
			assert_int_equal(
				frontend_ring_addr(d->fe, 0, ring, false), 0);
			assert_int_equal(
				frontend_ring_fd(d->fe,
						 VHOST_USER_SET_VRING_KICK, 0,
						 ring->kick_fd),
				0);
			collect(f, d, r);
		}
		blk_driver_free(d);
	}
}

/* A kick is not needed for what is in the ring when it starts. */
static void a_ring_that_starts_is_looked_at_once(void **state)
{
	struct fixture *f = *state;
	const struct blk_options options = {.queue_size = 256};
	struct blk_driver *d = fixture_open(f, &options);
	struct driver_ring *ring = d->rings[0];
	static struct blk_request r[REQUESTS];
	uint64_t ignored;
	uint32_t base;

	make_requests(d, r, 4);
	assert_int_equal(frontend_ring_stop(d->fe, 0, &base), 0);
	send_again(d, r);
	/* Take the kick back: nobody will see it. */
	(void)!read(ring->kick_fd, &ignored, sizeof(ignored));
	assert_int_equal(frontend_ring_base(d->fe, 0, base), 0);
	assert_int_equal(frontend_ring_fd(d->fe, VHOST_USER_SET_VRING_KICK, 0,
					  ring->kick_fd),
			 0);
	collect(f, d, r);
	blk_driver_free(d);
}

static void a_disabled_block_queue_waits(void **state)
{
	struct fixture *f = *state;
	const struct blk_options two = {.queues = 2};
	struct blk_driver *d = fixture_open(f, &two);
	struct blk_request r;
	uint8_t data[512];

	assert_int_equal(frontend_ring_enable(d->fe, 0, false), 0);
	assert_int_equal(blk_prepare(d, &r, VIRTIO_BLK_T_IN, 0, 0, 512), 0);
	assert_int_equal(blk_add(d, 0, &r), 0);
	blk_kick(d, 0);
	/* Both queues are one thread's, which looks at them in turn. */
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(blk_read(d, 1, 0, data, sizeof(data)), 0);
	assert_int_equal(blk_reap(d, 0), 0);
	/* Features told anew disable or enable nothing. */
	assert_int_equal(frontend_set_features(d->fe, d->fe->features), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(blk_read(d, 1, 0, data, sizeof(data)), 0);
	assert_int_equal(blk_reap(d, 0), 0);
	assert_int_equal(frontend_ring_enable(d->fe, 0, true), 0);
	assert_int_equal(blk_wait(d, 0, &r), 0);
	assert_int_equal(r.status, VIRTIO_BLK_S_OK);
	blk_driver_free(d);
}

static void memory_may_change_while_rings_run(void **state)
{
	struct fixture *f = *state;
	struct blk_driver *d = fixture_open(f, NULL);
	static struct blk_request r[REQUESTS];
	struct ram *more;

	assert_int_equal(ram_new(&(struct ram_region){.gpa = UINT64_C(64) << 30,
						      .size_bytes = 1 << 20},
				 1, &more),
			 0);
	make_requests(d, r, 5);
	for (unsigned round = 0; round < 8; round++) {
		send_again(d, r);
		if (round % 3 == 0)
			assert_int_equal(frontend_set_memory(d->fe, d->ram), 0);
		more->regions[0].uva = UINT64_C(0x100000000000);
		assert_int_equal(frontend_add_region(d->fe, more, 0), 0);
		collect(f, d, r);
		send_again(d, r);
		assert_int_equal(frontend_remove_region(d->fe, more, 0), 0);
		collect(f, d, r);
	}
	blk_driver_free(d);
	ram_free(more);
}

static void reset_starts_from_the_beginning(void **state)
{
	struct fixture *f = *state;
	const struct blk_options options = {
		.protocol_without =
			VHOST_USER_BIT(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD),
	};
	struct blk_driver *d = fixture_open(f, &options);
	uint8_t data[512];

	for (unsigned round = 0; round < 3; round++) {
		assert_int_equal(blk_read(d, 0, 0, data, 512), 0);
		assert_int_equal(frontend_tell(d->fe, VHOST_USER_RESET_DEVICE,
					       NULL, 0, NULL, 0),
				 0);
		driver_ring_reset(d->rings[0]);
		assert_int_equal(
			frontend_start(d->fe, d->profile, d->ram, d->rings, 1),
			0);
	}
	assert_int_equal(blk_read(d, 0, 0, data, 512), 0);
	blk_driver_free(d);
}

static bool within(uint64_t page, uint64_t gpa, uint64_t bytes)
{
	return page >= align_down(gpa, PAGE_BYTES) && page < gpa + bytes;
}

/* Exactly the pages that the device wrote, neither more nor fewer. */
static void log_is_exact(const struct fixture *f, uint64_t without)
{
	const struct blk_options options = {.without = without};
	struct blk_driver *d = fixture_open(f, &options);
	struct driver_ring *ring = d->rings[0];
	uint64_t ring_gpa =
		ring->config.packed ? ring->desc_gpa : ring->used_gpa;
	uint64_t ring_bytes = ring->config.size * 16ull + 6;
	struct blk_request r;

	assert_int_equal(frontend_log_start(d->fe), 0);
	assert_int_equal(frontend_set_features(
				 d->fe, d->fe->features |
						UINT64_C(1) << VHOST_F_LOG_ALL),
			 0);
	assert_int_equal(frontend_ring_addr(d->fe, 0, ring, true), 0);
	frontend_log_clear(d->fe);
	/* From the middle of one page into a third. */
	assert_int_equal(
		blk_prepare(d, &r, VIRTIO_BLK_T_IN, 0, 0, 4 * PAGE_BYTES), 0);
	r.in_gpa = align_up(r.in_gpa, PAGE_BYTES) + 2048;
	r.in_bytes = 2 * PAGE_BYTES + 1;
	assert_int_equal(blk_run(d, 0, &r), VIRTIO_BLK_S_OK);
	for (uint64_t page = 0; page < d->ram->end; page += PAGE_BYTES) {
		bool data = within(page, r.in_gpa, r.in_bytes);
		/* Its first entry was written, the rest may count with it. */
		bool first = within(page, ring_gpa, 16);
		bool may = within(page, ring_gpa, ring_bytes) ||
			   within(page, ring->used_gpa, 64);

		if ((data || first) && !frontend_log_test(d->fe, page))
			fail_msg("page 0x%llx is not in the log",
				 (unsigned long long)page);
		if (!data && !may && frontend_log_test(d->fe, page))
			fail_msg("page 0x%llx was not written",
				 (unsigned long long)page);
	}
	/* A write of the disk writes one byte of memory. */
	frontend_log_clear(d->fe);
	assert_int_equal(
		blk_prepare(d, &r, VIRTIO_BLK_T_OUT, 0, 3 * PAGE_BYTES, 0), 0);
	r.in_gpa = ram_alloc(d->ram, PAGE_BYTES, PAGE_BYTES);
	assert_int_equal(blk_run(d, 0, &r), VIRTIO_BLK_S_OK);
	assert_true(frontend_log_test(d->fe, r.in_gpa));
	/* A page that holds nothing but what the device read. */
	assert_false(frontend_log_test(d->fe, r.out_gpa + PAGE_BYTES));
	/* And nothing more once it is off. */
	assert_int_equal(
		frontend_set_features(
			d->fe,
			d->fe->features & ~(UINT64_C(1) << VHOST_F_LOG_ALL)),
		0);
	assert_int_equal(frontend_ring_addr(d->fe, 0, ring, false), 0);
	frontend_log_clear(d->fe);
	assert_int_equal(blk_prepare(d, &r, VIRTIO_BLK_T_IN, 0, 0, 4096), 0);
	assert_int_equal(blk_run(d, 0, &r), VIRTIO_BLK_S_OK);
	assert_int_equal(frontend_log_count(d->fe), 0);
	blk_driver_free(d);
}

static void the_dirty_log_holds_exactly_what_was_written(void **state)
{
	log_is_exact(*state, no_packed);
	log_is_exact(*state, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(a_killed_daemon_loses_nothing_of_a_split_ring),
		FIXTURE_TEST(a_killed_daemon_loses_nothing_of_a_packed_ring),
		FIXTURE_TEST(a_killed_daemon_loses_nothing_in_order),
		FIXTURE_TEST(a_killed_daemon_loses_no_new_cluster),
		FIXTURE_TEST(a_region_of_another_image_is_refused),
		DAEMON_TEST(a_front_end_that_comes_back_loses_nothing),
		DAEMON_TEST(a_stopped_ring_goes_on_where_it_was),
		DAEMON_TEST(a_ring_that_starts_is_looked_at_once),
		DAEMON_TEST(a_disabled_block_queue_waits),
		DAEMON_TEST(memory_may_change_while_rings_run),
		DAEMON_TEST(reset_starts_from_the_beginning),
		DAEMON_TEST(the_dirty_log_holds_exactly_what_was_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
