/* SPDX-License-Identifier: Apache-2.0 */
/* Rings that break the rules: stopped, and nothing else is. */
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "tests/net/hostile.h"

enum {
	READ = 0,
	WRITE = VRING_DESC_F_WRITE,
	NEXT = VRING_DESC_F_NEXT,
	INDIRECT = VRING_DESC_F_INDIRECT,
	AVAIL = 1 << VRING_PACKED_DESC_F_AVAIL,
};

static uint8_t frame[FIXTURE_FRAME_BYTES];

struct desc {
	uint64_t addr; /* NEAR + …: in guest memory, from the frame's place */
	uint32_t len;
	uint16_t flags;
	uint16_t next; /* split */
};

enum {
	NEAR = 0,
	FAR = 1, /* in no region */
};

struct ring_case {
	const char *name;
	bool packed;
	unsigned ring; /* 0: what it receives, 1: what it sends */
	struct desc descs[4];
	unsigned count;
	uint16_t head;	  /* split; 0 is the first */
	uint16_t advance; /* split: of the index; 0: 1 */
	/* In the indirect table, if the first descriptor points to it. */
	struct desc table[3];
	unsigned table_count;
	uint64_t without;
};

#define OUTSIDE (UINT64_C(1) << 46)
#define WRAPS	(UINT64_MAX - 10)

