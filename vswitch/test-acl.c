/* SPDX-License-Identifier: Apache-2.0 */
/* ACLs: what each key of a rule fits, beside a search through the rules one by
 * one. */
#include "vswitch/acl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "vswitch/test-acl-frame.h"
#include "vswitch/test-eal.h"

enum {
	RANDOM_LISTS = 12,
	RANDOM_RULES = 40,
	FRAMES = 400,
};

static struct prefix prefix_of(const char *text)
{
	struct prefix prefix;

	assert_int_equal(prefix_read(text, &prefix), 0);
	return prefix;
}

static void rule_without_keys_fits_everything(void **state)
{
	static const enum net_l3 kinds[] = {NET_L3_NONE, NET_L3_IPV4,
					    NET_L3_IPV6};

	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		make(kinds[i], NET_L4_NONE, 60);
		assert_int_equal(try((struct acl_rule){0}), ACL_DENIED);
	}
}

static void addresses_of_stations_are_compared(void **state)
{
	const uint64_t all = (UINT64_C(1) << 48) - 1;
	struct acl_match one = {0x020000000001, all};
	struct acl_match two = {0x020000000002, all};
	struct acl_match first = {0x020000000000, all & ~UINT64_C(0xffffff)};

	make(NET_L3_IPV4, NET_L4_UDP, 60);
	assert_int_equal(try((struct acl_rule){.from_mac = one}), ACL_DENIED);
	assert_int_equal(try((struct acl_rule){.from_mac = two}), ACL_PASS);
	assert_int_equal(try((struct acl_rule){.to_mac = two}), ACL_DENIED);
	assert_int_equal(try((struct acl_rule){.to_mac = one}), ACL_PASS);
	assert_int_equal(try((struct acl_rule){.to_mac = first}), ACL_DENIED);
	one.value ^= UINT64_C(1) << 32;
	two.value ^= UINT64_C(1) << 24;
	assert_int_equal(try((struct acl_rule){.from_mac = one}), ACL_PASS);
	assert_int_equal(try((struct acl_rule){.to_mac = two}), ACL_PASS);
}

static void vlan_and_type_are_compared(void **state)
{
	make(NET_L3_IPV6, NET_L4_UDP, 60);
	assert_int_equal(try((struct acl_rule){.vlan = 7}), ACL_DENIED);
	assert_int_equal(try((struct acl_rule){.vlan = 8}), ACL_PASS);
	assert_int_equal(try((struct acl_rule){.ethertype = 0x86dd}),
			 ACL_DENIED);
	assert_int_equal(try((struct acl_rule){.ethertype = 0x0800}), ACL_PASS);
	assert_int_equal(try((struct acl_rule){.family = 6}), ACL_DENIED);
	assert_int_equal(try((struct acl_rule){.family = 4}), ACL_PASS);
}

static void ip_addresses_are_compared(void **state)
{
	struct acl_rule rule = {.family = 4, .from = prefix_of("10.1.0.0/16")};

	make(NET_L3_IPV4, NET_L4_UDP, 60);
	memcpy(packet.data + packet.l3 + 12, (uint8_t[]){10, 1, 2, 3}, 4);
	memcpy(packet.data + packet.l3 + 16, (uint8_t[]){10, 2, 2, 3}, 4);
	take_packet();
	assert_int_equal(try(rule), ACL_DENIED);
	rule.to = prefix_of("10.2.2.3");
	assert_int_equal(try(rule), ACL_DENIED);
	rule.to = prefix_of("10.2.2.2");
	assert_int_equal(try(rule), ACL_PASS);
	rule = (struct acl_rule){.family = 6, .to = prefix_of("2001:db8::/33")};
	assert_int_equal(try(rule), ACL_PASS);
	make(NET_L3_IPV6, NET_L4_UDP, 60);
	memset(packet.data + packet.l3 + 24, 0xff, 16);
	put_be32(packet.data + packet.l3 + 24, 0x20010db8);
	put_be32(packet.data + packet.l3 + 28, 0x7fffffff);
	take_packet();
	assert_int_equal(try(rule), ACL_DENIED);
	put_be32(packet.data + packet.l3 + 28, 0x80000000);
	take_packet();
	assert_int_equal(try(rule), ACL_PASS);
}

