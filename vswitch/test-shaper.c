/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shaper on a clock of the test's: the rate that comes out of it, to a
 * thousandth; order and bytes of what waited; a queue that is full, and one that
 * gets another size. And on the kernel's: that whoever drains it is woken.
 */
#include "vswitch/shaper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
	SMALL = 100, /* frames */
	LARGE = 8000,
	SLOW = 1000, /* bytes a second: a frame makes the next one wait */
	STEP = 16,   /* of a queue's size */
	COME_AND_GO = 20,
	PATIENCE_MS = 3000,
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
		assert_int_equal(iov_read(&at, got, sizeof(got)), behind);
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
	assert_true(shaper_set(shaper, LIMIT_MAX_RATE + 1, 1, BIG_QUEUE) < 0);
}

/* --- places in the queue ------------------------------------------------------ */

static void offer_sized(size_t bytes, uint64_t now_ns)
{
	static uint64_t seed;

	while (bytes_of(seed) != bytes)
		seed++;
	offer(seed++, now_ns);
}

/* A new shaper that has let one small frame through. */
static void begin_slow(size_t queue_bytes)
{
	tear_down(NULL);
	assert_int_equal(set_up(NULL), 0);
	assert_int_equal(shaper_set(shaper, SLOW, 1, queue_bytes), 0);
	offer_sized(SMALL, NS_PER_SECOND);
	assert_int_equal(sent_frames, 1);
}

/* How many of @count frames wait in a queue of @queue_bytes. */
static unsigned fill(size_t queue_bytes, size_t bytes, unsigned count)
{
	struct shaper_counters counters;

	begin_slow(queue_bytes);
	for (unsigned i = 0; i < count; i++)
		offer_sized(bytes, NS_PER_SECOND);
	shaper_count(shaper, &counters);
	assert_int_equal(counters.delayed + counters.dropped, count);
	return counters.delayed;
}

/* The smallest queue for a frame of @bytes. */
static size_t place_of(size_t bytes)
{
	size_t room = align_up(bytes, STEP);

	while (fill(room, bytes, 1) == 0)
		room += STEP;
	return room;
}

/* The first frame that waits, which is due by then, and no other one. */
static uint64_t drain_first(void)
{
	const uint64_t now = NS_PER_SECOND + NS_PER_SECOND * SMALL / SLOW + 1;

	shaper_drain(shaper, now);
	assert_int_equal(sent_frames, 2);
	return now;
}

static void queue_is_used_to_its_last_byte(void **state)
{
	const size_t large = place_of(LARGE), small = place_of(SMALL);
	const unsigned many = large / STEP + 1;
	struct shaper_counters counters;

	assert_int_equal(fill(many * large, LARGE, many + 1), many);
	assert_int_equal(fill(many * small, SMALL, many + 1), many);
	/* At its beginning, what does not go at its end. */
	assert_int_equal(fill(2 * large + STEP, LARGE, 2), 2);
	offer_sized(LARGE, drain_first());
	shaper_count(shaper, &counters);
	assert_int_equal(counters.dropped, 0);
	/* Empty, all of it again, wherever the last one lay. */
	assert_int_equal(fill(large, SMALL, 1), 1);
	offer_sized(LARGE, drain_first());
	shaper_count(shaper, &counters);
	assert_int_equal(counters.dropped, 0);
}

/* --- turns of the thread that drains it ---------------------------------------- */

static void turn_sends_a_burst_and_says_that_more_waits(void **state)
{
	begin_slow(QUEUE);
	for (unsigned i = 0; i < NET_BURST + 1; i++)
		offer_sized(SMALL, NS_PER_SECOND);
	assert_int_equal(shaper_set(shaper, 0, 1, QUEUE), 0);
	assert_true(shaper_drain(shaper, NS_PER_SECOND) > 0);
	assert_int_equal(sent_frames, 1 + NET_BURST);
	assert_int_equal(shaper_drain(shaper, NS_PER_SECOND), 0);
	assert_int_equal(sent_frames, 2 + NET_BURST);
}

static bool is_woken(int timeout_ms)
{
	struct pollfd timer = {
		.fd = shaper_source(shaper)->fd,
		.events = POLLIN,
	};

	return poll(&timer, 1, timeout_ms) == 1;
}

static void frame_that_waits_wakes_who_drains(void **state)
{
	struct source *source = shaper_source(shaper);
	struct net_rx_frame *none;
	uint64_t now = clock_ns();

	assert_int_equal(shaper_set(shaper, 100 * SLOW, 1, QUEUE), 0);
	offer_sized(SMALL, now);
	assert_false(is_woken(0));
	offer_sized(SMALL, now);
	assert_true(is_woken(PATIENCE_MS));
	source->ops->ready(source);
	assert_false(is_woken(0));
	assert_int_equal(source->ops->receive(source, &none), 0);
	assert_int_equal(sent_frames, 2);
	/* One that waits for longer than this test would. */
	assert_int_equal(shaper_set(shaper, SLOW, 1, QUEUE), 0);
	now = clock_ns();
	offer_sized(LARGE, now);
	offer_sized(SMALL, now);
	assert_false(source->ops->sleep(source));
	assert_false(is_woken(0));
	/* And is due by the time that everybody goes to sleep. */
	assert_int_equal(shaper_set(shaper, 0, 1, QUEUE), 0);
	assert_false(source->ops->sleep(source));
	assert_true(is_woken(PATIENCE_MS));
}

/* --- what it leaves ------------------------------------------------------------ */

static int free_descriptor(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_return_code(fd, errno);
	close(fd);
	return fd;
}

static unsigned long mapped_pages(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	unsigned long pages;

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%lu", &pages), 1);
	fclose(file);
	return pages;
}

/* Queues with frames in them, too, and those that were replaced. */
static void nothing_is_left_of_shapers_that_went(void **state)
{
	const int fd = free_descriptor();
	const unsigned long pages = mapped_pages();

	for (unsigned i = 0; i < COME_AND_GO; i++) {
		begin_slow(BIG_QUEUE);
		offer_sized(LARGE, NS_PER_SECOND);
		assert_int_equal(shaper_set(shaper, SLOW, 1, 2 * BIG_QUEUE), 0);
	}
	assert_int_equal(free_descriptor(), fd);
	assert_true(mapped_pages() <
		    pages + 4ul * BIG_QUEUE / sysconf(_SC_PAGESIZE));
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
		cmocka_unit_test_setup_teardown(queue_is_used_to_its_last_byte,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			turn_sends_a_burst_and_says_that_more_waits, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(
			frame_that_waits_wakes_who_drains, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			nothing_is_left_of_shapers_that_went, set_up,
			tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
