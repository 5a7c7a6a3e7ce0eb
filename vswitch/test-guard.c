/* SPDX-License-Identifier: Apache-2.0 */
/* What a guarded port may send, and each way to lie about it. */
#include "vswitch/guard.h"

#include <string.h>

#include "base/bytes.h"
#include "tests/cmocka.h"
#include "vswitch/fdb.h"

enum {
	IPV6_AT = 14,
	ICMP_AT = IPV6_AT + 40,
	ARP = 0x0806,
	RARP = 0x8035,
	IPV4 = 0x0800,
	IPV6 = 0x86dd,
	SOLICIT_ROUTER = 133,
	ADVERTISE_ROUTER = 134,
	SOLICIT = 135,
	ADVERTISE = 136,
	REDIRECT = 137,
	ECHO = 128,
	MLD_REPORT = 131,
	MLD2_REPORT = 143,
	MAX_EXTENSIONS = 8, /* that vhost-net/net-frame.c goes through */
};

static const uint8_t own_mac[6] = {2, 0, 0, 0, 0, 1};
static const uint8_t other_mac[6] = {2, 0, 0, 0, 0, 2};
static const uint8_t own[4] = {10, 0, 0, 1}, other[4] = {10, 0, 0, 2};
static const uint8_t none[16];
static const uint8_t own6[16] = {0xfe, 0x80, [15] = 1};
static const uint8_t other6[16] = {0xfe, 0x80, [15] = 2};

static struct guard guard;
static struct net_rx_frame frame;

/* One MAC, one IPv4 and one IPv6 address. */
static int set_up(void **state)
{
	guard = (struct guard){.mac = fdb_key_of(own_mac, 0), .count = 2};
	prefix_read("10.0.0.1", &guard.addresses[0]);
	prefix_read("fe80::1", &guard.addresses[1]);
	return 0;
}

static void begin(const uint8_t *from, uint16_t ethertype, unsigned bytes)
{
	memset(&frame, 0, sizeof(frame));
	memset(frame.head, 0xff, 6);
	memcpy(frame.head + 6, from, 6);
	put_be16(frame.head + 12, ethertype);
	frame.bytes = bytes;
	frame.head_bytes = MIN(bytes, (unsigned)NET_COPY_BYTES);
}

static void expect(enum guard_verdict verdict)
{
	net_frame_parse(frame.head, frame.head_bytes, &frame.layout);
	assert_int_equal(guard_judge(&guard, &frame), verdict);
}

/* What it was, with a tag in front: nothing may hide behind it. */
static void put_tag(void)
{
	memmove(frame.head + 16, frame.head + 12, frame.head_bytes - 12);
	put_be16(frame.head + 12, 0x8100);
	put_be16(frame.head + 14, 0);
	frame.bytes += 4;
	frame.head_bytes += 4;
}

static void make_arp(uint16_t ethertype, unsigned operation,
		     const uint8_t *sender_mac, const uint8_t *sender)
{
	uint8_t *arp = frame.head + 14;

	begin(own_mac, ethertype, 60);
	memcpy(arp, (uint8_t[]){0, 1, 8, 0, 6, 4, 0, operation}, 8);
	memcpy(arp + 8, sender_mac, 6);
	memcpy(arp + 14, sender, 4);
}

static void make_ipv4(const uint8_t *source, uint16_t from, uint16_t to)
{
	uint8_t *ip = frame.head + 14;

	begin(own_mac, IPV4, 60);
	ip[0] = 0x45;
	ip[9] = 17;
	memcpy(ip + 12, source, 4);
	put_be16(ip + 20, from);
	put_be16(ip + 22, to);
}

/* A message of @bytes, its target, and the option @option about @mac. */
static void make_icmp(const uint8_t *source, uint8_t type,
		      const uint8_t *target, unsigned bytes, uint8_t option,
		      const uint8_t *mac)
{
	uint8_t *ip = frame.head + IPV6_AT, *icmp = frame.head + ICMP_AT;

	begin(own_mac, IPV6, ICMP_AT + bytes + (option ? 8 : 0));
	ip[0] = 0x60;
	put_be16(ip + 4, bytes + (option ? 8 : 0));
	ip[6] = 58;
	memcpy(ip + 8, source, 16);
	icmp[0] = type;
	if (target)
		memcpy(icmp + 8, target, 16);
	if (option) {
		icmp[bytes] = option;
		icmp[bytes + 1] = 1;
		memcpy(icmp + bytes + 2, mac, 6);
	}
}

