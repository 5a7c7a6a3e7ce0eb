/* SPDX-License-Identifier: Apache-2.0 */
/* The switch as a process: its configuration, its TAPs, sleep, and the end. */
#include <linux/if_ether.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/namespace.h"
#include "tests/switch/fixture.h"

enum {
	BYTES = 300,
	PATIENCE_MS = 10000,
	IDLE_MS = 2000,
	TAP_FRAMES = 40,
};

static const char *const eight[] = {"", "", "", "", "", "", "", "", NULL};
static uint8_t frame[FIXTURE_FRAME_BYTES], got[FIXTURE_FRAME_BYTES];
static uint32_t seed;

/* --- configuration ------------------------------------------------------------ */

/* The switch does not start, and says @words about @yaml. */
static void is_refused(struct fixture *f, const char *yaml, const char *words)
{
	char line[PROCESS_LINE_BYTES];

	assert_int_equal(process_wait_exit(fixture_spawn(f, yaml, NULL)), 1);
	snprintf(line, sizeof(line), "%s:%s", f->config, words);
	process_wait_log(&f->process, line);
	assert_int_equal(truncate(f->process.log, 0), 0);
}

#define PORT(keys) "ports:\n  - name: a\n    kind: vhost-user\n    " keys "\n"
#define SOCKET	   "socket-path: /tmp/none\n    "

