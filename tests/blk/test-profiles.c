/* SPDX-License-Identifier: Apache-2.0 */
/* The front-ends that exist, and every kind of ring. */
#include <errno.h>
#include <linux/virtio_config.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/blk/fixture.h"

enum {
	DATA_BYTES = 64 << 10
};

/* Writes on each queue, reads back on the next, and looks into the file. */
static void round_trip(const struct fixture *f, struct blk_driver *d)
{
	static uint8_t data[DATA_BYTES], back[DATA_BYTES];
	static uint64_t seed;

	for (unsigned queue = 0; queue < d->queues; queue++) {
		uint64_t sector = 16 + queue * 2 * DATA_BYTES / 512;
		unsigned next = (queue + 1) % d->queues;

		fixture_pattern(data, sizeof(data), ++seed);
		assert_int_equal(blk_write(d, queue, sector, data, DATA_BYTES),
				 0);
		assert_int_equal(blk_read(d, next, sector, back, DATA_BYTES),
				 0);
		assert_memory_equal(data, back, DATA_BYTES);
		if (frontend_has(d->fe, VIRTIO_BLK_F_FLUSH))
			assert_int_equal(blk_flush(d, queue), 0);
		fixture_read_image(f, sector * 512, back, DATA_BYTES);
		assert_memory_equal(data, back, DATA_BYTES);
	}
}

static void every_front_end_reads_and_writes(void **state)
{
	struct fixture *f = *state;

	for (const struct frontend_profile *const *p = frontend_profiles; *p;
	     p++) {
		for (unsigned queues = 1; queues <= MIN((*p)->max_queues, 4u);
		     queues++) {
			const struct blk_options options = {
				.profile = *p,
				.queues = queues,
			};
			struct blk_driver *d = fixture_open(f, &options);

			round_trip(f, d);
			blk_driver_free(d);
		}
	}
}

static void a_front_end_without_protocol_features_reads_and_writes(void **state)
{
	struct fixture *f = *state;
	const struct blk_options options = {
		.without = UINT64_C(1) << VHOST_USER_F_PROTOCOL_FEATURES,
	};
	struct blk_driver *d = fixture_open(f, &options);

	assert_int_equal(d->fe->protocol, 0);
	round_trip(f, d);
	blk_driver_free(d);
}

/* Many requests in flight on all queues, of sizes that wrap the ring. */
static void burst(struct blk_driver *d, unsigned rounds)
{
	static struct blk_request requests[BLK_MAX_QUEUES][32];

	for (unsigned round = 0; round < rounds; round++) {
		unsigned queue = round % d->queues, sent = 0;
		struct blk_request *r = requests[queue];

		for (unsigned i = 0; i < 32; i++) {
			uint64_t sector =
				(round * 32 + i) * 8 % (FIXTURE_SECTORS - 8);

			if (round < d->queues) /* memory is not given back */
				assert_int_equal(blk_prepare(d, &r[i],
							     VIRTIO_BLK_T_IN,
							     sector, 0, 4096),
						 0);
			r[i].completions = 0;
			if (blk_add(d, queue, &r[i]) < 0)
				break;
			sent++;
		}
		assert_true(sent > 0);
		blk_kick(d, queue);
		for (unsigned i = 0; i < sent; i++) {
			assert_int_equal(blk_wait(d, queue, &r[i]), 0);
			assert_int_equal(r[i].status, VIRTIO_BLK_S_OK);
			assert_int_equal(r[i].completions, 1);
			assert_int_equal(r[i].written, 4097);
		}
	}
}

static void try_ring(struct fixture *f, unsigned bits, uint16_t size,
		     unsigned queues)
{
	struct blk_options options = {
		.queues = queues,
		.queue_size = size,
		.ram_bytes = 32 << 20,
		.poll = bits & 16,
	};
	struct blk_driver *d;

	if (!(bits & 1))
		options.without |= UINT64_C(1) << VIRTIO_F_RING_PACKED;
	if (!(bits & 2))
		options.without |= UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC;
	if (!(bits & 4))
		options.without |= UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX;
	if (!(bits & 8))
		options.without |= UINT64_C(1) << VIRTIO_F_IN_ORDER;
	d = fixture_open(f, &options);
	assert_int_equal(d->rings[0]->config.packed, bits & 1);
	round_trip(f, d);
	burst(d, 8);
	blk_driver_free(d);
}

