/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the daemon writes into a guest's memory is in the dirty log: a migration
 * that lacks a page has a guest with the old one. Of all kinds of rings and
 * buffers, and of batches that cross pages and the end of a ring.
 */
#include <limits.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/frontend/dirty-watch.h"
#include "tests/net/fixture.h"

#define BIT(n)	      (UINT64_C(1) << (n))
#define NET_BIT(name) BIT(VIRTIO_NET_F_##name)

enum {
	IN_ORDER = 35,
	PAGE_BYTES = 4096,
	RING = 1024,
	/* Buffers of one receive chain, and chains. */
	MAX_PARTS = 4,
	CHAINS = 160,
	SHORT_FRAMES = 12,
	LONG_FRAMES = 3,
	PATIENCE_MS = 10000,
};

/* Chains that the guest sends at once. Where each is one entry of a ring, and
 * the device gives back up to 64 at once: the last of a page, and some of the
 * next; up to the last ones of the ring; over its end. */
static const unsigned sent[] = {255, 10, 250, 250, 200, 55, 10, 100};

static const uint32_t shapes[][MAX_PARTS + 1] = {
	{4096, 0},
	{100, 3000, 0},
	{13, 1, 2000, 500, 0},
	{12, 65600, 0},
};

struct chain {
	struct driver_buffer parts[MAX_PARTS];
	unsigned count;
	bool offered;
};

struct receiver {
	struct net_driver *d;
	struct dirty_watch *watch;
	struct chain chains[CHAINS];
	struct driver_buffer to_send[2];
	unsigned round;
};

static uint8_t frame[FIXTURE_FRAME_BYTES];

/* Each on pages of its own, somewhere in the first. */
static uint64_t alloc_part(struct ram *ram, uint32_t bytes, unsigned n)
{
	uint64_t offset = n * 377 % PAGE_BYTES;
	uint64_t at =
		ram_alloc(ram, align_up(offset + bytes, (uint64_t)PAGE_BYTES),
			  PAGE_BYTES);

	assert_true(at != RAM_NONE);
	return at + offset;
}

static void make_chains(struct receiver *r)
{
	struct ram *ram = r->d->ram;
	unsigned n = 0;

	for (unsigned i = 0; i < CHAINS; i++) {
		struct chain *chain = &r->chains[i];
		/* One is in two regions. */
		uint64_t at = ram_alloc_straddling(ram, 1000, 3096);

		if (at != RAM_NONE) {
			chain->parts[0] =
				(struct driver_buffer){at, 4096, true};
			chain->count = 1;
			continue;
		}
		for (const uint32_t *bytes = shapes[i % ARRAY_SIZE(shapes)];
		     *bytes; bytes++)
			chain->parts[chain->count++] = (struct driver_buffer){
				alloc_part(ram, *bytes, n++), *bytes, true};
	}
	r->to_send[0] =
		(struct driver_buffer){alloc_part(ram, 12, n++), 12, false};
	r->to_send[1] =
		(struct driver_buffer){alloc_part(ram, 60, n++), 60, false};
	frame_make(ram_at(ram, r->to_send[1].gpa), 60, 1);
}

/* Offers what is not, and chains to be sent. What was there before is not what a
 * frame may bring. */
static void offer(struct receiver *r, unsigned send)
{
	const struct net_pair *pair = &r->d->pairs[0];

	r->round++;
	for (unsigned i = 0; i < CHAINS; i++) {
		struct chain *chain = &r->chains[i];

		for (unsigned n = 0; n < chain->count; n++)
			memset(ram_at(r->d->ram, chain->parts[n].gpa),
			       0x80 + r->round, chain->parts[n].length);
		if (!chain->offered)
			assert_int_equal(driver_ring_add(pair->receive,
							 chain->parts,
							 chain->count, chain),
					 0);
		chain->offered = true;
	}
	driver_ring_publish(pair->receive);
	for (unsigned i = 0; i < send; i++)
		assert_int_equal(driver_ring_add(pair->transmit, r->to_send, 2,
						 r->to_send),
				 0);
	driver_ring_publish(pair->transmit);
}

/* How many. Those that no chain holds come only where chains are merged. */
static unsigned send_frames(const struct fixture *f, const struct receiver *r)
{
	const unsigned longs = frontend_has(r->d->fe, VIRTIO_NET_F_MRG_RXBUF)
				       ? LONG_FRAMES
				       : 0;
	struct virtio_net_hdr_v1 header;

	for (unsigned i = 0; i < SHORT_FRAMES; i++) {
		size_t bytes = 60 + (r->round * 100 + i * 271) % 1455;

		frame_make(frame, bytes, i);
		wire_send(f, NULL, frame, bytes);
	}
	for (unsigned i = 0; i < longs; i++) {
		size_t bytes = frame_make_tso(frame, 2000 + i * 30000, &header);

		wire_send(f, (struct virtio_net_hdr *)&header, frame, bytes);
	}
	return SHORT_FRAMES + longs;
}