/* Eight headers of options, and then one of @kind, whose end is out of sight. */
static void make_endless(uint8_t kind)
{
	uint8_t *ip = frame.head + IPV6_AT;

	begin(own_mac, IPV6, 200);
	ip[0] = 0x60;
	put_be16(ip + 4, 200 - ICMP_AT);
	ip[6] = 60;
	memcpy(ip + 8, own6, 16);
	for (unsigned i = 0; i < MAX_EXTENSIONS; i++)
		frame.head[ICMP_AT + 8 * i] = 60;
	frame.head[ICMP_AT + 8 * (MAX_EXTENSIONS - 1)] = kind;
	frame.head[ICMP_AT + 8 * MAX_EXTENSIONS] = 58;
}

/* Puts a header of 8 bytes and kind @kind in front of what IPv6 carries. */
static void put_extension(uint8_t kind, uint16_t fragment)
{
	uint8_t *ip = frame.head + IPV6_AT;

	memmove(ip + 48, ip + 40, frame.head_bytes - ICMP_AT);
	memset(ip + 40, 0, 8);
	ip[40] = ip[6];
	put_be16(ip + 42, fragment);
	ip[6] = kind;
	put_be16(ip + 4, get_be16(ip + 4) + 8);
	frame.bytes += 8;
	frame.head_bytes += 8;
}

static void frames_come_from_the_own_mac_address(void **state)
{
	make_ipv4(own, 1, 2);
	expect(GUARD_PASS);
	memcpy(frame.head + 6, other_mac, 6);
	expect(GUARD_MAC);
	guard.count = 0;
	begin(own_mac, 0x88b5, 60);
	expect(GUARD_PASS);
	begin(other_mac, 0x88b5, 60);
	expect(GUARD_MAC);
}

static void first_address_is_the_only_one(void **state)
{
	guard = (struct guard){0};
	begin(none, 0x88b5, 60);
	expect(GUARD_MAC);
	begin(other_mac, 0x88b5, 60);
	expect(GUARD_PASS);
	expect(GUARD_PASS);
	begin(own_mac, 0x88b5, 60);
	expect(GUARD_MAC);
}

static void arp_names_who_sends_it(void **state)
{
	make_arp(ARP, 1, own_mac, own);
	expect(GUARD_PASS);
	put_tag();
	expect(GUARD_PASS);
	make_arp(ARP, 2, own_mac, own);
	expect(GUARD_PASS);
	make_arp(ARP, 2, other_mac, own);
	expect(GUARD_ARP);
	put_tag();
	expect(GUARD_ARP);
	make_arp(ARP, 2, own_mac, other);
	expect(GUARD_ARP);
	make_arp(ARP, 1, own_mac, other);
	expect(GUARD_ARP);
	/* A probe, and an answer that is none. */
	make_arp(ARP, 1, own_mac, none);
	expect(GUARD_PASS);
	make_arp(ARP, 2, own_mac, none);
	expect(GUARD_ARP);
	make_arp(ARP, 9, own_mac, own);
	expect(GUARD_ARP);
	make_arp(RARP, 3, own_mac, none);
	expect(GUARD_PASS);
	make_arp(RARP, 3, other_mac, none);
	expect(GUARD_ARP);
	make_arp(RARP, 4, own_mac, own);
	expect(GUARD_ARP);
	/* Half of it, or of another kind. */
	make_arp(ARP, 1, own_mac, own);
	frame.bytes = frame.head_bytes = 41;
	expect(GUARD_ARP);
	make_arp(ARP, 1, own_mac, own);
	frame.head[14 + 4] = 8;
	expect(GUARD_ARP);
	/* Any address, but still its own MAC address. */
	guard.count = 0;
	make_arp(ARP, 2, own_mac, other);
	expect(GUARD_PASS);
	make_arp(ARP, 2, other_mac, other);
	expect(GUARD_ARP);
}

