/* SPDX-License-Identifier: Apache-2.0 */
/* Who gets a frame, and who does not. */
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/switch/fixture.h"

enum {
	FLOW_FRAMES = 4000,
	FLOW_BURST = 8,
	BYTES = 200,
};

static const char *const three[] = {"", "", "", NULL};
static uint8_t frame[FIXTURE_FRAME_BYTES], got[FIXTURE_FRAME_BYTES];
static uint32_t seed;

/* Sends a frame of its own. */
static void send_new(struct fixture *f, unsigned to, unsigned from)
{
	fixture_frame(frame, to, from, BYTES, ++seed);
	fixture_send(f, from, frame, BYTES);
}

static void frame_for_an_unknown_station_reaches_all_others(void **state)
{
	struct fixture *f = *state;

	fixture_start(f, "", three);
	fixture_join_all(f, 3);
	send_new(f, 2, 0);
	fixture_expect(f, 1, frame, BYTES);
	fixture_expect(f, 2, frame, BYTES);
	send_new(f, FIXTURE_BROADCAST, 1);
	fixture_expect(f, 0, frame, BYTES);
	fixture_expect(f, 2, frame, BYTES);
}

static void frame_for_a_known_station_reaches_it_alone(void **state)
{
	struct fixture *f = *state;

	fixture_start(f, "", three);
	fixture_join_all(f, 3);
	fixture_introduce(f, 3);
	for (unsigned i = 0; i < 3; i++) {
		send_new(f, (i + 1) % 3, i);
		fixture_expect(f, (i + 1) % 3, frame, BYTES);
		fixture_expect_nothing(f, (i + 2) % 3, i);
	}
}

static void station_that_moves_is_followed(void **state)
{
	struct fixture *f = *state;

	fixture_start(f, "", three);
	fixture_join_all(f, 3);
	fixture_introduce(f, 3);
	/* Guest 2 is heard where guest 1 is. */
	fixture_frame(frame, 0, 2, BYTES, ++seed);
	fixture_send(f, 1, frame, BYTES);
	fixture_expect(f, 0, frame, BYTES);
	send_new(f, 2, 0);
	fixture_expect(f, 1, frame, BYTES);
	/* And back. */
	send_new(f, 0, 2);
	fixture_expect(f, 0, frame, BYTES);
	send_new(f, 2, 0);
	fixture_expect(f, 2, frame, BYTES);
	fixture_expect_nothing(f, 1, 0);
}

static void station_that_is_not_heard_is_forgotten(void **state)
{
	struct fixture *f = *state;

	fixture_start(f, "fdb-age: 1", three);
	fixture_join_all(f, 3);
	fixture_introduce(f, 3);
	/* Until a frame for guest 2 is flooded. */
	for (;;) {
		int n;

		fixture_frame(frame, 2, 0, BYTES, ++seed);
		fixture_send(f, 0, frame, BYTES);
		fixture_expect(f, 2, frame, BYTES);
		f->guests[1]->timeout_ms = 100;
		n = net_receive(f->guests[1], 0, NULL, got, sizeof(got));
		f->guests[1]->timeout_ms = 10000;
		if (n > 0)
			break;
	}
}

static void ports_of_a_group_reach_all_but_each_other(void **state)
{
	static const char *const ports[] = {"group: a", "group: a", "group: b",
					    "", NULL};
	struct fixture *f = *state;

	fixture_start(f, "", ports);
	fixture_join_all(f, 4);
	send_new(f, FIXTURE_BROADCAST, 0);
	fixture_expect(f, 2, frame, BYTES);
	fixture_expect(f, 3, frame, BYTES);
	send_new(f, 0, 1);
	send_new(f, FIXTURE_BROADCAST, 2);
	fixture_expect(f, 0, frame, BYTES);
	fixture_expect(f, 1, frame, BYTES);
	/* Known, but not to be reached. */
	send_new(f, 0, 1);
	fixture_expect_nothing(f, 0, 2);
	assert_true(fixture_counted(f, "p1: not forwarded: isolated ") >= 1);
}

static void what_bridges_keep_and_what_is_no_source_goes_nowhere(void **state)
{
	struct fixture *f = *state;

	fixture_start(f, "", three);
	fixture_join_all(f, 3);
	fixture_introduce(f, 3);
	fixture_frame(frame, 1, 0, BYTES, ++seed);
	memcpy(frame, (uint8_t[]){1, 0x80, 0xc2, 0, 0, 0xe}, 6);
	fixture_send(f, 0, frame, BYTES);
	fixture_frame(frame, 1, 0, BYTES, ++seed);
	frame[6] |= 1;
	fixture_send(f, 0, frame, BYTES);
	/* To itself. */
	send_new(f, 0, 0);
	fixture_expect_nothing(f, 1, 0);
	fixture_expect_nothing(f, 2, 0);
	fixture_expect_nothing(f, 0, 1);
	assert_int_equal(fixture_counted(f, "p0: not forwarded: reserved "), 1);
	assert_int_equal(fixture_counted(f, "p0: not forwarded: source "), 1);
	assert_int_equal(fixture_counted(f, "p0: not forwarded: same-port "),
			 1);
}

