/* SPDX-License-Identifier: Apache-2.0 */
/* ACLs: what hides from rules what they look at, and what does not. */
#include "vswitch/test-acl-frame.h"
#include "vswitch/test-eal.h"

enum {
	EXTENSIONS = 8, /* as many as are looked behind */
	TCP = 6,
	UDP = 17,
	MORE = 0x2000, /* fragments, of IPv4 */
};

static void ports_do_not_hide(void **state)
{
	const struct acl_rule rule = ports_rule(6, SSH, SSH);
	const struct acl_rule link = {.vlan = 8};

	/* A header that is not whole, and none in sight. */
	make(NET_L3_IPV4, NET_L4_TCP, 0);
	frame.head_bytes = frame.bytes = packet.l4 + 8;
	net_frame_parse(frame.head, frame.head_bytes, &frame.layout);
	assert_int_equal(try(rule), ACL_HIDDEN);
	assert_int_equal(try(link), ACL_PASS);
	make(NET_L3_IPV6, NET_L4_TCP, 60);
	frame.head[packet.l3 + 6] = 60;
	frame.head[packet.l4 + 1] = 255;
	frame.head[packet.l4] = 6;
	net_frame_parse(frame.head, frame.head_bytes, &frame.layout);
	assert_int_equal(try(rule), ACL_HIDDEN);
	/* A later fragment: into the header, and behind it. */
	make(NET_L3_IPV4, NET_L4_TCP, 60);
	put_be16(packet.data + packet.l3 + 6, 1);
	take_packet();
	assert_int_equal(try(rule), ACL_HIDDEN);
	put_be16(packet.data + packet.l3 + 6, 4);
	take_packet();
	assert_int_equal(try(rule), ACL_PASS);
	assert_int_equal(
		try((struct acl_rule){.has_protocol = true, .protocol = 6}),
		ACL_DENIED);
	/* A version that is none. */
	make(NET_L3_IPV4, NET_L4_TCP, 60);
	frame.head[packet.l3] = 0x55;
	net_frame_parse(frame.head, frame.head_bytes, &frame.layout);
	assert_int_equal(try(rule), ACL_HIDDEN);
}

static void three_tags_hide_nothing(void **state)
{
	make(NET_L3_IPV4, NET_L4_TCP, 60);
	for (unsigned tags = 1; tags <= 3; tags++) {
		memmove(packet.data + 16, packet.data + 12, packet.bytes - 12);
		put_be16(packet.data + 12, 0x8100);
		packet.bytes += 4;
		take_packet();
		assert_int_equal(try(ports_rule(6, SSH, SSH)),
				 tags < 3 ? ACL_DENIED : ACL_HIDDEN);
	}
}

/* A rule that looks at IP, and fits none of the frames. */
static const struct acl_rule ip_rule = {.family = 4,
					.from = {.bits = 32, .bytes = {1}}};

static void make_ipv6(uint8_t protocol)
{
	make(NET_L3_IPV6, NET_L4_NONE, 70);
	packet.data[packet.l3 + 6] = protocol;
	memset(packet.data + packet.l4, 0, 70);
}

static void parse_cut(size_t bytes)
{
	take_packet();
	frame.head_bytes = frame.bytes = bytes;
	net_frame_parse(frame.head, frame.head_bytes, &frame.layout);
}

/* What comes behind the last of them nobody knows. */
static void chains_of_headers_hide_what_is_behind_them(void **state)
{
	static const struct {
		uint8_t protocol;
		bool hides;
	} ends[] = {
		{IPPROTO_HOPOPTS, true},  {IPPROTO_ROUTING, true},
		{IPPROTO_FRAGMENT, true}, {IPPROTO_NONE, true},
		{IPPROTO_DSTOPTS, true},  {IPPROTO_ESP, false},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(ends); i++) {
		make_ipv6(IPPROTO_DSTOPTS);
		for (unsigned n = 0; n < EXTENSIONS; n++)
			packet.data[packet.l4 + 8 * n] =
				n < EXTENSIONS - 1 ? IPPROTO_DSTOPTS
						   : ends[i].protocol;
		take_packet();
		assert_int_equal(try(ip_rule),
				 ends[i].hides ? ACL_HIDDEN : ACL_PASS);
		/* They are of IPv6 alone. */
		make(NET_L3_IPV4, NET_L4_NONE, 60);
		packet.data[packet.l3 + 9] = ends[i].protocol;
		take_packet();
		assert_int_equal(try(ip_rule), ACL_PASS);
	}
}

