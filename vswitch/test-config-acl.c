/* SPDX-License-Identifier: Apache-2.0 */
/* Rules as they are written: what each key makes of a rule, to the ends of its
 * range, and what is refused, under which key. */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/cmocka.h"
#include "vswitch/acl.h"
#include "vswitch/config.h"
#include "vswitch/test-eal.h"

#define ALL_BITS 0xffffffffffff

static int read_list(const char *list, struct acl_config **ret_config,
		     char ret_error[static CONFIG_FILE_ERROR_BYTES])
{
	char text[512];

	snprintf(text, sizeof(text), "%s\n", list);
	return acl_config_read(text, strlen(text), ret_config, ret_error);
}

static int read_rule(const char *keys, struct acl_config **ret_config,
		     char ret_error[static CONFIG_FILE_ERROR_BYTES])
{
	char list[256];

	snprintf(list, sizeof(list), "acl-in: [{name: it, action: deny, %s}]",
		 keys);
	return read_list(list, ret_config, ret_error);
}

/* The rule of @keys, which is there until the next one is. */
static const struct acl_rule *take(const char *keys)
{
	static struct acl *acl;
	struct acl_config *config;
	char error[CONFIG_FILE_ERROR_BYTES];

	if (read_rule(keys, &config, error) < 0)
		fail_msg("%s: %s", keys, error);
	acl_free(acl);
	assert_int_equal(config_acl(config->in, config->in_count, &acl), 0);
	acl_config_free(config);
	return acl_rule(acl, 0);
}

/* @key: @value, beside @others. */
static const struct acl_rule *take_value(const char *key, const char *value,
					 const char *others)
{
	char keys[128];

	snprintf(keys, sizeof(keys), "%s: \"%s\", %s", key, value, others);
	return take(keys);
}

/* It is wrong by @key. */
static void refuse(const char *keys, const char *key)
{
	struct acl_config *config;
	char error[CONFIG_FILE_ERROR_BYTES], words[64];

	if (read_rule(keys, &config, error) == 0)
		fail_msg("%s is taken", keys);
	snprintf(words, sizeof(words), ": %s: ", key);
	if (!strstr(error, words))
		fail_msg("%s: %s", keys, error);
}

static void refuse_value(const char *key, const char *value, const char *others)
{
	char keys[128];

	snprintf(keys, sizeof(keys), "%s: \"%s\", %s", key, value, others);
	refuse(keys, key);
}

static void rule_has_its_action_and_name(void **state)
{
	struct acl_config *config;
	char error[CONFIG_FILE_ERROR_BYTES];
	struct acl *acl;

	assert_int_equal(read_list("acl-out: [{name: a, action: allow}, "
				   "{name: b, action: deny}]",
				   &config, error),
			 0);
	assert_int_equal(config_acl(config->in, config->in_count, &acl), 0);
	assert_null(acl);
	assert_int_equal(config_acl(config->out, config->out_count, &acl), 0);
	acl_config_free(config);
	assert_int_equal(acl_count(acl), 2);
	assert_false(acl_rule(acl, 0)->denies);
	assert_string_equal(acl_rule(acl, 0)->name, "a");
	assert_true(acl_rule(acl, 1)->denies);
	assert_string_equal(acl_rule(acl, 1)->name, "b");
	acl_free(acl);
}

static void names_are_there_once_in_a_list(void **state)
{
	struct acl_config *config;
	char error[CONFIG_FILE_ERROR_BYTES];

	assert_int_equal(read_list("acl-in: [{name: a, action: deny}]\n"
				   "acl-out: [{name: a, action: deny}]",
				   &config, error),
			 0);
	acl_config_free(config);
	assert_true(read_list("acl-out: [{name: a, action: deny}, {name: b, "
			      "action: deny}, {name: b, action: allow}]",
			      &config, error) < 0);
	assert_non_null(strstr(error, ": name: b: rule 2 has it already"));
}

