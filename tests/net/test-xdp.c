/* SPDX-License-Identifier: Apache-2.0 */
/* Frames between a guest and an interface by AF_XDP, through the daemon. */
#include <limits.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <pcap/pcap.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "tests/net/xdp.h"

#define BIT(n)	      (UINT64_C(1) << (n))
#define NET_BIT(name) BIT(VIRTIO_NET_F_##name)

enum {
	PATIENCE_MS = 10000,
	MIN_FRAME = 60,
	MAX_FRAME = XDP_MAX_MTU + 14,
	FLOW_FRAMES = 20000,
	WINDOW = 200, /* frames on their way */
};

static uint8_t frame[FIXTURE_FRAME_BYTES], got[FIXTURE_FRAME_BYTES];

static void guest_to_wire(const struct fixture *f, struct net_driver *d,
			  unsigned pair, size_t bytes)
{
	static uint32_t seed;

	frame_make(frame, bytes, ++seed);
	assert_int_equal(net_send(d, pair, NULL, frame, bytes, NULL), 0);
	assert_int_equal(wire_receive(f, PATIENCE_MS, NULL, got), bytes);
	assert_memory_equal(got, frame, bytes);
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
	assert_int_equal(header.flags, 0);
	assert_int_equal(header.gso_type, VIRTIO_NET_HDR_GSO_NONE);
}

static void try_sizes(struct fixture *f, uint64_t without)
{
	static const size_t sizes[] = {60,   64,   127,	 128,  129,
				       1514, 2035, 2048, 3000, MAX_FRAME};
	const struct net_options o = {.without = without};
	struct net_driver *d = fixture_open(f, &o);

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		guest_to_wire(f, d, 0, sizes[i]);
		wire_to_guest(f, d, 0, sizes[i]);
	}
	net_driver_free(d);
}

static void try_mode(struct fixture *f, const char *mode)
{
	const char *const options[] = {mode, NULL};

	xdp_start(f, options);
	try_sizes(f, 0);
	try_sizes(f, BIT(VIRTIO_F_RING_PACKED));
	try_sizes(f, NET_BIT(MRG_RXBUF));
	try_sizes(f, BIT(VIRTIO_RING_F_INDIRECT_DESC) | NET_BIT(MRG_RXBUF) |
			     BIT(VIRTIO_F_RING_PACKED));
}

static void frames_of_all_sizes_pass_in_copy_mode(void **state)
{
	try_mode(*state, "--xdp-mode=copy");
}

/* The driver of a virtual cable has programs for frames of one page. */
static void frames_of_all_sizes_pass_in_native_mode(void **state)
{
	xdp_lay_cable(3000, 1);
	xdp_start(*state, (const char *const[]){"--xdp-mode=native", NULL});
	for (size_t bytes = 60; bytes <= 3014; bytes += 211) {
		struct net_driver *d = fixture_open(*state, NULL);

		guest_to_wire(*state, d, 0, bytes);
		wire_to_guest(*state, d, 0, bytes);
		net_driver_free(d);
	}
}

static size_t flow_bytes(uint32_t seed)
{
	return 60 + seed * 7 % 1455;
}

/* No frame is lost that has room, none comes twice, none overtakes another. */
static void flows_keep_their_order(void **state)
{
	struct fixture *f = *state;
	struct net_driver *d = fixture_open(f, NULL);
	uint32_t sent = 0, came = 0;

	while (came < FLOW_FRAMES) {
		for (; sent < FLOW_FRAMES && sent < came + WINDOW; sent++) {
			frame_make(frame, flow_bytes(sent), sent);
			assert_int_equal(net_send(d, 0, NULL, frame,
						  flow_bytes(sent), NULL),
					 0);
			wire_send(f, NULL, frame, flow_bytes(sent));
		}
		frame_make(frame, flow_bytes(came), came);
		assert_int_equal(wire_receive(f, PATIENCE_MS, NULL, got),
				 flow_bytes(came));
		assert_memory_equal(got, frame, flow_bytes(came));
		assert_int_equal(net_receive(d, 0, NULL, got, sizeof(got)),
				 flow_bytes(came));
		assert_memory_equal(got, frame, flow_bytes(came));
		came++;
	}
	assert_int_equal(wire_receive(f, 1, NULL, got), 0);
	net_driver_free(d);
}

