/* SPDX-License-Identifier: Apache-2.0 */
/* Guests that say that they are somebody else: what a real switch lets out. */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/switch/fixture.h"

enum {
	BYTES = 60,
	ARP = 0x0806,
	IPV4 = 0x0800,
};

static const char *const ports[] = {
	"guard: {mac: \"02:00:00:00:00:00\", addresses: [10.0.0.1]}", "",
	"guard: {}", NULL};
static uint8_t frame[FIXTURE_FRAME_BYTES];
static uint32_t seed;

static void make_arp(unsigned from, unsigned claims, uint8_t address)
{
	fixture_frame(frame, FIXTURE_BROADCAST, from, BYTES, ++seed);
	put_be16(frame + 12, ARP);
	memcpy(frame + 14, (uint8_t[]){0, 1, 8, 0, 6, 4, 0, 2}, 8);
	memcpy(frame + 22, (uint8_t[]){2, 0, 0, 0, 0, claims}, 6);
	memcpy(frame + 28, (uint8_t[]){10, 0, 0, address}, 4);
}

static void make_ipv4(unsigned from, uint8_t address)
{
	fixture_frame(frame, FIXTURE_BROADCAST, from, BYTES, ++seed);
	put_be16(frame + 12, IPV4);
	frame[14] = 0x45;
	frame[23] = 17;
	memcpy(frame + 26, (uint8_t[]){10, 0, 0, address}, 4);
}

static void passes(struct fixture *f, unsigned from)
{
	fixture_send(f, from, frame, BYTES);
	fixture_expect(f, 1, frame, BYTES);
}

/* If it did, it would be in the way of the next that passes. */
static void does_not_pass(struct fixture *f, unsigned from, const char *reason)
{
	fixture_send_dropped(f, from, frame, BYTES, reason);
}

static void guest_is_only_who_it_may_be(void **state)
{
	struct fixture *f = *state;

	fixture_start(f, "", ports);
	fixture_join_all(f, 2);
	make_ipv4(0, 1);
	passes(f, 0);
	make_ipv4(0, 2);
	does_not_pass(f, 0, "guard-ip");
	make_ipv4(7, 1);
	does_not_pass(f, 0, "guard-mac");
	make_arp(0, 0, 1);
	passes(f, 0);
	make_arp(0, 1, 1);
	does_not_pass(f, 0, "guard-arp");
	make_arp(0, 0, 2);
	does_not_pass(f, 0, "guard-arp");
	fixture_frame(frame, FIXTURE_BROADCAST, 0, BYTES, ++seed);
	does_not_pass(f, 0, "guard-type");
	make_arp(0, 0, 1);
	passes(f, 0);
}

/* A stranger's address is not learned either: its frames would be stolen. */
static void stations_are_not_taken_over(void **state)
{
	struct fixture *f = *state;

	fixture_start(f, "", ports);
	fixture_join_all(f, 3);
	fixture_frame(frame, 2, 1, BYTES, ++seed);
	fixture_send(f, 1, frame, BYTES);
	fixture_expect(f, 0, frame, BYTES);
	fixture_expect(f, 2, frame, BYTES);
	make_ipv4(1, 1);
	does_not_pass(f, 0, "guard-mac");
	fixture_frame(frame, 1, 2, BYTES, ++seed);
	fixture_send(f, 2, frame, BYTES);
	fixture_expect(f, 1, frame, BYTES);
	/* Who was guest 2 first remains it. */
	fixture_frame(frame, 1, 3, BYTES, ++seed);
	does_not_pass(f, 2, "guard-mac");
	fixture_frame(frame, 1, 2, BYTES, ++seed);
	passes(f, 2);
}

static void guards_are_shown_and_changed_while_frames_pass(void **state)
{
	struct fixture *f = *state;

	fixture_start_controlled(f, "", ports);
	fixture_join_all(f, 2);
	assert_int_equal(fixture_ctl(f, "guard show"), 0);
	assert_non_null(
		strstr(f->said, "p0    02:00:00:00:00:00  10.0.0.1   no"));
	assert_non_null(strstr(f->said, "p2    first"));
	make_ipv4(0, 2);
	does_not_pass(f, 0, "guard-ip");
	assert_int_equal(fixture_ctl(f, "guard set p0 'addresses=[\"10.0.0.0/"
					"30\", \"fe80::/10\"]'"),
			 0);
	make_ipv4(0, 2);
	passes(f, 0);
	make_ipv4(0, 4);
	does_not_pass(f, 0, "guard-ip");
	/* What is wrong is said, and changes nothing. */
	assert_int_equal(fixture_ctl(f, "guard set p0 'addresses=[\"10\"]'"),
			 1);
	assert_non_null(strstr(f->said, "addresses: 10: give an IP address"));
	assert_int_equal(fixture_ctl(f, "guard set p9"), 1);
	assert_non_null(strstr(f->said, "p9: no port has this name"));
	make_ipv4(0, 4);
	does_not_pass(f, 0, "guard-ip");
	assert_int_equal(fixture_ctl(f, "guard del p0"), 0);
	make_ipv4(7, 4);
	passes(f, 0);
	assert_int_equal(fixture_ctl(f, "guard del p0"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWITCH_TEST(guest_is_only_who_it_may_be),
		SWITCH_TEST(stations_are_not_taken_over),
		SWITCH_TEST(guards_are_shown_and_changed_while_frames_pass),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