static void ipv4_comes_from_the_own_address(void **state)
{
	make_ipv4(other, 1, 2);
	expect(GUARD_IP);
	put_tag();
	put_tag();
	expect(GUARD_IP);
	put_tag();
	expect(GUARD_TYPE);
	make_ipv4(none, 68, 67);
	expect(GUARD_PASS);
	make_ipv4(none, 67, 68);
	expect(GUARD_IP);
	make_ipv4(none, 68, 66);
	expect(GUARD_IP);
	make_ipv4(none, 66, 67);
	expect(GUARD_IP);
	make_ipv4(none, 68, 67);
	frame.head[14 + 9] = 6;
	expect(GUARD_IP);
	make_ipv4(own, 1, 2);
	frame.head[14] = 0x44;
	expect(GUARD_IP);
	begin(own_mac, 0x88b5, 60);
	expect(GUARD_TYPE);
	begin(own_mac, 60, 60);
	expect(GUARD_TYPE);
	prefix_read("10.0.0.0/30", &guard.addresses[0]);
	make_ipv4(other, 1, 2);
	expect(GUARD_PASS);
	make_ipv4((const uint8_t[]){10, 0, 0, 4}, 1, 2);
	expect(GUARD_IP);
	guard.count = 0;
	make_ipv4(none, 1, 2);
	expect(GUARD_PASS);
}

/* A prefix of the one kind begins as addresses of the other do. */
static void addresses_are_of_one_kind(void **state)
{
	prefix_read("fe80::/10", &guard.addresses[1]);
	make_ipv4((const uint8_t[]){0xfe, 0x80, 0, 1}, 1, 2);
	expect(GUARD_IP);
	make_icmp((const uint8_t[16]){10, 0, 0, 1}, ECHO, NULL, 64, 0, NULL);
	expect(GUARD_IP);
}

static void ipv6_comes_from_the_own_address(void **state)
{
	make_icmp(own6, ECHO, NULL, 64, 0, NULL);
	expect(GUARD_PASS);
	make_icmp(other6, ECHO, NULL, 64, 0, NULL);
	expect(GUARD_IP);
	make_icmp(none, ECHO, NULL, 64, 0, NULL);
	expect(GUARD_IP);
	make_icmp(none, SOLICIT_ROUTER, NULL, 8, 0, NULL);
	expect(GUARD_PASS);
	/* A header of another version, and one that is cut off. */
	make_icmp(own6, ECHO, NULL, 64, 0, NULL);
	frame.head[IPV6_AT] = 0x50;
	expect(GUARD_IP);
	make_icmp(own6, ECHO, NULL, 64, 0, NULL);
	frame.bytes = frame.head_bytes = ICMP_AT - 1;
	expect(GUARD_IP);
	/* Reports of groups, which are no discovery whatever they end in. */
	make_icmp(none, MLD_REPORT, NULL, 24, 0, NULL);
	expect(GUARD_PASS);
	make_icmp(none, MLD2_REPORT, NULL, 28, 0, NULL);
	expect(GUARD_PASS);
	/* A later fragment, whose first byte is any; of whom? */
	make_icmp(own6, ADVERTISE_ROUTER, other6, 40, 0, NULL);
	put_extension(44, 1 << 3);
	expect(GUARD_PASS);
	make_icmp(own6, ECHO, NULL, 40, 0, NULL);
	put_extension(44, 1 << 3);
	expect(GUARD_PASS);
	make_icmp(none, ECHO, NULL, 40, 0, NULL);
	put_extension(44, 1 << 3);
	expect(GUARD_IP);
}

static void neighbours_are_told_the_truth(void **state)
{
	make_icmp(own6, SOLICIT, other6, 24, 1, own_mac);
	expect(GUARD_PASS);
	make_icmp(own6, SOLICIT, other6, 24, 1, other_mac);
	expect(GUARD_ND);
	make_icmp(own6, ADVERTISE, own6, 24, 2, own_mac);
	expect(GUARD_PASS);
	make_icmp(own6, ADVERTISE, own6, 24, 2, other_mac);
	expect(GUARD_ND);
	make_icmp(own6, ADVERTISE, other6, 24, 2, own_mac);
	expect(GUARD_ND);
	/* Detection of duplicates. */
	make_icmp(none, SOLICIT, own6, 24, 0, NULL);
	expect(GUARD_PASS);
	make_icmp(none, SOLICIT, other6, 24, 0, NULL);
	expect(GUARD_ND);
}

