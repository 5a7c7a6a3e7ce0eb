/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/guard.h"

#include <linux/if_ether.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <string.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "vswitch/fdb.h"

enum {
	ETHERTYPE_RARP = 0x8035,
	/* ARP, of IPv4 over Ethernet. */
	ARP_BYTES = 28,
	ARP_REQUEST = 1,
	ARP_REPLY = 2,
	ARP_REVERSE_REQUEST = 3,
	AT_ARP_OPERATION = 6,
	AT_ARP_SENDER_MAC = 8,
	AT_ARP_SENDER = 14,
	/* IP */
	AT_IPV4_SOURCE = 12,
	AT_IPV6_LENGTH = 4,
	AT_IPV6_SOURCE = 8,
	IPV6_BYTES = 40,
	DHCP_CLIENT = 68,
	DHCP_SERVER = 67,
	/* ICMPv6 */
	MLD2_REPORT = 143,
	AT_ND_TARGET = 8,
	ND_OPTION_UNIT = 8,
};

static const uint8_t zeroes[PREFIX_IPV6_BYTES];

static const uint8_t *mac_of(const struct net_rx_frame *frame)
{
	return frame->head + GUARD_MAC_BYTES;
}

static bool is_own_mac(struct guard *guard, const uint8_t *mac)
{
	const uint64_t key = fdb_key_of(mac, 0);
	uint64_t own = load_once(&guard->mac);

	/* Nobody's address would be nobody's guard. */
	if (key == 0)
		return false;
	/* Who comes second sees who was first. */
	while (own == 0)
		if (compare_exchange_relaxed(&guard->mac, &own, key))
			return true;
	return own == key;
}

static bool is_own_address(const struct guard *guard, bool is_ipv6,
			   const uint8_t *address)
{
	for (unsigned i = 0; i < guard->count; i++)
		if (guard->addresses[i].is_ipv6 == is_ipv6 &&
		    prefix_holds(&guard->addresses[i], address))
			return true;
	return guard->count == 0;
}

/* --- ARP -------------------------------------------------------------------- */

static bool is_ethernet_arp(const uint8_t *arp)
{
	static const uint8_t start[] = {0, 1, ETH_P_IP >> 8, ETH_P_IP & 0xff,
					6, 4};

	return memcmp(arp, start, sizeof(start)) == 0;
}

static bool may_send_arp(const struct guard *guard,
			 const struct net_rx_frame *frame)
{
	const uint8_t *arp = frame->head + frame->layout.l3_offset;
	const uint8_t *sender = arp + AT_ARP_SENDER;
	const bool is_reverse = frame->layout.ethertype == ETHERTYPE_RARP;
	unsigned operation;

	if (!range_fits(frame->layout.l3_offset, ARP_BYTES,
			frame->head_bytes) ||
	    !is_ethernet_arp(arp) ||
	    memcmp(arp + AT_ARP_SENDER_MAC, mac_of(frame), GUARD_MAC_BYTES))
		return false;
	operation = get_be16(arp + AT_ARP_OPERATION);
	if (is_reverse ? operation != ARP_REVERSE_REQUEST
		       : operation != ARP_REQUEST && operation != ARP_REPLY)
		return false;
	/* RFC 5227, 2.1.1: who asks whether an address is free has none. */
	if (operation != ARP_REPLY &&
	    memcmp(sender, zeroes, PREFIX_IPV4_BYTES) == 0)
		return true;
	return is_own_address(guard, false, sender);
}

/* --- neighbour discovery ---------------------------------------------------- */

/* What the message at hand says. */
struct message {
	const uint8_t *icmp;
	size_t bytes;
	bool has_source; /* it does not come from the unspecified address */
};

static bool is_discovery(uint8_t type)
{
	return type >= ND_ROUTER_SOLICIT && type <= ND_REDIRECT;
}

/* Bytes in front of the options. */
static size_t fixed_bytes(uint8_t type)
{
	switch (type) {
	case ND_ROUTER_SOLICIT:
		return 8;
	case ND_ROUTER_ADVERT:
		return 16;
	case ND_REDIRECT:
		return 40;
	default:
		return 24;
	}
}

/* RFC 4861, 4.6.1: of its own link-layer address it says what it is. A redirect
 * has the target's, which is another's. */
static bool names_own_mac(const struct message *m,
			  const struct net_rx_frame *frame)
{
	size_t at = fixed_bytes(m->icmp[0]);

	if (at > m->bytes)
		return false;
	while (at < m->bytes) {
		const uint8_t *option = m->icmp + at;
		size_t bytes;

		if (m->bytes - at < ND_OPTION_UNIT)
			return false;
		bytes = option[1] * (size_t)ND_OPTION_UNIT;
		if (bytes == 0 || bytes > m->bytes - at)
			return false;
		if ((option[0] == ND_OPT_SOURCE_LINKADDR ||
		     (option[0] == ND_OPT_TARGET_LINKADDR &&
		      m->icmp[0] != ND_REDIRECT)) &&
		    memcmp(option + 2, mac_of(frame), GUARD_MAC_BYTES) != 0)
			return false;
		at += bytes;
	}
	return true;
}