static const struct ring_case ring_cases[] = {
	{.name = "split: outside memory",
	 .packed = false,
	 .ring = 1,
	 .descs = {{OUTSIDE, 100, READ, 0}},
	 .count = 1},
	{.name = "split: an address that wraps",
	 .packed = false,
	 .ring = 1,
	 .descs = {{WRAPS, 100, READ, 0}},
	 .count = 1},
	{.name = "split: four gigabytes",
	 .packed = false,
	 .ring = 1,
	 .descs = {{NEAR, UINT32_MAX, READ, 0}},
	 .count = 1},
	{.name = "split: a head that is no descriptor",
	 .packed = false,
	 .ring = 1,
	 .descs = {{NEAR, 100, READ, 0}},
	 .count = 1,
	 .head = HOSTILE_RING},
	{.name = "split: a head of 65535",
	 .packed = false,
	 .ring = 1,
	 .descs = {{NEAR, 100, READ, 0}},
	 .count = 1,
	 .head = 0xffff},
	{.name = "split: a next that is no descriptor",
	 .packed = false,
	 .ring = 1,
	 .descs = {{NEAR, 100, NEXT, HOSTILE_RING}},
	 .count = 1},
	{.name = "split: a next of 65535",
	 .packed = false,
	 .ring = 1,
	 .descs = {{NEAR, 100, NEXT, 0xffff}},
	 .count = 1},
	{.name = "split: a loop of one",
	 .packed = false,
	 .ring = 1,
	 .descs = {{NEAR, 100, NEXT, 0}},
	 .count = 1},
	{.name = "split: a loop of three",
	 .packed = false,
	 .ring = 1,
	 .descs = {{NEAR, 1, NEXT, 1}, {NEAR, 1, NEXT, 2}, {NEAR, 1, NEXT, 0}},
	 .count = 3},
	{.name = "split: an index too far ahead",
	 .packed = false,
	 .ring = 1,
	 .descs = {{NEAR, 100, READ, 0}},
	 .count = 1,
	 .advance = HOSTILE_RING + 1},
	{.name = "split: an index far behind",
	 .packed = false,
	 .ring = 1,
	 .descs = {{NEAR, 100, READ, 0}},
	 .count = 1,
	 .advance = 0x8000},
	{.name = "split: read after write",
	 .packed = false,
	 .ring = 1,
	 .descs = {{NEAR, 100, NEXT | WRITE, 1}, {NEAR, 100, READ, 0}},
	 .count = 2},
	{.name = "split: a table of 17 bytes",
	 .packed = false,
	 .ring = 1,
	 .descs = {{NEAR, 17, INDIRECT, 0}},
	 .count = 1},
	{.name = "split: a table of no bytes",
	 .packed = false,
	 .ring = 1,
	 .descs = {{NEAR, 0, INDIRECT, 0}},
	 .count = 1},
	{.name = "split: a table outside memory",
	 .packed = false,
	 .ring = 1,
	 .descs = {{OUTSIDE, 32, INDIRECT, 0}},
	 .count = 1},
	{.name = "split: a table that wraps",
	 .packed = false,
	 .ring = 1,
	 .descs = {{WRAPS, 32, INDIRECT, 0}},
	 .count = 1},
	{.name = "split: a table of four gigabytes",
	 .packed = false,
	 .ring = 1,
	 .descs = {{NEAR, 0xfffffff0, INDIRECT, 0}},
	 .count = 1},
	{.name = "split: a table with a next",
	 .packed = false,
	 .ring = 1,
	 .descs = {{NEAR, 32, INDIRECT | NEXT, 1}, {NEAR, 32, READ, 0}},
	 .count = 2},
	{.name = "split: a table in a table",
	 .packed = false,
	 .ring = 1,
	 .descs = {{NEAR, 16, INDIRECT, 0}},
	 .count = 1,
	 .table = {{NEAR, 16, INDIRECT, 0}},
	 .table_count = 1},
	{.name = "split: a loop in a table",
	 .packed = false,
	 .ring = 1,
	 .descs = {{NEAR, 32, INDIRECT, 0}},
	 .count = 1,
	 .table = {{NEAR, 1, NEXT, 1}, {NEAR, 1, NEXT, 0}},
	 .table_count = 2},
	{.name = "split: a next out of its table",
	 .packed = false,
	 .ring = 1,
	 .descs = {{NEAR, 32, INDIRECT, 0}},
	 .count = 1,
	 .table = {{NEAR, 1, NEXT, 2}, {NEAR, 1, READ, 0}},
	 .table_count = 2},
	{.name = "split: a table that was not negotiated",
	 .packed = false,
	 .ring = 1,
	 .descs = {{NEAR, 16, INDIRECT, 0}},
	 .count = 1,
	 .table = {{NEAR, 100, READ, 0}},
	 .table_count = 1,
	 .without = BIT(VIRTIO_RING_F_INDIRECT_DESC)},
	{.name = "split: receiving outside memory",
	 .packed = false,
	 .ring = 0,
	 .descs = {{OUTSIDE, 2048, WRITE, 0}},
	 .count = 1},
	{.name = "split: receiving in a loop",
	 .packed = false,
	 .ring = 0,
	 .descs = {{NEAR, 100, NEXT | WRITE, 0}},
	 .count = 1},
	{.name = "packed: outside memory",
	 .packed = true,
	 .ring = 1,
	 .descs = {{OUTSIDE, 100, READ, 0}},
	 .count = 1},
	{.name = "packed: an address that wraps",
	 .packed = true,
	 .ring = 1,
	 .descs = {{WRAPS, 100, READ, 0}},
	 .count = 1},
	{.name = "packed: four gigabytes",
	 .packed = true,
	 .ring = 1,
	 .descs = {{NEAR, UINT32_MAX, READ, 0}},
	 .count = 1},
	{.name = "packed: read after write",
	 .packed = true,
	 .ring = 1,
	 .descs = {{NEAR, 100, NEXT | WRITE, 0}, {NEAR, 100, READ, 0}},
	 .count = 2},
	{.name = "packed: a table outside memory",
	 .packed = true,
	 .ring = 1,
	 .descs = {{OUTSIDE, 32, INDIRECT, 0}},
	 .count = 1},
	{.name = "packed: a table of 17 bytes",
	 .packed = true,
	 .ring = 1,
	 .descs = {{NEAR, 17, INDIRECT, 0}},
	 .count = 1},
	{.name = "packed: a table with a next",
	 .packed = true,
	 .ring = 1,
	 .descs = {{NEAR, 32, INDIRECT | NEXT, 0}, {NEAR, 32, READ, 0}},
	 .count = 2},
	{.name = "packed: a table in a table",
	 .packed = true,
	 .ring = 1,
	 .descs = {{NEAR, 16, INDIRECT, 0}},
	 .count = 1,
	 .table = {{NEAR, 16, INDIRECT, 0}},
	 .table_count = 1},
	{.name = "packed: receiving outside memory",
	 .packed = true,
	 .ring = 0,
	 .descs = {{OUTSIDE, 2048, WRITE, 0}},
	 .count = 1},
};

