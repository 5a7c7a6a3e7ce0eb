/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a port may be told, of a port on a DPDK device: the port "w" on one end of
 * a wire, whose other end the test has, beside guests. Everything is set while the
 * port is there, and taken away again.
 */
#include <net/ethernet.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "tests/namespace.h"
#include "tests/switch/fixture.h"

enum {
	BYTES = 1000,
	HOST = 9, /* the station on the wire */
	PATIENCE_MS = 20000,
	MANY = 60,
	/* As many as a socket keeps that nobody reads from. */
	SHAPED = 80,
};

static const char *const two[] = {"", "", NULL};
static const char *const unboxed[] = {"--sandbox=off", NULL};
static uint8_t frame[FIXTURE_FRAME_BYTES], got[FIXTURE_FRAME_BYTES];
static uint32_t seed;
static int wire = -1;

static void set_out(struct fixture *f)
{
	if (!fixture_make_wire())
		skip();
	wire = fixture_open_wire("rle1");
	fixture_start_controlled_with(f, "", two, unboxed);
	fixture_join_all(f, 2);
	fixture_ctl_says(f,
			 "port add name=w kind=dpdk "
			 "devargs=net_af_packet0,iface=rle0",
			 "");
}

static int end(void **state)
{
	if (wire >= 0)
		fixture_end_wire(wire);
	wire = -1;
	return fixture_teardown(state);
}

#define WIRE_TEST(name) \
	cmocka_unit_test_setup_teardown(name, fixture_setup, end)

static void set(struct fixture *f, const char *keys)
{
	char arguments[256];

	snprintf(arguments, sizeof(arguments), "port set %s", keys);
	fixture_ctl_says(f, arguments, "");
}

static void send_wire(unsigned to, unsigned from)
{
	fixture_frame(frame, to, from, BYTES, ++seed);
	assert_int_equal(send(wire, frame, BYTES, 0), BYTES);
}

static void expect_on_wire(void)
{
	assert_int_equal(fixture_receive_wire(wire, got), BYTES);
	assert_memory_equal(got, frame, BYTES);
}

static void enters(struct fixture *f, unsigned to)
{
	send_wire(to, HOST);
	fixture_expect(f, to, frame, BYTES);
}

static void leaves(struct fixture *f, unsigned from)
{
	fixture_frame(frame, HOST, from, BYTES, ++seed);
	fixture_send(f, from, frame, BYTES);
	expect_on_wire();
}

/* Everybody knows where everybody is. */
static void introduce(struct fixture *f)
{
	send_wire(FIXTURE_BROADCAST, HOST);
	fixture_expect(f, 0, frame, BYTES);
	fixture_expect(f, 1, frame, BYTES);
	leaves(f, 0);
	leaves(f, 1);
}

/* A thread that sleeps looks at a device now and then. */
static void wait_counted(struct fixture *f, const char *words, uint64_t count)
{
	const uint64_t end_ns = clock_ns() + PATIENCE_MS * UINT64_C(1000000);

	while (fixture_counted(f, words) != count)
		assert_true(clock_ns() < end_ns);
}

/* What the wire sends goes nowhere, for @reason. */
static void is_stopped(struct fixture *f, unsigned to, unsigned from,
		       const char *reason)
{
	char words[64];
	uint64_t before;

	snprintf(words, sizeof(words), "w: not forwarded: %s ", reason);
	before = fixture_counted(f, words);
	send_wire(to, from);
	wait_counted(f, words, before + 1);
}

static void rules_are_kept(void **state)
{
	struct fixture *f = *state;

	set_out(f);
	introduce(f);
	set(f, "w 'acl-in=[{\"name\":\"a\",\"action\":\"deny\","
	       "\"to-mac\":\"02:00:00:00:00:00\"}]'");
	is_stopped(f, 0, HOST, "acl-in");
	enters(f, 1);
	leaves(f, 0);
	set(f, "w acl-in=null 'acl-out=[{\"name\":\"b\",\"action\":\"deny\","
	       "\"from-mac\":\"02:00:00:00:00:00\"}]'");
	fixture_frame(frame, HOST, 0, BYTES, ++seed);
	fixture_send_dropped(f, 0, frame, BYTES, "acl-out");
	leaves(f, 1);
	enters(f, 0);
	fixture_ctl_says(f, "acl show w", "b");
	set(f, "w acl-out=null");
	leaves(f, 0);
}

