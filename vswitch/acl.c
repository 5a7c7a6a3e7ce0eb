/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/acl.h"

#include <assert.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <rte_acl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/barrier.h"
#include "base/bytes.h"

enum {
	/* What a list may become: memory of EAL's. */
	MAX_TRIE_BYTES = 8 << 20,
	ONE_CATEGORY = 1,
	TCP_SYN = 0x02,
	TCP_ACK = 0x10,
	AT_TCP_FLAGS = 13,
};

/* In the order of struct acl_key: a byte, and then words. */
enum field {
	FIELD_FAMILY,
	FIELD_PROTOCOL,
	FIELD_HAS_TRANSPORT,
	FIELD_ETHERTYPE,
	FIELD_VLAN,
	FIELD_ICMP_TYPE,
	FIELD_TCP_FLAGS,
	FIELD_TO_MAC,	    /* its first 4 bytes */
	FIELD_TO_MAC_END,   /* 2 */
	FIELD_FROM_MAC,	    /* 2 */
	FIELD_FROM_MAC_END, /* 4 */
	FIELD_FROM,	    /* and three more */
	FIELD_TO = FIELD_FROM + 4,
	FIELD_FROM_PORT = FIELD_TO + 4,
	FIELD_TO_PORT,
	FIELDS,
};

#define DEFINE(number, kind, bytes, word, at)                             \
	{                                                                 \
		.type = RTE_ACL_FIELD_TYPE_##kind, .size = bytes,         \
		.field_index = number, .input_index = word, .offset = at, \
	}
#define DEFINE_MEMBER(number, kind, bytes, word, member) \
	DEFINE(number, kind, bytes, word, offsetof(struct acl_key, member))
#define DEFINE_ADDRESS(number, word, member)                                 \
	DEFINE_MEMBER(number, MASK, 4, word, member[0]),                     \
		DEFINE_MEMBER((number) + 1, MASK, 4, (word) + 1, member[4]), \
		DEFINE_MEMBER((number) + 2, MASK, 4, (word) + 2, member[8]), \
		DEFINE_MEMBER((number) + 3, MASK, 4, (word) + 3, member[12])

static const struct rte_acl_field_def fields[FIELDS] = {
	DEFINE_MEMBER(FIELD_FAMILY, BITMASK, 1, 0, family),
	DEFINE_MEMBER(FIELD_PROTOCOL, BITMASK, 1, 1, protocol),
	DEFINE_MEMBER(FIELD_HAS_TRANSPORT, BITMASK, 1, 1, has_transport),
	DEFINE_MEMBER(FIELD_ETHERTYPE, BITMASK, 2, 1, ethertype),
	DEFINE_MEMBER(FIELD_VLAN, BITMASK, 2, 2, vlan),
	DEFINE_MEMBER(FIELD_ICMP_TYPE, BITMASK, 1, 2, icmp_type),
	DEFINE_MEMBER(FIELD_TCP_FLAGS, BITMASK, 1, 2, tcp_flags),
	DEFINE_MEMBER(FIELD_TO_MAC, BITMASK, 4, 3, to_mac[0]),
	DEFINE_MEMBER(FIELD_TO_MAC_END, BITMASK, 2, 4, to_mac[4]),
	DEFINE_MEMBER(FIELD_FROM_MAC, BITMASK, 2, 4, from_mac[0]),
	DEFINE_MEMBER(FIELD_FROM_MAC_END, BITMASK, 4, 5, from_mac[2]),
	DEFINE_ADDRESS(FIELD_FROM, 6, from),
	DEFINE_ADDRESS(FIELD_TO, 10, to),
	DEFINE_MEMBER(FIELD_FROM_PORT, RANGE, 2, 14, from_port),
	DEFINE_MEMBER(FIELD_TO_PORT, RANGE, 2, 14, to_port),
};

static_assert(offsetof(struct acl_key, protocol) % 4 == 0 &&
		      offsetof(struct acl_key, vlan) % 4 == 0 &&
		      offsetof(struct acl_key, to_mac) % 4 == 0 &&
		      offsetof(struct acl_key, from) % 4 == 0 &&
		      offsetof(struct acl_key, from_port) % 4 == 0,
	      "words of a key");