static void ethertypes_are_words_and_numbers(void **state)
{
	static const struct {
		const char *text;
		uint16_t ethertype;
	} good[] = {
		{"arp", 0x0806},    {"ipv4", 0x0800},  {"ipv6", 0x86dd},
		{"0x600", 0x0600},  {"1536", 0x0600},  {"0xffff", 0xffff},
		{"0x88B5", 0x88b5}, {"65535", 0xffff},
	};
	static const char *const bad[] = {"0x5ff", "65536", "-2048", " 2048",
					  "2048x", "",	    "ip"};

	for (unsigned i = 0; i < ARRAY_SIZE(good); i++)
		assert_int_equal(
			take_value("ethertype", good[i].text, "")->ethertype,
			good[i].ethertype);
	assert_int_equal(take("")->ethertype, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		refuse_value("ethertype", bad[i], "");
}

static void protocols_are_words_and_numbers(void **state)
{
	static const struct {
		const char *text;
		uint8_t protocol, family;
	} good[] = {
		{"tcp", 6, 0},	   {"udp", 17, 0}, {"icmp", 1, 4},
		{"icmpv6", 58, 6}, {"0", 0, 0},	   {"255", 255, 0},
	};
	static const char *const bad[] = {"256", "-1", "tcpx", "", "upd"};

	for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
		const struct acl_rule *rule =
			take_value("protocol", good[i].text, "");

		assert_true(rule->has_protocol);
		assert_int_equal(rule->protocol, good[i].protocol);
		assert_int_equal(rule->family, good[i].family);
	}
	assert_false(take("")->has_protocol);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		refuse_value("protocol", bad[i], "");
}

static void assert_range(const struct acl_range *range, uint16_t first,
			 uint16_t last)
{
	assert_int_equal(range->first, first);
	assert_int_equal(range->last, last);
}

