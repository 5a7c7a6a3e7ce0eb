/* SPDX-License-Identifier: Apache-2.0 */
/* A port on an interface by AF_XDP: the interface's ways, the kernel's and the
 * process's. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/frame.h"
#include "tests/namespace.h"
#include "tests/switch/xdp.h"

enum {
	BYTES = 200,
	POLLS = 1000,
	POLL_US = 10000,
};

static uint8_t frame[FIXTURE_FRAME_BYTES], got[FIXTURE_FRAME_BYTES];
static uint32_t seed;

/* --- sleep, and what the kernel keeps -------------------------------------------- */

static void an_idle_port_sleeps_and_is_woken(void **state)
{
	struct fixture *f = *state;
	int wire = xdp_set_out(f, XDP_LINE(""));
	uint64_t before;

	xdp_both_ways(f, wire);
	before = process_cpu_ms(&f->process);
	/* No event to wait for: over these seconds it is to do nothing. */
	sleep(2);
	assert_true(process_cpu_ms(&f->process) - before <= 30);
	xdp_wire_to_guest(f, wire, 100);
	fixture_end_wire(wire);
}

static void what_finds_no_room_is_the_kernels_to_count(void **state)
{
	struct fixture *f = *state;
	unsigned polls = 0;
	uint64_t dropped;
	int status;
	int wire = xdp_set_out(f, XDP_LINE(""));

	xdp_wire_to_guest(f, wire, 100);
	assert_int_equal(kill(f->process.pid, SIGSTOP), 0);
	assert_int_equal(waitpid(f->process.pid, &status, WUNTRACED),
			 f->process.pid);
	for (unsigned i = 0; i < XDP_KERNEL_FRAMES + 500; i++) {
		fixture_frame(frame, 0, 7, BYTES, i);
		xdp_send(wire, frame, BYTES);
	}
	assert_int_equal(kill(f->process.pid, SIGCONT), 0);
	do {
		assert_true(polls++ < POLLS);
		usleep(POLL_US);
		dropped = fixture_counted(f, "w: sent dropped: no-buffer ");
	} while (fixture_counted(f, "w: sent frames ") + dropped <
		 XDP_KERNEL_FRAMES + 501);
	/* Some may have been lent as it stopped. */
	assert_in_range(dropped, 500, 564);
	fixture_end_wire(wire);
}

/* Frames that one becomes in a moment, while nothing else is sent. */
static void what_the_kernel_took_comes_out(void **state)
{
	struct fixture *f = *state;
	int wire = xdp_set_out(f, XDP_LINE(", xdp-mode: copy"));
	struct virtio_net_hdr_v1 header;
	const size_t bytes = frame_make_tso(frame, 60000, &header);
	struct ethtool_value value;
	uint64_t sent;

	/* The other end takes them in when it comes to it. */
	value.cmd = ETHTOOL_SGRO;
	value.data = 1;
	xdp_ask_device("rle1", &value);
	xdp_make_room(wire);
	header.gso_size = htole16(40);
	for (unsigned i = 0; i < NET_SEND_SLOTS; i++)
		assert_int_equal(
			net_send(f->guests[0], 0, &header, frame, bytes, NULL),
			0);
	assert_int_equal(net_send_wait(f->guests[0], 0), 0);
	sent = fixture_counted(f, "w: received frames ") -
	       fixture_counted(f, "w: received dropped: device ");
	assert_in_range(sent, XDP_KERNEL_FRAMES, NET_SEND_SLOTS * 1500);
	for (uint64_t i = 0; i < sent; i++)
		assert_true(fixture_receive_wire(wire, got) > 0);
	xdp_guest_to_wire(f, wire, 100);
	fixture_end_wire(wire);
}

/* A sanitizer wants to be the first library otherwise. */
static void preload(void)
{
	const char *asan = getenv("ASAN_OPTIONS");
	char options[512];

	snprintf(options, sizeof(options), "%s:verify_asan_link_order=0",
		 asan ? asan : "");
	setenv("ASAN_OPTIONS", options, 1);
	setenv("LD_PRELOAD", getenv("BUSY_KERNEL"), 1);
	setenv("BUSY_CALLS", "1000", 1);
}

/* No frame behind it has the kernel asked: that happens by itself. */
static void a_kernel_that_is_busy_is_asked_again(void **state)
{
	struct fixture *f = *state;
	int wire;

	preload();
	wire = xdp_set_out(f, XDP_LINE(", xdp-mode: copy"));
	unsetenv("LD_PRELOAD");
	for (unsigned i = 0; i < 20; i++)
		xdp_guest_to_wire(f, wire, 100);
	fixture_end_wire(wire);
}

