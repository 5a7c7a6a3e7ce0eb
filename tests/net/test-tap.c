/* SPDX-License-Identifier: Apache-2.0 */
/* Frames between a guest and a TAP, through the daemon. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/net/fixture.h"

#define BIT(n)	      (UINT64_C(1) << (n))
#define NET_BIT(name) BIT(VIRTIO_NET_F_##name)
#define PATIENCE_MS   10000
#define MTU_9000      "--mtu=9000"

/* virtio 1.3: newer than some headers. */
#define GUEST_USO (BIT(54) | BIT(55))

static const uint64_t guest_offloads =
	NET_BIT(GUEST_CSUM) | NET_BIT(GUEST_TSO4) | NET_BIT(GUEST_TSO6) |
	NET_BIT(GUEST_ECN) | GUEST_USO;

static uint8_t frame[FIXTURE_FRAME_BYTES], got[FIXTURE_FRAME_BYTES];

static void guest_to_wire(const struct fixture *f, struct net_driver *d,
			  unsigned pair, size_t bytes, const uint32_t *cuts)
{
	static uint32_t seed;

	frame_make(frame, bytes, ++seed);
	assert_int_equal(net_send(d, pair, NULL, frame, bytes, cuts), 0);
	assert_int_equal(wire_receive(f, PATIENCE_MS, NULL, got), bytes);
	assert_memory_equal(got, frame, bytes);
	assert_int_equal(net_send_wait(d, pair), 0);
}

static void wire_to_guest(const struct fixture *f, struct net_driver *d,
			  unsigned pair, size_t bytes)
{
	static uint32_t seed = 1000000;
	struct virtio_net_hdr_v1 header;

	frame_make(frame, bytes, ++seed);
	wire_send(f, NULL, frame, bytes);
	assert_int_equal(net_receive(d, pair, &header, got, sizeof(got)),
			 bytes);
	assert_memory_equal(got, frame, bytes);
	assert_int_equal(header.gso_type, VIRTIO_NET_HDR_GSO_NONE);
	assert_int_equal(header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM, 0);
}

static void every_front_end_reaches_the_wire(void **state)
{
	struct fixture *f = *state;

	for (const struct frontend_profile *const *p = frontend_profiles; *p;
	     p++) {
		const struct net_options o = {.profile = *p};
		struct net_driver *d = fixture_open(f, &o);

		guest_to_wire(f, d, 0, 100, NULL);
		wire_to_guest(f, d, 0, 200);
		net_driver_free(d);
	}
}

static void try_ring(struct fixture *f, unsigned bits)
{
	static const size_t sizes[] = {60, 128, 129, 1514, 9014};
	static const uint32_t splits[][3] = {
		{UINT32_MAX, 0}, {12, UINT32_MAX, 0}, {5, 1000, 0}, {1, 7, 0}};
	struct net_options o = {.poll = bits & 32};
	struct net_driver *d;

	if (!(bits & 1))
		o.without |= BIT(VIRTIO_F_RING_PACKED);
	if (!(bits & 2))
		o.without |= BIT(VIRTIO_RING_F_INDIRECT_DESC);
	if (!(bits & 4))
		o.without |= BIT(VIRTIO_RING_F_EVENT_IDX);
	if (!(bits & 8))
		o.without |= BIT(35); /* IN_ORDER */
	if (!(bits & 16))
		o.without |= NET_BIT(MRG_RXBUF);
	d = fixture_open(f, &o);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes) * ARRAY_SIZE(splits); i++) {
		const uint32_t *cuts = splits[i / ARRAY_SIZE(sizes)];
		size_t bytes = sizes[i % ARRAY_SIZE(sizes)];

		/* The driver's table of cuts has an end. */
		if (bytes / cuts[cuts[1] != 0] < NET_MAX_CUTS)
			guest_to_wire(f, d, 0, bytes, cuts);
		wire_to_guest(f, d, 0, bytes);
	}
	net_driver_free(d);
}

