/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits, to 2 per cent on both sides: what a port may send (policing), and how
 * fast it gets what is sent to it (shaping).
 *
 * Time is what the switch judges by, CLOCK_MONOTONIC, and each moment is known as
 * an interval: a frame was judged after we began to send it, and before what was
 * sent behind it came. A machine that is busy makes the intervals longer. It is
 * measured until they are short beside the whole.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "tests/switch/fixture.h"

enum {
	RECEIVER,
	SENDER,
	FENCER,
	GUESTS,
	STRANGER = 9, /* whom nobody has heard of */
	FLIGHT = 64,
	FENCE_BYTES = FIXTURE_HEAD_BYTES + 50,
	BYTES = 200,
	LARGE_BYTES = 1400,
	MULTICAST = 1,	    /* or-ed into the first byte of an address */
	SHAPED_AHEAD = 200, /* fewer than a ring's buffers */
	SHAPED_RATE = 40000,
	SHAPED_BURST = 8000,
};

#define LEAST_NS    NS_PER_SECOND
#define PATIENCE_NS (30 * NS_PER_SECOND)
#define PER_CENT    0.02

static uint8_t frame[FIXTURE_FRAME_BYTES], got[FIXTURE_FRAME_BYTES];
static uint32_t seed;
static unsigned flights;

static double seconds(uint64_t from_ns, uint64_t to_ns)
{
	return (double)(int64_t)(to_ns - from_ns) / NS_PER_SECOND;
}

/* --- policing ----------------------------------------------------------------- */

/* In frames; which are those of SENDER. */
struct policed {
	const char *limit;
	double rate, burst;
	unsigned to, bytes;
	uint8_t first_byte; /* or-ed into that of the destination */
	const char *reason;
};

/* Frames that were judged between @began_ns and @ended_ns. */
struct flight {
	unsigned passed;
	uint64_t began_ns, ended_ns;
};

/* How many of SENDER's came, all of which are in front of FENCER's next. */
static unsigned count_passed(struct fixture *f, unsigned bytes)
{
	uint8_t fence[FENCE_BYTES];
	unsigned passed = 0;

	fixture_frame(fence, RECEIVER, FENCER, FENCE_BYTES, ++seed);
	fixture_send(f, FENCER, fence, FENCE_BYTES);
	for (;;) {
		int n = net_receive(f->guests[RECEIVER], 0, NULL, got,
				    sizeof(got));

		if (n == FENCE_BYTES)
			return passed;
		assert_int_equal(n, bytes);
		passed++;
	}
}

static struct flight fly(struct fixture *f, const struct policed *p)
{
	struct flight flight = {.began_ns = clock_ns()};

	flights++;
	for (unsigned i = 0; i < FLIGHT; i++) {
		fixture_frame(frame, p->to, SENDER, p->bytes, ++seed);
		frame[0] |= p->first_byte;
		assert_int_equal(net_send(f->guests[SENDER], 0, NULL, frame,
					  p->bytes, NULL),
				 0);
	}
	assert_int_equal(net_send_wait(f->guests[SENDER], 0), 0);
	flight.passed = count_passed(f, p->bytes);
	flight.ended_ns = clock_ns();
	return flight;
}

/*
 * A limit that was never used lets a burst through, and what the rate adds
 * meanwhile. Returns the flight that used it up, and in @all what has passed.
 */
static struct flight use_up_burst(struct fixture *f, const struct policed *p,
				  unsigned *all)
{
	struct flight first = fly(f, p), last = first;

	*all = first.passed;
	while (last.passed == FLIGHT) {
		assert_true(seconds(first.began_ns, clock_ns()) < 30);
		last = fly(f, p);
		*all += last.passed;
	}
	assert_true(*all >= p->burst - 1);
	assert_true(*all <=
		    p->burst +
			    p->rate * seconds(first.began_ns, last.ended_ns) +
			    1);
	return last;
}

/* What passes from one moment at which nothing more did to another is the rate,
 * unless they are so far apart that a burst was full again. */
static void measure_rate(struct fixture *f, const struct policed *p,
			 struct flight first, unsigned *all)
{
	const uint64_t until = clock_ns() + PATIENCE_NS;
	struct flight before = first;
	unsigned passed = 0;