static void nobody_says_that_it_is_another(void **state)
{
	struct fixture *f = *state;

	set_out(f);
	introduce(f);
	set(f, "w 'guard={\"mac\":\"02:00:00:00:00:09\"}'");
	is_stopped(f, 0, HOST - 1, "guard-mac");
	is_stopped(f, 0, 1, "guard-mac");
	enters(f, 0);
	set(f, "w guard=null");
	/* Stations that were given stay where they are. */
	set(f, "w 'stations=[\"02:00:00:00:00:09\"]' locked=true");
	is_stopped(f, 0, HOST - 1, "spoofed");
	enters(f, 0);
	fixture_frame(frame, 0, HOST, BYTES, ++seed);
	fixture_send_dropped(f, 1, frame, BYTES, "spoofed");
}

/* Of MANY a few pass, and the others are counted. */
static void limited(struct fixture *f, unsigned to, const char *reason)
{
	char words[64];
	uint64_t dropped;

	snprintf(words, sizeof(words), "w: not forwarded: %s ", reason);
	for (unsigned i = 0; i < MANY; i++)
		send_wire(to, HOST);
	wait_counted(f, "w: sent frames ", MANY);
	dropped = fixture_counted(f, words);
	assert_in_range(dropped, 1, MANY - 5);
	for (unsigned i = dropped; i < MANY; i++)
		assert_int_equal(
			net_receive(f->guests[0], 0, NULL, got, sizeof(got)),
			BYTES);
	fixture_expect_nothing(f, 0, 1);
}

static void a_wire_sends_no_more_than_it_may(void **state)
{
	struct fixture *f = *state;

	set_out(f);
	set(f, "w 'frames={\"rate\":1,\"burst\":5}'");
	limited(f, 0, "limit");
}

static void a_storm_is_held_back(void **state)
{
	struct fixture *f = *state;

	set_out(f);
	set(f, "w 'broadcast={\"rate\":1,\"burst\":5}'");
	limited(f, FIXTURE_BROADCAST, "storm");
}

static void a_wire_gets_frames_no_faster_than_shaped(void **state)
{
	const double rate = 200000, burst = 10000;
	struct fixture *f = *state;
	uint64_t began, ns;

	set_out(f);
	introduce(f);
	set(f, "w 'shape={\"rate\":200000,\"burst\":10000}'");
	began = clock_ns();
	for (unsigned i = 0; i < SHAPED; i++) {
		fixture_frame(frame, HOST, 0, BYTES, i);
		fixture_send(f, 0, frame, BYTES);
	}
	for (unsigned i = 0; i < SHAPED; i++) {
		fixture_frame(frame, HOST, 0, BYTES, i);
		expect_on_wire();
	}
	ns = clock_ns() - began;
	assert_true(ns >= (SHAPED * BYTES - burst - BYTES) / rate * 1e9 * 0.98);
	assert_true(fixture_counted(f, "w: shaped delayed ") > SHAPED / 2);
	/* What waits as the device goes is freed with it. */
	for (unsigned i = 0; i < SHAPED; i++) {
		fixture_frame(frame, HOST, 0, BYTES, i);
		fixture_send(f, 0, frame, BYTES);
	}
	fixture_ctl_says(f, "port del w", "");
	process_assert_alive(&f->process);
}

static void a_wire_is_listened_to(void **state)
{
	struct fixture *f = *state;

	set_out(f);
	introduce(f);
	set(f, "p1 'mirror={\"ports\":[\"w\"]}'");
	enters(f, 0);
	fixture_expect(f, 1, frame, BYTES);
	leaves(f, 0);
	fixture_expect(f, 1, frame, BYTES);
}

