/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the daemon writes into a guest's memory is in the dirty log: data, status
 * and rings; of requests of many sizes and shapes, good and bad, several at once.
 */
#include <linux/virtio_config.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/blk/fixture.h"
#include "tests/frontend/dirty-watch.h"

#define BIT(n) (UINT64_C(1) << (n))

enum {
	IN_ORDER = 35,
	PAGE_BYTES = 4096,
	RING = 256,
	QUEUES = 2,
	REQUESTS = 24,
	ROUNDS = 3,
	/* Of a request's writable bytes at most. */
	MAX_IN_BYTES = 16 * PAGE_BYTES,
	PATIENCE_MS = 10000,
};

/* Where data and status are cut; the last is repeated. */
static const uint32_t cuts[][4] = {
	{UINT32_MAX, 0},
	{512, UINT32_MAX, 0},
	{1, 4095, 8191, 0},
	{PAGE_BYTES, 0},
};

struct sample {
	uint32_t type;
	uint64_t sector;
	uint32_t out_bytes, in_bytes;
};

static const struct sample samples[] = {
	{VIRTIO_BLK_T_IN, 0, 0, 512},
	{VIRTIO_BLK_T_IN, 9, 0, 3 * PAGE_BYTES},
	{VIRTIO_BLK_T_OUT, 64, 2 * PAGE_BYTES, 0},
	{VIRTIO_BLK_T_IN, 1, 0, 15 * PAGE_BYTES},
	{VIRTIO_BLK_T_FLUSH, 0, 0, 0},
	{VIRTIO_BLK_T_GET_ID, 0, 0, VIRTIO_BLK_ID_BYTES},
	/* Behind the end of the disk; nothing that there is. */
	{VIRTIO_BLK_T_IN, UINT64_C(1) << 40, 0, 2 * PAGE_BYTES},
	{999, 0, 0, PAGE_BYTES},
};

struct guest {
	struct blk_driver *d;
	struct dirty_watch *watch;
	struct blk_request requests[QUEUES][REQUESTS];
	unsigned round;
};

/* Somewhere in pages of its own. */
static uint64_t alloc_in(struct ram *ram, unsigned n)
{
	uint64_t at = ram_alloc(ram, MAX_IN_BYTES + PAGE_BYTES, PAGE_BYTES);

	assert_true(at != RAM_NONE);
	return at + n * 377 % PAGE_BYTES;
}

static void make_request(struct guest *g, unsigned queue, unsigned i)
{
	const struct sample *sample =
		&samples[(i + g->round) % ARRAY_SIZE(samples)];
	struct blk_request *r = &g->requests[queue][i];
	const uint64_t at = g->round == 0
				    ? alloc_in(g->d->ram, queue * REQUESTS + i)
				    : r->in_gpa;

	/* It makes room for what is written, too, at a place of its own. */
	assert_int_equal(blk_prepare(g->d, r, sample->type, sample->sector,
				     sample->out_bytes, 0),
			 0);
	r->in_gpa = at;
	r->in_bytes = sample->in_bytes + 1;
	r->in_cuts = cuts[(i + g->round / 2) % ARRAY_SIZE(cuts)];
	/* No status and no byte of the disk. */
	memset(ram_at(g->d->ram, at), 0x80 + g->round, r->in_bytes);
	assert_int_equal(blk_add(g->d, queue, r), 0);
}

static void log_is_exact(struct guest *g)
{
	uint64_t gpa;

	for (unsigned q = 0; q < QUEUES; q++)
		for (unsigned i = 0; i < REQUESTS; i++)
			dirty_watch_allow(g->watch, g->requests[q][i].in_gpa,
					  g->requests[q][i].in_bytes);
	gpa = dirty_watch_missing(g->watch);
	if (gpa != RAM_NONE)
		fail_msg("page 0x%llx changed, and is not in the log",
			 (unsigned long long)gpa);
	gpa = dirty_watch_excess(g->watch);
	if (gpa != RAM_NONE)
		fail_msg("page 0x%llx is in the log, and was not written",
			 (unsigned long long)gpa);
}

static void run_round(struct guest *g)
{
	for (unsigned q = 0; q < QUEUES; q++) {
		for (unsigned i = 0; i < REQUESTS; i++)
			make_request(g, q, i);
		driver_ring_publish(g->d->rings[q]);
	}
	assert_int_equal(dirty_watch_start(g->watch), 0);
	for (unsigned q = 0; q < QUEUES; q++)
		for (unsigned i = 0; i < REQUESTS; i++)
			assert_int_equal(blk_wait(g->d, q, &g->requests[q][i]),
					 0);
	assert_int_equal(dirty_watch_stop(g->watch), 0);
	log_is_exact(g);
	g->round++;
}

static void try_guest(const struct fixture *f, uint64_t without, bool log_rings)
{
	const struct blk_options options = {
		.queues = QUEUES,
		.queue_size = RING,
		.ram_bytes = 8 << 20,
		.without = without,
		.poll = true,
		.pages_apart = true,
	};
	struct guest g = {.d = fixture_open(f, &options)};

	assert_int_equal(dirty_watch_new(g.d->fe, g.d->rings, QUEUES, log_rings,
					 &g.watch),
			 0);
	for (unsigned i = 0; i < ROUNDS; i++)
		run_round(&g);
	dirty_watch_free(g.watch);
	blk_driver_free(g.d);
}

static void all_that_is_written_is_in_the_dirty_log(void **state)
{
	static const char *const options[] = {"--num-queues=2", NULL};
	static const unsigned features[] = {VIRTIO_F_RING_PACKED,
					    VIRTIO_RING_F_INDIRECT_DESC,
					    VIRTIO_RING_F_EVENT_IDX, IN_ORDER};

	fixture_start(*state, options);
	for (unsigned bits = 0; bits < 1 << ARRAY_SIZE(features); bits++) {
		uint64_t without = 0;

		for (unsigned i = 0; i < ARRAY_SIZE(features); i++)
			if (bits >> i & 1)
				without |= BIT(features[i]);
		try_guest(*state, without, true);
	}
	try_guest(*state, 0, false);
	try_guest(*state, BIT(VIRTIO_F_RING_PACKED), false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(all_that_is_written_is_in_the_dirty_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
