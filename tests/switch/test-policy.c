/* SPDX-License-Identifier: Apache-2.0 */
/* VLANs and limits. */
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "tests/switch/fixture.h"

enum {
	BYTES = 200,
	TAG_BYTES = 4,
	CUSTOMER = 0x8100,
	SERVICE = 0x88a8,
	SHAPED_AHEAD = 200, /* fewer than a ring's buffers */
	STORM_FRAMES = 200 * 16,
};

static uint8_t frame[FIXTURE_FRAME_BYTES], want[FIXTURE_FRAME_BYTES];
static uint32_t seed;

/* --- VLANs -------------------------------------------------------------------- */

/* What guest @port gets of a broadcast, if anything. */
struct view {
	bool gets;
	uint16_t tpid; /* 0: untagged */
	uint16_t tci;
};

/* @from sends one with @tpid (0: without a tag) and @tci; @inner: a tag of type
 * 0x8100 behind it. */
struct vlan_case {
	unsigned from;
	uint16_t tpid, tci, inner;
	struct view views[6];
};

static size_t make_broadcast(uint8_t *to, unsigned from, uint16_t tpid,
			     uint16_t tci, uint16_t inner)
{
	size_t bytes = BYTES;

	fixture_frame(to, FIXTURE_BROADCAST, from, bytes, seed);
	if (inner) {
		fixture_tag(to, bytes, CUSTOMER, inner);
		bytes += TAG_BYTES;
	}
	if (tpid) {
		fixture_tag(to, bytes, tpid, tci);
		bytes += TAG_BYTES;
	}
	return bytes;
}

static void try_vlan(struct fixture *f, const struct vlan_case *c)
{
	size_t bytes;

	seed++;
	bytes = make_broadcast(frame, c->from, c->tpid, c->tci, c->inner);
	fixture_send(f, c->from, frame, bytes);
	for (unsigned i = 0; i < ARRAY_SIZE(c->views); i++) {
		const struct view *v = &c->views[i];

		if (!v->gets)
			continue;
		bytes = make_broadcast(want, c->from, v->tpid, v->tci,
				       c->inner);
		fixture_expect(f, i, want, bytes);
	}
}

/*
 * Access 10, 10, 20; a trunk of 10 and 20; a trunk of 20 with native 10; a
 * trunk of service tags with 10. Who gets too much fails at the next frame.
 */
static void vlans_are_kept_apart_and_tags_put_and_taken(void **state)
{
	static const char *const ports[] = {
		"vlan: 10",
		"vlan: 10",
		"vlan: 20",
		"vlan-mode: trunk, vlans: [\"10\", \"20\"]",
		"vlan-mode: trunk, vlans: [\"20\"], vlan: 10",
		"vlan-mode: trunk, vlans: [\"10\"], service-tags: true",
		NULL,
	};
	static const struct vlan_case cases[] = {
		{0,
		 0,
		 0,
		 0,
		 {{0},
		  {1, 0, 0},
		  {0},
		  {1, CUSTOMER, 10},
		  {1, 0, 0},
		  {1, SERVICE, 10}}},
		{2,
		 0,
		 0,
		 0,
		 {{0}, {0}, {0}, {1, CUSTOMER, 20}, {1, CUSTOMER, 20}, {0}}},
		/* An access port takes no tag, but for a priority. */
		{0, CUSTOMER, 10, 0, {{0}}},
		{0, CUSTOMER, 20, 0, {{0}}},
		{1,
		 CUSTOMER,
		 0x6000,
		 0,
		 {{1, 0, 0},
		  {0},
		  {0},
		  {1, CUSTOMER, 0x600a},
		  {1, 0, 0},
		  {1, SERVICE, 0x600a}}},
		{3,
		 CUSTOMER,
		 20,
		 0,
		 {{0}, {0}, {1, 0, 0}, {0}, {1, CUSTOMER, 20}, {0}}},
		{3,
		 CUSTOMER,
		 10,
		 0,
		 {{1, 0, 0}, {1, 0, 0}, {0}, {0}, {1, 0, 0}, {1, SERVICE, 10}}},
		{3, CUSTOMER, 30, 0, {{0}}},
		{3, 0, 0, 0, {{0}}},
		{4,
		 0,
		 0,
		 0,
		 {{1, 0, 0},
		  {1, 0, 0},
		  {0},
		  {1, CUSTOMER, 10},
		  {0},
		  {1, SERVICE, 10}}},
		/* Of another type: content. */
		{5,
		 SERVICE,
		 10,
		 77,
		 {{1, 0, 0},
		  {1, 0, 0},
		  {0},
		  {1, CUSTOMER, 10},
		  {1, CUSTOMER, 10},
		  {0}}},
	};
	struct fixture *f = *state;

	fixture_start(f, "", ports);
	fixture_join_all(f, 6);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
		try_vlan(f, &cases[i]);
	/* Nobody has got more than that. */
	fixture_expect_nothing(f, 1, 0);
	fixture_expect_nothing(f, 0, 1);
}