static void what_is_wrong_is_named_with_file_line_and_key(void **state)
{
	static const struct {
		const char *yaml, *words;
	} cases[] = {
		{"", "1: there is nothing in it"},
		{"lcore: 2\n", "1: lcore: there is no such key here"},
		{"lcores: many\n", "1: lcores: "},
		{"lcores: 65\n", "1: lcores: 65: give 1 to 64"},
		{"\nfdb-age: 2000000\n", "2: fdb-age: 2000000: give 1000000"},
		{"fdb-age: 1000001\n", "1: fdb-age: 1000001: give 1000000"},
		{"fdb-capacity: 4194305\n",
		 "1: fdb-capacity: 4194305: give 4194304 at most"},
		{"ports: [", "1: "},
		{PORT("connect: no"),
		 "2: socket-path: a vhost-user port needs"},
		{PORT(SOCKET "quees: 4"),
		 "5: quees: there is no such key here"},
		{PORT(SOCKET "queues: 70000"), "5: queues: "},
		{PORT(SOCKET "queues: 65"), "5: queues: 65: give 1 to 64"},
		{PORT(SOCKET "connect: perhaps"), "5: connect: "},
		{PORT(SOCKET "mac: \"01:00:00:00:00:01\""),
		 "5: mac: 01:00:00:00:00:01: give an address"},
		{PORT(SOCKET "mtu: 67"), "5: mtu: 67: give 68 or more"},
		{PORT(SOCKET "vlan: 4095"), "5: vlan: VLANs are 1 to 4094"},
		{PORT(SOCKET "vlan-mode: trunk\n    vlans:\n"
			     "      - \"5\"\n      - 20-4095"),
		 "8: vlans: 20-4095: give a VLAN from 1 to 4094"},
		{PORT(SOCKET "vlan-mode: trunk"),
		 "5: vlan-mode: a trunk has at least one VLAN"},
		{PORT(SOCKET "service-tags: yes"),
		 "5: service-tags: only a trunk has tags"},
		{PORT(SOCKET "locked: yes"),
		 "5: locked: a locked port needs stations"},
		{PORT(SOCKET "stations: [\"2:0\"]"),
		 "5: stations: 2:0: give an address"},
		{PORT(SOCKET "frames: {rate: 100000000000}"), "5: frames: "},
		{PORT(SOCKET "guard:\n      mac: 2:0"),
		 "6: mac: 2:0: give an address"},
		{PORT(SOCKET "guard:\n      addresses:\n"
			     "        - 10.0.0.1\n        - 10.0.0.1/8"),
		 "8: addresses: 10.0.0.1/8: give an IP address or a prefix"},
		{PORT(SOCKET "guard: {macs: first}"),
		 "5: macs: there is no such key here"},
		{PORT(SOCKET "acl-out:\n"
			     "      - {name: a, action: allow}\n"
			     "      - name: b\n        action: deny\n"
			     "        protocol: tcp\n        to-ports: 70000"),
		 "10: to-ports: 70000: give a port, or a range"},
		{PORT(SOCKET "acl-in: [{name: a, action: drop}]"),
		 "5: action: "},
		{PORT(SOCKET "mirror:\n      vlans: [\"1\"]\n"
			     "      ports: [b]"),
		 "7: ports: b: no port has this name"},
		{PORT(SOCKET "shape: {rate: 1000, queue: 70000000}"),
		 "5: queue: 70000000: give 67108864 at most"},
		{PORT(SOCKET "shape: {rate: 100000000000}"),
		 "5: shape: so much in a second"},
		{PORT(SOCKET "unknown: {rate: 1, burst: 100000000000}"),
		 "5: unknown: "},
		{PORT(SOCKET "multicast: {rate: 100000000000}"),
		 "5: multicast: "},
		{PORT(SOCKET "tags-native: yes"),
		 "5: tags-native: only a trunk has tags"},
		{PORT(SOCKET "vlan-mode: trunk\n    vlans: [7]\n"
			     "    stations: [\"02:00:00:00:00:01\"]"),
		 "7: stations: they are in the native VLAN"},
		{PORT(SOCKET "vlan-mode: trunk\n    vlans: [9-7]"),
		 "6: vlans: 9-7: give a VLAN"},
		{PORT(SOCKET "vlan-mode: trunk\n    vlans: [\"0\"]"),
		 "6: vlans: 0: give a VLAN"},
		{PORT(SOCKET "vlan-mode: trunk\n    vlans: [7x]"),
		 "6: vlans: 7x: give a VLAN"},
		{PORT(SOCKET "mirror: {direction: in}"),
		 "5: ports: a mirror needs ports or vlans"},
		{PORT(SOCKET "mirror: {vlans: [\"4095\"]}"),
		 "5: vlans: 4095: give a VLAN"},
		{PORT(SOCKET "mirror: {ports: [a]}"),
		 "5: ports: a: it cannot listen to itself"},
		{PORT(SOCKET "mirror: {vlans: [\"1\"]}\n"
			     "    stations: [\"02:00:00:00:00:01\"]"),
		 "6: stations: a port with a mirror only listens"},
		{PORT(SOCKET "offloads: no"),
		 "5: offloads: only those of dpdk ports"},
		{PORT(SOCKET "bridge: br0"), "5: bridge: only the TAP of a"},
		{"ports:\n  - {name: a, kind: internal, bridge: br0}\n",
		 "2: bridge: only the TAP of a port of kind tap"},
		{"ports:\n  - {name: a, kind: tap, socket-path: /tmp/none}\n",
		 "2: socket-path: only vhost-user ports have a socket"},
		{"ports:\n  - {name: a, kind: tap, mac: 02:00:00:00:00:01}\n",
		 "2: mac: only vhost-user ports tell it a guest"},
		{"ports:\n  - {name: sixteen-letters-, kind: tap}\n",
		 "2: name: a device of that name cannot be"},
		{"ports:\n  - {name: a, kind: tap}\n"
		 "  - {name: b, kind: internal, tap: a}\n",
		 "3: tap: the port a of entry 1 has it already"},
		{"ports:\n  - {name: b, kind: internal, tap: a}\n"
		 "  - {name: c, kind: tap}\n  - {name: a, kind: tap}\n",
		 "4: name: the port b of entry 1 has it already"},
		{PORT(SOCKET "tap: x"), "5: tap: a vhost-user port has no"},
		{PORT(SOCKET) "  - name: a\n    kind: tap\n",
		 "6: name: the port a of entry 1 has it already"},
		{PORT(SOCKET) "  - name: b\n    kind: vhost-user\n"
			      "    socket-path: /tmp/none\n",
		 "8: socket-path: the port a of entry 1 has it already"},
		{PORT(SOCKET) "  - kind: tap\n", "6: name: the key is missing"},
		{PORT(SOCKET) "  - name: b\n    kind: nic\n", "7: kind: "},
		{"ports:\n  - name: a\n    kind: dpdk\n",
		 "2: devargs: a dpdk port needs those of its device"},
		{"ports:\n  - name: a\n    kind: dpdk\n    devargs: eth0\n",
		 "4: devargs: eth0: give a PCI address"},
		{"ports:\n  - {name: a, kind: tap, devargs: net_null0}\n",
		 "2: devargs: only dpdk ports have them"},
		{"ports:\n  - {name: a, kind: dpdk, devargs: \"net_null0,x\"}\n"
		 "  - {name: b, kind: dpdk, devargs: net_null0}\n",
		 "3: devargs: the port a of entry 1 has it already"},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		print_message("# %s\n", cases[i].words);
		is_refused(*state, cases[i].yaml, cases[i].words);
	}
}