static void locked_port_sends_as_its_stations_alone(void **state)
{
	static const char *const ports[] = {
		"locked: true, stations: [\"02:00:00:00:00:00\"]", "", "",
		NULL};
	struct fixture *f = *state;

	fixture_start(f, "", ports);
	fixture_join_all(f, 3);
	/* Known before it sends. */
	send_new(f, 0, 1);
	fixture_expect(f, 0, frame, BYTES);
	/* As somebody else, from either side. */
	fixture_frame(frame, 1, 2, BYTES, ++seed);
	fixture_send(f, 0, frame, BYTES);
	fixture_frame(frame, 2, 0, BYTES, ++seed);
	fixture_send(f, 1, frame, BYTES);
	fixture_expect_nothing(f, 1, 0);
	fixture_expect_nothing(f, 2, 0);
	assert_int_equal(fixture_counted(f, "p0: not forwarded: spoofed "), 1);
	assert_int_equal(fixture_counted(f, "p1: not forwarded: spoofed "), 1);
}

/* It fills its own share, and its neighbours are known all the same. */
static void guest_of_many_addresses_takes_no_others_place(void **state)
{
	static const char *const ports[] = {"max-stations: 20", "", "", NULL};
	struct fixture *f = *state;

	fixture_start(f, "fdb-capacity: 64", ports);
	fixture_join_all(f, 3);
	for (unsigned i = 0; i < 200; i++) {
		fixture_frame(frame, FIXTURE_BROADCAST, 0, BYTES, ++seed);
		frame[9] = i;
		fixture_send(f, 0, frame, BYTES);
		fixture_expect(f, 1, frame, BYTES);
		fixture_expect(f, 2, frame, BYTES);
	}
	send_new(f, FIXTURE_BROADCAST, 1);
	fixture_expect(f, 0, frame, BYTES);
	fixture_expect(f, 2, frame, BYTES);
	/* Nobody else sees what is for guest 1. */
	send_new(f, 1, 0);
	fixture_expect(f, 1, frame, BYTES);
	fixture_expect_nothing(f, 2, 1);
}

/* One flow, bursts that B has room for. */
static void try_flow(struct fixture *f, unsigned from, unsigned to)
{
	for (unsigned i = 0; i < FLOW_FRAMES; i += FLOW_BURST) {
		uint32_t first = seed + 1;

		for (unsigned j = 0; j < FLOW_BURST; j++) {
			fixture_frame(frame, to, from, 64 + (i + j) % 1400,
				      ++seed);
			assert_int_equal(net_send(f->guests[from], 0, NULL,
						  frame, 64 + (i + j) % 1400,
						  NULL),
					 0);
		}
		for (unsigned j = 0; j < FLOW_BURST; j++) {
			size_t bytes = 64 + (i + j) % 1400;

			fixture_frame(frame, to, from, bytes, first + j);
			fixture_expect(f, to, frame, bytes);
		}
	}
	assert_int_equal(net_send_wait(f->guests[from], 0), 0);
}

static void flow_arrives_whole_in_order_and_once(void **state)
{
	static const char *const heads[] = {"lcores: 1", "lcores: 3"};

	for (unsigned i = 0; i < ARRAY_SIZE(heads); i++) {
		struct fixture *f;

		fixture_setup(state);
		f = *state;
		fixture_start(f, heads[i], three);
		fixture_join_all(f, 3);
		fixture_introduce(f, 3);
		try_flow(f, 0, 1);
		try_flow(f, 2, 1);
		assert_int_equal(fixture_teardown(state), 0);
	}
}

static void every_front_end_is_switched(void **state)
{
	struct fixture *f = *state;

	fixture_start(f, "", three);
	fixture_join(f, 0, NULL);
	for (const struct frontend_profile *const *p = frontend_profiles; *p;
	     p++) {
		const struct net_options o = {.profile = *p};

		fixture_join(f, 1, &o);
		send_new(f, FIXTURE_BROADCAST, 1);
		fixture_expect(f, 0, frame, BYTES);
		send_new(f, 1, 0);
		fixture_expect(f, 1, frame, BYTES);
		fixture_leave(f, 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWITCH_TEST(frame_for_an_unknown_station_reaches_all_others),
		SWITCH_TEST(frame_for_a_known_station_reaches_it_alone),
		SWITCH_TEST(station_that_moves_is_followed),
		SWITCH_TEST(station_that_is_not_heard_is_forgotten),
		SWITCH_TEST(ports_of_a_group_reach_all_but_each_other),
		SWITCH_TEST(
			what_bridges_keep_and_what_is_no_source_goes_nowhere),
		SWITCH_TEST(locked_port_sends_as_its_stations_alone),
		SWITCH_TEST(guest_of_many_addresses_takes_no_others_place),
		cmocka_unit_test(flow_arrives_whole_in_order_and_once),
		SWITCH_TEST(every_front_end_is_switched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
