/* SPDX-License-Identifier: Apache-2.0 */
/* The switch as a process: its configuration, its TAPs, sleep, and the end. */
#include <linux/if_ether.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/namespace.h"
#include "tests/switch/fixture.h"

enum {
	BYTES = 300,
	PATIENCE_MS = 10000,
	IDLE_MS = 2000,
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

static void guests_and_hosts_reach_each_other(void **state)
{
	static const size_t sizes[] = {60, 128, 129, 1514};
	struct fixture *f = *state;
	char yaml[512], path[128];
	int wires[2];

	fixture_socket(f, 0, path);
	snprintf(yaml, sizeof(yaml),
		 "ports:\n"
		 "  - {name: rlt0, kind: tap}\n"
		 "  - {name: host, kind: internal, tap: rli0}\n"
		 "  - {name: guest, kind: vhost-user, socket-path: %s}\n",
		 path);
	f->process.pid = fixture_spawn(f, yaml, NULL);
	while (access(path, F_OK) < 0) {
		process_assert_alive(&f->process);
		usleep(1000);
	}
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
	};

	namespace_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
