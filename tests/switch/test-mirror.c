/* SPDX-License-Identifier: Apache-2.0 */
/* Ports that listen to others: what they hear, once, and that they are not
 * heard themselves. */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/switch/fixture.h"

enum {
	BYTES = 200,
	TAG_BYTES = 4,
	CUSTOMER = 0x8100,
	LISTENER = 3,
};

static uint8_t frame[FIXTURE_FRAME_BYTES], tagged[FIXTURE_FRAME_BYTES];
static uint32_t seed;

static void send_frame(struct fixture *f, unsigned to, unsigned from)
{
	fixture_frame(frame, to, from, BYTES, ++seed);
	fixture_send(f, from, frame, BYTES);
}

/* It reaches its station, and the listener or not. */
static void pass(struct fixture *f, unsigned to, unsigned from, bool is_heard)
{
	send_frame(f, to, from);
	fixture_expect(f, to, frame, BYTES);
	if (is_heard)
		fixture_expect(f, LISTENER, frame, BYTES);
}

/* Everybody is known to the switch; what is heard of it is. */
static void introduce(struct fixture *f, const bool *is_heard)
{
	for (unsigned from = 0; from < LISTENER; from++) {
		send_frame(f, FIXTURE_BROADCAST, from);
		for (unsigned i = 0; i < LISTENER; i++)
			if (i != from)
				fixture_expect(f, i, frame, BYTES);
		if (is_heard[from])
			fixture_expect(f, LISTENER, frame, BYTES);
	}
}

static void port_is_heard_in_the_directions_asked_for(void **state)
{
	static const struct {
		const char *listens;
		bool broadcasts[3]; /* of each, heard */
		bool from, to;	    /* what port 0 sends, and what it is sent */
	} cases[] = {
		{"mirror: {ports: [p0]}", {true, true, true}, true, true},
		{"mirror: {ports: [p0], direction: in}",
		 {true, false, false},
		 true,
		 false},
		{"mirror: {ports: [p0], direction: out}",
		 {false, true, true},
		 false,
		 true},
	};
	struct fixture *f = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *const ports[] = {"", "", "", cases[i].listens,
					     NULL};

		fixture_start(f, "", ports);
		fixture_join_all(f, 4);
		introduce(f, cases[i].broadcasts);
		pass(f, 1, 0, cases[i].from);
		pass(f, 0, 1, cases[i].to);
		pass(f, 2, 1, false);
		pass(f, 1, 0, cases[i].from);
		for (unsigned n = 0; n < 4; n++)
			fixture_leave(f, n);
		process_stop(&f->process, 15);
	}
}

/* Sent by one that is heard to one that is: once. */
static void frame_is_heard_once(void **state)
{
	static const char *const ports[] = {
		"", "", "", "mirror: {ports: [p0, p1], vlans: [\"1\"]}", NULL};
	static const bool all[] = {true, true, true};
	struct fixture *f = *state;

	fixture_start(f, "", ports);
	fixture_join_all(f, 4);
	introduce(f, all);
	for (unsigned i = 0; i < 3; i++) {
		pass(f, 1, 0, true);
		pass(f, 2, 0, true);
		pass(f, 0, 2, true);
	}
}

/* The next frame of each is always its own. */
static void two_listeners_hear_what_each_asked_for(void **state)
{
	static const char *const ports[] = {
		"", "", "mirror: {ports: [p0], direction: in}",
		"mirror: {ports: [p1], direction: in}", NULL};
	struct fixture *f = *state;

	fixture_start(f, "", ports);
	fixture_join_all(f, 4);
	for (unsigned i = 0; i < 6; i++) {
		const unsigned from = i % 3 > 0, to = 1 - from;

		send_frame(f, to, from);
		fixture_expect(f, to, frame, BYTES);
		fixture_expect(f, 2 + from, frame, BYTES);
	}
}

/* The tag is the one at that place; other VLANs are not heard. */
static void vlan_is_heard_as_it_comes_in(void **state)
{
	static const char *const ports[] = {
		"vlan: 10", "vlan-mode: trunk, vlans: [\"10\", \"20\"]",
		"vlan: 20", "mirror: {vlans: [\"10\"]}", NULL};
	struct fixture *f = *state;

	fixture_start(f, "", ports);
	fixture_join_all(f, 4);
	send_frame(f, FIXTURE_BROADCAST, 0);
	fixture_expect(f, LISTENER, frame, BYTES);
	memcpy(tagged, frame, BYTES);
	fixture_tag(tagged, BYTES, CUSTOMER, 10);
	fixture_expect(f, 1, tagged, BYTES + TAG_BYTES);
	send_frame(f, FIXTURE_BROADCAST, 2);
	memcpy(tagged, frame, BYTES);
	fixture_tag(tagged, BYTES, CUSTOMER, 20);
	fixture_expect(f, 1, tagged, BYTES + TAG_BYTES);
	fixture_frame(frame, 0, 1, BYTES, ++seed);
	memcpy(tagged, frame, BYTES);
	fixture_tag(tagged, BYTES, CUSTOMER, 10);
	fixture_send(f, 1, tagged, BYTES + TAG_BYTES);
	fixture_expect(f, 0, frame, BYTES);
	fixture_expect(f, LISTENER, tagged, BYTES + TAG_BYTES);
}