static void a_wire_listens(void **state)
{
	struct fixture *f = *state;

	set_out(f);
	introduce(f);
	set(f, "w 'mirror={\"ports\":[\"p0\"]}'");
	fixture_frame(frame, 1, 0, BYTES, ++seed);
	fixture_send(f, 0, frame, BYTES);
	fixture_expect(f, 1, frame, BYTES);
	expect_on_wire();
	fixture_frame(frame, 0, 1, BYTES, ++seed);
	fixture_send(f, 1, frame, BYTES);
	fixture_expect(f, 0, frame, BYTES);
	expect_on_wire();
	is_stopped(f, 0, HOST, "mirror");
	set(f, "w mirror=null");
	enters(f, 0);
}

static void vlans_and_groups_keep_apart(void **state)
{
	struct fixture *f = *state;

	set_out(f);
	introduce(f);
	set(f, "p0 vlan=7");
	set(f, "w vlan=7");
	send_wire(FIXTURE_BROADCAST, HOST);
	fixture_expect(f, 0, frame, BYTES);
	fixture_ctl_says(f, "fdb show", "02:00:00:00:00:09  7");
	/* The content of a tunnel has tags of its own. */
	set(f, "w vlan-mode=tunnel vlan=7 'vlans=[\"all\"]'");
	fixture_frame(frame, 0, HOST, BYTES - 4, ++seed);
	fixture_tag(frame, BYTES - 4, ETH_P_8021Q, 5);
	assert_int_equal(send(wire, frame, BYTES, 0), BYTES);
	fixture_expect(f, 0, frame, BYTES);
	set(f, "w vlan-mode=trunk vlan=0 'vlans=[\"7\"]'");
	fixture_frame(frame, 0, HOST, BYTES, ++seed);
	fixture_tag(frame, BYTES, ETH_P_8021Q, 7);
	assert_int_equal(send(wire, frame, BYTES + 4, 0), BYTES + 4);
	memmove(frame + 12, frame + 16, BYTES - 12);
	fixture_expect(f, 0, frame, BYTES);
	set(f, "w vlan-mode=access vlan=1 vlans=null");
	set(f, "p0 vlan=1");
	set(f, "p0 group=x");
	set(f, "w group=x");
	send_wire(FIXTURE_BROADCAST, HOST);
	fixture_expect(f, 1, frame, BYTES);
	/* Which is how the switch knows where p0 is. */
	fixture_expect_nothing(f, 1, 0);
	is_stopped(f, 0, HOST, "isolated");
	fixture_expect_nothing(f, 0, 1);
}

/* --- what a device does to frames ------------------------------------------- */

static void frames_without_their_end_are_none(void **state)
{
	struct fixture *f = *state;

	set_out(f);
	introduce(f);
	assert_int_equal(system("ip link set rle0 mtu 9000 && "
				"ip link set rle1 mtu 9000"),
			 0);
	fixture_frame(frame, 0, HOST, 4000, ++seed);
	assert_int_equal(send(wire, frame, 4000, 0), 4000);
	wait_counted(f, "w: sent dropped: oversize ", 1);
	enters(f, 0);
	fixture_ctl_says(f, "port del w", "");
	assert_int_not_equal(fixture_ctl(f,
					 "port add name=w kind=dpdk mtu=9000 "
					 "devargs=net_af_packet0,iface=rle0"),
			     0);
	assert_non_null(strstr(f->said, "mtu: 9000: the device takes 46 to "
					"1500"));
}

static void what_a_device_loses_is_counted(void **state)
{
	struct fixture *f = *state;

	set_out(f);
	introduce(f);
	fixture_ctl_says(f, "metrics", "\nvswitch_port_up{port=\"w\"} 1\n");
	assert_int_equal(system("ip link set rle0 down"), 0);
	fixture_frame(frame, HOST, 0, BYTES, ++seed);
	fixture_send(f, 0, frame, BYTES);
	wait_counted(f, "w: received dropped: device ", 1);
	fixture_ctl_says(f, "metrics",
			 "\nvswitch_received_dropped_total{port=\"w\","
			 "reason=\"device\"} 1\n");
	assert_int_equal(system("ip link set rle0 up"), 0);
	/* One more may fail; and the kernel sends late what it has. */
	fixture_frame(frame, HOST, 0, BYTES, ++seed);
	fixture_send(f, 0, frame, BYTES);
	fixture_frame(frame, HOST, 0, BYTES, ++seed);
	fixture_send(f, 0, frame, BYTES);
	do
		assert_int_equal(fixture_receive_wire(wire, got), BYTES);
	while (memcmp(got, frame, BYTES) != 0);
}

