/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/cmocka.h"
#include "vhost-net/net-frame.h"
#include "vhost-net/test-packet.h"

static struct packet packet;
static struct net_frame frame;

static void parse_shape(struct packet_shape shape)
{
	packet_make(&packet, &shape);
	net_frame_parse(packet.data, MIN(packet.bytes, (size_t)NET_COPY_BYTES),
			&frame);
}

static void layouts_are_found(void **state)
{
	for (unsigned i = 0; i < 2 * 2 * 3 * 2; i++) {
		const struct packet_shape shape = {
			.l3 = i & 1 ? NET_L3_IPV4 : NET_L3_IPV6,
			.l4 = i & 2 ? NET_L4_TCP : NET_L4_UDP,
			.tags = i / 4 % 3,
			.ip_options_bytes = i / 12 ? 8 : 0,
			.tcp_options_bytes = i / 12 ? 12 : 0,
			.payload_bytes = 1000,
		};

		parse_shape(shape);
		assert_int_equal(frame.l3, shape.l3);
		assert_int_equal(frame.l4, shape.l4);
		assert_int_equal(frame.tags, shape.tags);
		assert_int_equal(frame.l3_offset, packet.l3);
		assert_int_equal(frame.l4_offset, packet.l4);
		assert_int_equal(frame.payload_offset, packet.payload);
		assert_false(frame.is_fragment);
		if (shape.tags > 0)
			assert_int_equal(frame.tci[shape.tags - 1],
					 99 + shape.tags);
	}
}

static void a_third_tag_is_payload(void **state)
{
	parse_shape((struct packet_shape){.l3 = NET_L3_IPV4, .tags = 3});
	assert_int_equal(frame.tags, NET_MAX_TAGS);
	assert_int_equal(frame.ethertype, 0x8100);
	assert_int_equal(frame.l3, NET_L3_NONE);
}

static void an_unknown_ethertype_has_no_layers(void **state)
{
	parse_shape((struct packet_shape){.payload_bytes = 100});
	assert_int_equal(frame.ethertype, 0x88b5);
	assert_int_equal(frame.l3, NET_L3_NONE);
	assert_int_equal(frame.l4, NET_L4_NONE);
}

static void no_byte_behind_those_given_is_read(void **state)
{
	const struct packet_shape shapes[] = {
		{.l3 = NET_L3_IPV4, .l4 = NET_L4_TCP, .tcp_options_bytes = 40},
		{.l3 = NET_L3_IPV6, .l4 = NET_L4_UDP, .tags = 2},
	};

	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		packet_make(&packet, &shapes[i]);
		for (size_t bytes = NET_ETHERNET_BYTES; bytes <= packet.bytes;
		     bytes++) {
			/* A sanitizer sees one byte over. */
			uint8_t *head = test_malloc(bytes);

			memcpy(head, packet.data, bytes);
			net_frame_parse(head, bytes, &frame);
			assert_int_equal(frame.l4 != NET_L4_NONE,
					 bytes >= packet.payload);
			test_free(head);
		}
	}
}

static void fragments_are_known_and_later_ones_have_no_ports(void **state)
{
	const struct packet_shape shape = {
		.l3 = NET_L3_IPV4, .l4 = NET_L4_UDP, .payload_bytes = 64};

	packet_make(&packet, &shape);
	put_be16(packet.data + packet.l3 + 6, 0x2000);
	net_frame_parse(packet.data, packet.bytes, &frame);
	assert_true(frame.is_fragment);
	assert_false(frame.is_later_fragment);
	assert_int_equal(frame.protocol, 17);
	assert_int_equal(frame.l4, NET_L4_UDP);
	put_be16(packet.data + packet.l3 + 6, 0x0001);
	net_frame_parse(packet.data, packet.bytes, &frame);
	assert_true(frame.is_fragment);
	assert_true(frame.is_later_fragment);
	assert_int_equal(frame.protocol, 17);
	assert_int_equal(frame.l4, NET_L4_NONE);
}

/* Puts @count headers of @kind and 8 bytes before the transport of a packet. */
static void insert_extensions(uint8_t kind, unsigned count, uint16_t word)
{
	const struct packet_shape shape = {.l3 = NET_L3_IPV6, .l4 = NET_L4_TCP};
	uint8_t *ip, *at;

	packet_make(&packet, &shape);
	ip = packet.data + packet.l3;
	at = packet.data + packet.l4;
	memmove(at + 8 * count, at, packet.bytes - packet.l4);
	packet.bytes += 8 * count;
	for (unsigned i = 0; i < count; i++, at += 8) {
		memset(at, 0, 8);
		at[0] = i + 1 < count ? kind : ip[6];
		put_be16(at + 2, word);
	}
	ip[6] = kind;
	net_frame_parse(packet.data, packet.bytes, &frame);
}