static bool may_discover(const struct guard *guard,
			 const struct net_rx_frame *frame,
			 const struct message *m)
{
	const uint8_t type = m->icmp[0];

	if (frame->layout.is_fragment || !names_own_mac(m, frame))
		return false;
	if (type == ND_ROUTER_ADVERT || type == ND_REDIRECT)
		return guard->is_router;
	/* It says that it has this address, or that it wants to. */
	if (type == ND_NEIGHBOR_ADVERT ||
	    (type == ND_NEIGHBOR_SOLICIT && !m->has_source))
		return is_own_address(guard, true, m->icmp + AT_ND_TARGET);
	return true;
}

/* --- IP --------------------------------------------------------------------- */

static bool is_extension(uint8_t protocol)
{
	return protocol == IPPROTO_NONE || protocol == IPPROTO_HOPOPTS ||
	       protocol == IPPROTO_ROUTING || protocol == IPPROTO_DSTOPTS ||
	       protocol == IPPROTO_FRAGMENT;
}

static bool needs_no_source(uint8_t type)
{
	return type == ND_ROUTER_SOLICIT || type == ND_NEIGHBOR_SOLICIT ||
	       type == MLD_LISTENER_REPORT || type == MLD2_REPORT;
}

static enum guard_verdict judge_icmp(const struct guard *guard,
				     const struct net_rx_frame *frame,
				     bool has_source)
{
	const struct net_frame *layout = &frame->layout;
	const uint8_t *ip = frame->head + layout->l3_offset;
	const size_t end = layout->l3_offset + IPV6_BYTES +
			   (size_t)get_be16(ip + AT_IPV6_LENGTH);
	struct message m = {
		.icmp = frame->head + layout->l4_offset,
		.has_source = has_source,
	};

	if (layout->l4_offset >= MIN(end, (size_t)frame->head_bytes))
		return GUARD_ND;
	if (!has_source && !needs_no_source(m.icmp[0]))
		return GUARD_IP;
	if (!is_discovery(m.icmp[0]))
		return GUARD_PASS;
	/* All of it has to be in sight. */
	m.bytes = end - layout->l4_offset;
	if (end > frame->head_bytes || !may_discover(guard, frame, &m))
		return GUARD_ND;
	return GUARD_PASS;
}

static enum guard_verdict judge_ipv6(const struct guard *guard,
				     const struct net_rx_frame *frame)
{
	const struct net_frame *layout = &frame->layout;
	const uint8_t *source =
		frame->head + layout->l3_offset + AT_IPV6_SOURCE;
	const bool has_source = memcmp(source, zeroes, PREFIX_IPV6_BYTES) != 0;

	if (layout->l3 != NET_L3_IPV6)
		return GUARD_IP;
	if (has_source && !is_own_address(guard, true, source))
		return GUARD_IP;
	if (layout->is_later_fragment)
		return has_source ? GUARD_PASS : GUARD_IP;
	if (is_extension(layout->protocol))
		return GUARD_ND;
	if (layout->protocol == IPPROTO_ICMPV6)
		return judge_icmp(guard, frame, has_source);
	return has_source ? GUARD_PASS : GUARD_IP;
}

static bool is_dhcp(const struct net_rx_frame *frame)
{
	const uint8_t *udp = frame->head + frame->layout.l4_offset;

	return frame->layout.l4 == NET_L4_UDP && get_be16(udp) == DHCP_CLIENT &&
	       get_be16(udp + 2) == DHCP_SERVER;
}

static bool may_send_ipv4(const struct guard *guard,
			  const struct net_rx_frame *frame)
{
	const uint8_t *source =
		frame->head + frame->layout.l3_offset + AT_IPV4_SOURCE;

	if (frame->layout.l3 != NET_L3_IPV4)
		return false;
	if (memcmp(source, zeroes, PREFIX_IPV4_BYTES) == 0)
		return guard->count == 0 || is_dhcp(frame);
	return is_own_address(guard, false, source);
}

enum guard_verdict guard_judge(struct guard *guard,
			       const struct net_rx_frame *frame)
{
	if (!is_own_mac(guard, mac_of(frame)))
		return GUARD_MAC;
	switch (frame->layout.ethertype) {
	case ETH_P_ARP:
	case ETHERTYPE_RARP:
		return may_send_arp(guard, frame) ? GUARD_PASS : GUARD_ARP;
	case ETH_P_IPV6:
		return judge_ipv6(guard, frame);
	case ETH_P_IP:
		return may_send_ipv4(guard, frame) ? GUARD_PASS : GUARD_IP;
	}
	/* A third tag, for one, would hide all that. */
	return guard->count == 0 ? GUARD_PASS : GUARD_TYPE;
}
