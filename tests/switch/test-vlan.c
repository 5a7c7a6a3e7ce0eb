/* SPDX-License-Identifier: Apache-2.0 */
/* Who hears whom in which VLAN, and with which tag. */
#include "base/bytes.h"
#include "tests/switch/fixture.h"

enum {
	BYTES = 200,
	TAG_BYTES = 4,
	CUSTOMER = 0x8100,
	SERVICE = 0x88a8,
};

static uint8_t frame[FIXTURE_FRAME_BYTES], want[FIXTURE_FRAME_BYTES];
static uint32_t seed;

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWITCH_TEST(vlans_are_kept_apart_and_tags_put_and_taken),
		SWITCH_TEST(vlans_have_stations_of_their_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
