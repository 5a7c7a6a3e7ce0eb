/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon on an interface, as a process: its command line, the interface's
 * ways, its end, its return. */
#include <linux/if_xdp.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xdp/xsk.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "tests/net/xdp.h"

#define BIT(n) (UINT64_C(1) << (n))

enum {
	PATIENCE_MS = 10000,
	POLLS = 1000,
	POLL_US = 10000,
	FLOW_FRAMES = 2000,
	KILLS = 3,
};

static uint8_t frame[FIXTURE_FRAME_BYTES], got[FIXTURE_FRAME_BYTES];

/* The daemon does not start, and says @words. */
static void is_refused(struct fixture *f, const char *words, const char *option,
		       const char *another, const char *third)
{
	char socket[128];
	const char *const options[] = {socket, option, another, third, NULL};

	snprintf(socket, sizeof(socket), "--socket-path=%s", f->process.socket);
	assert_int_equal(process_wait_exit(process_spawn(&f->process, options)),
			 1);
	process_wait_log(&f->process, words);
	assert_int_equal(truncate(f->process.log, 0), 0);
}

static void options_that_are_wrong_are_named(void **state)
{
	struct fixture *f = *state;

	is_refused(f, "--xdp=: give the name of an interface", "--xdp=", NULL,
		   NULL);
	is_refused(f, "--xdp-mode=fast: give auto, native or copy", XDP_WIRE,
		   "--xdp-mode=fast", NULL);
	is_refused(f, "--xdp-mode is of no use by itself", "--tap=x",
		   "--xdp-mode=copy", NULL);
	is_refused(f, "--xdp and --tap exclude each other", XDP_WIRE, "--tap=x",
		   NULL);
	is_refused(f, "--xdp and --tap-fd exclude each other", XDP_WIRE,
		   "--tap-fd=5", NULL);
	is_refused(f, "--xdp and --tap-napi exclude each other", XDP_WIRE,
		   "--tap-napi", NULL);
	is_refused(f, "--xdp and --bridge exclude each other", XDP_WIRE,
		   "--bridge=x", NULL);
}

static void interfaces_that_do_not_do_are_named(void **state)
{
	struct fixture *f = *state;

	is_refused(f, "none0: there is no such interface", "--xdp=none0", NULL,
		   NULL);
	is_refused(f, "there is no such interface",
		   "--xdp=a-name-of-no-interface", NULL, NULL);
	is_refused(f, XDP_INTERFACE ": its queues are 1", XDP_WIRE,
		   "--num-queue-pairs=2", NULL);
	is_refused(f, XDP_INTERFACE ": its MTU is 3818, and --mtu=3819",
		   XDP_WIRE, "--mtu=3819", NULL);
	xdp_run("ip link set dev " XDP_INTERFACE " mtu 3819");
	is_refused(f, XDP_INTERFACE ": an MTU of 3819 is more than", XDP_WIRE,
		   NULL, NULL);
	/* Whose driver has no programs. */
	xdp_run("ip link set dev lo up");
	is_refused(f, "lo: its driver refuses native mode", "--xdp=lo",
		   "--xdp-mode=native", "--mtu=1500");
	xdp_run("ip link set dev " XDP_INTERFACE " down");
	is_refused(f, XDP_INTERFACE ": the interface is down", XDP_WIRE, NULL,
		   NULL);
}

static void interface_that_has_a_program_is_named(void **state)
{
	struct fixture *f = *state;
	const pid_t first = f->process.pid;

	is_refused(f, XDP_INTERFACE ": has an XDP program already", XDP_WIRE,
		   NULL, NULL);
	f->process.pid = first;
}

static void queue_that_is_taken_is_named(void **state)
{
	struct fixture *f = *state;
	const size_t bytes = 64 * XSK_UMEM__DEFAULT_FRAME_SIZE;
	const struct xsk_socket_config config = {
		.rx_size = 64,
		.tx_size = 64,
		.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD,
		.bind_flags = XDP_COPY,
	};
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct xsk_ring_prod fill, send;
	struct xsk_ring_cons receive, completed;
	struct xsk_socket *socket;
	struct xsk_umem *umem;

	xdp_lay_cable(1500, 2);
	assert_true(memory != MAP_FAILED);
	assert_int_equal(
		xsk_umem__create(&umem, memory, bytes, &fill, &completed, NULL),
		0);
	assert_int_equal(xsk_socket__create(&socket, XDP_INTERFACE, 1, umem,
					    &receive, &send, &config),
			 0);
	is_refused(f, XDP_INTERFACE ": queue 1 is taken", XDP_WIRE,
		   "--num-queue-pairs=2", NULL);
	/* The other one is not. */
	xdp_start(f, NULL);
	xsk_socket__delete(socket);
	xsk_umem__delete(umem);
	munmap(memory, bytes);
}

