/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guests that mean harm. After each attack the daemon is alive, the other pair
 * of queues goes on where only a ring was broken, no frame that makes no sense
 * has reached the wire, and the next guest is served.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "tests/net/fixture.h"

#define BIT(n)	      (UINT64_C(1) << (n))
#define NET_BIT(name) BIT(VIRTIO_NET_F_##name)
#define HOST_USO      56
#define GSO_UDP_L4    5

enum {
	PATIENCE_MS = 10000,
	RING = 256,
	PAYLOAD = 5000,
	AT_IP = 14,
	AT_TCP = 34,
	READ = 0,
	WRITE = VRING_DESC_F_WRITE,
	NEXT = VRING_DESC_F_NEXT,
	INDIRECT = VRING_DESC_F_INDIRECT,
	AVAIL = 1 << VRING_PACKED_DESC_F_AVAIL,
};

static uint8_t frame[FIXTURE_FRAME_BYTES], got[FIXTURE_FRAME_BYTES];

/* --- headers and frames: dropped, and counted by reason --- */

/* What a case changes of a good TSO frame of PAYLOAD bytes. */
struct lie {
	struct virtio_net_hdr_v1 header;
	size_t bytes;
	const uint32_t *cuts;
};

struct header_case {
	const char *name;
	const char *fault; /* NULL: it is delivered, mended */
	void (*tell)(struct lie *lie);
	uint64_t without; /* features not negotiated */
};

#define LIE(name, ...)                    \
	static void name(struct lie *lie) \
	{                                 \
		__VA_ARGS__;              \
	}

LIE(size_0, lie->header.gso_size = 0)
LIE(type_2, lie->header.gso_type = 2)
LIE(type_3, lie->header.gso_type = VIRTIO_NET_HDR_GSO_UDP)
LIE(type_7f, lie->header.gso_type = 0x7f)
LIE(type_ecn, lie->header.gso_type = VIRTIO_NET_HDR_GSO_ECN)
LIE(uso_ecn, lie->header.gso_type = GSO_UDP_L4 | VIRTIO_NET_HDR_GSO_ECN)
LIE(tso_ecn, lie->header.gso_type |= VIRTIO_NET_HDR_GSO_ECN)
LIE(no_csum, lie->header.flags = 0)
LIE(v6_of_v4, lie->header.gso_type = VIRTIO_NET_HDR_GSO_TCPV6)
LIE(uso_of_tcp, lie->header.gso_type = GSO_UDP_L4)
LIE(no_ip, put_be16(frame + 12, 0x88b5))
LIE(start_elsewhere, lie->header.csum_start = htole16(AT_TCP + 2))
LIE(place_elsewhere, lie->header.csum_offset = htole16(6))
LIE(fragment, put_be16(frame + AT_IP + 6, 0x2000))
LIE(later_fragment, put_be16(frame + AT_IP + 6, 0x00ff))
LIE(offset_0, frame[AT_TCP + 12] = 0)
LIE(offset_15, frame[AT_TCP + 12] = 15 << 4; lie->bytes = AT_TCP + 40)
LIE(ihl_0, frame[AT_IP] = 0x40)
LIE(ihl_15, frame[AT_IP] = 0x4f)
LIE(version_9, frame[AT_IP] = 0x95)
LIE(cut_in_tcp, lie->bytes = AT_TCP + 10)
LIE(cut_in_ip, lie->bytes = AT_IP + 10)
LIE(start_far, lie->header.gso_type = 0; lie->header.csum_start = 0xffff)
LIE(place_far, lie->header.gso_type = 0; lie->header.csum_offset = 0xffff)
LIE(both_far, lie->header.gso_type = 0;
    lie->header.csum_start = lie->header.csum_offset = 0xffff)
LIE(in_ethernet, lie->header.gso_type = 0; lie->header.csum_start = 0)
LIE(last_byte, lie->header.gso_type = 0;
    lie->header.csum_start = htole16(AT_TCP);
    lie->header.csum_offset = htole16(PAYLOAD + 20 - 1))
LIE(nothing, lie->bytes = 0)
LIE(one_byte, lie->bytes = 1)
LIE(thirteen, lie->bytes = 13)
LIE(too_long, lie->header = (struct virtio_net_hdr_v1){0};
    lie->bytes = NET_SEND_BYTES - NET_HEADER_BYTES)
