/* SPDX-License-Identifier: Apache-2.0 */
/* Rules on what passes a port: their schema, and what they say. */
#include <errno.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "vhost-net/net-mac.h"
#include "vswitch/acl.h"
#include "vswitch/config-check.h"
#include "vswitch/config-schema.h"
#include "vswitch/vlan.h"

enum {
	MAC_BITS = 48,
};

static const cyaml_strval_t actions[] = {
	{"allow", ACL_ALLOW},
	{"deny", ACL_DENY},
};

#define FIELD_WORD(key, member)                                              \
	FIELD_TEXT(key, CYAML_FLAG_OPTIONAL, struct acl_rule_config, member, \
		   CONFIG_TEXT_MAX)
#define FIELD_PREFIX(key, member)                                            \
	FIELD_TEXT(key, CYAML_FLAG_OPTIONAL, struct acl_rule_config, member, \
		   PREFIX_TEXT_BYTES - 1)

static const cyaml_schema_field_t rule_fields[] = {
	FIELD_TEXT("name", CYAML_FLAG_DEFAULT, struct acl_rule_config, name,
		   ACL_NAME_BYTES - 1),
	CYAML_FIELD_ENUM("action", CYAML_FLAG_STRICT, struct acl_rule_config,
			 action, actions, ARRAY_SIZE(actions)),
	FIELD_WORD("from-mac", from_mac),
	FIELD_WORD("to-mac", to_mac),
	FIELD_WORD("ethertype", ethertype),
	FIELD_NUMBER("vlan", struct acl_rule_config, vlan),
	FIELD_PREFIX("from", from),
	FIELD_PREFIX("to", to),
	FIELD_WORD("protocol", protocol),
	FIELD_WORD("from-ports", from_ports),
	FIELD_WORD("to-ports", to_ports),
	FIELD_WORD("icmp-type", icmp_type),
	FIELD_YES("opens", struct acl_rule_config, opens),
	CYAML_FIELD_END,
};

const cyaml_schema_value_t acl_rule_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct acl_rule_config,
			    rule_fields),
};

static const cyaml_schema_field_t acl_fields[] = {
	CYAML_FIELD_SEQUENCE("acl-in", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
			     struct acl_config, in, &acl_rule_schema, 1,
			     ACL_MAX_RULES),
	CYAML_FIELD_SEQUENCE(
		"acl-out", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
		struct acl_config, out, &acl_rule_schema, 1, ACL_MAX_RULES),
	CYAML_FIELD_END,
};

const cyaml_schema_value_t acl_config_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct acl_config, acl_fields),
};

/* --- words ------------------------------------------------------------------- */

struct word {
	const char *text;
	uint16_t number;
};

static const struct word ethertypes[] = {
	{"arp", ETH_P_ARP},
	{"ipv4", ETH_P_IP},
	{"ipv6", ETH_P_IPV6},
};

static const struct word protocols[] = {
	{"icmp", IPPROTO_ICMP},
	{"icmpv6", IPPROTO_ICMPV6},
	{"tcp", IPPROTO_TCP},
	{"udp", IPPROTO_UDP},
};

/* A word, or a number from @least to @most. */
static int read_number(const char *text, const struct word *words,
		       unsigned count, unsigned long least, unsigned long most,
		       unsigned long *ret_number)
{
	unsigned long number;
	char *end;

	for (unsigned i = 0; i < count; i++) {
		if (strcmp(text, words[i].text) == 0) {
			*ret_number = words[i].number;
			return 0;
		}
	}
	if (text[0] < '0' || text[0] > '9')
		return -EINVAL;
	number = strtoul(text, &end, 0);
	if (*end || number < least || number > most)
		return -EINVAL;
	*ret_number = number;
	return 0;
}

/* "22", "1024-65535" */
static int read_ports(const char *text, struct acl_range *ret_range)
{
	unsigned first, last;
	char end;
	int n = sscanf(text, "%5u-%5u%c", &first, &last, &end);

	if (n == 1 && sscanf(text, "%5u%c", &first, &end) == 1)
		last = first;
	else if (n != 2)
		return -EINVAL;
	if (first > last || last > UINT16_MAX)
		return -EINVAL;
	*ret_range = (struct acl_range){first, last};
	return 0;
}