static void *wait_used(struct driver_ring *ring, uint32_t *ret_written)
{
	void *token;

	assert_int_equal(driver_ring_wait(ring, true, PATIENCE_MS), 0);
	assert_int_equal(driver_ring_pop(ring, &token, ret_written), 1);
	return token;
}

/* Its first bytes are those that may be in the log. */
static struct chain *take_chain(struct receiver *r)
{
	uint32_t written;
	struct chain *chain = wait_used(r->d->pairs[0].receive, &written);

	for (unsigned i = 0; i < chain->count; i++) {
		const struct driver_buffer *part = &chain->parts[i];
		uint32_t bytes = MIN(written, part->length);

		dirty_watch_allow(r->watch, part->gpa, bytes);
		written -= bytes;
	}
	chain->offered = false;
	return chain;
}

static void take_frame(struct receiver *r)
{
	const struct chain *first = take_chain(r);
	struct virtio_net_hdr_v1 header;
	uint8_t *to = (uint8_t *)&header;
	uint32_t left = sizeof(header);

	/* A header may lie in several parts of its chain. */
	for (unsigned i = 0; left > 0; i++) {
		uint32_t bytes = MIN(left, first->parts[i].length);

		memcpy(to, ram_at(r->d->ram, first->parts[i].gpa), bytes);
		to += bytes;
		left -= bytes;
	}
	for (unsigned i = 1; i < le16toh(header.num_buffers); i++)
		take_chain(r);
}

static void log_is_exact(struct receiver *r)
{
	uint64_t gpa;

	/* What a read left in a buffer that the device still has. */
	for (unsigned i = 0; i < CHAINS; i++) {
		const struct chain *chain = &r->chains[i];

		for (unsigned n = 0; n < chain->count && chain->offered; n++)
			dirty_watch_forget(r->watch, chain->parts[n].gpa,
					   chain->parts[n].length);
	}
	gpa = dirty_watch_missing(r->watch);
	if (gpa != RAM_NONE)
		fail_msg("page 0x%llx changed, and is not in the log",
			 (unsigned long long)gpa);
	gpa = dirty_watch_excess(r->watch);
	if (gpa != RAM_NONE)
		fail_msg("page 0x%llx is in the log, and was not written",
			 (unsigned long long)gpa);
}

static void run_round(const struct fixture *f, struct receiver *r,
		      unsigned send)
{
	offer(r, send);
	assert_int_equal(dirty_watch_start(r->watch), 0);
	for (unsigned left = send_frames(f, r); left > 0; left--)
		take_frame(r);
	for (unsigned i = 0; i < send; i++)
		wait_used(r->d->pairs[0].transmit, NULL);
	assert_int_equal(dirty_watch_stop(r->watch), 0);
	log_is_exact(r);
}

static void try_guest(const struct fixture *f, uint64_t without, bool log_rings)
{
	const struct net_options o = {
		.queue_size = RING,
		.buffers = UINT_MAX,
		.poll = true,
		.pages_apart = true,
		.without = without,
	};
	struct receiver r = {.d = fixture_open(f, &o)};

	make_chains(&r);
	assert_int_equal(
		dirty_watch_new(r.d->fe, r.d->rings, 2, log_rings, &r.watch),
		0);
	for (unsigned i = 0; i < ARRAY_SIZE(sent); i++)
		run_round(f, &r, sent[i]);
	dirty_watch_free(r.watch);
	net_driver_free(r.d);
}

static void try_guests(const struct fixture *f, uint64_t without,
		       const unsigned *features, unsigned count)
{
	for (unsigned bits = 0; bits < 1u << count; bits++) {
		uint64_t lacks = without;

		for (unsigned i = 0; i < count; i++)
			if (bits >> i & 1)
				lacks |= BIT(features[i]);
		try_guest(f, lacks, true);
	}
}

static void all_that_is_written_is_in_the_dirty_log(void **state)
{
	static const unsigned features[] = {VIRTIO_F_RING_PACKED,
					    VIRTIO_RING_F_INDIRECT_DESC,
					    VIRTIO_RING_F_EVENT_IDX, IN_ORDER};

	try_guests(*state, 0, features, ARRAY_SIZE(features));
}

static void so_it_is_with_a_buffer_for_each_frame(void **state)
{
	static const unsigned features[] = {VIRTIO_F_RING_PACKED, IN_ORDER};

	try_guests(*state, NET_BIT(MRG_RXBUF), features, ARRAY_SIZE(features));
}

static void rings_are_in_the_log_only_if_asked_for(void **state)
{
	try_guest(*state, 0, false);
	try_guest(*state, BIT(VIRTIO_F_RING_PACKED), false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DAEMON_TEST(all_that_is_written_is_in_the_dirty_log),
		DAEMON_TEST(so_it_is_with_a_buffer_for_each_frame),
		DAEMON_TEST(rings_are_in_the_log_only_if_asked_for),
	};

	namespace_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