static void options_and_files_that_are_missing_are_named(void **state)
{
	struct fixture *f = *state;
	const char *const absent[] = {"--config=/nowhere/at/all", NULL};
	const char *const none[] = {NULL};

	assert_int_equal(process_wait_exit(process_spawn(&f->process, absent)),
			 1);
	process_wait_log(&f->process, "/nowhere/at/all: No such file");
	assert_int_equal(process_wait_exit(process_spawn(&f->process, none)),
			 1);
	process_wait_log(&f->process, "--config is missing");
}

/* --- the process -------------------------------------------------------------- */

static void privileges_are_given_up(void **state)
{
	struct fixture *f = *state;

	fixture_start(f, "", eight);
	if (!getenv("RINGLINE_NO_SANDBOX")) {
		process_wait_status(&f->process, "NoNewPrivs:", 1);
		process_wait_status(&f->process, "Seccomp:", 2);
	}
	/* CAP_DAC_OVERRIDE at most. */
	assert_int_equal(process_status(&f->process, "CapPrm:") & ~UINT64_C(2),
			 0);
}

static void idle_switch_sleeps(void **state)
{
	struct fixture *f = *state;
	uint64_t before, spent;

	fixture_start(f, "lcores: 2", eight);
	fixture_join_all(f, 8);
	fixture_frame(frame, FIXTURE_BROADCAST, 0, BYTES, ++seed);
	fixture_send(f, 0, frame, BYTES);
	for (unsigned i = 1; i < 8; i++)
		fixture_expect(f, i, frame, BYTES);
	before = process_cpu_ms(&f->process);
	usleep(IDLE_MS * 1000);
	spent = process_cpu_ms(&f->process) - before;
	assert_true(spent <= IDLE_MS / 100);
	/* And wakes. */
	fixture_send(f, 0, frame, BYTES);
	fixture_expect(f, 7, frame, BYTES);
}

static void end_is_clean_with_guests_on_all_ports(void **state)
{
	struct fixture *f = *state;
	char path[128];

	fixture_start(f, "lcores: 2", eight);
	fixture_join_all(f, 8);
	fixture_frame(frame, FIXTURE_BROADCAST, 0, BYTES, ++seed);
	fixture_send(f, 0, frame, BYTES);
	assert_int_equal(kill(f->process.pid, SIGTERM), 0);
	assert_int_equal(process_wait_exit(f->process.pid), 0);
	f->process.pid = 0;
	for (unsigned i = 0; i < 8; i++) {
		fixture_socket(f, i, path);
		assert_int_equal(access(path, F_OK), -1);
	}
}