static void every_kind_of_ring_carries_frames_of_every_size(void **state)
{
	struct fixture *f = *state;
	static const char *const options[] = {MTU_9000, NULL};

	fixture_start(f, options);
	fixture_plug(f);
	for (unsigned bits = 0; bits < 64; bits++)
		try_ring(f, bits);
}

/* More pieces than the kernel takes in one call. */
static void frame_in_many_pieces_reaches_the_wire(void **state)
{
	struct fixture *f = *state;
	static const char *const options[] = {MTU_9000, NULL};
	static const uint32_t cuts[] = {12, 128, 19, 0};
	const struct net_options o = {.queue_size = 1024};
	struct net_driver *d;

	fixture_start(f, options);
	fixture_plug(f);
	d = fixture_open(f, &o);
	guest_to_wire(f, d, 0, 9014, cuts);
	guest_to_wire(f, d, 0, 1514, (const uint32_t[]){1, 4, 0});
	net_driver_free(d);
}

/* Those that one read cannot fill, and those that hold next to nothing. */
static void buffers_of_any_size_are_filled(void **state)
{
	struct fixture *f = *state;
	static const uint32_t sizes[] = {13, 60, 100, 1526, 9100, 66000};
	static const char *const options[] = {MTU_9000, NULL};

	fixture_start(f, options);
	fixture_plug(f);
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(sizes); i++) {
		const struct net_options o = {
			.buffer_bytes = sizes[i / 2],
			.queue_size = 1024,
			.without = i % 2 ? guest_offloads : 0,
		};
		struct net_driver *d = fixture_open(f, &o);

		for (size_t bytes = 60; bytes <= 9014; bytes += 1279)
			wire_to_guest(f, d, 0, bytes);
		net_driver_free(d);
	}
}

static void frame_that_waits_for_buffers_is_not_lost(void **state)
{
	struct fixture *f = *state;
	const struct net_options o = {.buffers = 3};
	struct net_driver *d = fixture_open(f, &o);

	/* Ten frames for three buffers: they come as room is made. */
	for (unsigned i = 0; i < 10; i++) {
		frame_make(frame, 1000, i);
		wire_send(f, NULL, frame, 1000);
	}
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(net_receive(d, 0, NULL, got, sizeof(got)),
				 1000);
		assert_int_equal(frame_seed(got), i);
	}
	net_driver_free(d);
}

static void frame_that_no_buffer_holds_stops_none_behind_it(void **state)
{
	struct fixture *f = *state;
	const struct net_options o = {
		.buffer_bytes = 600,
		.without = NET_BIT(MRG_RXBUF) | guest_offloads,
	};
	struct net_driver *d = fixture_open(f, &o);

	frame_make(frame, 1514, 1);
	wire_send(f, NULL, frame, 1514);
	wire_to_guest(f, d, 0, 500);
	fixture_count(f);
	assert_int_equal(process_log_number(&f->process,
					    "received dropped: small-buffer "),
			 1);
	net_driver_free(d);
}