	for (;;) {
		struct flight last = fly(f, p);
		double least, most;

		assert_true(last.ended_ns < until);
		*all += last.passed;
		passed += last.passed;
		if (last.passed == FLIGHT)
			continue;
		if (seconds(before.began_ns, last.ended_ns) >=
		    p->burst / p->rate) {
			first = last;
			passed = 0;
		}
		before = last;
		least = p->rate * seconds(first.ended_ns, last.began_ns) - 1;
		most = p->rate * seconds(first.began_ns, last.ended_ns) + 1;
		if (last.began_ns - first.ended_ns < LEAST_NS ||
		    most - least > PER_CENT * least)
			continue;
		if (passed < least || passed > most)
			fail_msg("%s: %u, not %.1f to %.1f", p->limit, passed,
				 least, most);
		return;
	}
}

static void start(struct fixture *f, const char *limit)
{
	const char *const ports[] = {"", limit, "", NULL};

	fixture_start(f, "", ports);
	fixture_join_all(f, GUESTS);
	fixture_frame(frame, FIXTURE_BROADCAST, RECEIVER, BYTES, ++seed);
	fixture_send(f, RECEIVER, frame, BYTES);
}

static void assert_policed(struct fixture *f, const struct policed *p)
{
	struct flight empty;
	unsigned passed;
	char words[64];

	start(f, p->limit);
	flights = 0;
	empty = use_up_burst(f, p, &passed);
	measure_rate(f, p, empty, &passed);
	snprintf(words, sizeof(words), "p%u: not forwarded: %s ", SENDER,
		 p->reason);
	assert_int_equal(passed + fixture_counted(f, words), flights * FLIGHT);
}

static void frames_are_limited(void **state)
{
	const struct policed p = {"frames: {rate: 500, burst: 200}",
				  .rate = 500,
				  .burst = 200,
				  .to = RECEIVER,
				  .bytes = BYTES,
				  .reason = "limit"};

	assert_policed(*state, &p);
}

static void bytes_are_limited(void **state)
{
	const struct policed p = {"bytes: {rate: 100000, burst: 40000}",
				  .rate = 100000.0 / BYTES,
				  .burst = 40000.0 / BYTES,
				  .to = RECEIVER,
				  .bytes = BYTES,
				  .reason = "limit"};

	assert_policed(*state, &p);
}

/* By all of their bytes, of which the switch has copied a few. */
static void bytes_of_large_frames_are_limited(void **state)
{
	const struct policed p = {"bytes: {rate: 700000, burst: 280000}",
				  .rate = 700000.0 / LARGE_BYTES,
				  .burst = 280000.0 / LARGE_BYTES,
				  .to = RECEIVER,
				  .bytes = LARGE_BYTES,
				  .reason = "limit"};

	assert_policed(*state, &p);
}

static void broadcasts_are_limited(void **state)
{
	const struct policed p = {"broadcast: {rate: 500, burst: 200}",
				  .rate = 500,
				  .burst = 200,
				  .to = FIXTURE_BROADCAST,
				  .bytes = BYTES,
				  .reason = "storm"};

	assert_policed(*state, &p);
}

static void multicasts_are_limited(void **state)
{
	const struct policed p = {"multicast: {rate: 500, burst: 200}",
				  .rate = 500,
				  .burst = 200,
				  .to = STRANGER,
				  .first_byte = MULTICAST,
				  .bytes = BYTES,
				  .reason = "storm"};

	assert_policed(*state, &p);
}

static void frames_to_unknown_stations_are_limited(void **state)
{
	const struct policed p = {"unknown: {rate: 500, burst: 200}",
				  .rate = 500,
				  .burst = 200,
				  .to = STRANGER,
				  .bytes = BYTES,
				  .reason = "storm"};

	assert_policed(*state, &p);
}

/* A limit is of its own kind only: of the others each gets through. */
static void storm_limits_leave_other_frames_alone(void **state)
{
	static const struct {
		unsigned to;
		uint8_t first_byte;
		const char *limits;
	} cases[] = {
		{RECEIVER, 0,
		 "broadcast: {rate: 1, burst: 1}, multicast: {rate: 1, "
		 "burst: 1}, unknown: {rate: 1, burst: 1}"},
		{FIXTURE_BROADCAST, 0,
		 "multicast: {rate: 1, burst: 1}, unknown: {rate: 1, burst: "
		 "1}"},
		{STRANGER, MULTICAST,
		 "broadcast: {rate: 1, burst: 1}, unknown: {rate: 1, burst: "
		 "1}"},
		{STRANGER, 0,
		 "broadcast: {rate: 1, burst: 1}, multicast: {rate: 1, burst: "
		 "1}"},
	};
	struct fixture *f = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct policed p = {.to = cases[i].to,
					  .first_byte = cases[i].first_byte,
					  .bytes = BYTES};

		start(f, cases[i].limits);
		assert_int_equal(fly(f, &p).passed, FLIGHT);
		process_stop(&f->process, SIGTERM);
		for (unsigned guest = 0; guest < GUESTS; guest++)
			fixture_leave(f, guest);
	}
}