LIE(ip_too_long, lie->bytes = AT_IP + 65536)
LIE(tags, memmove(frame + 12 + 40, frame + 12, 5000);
    for (unsigned i = 0; i < 10; i++) put_be32(frame + 12 + 4 * i, 0x81000001))
LIE(hdr_len, lie->header.hdr_len = 0xffff)
LIE(device_flags, lie->header.flags = 0xff)
LIE(num_buffers, lie->header.num_buffers = 0xffff)

static void ipv6(struct lie *lie, uint8_t next)
{
	uint8_t *ip = frame + AT_IP;

	memset(ip, 0, 200);
	put_be16(frame + 12, ETH_P_IPV6);
	ip[0] = 0x60;
	put_be16(ip + 4, PAYLOAD);
	ip[6] = next;
	lie->header.gso_type = VIRTIO_NET_HDR_GSO_TCPV6;
}

static void routing_header(struct lie *lie)
{
	ipv6(lie, IPPROTO_ROUTING);
	frame[AT_IP + 40] = IPPROTO_TCP;
	frame[AT_IP + 43] = 1; /* a segment is left */
	frame[AT_IP + 48 + 12] = 5 << 4;
	lie->header.csum_start = htole16(AT_IP + 48);
}

/* Each of them says that one more follows. */
static void many_extensions(struct lie *lie)
{
	ipv6(lie, 0);
	lie->header.csum_start = htole16(AT_IP + 40 + 10 * 8);
}

static const struct header_case header_cases[] = {
	{"gso_size is 0", "gso-size", size_0, 0},
	{"gso type 2", "gso-type", type_2, 0},
	{"gso type UFO", "gso-type", type_3, 0},
	{"gso type 0x7f", "gso-type", type_7f, 0},
	{"ECN of nothing", "gso-type", type_ecn, 0},
	{"ECN of UDP", "gso-type", uso_ecn, 0},
	{"TSO without a checksum", "gso-packet", no_csum, 0},
	{"TSO of IPv6 in IPv4", "gso-packet", v6_of_v4, 0},
	{"USO of TCP", "gso-packet", uso_of_tcp, 0},
	{"TSO of no IP", "gso-packet", no_ip, 0},
	{"TSO with its checksum elsewhere", "gso-packet", start_elsewhere, 0},
	{"TSO with its place elsewhere", "gso-packet", place_elsewhere, 0},
	{"TSO of a first fragment", "gso-packet", fragment, 0},
	{"TSO of a later fragment", "gso-packet", later_fragment, 0},
	{"TSO with a TCP header of 0 bytes", "gso-packet", offset_0, 0},
	{"TSO with a TCP header past the end", "gso-packet", offset_15, 0},
	{"TSO with an IP header of 0 bytes", "gso-packet", ihl_0, 0},
	{"TSO with IP options over TCP", "gso-packet", ihl_15, 0},
	{"TSO of IP version 9", "gso-packet", version_9, 0},
	{"TSO cut within TCP", "checksum", cut_in_tcp, 0},
	{"TSO cut within IP", "checksum", cut_in_ip, 0},
	{"TSO longer than IP can say", "gso-packet", ip_too_long, 0},
	{"TSO with a routing header", "gso-packet", routing_header, 0},
	{"TSO with extensions without end", "gso-packet", many_extensions, 0},
	{"TSO behind ten tags", "gso-packet", tags, 0},
	{"checksum starts past the end", "checksum", start_far, 0},
	{"checksum's place past the end", "checksum", place_far, 0},
	{"checksum's sum overflows", "checksum", both_far, 0},
	{"checksum of the Ethernet header", "checksum", in_ethernet, 0},
	{"checksum over the last byte", "checksum", last_byte, 0},
	{"no frame at all", "runt", nothing, 0},
	{"a frame of one byte", "runt", one_byte, 0},
	{"a frame of 13 bytes", "runt", thirteen, 0},
	{"a frame over 64 KiB", "oversize", too_long, 0},
	{"checksum, not negotiated", "offload", start_far, NET_BIT(CSUM)},
	{"TSO, not negotiated", "offload", hdr_len, NET_BIT(HOST_TSO4)},
	{"ECN, not negotiated", "offload", tso_ecn, NET_BIT(HOST_ECN)},
	{"USO, not negotiated", "offload", uso_of_tcp, BIT(HOST_USO)},
	{"a wrong hdr_len", NULL, hdr_len, 0},
	{"flags that are the device's", NULL, device_flags, 0},
	{"num_buffers of 65535", NULL, num_buffers, 0},
};