static bool has_program(void)
{
	return system("ip link show " XDP_INTERFACE " | grep -q xdp") == 0;
}

static void nothing_is_left_at_the_end(void **state)
{
	struct fixture *f = *state;

	assert_true(has_program());
	process_stop(&f->process, SIGTERM);
	assert_false(has_program());
	xdp_start(f, NULL);
	assert_true(has_program());
	process_stop(&f->process, SIGKILL);
	for (unsigned i = 0; i < POLLS && has_program(); i++)
		usleep(POLL_US);
	assert_false(has_program());
}

static void guest_to_wire(const struct fixture *f, struct net_driver *d,
			  uint32_t seed)
{
	frame_make(frame, 500, seed);
	assert_int_equal(net_send(d, 0, NULL, frame, 500, NULL), 0);
	assert_int_equal(wire_receive(f, PATIENCE_MS, NULL, got), 500);
	assert_int_equal(frame_seed(got), seed);
}

static void wire_to_guest(const struct fixture *f, struct net_driver *d,
			  uint32_t seed)
{
	frame_make(frame, 500, seed);
	wire_send(f, NULL, frame, 500);
	assert_int_equal(net_receive(d, 0, NULL, got, sizeof(got)), 500);
	assert_int_equal(frame_seed(got), seed);
}

static uint16_t config_u16(struct net_driver *d, uint32_t offset)
{
	uint16_t value;

	assert_int_equal(frontend_get_config(d->fe, offset, &value, 2), 0);
	return le16toh(value);
}

static void wait_link(struct net_driver *d, bool up)
{
	uint16_t status = !up;

	for (unsigned i = 0; i < POLLS && status != up; i++) {
		status = config_u16(d,
				    offsetof(struct virtio_net_config, status));
		if (status != up)
			usleep(POLL_US);
	}
	assert_int_equal(status, up);
}

static void guest_sees_the_link_and_the_mtu(void **state)
{
	struct fixture *f = *state;
	struct net_driver *d = fixture_open(f, NULL);

	assert_int_equal(config_u16(d, offsetof(struct virtio_net_config, mtu)),
			 XDP_MAX_MTU);
	wait_link(d, true);
	guest_to_wire(f, d, 1);
	/* Its carrier. */
	xdp_run("ip link set dev " FIXTURE_TAP " down");
	wait_link(d, false);
	xdp_run("ip link set dev " FIXTURE_TAP " up");
	wait_link(d, true);
	xdp_wait_carrier();
	close(f->wire_fd);
	fixture_plug(f);
	guest_to_wire(f, d, 2);
	wire_to_guest(f, d, 3);
	net_driver_free(d);
}

static void frames_for_an_interface_that_is_down_are_dropped(void **state)
{
	struct fixture *f = *state;
	struct net_driver *d = fixture_open(f, NULL);
	uint64_t before;

	xdp_run("ip link set dev " XDP_INTERFACE " down");
	wait_link(d, false);
	for (unsigned i = 0; i < 3000; i++) {
		frame_make(frame, 100, i);
		assert_int_equal(net_send(d, 0, NULL, frame, 100, NULL), 0);
	}
	assert_int_equal(net_send_wait(d, 0), 0);
	before = process_cpu_ms(&f->process);
	/* No event to wait for: it is to do nothing meanwhile. */
	sleep(1);
	assert_true(process_cpu_ms(&f->process) - before <= 50);
	fixture_count(f);
	assert_true(process_log_number(&f->process, " refused ") > 2000);
	xdp_run("ip link set dev " XDP_INTERFACE " up");
	wait_link(d, true);
	xdp_wait_carrier();
	frame_make(frame, 500, 9999);
	assert_int_equal(net_send(d, 0, NULL, frame, 500, NULL), 0);
	/* Behind those that were with the kernel as it went down. */
	while (wire_receive(f, PATIENCE_MS, NULL, got) != 500)
		assert_int_equal(got[12], 0x88);
	wire_to_guest(f, d, 3);
	net_driver_free(d);
}