/* --- shaping ------------------------------------------------------------------ */

static void send_one(struct fixture *f, uint32_t number)
{
	fixture_frame(frame, RECEIVER, SENDER, BYTES, number);
	assert_int_equal(
		net_send(f->guests[SENDER], 0, NULL, frame, BYTES, NULL), 0);
}

/*
 * A guest has always frames that wait for it: they come whole and in order, a
 * burst of them at once, and then at the rate. What comes late since the machine
 * is busy is made up for, if it is measured for longer; what comes early is not.
 */
static void guest_gets_frames_at_the_rate_it_is_shaped_to(void **state)
{
	static const char *const ports[] = {
		"shape: {rate: 40000, burst: 8000, queue: 1000000}", "", NULL};
	const double rate = SHAPED_RATE / BYTES, burst = SHAPED_BURST / BYTES;
	struct fixture *f = *state;
	uint32_t sent = 0, came = 0;
	uint64_t began_ns, passed_ns;
	double owed;

	fixture_start(f, "", ports);
	fixture_join_all(f, 2);
	began_ns = clock_ns();
	for (; sent < SHAPED_AHEAD; sent++)
		send_one(f, sent);
	do {
		fixture_frame(frame, RECEIVER, SENDER, BYTES, came);
		fixture_expect(f, RECEIVER, frame, BYTES);
		came++;
		passed_ns = clock_ns() - began_ns;
		/* The last of a burst may go beyond it. */
		owed = burst + rate * passed_ns / NS_PER_SECOND;
		assert_true(came <= owed + 1);
		assert_true(passed_ns < PATIENCE_NS);
		send_one(f, sent++);
	} while (came <= SHAPED_AHEAD ||
		 came < burst + (owed - burst) * (1 - PER_CENT));
	assert_true(fixture_counted(f, "p0: shaped delayed ") > 0);
}

static void burst_is_not_delayed_and_more_is(void **state)
{
	static const char *const ports[] = {
		"shape: {rate: 1, burst: 8000, queue: 1000000}", "", NULL};
	const unsigned burst = SHAPED_BURST / BYTES;
	struct fixture *f = *state;

	fixture_start(f, "", ports);
	fixture_join_all(f, 2);
	for (unsigned i = 0; i < burst; i++)
		send_one(f, i);
	for (unsigned i = 0; i < burst; i++) {
		fixture_frame(frame, RECEIVER, SENDER, BYTES, i);
		fixture_expect(f, RECEIVER, frame, BYTES);
	}
	assert_int_equal(fixture_counted(f, "p0: shaped delayed "), 0);
	/* The next may begin within it, the one behind that does not. */
	send_one(f, burst);
	send_one(f, burst + 1);
	assert_int_equal(net_send_wait(f->guests[SENDER], 0), 0);
	assert_true(fixture_counted(f, "p0: shaped delayed ") > 0);
}

static void what_a_full_queue_drops_is_counted(void **state)
{
	static const char *const ports[] = {
		"shape: {rate: 1, burst: 1000, queue: 20000}", "", NULL};
	struct fixture *f = *state;
	uint64_t counted;

	fixture_start(f, "", ports);
	fixture_join_all(f, 2);
	for (unsigned i = 0; i < 500; i++)
		send_one(f, i);
	assert_int_equal(net_send_wait(f->guests[SENDER], 0), 0);
	fixture_count(f);
	counted = process_log_number(&f->process, "p0: shaped delayed ");
	assert_true(counted >= 40 && counted < 100);
	counted += process_log_number(&f->process, " dropped ");
	/* All but a burst, beyond which one may go. */
	assert_in_range(counted, 500 - 1000 / BYTES - 1, 500 - 1000 / BYTES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWITCH_TEST(frames_are_limited),
		SWITCH_TEST(bytes_are_limited),
		SWITCH_TEST(bytes_of_large_frames_are_limited),
		SWITCH_TEST(broadcasts_are_limited),
		SWITCH_TEST(multicasts_are_limited),
		SWITCH_TEST(frames_to_unknown_stations_are_limited),
		SWITCH_TEST(storm_limits_leave_other_frames_alone),
		SWITCH_TEST(guest_gets_frames_at_the_rate_it_is_shaped_to),
		SWITCH_TEST(burst_is_not_delayed_and_more_is),
		SWITCH_TEST(what_a_full_queue_drops_is_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