static void only_a_router_advertises_and_redirects(void **state)
{
	make_icmp(own6, ADVERTISE_ROUTER, NULL, 16, 1, own_mac);
	expect(GUARD_ND);
	guard.is_router = true;
	expect(GUARD_PASS);
	make_icmp(own6, ADVERTISE_ROUTER, NULL, 16, 1, other_mac);
	expect(GUARD_ND);
	make_icmp(own6, REDIRECT, other6, 40, 2, other_mac);
	expect(GUARD_PASS);
	guard.is_router = false;
	expect(GUARD_ND);
	guard.count = 0;
	expect(GUARD_ND);
}

static void discovery_does_not_hide(void **state)
{
	static const uint8_t extensions[] = {0, 43, 44, 60, 59};

	/* Behind extension headers, in a fragment, behind the end of sight. */
	make_icmp(own6, ADVERTISE, other6, 24, 0, NULL);
	put_extension(0, 0);
	put_extension(60, 0);
	expect(GUARD_ND);
	make_icmp(own6, ADVERTISE, own6, 24, 0, NULL);
	put_extension(44, 1);
	expect(GUARD_ND);
	make_icmp(own6, ADVERTISE, own6, 24, 0, NULL);
	frame.head[ICMP_AT - 40 + 6] = 60;
	frame.head[ICMP_AT] = 58;
	frame.head[ICMP_AT + 1] = 20;
	expect(GUARD_ND);
	make_icmp(own6, ADVERTISE, own6, 24, 0, NULL);
	for (unsigned i = 0; i < 5; i++)
		put_extension(60, 0);
	expect(GUARD_PASS);
	frame.head_bytes -= 8;
	frame.bytes -= 8;
	expect(GUARD_ND);
	/* Behind as many headers as nobody has, or a long one and another. */
	make_endless(58);
	frame.head[ICMP_AT + 8 * MAX_EXTENSIONS] = ECHO;
	expect(GUARD_PASS);
	for (unsigned i = 0; i < ARRAY_SIZE(extensions); i++) {
		make_endless(extensions[i]);
		expect(GUARD_ND);
	}
	make_endless(60);
	frame.head[ICMP_AT + 1] = 20;
	expect(GUARD_ND);
	/* Options that are none. */
	make_icmp(own6, ADVERTISE, own6, 24, 2, own_mac);
	frame.head[ICMP_AT + 25] = 0;
	expect(GUARD_ND);
	frame.head[ICMP_AT + 25] = 2;
	expect(GUARD_ND);
	make_icmp(own6, ADVERTISE, own6, 20, 0, NULL);
	expect(GUARD_ND);
}

static void prefixes_are_read_and_printed(void **state)
{
	static const char *const good[] = {"10.0.0.0/8", "0.0.0.0/0",
					   "10.1.2.3",	 "fe80::/10",
					   "::/0",	 "2001:db8::1"};
	static const char *const bad[] = {
		"",	      "10.0.0.1/8",  "10.0.0.0/33",
		"fe80::/129", "fe80::1/64",  "10.0.0/8",
		"10.0.0.0/",  "10.0.0.0/8x", "10.0.0.0/-1"};
	char text[PREFIX_TEXT_BYTES];
	struct prefix prefix;

	for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(prefix_read(good[i], &prefix), 0);
		prefix_print(&prefix, text);
		assert_string_equal(text, good[i]);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		assert_true(prefix_read(bad[i], &prefix) < 0);
	prefix_read("10.32.0.0/11", &prefix);
	assert_true(prefix_holds(&prefix, (const uint8_t[]){10, 63, 9, 9}));
	assert_false(prefix_holds(&prefix, (const uint8_t[]){10, 64, 9, 9}));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(frames_come_from_the_own_mac_address,
				       set_up),
		cmocka_unit_test_setup(first_address_is_the_only_one, set_up),
		cmocka_unit_test_setup(arp_names_who_sends_it, set_up),
		cmocka_unit_test_setup(ipv4_comes_from_the_own_address, set_up),
		cmocka_unit_test_setup(addresses_are_of_one_kind, set_up),
		cmocka_unit_test_setup(ipv6_comes_from_the_own_address, set_up),
		cmocka_unit_test_setup(neighbours_are_told_the_truth, set_up),
		cmocka_unit_test_setup(only_a_router_advertises_and_redirects,
				       set_up),
		cmocka_unit_test_setup(discovery_does_not_hide, set_up),
		cmocka_unit_test(prefixes_are_read_and_printed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
