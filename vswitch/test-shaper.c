/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shaper on a clock of the test's: the rate that comes out of it, to a
 * thousandth; order and bytes of what waited; a queue that is full, and one that
 * gets another size.
 */
#include "vswitch/shaper.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "tests/cmocka.h"

enum {
	STEP_NS = 250 * 1000,
	SECONDS = 5,
	MAX_BYTES = 9000,
	SMALL_QUEUE = 64 << 10,
	QUEUE = 256 << 10,
	BIG_QUEUE = 8 << 20,
};

static struct forward_port port;
static struct shaper *shaper;
static uint8_t payload[MAX_BYTES];
static struct iovec rest;
static struct net_rx_frame frame;
static uint64_t sent_frames, sent_bytes, next_seed;

static size_t bytes_of(uint64_t seed)
{
	return 60 + seed * 7919 % (MAX_BYTES - 60);
}

static uint8_t byte_of(uint64_t seed, size_t at)
{
	return seed * 13 + at * 7;
}

/* Each frame names its place in the order; some may be missing. */
static void check_frames(struct forward_port *to,
			 const struct net_rx_frame *const *frames,
			 unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		const struct net_rx_frame *f = frames[i];
		uint64_t seed = get_be64(f->head);
		struct iov_cursor at = f->rest;
		static uint8_t got[MAX_BYTES];
		size_t behind = f->bytes - f->head_bytes;

		assert_true(seed >= next_seed);
		next_seed = seed + 1;
		assert_int_equal(f->bytes, bytes_of(seed));
		assert_int_equal(f->layout.l3_offset, seed & 0xff);
		if (behind > 0)
			iov_read(&at, got, behind);
		for (size_t n = 0; n < behind; n += 97)
			assert_int_equal(got[n], byte_of(seed, n));
		sent_frames++;
		sent_bytes += f->bytes;
	}
}

static int set_up(void **state)
{
	port = (struct forward_port){.send = check_frames};
	sent_frames = sent_bytes = next_seed = 0;
	return shaper_new(&port, &shaper);
}

static int tear_down(void **state)
{
	shaper_free(shaper);
	return 0;
}

static void offer(uint64_t seed, uint64_t now_ns)
{
	const struct net_rx_frame *frames = &frame;

	frame.bytes = bytes_of(seed);
	frame.head_bytes = MIN(frame.bytes, (uint32_t)NET_COPY_BYTES);
	frame.layout.l3_offset = seed & 0xff;
	put_be64(frame.head, seed);
	for (size_t n = 0; n < frame.bytes - frame.head_bytes; n++)
		payload[n] = byte_of(seed, n);
	rest = (struct iovec){payload, frame.bytes - frame.head_bytes};
	frame.rest = iov_cursor(&rest, 1);
	shaper_send(shaper, &frames, 1, now_ns);
	/* The sender has its memory back. */
	memset(payload, 0xee, sizeof(payload));
}

static void rate_is_kept(void **state)
{
	static const uint64_t rates[] = {100 * 1000, 5 * 1000 * 1000,
					 200 * 1000 * 1000};

	for (unsigned r = 0; r < ARRAY_SIZE(rates); r++) {
		const uint64_t burst = MAX(rates[r] / 100, UINT64_C(20000));
		const double wanted = (double)rates[r] * SECONDS;
		uint64_t now = NS_PER_SECOND * 1000 * (r + 1), owed = 0;
		const uint64_t began = now;
		const uint64_t before = sent_bytes;
		static uint64_t seed;
		struct shaper_counters counters;

		assert_int_equal(
			shaper_set(shaper, rates[r], burst, SMALL_QUEUE), 0);
		/* Half as much again as may pass. */
		while (now - began < SECONDS * NS_PER_SECOND) {
			now += STEP_NS;
			owed += rates[r] / 1000 * 3 / 8;
			for (; owed >= bytes_of(seed); seed++) {
				owed -= bytes_of(seed);
				offer(seed, now);
			}
			for (unsigned i = 0; i < 40; i++)
				shaper_drain(shaper, now);
		}
		assert_true(sent_bytes - before >= wanted * 0.999);
		assert_true(sent_bytes - before <=
			    wanted * 1.001 + burst + MAX_BYTES);
		shaper_count(shaper, &counters);
		assert_true(counters.delayed > 0);
		assert_true(counters.dropped > 0);
		/* All that waits goes when the rate lets it. */
		now += 60 * NS_PER_SECOND;
		while (shaper_drain(shaper, now) > 0)
			now += NS_PER_SECOND / 100;
	}
}

static void what_is_within_the_rate_does_not_wait(void **state)
{
	struct shaper_counters counters;

	assert_int_equal(shaper_set(shaper, 1000000, 100000, QUEUE), 0);
	for (uint64_t i = 0; i < 100; i++) {
		offer(i, NS_PER_SECOND * (i + 1));
		assert_int_equal(sent_frames, i + 1);
	}
	shaper_count(shaper, &counters);
	assert_int_equal(counters.delayed + counters.dropped, 0);
}

/* Each frame is sent or counted, whatever the queue's size is by now. */
static void nothing_is_lost_uncounted(void **state)
{
	uint64_t now = NS_PER_SECOND, offered = 0;
	struct shaper_counters counters;

	srand(1);
	for (unsigned n = 0; n < 400; n++) {
		static const uint64_t queues[] = {MAX_BYTES, QUEUE,
						  3 * MAX_BYTES + 5, BIG_QUEUE};

		assert_int_equal(shaper_set(shaper, 10 * 1000 * 1000, 20000,
					    queues[rand() % 4]),
				 0);
		for (unsigned i = rand() % 40; i > 0; i--)
			offer(offered++, now);
		now += rand() % 10000000;
		shaper_drain(shaper, now);
	}
	/* No rate: all of it at once. */
	assert_int_equal(shaper_set(shaper, 0, 1, BIG_QUEUE), 0);
	for (unsigned i = 0; i < 1000; i++)
		shaper_drain(shaper, now);
	shaper_count(shaper, &counters);
	assert_true(counters.dropped > 0);
	assert_int_equal(sent_frames + counters.dropped, offered);
	offer(offered++, now);
	assert_int_equal(sent_frames + counters.dropped, offered);
}

static void queue_has_its_bound(void **state)
{
	struct shaper_counters counters;
	uint64_t waited = 0;

	assert_int_equal(shaper_set(shaper, 1000, 1, QUEUE), 0);
	for (uint64_t i = 0; i < 1000; i++)
		offer(i, NS_PER_SECOND);
	shaper_count(shaper, &counters);
	waited = sent_bytes;
	assert_int_equal(counters.delayed + counters.dropped, 999);
	assert_int_equal(shaper_set(shaper, 0, 1, QUEUE), 0);
	for (unsigned i = 0; i < 100; i++)
		shaper_drain(shaper, NS_PER_SECOND);
	assert_int_equal(sent_frames, 1 + counters.delayed);
	waited = sent_bytes - waited;
	assert_true(waited > QUEUE * 8 / 10 && waited <= QUEUE);
	assert_true(shaper_set(shaper, LIMIT_MAX_RATE + 1, 1, QUEUE) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(rate_is_kept, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(
			what_is_within_the_rate_does_not_wait, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(nothing_is_lost_uncounted,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(queue_has_its_bound, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
