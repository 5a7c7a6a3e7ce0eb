/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rings that a hostile driver writes by hand. The device is stopped and says
 * so on the error eventfd; the daemon serves the next connection.
 */
#include <errno.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "tests/blk/fixture.h"

enum {
	N = VRING_DESC_F_NEXT,
	W = VRING_DESC_F_WRITE,
	I = VRING_DESC_F_INDIRECT,
	MAX_DESCS = 4,
	BREAK_MS = 3000,
};

/* Addresses: an offset into a good buffer, or something absolute. */
#define GOOD  UINT64_C(0)
#define TABLE UINT64_C(0x1000000000000) /* the good indirect table */

struct hostile_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next; /* split only */
};

struct hostile_chain {
	const char *what;
	uint16_t head; /* split: in the avail ring */
	struct hostile_desc descs[MAX_DESCS];
	/* What lies at TABLE; flags and next as in descs. */
	struct hostile_desc table[MAX_DESCS];
};

/* The queue has 16 entries; buffers are good for 4096 bytes. */
static const struct hostile_chain split_chains[] = {
	{"head outside the table", 16, {{0}}, {{0}}},
	{"head far outside the table", 65535, {{0}}, {{0}}},
	{"next outside the table", 0, {{GOOD, 16, N, 16}}, {{0}}},
	{"next far outside", 0, {{GOOD, 16, N, 65535}}, {{0}}},
	{"a loop of one", 0, {{GOOD, 16, N, 0}}, {{0}}},
	{"a loop of two", 0, {{GOOD, 16, N, 1}, {GOOD, 16, N, 0}}, {{0}}},
	{"address outside memory",
	 0,
	 {{UINT64_C(1) << 40, 16, N, 1}, {GOOD, 1, W, 0}},
	 {{0}}},
	{"address in the hole",
	 0,
	 {{UINT64_C(1) << 31, 16, N, 1}, {GOOD, 1, W, 0}},
	 {{0}}},
	{"length beyond memory",
	 0,
	 {{GOOD, 16, N, 1}, {GOOD, UINT32_MAX, W, 0}},
	 {{0}}},
	{"address that wraps",
	 0,
	 {{GOOD, 16, N, 1}, {UINT64_MAX - 8, 16, W, 0}},
	 {{0}}},
	{"read after write",
	 0,
	 {{GOOD, 16, W | N, 1}, {GOOD, 16, N, 2}, {GOOD, 1, W, 0}},
	 {{0}}},
	{"no place for a status", 0, {{GOOD, 16, 0, 0}}, {{0}}},
	{"indirect and next",
	 0,
	 {{TABLE, 32, I | N, 1}, {GOOD, 1, W, 0}},
	 {{GOOD, 16, N, 1}, {GOOD, 1, W, 0}}},
	{"indirect inside indirect",
	 0,
	 {{TABLE, 32, I, 0}},
	 {{GOOD, 16, N, 1}, {TABLE, 32, I, 0}}},
	{"an empty table", 0, {{TABLE, 0, I, 0}}, {{0}}},
	{"a table of no whole entries", 0, {{TABLE, 17, I, 0}}, {{0}}},
	{"a table longer than memory", 0, {{TABLE, 0xfffffff0, I, 0}}, {{0}}},
	{"a table outside memory", 0, {{UINT64_C(1) << 41, 32, I, 0}}, {{0}}},
	{"next outside the indirect table",
	 0,
	 {{TABLE, 32, I, 0}},
	 {{GOOD, 16, N, 2}, {GOOD, 1, W, 0}}},
	{"a loop in the indirect table",
	 0,
	 {{TABLE, 32, I, 0}},
	 {{GOOD, 16, N, 1}, {GOOD, 1, N | W, 1}}},
};

static const struct hostile_chain packed_chains[] = {
	{"address outside memory",
	 0,
	 {{UINT64_C(1) << 40, 16, N, 0}, {GOOD, 1, W, 0}},
	 {{0}}},
	{"length beyond memory",
	 0,
	 {{GOOD, 16, N, 0}, {GOOD, UINT32_MAX, W, 0}},
	 {{0}}},
	{"address that wraps",
	 0,
	 {{GOOD, 16, N, 0}, {UINT64_MAX - 8, 16, W, 0}},
	 {{0}}},
	{"read after write",
	 0,
	 {{GOOD, 16, W | N, 0}, {GOOD, 16, N, 0}, {GOOD, 1, W, 0}},
	 {{0}}},
	{"no place for a status", 0, {{GOOD, 16, 0, 0}}, {{0}}},
	{"indirect inside indirect",
	 0,
	 {{TABLE, 32, I, 0}},
	 {{GOOD, 16, 0, 0}, {TABLE, 32, I, 0}}},
	{"an empty table", 0, {{TABLE, 0, I, 0}}, {{0}}},
	{"a table of no whole entries", 0, {{TABLE, 17, I, 0}}, {{0}}},
	{"a table longer than memory", 0, {{TABLE, 0xfffffff0, I, 0}}, {{0}}},
	{"a table outside memory", 0, {{UINT64_C(1) << 41, 32, I, 0}}, {{0}}},
};