static uint64_t count_fault(const struct fixture *f, const char *fault)
{
	char words[64];

	snprintf(words, sizeof(words), "sent dropped: %s ", fault);
	fixture_count(f);
	return process_log_number(&f->process, words);
}

static void expect_frame(const struct fixture *f, struct net_driver *d,
			 unsigned pair)
{
	static uint32_t seed;

	frame_make(frame, 300, ++seed);
	assert_int_equal(net_send(d, pair, NULL, frame, 300, NULL), 0);
	assert_int_equal(wire_receive(f, PATIENCE_MS, NULL, got), 300);
	assert_int_equal(frame_seed(got), seed);
}

static void try_header(const struct fixture *f, const struct header_case *c)
{
	const struct net_options o = {.without = c->without};
	struct net_driver *d = fixture_open(f, &o);
	uint64_t before = c->fault ? count_fault(f, c->fault) : 0;
	struct lie lie = {0};

	lie.bytes = frame_make_tso(frame, PAYLOAD, &lie.header);
	c->tell(&lie);
	assert_int_equal(
		net_send(d, 0, &lie.header, frame, lie.bytes, lie.cuts), 0);
	assert_int_equal(net_send_wait(d, 0), 0);
	if (c->fault) {
		assert_int_equal(count_fault(f, c->fault), before + 1);
	} else {
		assert_int_equal(wire_receive(f, PATIENCE_MS, NULL, got),
				 lie.bytes);
		assert_memory_equal(got, frame, lie.bytes);
	}
	expect_frame(f, d, 0);
	net_driver_free(d);
}

static void headers_that_lie_are_dropped(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(header_cases); i++) {
		print_message("# %s\n", header_cases[i].name);
		try_header(*state, &header_cases[i]);
	}
}

/* --- rings --- */

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
	 .head = RING},
	{.name = "split: a head of 65535",
	 .packed = false,
	 .ring = 1,
	 .descs = {{NEAR, 100, READ, 0}},
	 .count = 1,
	 .head = 0xffff},
	{.name = "split: a next that is no descriptor",
	 .packed = false,
	 .ring = 1,
	 .descs = {{NEAR, 100, NEXT, RING}},
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
	 .advance = RING + 1},
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
	ring->avail->ring[index % RING] = htole16(c->head);
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

/* The ring's error descriptor says that it was stopped. */
static void expect_broken(struct net_driver *d, unsigned ring)
{
	uint64_t count = 0;

	for (unsigned i = 0; i < PATIENCE_MS && count == 0; i++) {
		if (read(d->rings[ring]->err_fd, &count, sizeof(count)) < 0)
			count = 0;
		if (count == 0)
			usleep(1000);
	}
	assert_true(count > 0);
}