/* --- the interface's ways -------------------------------------------------------- */

/* The guest's port is up in any case. */
static void wait_link(struct fixture *f, bool up)
{
	unsigned polls = 0;

	do {
		assert_true(polls++ < POLLS);
		usleep(POLL_US);
		assert_int_equal(fixture_ctl(f, "--json port show"), 0);
	} while (!strstr(f->said, "\"up\": false") != up);
}

static void frames_for_a_link_that_is_down_are_dropped(void **state)
{
	struct fixture *f = *state;
	int wire = xdp_set_out(f, XDP_LINE(""));

	wait_link(f, true);
	xdp_run("ip link set rle0 down");
	wait_link(f, false);
	for (unsigned i = 0; i < 3000; i++) {
		fixture_frame(frame, FIXTURE_BROADCAST, 0, 300, i);
		fixture_send(f, 0, frame, 300);
	}
	assert_true(fixture_counted(f, "w: received dropped: device ") > 2900);
	xdp_run("ip link set rle0 up");
	wait_link(f, true);
	close(wire);
	wire = fixture_open_wire("rle1");
	fixture_frame(frame, FIXTURE_BROADCAST, 0, 301, ++seed);
	fixture_send(f, 0, frame, 301);
	/* Behind those that were with the kernel as it went down. */
	while (fixture_receive_wire(wire, got) != 301)
		assert_in_range(fixture_seed(got), 0, 99);
	assert_memory_equal(got, frame, 301);
	xdp_wire_to_guest(f, wire, 100);
	fixture_end_wire(wire);
}

static void others_go_on_without_an_interface_that_is_gone(void **state)
{
	struct fixture *f = *state;
	uint64_t before;
	int wire;

	xdp_lay_wire(1);
	xdp_start(f, "", XDP_LINE(""), xdp_two);
	fixture_join_all(f, 2);
	wire = fixture_open_wire("rle1");
	fixture_frame(frame, FIXTURE_BROADCAST, 0, 100, ++seed);
	fixture_send(f, 0, frame, 100);
	xdp_expect(wire, frame, 100);
	fixture_expect(f, 1, frame, 100);
	fixture_end_wire(wire);
	process_wait_log(&f->process, "w: the interface is gone");
	fixture_ctl_says(f, "--json port show", "\"up\": false");
	for (unsigned i = 0; i < 200; i++) {
		fixture_frame(frame, FIXTURE_BROADCAST, 0, 100, ++seed);
		fixture_send(f, 0, frame, 100);
		fixture_expect(f, 1, frame, 100);
	}
	before = process_cpu_ms(&f->process);
	/* No event to wait for: it is to do nothing meanwhile. */
	sleep(1);
	assert_true(process_cpu_ms(&f->process) - before <= 30);
	fixture_ctl_says(f, "port del w", "");
	fixture_expect_nothing(f, 1, 0);
}

/* --- the process's --------------------------------------------------------------- */

/* Whether it takes frames for all addresses: who listens at it wants it. */
static bool is_promiscuous(void)
{
	return system("ip -d link show rle0 | grep -q 'promiscuity 1'") == 0;
}

static bool is_free(void)
{
	return system("ip -d link show rle0 | grep -q 'promiscuity 0' && "
		      "! ip link show rle0 | grep -q xdp") == 0;
}

static void nothing_is_left_of_a_process_that_is_killed(void **state)
{
	struct fixture *f = *state;
	int wire = xdp_set_out(f, XDP_LINE(""));
	char path[128];

	assert_true(is_promiscuous());
	xdp_guest_to_wire(f, wire, 100);
	fixture_leave(f, 0);
	process_stop(&f->process, SIGKILL);
	/* The old ones would answer until the kernel has done with them. */
	fixture_socket(f, 0, path);
	unlink(path);
	fixture_control_path(f, path);
	unlink(path);
	f->process.pid = fixture_spawn_again(f);
	fixture_wait_control(f);
	fixture_join(f, 0, NULL);
	xdp_both_ways(f, wire);
	fixture_leave(f, 0);
	process_stop(&f->process, SIGKILL);
	for (unsigned i = 0; i < POLLS && !is_free(); i++)
		usleep(POLL_US);
	assert_true(is_free());
	fixture_end_wire(wire);
}

static void refused(struct fixture *f, const char *keys, const char *words)
{
	char add[256];

	snprintf(add, sizeof(add), "port add %s", keys);
	assert_int_not_equal(fixture_ctl(f, add), 0);
	if (!strstr(f->said, words))
		fail_msg("not \"%s\" but %s", words, f->said);
}