static void checksum_that_is_to_be_made_is_made(void **state)
{
	struct fixture *f = *state;
	struct net_driver *d = fixture_open(f, NULL);
	struct virtio_net_hdr_v1 header;
	size_t bytes = frame_make_tso(frame, 1401, &header);

	header.gso_type = VIRTIO_NET_HDR_GSO_NONE;
	header.gso_size = 0;
	assert_int_equal(net_send(d, 0, &header, frame, bytes, NULL), 0);
	assert_int_equal(wire_receive(f, PATIENCE_MS, NULL, got), bytes);
	frame_assert_tcp(got, bytes, 0);
	net_driver_free(d);
}

static uint32_t tcp_sequence(const uint8_t *bytes)
{
	uint32_t sequence;

	memcpy(&sequence, bytes + 38, sizeof(sequence));
	return be32toh(sequence);
}

/* All segments of a frame with @payload bytes, @size in each, are on the wire. */
static void assert_segments(const struct fixture *f, size_t payload,
			    size_t size)
{
	for (size_t at = 0; at < payload; at += size) {
		const size_t bytes =
			FRAME_TCP_HEADERS + MIN(size, payload - at);

		/* What is too short for a network is filled up. */
		assert_int_equal(wire_receive(f, PATIENCE_MS, NULL, got),
				 MAX(bytes, (size_t)MIN_FRAME));
		assert_int_equal(tcp_sequence(got), 77 + at);
		frame_assert_tcp(got, bytes, at);
	}
}

static void long_frames_are_cut(void **state)
{
	struct fixture *f = *state;
	static const uint16_t sizes[] = {1400, 536, 3764, 1};
	struct net_driver *d = fixture_open(f, NULL);

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		const size_t payload = sizes[i] == 1 ? 1000 : 60001;
		struct virtio_net_hdr_v1 header;
		size_t bytes = frame_make_tso(frame, payload, &header);

		header.gso_size = htole16(sizes[i]);
		assert_int_equal(net_send(d, 0, &header, frame, bytes, NULL),
				 0);
		assert_segments(f, payload, sizes[i]);
	}
	net_driver_free(d);
}

/* Sixteen frames at once become more than there is room for: they wait. */
static void frames_wait_for_room(void **state)
{
	struct fixture *f = *state;
	struct net_driver *d = fixture_open(f, NULL);
	struct virtio_net_hdr_v1 header;
	size_t bytes = frame_make_tso(frame, 60000, &header);

	header.gso_size = htole16(200);
	for (unsigned i = 0; i < NET_SEND_SLOTS; i++)
		assert_int_equal(net_send(d, 0, &header, frame, bytes, NULL),
				 0);
	for (unsigned i = 0; i < NET_SEND_SLOTS; i++)
		assert_segments(f, 60000, 200);
	assert_int_equal(net_send_wait(d, 0), 0);
	fixture_count(f);
	assert_int_equal(process_log_number(&f->process, " refused "), 0);
	net_driver_free(d);
}

/* One frame that becomes more than all the room there is. */
static void frame_of_too_many_segments_stops_nothing(void **state)
{
	struct fixture *f = *state;
	struct net_driver *d = fixture_open(f, NULL);
	struct virtio_net_hdr_v1 header;
	size_t bytes = frame_make_tso(frame, 60000, &header);

	header.gso_size = htole16(1);
	assert_int_equal(net_send(d, 0, &header, frame, bytes, NULL), 0);
	assert_int_equal(net_send_wait(d, 0), 0);
	frame_make(frame, 100, 1);
	assert_int_equal(net_send(d, 0, NULL, frame, 100, NULL), 0);
	while (wire_receive(f, PATIENCE_MS, NULL, got) != 100)
		assert_int_equal(got[23], 6); /* TCP */
	net_driver_free(d);
}

