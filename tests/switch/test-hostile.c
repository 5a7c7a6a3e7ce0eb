/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guests that mean harm, or die: whatever one of them does, the frames of the
 * others arrive, and the next guest on its port is served.
 */
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "tests/frame.h"
#include "tests/switch/fixture.h"

#define BIT(n) (UINT64_C(1) << (n))

enum {
	BYTES = 300,
	DEATHS = 20,
	BREAKS = 40,
	TRUNCATIONS = 40,
	UNDER_WAY = 8, /* frames */
	CHURN = 100,
	RING = 256,
};

static const char *const four[] = {"", "", "", "", NULL};
static uint8_t frame[FIXTURE_FRAME_BYTES], got[FIXTURE_FRAME_BYTES];
static uint32_t seed;

static void pass(struct fixture *f, unsigned to, unsigned from)
{
	fixture_frame(frame, to, from, BYTES, ++seed);
	fixture_send(f, from, frame, BYTES);
	fixture_expect(f, to, frame, BYTES);
}

/* Guests 1 and 2 know each other, and are the ones to be left alone. */
static void start(struct fixture *f)
{
	fixture_start(f, "", four);
	fixture_join(f, 1, NULL);
	fixture_join(f, 2, NULL);
	pass(f, 2, 1);
	pass(f, 1, 2);
}

static void assert_served(struct fixture *f)
{
	process_assert_alive(&f->process);
	pass(f, 2, 1);
	pass(f, 1, 2);
	fixture_join(f, 0, NULL);
	pass(f, 1, 0);
	pass(f, 0, 2);
	fixture_leave(f, 0);
}

/* --- headers ------------------------------------------------------------------ */

static void headers_that_lie_are_counted_and_not_forwarded(void **state)
{
	const struct {
		const char *fault;
		uint8_t flags, gso_type;
		uint16_t gso_size, csum_start, csum_offset;
	} lies[] = {
		{"gso-size", 1, VIRTIO_NET_HDR_GSO_TCPV4, 0, 34, 16},
		{"gso-type", 1, 0x7f, 1400, 34, 16},
		{"gso-packet", 1, VIRTIO_NET_HDR_GSO_TCPV6, 1400, 34, 16},
		{"checksum", 1, 0, 0, 0xffff, 0xffff},
	};
	struct fixture *f = *state;

	start(f);
	fixture_join(f, 0, NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
		struct virtio_net_hdr_v1 header;
		size_t bytes = frame_make_tso(frame, 5000, &header);
		char words[64];

		header.flags = lies[i].flags;
		header.gso_type = lies[i].gso_type;
		header.gso_size = htole16(lies[i].gso_size);
		header.csum_start = htole16(lies[i].csum_start);
		header.csum_offset = htole16(lies[i].csum_offset);
		assert_int_equal(
			net_send(f->guests[0], 0, &header, frame, bytes, NULL),
			0);
		assert_int_equal(net_send_wait(f->guests[0], 0), 0);
		snprintf(words, sizeof(words), "p0: sent dropped: %s ",
			 lies[i].fault);
		assert_int_equal(fixture_counted(f, words), 1);
	}
	fixture_leave(f, 0);
	assert_served(f);
}

/* --- rings -------------------------------------------------------------------- */

/* A chain of one descriptor that lies nowhere, in one of the rings. */
static void break_ring(struct net_driver *d, bool sends)
{
	struct driver_ring *ring =
		sends ? d->pairs[0].transmit : d->pairs[0].receive;

	ring->desc[0] = (struct vring_desc){
		.addr = htole64(UINT64_C(1) << 46),
		.len = htole32(1000),
		.flags = htole16(sends ? 0 : VRING_DESC_F_WRITE),
	};
	for (unsigned i = 0; i < RING; i++)
		ring->avail->ring[i] = 0;
	store_release(&ring->avail->idx,
		      htole16(le16toh(ring->avail->idx) + 1));
	driver_ring_kick_always(ring);
}

static void broken_ring_stops_its_own_port(void **state)
{
	const struct net_options split = {.without = BIT(VIRTIO_F_RING_PACKED),
					  .queue_size = RING};
	struct fixture *f = *state;

	start(f);
	for (unsigned sends = 0; sends < 2; sends++) {
		fixture_join(f, 0, &split);
		/* A receive ring is looked at when a frame comes. */
		fixture_frame(frame, FIXTURE_BROADCAST, 1, BYTES, ++seed);
		break_ring(f->guests[0], sends);
		for (unsigned i = 0; i < 2 * RING && !sends; i++) {
			fixture_send(f, 1, frame, BYTES);
			fixture_expect(f, 2, frame, BYTES);
		}
		process_wait_log(&f->process, "p0: ");
		fixture_leave(f, 0);
		assert_served(f);
	}
}

/* What is to be said of the ring comes when nobody is there to hear it. */
static void guest_that_breaks_its_ring_and_hangs_up_harms_nobody(void **state)
{
	const struct net_options split = {.without = BIT(VIRTIO_F_RING_PACKED),
					  .queue_size = RING};
	struct fixture *f = *state;
	unsigned fds;

	start(f);
	assert_served(f);
	fds = process_count_fds(&f->process);
	for (unsigned i = 0; i < BREAKS; i++) {
		fixture_join(f, 0, &split);
		break_ring(f->guests[0], true);
		fixture_leave(f, 0);
		pass(f, 2, 1);
	}
	process_assert_fds(&f->process, fds);
	assert_served(f);
}