static void ports_are_one_or_a_range(void **state)
{
	static const struct {
		const char *text;
		uint16_t first, last;
	} good[] = {
		{"22", 22, 22},		 {"0", 0, 0},
		{"65535", 65535, 65535}, {"1024-65535", 1024, 65535},
		{"7-7", 7, 7},
	};
	static const char *const bad[] = {
		"",    "22x",	"22-",	   "22-x", "1-2x",   "-5",
		"8-7", "65536", "1-65536", "1--1", "100000", "1-100000",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
		const struct acl_rule *rule =
			take_value("from-ports", good[i].text, "protocol: tcp");

		assert_true(rule->has_ports);
		assert_range(&rule->from_ports, good[i].first, good[i].last);
		assert_range(&rule->to_ports, 0, UINT16_MAX);
		rule = take_value("to-ports", good[i].text, "protocol: udp");
		assert_range(&rule->to_ports, good[i].first, good[i].last);
		assert_range(&rule->from_ports, 0, UINT16_MAX);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		refuse_value("from-ports", bad[i], "protocol: tcp");
	refuse_value("to-ports", "7", "protocol: icmp");
	refuse_value("from-ports", "7", "");
}

static void stations_have_addresses_or_their_first_bits(void **state)
{
	static const struct {
		const char *text;
		uint64_t value, mask;
	} good[] = {
		{"52:54:00:12:34:56", 0x525400123456, ALL_BITS},
		{"52:54:00:12:34:fE/48", 0x5254001234fe, ALL_BITS},
		{"52:54:00:00:00:00/24", 0x525400000000, 0xffffff000000},
		{"80:00:00:00:00:00/1", 0x800000000000, 0x800000000000},
	};
	static const char *const bad[] = {
		"",
		"52:54:00:12:34",
		"52:54:00:12:34:56:78",
		"52:54:00:12:34:5g",
		"52:54:00:12:34:-1",
		"52:54:00:12:34: 1",
		"52:54:00:12:34:56/",
		"52:54:00:12:34:56/47x",
		"52:54:00:12:34:01/47",
		"00:00:00:00:00:00/0",
		"00:00:00:00:00:00/49",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
		const struct acl_rule *rule =
			take_value("from-mac", good[i].text, "");

		assert_true(rule->from_mac.value == good[i].value);
		assert_true(rule->from_mac.mask == good[i].mask);
		assert_true(rule->to_mac.mask == 0);
		rule = take_value("to-mac", good[i].text, "");
		assert_true(rule->to_mac.value == good[i].value);
		assert_true(rule->to_mac.mask == good[i].mask);
		assert_true(rule->from_mac.mask == 0);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		refuse_value("from-mac", bad[i], "");
		refuse_value("to-mac", bad[i], "");
	}
}

static void vlans_end_at_4094(void **state)
{
	assert_int_equal(take("vlan: 4094")->vlan, 4094);
	refuse("vlan: 4095", "vlan");
}

static void prefixes_tell_the_kind_of_ip(void **state)
{
	const struct acl_rule *rule =
		take("from: 10.1.0.0/16, to: 10.2.3.4, ethertype: ipv4");

	assert_int_equal(rule->family, 4);
	assert_int_equal(rule->from.bits, 16);
	assert_memory_equal(rule->from.bytes, ((uint8_t[]){10, 1, 0, 0}), 4);
	assert_int_equal(rule->to.bits, 32);
	assert_memory_equal(rule->to.bytes, ((uint8_t[]){10, 2, 3, 4}), 4);
	rule = take("to: \"fe80::/10\", protocol: icmpv6, ethertype: ipv6");
	assert_int_equal(rule->family, 6);
	assert_int_equal(rule->from.bits, 0);
	assert_int_equal(rule->to.bits, 10);
	assert_memory_equal(rule->to.bytes, ((uint8_t[]){0xfe, 0x80, 0, 0}), 4);
	assert_int_equal(take("")->family, 0);
}

static void types_of_messages_are_numbers(void **state)
{
	const struct acl_rule *rule = take("protocol: icmp, icmp-type: 255");

	assert_true(rule->has_icmp_type);
	assert_int_equal(rule->icmp_type, 255);
	rule = take("protocol: icmpv6, icmp-type: 0");
	assert_true(rule->has_icmp_type);
	assert_int_equal(rule->icmp_type, 0);
	assert_false(take("protocol: icmp")->has_icmp_type);
	refuse_value("icmp-type", "256", "protocol: icmp");
	refuse_value("icmp-type", "echo", "protocol: icmp");
}

static void keys_that_do_not_go_together_are_refused(void **state)
{
	static const struct {
		const char *keys, *key;
	} cases[] = {
		{"from: 10.0.0.0/8, to: \"fe80::/10\"", "to"},
		{"from: \"fe80::/10\", protocol: icmp", "protocol"},
		{"to: 10.0.0.1, protocol: icmpv6", "protocol"},
		{"ethertype: ipv6, from: 10.0.0.1", "from"},
		{"ethertype: ipv4, to: \"::1\"", "to"},
		{"ethertype: arp, to: 10.0.0.1", "to"},
		{"ethertype: ipv6, protocol: icmp", "protocol"},
		{"ethertype: arp, protocol: tcp", "protocol"},
		{"protocol: tcp, icmp-type: 8", "icmp-type"},
		{"icmp-type: 8", "icmp-type"},
		{"protocol: udp, opens: yes", "opens"},
		{"opens: yes", "opens"},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
		refuse(cases[i].keys, cases[i].key);
	take("ethertype: ipv6, protocol: udp");
	take("ethertype: ipv4, protocol: tcp");
	assert_true(take("protocol: tcp, opens: yes")->opens);
	assert_false(take("protocol: tcp")->opens);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rule_has_its_action_and_name),
		cmocka_unit_test(names_are_there_once_in_a_list),
		cmocka_unit_test(ethertypes_are_words_and_numbers),
		cmocka_unit_test(protocols_are_words_and_numbers),
		cmocka_unit_test(ports_are_one_or_a_range),
		cmocka_unit_test(stations_have_addresses_or_their_first_bits),
		cmocka_unit_test(vlans_end_at_4094),
		cmocka_unit_test(prefixes_tell_the_kind_of_ip),
		cmocka_unit_test(types_of_messages_are_numbers),
		cmocka_unit_test(keys_that_do_not_go_together_are_refused),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