/* An address of a station or a group, with so many bits that count. */
static int read_mac(const char *text, struct acl_match *ret_match)
{
	uint8_t mac[NET_MAC_BYTES];
	const char *behind = net_mac_parse(text, mac);
	unsigned bits = MAC_BITS;
	char end;

	*ret_match = (struct acl_match){0};
	if (!behind ||
	    (*behind && (sscanf(behind, "/%2u%c", &bits, &end) != 1 ||
			 bits == 0 || bits > MAC_BITS)))
		return -EINVAL;
	for (unsigned i = 0; i < NET_MAC_BYTES; i++)
		ret_match->value = ret_match->value << 8 | mac[i];
	ret_match->mask = ((UINT64_C(1) << bits) - 1) << (MAC_BITS - bits);
	return ret_match->value & ~ret_match->mask ? -EINVAL : 0;
}

/* --- a rule ------------------------------------------------------------------ */

static int take_mac(const char *text, const char *key, struct acl_match *match,
		    struct config_finding *f)
{
	if (!text || read_mac(text, match) == 0)
		return 0;
	return config_find(f, key,
			   "%s: give an address, as in 52:54:00:12:34:56, or "
			   "its first bits, as in 52:54:00:00:00:00/24",
			   text);
}

static int take_link(const struct acl_rule_config *c, struct acl_rule *rule,
		     struct config_finding *f)
{
	unsigned long number = 0;
	int err = take_mac(c->from_mac, "from-mac", &rule->from_mac, f);

	if (err == 0)
		err = take_mac(c->to_mac, "to-mac", &rule->to_mac, f);
	if (err < 0)
		return err;
	if (c->vlan > VLAN_MAX)
		return config_find(f, "vlan", "%u: give a VLAN from 1 to 4094",
				   c->vlan);
	rule->vlan = c->vlan;
	if (c->ethertype &&
	    read_number(c->ethertype, ethertypes, ARRAY_SIZE(ethertypes),
			ETH_P_802_3_MIN, UINT16_MAX, &number) < 0)
		return config_find(f, "ethertype",
				   "%s: give arp, ipv4, ipv6, or a number from "
				   "0x600 to 0xffff",
				   c->ethertype);
	rule->ethertype = number;
	return 0;
}

/* The kind of IP that some key asks for. */
static int take_family(struct acl_rule *rule, uint8_t family, const char *key,
		       struct config_finding *f)
{
	if (rule->family && rule->family != family)
		return config_find(f, key,
				   "this is of IPv%u, and the rest of the rule "
				   "of IPv%u",
				   family, rule->family);
	if (rule->ethertype &&
	    rule->ethertype != (family == 4 ? ETH_P_IP : ETH_P_IPV6))
		return config_find(f, key,
				   "this is of IPv%u, and the ethertype is not",
				   family);
	rule->family = family;
	return 0;
}

static int take_prefix(const char *text, const char *key, struct acl_rule *rule,
		       struct prefix *prefix, struct config_finding *f)
{
	if (!text)
		return 0;
	if (prefix_read(text, prefix) < 0)
		return config_find(f, key,
				   "%s: give an IP address or a prefix, as in "
				   "10.1.0.0/16 or fe80::/10",
				   text);
	return take_family(rule, prefix->is_ipv6 ? 6 : 4, key, f);
}

static int take_protocol(const struct acl_rule_config *c, struct acl_rule *rule,
			 struct config_finding *f)
{
	unsigned long number;

	if (!c->protocol)
		return 0;
	if (read_number(c->protocol, protocols, ARRAY_SIZE(protocols), 0,
			UINT8_MAX, &number) < 0)
		return config_find(f, "protocol",
				   "%s: give tcp, udp, icmp, icmpv6, or a "
				   "number from 0 to 255",
				   c->protocol);
	rule->has_protocol = true;
	rule->protocol = number;
	if (number == IPPROTO_ICMP || number == IPPROTO_ICMPV6)
		return take_family(rule, number == IPPROTO_ICMP ? 4 : 6,
				   "protocol", f);
	if (rule->ethertype && rule->ethertype != ETH_P_IP &&
	    rule->ethertype != ETH_P_IPV6)
		return config_find(f, "protocol", "only IP has one");
	return 0;
}