RTE_ACL_RULE_DEF(trie_rule, FIELDS);

struct acl {
	struct rte_acl_ctx *trie;
	bool looks_at_ip;
	bool is_shadow; /* the trie is another's */
	unsigned count;
	uint64_t *hits;
	struct acl_rule rules[];
};

/* --- compiling --------------------------------------------------------------- */

static void set_byte(struct rte_acl_field *field, uint8_t value, uint8_t mask)
{
	field->value.u8 = value;
	field->mask_range.u8 = mask;
}

/* 0: any. */
static void set_number(struct rte_acl_field *field, uint16_t number)
{
	field->value.u16 = number;
	field->mask_range.u16 = number ? UINT16_MAX : 0;
}

/* Its first @first_bytes and the others, each big-endian. */
static void set_mac(struct rte_acl_field *start, struct rte_acl_field *end,
		    const struct acl_match *mac, unsigned first_bytes)
{
	struct rte_acl_field *two = first_bytes == 2 ? start : end;
	struct rte_acl_field *four = first_bytes == 2 ? end : start;
	const unsigned two_at = first_bytes == 2 ? 32 : 0;
	const unsigned four_at = first_bytes == 2 ? 0 : 16;

	two->value.u16 = mac->value >> two_at;
	two->mask_range.u16 = mac->mask >> two_at;
	four->value.u32 = mac->value >> four_at;
	four->mask_range.u32 = mac->mask >> four_at;
}

static void set_address(struct rte_acl_field *words,
			const struct prefix *prefix)
{
	for (unsigned i = 0; i < 4; i++) {
		int bits = prefix->bits - 32 * (int)i;

		words[i].value.u32 = get_be32(prefix->bytes + 4 * i);
		words[i].mask_range.u32 = MAX(MIN(bits, 32), 0);
	}
}

static void set_range(struct rte_acl_field *field,
		      const struct acl_range *range, bool counts)
{
	field->value.u16 = counts ? range->first : 0;
	field->mask_range.u16 = counts ? range->last : UINT16_MAX;
}

static void translate(const struct acl_rule *rule, struct trie_rule *ret)
{
	const uint8_t flags = TCP_SYN | TCP_ACK;

	set_byte(&ret->field[FIELD_FAMILY], rule->family,
		 rule->family ? UINT8_MAX : 0);
	set_byte(&ret->field[FIELD_PROTOCOL], rule->protocol,
		 rule->has_protocol ? UINT8_MAX : 0);
	set_byte(&ret->field[FIELD_HAS_TRANSPORT], true,
		 rule->has_ports || rule->has_icmp_type || rule->opens
			 ? UINT8_MAX
			 : 0);
	set_number(&ret->field[FIELD_ETHERTYPE], rule->ethertype);
	set_number(&ret->field[FIELD_VLAN], rule->vlan);
	set_byte(&ret->field[FIELD_ICMP_TYPE], rule->icmp_type,
		 rule->has_icmp_type ? UINT8_MAX : 0);
	set_byte(&ret->field[FIELD_TCP_FLAGS], TCP_SYN,
		 rule->opens ? flags : 0);
	set_mac(&ret->field[FIELD_TO_MAC], &ret->field[FIELD_TO_MAC_END],
		&rule->to_mac, 4);
	set_mac(&ret->field[FIELD_FROM_MAC], &ret->field[FIELD_FROM_MAC_END],
		&rule->from_mac, 2);
	set_address(&ret->field[FIELD_FROM], &rule->from);
	set_address(&ret->field[FIELD_TO], &rule->to);
	set_range(&ret->field[FIELD_FROM_PORT], &rule->from_ports,
		  rule->has_ports);
	set_range(&ret->field[FIELD_TO_PORT], &rule->to_ports, rule->has_ports);
}