static void interface_that_goes_away_ends_the_daemon(void **state)
{
	struct fixture *f = *state;
	struct net_driver *d = fixture_open(f, NULL);

	guest_to_wire(f, d, 1);
	xdp_run("ip link del " XDP_INTERFACE);
	assert_int_equal(process_wait_exit(f->process.pid), 1);
	f->process.pid = 0;
	process_wait_log(&f->process, XDP_INTERFACE ": the interface is gone");
	net_driver_free(d);
}

static void privileges_are_given_up(void **state)
{
	struct fixture *f = *state;
	struct net_driver *d;

	if (!getenv("RINGLINE_NO_SANDBOX")) {
		process_wait_status(&f->process, "NoNewPrivs:", 1);
		process_wait_status(&f->process, "Seccomp:", 2);
	}
	/* CAP_DAC_OVERRIDE at most. */
	assert_int_equal(process_status(&f->process, "CapEff:") & ~UINT64_C(2),
			 0);
	d = fixture_open(f, NULL);
	guest_to_wire(f, d, 1);
	wire_to_guest(f, d, 2);
	net_driver_free(d);
	process_stop(&f->process, SIGTERM);
}

static void idle_daemon_sleeps(void **state)
{
	struct fixture *f = *state;
	struct net_driver *d = fixture_open(f, NULL);
	uint64_t before;

	guest_to_wire(f, d, 1);
	wire_to_guest(f, d, 2);
	before = process_cpu_ms(&f->process);
	/* No event to wait for: over these seconds it is to do nothing. */
	sleep(2);
	assert_true(process_cpu_ms(&f->process) - before <= 20);
	net_driver_free(d);
}

static void drain(const struct fixture *f, uint32_t *last)
{
	while (wire_receive(f, 1, NULL, got) > 0) {
		assert_true(frame_seed(got) > *last);
		*last = frame_seed(got);
	}
}

static void start_again(struct fixture *f, struct net_driver *d)
{
	struct frontend *fe;

	/* The old one would answer until the kernel has done with it. */
	unlink(f->process.socket);
	xdp_start(f, NULL);
	assert_int_equal(frontend_connect(f->process.socket, &fe), 0);
	assert_int_equal(net_driver_reconnect(d, fe), 0);
}

/* In mid-traffic: no frame twice, none before another, and it goes on. */
static void kill_and_start_again(struct fixture *f, uint64_t without)
{
	const struct net_options o = {.without = without};
	struct net_driver *d = fixture_open(f, &o);
	uint32_t seed = 0, last = 0;

	for (unsigned kill = 0; kill < KILLS; kill++) {
		for (unsigned i = 0; i < FLOW_FRAMES; i++) {
			frame_make(frame, 64 + i % 1000, ++seed);
			assert_int_equal(net_send(d, 0, NULL, frame,
						  64 + i % 1000, NULL),
					 0);
			if (i % 64 == 0)
				drain(f, &last);
		}
		process_stop(&f->process, SIGKILL);
		drain(f, &last);
		start_again(f, d);
		assert_int_equal(net_send_wait(d, 0), 0);
		drain(f, &last);
		guest_to_wire(f, d, ++seed);
		last = seed;
		wire_to_guest(f, d, seed);
	}
	net_driver_free(d);
}

static void killed_daemon_is_followed_by_another(void **state)
{
	kill_and_start_again(*state, 0);
	kill_and_start_again(*state, BIT(VIRTIO_F_RING_PACKED));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		XDP_TEST(options_that_are_wrong_are_named),
		XDP_TEST(interfaces_that_do_not_do_are_named),
		XDP_DAEMON_TEST(interface_that_has_a_program_is_named),
		XDP_TEST(queue_that_is_taken_is_named),
		XDP_DAEMON_TEST(nothing_is_left_at_the_end),
		XDP_DAEMON_TEST(guest_sees_the_link_and_the_mtu),
		XDP_DAEMON_TEST(
			frames_for_an_interface_that_is_down_are_dropped),
		XDP_DAEMON_TEST(interface_that_goes_away_ends_the_daemon),
		XDP_DAEMON_TEST(privileges_are_given_up),
		XDP_DAEMON_TEST(idle_daemon_sleeps),
		XDP_DAEMON_TEST(killed_daemon_is_followed_by_another),
	};

	namespace_enter_xdp();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