static void who_listens_is_not_heard(void **state)
{
	static const char *const ports[] = {"", "", "", "mirror: {ports: [p0]}",
					    NULL};
	static const bool all[] = {true, true, true};
	struct fixture *f = *state;

	fixture_start(f, "", ports);
	fixture_join_all(f, 4);
	introduce(f, all);
	send_frame(f, 0, LISTENER);
	send_frame(f, FIXTURE_BROADCAST, LISTENER);
	assert_int_equal(fixture_counted(f, "p3: not forwarded: mirror "), 2);
	/* Nor reached, though its address is known to all. */
	send_frame(f, LISTENER, 1);
	fixture_expect(f, 0, frame, BYTES);
	fixture_expect(f, 2, frame, BYTES);
	fixture_expect(f, LISTENER, frame, BYTES); /* as what port 0 is sent */
	pass(f, 2, 1, false);
	pass(f, 1, 0, true);
}

static void mirrors_come_and_go_while_frames_pass(void **state)
{
	static const char *const ports[] = {"", "", "", "", NULL};
	static const bool all[] = {true, true, true};
	struct fixture *f = *state;

	fixture_start_controlled(f, "lcores: 2", ports);
	fixture_join_all(f, 4);
	introduce(f, all);
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(fixture_ctl(f,
					     "port set p3 mirror='{\"ports\":"
					     "[\"p0\"],\"direction\":\"in\"}'"),
				 0);
		pass(f, 1, 0, true);
		pass(f, 0, 1, false);
		assert_int_equal(fixture_ctl(f, "mirror show"), 0);
		assert_non_null(strstr(f->said, "p3    p0     in"));
		assert_int_equal(fixture_ctl(f, "port set p3 mirror=null"), 0);
		pass(f, 1, 0, false);
		assert_int_equal(fixture_ctl(f, "--json mirror show"), 0);
		assert_string_equal(f->said, "[]\n");
	}
	/* Who was heard goes, and its number is another's. */
	assert_int_equal(fixture_ctl(f, "port set p3 mirror='{\"ports\":"
					"[\"p0\"]}'"),
			 0);
	fixture_leave(f, 0);
	assert_int_equal(fixture_ctl(f, "port del p0"), 0);
	pass(f, 2, 1, false);
	pass(f, 1, 2, false);
}

static void what_cannot_be_heard_is_named(void **state)
{
	static const struct {
		const char *keys, *words;
	} cases[] = {
		{"mirror='{\"ports\":[\"p9\"]}'",
		 "ports: p9: no port has this name"},
		{"mirror='{\"ports\":[\"p3\"]}'",
		 "ports: p3: it cannot listen to itself"},
		{"mirror='{}'", "ports: a mirror needs ports or vlans"},
		{"mirror='{\"vlans\":[\"0\"]}'", "vlans: 0: give a VLAN"},
		{"mirror='{\"vlan\":[\"1\"]}'", "vlan: there is no such key"},
		{"kind=tap", "only vhost-user ports have a socket"},
		{"queues=2", "device of a port cannot change"},
		{"name=x", "device of a port cannot change"},
		{"vlan=4095", "vlan: VLANs are 1 to 4094"},
	};
	static const char *const ports[] = {"", "", "", "", NULL};
	struct fixture *f = *state;
	char command[256];

	fixture_start_controlled(f, "", ports);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		print_message("# %s\n", cases[i].words);
		snprintf(command, sizeof(command), "port set p3 %s",
			 cases[i].keys);
		assert_int_equal(fixture_ctl(f, command), 1);
		assert_non_null(strstr(f->said, cases[i].words));
	}
	/* All of it is still as it was. */
	assert_int_equal(fixture_ctl(f, "port set p3 'frames={\"rate\":9}'"),
			 0);
	assert_int_equal(fixture_ctl(f, "config show"), 0);
	assert_non_null(strstr(f->said, "rate: 9"));
	assert_null(strstr(f->said, "mirror"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWITCH_TEST(port_is_heard_in_the_directions_asked_for),
		SWITCH_TEST(frame_is_heard_once),
		SWITCH_TEST(two_listeners_hear_what_each_asked_for),
		SWITCH_TEST(vlan_is_heard_as_it_comes_in),
		SWITCH_TEST(who_listens_is_not_heard),
		SWITCH_TEST(mirrors_come_and_go_while_frames_pass),
		SWITCH_TEST(what_cannot_be_heard_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