static void try_case(const struct fixture *f, const struct ring_case *c)
{
	const struct net_options o = {
		.pairs = 2,
		.queue_size = RING,
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
	expect_broken(d, c->ring);
	expect_frame(f, d, 1);
	net_driver_free(d);
	process_assert_alive(&f->process);
	d = fixture_open(f, NULL);
	expect_frame(f, d, 0);
	net_driver_free(d);
}

static void start_two_pairs(struct fixture *f)
{
	static const char *const options[] = {"--num-queue-pairs=2", NULL};

	fixture_start(f, options);
	fixture_plug(f);
}

static void rings_that_break_the_rules_stop_alone(void **state)
{
	start_two_pairs(*state);
	for (size_t i = 0; i < ARRAY_SIZE(ring_cases); i++) {
		print_message("# %s\n", ring_cases[i].name);
		try_case(*state, &ring_cases[i]);
	}
}

/* --- buffers of the wrong kind --- */

static void chain_too_short_for_its_header_is_dropped(void **state)
{
	struct fixture *f = *state;

	for (uint32_t bytes = 1; bytes < NET_HEADER_BYTES; bytes++) {
		struct net_driver *d = fixture_open(f, NULL);
		const struct driver_buffer buffer = {d->pairs[0].slots[0].gpa,
						     bytes, false};

		d->pairs[0].slots[0].busy = true;
		assert_int_equal(driver_ring_add(d->rings[1], &buffer, 1,
						 &d->pairs[0].slots[0]),
				 0);
		driver_ring_publish(d->rings[1]);
		driver_ring_kick(d->rings[1]);
		assert_int_equal(net_send_wait(d, 0), 0);
		expect_frame(f, d, 0);
		net_driver_free(d);
	}
	assert_int_equal(count_fault(f, "layout"), NET_HEADER_BYTES - 1);
}

static void data_in_writable_descriptors_is_not_sent(void **state)
{
	struct fixture *f = *state;
	struct net_driver *d = fixture_open(f, NULL);
	struct net_slot *slot = &d->pairs[0].slots[0];
	const struct driver_buffer buffers[] = {
		{slot->gpa, 512, false},
		{slot->gpa + 512, 512, true},
	};

	for (unsigned i = 0; i < 2; i++) {
		slot->busy = true;
		assert_int_equal(
			driver_ring_add(d->rings[1], buffers + i, 2 - i, slot),
			0);
		driver_ring_publish(d->rings[1]);
		driver_ring_kick(d->rings[1]);
		assert_int_equal(net_send_wait(d, 0), 0);
	}
	expect_frame(f, d, 0);
	assert_int_equal(count_fault(f, "layout"), 2);
	net_driver_free(d);
}

/* Nothing may be written where the guest offered to be read. */
static void readable_receive_buffers_stay_as_they_are(void **state)
{
	struct fixture *f = *state;
	const struct net_options o = {.buffers = UINT32_MAX};
	struct net_driver *d = fixture_open(f, &o);
	uint64_t gpa = d->pairs[0].slots[0].gpa;
	const struct driver_buffer buffers[] = {
		{gpa, 2048, false},
		{gpa + 4096, 2048, true},
	};
	uint8_t *data = ram_at(d->ram, gpa);

	memset(data, 0xee, 8192);
	assert_int_equal(driver_ring_add(d->rings[0], buffers, 2, data), 0);
	driver_ring_publish(d->rings[0]);
	driver_ring_kick_always(d->rings[0]);
	frame_make(frame, 300, 5);
	wire_send(f, NULL, frame, 300);
	assert_int_equal(driver_ring_wait(d->rings[0], false, PATIENCE_MS), 0);
	for (unsigned i = 0; i < 4096; i++)
		assert_int_equal(data[i], 0xee);
	assert_memory_equal(data + 4096 + NET_HEADER_BYTES, frame, 300);
	assert_int_equal(data[4096 + NET_HEADER_BYTES + 300], 0xee);
	net_driver_free(d);
}

static void receive_buffers_of_next_to_nothing_do_no_harm(void **state)
{
	struct fixture *f = *state;
	static const uint32_t sizes[] = {1, 11, 12, 13, 25};

	for (unsigned i = 0; i < 2 * ARRAY_SIZE(sizes); i++) {
		const struct net_options o = {
			.buffer_bytes = sizes[i / 2],
			.buffers = 10,
			.without = i % 2 ? NET_BIT(MRG_RXBUF) : 0,
		};
		struct net_driver *d = fixture_open(f, &o);

		frame_make(frame, 300, i);
		wire_send(f, NULL, frame, 300);
		expect_frame(f, d, 0);
		net_driver_free(d);
	}
}

/* --- memory and the conversation --- */

static void truncated_memory_stops_its_own_device(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 2; i++) {
		struct net_driver *d = fixture_open(f, NULL);

		for (unsigned region = 0; region < d->ram->count; region++)
			assert_int_equal(
				ftruncate(d->ram->regions[region].fd, 0), 0);
		if (i == 1)
			wire_send(f, NULL, frame, 300);
		driver_ring_kick_always(d->rings[1]);
		expect_broken(d, 1);
		process_assert_alive(&f->process);
		net_driver_free(d);
		d = fixture_open(f, NULL);
		expect_frame(f, d, 0);
		net_driver_free(d);
	}
}

/* Descriptors that change while they are read. */
static void descriptors_in_motion_do_no_harm(void **state)
{
	struct fixture *f = *state;
	const struct net_options o = {.without = BIT(VIRTIO_F_RING_PACKED)};
	struct net_driver *d = fixture_open(f, &o);
	struct driver_ring *ring = d->rings[1];
	uint16_t index = 0;

	for (unsigned i = 0; i < RING; i++) {
		ring->desc[i].addr = htole64(d->pairs[0].slots[0].gpa);
		ring->desc[i].len = htole32(100);
		ring->avail->ring[i] = htole16(i);
	}
	for (unsigned i = 0; i < 200000; i++) {
		struct vring_desc *desc = &ring->desc[i * 7 % RING];

		store_once(&desc->len, htole32(i % 3 ? 100 : UINT32_MAX));
		store_once(&desc->flags, htole16(i % 5 ? 0 : NEXT));
		store_once(&desc->next, htole16(i % RING));
		if (i % 16 == 0) {
			store_release(&ring->avail->idx, index += 3);
			driver_ring_kick_always(ring);
		}
	}
	net_driver_free(d);
	process_assert_alive(&f->process);
	d = fixture_open(f, NULL);
	expect_frame(f, d, 0);
	net_driver_free(d);
}

