/* SPDX-License-Identifier: Apache-2.0 */
/* A port on an interface by AF_XDP: frames between guests and a network. */
#include <net/ethernet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/frame.h"
#include "tests/namespace.h"
#include "tests/switch/xdp.h"

enum {
	TSO_PAYLOAD = 20000,
	FLOWS = 40,
	FLOW_BYTE = 10, /* of a source address */
	ROUNDS = 50,
	LONG_ROUNDS = 100,
	LONG_FRAMES = 12, /* of each guest, at once */
	BYTES = 200,
};

static uint8_t frame[FIXTURE_FRAME_BYTES], got[FIXTURE_FRAME_BYTES];
static uint32_t seed;

static void try_mode(struct fixture *f, const char *line, const char *way)
{
	int wire = xdp_set_out(f, line);

	xdp_both_ways(f, wire);
	fixture_expect_cut(f, wire);
	fixture_ctl_says(f, "--json port show", way);
	fixture_ctl_says(f, "--json port show", "\"interface\": \"rle0\"");
	fixture_end_wire(wire);
}

static void frames_pass_in_copy_mode(void **state)
{
	try_mode(*state, XDP_LINE(", xdp-mode: copy"),
		 "\"way\": \"AF_XDP in copy mode\"");
}

static void frames_pass_in_native_mode(void **state)
{
	try_mode(*state, XDP_LINE(", xdp-mode: native"),
		 "\"way\": \"AF_XDP in native mode");
}

/* Nobody else's bytes fill up what is too short for a network. */
static void short_frames_are_filled_up(void **state)
{
	struct fixture *f = *state;
	int wire = xdp_set_out(f, XDP_LINE(""));

	for (unsigned i = 0; i < 2 * XDP_KERNEL_FRAMES; i++) {
		const size_t bytes = i % 2 ? 1500 : 42;

		fixture_frame(frame, FIXTURE_BROADCAST, 0, bytes, ++seed);
		fixture_send(f, 0, frame, bytes);
		memset(frame + bytes, 0, 60);
		xdp_expect(wire, frame, MAX(bytes, (size_t)60));
	}
	fixture_end_wire(wire);
}

static void what_is_no_frame_of_the_network_is_counted(void **state)
{
	struct fixture *f = *state;
	int wire = xdp_set_out(f, XDP_LINE(", mtu: 1000"));
	struct virtio_net_hdr_v1 header;
	size_t bytes;

	/* Two tags have room. */
	xdp_guest_to_wire(f, wire, 1022);
	fixture_frame(frame, FIXTURE_BROADCAST, 0, 1023, ++seed);
	fixture_send(f, 0, frame, 1023);
	bytes = frame_make_tso(frame, TSO_PAYLOAD, &header);
	assert_int_equal(net_send(f->guests[0], 0, &header, frame, bytes, NULL),
			 0);
	assert_int_equal(net_send_wait(f->guests[0], 0), 0);
	assert_int_equal(fixture_counted(f, "w: received dropped: oversize "),
			 2);
	xdp_guest_to_wire(f, wire, 100);
	fixture_end_wire(wire);
}

/* Before anybody sees the frame: it would be another VLAN's then. */
static bool takes_tags_off(const char *interface)
{
	struct ethtool_value flags = {.cmd = ETHTOOL_GFLAGS};

	xdp_ask_device(interface, &flags);
	return flags.data & ETH_FLAG_RXVLAN;
}

static void tags_are_put_in_and_taken_off(void **state)
{
	struct fixture *f = *state;
	int wire;

	xdp_lay_wire(1);
	assert_true(takes_tags_off("rle0"));
	xdp_start(f, "", XDP_LINE(", vlan-mode: trunk, vlans: [\"7\"]"),
		  (const char *const[]){", vlan: 7", NULL});
	fixture_join(f, 0, NULL);
	wire = fixture_open_wire("rle1");
	assert_false(takes_tags_off("rle0"));
	fixture_frame(frame, 0, 7, 100, ++seed);
	/* Another VLAN's does not come. */
	fixture_tag(frame, 100, ETH_P_8021Q, 8);
	xdp_send(wire, frame, 104);
	fixture_tag(frame, 100, ETH_P_8021Q, 7);
	memmove(frame + 16, frame + 20, 84);
	xdp_send(wire, frame, 104);
	memmove(frame + 12, frame + 16, 88);
	fixture_expect(f, 0, frame, 100);
	fixture_end_wire(wire);
}

/* From where the kernel put a frame to where it takes another. */
static void two_networks_are_joined(void **state)
{
	struct fixture *f = *state;
	int first, second;

	xdp_lay_wire(1);
	system("ip link del rlf0 2>/dev/null");
	xdp_run("ip link add rlf0 type veth peer name rlf1 && "
		"ip link set rlf0 addrgenmode none up && "
		"ip link set rlf1 addrgenmode none up");
	xdp_start(f, "lcores: 2",
		  XDP_LINE("") "  - {name: v, kind: xdp, interface: rlf0}\n",
		  (const char *const[]){NULL});
	first = fixture_open_wire("rle1");
	second = fixture_open_wire("rlf1");
	for (unsigned i = 0; i < ROUNDS; i++) {
		fixture_frame(frame, 2, 1, 60 + i * 29, ++seed);
		xdp_send(first, frame, 60 + i * 29);
		xdp_expect(second, frame, 60 + i * 29);
		fixture_frame(frame, 1, 2, 60 + i * 29, ++seed);
		xdp_send(second, frame, 60 + i * 29);
		xdp_expect(first, frame, 60 + i * 29);
	}
	fixture_end_wire(first);
	close(second);
	xdp_run("ip link del rlf0");
}

