/* SPDX-License-Identifier: Apache-2.0 */
/* Ports on devices of DPDK's: interfaces, files, rings; and none at all. */
#include <net/ethernet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "tests/namespace.h"
#include "tests/switch/fixture.h"

enum {
	PACED = 60,
	PACE_US = 5000,
	PCAP_HEAD = 24,
	PCAP_FRAME_HEAD = 16,
};

static const char *const one[] = {"", NULL};
static const char *const unboxed[] = {"--sandbox=off", NULL};
static uint8_t frame[FIXTURE_FRAME_BYTES], got[FIXTURE_FRAME_BYTES];
static uint32_t seed;

/* --- an interface of the host's ------------------------------------------------ */

static void expect_on_wire(int fd, size_t bytes)
{
	assert_int_equal(fixture_receive_wire(fd, got), bytes);
	assert_memory_equal(got, frame, bytes);
}

#define WIRED(more) \
	"  - {name: w, kind: dpdk, devargs: \"net_af_packet0,iface=rle0" more

/* A guest on p0 beside the device: @rest ends its line. */
static void start_wired(struct fixture *f, const char *rest, const char *guest)
{
	char yaml[512], path[128];

	fixture_socket(f, 0, path);
	snprintf(yaml, sizeof(yaml),
		 "ports:\n%s}\n"
		 "  - {name: p0, kind: vhost-user, socket-path: %s%s}\n",
		 rest, path, guest);
	f->process.pid = fixture_spawn(f, yaml, NULL);
	while (access(path, F_OK) < 0) {
		process_assert_alive(&f->process);
		usleep(1000);
	}
}

/* With its guest, and the other end of the wire. Skips without rights. */
static int set_out(struct fixture *f, const char *rest, const char *guest)
{
	int wire;

	if (!fixture_make_wire())
		skip();
	wire = fixture_open_wire("rle1");
	start_wired(f, rest, guest);
	fixture_join(f, 0, NULL);
	return wire;
}

static void send_wire(int fd, size_t bytes)
{
	assert_int_equal(send(fd, frame, bytes, 0), bytes);
}

static void both_ways(struct fixture *f, int wire)
{
	static const size_t sizes[] = {60, 128, 129, 1514};

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		fixture_frame(frame, FIXTURE_BROADCAST, 0, sizes[i], ++seed);
		fixture_send(f, 0, frame, sizes[i]);
		expect_on_wire(wire, sizes[i]);
		fixture_frame(frame, 0, 1, sizes[i], ++seed);
		send_wire(wire, sizes[i]);
		fixture_expect(f, 0, frame, sizes[i]);
	}
}

static void a_guest_reaches_a_network_by_an_interface(void **state)
{
	struct fixture *f = *state;
	int wire = set_out(f, WIRED("\""), "");

	both_ways(f, wire);
	fixture_expect_cut(f, wire);
	/* Longer than the network's frames may be. */
	fixture_frame(frame, FIXTURE_BROADCAST, 0, 4000, ++seed);
	fixture_send(f, 0, frame, 4000);
	fixture_count(f);
	assert_int_equal(fixture_counted(f, "w: received dropped: oversize "),
			 1);
	fixture_end_wire(wire);
}

static void flows_go_by_several_queues(void **state)
{
	struct fixture *f = *state;
	int wire = set_out(f, WIRED(",qpairs=2\", queues: 2"), "");

	both_ways(f, wire);
	fixture_expect_cut(f, wire);
	for (unsigned i = 1; i < 40; i++) {
		fixture_frame(frame, FIXTURE_BROADCAST, 0, 100, ++seed);
		frame[11] = i;
		fixture_send(f, 0, frame, 100);
		expect_on_wire(wire, 100);
	}
	fixture_end_wire(wire);
}

static void tags_are_put_in_and_taken_off(void **state)
{
	struct fixture *f = *state;
	int wire = set_out(f, WIRED("\", vlan-mode: trunk, vlans: [\"7\"]"),
			   ", vlan: 7");

	fixture_frame(frame, 0, 1, 104, ++seed);
	fixture_tag(frame, 100, ETH_P_8021Q, 7);
	send_wire(wire, 104);
	memmove(frame + 12, frame + 16, 88);
	fixture_expect(f, 0, frame, 100);
	/* Another VLAN's does not come. */
	fixture_tag(frame, 100, ETH_P_8021Q, 8);
	send_wire(wire, 104);
	fixture_frame(frame, 0, 1, 104, ++seed);
	fixture_tag(frame, 100, ETH_P_8021Q, 7);
	send_wire(wire, 104);
	memmove(frame + 12, frame + 16, 88);
	fixture_expect(f, 0, frame, 100);
	fixture_end_wire(wire);
}