/* One that takes nothing: frames for it are dropped, and others are not. */
static void guest_without_buffers_holds_up_nobody(void **state)
{
	const struct net_options none = {.buffers = UINT32_MAX};
	struct fixture *f = *state;

	start(f);
	fixture_join(f, 0, &none);
	for (unsigned i = 0; i < 200; i++) {
		fixture_frame(frame, FIXTURE_BROADCAST, 1, BYTES, ++seed);
		fixture_send(f, 1, frame, BYTES);
		fixture_expect(f, 2, frame, BYTES);
	}
	assert_true(fixture_counted(f, "p0: received dropped: no-buffer ") >=
		    200);
	fixture_leave(f, 0);
	assert_served(f);
}

/* --- dying -------------------------------------------------------------------- */

/* A guest in a process of its own, which is killed while it sends. */
static pid_t spawn_sender(const struct fixture *f, unsigned port)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		const struct net_options none = {0};
		struct net_driver *d;
		char path[128];

		fixture_socket(f, port, path);
		if (net_driver_open(path, &none, &d) < 0)
			_exit(1);
		for (uint32_t i = 0;; i++) {
			fixture_frame(frame, FIXTURE_BROADCAST, port, BYTES, i);
			net_send(d, 0, NULL, frame, BYTES, NULL);
		}
	}
	return pid;
}

/* Frames from elsewhere may come between. */
static void pass_through(struct fixture *f, unsigned to, unsigned from)
{
	int n;

	fixture_frame(frame, to, from, BYTES + 1, ++seed);
	fixture_send(f, from, frame, BYTES + 1);
	do {
		n = net_receive(f->guests[to], 0, NULL, got, sizeof(got));
		assert_true(n > 0);
	} while (n != BYTES + 1);
	assert_memory_equal(got, frame, BYTES + 1);
}

/* What came from the guest that is gone. */
static void drain(struct fixture *f, unsigned port)
{
	struct net_driver *d = f->guests[port];

	d->timeout_ms = 0;
	while (net_receive(d, 0, NULL, got, sizeof(got)) >= 0)
		;
	d->timeout_ms = 10000;
}

static void guest_that_dies_in_mid_burst_harms_nobody(void **state)
{
	struct fixture *f = *state;
	unsigned fds;

	start(f);
	assert_served(f);
	fds = process_count_fds(&f->process);
	for (unsigned i = 0; i < DEATHS; i++) {
		pid_t pid = spawn_sender(f, 3);
		int status;

		/* It is there once its frames come. */
		assert_true(net_receive(f->guests[1], 0, NULL, got,
					sizeof(got)) == BYTES);
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		drain(f, 1);
		drain(f, 2);
		process_assert_fds(&f->process, fds);
	}
	pass_through(f, 2, 1);
	pass_through(f, 1, 2);
	assert_served(f);
}

static void ports_come_and_go_under_traffic(void **state)
{
	struct fixture *f = *state;
	unsigned fds;

	start(f);
	assert_served(f);
	fds = process_count_fds(&f->process);
	for (unsigned i = 0; i < CHURN; i++) {
		fixture_join(f, 0, NULL);
		fixture_frame(frame, FIXTURE_BROADCAST, 1, BYTES, ++seed);
		fixture_send(f, 1, frame, BYTES);
		fixture_leave(f, 0);
		fixture_expect(f, 2, frame, BYTES);
	}
	process_assert_fds(&f->process, fds);
	assert_served(f);
}

static void truncate_memory(const struct net_driver *d)
{
	for (unsigned i = 0; i < d->ram->count; i++)
		assert_int_equal(ftruncate(d->ram->regions[i].fd, 0), 0);
}

static void truncated_memory_stops_its_own_port(void **state)
{
	struct fixture *f = *state;

	start(f);
	fixture_join(f, 0, NULL);
	pass(f, 1, 0);
	truncate_memory(f->guests[0]);
	fixture_frame(frame, FIXTURE_BROADCAST, 1, BYTES, ++seed);
	for (unsigned i = 0; i < 10; i++) {
		fixture_send(f, 1, frame, BYTES);
		fixture_expect(f, 2, frame, BYTES);
	}
	pass(f, 2, 1);
	process_wait_log(&f->process, "guest memory was truncated");
	/* The next guest there has memory of its own. */
	fixture_leave(f, 0);
	assert_served(f);
}

/* The switch may be about to read the ring, the header, or the frame. */
static void memory_truncated_under_traffic_harms_nobody(void **state)
{
	struct fixture *f = *state;
	unsigned fds;

	start(f);
	assert_served(f);
	fds = process_count_fds(&f->process);
	for (unsigned i = 0; i < TRUNCATIONS; i++) {
		fixture_join(f, 0, NULL);
		fixture_frame(frame, 1, 0, BYTES, ++seed);
		for (unsigned n = 0; n < UNDER_WAY; n++)
			assert_int_equal(net_send(f->guests[0], 0, NULL, frame,
						  BYTES, NULL),
					 0);
		truncate_memory(f->guests[0]);
		pass(f, 2, 1);
		pass_through(f, 1, 2);
		fixture_leave(f, 0);
		drain(f, 1);
	}
	process_assert_fds(&f->process, fds);
	assert_served(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWITCH_TEST(headers_that_lie_are_counted_and_not_forwarded),
		SWITCH_TEST(broken_ring_stops_its_own_port),
		SWITCH_TEST(
			guest_that_breaks_its_ring_and_hangs_up_harms_nobody),
		SWITCH_TEST(guest_without_buffers_holds_up_nobody),
		SWITCH_TEST(guest_that_dies_in_mid_burst_harms_nobody),
		SWITCH_TEST(ports_come_and_go_under_traffic),
		SWITCH_TEST(truncated_memory_stops_its_own_port),
		SWITCH_TEST(memory_truncated_under_traffic_harms_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