/* The earlier, the higher its priority. */
static int add_rules(struct acl *acl)
{
	int err = 0;

	for (unsigned i = 0; i < acl->count && err == 0; i++) {
		struct trie_rule rule = {
			.data.category_mask = ONE_CATEGORY,
			.data.priority = acl->count - i,
			.data.userdata = i + 1,
		};

		translate(&acl->rules[i], &rule);
		err = rte_acl_add_rules(acl->trie,
					(const struct rte_acl_rule *)&rule, 1);
	}
	return err;
}

static int compile(struct acl *acl)
{
	static unsigned made;
	char name[RTE_ACL_NAMESIZE];
	const struct rte_acl_param param = {
		.name = name,
		.socket_id = SOCKET_ID_ANY,
		.rule_size = RTE_ACL_RULE_SZ(FIELDS),
		.max_rule_num = acl->count,
	};
	struct rte_acl_config config = {
		.num_categories = ONE_CATEGORY,
		.num_fields = FIELDS,
		.max_size = MAX_TRIE_BYTES,
	};
	int err;

	/* DPDK finds lists by name, and would give us another's. */
	snprintf(name, sizeof(name), "acl-%u", made++);
	memcpy(config.defs, fields, sizeof(fields));
	acl->trie = rte_acl_create(&param);
	if (!acl->trie)
		return -ENOMEM;
	err = add_rules(acl);
	if (err == 0)
		err = rte_acl_build(acl->trie, &config);
	return err < 0 ? -ENOMEM : 0;
}

static bool looks_at_ip(const struct acl_rule *rule)
{
	return rule->family || rule->has_protocol || rule->has_ports;
}

int acl_new(const struct acl_rule *rules, unsigned count, struct acl **ret_acl)
{
	struct acl *acl;
	int err;

	if (count == 0 || count > ACL_MAX_RULES)
		return -EINVAL;
	acl = calloc(1, sizeof(*acl) + count * sizeof(*rules));
	if (!acl)
		return -ENOMEM;
	acl->count = count;
	memcpy(acl->rules, rules, count * sizeof(*rules));
	for (unsigned i = 0; i < count; i++)
		acl->looks_at_ip |= looks_at_ip(&rules[i]);
	acl->hits = calloc(count, sizeof(*acl->hits));
	err = acl->hits ? compile(acl) : -ENOMEM;
	if (err < 0) {
		acl_free(acl);
		return err;
	}
	*ret_acl = acl;
	return 0;
}

int acl_shadow(const struct acl *acl, struct acl **ret_shadow)
{
	const size_t bytes = sizeof(*acl) + acl->count * sizeof(*acl->rules);
	struct acl *shadow = malloc(bytes);

	if (!shadow)
		return -ENOMEM;
	memcpy(shadow, acl, bytes);
	shadow->is_shadow = true;
	shadow->hits = calloc(acl->count, sizeof(*acl->hits));
	if (!shadow->hits) {
		free(shadow);
		return -ENOMEM;
	}
	*ret_shadow = shadow;
	return 0;
}

void acl_free(struct acl *acl)
{
	if (!acl)
		return;
	if (!acl->is_shadow)
		rte_acl_free(acl->trie);
	free(acl->hits);
	free(acl);
}

unsigned acl_count(const struct acl *acl)
{
	return acl->count;
}

const struct acl_rule *acl_rule(const struct acl *acl, unsigned index)
{
	return &acl->rules[index];
}

uint64_t acl_hits(const struct acl *acl, unsigned index)
{
	return load_once(&acl->hits[index]);
}

/* --- judging ----------------------------------------------------------------- */

/* What follows has a type in its first byte. */
static bool is_icmp(uint8_t protocol)
{
	return protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6;
}

static bool ends_out_of_sight(uint8_t protocol)
{
	return protocol == IPPROTO_NONE || protocol == IPPROTO_HOPOPTS ||
	       protocol == IPPROTO_ROUTING || protocol == IPPROTO_DSTOPTS ||
	       protocol == IPPROTO_FRAGMENT;
}