static void large_segments_reach_a_guest_that_takes_them(void **state)
{
	struct fixture *f = *state;
	struct virtio_net_hdr_v1 header, arrived;
	struct net_driver *d = fixture_open(f, NULL);
	size_t bytes = frame_make_tso(frame, 40000, &header);

	wire_send(f, (struct virtio_net_hdr *)&header, frame, bytes);
	assert_int_equal(net_receive(d, 0, &arrived, got, sizeof(got)), bytes);
	assert_memory_equal(got, frame, bytes);
	assert_int_equal(arrived.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
	assert_int_equal(le16toh(arrived.gso_size), 1400);
	assert_int_equal(arrived.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	assert_true(le16toh(arrived.num_buffers) > 1);
	net_driver_free(d);
}

/* The first of them comes where a short one was expected; with few buffers it
 * waits for more of them meanwhile. */
static void long_frames_among_short_ones_arrive_whole(void **state)
{
	struct fixture *f = *state;
	static const unsigned buffers[] = {256, 12, 22};

	for (unsigned n = 0; n < 3 * ARRAY_SIZE(buffers); n++) {
		const struct net_options o = {
			.buffers = buffers[n / 3],
			.without = n % 3 == 1 ? BIT(VIRTIO_F_RING_PACKED) : 0,
			.buffer_bytes = n % 3 == 2 ? 1526 : 0,
		};
		struct net_driver *d = fixture_open(f, &o);

		for (unsigned run = 0; run < 40; run++) {
			struct virtio_net_hdr_v1 header;
			size_t payload = 1500 + run * 333, bytes;

			for (unsigned i = 0; i < run % 20; i++)
				wire_to_guest(f, d, 0, 60 + i * 70);
			bytes = frame_make_tso(frame, payload, &header);
			for (unsigned i = 0; i < 1 + run % 2; i++)
				wire_send(f, (struct virtio_net_hdr *)&header,
					  frame, bytes);
			for (unsigned i = 0; i < 1 + run % 2; i++) {
				assert_int_equal(net_receive(d, 0, NULL, got,
							     sizeof(got)),
						 bytes);
				assert_memory_equal(got, frame, bytes);
			}
		}
		net_driver_free(d);
	}
}

/* They are there together when the daemon looks. */
static void send_burst(const struct fixture *f, unsigned count, unsigned odd)
{
	struct virtio_net_hdr_v1 header;

	assert_int_equal(kill(f->process.pid, SIGSTOP), 0);
	assert_int_equal(waitpid(f->process.pid, NULL, WUNTRACED),
			 f->process.pid);
	for (unsigned i = 0; i < count; i++) {
		size_t bytes = 60 + i * 37 % 1400;

		if (odd && i % odd == odd - 1) {
			bytes = frame_make_tso(frame, 3000, &header);
			wire_send(f, (struct virtio_net_hdr *)&header, frame,
				  bytes);
		} else {
			frame_make(frame, bytes, i);
			wire_send(f, NULL, frame, bytes);
		}
	}
	assert_int_equal(kill(f->process.pid, SIGCONT), 0);
}

static void receive_burst(struct net_driver *d, unsigned count, unsigned odd)
{
	struct virtio_net_hdr_v1 header;

	for (unsigned i = 0; i < count; i++) {
		size_t bytes = 60 + i * 37 % 1400;

		if (odd && i % odd == odd - 1)
			bytes = frame_make_tso(frame, 3000, &header);
		else
			frame_make(frame, bytes, i);
		assert_int_equal(net_receive(d, 0, &header, got, sizeof(got)),
				 bytes);
		assert_memory_equal(got, frame, bytes);
	}
}

/* The first burst shows that there are many; the next are read in batches. */
static void bursts_arrive_whole_and_in_order(void **state)
{
	struct fixture *f = *state;
	static const unsigned odd[] = {0, 7, 0, 3, 40, 0, 2};

	for (unsigned bits = 0; bits < 32; bits++) {
		struct net_options o = {
			.buffers = bits & 4 ? 40 : 0,
			.buffer_bytes = bits & 8 ? 66000 : 1534,
		};
		struct net_driver *d;

		if (!(bits & 1))
			o.without |= BIT(VIRTIO_F_RING_PACKED);
		if (!(bits & 2))
			o.without |= BIT(35); /* IN_ORDER */
		if (bits & 16 && bits & 8)
			o.without |= NET_BIT(MRG_RXBUF);
		d = fixture_open(f, &o);
		for (unsigned n = 0; n < ARRAY_SIZE(odd); n++) {
			/* A long frame does not wait for ever for buffers. */
			send_burst(f, 60, o.buffers ? 0 : odd[n]);
			receive_burst(d, 60, o.buffers ? 0 : odd[n]);
		}
		net_driver_free(d);
	}
}

static void guest_that_takes_nothing_gets_whole_packets(void **state)
{
	struct fixture *f = *state;
	const struct net_options o = {.without = guest_offloads};
	struct virtio_net_hdr_v1 header, arrived;
	struct net_driver *d = fixture_open(f, &o);
	size_t at = 0, bytes = frame_make_tso(frame, 40000, &header);

	wire_send(f, (struct virtio_net_hdr *)&header, frame, bytes);
	while (at < 40000) {
		int n = net_receive(d, 0, &arrived, got, sizeof(got));

		assert_true(n > FRAME_TCP_HEADERS && n <= 1514);
		assert_int_equal(arrived.flags, 0);
		assert_int_equal(arrived.gso_type, 0);
		frame_assert_tcp(got, n, at);
		at += n - FRAME_TCP_HEADERS;
	}
	assert_int_equal(at, 40000);
	net_driver_free(d);
}

static void large_segments_of_the_guest_reach_the_wire(void **state)
{
	struct fixture *f = *state;
	struct net_driver *d = fixture_open(f, NULL);
	struct virtio_net_hdr_v1 header;
	struct virtio_net_hdr arrived;
	size_t bytes = frame_make_tso(frame, 60000, &header);

	assert_int_equal(net_send(d, 0, &header, frame, bytes, NULL), 0);
	assert_int_equal(wire_receive(f, PATIENCE_MS, &arrived, got), bytes);
	assert_memory_equal(got, frame, bytes);
	assert_int_equal(arrived.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
	assert_int_equal(arrived.gso_size, 1400);
	net_driver_free(d);
}

static void what_makes_no_sense_never_reaches_the_wire(void **state)
{
	struct fixture *f = *state;
	struct net_driver *d = fixture_open(f, NULL);
	struct virtio_net_hdr_v1 header;
	size_t bytes = frame_make_tso(frame, 5000, &header);

	header.gso_size = 0;
	assert_int_equal(net_send(d, 0, &header, frame, bytes, NULL), 0);
	header.gso_size = htole16(1400);
	header.csum_start = htole16(5050);
	assert_int_equal(net_send(d, 0, &header, frame, bytes, NULL), 0);
	assert_int_equal(net_send(d, 0, NULL, frame, 13, NULL), 0);
	guest_to_wire(f, d, 0, 99, NULL);
	fixture_count(f);
	assert_int_equal(
		process_log_number(&f->process, "sent dropped: gso-size "), 1);
	assert_int_equal(process_log_number(&f->process, "sent dropped: runt "),
			 1);
	assert_int_equal(process_log_number(&f->process, "sent frames "), 1);
	assert_int_equal(process_log_number(&f->process, "received frames "),
			 0);
	net_driver_free(d);
}

static void each_pair_has_its_own_queue_of_the_tap(void **state)
{
	struct fixture *f = *state;
	static const char *const options[] = {"--num-queue-pairs=4",
					      "--threads=2", NULL};
	const struct net_options four = {.pairs = 4};
	const struct net_options one = {.pairs = 1};
	struct net_driver *d;

	fixture_start(f, options);
	fixture_plug(f);
	d = fixture_open(f, &four);
	for (unsigned i = 0; i < 4; i++)
		guest_to_wire(f, d, i, 300 + i, NULL);
	/* What is switched off gets nothing: all comes by the first. */
	for (unsigned i = 1; i < 4; i++)
		assert_int_equal(frontend_ring_enable(d->fe, 2 * i, false), 0);
	for (unsigned i = 0; i < 50; i++)
		wire_to_guest(f, d, 0, 300 + i);
	net_driver_free(d);
	/* The same for a guest with a single pair. */
	d = fixture_open(f, &one);
	for (unsigned i = 0; i < 50; i++)
		wire_to_guest(f, d, 0, 300 + i);
	net_driver_free(d);
}

static void guest_that_has_moved_is_announced_on_the_wire(void **state)
{
	struct fixture *f = *state;
	struct net_driver *d = fixture_open(f, NULL);
	static const uint8_t mac[] = {2, 0, 0, 0, 0, 1};
	uint64_t value = 0;

	memcpy(&value, mac, sizeof(mac));
	assert_int_equal(frontend_set_u64(d->fe, VHOST_USER_SEND_RARP, value),
			 0);
	assert_true(wire_receive(f, PATIENCE_MS, NULL, got) >= 42);
	assert_memory_equal(got, "\xff\xff\xff\xff\xff\xff", 6);
	assert_memory_equal(got + 6, mac, 6);
	assert_int_equal(get_be16(got + 12), 0x8035);
	assert_int_equal(get_be16(got + 20), 3);
	net_driver_free(d);
}

static void mtu_is_the_taps(void **state)
{
	struct fixture *f = *state;
	static const char *const options[] = {MTU_9000,
					      "--mac=02:00:00:00:00:01", NULL};
	struct virtio_net_config config;
	struct net_driver *d;

	fixture_start(f, options);
	d = fixture_open(f, NULL);
	assert_int_equal(frontend_get_config(d->fe, 0, &config, sizeof(config)),
			 0);
	assert_int_equal(le16toh(config.mtu), 9000);
	assert_memory_equal(config.mac, "\2\0\0\0\0\1", 6);
	assert_int_equal(frontend_set_u64(d->fe, VHOST_USER_NET_SET_MTU, 9001),
			 -EREMOTEIO);
	assert_int_equal(frontend_set_u64(d->fe, VHOST_USER_NET_SET_MTU, 9000),
			 0);
	net_driver_free(d);
}

/* It would be cut off, and arrive as if it were whole. */
static void what_is_longer_than_the_mtu_is_dropped(void **state)
{
	struct fixture *f = *state;
	const struct net_options merged = {.without = guest_offloads};
	const struct net_options single = {
		.without = guest_offloads | NET_BIT(MRG_RXBUF),
		.buffer_bytes = 1530,
	};
	const struct net_options *const all[] = {&merged, &single};

	/* Behind the daemon's back. */
	assert_int_equal(system("ip link set " FIXTURE_TAP " mtu 3000"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct net_driver *d = fixture_open(f, all[i]);

		frame_make(frame, 2900, 1);
		wire_send(f, NULL, frame, 2900);
		wire_to_guest(f, d, 0, 1514);
		fixture_count(f);
		assert_int_equal(
			process_log_number(&f->process,
					   "received dropped: oversize "),
			i + 1);
		net_driver_free(d);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DAEMON_TEST(every_front_end_reaches_the_wire),
		FIXTURE_TEST(every_kind_of_ring_carries_frames_of_every_size),
		FIXTURE_TEST(frame_in_many_pieces_reaches_the_wire),
		FIXTURE_TEST(buffers_of_any_size_are_filled),
		DAEMON_TEST(frame_that_waits_for_buffers_is_not_lost),
		DAEMON_TEST(frame_that_no_buffer_holds_stops_none_behind_it),
		DAEMON_TEST(large_segments_reach_a_guest_that_takes_them),
		DAEMON_TEST(long_frames_among_short_ones_arrive_whole),
		DAEMON_TEST(bursts_arrive_whole_and_in_order),
		DAEMON_TEST(guest_that_takes_nothing_gets_whole_packets),
		DAEMON_TEST(large_segments_of_the_guest_reach_the_wire),
		DAEMON_TEST(what_makes_no_sense_never_reaches_the_wire),
		FIXTURE_TEST(each_pair_has_its_own_queue_of_the_tap),
		DAEMON_TEST(guest_that_has_moved_is_announced_on_the_wire),
		FIXTURE_TEST(mtu_is_the_taps),
		DAEMON_TEST(what_is_longer_than_the_mtu_is_dropped),
	};

	namespace_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