/* Same address, two VLANs: two stations. */
static void vlans_have_stations_of_their_own(void **state)
{
	static const char *const ports[] = {"vlan: 10", "vlan: 10", "vlan: 20",
					    "vlan: 20", NULL};
	struct fixture *f = *state;

	fixture_start(f, "", ports);
	fixture_join_all(f, 4);
	for (unsigned i = 0; i < 3; i++) {
		/* Guest 9 is behind port 0 and behind port 2. */
		fixture_frame(frame, FIXTURE_BROADCAST, 9, BYTES, ++seed);
		fixture_send(f, 0, frame, BYTES);
		fixture_expect(f, 1, frame, BYTES);
		fixture_frame(frame, FIXTURE_BROADCAST, 9, BYTES, ++seed);
		fixture_send(f, 2, frame, BYTES);
		fixture_expect(f, 3, frame, BYTES);
		fixture_frame(frame, 9, 1, BYTES, ++seed);
		fixture_send(f, 1, frame, BYTES);
		fixture_expect(f, 0, frame, BYTES);
		fixture_frame(frame, 9, 3, BYTES, ++seed);
		fixture_send(f, 3, frame, BYTES);
		fixture_expect(f, 2, frame, BYTES);
	}
}

/* --- limits ------------------------------------------------------------------- */

static const char *const limited_ports[] = {
	"broadcast: {rate: 1000, burst: 50}",
	"frames: {rate: 2000, burst: 20}",
	"bytes: {rate: 400000, burst: 2000}",
	"",
	NULL,
};

/* @from sends as fast as it can; how many come to @to, and how long it took. */
static unsigned flood(struct fixture *f, unsigned from, unsigned to,
		      unsigned address, uint64_t *ret_ns)
{
	const uint64_t began = clock_ns();
	unsigned arrived = 0;
	uint8_t fence[FIXTURE_HEAD_BYTES + 50];

	for (unsigned i = 0; i < STORM_FRAMES; i++) {
		fixture_frame(frame, address, from, BYTES, ++seed);
		fixture_send(f, from, frame, BYTES);
		if (i % 16 != 15)
			continue;
		/* What came so far is followed by this. */
		fixture_frame(fence, to, 3 - (to == 3), sizeof(fence), ++seed);
		fixture_send(f, 3 - (to == 3), fence, sizeof(fence));
		for (;;) {
			int n = net_receive(f->guests[to], 0, NULL, want,
					    sizeof(want));

			assert_true(n > 0);
			if (n == (int)sizeof(fence))
				break;
			arrived++;
		}
	}
	*ret_ns = clock_ns() - began;
	return arrived;
}

/* What a rate and a burst let through, to 2 per cent and the unit's own. */
static void assert_rate(unsigned arrived, uint64_t ns, double rate,
			double burst)
{
	double most = burst + rate * ns / 1e9;

	assert_true(arrived <= most * 1.02 + 1);
}

static void introduce(struct fixture *f)
{
	for (unsigned from = 0; from < 4; from++) {
		fixture_frame(frame, FIXTURE_BROADCAST, from, BYTES, ++seed);
		fixture_send(f, from, frame, BYTES);
		for (unsigned i = 0; i < 4; i++)
			if (i != from)
				fixture_expect(f, i, frame, BYTES);
	}
}