/* --- what is said of it ------------------------------------------------------- */

static void trace_says_what_becomes_of_its_frames(void **state)
{
	struct fixture *f = *state;

	set_out(f);
	introduce(f);
	fixture_ctl_says(f,
			 "trace w to=02:00:00:00:00:00 from=02:00:00:00:00:09",
			 "gets it");
	assert_non_null(strstr(f->said, "p0"));
	assert_null(strstr(f->said, "p1"));
	fixture_ctl_says(f,
			 "trace p0 to=02:00:00:00:00:09 from=02:00:00:00:00:00",
			 "gets it");
	assert_non_null(strstr(f->said, "w "));
	set(f, "w 'acl-in=[{\"name\":\"no\",\"action\":\"deny\"}]'");
	fixture_ctl_says(f,
			 "trace w to=02:00:00:00:00:00 from=02:00:00:00:00:09",
			 "acl-in");
	assert_int_equal(fixture_counted(f, "w: not forwarded: acl-in "), 0);
}

static off_t size_of(const char *path)
{
	struct stat status;

	return stat(path, &status) < 0 ? 0 : status.st_size;
}

/* It ends by itself after @count frames. */
static pid_t capture(struct fixture *f, const char *file, const char *count)
{
	char control[160], path[128], write[192];
	const char *const argv[] = {getenv("VSWITCH"),
				    "ctl",
				    control,
				    "capture",
				    write,
				    count,
				    "w",
				    NULL};
	pid_t pid;

	fixture_control_path(f, path);
	snprintf(control, sizeof(control), "--control=%s", path);
	snprintf(write, sizeof(write), "--write=%s", file);
	pid = fork();
	if (pid == 0) {
		execv(argv[0], (char *const *)argv);
		_exit(127);
	}
	while (size_of(file) == 0) {
		assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
		usleep(1000);
	}
	/* Whoever made the file's head answers after it has begun. */
	fixture_ctl_says(f, "port show", "w");
	return pid;
}

static void what_passes_it_is_captured(void **state)
{
	struct fixture *f = *state;
	char file[160], error[PCAP_ERRBUF_SIZE];
	uint8_t in[BYTES], out[BYTES];
	const uint8_t *const wanted[] = {in, out};
	struct pcap_pkthdr *header;
	const u_char *bytes;
	pcap_t *pcap;
	pid_t pid;

	set_out(f);
	introduce(f);
	snprintf(file, sizeof(file), "%s.pcapng", f->config);
	pid = capture(f, file, "--count=2");
	enters(f, 0);
	memcpy(in, frame, BYTES);
	leaves(f, 1);
	memcpy(out, frame, BYTES);
	assert_int_equal(process_wait_exit(pid), 0);
	pcap = pcap_open_offline(file, error);
	assert_non_null(pcap);
	for (unsigned i = 0; i < ARRAY_SIZE(wanted); i++) {
		assert_int_equal(pcap_next_ex(pcap, &header, &bytes), 1);
		assert_int_equal(header->caplen, BYTES);
		assert_memory_equal(bytes, wanted[i], BYTES);
	}
	assert_int_equal(pcap_next_ex(pcap, &header, &bytes), PCAP_ERROR_BREAK);
	pcap_close(pcap);
	unlink(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WIRE_TEST(rules_are_kept),
		WIRE_TEST(nobody_says_that_it_is_another),
		WIRE_TEST(a_wire_sends_no_more_than_it_may),
		WIRE_TEST(a_storm_is_held_back),
		WIRE_TEST(a_wire_gets_frames_no_faster_than_shaped),
		WIRE_TEST(a_wire_is_listened_to),
		WIRE_TEST(a_wire_listens),
		WIRE_TEST(vlans_and_groups_keep_apart),
		WIRE_TEST(frames_without_their_end_are_none),
		WIRE_TEST(what_a_device_loses_is_counted),
		WIRE_TEST(trace_says_what_becomes_of_its_frames),
		WIRE_TEST(what_passes_it_is_captured),
	};

	namespace_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