static void messages_that_make_no_sense_close_the_session(void **state)
{
	struct fixture *f = *state;
	static const struct {
		uint32_t request, index, num;
	} lies[] = {
		{VHOST_USER_SET_VRING_NUM, 4, 256},
		{VHOST_USER_SET_VRING_NUM, 0, 0},
		{VHOST_USER_SET_VRING_NUM, 0, 65536},
		{VHOST_USER_SET_VRING_ENABLE, 4, 1},
		{VHOST_USER_SET_VRING_ENABLE, 0, 2},
		{VHOST_USER_GET_VRING_BASE, 255, 0},
		{VHOST_USER_SET_FEATURES, UINT32_MAX, UINT32_MAX},
		{VHOST_USER_POSTCOPY_ADVISE, 0, 0},
		{VHOST_USER_REQUESTS + 1, 0, 0},
	};

	start_two_pairs(f);
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		struct net_driver *d = fixture_open(f, NULL);
		const struct vhost_vring_state payload = {lies[i].index,
							  lies[i].num};

		d->fe->need_reply = false;
		frontend_tell(d->fe, lies[i].request, &payload, sizeof(payload),
			      NULL, 0);
		assert_int_equal(frontend_wait_closed(d->fe, PATIENCE_MS), 0);
		net_driver_free(d);
		d = fixture_open(f, NULL);
		expect_frame(f, d, 0);
		net_driver_free(d);
	}
}

static void front_end_that_goes_at_any_byte_is_followed_by_another(void **state)
{
	struct fixture *f = *state;
	const struct vhost_user_header header = {VHOST_USER_SET_FEATURES,
						 VHOST_USER_VERSION, 8};
	uint8_t bytes[20] = {0};

	memcpy(bytes, &header, sizeof(header));
	for (size_t length = 0; length <= sizeof(bytes); length++) {
		struct frontend *fe;

		assert_int_equal(frontend_connect(f->process.socket, &fe), 0);
		frontend_send_raw(fe, bytes, length, NULL, 0);
		frontend_free(fe);
	}
	net_driver_free(fixture_open(f, NULL));
}

static void in_flight_region_of_nonsense_stops_the_ring(void **state)
{
	struct fixture *f = *state;

	for (unsigned seed = 1; seed < 20; seed++) {
		struct net_driver *d = fixture_open(f, NULL);
		uint8_t noise[4096];

		for (size_t i = 0; i < sizeof(noise); i++)
			noise[i] = (seed * 2654435761u >> (i % 23)) + i * seed;
		for (unsigned i = 0; i < 2; i++)
			assert_int_equal(frontend_ring_stop(d->fe, i, NULL), 0);
		assert_true(pwrite(d->fe->inflight_fd, noise, sizeof(noise),
				   0) > 0);
		frontend_set_inflight(d->fe);
		for (unsigned i = 0; i < 2; i++)
			frontend_ring_fd(d->fe, VHOST_USER_SET_VRING_KICK, i,
					 d->rings[i]->kick_fd);
		net_driver_free(d);
		process_assert_alive(&f->process);
	}
	net_driver_free(fixture_open(f, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DAEMON_TEST(headers_that_lie_are_dropped),
		FIXTURE_TEST(rings_that_break_the_rules_stop_alone),
		DAEMON_TEST(chain_too_short_for_its_header_is_dropped),
		DAEMON_TEST(data_in_writable_descriptors_is_not_sent),
		DAEMON_TEST(readable_receive_buffers_stay_as_they_are),
		DAEMON_TEST(receive_buffers_of_next_to_nothing_do_no_harm),
		DAEMON_TEST(truncated_memory_stops_its_own_device),
		DAEMON_TEST(descriptors_in_motion_do_no_harm),
		FIXTURE_TEST(messages_that_make_no_sense_close_the_session),
		DAEMON_TEST(
			front_end_that_goes_at_any_byte_is_followed_by_another),
		DAEMON_TEST(in_flight_region_of_nonsense_stops_the_ring),
	};

	namespace_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
