/* SPDX-License-Identifier: Apache-2.0 */
/* Several queues: what a guest gets is spread over its pairs; and what several
 * threads have for one queue at once comes whole. */
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "tests/switch/uplink.h"

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
	CROWD_GUEST = 2, /* who sends to one queue by two threads */
	CROWD_PAIRS = 8,
	CROWD_FRAMES = 16, /* of each pair */
	CROWDS = 60,
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

/* --- threads that send at once ------------------------------------------------ */

struct crowd {
	struct fixture *from, *to;
	unsigned receiver;
	size_t bytes; /* of a frame */
};

/* A serving thread on each of two processors, if there are two: they run at the
 * same time whatever else does. */
static void start_head(char ret_head[static 96])
{
	int found[2], count = 0;
	cpu_set_t cpus;

	assert_int_equal(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
	for (int cpu = 0; cpu < CPU_SETSIZE && count < 2; cpu++)
		if (CPU_ISSET(cpu, &cpus))
			found[count++] = cpu;
	snprintf(ret_head, 96, "lcores: 2\nbalance: off\ncpus: [%d, %d]",
		 found[0], found[count - 1]);
}

static void make_crowd_frame(const struct crowd *c, unsigned pair,
			     uint32_t number)
{
	fixture_frame(frame, c->receiver, CROWD_GUEST, c->bytes, number);
	frame[FLOW_BYTE] = pair;
}

/* All threads find the frames of all pairs when they go on: none is done before
 * another one begins. */
static void send_crowd(const struct crowd *c, uint32_t first)
{
	struct net_driver *guest = c->from->guests[CROWD_GUEST];
	const pid_t pid = c->from->process.pid;
	int status;

	for (unsigned pair = 0; pair < CROWD_PAIRS; pair++)
		assert_int_equal(net_send_wait(guest, pair), 0);
	assert_int_equal(kill(pid, SIGSTOP), 0);
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	assert_true(WIFSTOPPED(status));
	for (unsigned i = 0; i < CROWD_FRAMES; i++) {
		for (unsigned pair = 0; pair < CROWD_PAIRS; pair++) {
			make_crowd_frame(c, pair, first + i);
			assert_int_equal(net_send(guest, pair, NULL, frame,
						  c->bytes, NULL),
					 0);
		}
	}
	assert_int_equal(kill(pid, SIGCONT), 0);
}

/* Once, whole, and in the order of their pair. */
static void take_crowd(const struct crowd *c, uint32_t first)
{
	struct net_driver *guest = c->to->guests[c->receiver];
	unsigned taken[CROWD_PAIRS] = {0};

	for (unsigned n = 0; n < CROWD_PAIRS * CROWD_FRAMES; n++) {
		const int bytes = net_receive(guest, 0, NULL, got, sizeof(got));
		const unsigned pair = got[FLOW_BYTE];

		assert_int_equal(bytes, c->bytes);
		assert_in_range(pair, 0, CROWD_PAIRS - 1);
		make_crowd_frame(c, pair, first + taken[pair]++);
		assert_memory_equal(got, frame, c->bytes);
	}
}

static void pass_crowds(const struct crowd *c)
{
	for (unsigned i = 0; i < CROWDS; i++) {
		send_crowd(c, i * CROWD_FRAMES);
		take_crowd(c, i * CROWD_FRAMES);
	}
}

/* Of @bytes each; @keys are the receiver's port's. */
static void pass_crowds_to_guest(struct fixture *f, const char *keys,
				 size_t bytes)
{
	const char *const crowd[] = {"", keys, "queues: 8", NULL};
	const struct net_options many = {.pairs = CROWD_PAIRS};
	const struct net_options large = {.queue_size = 1024};
	const struct crowd c = {f, f, RECEIVER, bytes};
	char head[96];

	start_head(head);
	fixture_start(f, head, crowd);
	fixture_join(f, RECEIVER, &large);
	fixture_join(f, CROWD_GUEST, &many);
	pass_crowds(&c);
}

/* They take long to copy, and all of them have place. */
static void queue_of_a_guest_stays_whole_when_threads_fill_it(void **state)
{
	pass_crowds_to_guest(*state, "", 16000);
}

/* Nearly all of them wait. */
static void queue_of_a_shaper_stays_whole_when_threads_fill_it(void **state)
{
	pass_crowds_to_guest(
		*state, "shape: {rate: 40000000, burst: 1500, queue: 4000000}",
		1514);
}

/* The device passes them on to another switch. */
static void queue_of_a_device_stays_whole_when_threads_fill_it(void **state)
{
	const struct net_options many = {.pairs = CROWD_PAIRS};
	struct uplink *u = *state;
	const struct crowd c = {u->front, u->back, UPLINK_BACK_GUEST,
				.bytes = 1514};
	char head[96], path[128], add[256];

	start_head(head);
	uplink_start(u, head, "", "");
	fixture_socket(u->front, CROWD_GUEST, path);
	snprintf(add, sizeof(add),
		 "port add name=p2 kind=vhost-user queues=8 socket-path=%s",
		 path);
	fixture_ctl_says(u->front, add, "");
	fixture_join(u->front, CROWD_GUEST, &many);
	pass_crowds(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWITCH_TEST(flows_are_spread_over_pairs_and_stay_whole),
		SWITCH_TEST(flows_are_spread_by_several_threads_alike),
		SWITCH_TEST(every_pair_sends),
		SWITCH_TEST(queue_of_a_guest_stays_whole_when_threads_fill_it),
		SWITCH_TEST(queue_of_a_shaper_stays_whole_when_threads_fill_it),
		UPLINK_TEST(queue_of_a_device_stays_whole_when_threads_fill_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
