/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which frames may pass a port, in one direction: rules in order on addresses,
 * VLAN, types, IP addresses, protocol and ports, of which the first that fits
 * decides. What fits none passes. There is no state: a rule looks at one frame.
 *
 * Rules are compiled by DPDK's rte_acl into a trie that tells the rule of a frame
 * by so many steps as its key has words, however many rules there are. A
 * compiled list does not change; who wants another compiles it aside and puts it
 * in its place.
 *
 * Of a later fragment ports are not known, and no rule that asks for them fits
 * it. What hides them is dropped where rules look at IP: a transport or IP
 * header that is not whole (RFC 1858, RFC 7112), a fragment that would overwrite
 * one (RFC 3128), a third tag.
 *
 * EAL has to be initialised.
 */
#ifndef VSWITCH_ACL_H
#define VSWITCH_ACL_H

#include "vhost-net/net-rx.h"
#include "vswitch/prefix.h"

enum {
	ACL_MAX_RULES = 1024,
	ACL_NAME_BYTES = 32,
};

struct acl;

/* A number, of which the bits of @mask have to be as in @value. */
struct acl_match {
	uint64_t value, mask;
};

struct acl_range {
	uint16_t first, last;
};

/* Zeroes fit everything. */
struct acl_rule {
	char name[ACL_NAME_BYTES];
	bool denies;
	struct acl_match from_mac, to_mac; /* 48 bits */
	uint16_t ethertype;		   /* behind the tags; 0: any */
	uint16_t vlan;
	uint8_t family;	    /* 4, 6; 0: any, and what is no IP */
	struct prefix from; /* of @family, or of 0 bits */
	struct prefix to;
	bool has_protocol;
	uint8_t protocol;
	bool has_ports; /* it looks at them: TCP, UDP */
	struct acl_range from_ports, to_ports;
	bool has_icmp_type;
	uint8_t icmp_type;
	bool opens; /* TCP: the segment opens a connection (SYN, no ACK) */
};

/* --- the control thread ------------------------------------------------------ */

/* -ENOMEM, also if the rules make more than they may; -EINVAL for too many. */
int acl_new(const struct acl_rule *rules, unsigned count, struct acl **ret_acl);
/* Judges as @acl does, which it lasts no longer than, and counts for itself.
 * -ENOMEM. */
int acl_shadow(const struct acl *acl, struct acl **ret_shadow);
/* Nobody judges by it any more. Accepts NULL. */
void acl_free(struct acl *acl);

unsigned acl_count(const struct acl *acl);
const struct acl_rule *acl_rule(const struct acl *acl, unsigned index);
/* How many frames it decided. */
uint64_t acl_hits(const struct acl *acl, unsigned index);

/* --- serving threads --------------------------------------------------------- */

/* What rules look at, of one frame. */
struct acl_key {
	uint8_t family;
	bool is_hidden; /* its transport header is */
	uint8_t unused[2];
	uint8_t protocol, has_transport;
	uint8_t ethertype[2];
	uint8_t vlan[2];
	uint8_t icmp_type, tcp_flags;
	uint8_t to_mac[6], from_mac[6];
	uint8_t from[PREFIX_IPV6_BYTES], to[PREFIX_IPV6_BYTES];
	uint8_t from_port[2], to_port[2];
};

void acl_key_of(const struct net_rx_frame *frame, uint16_t vlan,
		struct acl_key *ret_key);

enum acl_verdict {
	ACL_PASS,
	ACL_DENIED,
	ACL_HIDDEN,
};

/* Judges @count keys, at most NET_BURST; counts. */
void acl_judge(struct acl *acl, const struct acl_key *const *keys,
	       unsigned count, enum acl_verdict *ret_verdicts);

#endif