static int compare(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* A thread that sleeps is not woken by a device. A quarter of the frames tells: of
 * others a busy machine may be in the way. */
static void frames_that_keep_a_pace_do_not_wait_as_long(void **state)
{
	struct fixture *f = *state;
	uint64_t waited_ns[PACED];
	int wire = set_out(f, WIRED("\""), "");

	for (unsigned i = 0; i < PACED; i++) {
		uint64_t began;

		usleep(PACE_US);
		fixture_frame(frame, 0, 1, 200, ++seed);
		began = clock_ns();
		send_wire(wire, 200);
		fixture_expect(f, 0, frame, 200);
		waited_ns[i] = clock_ns() - began;
	}
	qsort(waited_ns, PACED, sizeof(*waited_ns), compare);
	assert_in_range(waited_ns[PACED / 4], 0, PACE_US * 1000 / 3);
	fixture_end_wire(wire);
}

/* --- files --------------------------------------------------------------------- */

static void write_pcap(const char *path, unsigned count, size_t bytes)
{
	const uint32_t head[PCAP_HEAD / 4] = {0xa1b2c3d4, 4 << 16 | 2, 0,
					      0,	  65535,       1};
	const uint32_t frame_head[PCAP_FRAME_HEAD / 4] = {0, 0, bytes, bytes};
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	fwrite(head, 1, sizeof(head), file);
	for (unsigned i = 0; i < count; i++) {
		fixture_frame(frame, 0, 7, bytes, i);
		fwrite(frame_head, 1, sizeof(frame_head), file);
		fwrite(frame, 1, bytes, file);
	}
	assert_int_equal(fclose(file), 0);
}

/* In a frame's buffers, and in several: a file has longer ones than a network. */
static void files_are_sent_and_written(void **state)
{
	static const size_t sizes[] = {64, 1500, 9000};
	struct fixture *f = *state;
	char in[128], out[128], add[512];
	size_t length;
	FILE *file;

	fixture_start_controlled_with(f, "", one, unboxed);
	fixture_join(f, 0, NULL);
	snprintf(in, sizeof(in), "%s.in", f->config);
	snprintf(out, sizeof(out), "%s.out", f->config);
	for (unsigned s = 0; s < ARRAY_SIZE(sizes); s++) {
		write_pcap(in, 50, sizes[s]);
		snprintf(add, sizeof(add),
			 "port add name=w kind=dpdk mtu=9000 "
			 "devargs=net_pcap0,rx_pcap=%s,tx_pcap=%s",
			 in, out);
		fixture_ctl_says(f, add, "");
		for (unsigned i = 0; i < 50; i++) {
			fixture_frame(frame, 0, 7, sizes[s], i);
			fixture_expect(f, 0, frame, sizes[s]);
		}
		fixture_frame(frame, 7, 0, sizes[s], ++seed);
		fixture_send(f, 0, frame, sizes[s]);
		fixture_ctl_says(f, "port del w", "");
		file = fopen(out, "re");
		assert_non_null(file);
		length = fread(got, 1, sizeof(got), file);
		fclose(file);
		assert_int_equal(length,
				 PCAP_HEAD + PCAP_FRAME_HEAD + sizes[s]);
		assert_memory_equal(got + PCAP_HEAD + PCAP_FRAME_HEAD, frame,
				    sizes[s]);
	}
	unlink(in);
	unlink(out);
}

/* --- devices that are not there ------------------------------------------------ */

static void refused(struct fixture *f, const char *keys, const char *words)
{
	char add[256];

	snprintf(add, sizeof(add), "port add kind=dpdk %s", keys);
	assert_int_not_equal(fixture_ctl(f, add), 0);
	if (!strstr(f->said, words))
		fail_msg("not \"%s\" but %s", words, f->said);
}

static void devices_that_cannot_be_are_named(void **state)
{
	struct fixture *f = *state;

	fixture_start_controlled_with(f, "", one, unboxed);
	fixture_join(f, 0, NULL);
	fixture_ctl_says(
		f, "port add name=a kind=dpdk devargs=net_null0,no-rx=1", "");
	refused(f, "name=b devargs=net_null0", "devargs: the port a has it");
	refused(f, "name=b devargs=net_af_packet0,iface=nowhere",
		"net_af_packet0: there is no such device");
	refused(f, "name=b devargs=net_pcap0,rx_pcap=/nowhere/at/all",
		"net_pcap0: there is no such device");
	refused(f, "name=b devargs=0000:ff:1f.7",
		"0000:ff:1f.7: there is no such device");
	refused(f, "name=b devargs=net_tap0", "give a PCI address");
	refused(f, "name=b devargs=net_pcap0,tx_pcap=/dev/null queues=2",
		"queues: 2: the device takes 1 to");
	refused(f, "name=b devargs=net_null1,no-such=1",
		"net_null1: there is no such device");
	fixture_ctl_says(f, "port show", "a     dpdk");
	/* The names are still to be had. */
	fixture_ctl_says(
		f, "port add name=b kind=dpdk devargs=net_null1,no-rx=1", "");
	fixture_ctl_says(f, "config show", "devargs: net_null1,no-rx=1");
	process_assert_alive(&f->process);
}

static void offloads_of_a_device_are_turned_off(void **state)
{
	struct fixture *f = *state;

	fixture_start_controlled_with(f, "", one, unboxed);
	fixture_ctl_says(f,
			 "port add name=a kind=dpdk offloads=false "
			 "devargs=net_null0,no-rx=1",
			 "");
	fixture_ctl_says(f, "config show", "offloads: false");
	fixture_ctl_says(f, "--json port show", "\"offloads\": []");
	refused(f, "name=b devargs=net_null1 offloads=maybe", "offloads");
	assert_int_not_equal(fixture_ctl(f, "port add name=b kind=internal "
					    "offloads=false"),
			     0);
	assert_non_null(strstr(f->said, "offloads: only those of dpdk ports"));
}

static void a_start_without_its_device_ends(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(process_wait_exit(fixture_spawn(
				 f, "ports:\n" WIRED("\"") "}\n", NULL)),
			 1);
	process_wait_log(&f->process, "w: devargs: net_af_packet0: there is "
				      "no such device");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWITCH_TEST(a_start_without_its_device_ends),
		SWITCH_TEST(a_guest_reaches_a_network_by_an_interface),
		SWITCH_TEST(flows_go_by_several_queues),
		SWITCH_TEST(tags_are_put_in_and_taken_off),
		SWITCH_TEST(frames_that_keep_a_pace_do_not_wait_as_long),
		SWITCH_TEST(files_are_sent_and_written),
		SWITCH_TEST(devices_that_cannot_be_are_named),
		SWITCH_TEST(offloads_of_a_device_are_turned_off),
	};

	namespace_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