/* Without rights it is told so, and nothing is tried that would end the process. */
static void a_port_cannot_be_added_without_rights(void **state)
{
	struct fixture *f = *state;

	xdp_lay_wire(1);
	fixture_start_controlled(f, "", xdp_two);
	fixture_join_all(f, 2);
	/* Without a sandbox it has no capabilities at least. */
	if (!getenv("RINGLINE_NO_SANDBOX"))
		process_wait_status(&f->process, "Seccomp:", 2);
	refused(f, "name=w kind=xdp interface=rle0",
		"w: rle0: AF_XDP needs CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF: "
		"such a port is opened at the start");
	fixture_introduce(f, 2);
	xdp_run("ip link del rle0");
}

/* What a restart would open, a reload does not: all goes on as it was. */
static void a_reload_opens_no_interface(void **state)
{
	static const char edit[] =
		"sed -i 's/interface: rle0/interface: rle0, mtu: 1000/' %s";
	struct fixture *f = *state;
	int wire = xdp_set_out(f, XDP_LINE(""));
	char command[256];

	snprintf(command, sizeof(command), edit, f->config);
	xdp_run(command);
	assert_int_not_equal(fixture_ctl(f, "reload"), 0);
	assert_non_null(strstr(f->said, ": w: only a restart can change what"));
	xdp_both_ways(f, wire);
	fixture_end_wire(wire);
}

static void ports_come_and_go(void **state)
{
	static const char *const unboxed[] = {"--sandbox=off", NULL};
	struct fixture *f = *state;
	unsigned fds = 0;

	xdp_lay_wire(1);
	fixture_start_controlled_with(f, "", xdp_one, unboxed);
	fixture_join(f, 0, NULL);
	for (unsigned i = 0; i < 20; i++) {
		int wire;

		fixture_ctl_says(f, "port add name=w kind=xdp interface=rle0",
				 "");
		wire = fixture_open_wire("rle1");
		xdp_wire_to_guest(f, wire, 100);
		xdp_guest_to_wire(f, wire, 100);
		close(wire);
		fixture_ctl_says(f, "port del w", "");
		if (i == 2)
			fds = process_count_fds(&f->process);
	}
	process_assert_fds(&f->process, fds);
	for (unsigned i = 0; i < POLLS && !is_free(); i++)
		usleep(POLL_US);
	assert_true(is_free());
	xdp_run("ip link del rle0");
}

static void interfaces_that_do_not_do_are_named(void **state)
{
	static const char *const unboxed[] = {"--sandbox=off", NULL};
	struct fixture *f = *state;

	xdp_lay_wire(1);
	fixture_start_controlled_with(f, "", xdp_one, unboxed);
	refused(f, "name=w kind=xdp", "interface: an xdp port needs the name");
	refused(f, "name=w kind=xdp interface=none0",
		"w: none0: there is no such interface");
	refused(f, "name=w kind=xdp interface=rle0 queues=2",
		"w: rle0: its queues are 1, and queues: 2");
	refused(f, "name=w kind=xdp interface=rle0 mtu=1501",
		"w: rle0: its MTU is 1500, and mtu: 1501");
	refused(f, "name=w kind=xdp interface=rle0 xdp-mode=fast", "xdp-mode");
	refused(f, "name=w kind=internal interface=rle0",
		"interface: only xdp ports have one");
	refused(f, "name=w kind=internal xdp-mode=copy",
		"xdp-mode: only xdp ports have one");
	xdp_run("ip link set lo up");
	refused(f, "name=w kind=xdp interface=lo mtu=1500 xdp-mode=native",
		"lo: its driver refuses native mode");
	fixture_ctl_says(f, "port add name=w kind=xdp interface=rle0", "");
	refused(f, "name=v kind=xdp interface=rle0",
		"interface: the port w has it already");
	fixture_ctl_says(f, "config show", "interface: rle0");
	xdp_run("ip link del rle0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWITCH_TEST(an_idle_port_sleeps_and_is_woken),
		SWITCH_TEST(what_finds_no_room_is_the_kernels_to_count),
		SWITCH_TEST(what_the_kernel_took_comes_out),
		SWITCH_TEST(a_kernel_that_is_busy_is_asked_again),
		SWITCH_TEST(frames_for_a_link_that_is_down_are_dropped),
		SWITCH_TEST(others_go_on_without_an_interface_that_is_gone),
		SWITCH_TEST(nothing_is_left_of_a_process_that_is_killed),
		SWITCH_TEST(a_port_cannot_be_added_without_rights),
		SWITCH_TEST(a_reload_opens_no_interface),
		SWITCH_TEST(ports_come_and_go),
		SWITCH_TEST(interfaces_that_do_not_do_are_named),
	};

	namespace_enter_xdp();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
