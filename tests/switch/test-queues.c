/* SPDX-License-Identifier: Apache-2.0 */
/* A guest of several queue pairs: what it gets is spread over them. */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "tests/switch/fixture.h"

enum {
	SENDER,
	RECEIVER,
	PAIRS = 4,
	FLOWS = 48,
	ROUNDS = 6,
	FLOW_BYTE = 10, /* of a source address */
	NO_PAIR = PAIRS,
	BYTES = 200,
	LOOK_MS = 1,
	PATIENCE_S = 20,
};

static const char *const ports[] = {"", "queues: 4", NULL};
static uint8_t frame[FIXTURE_FRAME_BYTES], got[FIXTURE_FRAME_BYTES];

struct flow {
	unsigned pair;
	unsigned taken;
};

static struct flow flows[FLOWS];

static void make_frame(unsigned flow, unsigned number)
{
	fixture_frame(frame, RECEIVER, SENDER, BYTES, number);
	frame[FLOW_BYTE] = flow;
}

/* Those of a flow come by one pair, in order and whole. */
static void take(unsigned pair, int bytes)
{
	const unsigned flow = got[FLOW_BYTE];

	assert_in_range(flow, 0, FLOWS - 1);
	if (flows[flow].pair == NO_PAIR)
		flows[flow].pair = pair;
	assert_int_equal(flows[flow].pair, pair);
	make_frame(flow, flows[flow].taken++);
	assert_int_equal(bytes, BYTES);
	assert_memory_equal(got, frame, BYTES);
}

static void take_all(struct fixture *f, unsigned left)
{
	const uint64_t until = clock_ns() + PATIENCE_S * NS_PER_SECOND;

	f->guests[RECEIVER]->timeout_ms = LOOK_MS;
	while (left > 0) {
		assert_true(clock_ns() < until);
		for (unsigned pair = 0; pair < PAIRS; pair++) {
			int n;

			while ((n = net_receive(f->guests[RECEIVER], pair, NULL,
						got, sizeof(got))) > 0) {
				assert_true(left-- > 0);
				take(pair, n);
			}
		}
	}
}

static void try_pairs(struct fixture *f, const char *head)
{
	const struct net_options many = {.pairs = PAIRS};
	unsigned used = 0;

	for (unsigned i = 0; i < FLOWS; i++)
		flows[i] = (struct flow){.pair = NO_PAIR};
	fixture_start(f, head, ports);
	fixture_join(f, SENDER, NULL);
	fixture_join(f, RECEIVER, &many);
	for (unsigned i = 0; i < ROUNDS; i++) {
		for (unsigned flow = 0; flow < FLOWS; flow++) {
			make_frame(flow, i);
			assert_int_equal(net_send(f->guests[SENDER], 0, NULL,
						  frame, BYTES, NULL),
					 0);
		}
		take_all(f, FLOWS);
	}
	for (unsigned i = 0; i < FLOWS; i++)
		used |= 1u << flows[i].pair;
	assert_int_equal(used, (1u << PAIRS) - 1);
}

static void flows_are_spread_over_pairs_and_stay_whole(void **state)
{
	try_pairs(*state, "lcores: 1");
}

static void flows_are_spread_by_several_threads_alike(void **state)
{
	try_pairs(*state, "lcores: 3");
}

/* Each pair's own frames are switched, too, and none comes back to it. */
static void every_pair_sends(void **state)
{
	const struct net_options many = {.pairs = PAIRS};
	struct fixture *f = *state;

	fixture_start(f, "lcores: 2", ports);
	fixture_join(f, SENDER, NULL);
	fixture_join(f, RECEIVER, &many);
	for (unsigned pair = 0; pair < PAIRS; pair++) {
		fixture_frame(frame, FIXTURE_BROADCAST, RECEIVER, BYTES, pair);
		assert_int_equal(net_send(f->guests[RECEIVER], pair, NULL,
					  frame, BYTES, NULL),
				 0);
		assert_int_equal(net_send_wait(f->guests[RECEIVER], pair), 0);
		fixture_expect(f, SENDER, frame, BYTES);
	}
	f->guests[RECEIVER]->timeout_ms = LOOK_MS;
	for (unsigned pair = 0; pair < PAIRS; pair++)
		assert_true(net_receive(f->guests[RECEIVER], pair, NULL, got,
					sizeof(got)) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWITCH_TEST(flows_are_spread_over_pairs_and_stay_whole),
		SWITCH_TEST(flows_are_spread_by_several_threads_alike),
		SWITCH_TEST(every_pair_sends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