static void front_end_that_listens_is_connected_to(void **state)
{
	struct fixture *f = *state;
	const struct net_options none = {0};
	char yaml[512], path[2][128];
	struct frontend *fe;
	int listener;

	fixture_socket(f, 0, path[0]);
	fixture_socket(f, 1, path[1]);
	assert_int_equal(frontend_listen(path[1], &listener), 0);
	snprintf(yaml, sizeof(yaml),
		 "ports:\n"
		 "  - {name: a, kind: vhost-user, socket-path: %s}\n"
		 "  - {name: b, kind: vhost-user, socket-path: %s, "
		 "connect: yes}\n",
		 path[0], path[1]);
	f->process.pid = fixture_spawn(f, yaml, NULL);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(frontend_accept(listener, PATIENCE_MS, &fe),
				 0);
		assert_int_equal(net_driver_new(fe, &none, &f->guests[1]), 0);
		fixture_join(f, 0, NULL);
		fixture_frame(frame, FIXTURE_BROADCAST, 1, BYTES, ++seed);
		fixture_send(f, 1, frame, BYTES);
		fixture_expect(f, 0, frame, BYTES);
		fixture_leave(f, 0);
		fixture_leave(f, 1);
	}
	close(listener);
}

/* --- TAPs --------------------------------------------------------------------- */

static void expect_on_wire(int fd, size_t bytes)
{
	size_t n;

	do {
		n = fixture_receive_wire(fd, got);
	} while (n >= FIXTURE_HEAD_BYTES && get_be16(got + 12) != 0x88b5);
	assert_int_equal(n, bytes);
	assert_memory_equal(got, frame, bytes);
}

/* With @taps in YAML, a guest and a control socket. */
static void start_taps(struct fixture *f, const char *taps)
{
	char yaml[512], path[128], option[160];
	const char *const options[] = {option, NULL};

	fixture_control_path(f, path);
	snprintf(option, sizeof(option), "--control=%s", path);
	fixture_socket(f, 0, path);
	snprintf(yaml, sizeof(yaml),
		 "ports:\n%s"
		 "  - {name: guest, kind: vhost-user, socket-path: %s}\n",
		 taps, path);
	f->process.pid = fixture_spawn(f, yaml, options);
	fixture_wait_control(f);
}

static void guests_and_hosts_reach_each_other(void **state)
{
	static const size_t sizes[] = {60, 128, 129, 1514};
	struct fixture *f = *state;
	int wires[2];

	start_taps(f, "  - {name: rlt0, kind: tap}\n"
		      "  - {name: host, kind: internal, tap: rli0}\n");
	wires[0] = fixture_open_wire("rlt0");
	wires[1] = fixture_open_wire("rli0");
	fixture_join(f, 0, NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		size_t bytes = sizes[i];

		/* To all, and then between any two. */
		fixture_frame(frame, FIXTURE_BROADCAST, 0, bytes, ++seed);
		fixture_send(f, 0, frame, bytes);
		expect_on_wire(wires[0], bytes);
		expect_on_wire(wires[1], bytes);
		for (unsigned w = 0; w < 2; w++) {
			fixture_frame(frame, 0, 1 + w, bytes, ++seed);
			assert_int_equal(send(wires[w], frame, bytes, 0),
					 bytes);
			fixture_expect(f, 0, frame, bytes);
			fixture_frame(frame, 1 + w, 0, bytes, ++seed);
			fixture_send(f, 0, frame, bytes);
			expect_on_wire(wires[w], bytes);
		}
		fixture_frame(frame, 2, 1, bytes, ++seed);
		assert_int_equal(send(wires[0], frame, bytes, 0), bytes);
		expect_on_wire(wires[1], bytes);
	}
	close(wires[0]);
	close(wires[1]);
}

static void stop_for_now(const struct fixture *f)
{
	int status;

	assert_int_equal(kill(f->process.pid, SIGSTOP), 0);
	assert_int_equal(waitpid(f->process.pid, &status, WUNTRACED),
			 f->process.pid);
	assert_true(WIFSTOPPED(status));
}