static void protocols_and_ports_are_compared(void **state)
{
	struct acl_rule opens = {
		.has_protocol = true, .protocol = 6, .opens = true};
	struct acl_rule from = ports_rule(6, 0, UINT16_MAX);

	from.from_ports = (struct acl_range){SSH + 1, HIGH};
	make(NET_L3_IPV4, NET_L4_TCP, 60);
	assert_int_equal(try(ports_rule(6, SSH, SSH)), ACL_DENIED);
	assert_int_equal(try(ports_rule(6, 1, 1000)), ACL_DENIED);
	assert_int_equal(try(ports_rule(6, 23, 1000)), ACL_PASS);
	assert_int_equal(try(ports_rule(17, SSH, SSH)), ACL_PASS);
	assert_int_equal(try(from), ACL_DENIED);
	from.from_ports.last = HIGH - 1;
	assert_int_equal(try(from), ACL_PASS);
	packet.data[packet.l4 + 13] = 0x02;
	take_packet();
	assert_int_equal(try(opens), ACL_DENIED);
	packet.data[packet.l4 + 13] = 0x12;
	take_packet();
	assert_int_equal(try(opens), ACL_PASS);
	make(NET_L3_IPV6, NET_L4_UDP, 60);
	assert_int_equal(try(ports_rule(17, SSH, SSH)), ACL_DENIED);
	assert_int_equal(try(ports_rule(6, SSH, SSH)), ACL_PASS);
}

static void messages_are_compared(void **state)
{
	struct acl_rule rule = {.family = 4,
				.has_protocol = true,
				.protocol = 1,
				.has_icmp_type = true};

	make(NET_L3_IPV4, NET_L4_NONE, 60);
	packet.data[packet.l3 + 9] = 1;
	packet.data[packet.l4] = 0;
	take_packet();
	assert_int_equal(try(rule), ACL_DENIED);
	packet.data[packet.l4] = 8;
	take_packet();
	assert_int_equal(try(rule), ACL_PASS);
	/* What comes behind the first fragment has no type. */
	put_be16(packet.data + packet.l3 + 6, 5);
	packet.data[packet.l4] = 0;
	take_packet();
	assert_int_equal(try(rule), ACL_PASS);
	rule.has_icmp_type = false;
	assert_int_equal(try(rule), ACL_DENIED);
}

static void first_rule_that_fits_decides(void **state)
{
	struct acl_rule rules[] = {
		ports_rule(6, 23, 23),
		ports_rule(6, SSH, SSH),
		{.denies = true},
	};
	struct acl *acl;

	make(NET_L3_IPV4, NET_L4_TCP, 60);
	assert_int_equal(acl_new(rules, 3, &acl), 0);
	assert_int_equal(judge(acl), ACL_PASS);
	assert_int_equal(acl_hits(acl, 1), 1);
	assert_int_equal(acl_hits(acl, 2), 0);
	acl_free(acl);
	rules[0] = rules[2];
	assert_int_equal(acl_new(rules, 3, &acl), 0);
	assert_int_equal(judge(acl), ACL_DENIED);
	assert_int_equal(acl_hits(acl, 0), 1);
	acl_free(acl);
}

/* --- beside a plain search --------------------------------------------------- */

static bool fits_number(const struct acl_match *match, const uint8_t *mac)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < 6; i++)
		value = value << 8 | mac[i];
	return (value & match->mask) == match->value;
}

static bool fits_range(const struct acl_range *range, const uint8_t *port)
{
	return get_be16(port) >= range->first && get_be16(port) <= range->last;
}

static bool fits(const struct acl_rule *rule, const struct acl_key *key)
{
	return fits_number(&rule->from_mac, key->from_mac) &&
	       fits_number(&rule->to_mac, key->to_mac) &&
	       (!rule->vlan || rule->vlan == get_be16(key->vlan)) &&
	       (!rule->family || rule->family == key->family) &&
	       prefix_holds(&rule->from, key->from) &&
	       prefix_holds(&rule->to, key->to) &&
	       (!rule->has_protocol || rule->protocol == key->protocol) &&
	       (!rule->has_ports ||
		(key->has_transport &&
		 fits_range(&rule->from_ports, key->from_port) &&
		 fits_range(&rule->to_ports, key->to_port)));
}

static unsigned upto(unsigned count)
{
	return rand() % count;
}

/* Few values, so that rules and frames meet. */
static struct acl_rule random_rule(void)
{
	struct acl_rule rule = {.denies = upto(2)};