static uint64_t place(const struct net_driver *d, uint64_t addr)
{
	return addr == NEAR ? d->pairs[0].slots[0].gpa : addr;
}

/* A split table's entry; a packed one differs in its last half. */
static void write_desc(const struct net_driver *d, bool packed, void *to,
		       const struct desc *desc, uint16_t more_flags)
{
	struct vring_desc *split = to;
	struct vring_packed_desc *entry = to;

	split->addr = htole64(place(d, desc->addr));
	split->len = htole32(desc->len);
	if (!packed) {
		split->next = htole16(desc->next);
		split->flags = htole16(desc->flags | more_flags);
		return;
	}
	entry->id = 0;
	store_release(&entry->flags, htole16(desc->flags | more_flags));
}

static void attack_split(struct net_driver *d, const struct ring_case *c)
{
	struct driver_ring *ring = d->rings[c->ring];
	uint16_t index = ring->avail->idx;

	for (unsigned i = 0; i < c->count; i++)
		write_desc(d, false, &ring->desc[i], &c->descs[i], 0);
	ring->avail->ring[index % HOSTILE_RING] = htole16(c->head);
	store_release(&ring->avail->idx,
		      (uint16_t)(index + (c->advance ? c->advance : 1)));
	driver_ring_kick_always(ring);
}

/* The first descriptor is the last to be made available. */
static void attack_packed(struct net_driver *d, const struct ring_case *c)
{
	struct driver_ring *ring = d->rings[c->ring];

	for (unsigned i = c->count; i-- > 0;)
		write_desc(d, true, &ring->packed[ring->avail_next + i],
			   &c->descs[i], AVAIL);
	driver_ring_kick_always(ring);
}

static void try_case(const struct fixture *f, const struct ring_case *c)
{
	const struct net_options o = {
		.pairs = 2,
		.queue_size = HOSTILE_RING,
		.without = c->without |
			   (c->packed ? 0 : BIT(VIRTIO_F_RING_PACKED)),
		/* A receive ring that is full would have no room for more. */
		.buffers = c->ring == 0 ? UINT32_MAX : 0,
	};
	struct net_driver *d = fixture_open(f, &o);

	for (unsigned i = 0; i < c->table_count; i++)
		write_desc(d, c->packed,
			   (uint8_t *)ram_at(d->ram, place(d, NEAR)) + 16 * i,
			   &c->table[i], 0);
	if (c->packed)
		attack_packed(d, c);
	else
		attack_split(d, c);
	if (c->ring == 0) {
		/* The TAP is looked at only when it has a frame. */
		frame_make(frame, 300, 1);
		wire_send(f, NULL, frame, 300);
	}
	hostile_expect_broken(d, c->ring);
	hostile_expect_frame(f, d, 1);
	net_driver_free(d);
	process_assert_alive(&f->process);
	d = fixture_open(f, NULL);
	hostile_expect_frame(f, d, 0);
	net_driver_free(d);
}

static void rings_that_break_the_rules_stop_alone(void **state)
{
	hostile_start_two_pairs(*state);
	for (size_t i = 0; i < ARRAY_SIZE(ring_cases); i++) {
		print_message("# %s\n", ring_cases[i].name);
		try_case(*state, &ring_cases[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(rings_that_break_the_rules_stop_alone),
	};

	namespace_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
