/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queues that are stopped, switched off, and set going again while frames come.
 * Once the daemon has answered, the guest's memory is the guest's; no frame comes
 * twice, and where the queue goes on where it was none is lost.
 */
#include <linux/virtio_config.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/net/fixture.h"
#include "tests/random.h"

#define BIT(n) (UINT64_C(1) << (n))

enum {
	IN_ORDER = 35,
	RECEIVE = 0, /* the queue */
	ROUNDS = 40,
	/* Frames that come at once, before and after the stop: fewer than buffers,
	 * and than the TAP keeps. */
	MOST_FRAMES = 100,
	/* Of a batch that is under way when its queue is switched off. */
	MOST_LOST = 32,
};

struct stopping {
	struct fixture *f;
	struct net_driver *d;
	uint8_t *before; /* what buffers and ring of the queue held */
	uint32_t sent, next;
	uint64_t random;
};

static uint8_t frame[FIXTURE_FRAME_BYTES], got[FIXTURE_FRAME_BYTES];

static void send_frames(struct stopping *s, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		size_t bytes = 60 + s->sent * 61 % 1455;

		frame_make(frame, bytes, s->sent++);
		wire_send(s->f, NULL, frame, bytes);
	}
}

/* All that was sent but at most @lost, in order and whole. */
static void take_frames(struct stopping *s, unsigned lost)
{
	while (s->next < s->sent) {
		int bytes = net_receive(s->d, 0, NULL, got, sizeof(got));
		uint32_t seed = frame_seed(got);

		assert_in_range(bytes, 60, 1514);
		assert_in_range(seed, s->next, s->next + lost);
		lost -= seed - s->next;
		assert_int_equal(bytes, 60 + seed * 61 % 1455);
		frame_make(frame, bytes, seed);
		assert_memory_equal(got, frame, bytes);
		s->next = seed + 1;
	}
}

/* Calls @visit for each piece of memory that the daemon writes frames to. */
static void for_each_piece(struct stopping *s,
			   void (*visit)(uint8_t *before, const void *now,
					 size_t bytes))
{
	const struct net_pair *pair = &s->d->pairs[0];
	const struct driver_ring *ring = pair->receive;
	const size_t size = ring->config.size;
	uint8_t *before = s->before;

	for (unsigned i = 0; i < s->d->buffers; i++) {
		visit(before, ram_at(s->d->ram, pair->buffer_gpa[i]),
		      s->d->buffer_bytes);
		before += s->d->buffer_bytes;
	}
	if (ring->config.packed)
		visit(before, ring->packed, size * sizeof(*ring->packed));
	else
		visit(before, &ring->used->idx,
		      2 + size * sizeof(*ring->used->ring));
}

static void keep(uint8_t *before, const void *now, size_t bytes)
{
	memcpy(before, now, bytes);
}

static void compare(uint8_t *before, const void *now, size_t bytes)
{
	assert_memory_equal(before, now, bytes);
}

/* More frames come meanwhile, and what the guest sends goes out: that is how it
 * is known that the daemon has looked. */
static void memory_stays_as_it_is(struct stopping *s)
{
	for_each_piece(s, keep);
	send_frames(s, 1 + random_below(&s->random, MOST_FRAMES));
	for (unsigned i = 0; i < 3; i++) {
		frame_make(frame, 100, i);
		assert_int_equal(net_send(s->d, 0, NULL, frame, 100, NULL), 0);
		assert_int_equal(net_send_wait(s->d, 0), 0);
	}
	for_each_piece(s, compare);
}

static void start_receiving(struct stopping *s, uint32_t base)
{
	struct driver_ring *ring = s->d->pairs[0].receive;

	assert_int_equal(frontend_ring_base(s->d->fe, RECEIVE, base), 0);
	assert_int_equal(frontend_ring_addr(s->d->fe, RECEIVE, ring, false), 0);
	assert_int_equal(frontend_ring_fd(s->d->fe, VHOST_USER_SET_VRING_KICK,
					  RECEIVE, ring->kick_fd),
			 0);
}