static uint64_t place(uint64_t addr, uint64_t good, uint64_t table)
{
	if (addr == TABLE)
		return table;
	return addr == GOOD ? good : addr;
}

static void write_split(struct driver_ring *ring, const struct hostile_chain *c,
			uint64_t good, uint64_t table)
{
	struct vring_desc *indirect = ram_at(ring->ram, table);

	for (unsigned i = 0; i < MAX_DESCS; i++) {
		ring->desc[i] = (struct vring_desc){
			place(c->descs[i].addr, good, table), c->descs[i].len,
			c->descs[i].flags, c->descs[i].next};
		indirect[i] = (struct vring_desc){
			place(c->table[i].addr, good, table), c->table[i].len,
			c->table[i].flags, c->table[i].next};
	}
	ring->avail->ring[0] = c->head;
	store_release(&ring->avail->idx, 1);
}

static void write_packed(struct driver_ring *ring,
			 const struct hostile_chain *c, uint64_t good,
			 uint64_t table)
{
	struct vring_packed_desc *indirect = ram_at(ring->ram, table);
	unsigned count = 1;

	while (c->descs[count - 1].flags & N)
		count++;
	for (unsigned i = 0; i < MAX_DESCS; i++)
		indirect[i] = (struct vring_packed_desc){
			place(c->table[i].addr, good, table), c->table[i].len,
			0, c->table[i].flags};
	for (unsigned i = count; i-- > 0;) {
		struct vring_packed_desc *desc = &ring->packed[i];

		desc->addr = place(c->descs[i].addr, good, table);
		desc->len = c->descs[i].len;
		desc->id = 0;
		store_release(&desc->flags,
			      c->descs[i].flags |
				      1 << VRING_PACKED_DESC_F_AVAIL);
	}
}

/* The device must give the ring up, and only it. */
static void expect_broken(struct blk_driver *d, const char *what)
{
	struct pollfd pfd = {.fd = d->rings[0]->err_fd, .events = POLLIN};
	uint64_t ignored;

	driver_ring_kick_always(d->rings[0]);
	if (poll(&pfd, 1, BREAK_MS) != 1)
		fail_msg("%s: the device goes on", what);
	/* The conversation goes on, too. */
	if (frontend_get_u64(d->fe, VHOST_USER_GET_FEATURES, &ignored) < 0)
		fail_msg("%s: the connection ended", what);
}

static struct blk_driver *open_ring(const struct fixture *f, bool packed)
{
	const struct blk_options options = {
		.queue_size = 16,
		.poll = true,
		.without = packed ? 0 : UINT64_C(1) << VIRTIO_F_RING_PACKED,
	};
	struct blk_driver *d = fixture_open(f, &options);

	assert_int_equal(d->rings[0]->config.packed, packed);
	return d;
}

static void try_chains(const struct fixture *f, bool packed,
		       const struct hostile_chain *chains, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct blk_driver *d = open_ring(f, packed);
		uint64_t good = ram_alloc(d->ram, 4096, 4096);
		uint64_t table = ram_alloc(d->ram, 4096, 4096);

		if (packed)
			write_packed(d->rings[0], &chains[i], good, table);
		else
			write_split(d->rings[0], &chains[i], good, table);
		expect_broken(d, chains[i].what);
		blk_driver_free(d);
		fixture_assert_serves(f);
	}
}

static void hostile_split_chains_stop_their_device_only(void **state)
{
	try_chains(*state, false, split_chains, ARRAY_SIZE(split_chains));
}

static void hostile_packed_chains_stop_their_device_only(void **state)
{
	try_chains(*state, true, packed_chains, ARRAY_SIZE(packed_chains));
}