static void storm_is_held_back_and_nothing_else(void **state)
{
	struct fixture *f = *state;
	unsigned arrived;
	uint64_t ns;

	fixture_start(f, "", limited_ports);
	fixture_join_all(f, 4);
	introduce(f);
	/* Not a guest that has no room for them, which is guest 3. */
	fixture_leave(f, 1);
	arrived = flood(f, 0, 2, FIXTURE_BROADCAST, &ns);
	assert_rate(arrived, ns, 1000, 50);
	assert_true(arrived >= 50);
	assert_true(arrived + fixture_counted(f, "p0: not forwarded: storm ") ==
		    STORM_FRAMES);
}

static void storm_limit_leaves_other_frames_alone(void **state)
{
	struct fixture *f = *state;
	uint64_t ns;

	fixture_start(f, "", limited_ports);
	fixture_join_all(f, 4);
	introduce(f);
	assert_int_equal(flood(f, 0, 2, 2, &ns), STORM_FRAMES);
}

static void port_sends_no_more_frames_or_bytes_than_it_may(void **state)
{
	struct fixture *f = *state;
	unsigned arrived;
	uint64_t ns;

	fixture_start(f, "", limited_ports);
	fixture_join_all(f, 4);
	introduce(f);
	arrived = flood(f, 1, 0, 0, &ns);
	assert_rate(arrived, ns, 2000, 20);
	assert_true(arrived >= 19);
	arrived = flood(f, 2, 0, 0, &ns);
	assert_rate(arrived, ns, 400000 / BYTES, 2000 / BYTES);
	assert_true(arrived >= 9);
}

static void expect_shaped(struct fixture *f, unsigned i)
{
	fixture_frame(frame, FIXTURE_BROADCAST, 0, BYTES, i);
	fixture_expect(f, 1, frame, BYTES);
}

/* A guest's frames, some two seconds of its rate, in order and whole, and no
 * faster: all of them, since the queue has room, and the guest's ring, too,
 * however long it takes to send them. */
static void guest_gets_frames_no_faster_than_shaped(void **state)
{
	static const char *const ports[] = {
		"", "shape: {rate: 200000, burst: 20000, queue: 1000000}",
		NULL};
	struct fixture *f = *state;
	const unsigned count = 2100;
	uint64_t began, ns;

	fixture_start(f, "", ports);
	fixture_join_all(f, 2);
	began = clock_ns();
	for (unsigned i = 0; i < count; i++) {
		fixture_frame(frame, FIXTURE_BROADCAST, 0, BYTES, i);
		fixture_send(f, 0, frame, BYTES);
		if (i >= SHAPED_AHEAD)
			expect_shaped(f, i - SHAPED_AHEAD);
	}
	for (unsigned i = count - SHAPED_AHEAD; i < count; i++)
		expect_shaped(f, i);
	ns = clock_ns() - began;
	/* What goes beyond the burst is paid for. */
	assert_true(ns >=
		    (count * BYTES - 20000.0 - BYTES) / 200000 * 1e9 * 0.98);
	assert_true(fixture_counted(f, "p1: shaped delayed ") > 1000);
}

static void what_a_full_queue_drops_is_counted(void **state)
{
	static const char *const ports[] = {
		"", "shape: {rate: 1000, burst: 1000, queue: 20000}", NULL};
	struct fixture *f = *state;
	uint64_t delayed;

	fixture_start(f, "", ports);
	fixture_join_all(f, 2);
	for (unsigned i = 0; i < 500; i++) {
		fixture_frame(frame, FIXTURE_BROADCAST, 0, BYTES, i);
		fixture_send(f, 0, frame, BYTES);
	}
	fixture_count(f);
	delayed = process_log_number(&f->process, "p1: shaped delayed ");
	assert_true(delayed >= 40 && delayed < 100);
	process_wait_log(&f->process, "p1: shaped delayed");
	assert_true(fixture_counted(f, " dropped ") > 390);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWITCH_TEST(vlans_are_kept_apart_and_tags_put_and_taken),
		SWITCH_TEST(vlans_have_stations_of_their_own),
		SWITCH_TEST(storm_is_held_back_and_nothing_else),
		SWITCH_TEST(storm_limit_leaves_other_frames_alone),
		SWITCH_TEST(port_sends_no_more_frames_or_bytes_than_it_may),
		SWITCH_TEST(guest_gets_frames_no_faster_than_shaped),
		SWITCH_TEST(what_a_full_queue_drops_is_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