/* --- queues and threads ---------------------------------------------------------- */

static unsigned taken[2 * FLOWS];

/* Those of a flow in their order, whole, and none twice. */
static void take_from_wire(int wire)
{
	const size_t bytes = fixture_receive_wire(wire, got);
	const unsigned flow = got[FLOW_BYTE];
	uint8_t wanted[BYTES];

	assert_in_range(flow, 0, 2 * FLOWS - 1);
	fixture_frame(wanted, XDP_STATION, got[11], BYTES, taken[flow]++);
	wanted[FLOW_BYTE] = flow;
	assert_int_equal(bytes, BYTES);
	assert_memory_equal(got, wanted, BYTES);
}

/* Two guests that two threads serve, by the queues of one interface. */
static void send_flows(struct fixture *f)
{
	int wire;

	xdp_lay_wire(3);
	xdp_start(f, "lcores: 2\nbalance: off", XDP_LINE(", queues: 3"),
		  xdp_two);
	fixture_join_all(f, 2);
	wire = fixture_open_wire("rle1");
	memset(taken, 0, sizeof(taken));
	/* The station is known from here on. */
	xdp_wire_to_guest(f, wire, 100);
	for (unsigned i = 0; i < ROUNDS; i++) {
		for (unsigned n = 0; n < 2 * FLOWS; n++) {
			const unsigned guest = n % 2;

			fixture_frame(frame, XDP_STATION, guest, BYTES, i);
			frame[FLOW_BYTE] = n;
			assert_int_equal(net_send(f->guests[guest], 0, NULL,
						  frame, BYTES, NULL),
					 0);
		}
		for (unsigned n = 0; n < 2 * FLOWS; n++)
			take_from_wire(wire);
	}
	fixture_end_wire(wire);
}

static void send_long(struct fixture *f, unsigned guest)
{
	struct virtio_net_hdr_v1 header;
	const size_t bytes = frame_make_tso(frame, TSO_PAYLOAD, &header);

	memcpy(frame, (uint8_t[]){2, 0, 0, 0, 0, XDP_STATION}, 6);
	frame[11] = guest;
	assert_int_equal(
		net_send(f->guests[guest], 0, &header, frame, bytes, NULL), 0);
}

/* Until the frames of both guests are whole; the segments of each are in order. */
static void take_long(int wire)
{
	const size_t all = LONG_FRAMES * TSO_PAYLOAD;
	size_t at[2] = {0};

	while (at[0] < all || at[1] < all) {
		const int n = fixture_receive_wire(wire, got);
		const unsigned guest = got[11];

		assert_in_range(guest, 0, 1);
		frame_assert_tcp(got, n, at[guest] % TSO_PAYLOAD);
		at[guest] += n - FRAME_TCP_HEADERS;
		assert_true(at[guest] <= all);
	}
}

/* Each is at it for long enough to be there with the other. */
static void threads_send_by_one_queue(void **state)
{
	struct fixture *f = *state;
	int wire;

	xdp_lay_wire(1);
	xdp_start(f, "lcores: 2\nbalance: off", XDP_LINE(""), xdp_two);
	fixture_join_all(f, 2);
	wire = fixture_open_wire("rle1");
	xdp_make_room(wire);
	/* The station is known from here on. */
	xdp_wire_to_guest(f, wire, 100);
	for (unsigned i = 0; i < LONG_ROUNDS; i++) {
		for (unsigned n = 0; n < LONG_FRAMES; n++) {
			send_long(f, 0);
			send_long(f, 1);
		}
		take_long(wire);
	}
	fixture_end_wire(wire);
}

/* Frames that went by a queue of the interface's; of the page that was printed. */
static uint64_t sent_by(const struct fixture *f, unsigned pair)
{
	char name[128];
	const char *at;

	snprintf(name, sizeof(name),
		 "vswitch_queue_frames_total{port=\"w\",pair=\"%u\","
		 "direction=\"received\"} ",
		 pair);
	at = strstr(f->said, name);
	assert_non_null(at);
	return strtoull(at + strlen(name), NULL, 10);
}

static void flows_go_by_several_queues(void **state)
{
	struct fixture *f = *state;
	uint64_t sum = 0;

	send_flows(f);
	assert_int_equal(fixture_ctl(f, "metrics"), 0);
	for (unsigned pair = 0; pair < 3; pair++) {
		assert_true(sent_by(f, pair) >= ROUNDS);
		sum += sent_by(f, pair);
	}
	assert_int_equal(sum, 2 * FLOWS * ROUNDS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWITCH_TEST(frames_pass_in_copy_mode),
		SWITCH_TEST(frames_pass_in_native_mode),
		SWITCH_TEST(short_frames_are_filled_up),
		SWITCH_TEST(what_is_no_frame_of_the_network_is_counted),
		SWITCH_TEST(tags_are_put_in_and_taken_off),
		SWITCH_TEST(two_networks_are_joined),
		SWITCH_TEST(threads_send_by_one_queue),
		SWITCH_TEST(flows_go_by_several_queues),
	};

	namespace_enter_xdp();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