static int take_ports(const char *text, const char *key, struct acl_rule *rule,
		      struct acl_range *range, struct config_finding *f)
{
	*range = (struct acl_range){0, UINT16_MAX};
	if (!text)
		return 0;
	if (rule->protocol != IPPROTO_TCP && rule->protocol != IPPROTO_UDP)
		return config_find(f, key,
				   "protocol tcp or udp has to be there, too");
	if (read_ports(text, range) < 0)
		return config_find(f, key,
				   "%s: give a port, or a range as in "
				   "1024-65535",
				   text);
	rule->has_ports = true;
	return 0;
}

static int take_details(const struct acl_rule_config *c, struct acl_rule *rule,
			struct config_finding *f)
{
	unsigned long number = 0;

	if (c->opens && rule->protocol != IPPROTO_TCP)
		return config_find(f, "opens",
				   "protocol tcp has to be there, too");
	rule->opens = c->opens;
	if (!c->icmp_type)
		return 0;
	if (rule->protocol != IPPROTO_ICMP && rule->protocol != IPPROTO_ICMPV6)
		return config_find(
			f, "icmp-type",
			"protocol icmp or icmpv6 has to be there, too");
	if (read_number(c->icmp_type, NULL, 0, 0, UINT8_MAX, &number) < 0)
		return config_find(f, "icmp-type", "%s: give 0 to 255",
				   c->icmp_type);
	rule->has_icmp_type = true;
	rule->icmp_type = number;
	return 0;
}

static int take_rule(const struct acl_rule_config *c, struct acl_rule *rule,
		     struct config_finding *f)
{
	int err;

	*rule = (struct acl_rule){.denies = c->action == ACL_DENY};
	snprintf(rule->name, sizeof(rule->name), "%s", c->name);
	err = take_link(c, rule, f);
	if (err == 0)
		err = take_prefix(c->from, "from", rule, &rule->from, f);
	if (err == 0)
		err = take_prefix(c->to, "to", rule, &rule->to, f);
	if (err == 0)
		err = take_protocol(c, rule, f);
	if (err == 0)
		err = take_ports(c->from_ports, "from-ports", rule,
				 &rule->from_ports, f);
	if (err == 0)
		err = take_ports(c->to_ports, "to-ports", rule, &rule->to_ports,
				 f);
	return err < 0 ? err : take_details(c, rule, f);
}

/* --- a list ------------------------------------------------------------------ */

static int check_rules(const struct acl_rule_config *rules, unsigned count,
		       const char *key, struct config_finding *f)
{
	for (unsigned i = 0; i < count; i++) {
		struct acl_rule rule;

		if (take_rule(&rules[i], &rule, f) < 0)
			return config_find_below(f, "%s.%u", key, i);
		for (unsigned j = 0; j < i; j++) {
			if (strcmp(rules[i].name, rules[j].name) != 0)
				continue;
			config_find(f, "name", "%s: rule %u has it already",
				    rules[i].name, j + 1);
			return config_find_below(f, "%s.%u", key, i);
		}
	}
	return 0;
}

int acl_config_check(const struct acl_config *acl, struct config_finding *f)
{
	int err = check_rules(acl->in, acl->in_count, "acl-in", f);

	return err < 0 ? err
		       : check_rules(acl->out, acl->out_count, "acl-out", f);
}

int config_acl(const struct acl_rule_config *rules, unsigned count,
	       struct acl **ret_acl)
{
	struct config_finding none;
	struct acl_rule *taken;
	int err;

	*ret_acl = NULL;
	if (count == 0)
		return 0;
	taken = calloc(count, sizeof(*taken));
	if (!taken)
		return -ENOMEM;
	for (unsigned i = 0; i < count; i++)
		take_rule(&rules[i], &taken[i], &none);
	err = acl_new(taken, count, ret_acl);
	free(taken);
	return err;
}
