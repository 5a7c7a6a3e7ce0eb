/* SPDX-License-Identifier: Apache-2.0 */
/* Which frames are of one flow, and which are not. */
#include "vswitch/flow.h"

#include "tests/cmocka.h"
#include "vhost-net/test-packet.h"

enum {
	PAYLOAD_BYTES = 40,
	MORE_FRAGMENTS = 0x2000,
	AT_IPV4_ID = 4,
	AT_IPV4_FRAGMENT = 6,
	AT_IPV4_FROM = 12,
	AT_IPV6_FROM = 8,
};

static struct packet packet;

static uint32_t hash(void)
{
	struct net_rx_frame frame = {.bytes = packet.bytes};

	frame.head_bytes = MIN(packet.bytes, (size_t)NET_COPY_BYTES);
	memcpy(frame.head, packet.data, frame.head_bytes);
	net_frame_parse(frame.head, frame.head_bytes, &frame.layout);
	return flow_hash(&frame);
}

static void make(enum net_l3 l3, enum net_l4 l4)
{
	const struct packet_shape shape = {
		.l3 = l3, .l4 = l4, .payload_bytes = PAYLOAD_BYTES};

	packet_make(&packet, &shape);
}

/* Of @count bytes from @at each is part of what a flow is, or none is. */
static void try_bytes(size_t at, size_t count, bool is_part)
{
	const uint32_t before = hash();

	for (size_t i = at; i < at + count; i++) {
		packet.data[i] ^= 0x40;
		assert_int_equal(hash() != before, is_part);
		packet.data[i] ^= 0x40;
	}
}

static void flow_of_ip_has_addresses_and_ports(void **state)
{
	static const enum net_l4 kinds[] = {NET_L4_TCP, NET_L4_UDP};

	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		make(NET_L3_IPV4, kinds[i]);
		try_bytes(0, 2 * ETH_ALEN, false);
		try_bytes(packet.l3 + AT_IPV4_ID, 2, false);
		try_bytes(packet.l3 + AT_IPV4_FROM, 8, true);
		try_bytes(packet.l4, 4, true);
		try_bytes(packet.l4 + 4, 4, false);
		try_bytes(packet.payload, PAYLOAD_BYTES, false);
		make(NET_L3_IPV6, kinds[i]);
		try_bytes(0, 2 * ETH_ALEN, false);
		try_bytes(packet.l3 + AT_IPV6_FROM, 32, true);
		try_bytes(packet.l4, 4, true);
		try_bytes(packet.l4 + 4, 4, false);
		try_bytes(packet.payload, PAYLOAD_BYTES, false);
	}
}

static void flow_of_anything_else_has_stations(void **state)
{
	make(NET_L3_NONE, NET_L4_NONE);
	try_bytes(0, 2 * ETH_ALEN, true);
	try_bytes(packet.l3, PAYLOAD_BYTES, false);
	/* What is no transport of ours has no ports. */
	make(NET_L3_IPV4, NET_L4_NONE);
	try_bytes(packet.l3 + AT_IPV4_FROM, 8, true);
	try_bytes(packet.l4, PAYLOAD_BYTES, false);
}

/* The first one has ports, and the others have not. */
static void fragments_of_a_datagram_go_together(void **state)
{
	uint32_t first;

	make(NET_L3_IPV4, NET_L4_UDP);
	put_be16(packet.data + packet.l3 + AT_IPV4_FRAGMENT, MORE_FRAGMENTS);
	first = hash();
	put_be16(packet.data + packet.l3 + AT_IPV4_FRAGMENT, 6);
	memset(packet.data + packet.l4, 0x5a, PAYLOAD_BYTES);
	assert_int_equal(hash(), first);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flow_of_ip_has_addresses_and_ports),
		cmocka_unit_test(flow_of_anything_else_has_stations),
		cmocka_unit_test(fragments_of_a_datagram_go_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