static void every_kind_of_ring_carries_data(void **state)
{
	static const uint16_t sizes[] = {4, 64, 256, 1024};

	for (unsigned bits = 0; bits < 32; bits++)
		try_ring(*state, bits, sizes[bits % 4], 1 + bits / 3 % 4);
}

static void the_largest_ring_carries_data(void **state)
{
	try_ring(*state, 0, 32768, 1);
	try_ring(*state, 7, 32768, 1);
}

static void a_packed_ring_of_odd_size_carries_data(void **state)
{
	try_ring(*state, 1, 7, 1);
	try_ring(*state, 3, 100, 2);
}

static void more_queues_than_there_are_is_the_front_ends_error(void **state)
{
	struct fixture *f = *state;
	static const char *const options[] = {"--num-queues=2", NULL};
	const struct blk_options four = {.queues = 4};
	const struct blk_options two = {.queues = 2};
	struct virtio_blk_config config;
	struct blk_driver *d;

	fixture_start(f, options);
	assert_int_equal(blk_driver_open(f->process.socket, &four, &d),
			 -ERANGE);
	d = fixture_open(f, &two);
	assert_int_equal(blk_config(d, &config), 0);
	assert_int_equal(le16toh(config.num_queues), 2);
	round_trip(f, d);
	blk_driver_free(d);
}

static void several_threads_share_the_queues(void **state)
{
	struct fixture *f = *state;
	static const char *const options[] = {"--num-queues=4", "--threads=2",
					      NULL};
	const struct blk_options four = {.queues = 4};
	struct blk_driver *d;

	fixture_start(f, options);
	d = fixture_open(f, &four);
	round_trip(f, d);
	burst(d, 16);
	blk_driver_free(d);
}

static void each_poll_mode_serves_both_kinds_of_driver(void **state)
{
	struct fixture *f = *state;
	static const char *const modes[] = {"--poll=always", "--poll=never",
					    "--poll=adaptive"};

	for (unsigned i = 0; i < 2 * ARRAY_SIZE(modes); i++) {
		const char *const options[] = {modes[i / 2], NULL};
		const struct blk_options o = {.poll = i & 1};
		struct blk_driver *d;

		fixture_start(f, options);
		d = fixture_open(f, &o);
		round_trip(f, d);
		burst(d, 8);
		blk_driver_free(d);
		process_stop(&f->process, SIGTERM);
	}
}

static void a_connected_descriptor_is_served(void **state)
{
	struct fixture *f = *state;
	const struct blk_options none = {0};
	struct blk_driver *d;
	struct frontend *fe;
	char option[32];
	const char *const options[] = {option, NULL};
	int pair[2];
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	snprintf(option, sizeof(option), "--fd=%d", pair[1]);
	pid = fixture_spawn(f, NULL, options);
	close(pair[1]);
	assert_int_equal(frontend_new(pair[0], &fe), 0);
	assert_int_equal(blk_driver_new(fe, &none, &d), 0);
	round_trip(f, d);
	blk_driver_free(d);
	kill(pid, SIGTERM);
	assert_int_equal(process_wait_exit(pid), 0);
}

static void a_front_end_that_listens_is_served(void **state)
{
	struct fixture *f = *state;
	static const char *const options[] = {"--connect", NULL};
	const struct blk_options none = {0};

	int listener;

	assert_int_equal(frontend_listen(f->process.socket, &listener), 0);
	f->process.pid = fixture_spawn(f, f->process.socket, options);
	for (unsigned i = 0; i < 2; i++) {
		struct blk_driver *d;
		struct frontend *fe;

		assert_int_equal(frontend_accept(listener, 10000, &fe), 0);
		assert_int_equal(blk_driver_new(fe, &none, &d), 0);
		round_trip(f, d);
		blk_driver_free(d);
	}
	close(listener);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DAEMON_TEST(every_front_end_reads_and_writes),
		DAEMON_TEST(
			a_front_end_without_protocol_features_reads_and_writes),
		DAEMON_TEST(every_kind_of_ring_carries_data),
		DAEMON_TEST(the_largest_ring_carries_data),
		DAEMON_TEST(a_packed_ring_of_odd_size_carries_data),
		FIXTURE_TEST(
			more_queues_than_there_are_is_the_front_ends_error),
		FIXTURE_TEST(several_threads_share_the_queues),
		FIXTURE_TEST(each_poll_mode_serves_both_kinds_of_driver),
		FIXTURE_TEST(a_connected_descriptor_is_served),
		FIXTURE_TEST(a_front_end_that_listens_is_served),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