/* Behind a bridge, to a cable that takes a kilobyte a second. */
static bool block_the_wire(void)
{
	return system("ip link add name br0 type bridge && "
		      "ip link add name slow0 type veth peer name slow1 && "
		      "ip link set dev slow0 master br0 up && "
		      "ip link set dev slow1 up && "
		      "ip link set dev " FIXTURE_TAP " master br0 && "
		      "ip link set dev br0 up && "
		      "tc qdisc add dev slow0 root tbf rate 8kbit burst 2000 "
		      "limit 100000000") == 0;
}

/* First, since the frames on their way hold the cable. */
static int free_the_wire(void **state)
{
	system("ip link del slow0 2>/dev/null; ip link del br0 2>/dev/null");
	return fixture_teardown(state);
}

/* What waits for room that does not come holds nobody up. */
static void queue_stops_while_frames_wait(void **state)
{
	struct fixture *f = *state;
	struct net_driver *d;

	if (!block_the_wire())
		skip();
	d = fixture_open(f, NULL);
	for (unsigned i = 0; i < 2048 - NET_SEND_SLOTS; i++) {
		frame_make(frame, 1400, i);
		assert_int_equal(net_send(d, 0, NULL, frame, 1400, NULL), 0);
	}
	/* Now and then one leaves: until none does for a second. */
	d->timeout_ms = 1000;
	for (unsigned i = 0; i < 4 * NET_SEND_SLOTS; i++)
		if (net_send(d, 0, NULL, frame, 1400, NULL) < 0)
			break;
	net_driver_free(d);
	d = fixture_open(f, NULL);
	wire_to_guest(f, d, 0, 100);
	net_driver_free(d);
	fixture_count(f);
	assert_true(process_log_number(&f->process, " refused ") > 0);
}

static void what_is_too_long_is_counted(void **state)
{
	struct fixture *f = *state;
	struct net_driver *d = fixture_open(f, NULL);
	struct virtio_net_hdr_v1 header;
	size_t bytes;

	frame_make(frame, MAX_FRAME + 9, 1);
	assert_int_equal(net_send(d, 0, NULL, frame, MAX_FRAME + 9, NULL), 0);
	bytes = frame_make_tso(frame, 30000, &header);
	header.gso_size = htole16(5000);
	assert_int_equal(net_send(d, 0, &header, frame, bytes, NULL), 0);
	guest_to_wire(f, d, 0, 200);
	fixture_count(f);
	assert_int_equal(
		process_log_number(&f->process, "sent dropped: oversize "), 2);
	net_driver_free(d);
}

/* What has no room is the kernel's to drop; the rest comes, in its order. */
static void guest_without_buffers_is_waited_for(void **state)
{
	struct fixture *f = *state;
	const struct net_options none = {.buffers = UINT_MAX};
	struct net_driver *d = fixture_open(f, &none);
	uint64_t before;

	for (unsigned i = 0; i < 3000; i++) {
		frame_make(frame, 100, i);
		wire_send(f, NULL, frame, 100);
	}
	before = process_cpu_ms(&f->process);
	/* No event to wait for: it is to do nothing meanwhile. */
	sleep(1);
	assert_true(process_cpu_ms(&f->process) - before <= 50);
	fixture_count(f);
	assert_int_equal(process_log_number(&f->process, "received missed "),
			 3000 - 2048);
	net_driver_free(d);
	d = fixture_open(f, NULL);
	for (unsigned i = 0; i < 2048; i++) {
		assert_int_equal(net_receive(d, 0, NULL, got, sizeof(got)),
				 100);
		assert_int_equal(frame_seed(got), i);
	}
	wire_to_guest(f, d, 0, 100);
	net_driver_free(d);
}

