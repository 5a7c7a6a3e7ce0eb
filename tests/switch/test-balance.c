/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The balance of queues over threads, by real load: what moves does so with frames
 * under way, each of which arrives once and in its place.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "tests/switch/fixture.h"

enum {
	/* To be copied by the switch takes longer than to be sent and received
	 * takes us: each frame has its sequence number in its head, and no more
	 * of it is made or looked at. */
	BYTES = 60000,
	LOOK_BYTES = 2036, /* of a frame: a buffer without the header */
	FLIGHT = 6,	   /* frames that fit into what a guest offers */
	FLOWS = 2,
	LAST_FRAMES = 200, /* of each flow, after a move */
};

/* By the clock of the balance, which has a second. */
#define ROUND_NS    (2 * NS_PER_SECOND + NS_PER_SECOND / 2)
#define PATIENCE_NS (60 * NS_PER_SECOND)

static const char *const four[] = {"", "", "", "", NULL};

/* From guest 2n to guest 2n + 1. */
struct flow {
	uint8_t frame[FIXTURE_FRAME_BYTES];
	uint32_t sent, taken;
};

static struct flow flows[FLOWS];

static void send_flight(struct fixture *f, unsigned flow)
{
	for (unsigned i = 0; i < FLIGHT; i++) {
		put_be32(flows[flow].frame + FIXTURE_HEAD_BYTES,
			 flows[flow].sent++);
		assert_int_equal(net_send(f->guests[2 * flow], 0, NULL,
					  flows[flow].frame, BYTES, NULL),
				 0);
	}
}

static void take_flight(struct fixture *f, unsigned flow)
{
	static uint8_t got[LOOK_BYTES];

	for (unsigned i = 0; i < FLIGHT; i++) {
		assert_int_equal(net_receive(f->guests[2 * flow + 1], 0, NULL,
					     got, sizeof(got)),
				 -EMSGSIZE);
		assert_memory_equal(got, flows[flow].frame, FIXTURE_HEAD_BYTES);
		assert_int_equal(get_be32(got + FIXTURE_HEAD_BYTES),
				 flows[flow].taken++);
	}
}

/* Both flows have frames under way all the time. */
static void run_for(struct fixture *f, uint64_t ns)
{
	const uint64_t until = clock_ns() + ns;

	for (unsigned i = 0; i < FLOWS; i++)
		send_flight(f, i);
	while (clock_ns() < until) {
		for (unsigned i = 0; i < FLOWS; i++) {
			take_flight(f, i);
			send_flight(f, i);
		}
	}
	for (unsigned i = 0; i < FLOWS; i++)
		take_flight(f, i);
}

static void run_last(struct fixture *f)
{
	const uint32_t end = flows[0].sent + LAST_FRAMES;

	while (flows[0].sent < end)
		run_for(f, 0);
}

/* Which thread serves pair 0 of @port, and how long it did in the last second, in
 * per cent. */
static unsigned lcore_and_load_of(struct fixture *f, unsigned port,
				  double *ret_load)
{
	char name[8];
	const char *line;
	unsigned pair, lcore;

	assert_int_equal(fixture_ctl(f, "lcore queues"), 0);
	snprintf(name, sizeof(name), "p%u ", port);
	line = strstr(f->said, name);
	assert_non_null(line);
	assert_int_equal(sscanf(line + strlen(name), "%u %u %lf%%", &pair,
				&lcore, ret_load),
			 3);
	assert_int_equal(pair, 0);
	return lcore;
}

static unsigned lcore_of(struct fixture *f, unsigned port)
{
	double load;

	return lcore_and_load_of(f, port, &load);
}

/* That it was busy is of no account any more. */
static void wait_until_idle(struct fixture *f, unsigned port)
{
	const uint64_t until = clock_ns() + PATIENCE_NS;
	double load = 100;

	while (load >= 1) {
		assert_true(clock_ns() < until);
		lcore_and_load_of(f, port, &load);
		usleep(100 * 1000);
	}
}

static void busy_queues_part_with_their_frames(void **state)
{
	const uint64_t until = clock_ns() + PATIENCE_NS;
	struct fixture *f = *state;

	fixture_start_controlled(f, "lcores: 2", four);
	fixture_join_all(f, 4);
	fixture_introduce(f, 4);
	for (unsigned i = 0; i < FLOWS; i++)
		fixture_frame(flows[i].frame, 2 * i + 1, 2 * i, BYTES, 0);
	/* Both begin on one thread, and the other has nothing to do. */
	assert_int_equal(lcore_of(f, 0), lcore_of(f, 2));
	do {
		assert_true(clock_ns() < until);
		run_for(f, ROUND_NS);
	} while (lcore_of(f, 0) == lcore_of(f, 2));
	run_last(f);
	/* Nothing is left that came twice. */
	for (unsigned i = 0; i < FLOWS; i++) {
		fixture_expect_nothing(f, 2 * i + 1, 2 * i);
		assert_int_equal(flows[i].sent, flows[i].taken);
	}
	wait_until_idle(f, 0);
	wait_until_idle(f, 2);
}

/* Both are busy on one thread, as above; they have been put there. */
static void queues_stay_where_they_were_put(void **state)
{
	struct fixture *f = *state;

	memset(flows, 0, sizeof(flows));
	fixture_start_controlled(f, "lcores: 2", four);
	fixture_join_all(f, 4);
	fixture_introduce(f, 4);
	assert_int_equal(fixture_ctl(f, "lcore move p0 0 1"), 0);
	assert_int_equal(fixture_ctl(f, "lcore move p2 0 1"), 0);
	for (unsigned i = 0; i < FLOWS; i++)
		fixture_frame(flows[i].frame, 2 * i + 1, 2 * i, BYTES, 0);
	run_for(f, 2 * ROUND_NS);
	assert_int_equal(lcore_of(f, 0), 1);
	assert_int_equal(lcore_of(f, 2), 1);
}

static void busy_queues_stay_where_balance_is_off(void **state)
{
	struct fixture *f = *state;

	memset(flows, 0, sizeof(flows));
	fixture_start_controlled(f, "lcores: 2\nbalance: off", four);
	fixture_join_all(f, 4);
	fixture_introduce(f, 4);
	for (unsigned i = 0; i < FLOWS; i++)
		fixture_frame(flows[i].frame, 2 * i + 1, 2 * i, BYTES, 0);
	run_for(f, ROUND_NS);
	assert_int_equal(lcore_of(f, 0), lcore_of(f, 2));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWITCH_TEST(busy_queues_part_with_their_frames),
		SWITCH_TEST(busy_queues_stay_where_balance_is_off),
		SWITCH_TEST(queues_stay_where_they_were_put),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