/* What @direction of the TAP's port has in frames, and in bytes. */
static void count_tap(const struct fixture *f, const char *direction,
		      uint64_t *ret_frames, uint64_t *ret_bytes)
{
	char words[64];

	snprintf(words, sizeof(words), "rlt0: %s frames ", direction);
	*ret_frames = fixture_counted(f, words);
	snprintf(words, sizeof(words), "rlt0: %s frames %llu bytes ", direction,
		 (unsigned long long)*ret_frames);
	*ret_bytes = process_log_number(&f->process, words);
}

/* More than are read at once wait in the TAP. */
static void burst_of_a_tap_comes_whole_and_in_order(void **state)
{
	struct fixture *f = *state;
	uint64_t frames[2], bytes[2], all = 0;
	const uint32_t first = seed + 1;
	int wire;

	start_taps(f, "  - {name: rlt0, kind: tap}\n");
	fixture_join(f, 0, NULL);
	wire = fixture_open_wire("rlt0");
	count_tap(f, "sent", &frames[0], &bytes[0]);
	stop_for_now(f);
	for (unsigned i = 0; i < TAP_FRAMES; i++) {
		fixture_frame(frame, 0, 1, BYTES + i, ++seed);
		assert_int_equal(send(wire, frame, BYTES + i, 0), BYTES + i);
		all += BYTES + i;
	}
	assert_int_equal(kill(f->process.pid, SIGCONT), 0);
	for (unsigned i = 0; i < TAP_FRAMES; i++) {
		fixture_frame(frame, 0, 1, BYTES + i, first + i);
		fixture_expect(f, 0, frame, BYTES + i);
	}
	count_tap(f, "sent", &frames[1], &bytes[1]);
	assert_int_equal(frames[1] - frames[0], TAP_FRAMES);
	assert_int_equal(bytes[1] - bytes[0], all);
	/* And the other way. */
	count_tap(f, "received", &frames[0], &bytes[0]);
	fixture_frame(frame, 1, 0, BYTES, ++seed);
	fixture_send(f, 0, frame, BYTES);
	expect_on_wire(wire, BYTES);
	count_tap(f, "received", &frames[1], &bytes[1]);
	assert_int_equal(frames[1] - frames[0], 1);
	assert_int_equal(bytes[1] - bytes[0], BYTES);
	close(wire);
}

static void tap_that_is_deleted_is_told_of_and_down(void **state)
{
	struct fixture *f = *state;
	uint64_t frames, bytes;
	char words[64];

	start_taps(f, "  - {name: rlt0, kind: tap}\n");
	fixture_join(f, 0, NULL);
	fixture_frame(frame, FIXTURE_BROADCAST, 0, BYTES, ++seed);
	fixture_send(f, 0, frame, BYTES);
	fixture_ctl_says(f, "port show", "rlt0   tap         0       yes");
	assert_int_equal(system("ip link del rlt0"), 0);
	process_wait_log(&f->process, "rlt0: the TAP was deleted");
	fixture_ctl_says(f, "port show", "rlt0   tap         0       no");
	count_tap(f, "received", &frames, &bytes);
	fixture_send(f, 0, frame, BYTES);
	snprintf(words, sizeof(words), "bytes %llu unreachable ",
		 (unsigned long long)bytes);
	assert_int_equal(fixture_counted(f, words), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWITCH_TEST(what_is_wrong_is_named_with_file_line_and_key),
		SWITCH_TEST(options_and_files_that_are_missing_are_named),
		SWITCH_TEST(privileges_are_given_up),
		SWITCH_TEST(idle_switch_sleeps),
		SWITCH_TEST(end_is_clean_with_guests_on_all_ports),
		SWITCH_TEST(front_end_that_listens_is_connected_to),
		SWITCH_TEST(guests_and_hosts_reach_each_other),
		SWITCH_TEST(burst_of_a_tap_comes_whole_and_in_order),
		SWITCH_TEST(tap_that_is_deleted_is_told_of_and_down),
	};

	namespace_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