/* To which pair a frame goes is the interface's choice. */
static void every_pair_has_a_queue(void **state)
{
	struct fixture *f = *state;
	static const char *const options[] = {"--num-queue-pairs=2",
					      "--threads=2", NULL};
	const struct net_options o = {.pairs = 2};
	struct net_driver *d;

	xdp_lay_cable(1500, 2);
	xdp_start(f, options);
	d = fixture_open(f, &o);
	for (unsigned i = 0; i < 100; i++)
		guest_to_wire(f, d, i % 2, 60 + i);
	net_driver_free(d);
}

static double seconds_for(const struct fixture *f, struct net_driver *d,
			  bool sends)
{
	uint64_t began = clock_ns();

	for (unsigned i = 0; i < 500; i++) {
		frame_make(frame, 1200, i);
		if (sends) {
			assert_int_equal(
				net_send(d, 0, NULL, frame, 1200, NULL), 0);
			continue;
		}
		wire_send(f, NULL, frame, 1200);
	}
	for (unsigned i = 0; i < 500; i++) {
		if (sends)
			assert_int_equal(
				wire_receive(f, PATIENCE_MS, NULL, got), 1200);
		else
			assert_int_equal(
				net_receive(d, 0, NULL, got, sizeof(got)),
				1200);
		assert_int_equal(frame_seed(got), i);
	}
	return (double)(clock_ns() - began) / NS_PER_SECOND;
}

static void limits_are_kept_and_lose_nothing(void **state)
{
	struct fixture *f = *state;
	static const char *const options[] = {"--send-bps=1000000",
					      "--receive-bps=1000000", NULL};
	struct net_driver *d;

	xdp_start(f, options);
	d = fixture_open(f, NULL);
	/* 600,000 bytes, less a burst of some 66,000 and of eight. */
	assert_true(seconds_for(f, d, true) > 0.5);
	assert_true(seconds_for(f, d, false) > 0.5);
	net_driver_free(d);
}

static void what_passes_is_captured(void **state)
{
	struct fixture *f = *state;
	char path[96], capture[128], error[PCAP_ERRBUF_SIZE];
	const char *const options[] = {capture, NULL};
	struct pcap_pkthdr *packet;
	struct net_driver *d;
	const u_char *bytes;
	pcap_t *file;

	snprintf(path, sizeof(path), "%s/pcapng", f->process.folder);
	snprintf(capture, sizeof(capture), "--capture=%s", path);
	xdp_start(f, options);
	d = fixture_open(f, NULL);
	assert_int_equal(kill(f->process.pid, SIGUSR2), 0);
	process_wait_log(&f->process, "capturing");
	guest_to_wire(f, d, 0, 300);
	wire_to_guest(f, d, 0, 400);
	net_driver_free(d);
	process_stop(&f->process, SIGTERM);
	file = pcap_open_offline(path, error);
	assert_non_null(file);
	assert_int_equal(pcap_next_ex(file, &packet, &bytes), 1);
	assert_int_equal(packet->len, 300);
	assert_int_equal(pcap_next_ex(file, &packet, &bytes), 1);
	assert_int_equal(packet->len, 400);
	assert_memory_equal(bytes, got, 400);
	pcap_close(file);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		XDP_TEST(frames_of_all_sizes_pass_in_copy_mode),
		XDP_TEST(frames_of_all_sizes_pass_in_native_mode),
		XDP_DAEMON_TEST(flows_keep_their_order),
		XDP_DAEMON_TEST(checksum_that_is_to_be_made_is_made),
		XDP_DAEMON_TEST(long_frames_are_cut),
		XDP_DAEMON_TEST(frames_wait_for_room),
		XDP_DAEMON_TEST(frame_of_too_many_segments_stops_nothing),
		cmocka_unit_test_setup_teardown(queue_stops_while_frames_wait,
						xdp_setup_running,
						free_the_wire),
		XDP_DAEMON_TEST(what_is_too_long_is_counted),
		XDP_DAEMON_TEST(guest_without_buffers_is_waited_for),
		XDP_TEST(every_pair_has_a_queue),
		XDP_TEST(limits_are_kept_and_lose_nothing),
		XDP_TEST(what_passes_is_captured),
	};

	namespace_enter_xdp();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