static void an_index_that_leaps_stops_the_device(void **state)
{
	struct fixture *f = *state;
	static const uint16_t leaps[] = {17, 18, 32768, 65535};

	for (unsigned i = 0; i < ARRAY_SIZE(leaps); i++) {
		struct blk_driver *d = open_ring(f, false);

		store_release(&d->rings[0]->avail->idx, leaps[i]);
		expect_broken(d, "an index that leaps");
		blk_driver_free(d);
	}
	fixture_assert_serves(f);
}

static void a_packed_chain_without_end_stops_the_device(void **state)
{
	struct fixture *f = *state;
	struct blk_driver *d = open_ring(f, true);
	uint64_t good = ram_alloc(d->ram, 4096, 4096);

	for (unsigned i = 16; i-- > 0;) {
		struct vring_packed_desc *desc = &d->rings[0]->packed[i];

		desc->addr = good;
		desc->len = 16;
		store_release(&desc->flags, N | 1 << VRING_PACKED_DESC_F_AVAIL);
	}
	expect_broken(d, "a chain without end");
	blk_driver_free(d);
	fixture_assert_serves(f);
}

/*
 * All memory vanishes while requests are in flight. The driver touches none
 * of it from then on: it would be its own undoing.
 */
static void memory_may_be_truncated_under_the_daemon(void **state)
{
	struct fixture *f = *state;

	for (unsigned round = 0; round < 16; round++) {
		const struct blk_options options = {
			.queues = 2,
			.without = round & 1
					   ? UINT64_C(1) << VIRTIO_F_RING_PACKED
					   : 0,
		};
		struct blk_driver *d = fixture_open(f, &options);
		struct blk_request r[64];

		for (unsigned i = 0; i < ARRAY_SIZE(r); i++) {
			assert_int_equal(blk_prepare(d, &r[i], VIRTIO_BLK_T_IN,
						     i * 8, 0, 4096),
					 0);
			assert_int_equal(blk_add(d, i % 2, &r[i]), 0);
		}
		driver_ring_publish(d->rings[0]);
		driver_ring_publish(d->rings[1]);
		if (round % 4 < 2)
			driver_ring_kick_always(d->rings[0]);
		for (unsigned i = 0; i < d->ram->count; i++)
			assert_int_equal(ftruncate(d->ram->regions[i].fd, 0),
					 0);
		driver_ring_kick_always(d->rings[0]);
		driver_ring_kick_always(d->rings[1]);
		usleep(2000 * (round % 3));
		frontend_ring_stop(d->fe, 0, NULL);
		blk_driver_free(d);
		process_assert_alive(&f->process);
	}
	fixture_assert_serves(f);
}

/* One region of three: the requests in it fail, or the device stops. */
static void half_the_memory_may_be_truncated_under_the_daemon(void **state)
{
	struct fixture *f = *state;

	for (unsigned gone = 0; gone < 3; gone++) {
		struct blk_driver *d = fixture_open(f, NULL);
		uint64_t stop_ignored;

		assert_int_equal(ftruncate(d->ram->regions[gone].fd, 4096), 0);
		driver_ring_kick_always(d->rings[0]);
		frontend_get_u64(d->fe, VHOST_USER_GET_FEATURES, &stop_ignored);
		blk_driver_free(d);
		fixture_assert_serves(f);
	}
}

static void a_front_end_may_go_with_requests_in_flight(void **state)
{
	struct fixture *f = *state;

	for (unsigned round = 0; round < 20; round++) {
		struct blk_driver *d = fixture_open(f, NULL);
		struct blk_request r[64];

		for (unsigned i = 0; i < ARRAY_SIZE(r); i++) {
			assert_int_equal(blk_prepare(d, &r[i], VIRTIO_BLK_T_OUT,
						     i * 8, 4096, 0),
					 0);
			assert_int_equal(blk_add(d, 0, &r[i]), 0);
		}
		blk_kick(d, 0);
		blk_driver_free(d);
		process_assert_alive(&f->process);
	}
	fixture_assert_serves(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DAEMON_TEST(hostile_split_chains_stop_their_device_only),
		DAEMON_TEST(hostile_packed_chains_stop_their_device_only),
		DAEMON_TEST(an_index_that_leaps_stops_the_device),
		DAEMON_TEST(a_packed_chain_without_end_stops_the_device),
		DAEMON_TEST(memory_may_be_truncated_under_the_daemon),
		DAEMON_TEST(half_the_memory_may_be_truncated_under_the_daemon),
		DAEMON_TEST(a_front_end_may_go_with_requests_in_flight),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