static void extension_headers_are_stepped_over(void **state)
{
	static const uint8_t kinds[] = {0, 43, 60};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		insert_extensions(kinds[i], 2, 0);
		assert_int_equal(frame.l4, NET_L4_TCP);
		assert_int_equal(frame.l4_offset, packet.l4 + 16);
		assert_int_equal(frame.has_routing_header, kinds[i] == 43);
	}
	insert_extensions(44, 1, 1);
	assert_true(frame.is_fragment);
	assert_int_equal(frame.l4, NET_L4_TCP);
	insert_extensions(44, 1, 8);
	assert_true(frame.is_fragment);
	assert_true(frame.is_later_fragment);
	assert_int_equal(frame.protocol, 6);
	assert_int_equal(frame.l4, NET_L4_NONE);
}

static void a_long_row_of_extension_headers_ends(void **state)
{
	insert_extensions(0, 8, 0);
	assert_int_equal(frame.l4, NET_L4_TCP);
	insert_extensions(0, 9, 0);
	assert_int_equal(frame.l4, NET_L4_NONE);
}

static void headers_that_contradict_themselves_are_not_believed(void **state)
{
	const struct packet_shape shape = {.l3 = NET_L3_IPV4, .l4 = NET_L4_TCP};

	packet_make(&packet, &shape);
	packet.data[packet.l3] = 0x44; /* 16 bytes long */
	net_frame_parse(packet.data, packet.bytes, &frame);
	assert_int_equal(frame.l3, NET_L3_NONE);
	packet.data[packet.l3] = 0x65; /* version 6 behind 0x0800 */
	net_frame_parse(packet.data, packet.bytes, &frame);
	assert_int_equal(frame.l3, NET_L3_NONE);
	packet_make(&packet, &shape);
	packet.data[packet.l4 + 12] = 0x40; /* 16 bytes of TCP */
	net_frame_parse(packet.data, packet.bytes, &frame);
	assert_int_equal(frame.l4, NET_L4_NONE);
}

static void expect_same_but_for_a_tag(const struct net_frame *plain,
				      const struct net_frame *tagged)
{
	assert_int_equal(tagged->l3, plain->l3);
	assert_int_equal(tagged->l4, plain->l4);
	assert_int_equal(tagged->protocol, plain->protocol);
	assert_int_equal(tagged->is_fragment, plain->is_fragment);
	assert_int_equal(tagged->is_later_fragment, plain->is_later_fragment);
	assert_int_equal(tagged->ethertype, plain->ethertype);
	assert_int_equal(tagged->l3_offset, plain->l3_offset + NET_TAG_BYTES);
	if (plain->l3 != NET_L3_NONE)
		assert_int_equal(tagged->l4_offset,
				 plain->l4_offset + NET_TAG_BYTES);
	if (plain->l4 != NET_L4_NONE)
		assert_int_equal(tagged->payload_offset,
				 plain->payload_offset + NET_TAG_BYTES);
}

/* The usual frame is read by a way of its own; with a tag it takes that of all. */
static void a_tag_changes_nothing_but_places(void **state)
{
	static const uint8_t places[] = {12, 13, 14, 20, 21, 23, 46};
	uint8_t tagged[NET_COPY_BYTES + NET_TAG_BYTES];
	struct net_frame with;

	srand(1);
	for (unsigned i = 0; i < 200000; i++) {
		const size_t bytes = 14 + rand() % (NET_COPY_BYTES - 13);
		const uint8_t place = places[rand() % sizeof(places)];

		packet_make(&packet,
			    &(struct packet_shape){
				    .l3 = NET_L3_IPV4,
				    .l4 = i & 1 ? NET_L4_TCP : NET_L4_UDP,
				    .payload_bytes = 100,
			    });
		if (rand() % 4)
			packet.data[place] = rand();
		memcpy(tagged, packet.data, 12);
		put_be16(tagged + 12, 0x8100);
		put_be16(tagged + 14, 7);
		memcpy(tagged + 16, packet.data + 12, bytes - 12);
		net_frame_parse(packet.data, bytes, &frame);
		/* A type that is a tag's has another meaning there. */
		if (frame.tags > 0)
			continue;
		net_frame_parse(tagged, bytes + NET_TAG_BYTES, &with);
		assert_int_equal(with.tags, 1);
		expect_same_but_for_a_tag(&frame, &with);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(layouts_are_found),
		cmocka_unit_test(a_third_tag_is_payload),
		cmocka_unit_test(an_unknown_ethertype_has_no_layers),
		cmocka_unit_test(no_byte_behind_those_given_is_read),
		cmocka_unit_test(
			fragments_are_known_and_later_ones_have_no_ports),
		cmocka_unit_test(extension_headers_are_stepped_over),
		cmocka_unit_test(a_long_row_of_extension_headers_ends),
		cmocka_unit_test(
			headers_that_contradict_themselves_are_not_believed),
		cmocka_unit_test(a_tag_changes_nothing_but_places),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