/* A later fragment that begins inside the header of TCP. */
static bool overwrites(const struct net_rx_frame *frame)
{
	const uint8_t *ip = frame->head + frame->layout.l3_offset;

	if (frame->layout.protocol != IPPROTO_TCP)
		return false;
	if (frame->layout.l3 == NET_L3_IPV4)
		return (get_be16(ip + 6) & 0x1fff) == 1;
	return (get_be16(frame->head + frame->layout.l4_offset - 8 + 2) >> 3) ==
	       1;
}

static bool is_hidden(const struct net_rx_frame *frame)
{
	const struct net_frame *layout = &frame->layout;

	if (layout->l3 == NET_L3_NONE)
		return layout->ethertype == ETH_P_IP ||
		       layout->ethertype == ETH_P_IPV6 ||
		       layout->ethertype == ETH_P_8021Q ||
		       layout->ethertype == ETH_P_8021AD ||
		       layout->ethertype == ETH_P_QINQ1;
	if (layout->is_later_fragment)
		return overwrites(frame);
	if (layout->protocol == IPPROTO_TCP || layout->protocol == IPPROTO_UDP)
		return layout->l4 == NET_L4_NONE;
	if (is_icmp(layout->protocol))
		return layout->l4_offset >= frame->head_bytes;
	return layout->l3 == NET_L3_IPV6 && ends_out_of_sight(layout->protocol);
}

static void read_transport(const struct net_rx_frame *frame,
			   struct acl_key *key)
{
	const struct net_frame *layout = &frame->layout;
	const uint8_t *l4 = frame->head + layout->l4_offset;

	key->protocol = layout->protocol;
	if (key->is_hidden || layout->is_later_fragment)
		return;
	key->has_transport =
		layout->l4 != NET_L4_NONE || is_icmp(key->protocol);
	if (layout->l4 != NET_L4_NONE) {
		memcpy(key->from_port, l4, 2);
		memcpy(key->to_port, l4 + 2, 2);
	}
	if (layout->l4 == NET_L4_TCP)
		key->tcp_flags = l4[AT_TCP_FLAGS];
	else if (is_icmp(key->protocol))
		key->icmp_type = l4[0];
}

void acl_key_of(const struct net_rx_frame *frame, uint16_t vlan,
		struct acl_key *ret_key)
{
	const struct net_frame *layout = &frame->layout;
	const uint8_t *ip = frame->head + layout->l3_offset;

	*ret_key = (struct acl_key){.is_hidden = is_hidden(frame)};
	memcpy(ret_key->to_mac, frame->head, 6);
	memcpy(ret_key->from_mac, frame->head + 6, 6);
	put_be16(ret_key->ethertype, layout->ethertype);
	put_be16(ret_key->vlan, vlan);
	if (layout->l3 == NET_L3_IPV4) {
		ret_key->family = 4;
		memcpy(ret_key->from, ip + 12, PREFIX_IPV4_BYTES);
		memcpy(ret_key->to, ip + 16, PREFIX_IPV4_BYTES);
		read_transport(frame, ret_key);
	} else if (layout->l3 == NET_L3_IPV6) {
		ret_key->family = 6;
		memcpy(ret_key->from, ip + 8, PREFIX_IPV6_BYTES);
		memcpy(ret_key->to, ip + 24, PREFIX_IPV6_BYTES);
		read_transport(frame, ret_key);
	}
}

void acl_judge(struct acl *acl, const struct acl_key *const *keys,
	       unsigned count, enum acl_verdict *ret_verdicts)
{
	uint32_t found[NET_BURST] = {0};

	rte_acl_classify(acl->trie, (const uint8_t **)keys, found, count,
			 ONE_CATEGORY);
	for (unsigned i = 0; i < count; i++) {
		const unsigned rule = found[i];

		if (acl->looks_at_ip && keys[i]->is_hidden) {
			ret_verdicts[i] = ACL_HIDDEN;
			continue;
		}
		ret_verdicts[i] = rule && acl->rules[rule - 1].denies
					  ? ACL_DENIED
					  : ACL_PASS;
		if (rule)
			fetch_add_relaxed(&acl->hits[rule - 1], 1);
	}
}