static void stop_and_go_on(struct stopping *s)
{
	uint32_t base;

	assert_int_equal(frontend_ring_stop(s->d->fe, RECEIVE, &base), 0);
	memory_stays_as_it_is(s);
	start_receiving(s, base);
	take_frames(s, 0);
	/* What was not used was not taken. */
	assert_int_equal(frontend_ring_stop(s->d->fe, RECEIVE, &base), 0);
	assert_int_equal(base, driver_ring_base(s->d->pairs[0].receive));
	start_receiving(s, base);
}

static void switch_off_and_on(struct stopping *s)
{
	assert_int_equal(frontend_ring_enable(s->d->fe, RECEIVE, false), 0);
	memory_stays_as_it_is(s);
	assert_int_equal(frontend_ring_enable(s->d->fe, RECEIVE, true), 0);
	take_frames(s, MOST_LOST);
}

/* As RING_RESET has it: all that is in the ring is forgotten. */
static void reset_and_begin_anew(struct stopping *s)
{
	struct net_pair *pair = &s->d->pairs[0];
	struct driver_ring *ring = pair->receive;
	uint32_t sent;

	assert_int_equal(frontend_ring_stop(s->d->fe, RECEIVE, NULL), 0);
	memory_stays_as_it_is(s);
	/* Frames that are there are the guest's, who takes them before. */
	sent = s->sent;
	for (s->sent = s->next; driver_ring_has_used(ring);) {
		s->sent++;
		take_frames(s, 0);
	}
	s->sent = sent;
	driver_ring_reset(ring);
	driver_ring_calls_off(ring);
	for (unsigned i = 0; i < s->d->buffers; i++) {
		const struct driver_buffer whole = {pair->buffer_gpa[i],
						    s->d->buffer_bytes, true};

		assert_int_equal(driver_ring_add(ring, &whole, 1,
						 (void *)(uintptr_t)(i + 1)),
				 0);
	}
	driver_ring_publish(ring);
	start_receiving(s, driver_ring_first_base(ring->config.packed));
	take_frames(s, 0);
}

static void try_rings(struct fixture *f, void (*stop)(struct stopping *s))
{
	static const uint64_t without[] = {
		0, BIT(VIRTIO_F_RING_PACKED), BIT(IN_ORDER),
		BIT(VIRTIO_F_RING_PACKED) | BIT(IN_ORDER)};

	for (unsigned i = 0; i < ARRAY_SIZE(without); i++) {
		const struct net_options o = {
			.without = without[i],
			.poll = true,
		};
		struct stopping s = {.f = f, .random = i + 1};

		s.d = fixture_open(f, &o);
		s.before = malloc((size_t)s.d->buffers * s.d->buffer_bytes +
				  s.d->pairs[0].receive->config.size * 16 + 2);
		assert_non_null(s.before);
		for (unsigned round = 0; round < ROUNDS; round++) {
			send_frames(&s, random_below(&s.random, MOST_FRAMES));
			stop(&s);
		}
		free(s.before);
		net_driver_free(s.d);
	}
}

static void stopped_queue_is_left_alone_and_loses_nothing(void **state)
{
	try_rings(*state, stop_and_go_on);
}

static void queue_that_is_switched_off_is_left_alone(void **state)
{
	try_rings(*state, switch_off_and_on);
}

static void queue_that_is_reset_begins_anew_and_loses_nothing(void **state)
{
	try_rings(*state, reset_and_begin_anew);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DAEMON_TEST(stopped_queue_is_left_alone_and_loses_nothing),
		DAEMON_TEST(queue_that_is_switched_off_is_left_alone),
		DAEMON_TEST(queue_that_is_reset_begins_anew_and_loses_nothing),
	};

	namespace_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