/* Neither is anything read that is out of sight. */
static void message_that_is_cut_off_is_hidden(void **state)
{
	static const enum net_l3 kinds[] = {NET_L3_IPV4, NET_L3_IPV6};

	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		const bool is_ipv4 = kinds[i] == NET_L3_IPV4;
		const uint8_t protocol =
			is_ipv4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
		const struct acl_rule rule = {.has_protocol = true,
					      .protocol = protocol,
					      .has_icmp_type = true,
					      .icmp_type = 135};
		struct acl_key key;

		make(kinds[i], NET_L4_NONE, 60);
		packet.data[packet.l3 + (is_ipv4 ? 9 : 6)] = protocol;
		packet.data[packet.l4] = 135;
		parse_cut(packet.l4 + 1);
		assert_int_equal(try(rule), ACL_DENIED);
		parse_cut(packet.l4);
		assert_int_equal(try(rule), ACL_HIDDEN);
		acl_key_of(&frame, 7, &key);
		assert_false(key.has_transport);
		assert_int_equal(key.icmp_type, 0);
	}
}

static void datagram_that_is_cut_off_is_hidden(void **state)
{
	make(NET_L3_IPV4, NET_L4_UDP, 60);
	parse_cut(packet.l4 + 8);
	assert_int_equal(try(ports_rule(UDP, SSH, SSH)), ACL_DENIED);
	parse_cut(packet.l4 + 7);
	assert_int_equal(try(ports_rule(UDP, SSH, SSH)), ACL_HIDDEN);
}

/* RFC 3128: the second eight bytes of TCP's header have its flags. */
static void only_what_overwrites_a_header_is_hidden(void **state)
{
	static const struct {
		uint16_t fragment; /* as IPv4 has it */
		uint8_t protocol;
		bool hides;
	} cases[] = {
		{1, TCP, true},	 {MORE | 1, TCP, true},	 {2, TCP, false},
		{1, UDP, false}, {MORE | 2, TCP, false},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		const enum acl_verdict wanted =
			cases[i].hides ? ACL_HIDDEN : ACL_PASS;

		make(NET_L3_IPV4, NET_L4_NONE, 60);
		packet.data[packet.l3 + 9] = cases[i].protocol;
		put_be16(packet.data + packet.l3 + 6, cases[i].fragment);
		take_packet();
		assert_int_equal(try(ip_rule), wanted);
		make_ipv6(IPPROTO_FRAGMENT);
		packet.data[packet.l4] = cases[i].protocol;
		put_be16(packet.data + packet.l4 + 2,
			 cases[i].fragment << 3 | !!(cases[i].fragment & MORE));
		take_packet();
		assert_int_equal(try(ip_rule), wanted);
	}
}

static void what_claims_to_be_ip_or_tagged_is_hidden(void **state)
{
	static const struct {
		uint16_t ethertype;
		bool hides;
	} cases[] = {
		{ETH_P_IP, true},     {ETH_P_IPV6, true},  {ETH_P_8021Q, true},
		{ETH_P_8021AD, true}, {ETH_P_QINQ1, true}, {ETH_P_ARP, false},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		make(NET_L3_NONE, NET_L4_NONE, 60);
		/* As many tags as are looked behind, and then this. */
		for (unsigned at = 12; at < 20; at += 4)
			put_be16(packet.data + at, ETH_P_8021Q);
		put_be16(packet.data + 20, cases[i].ethertype);
		packet.data[22] = 0x55;
		take_packet();
		assert_int_equal(try(ip_rule),
				 cases[i].hides ? ACL_HIDDEN : ACL_PASS);
	}
}

/* One rule that looks at IP is enough, whichever it is and by whatever key. */
static void list_that_looks_at_ip_does_so_by_any_rule(void **state)
{
	const struct acl_rule looks[] = {
		{.family = 6},
		{.has_protocol = true, .protocol = UDP},
		ports_rule(UDP, SSH, SSH),
	};
	const struct acl_rule link = {.vlan = 8};
	struct acl *acl;

	make(NET_L3_IPV4, NET_L4_TCP, 60);
	parse_cut(packet.l4 + 8);
	for (unsigned i = 0; i < ARRAY_SIZE(looks); i++) {
		for (unsigned at = 0; at < 3; at++) {
			struct acl_rule rules[] = {link, link, link};

			rules[at] = looks[i];
			assert_int_equal(acl_new(rules, 3, &acl), 0);
			assert_int_equal(judge(acl), ACL_HIDDEN);
			acl_free(acl);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ports_do_not_hide),
		cmocka_unit_test(three_tags_hide_nothing),
		cmocka_unit_test(chains_of_headers_hide_what_is_behind_them),
		cmocka_unit_test(message_that_is_cut_off_is_hidden),
		cmocka_unit_test(datagram_that_is_cut_off_is_hidden),
		cmocka_unit_test(only_what_overwrites_a_header_is_hidden),
		cmocka_unit_test(what_claims_to_be_ip_or_tagged_is_hidden),
		cmocka_unit_test(list_that_looks_at_ip_does_so_by_any_rule),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