	if (upto(3) == 0)
		rule = ports_rule(upto(2) ? 6 : 17, upto(4), 4 + upto(4));
	rule.denies = upto(2);
	if (upto(4) == 0)
		rule.vlan = 1 + upto(3);
	if (upto(4) == 0)
		rule.to_mac = (struct acl_match){upto(4), 0xffffffffffff};
	if (upto(4) == 0)
		rule.from_mac =
			(struct acl_match){upto(2) << 8, 0xffffffffff00};
	if (upto(2)) {
		rule.family = upto(2) ? 4 : 6;
		rule.from.is_ipv6 = rule.to.is_ipv6 = rule.family == 6;
		rule.from.bits = upto(2) * 24;
		rule.from.bytes[2] = rule.from.bits ? upto(3) : 0;
		rule.to.bits = upto(2) * 31;
		rule.to.bytes[3] = rule.to.bits ? upto(3) << 1 : 0;
	}
	return rule;
}

static void random_key(struct acl_key *key)
{
	*key = (struct acl_key){.family = (uint8_t[]){0, 4, 6}[upto(3)]};
	put_be16(key->vlan, 1 + upto(3));
	key->to_mac[5] = upto(4);
	key->from_mac[4] = upto(2);
	key->from_mac[5] = upto(256);
	if (!key->family)
		return;
	key->from[2] = upto(3);
	key->to[3] = upto(6);
	key->protocol = (uint8_t[]){1, 6, 17}[upto(3)];
	key->has_transport = upto(4) > 0;
	if (!key->has_transport)
		return;
	put_be16(key->from_port, upto(9));
	put_be16(key->to_port, upto(9));
}

static void trie_finds_what_a_search_finds(void **state)
{
	struct acl_rule rules[RANDOM_RULES];
	struct acl_key keys[NET_BURST];
	const struct acl_key *pointers[NET_BURST];
	enum acl_verdict verdicts[NET_BURST];

	srand(1);
	for (unsigned n = 0; n < RANDOM_LISTS; n++) {
		uint64_t hits[RANDOM_RULES] = {0};
		struct acl *acl;

		for (unsigned i = 0; i < RANDOM_RULES; i++)
			rules[i] = random_rule();
		assert_int_equal(acl_new(rules, RANDOM_RULES, &acl), 0);
		for (unsigned at = 0; at < FRAMES; at++) {
			const unsigned count = 1 + upto(NET_BURST);

			for (unsigned i = 0; i < count; i++) {
				random_key(&keys[i]);
				pointers[i] = &keys[i];
			}
			acl_judge(acl, pointers, count, verdicts);
			for (unsigned i = 0; i < count; i++) {
				unsigned r = 0;

				while (r < RANDOM_RULES &&
				       !fits(&rules[r], &keys[i]))
					r++;
				assert_int_equal(verdicts[i],
						 r < RANDOM_RULES &&
								 rules[r].denies
							 ? ACL_DENIED
							 : ACL_PASS);
				if (r < RANDOM_RULES)
					hits[r]++;
			}
		}
		for (unsigned i = 0; i < RANDOM_RULES; i++)
			assert_int_equal(acl_hits(acl, i), hits[i]);
		acl_free(acl);
	}
}

/* What is compiled is freed; what is too much is refused. */
static void lists_come_and_go(void **state)
{
	static struct acl_rule rules[ACL_MAX_RULES + 1];
	struct acl *acl;

	for (unsigned i = 0; i <= ACL_MAX_RULES; i++) {
		rules[i] = ports_rule(6, i, i);
		rules[i].family = 4;
		rules[i].to.bits = 32;
		put_be32(rules[i].to.bytes, 0x0a000000 + i * 77);
	}
	assert_int_equal(acl_new(rules, 0, &acl), -EINVAL);
	assert_int_equal(acl_new(rules, ACL_MAX_RULES + 1, &acl), -EINVAL);
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(acl_new(rules, ACL_MAX_RULES, &acl), 0);
		acl_free(acl);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rule_without_keys_fits_everything),
		cmocka_unit_test(addresses_of_stations_are_compared),
		cmocka_unit_test(vlan_and_type_are_compared),
		cmocka_unit_test(ip_addresses_are_compared),
		cmocka_unit_test(protocols_and_ports_are_compared),
		cmocka_unit_test(messages_are_compared),
		cmocka_unit_test(first_rule_that_fits_decides),
		cmocka_unit_test(trie_finds_what_a_search_finds),
		cmocka_unit_test(lists_come_and_go),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
