/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an Ethernet frame says about itself, read out of a copy of its first
 * bytes: tags, network and transport protocol, and where each begins.
 *
 * The parser never fails: what it does not know, or what lies behind the bytes
 * that it was given, is NONE. So a switch forwards what it cannot read, and
 * whoever needs a transport header asks for one. IEEE 802.3, 802.1Q; RFC 791,
 * 8200, 9293, 768.
 *
 * Pure; any thread.
 */
#ifndef VHOST_NET_NET_FRAME_H
#define VHOST_NET_NET_FRAME_H

#include <linux/if_ether.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

enum {
	NET_AT_ETHERTYPE = 12,	    /* of a frame without tags */
	NET_IPV4_BYTES = 20,	    /* without options */
	NET_IPV4_FRAGMENT = 0x3fff, /* more fragments, or an offset */
	NET_TCP_BYTES = 20,
	NET_UDP_BYTES = 8,
	NET_AT_TCP_CHECKSUM = 16,
	NET_AT_UDP_CHECKSUM = 6,
	NET_ETHERNET_BYTES = 14,
	NET_TAG_BYTES = 4,
	NET_MAX_TAGS = 2,
	/* Of a frame, beside its MTU. */
	NET_LINK_BYTES = NET_ETHERNET_BYTES + NET_MAX_TAGS * NET_TAG_BYTES,
	/* Of a network's: IEEE 802.3, 4.2.3.3, without the checksum. */
	NET_MIN_FRAME_BYTES = 60,
	/* The smallest frame of a network, without its checksum. */
	NET_RARP_BYTES = 60,
	/* Of a frame, copied out of guest memory once: all that is judged. */
	NET_COPY_BYTES = 128,
	/* The copy, with room for a tag that a switch puts in. */
	NET_HEAD_BYTES = NET_COPY_BYTES + NET_TAG_BYTES,
	/* Two tags and a whole IPv6 packet, which a TSO frame can be. */
	NET_MAX_FRAME_BYTES = NET_LINK_BYTES + 40 + 65535,
};

enum net_l3 {
	NET_L3_NONE,
	NET_L3_IPV4,
	NET_L3_IPV6,
};

enum net_l4 {
	NET_L4_NONE, /* another, a later fragment, or out of sight */
	NET_L4_TCP,
	NET_L4_UDP,
};

/* Offsets are bytes from the start of the frame. */
struct net_frame {
	uint8_t l3; /* enum net_l3: its fixed header is whole */
	uint8_t l4; /* enum net_l4: its header is whole, TCP options too */
	uint8_t tags;
	bool is_fragment;
	bool is_later_fragment; /* it has no transport header */
	/* IPv4, IPv6: what is at l4_offset; of a later fragment, what the first
	 * one has there. IPPROTO_NONE also where extensions end out of sight. */
	uint8_t protocol;
	/* IPv6: the destination in the header is not the last one. */
	bool has_routing_header;
	uint16_t ethertype; /* behind the tags */
	uint16_t tci[NET_MAX_TAGS];
	uint16_t l3_offset;
	uint16_t l4_offset;	 /* behind options and extension headers */
	uint16_t payload_offset; /* behind TCP or UDP; with l4 only */
};

/* Where the checksum lies, from l4_offset on; with l4 only. */
static inline uint16_t net_frame_checksum_at(const struct net_frame *frame)
{
	return frame->l4 == NET_L4_TCP ? NET_AT_TCP_CHECKSUM
				       : NET_AT_UDP_CHECKSUM;
}

/* net_frame_parse of any frame, step by step. */
void net_frame_parse_any(const uint8_t *head, size_t bytes,
			 struct net_frame *ret_frame);

/*
 * Most frames: IPv4 without options and not in fragments, with TCP or UDP. False, and
 * nothing is written, for any other; the way of all frames has the same result.
 */
static inline bool net_frame_parse_usual(const uint8_t *head, size_t bytes,
					 struct net_frame *ret_frame)
{
	const uint8_t *ip = head + NET_ETHERNET_BYTES;
	const uint8_t *transport = ip + NET_IPV4_BYTES;
	unsigned length = NET_UDP_BYTES;

	if (!range_fits(NET_ETHERNET_BYTES, NET_IPV4_BYTES + NET_TCP_BYTES,
			bytes) ||
	    get_be16(head + NET_AT_ETHERTYPE) != ETH_P_IP || ip[0] != 0x45 ||
	    get_be16(ip + 6) & NET_IPV4_FRAGMENT)
		return false;
	if (ip[9] == IPPROTO_TCP)
		length = (transport[12] >> 4) * 4;
	else if (ip[9] != IPPROTO_UDP)
		return false;
	if (ip[9] == IPPROTO_TCP &&
	    (length < NET_TCP_BYTES ||
	     !range_fits(NET_ETHERNET_BYTES + NET_IPV4_BYTES, length, bytes)))
		return false;
	*ret_frame = (struct net_frame){
		.l3 = NET_L3_IPV4,
		.l4 = ip[9] == IPPROTO_TCP ? NET_L4_TCP : NET_L4_UDP,
		.protocol = ip[9],
		.ethertype = ETH_P_IP,
		.l3_offset = NET_ETHERNET_BYTES,
		.l4_offset = NET_ETHERNET_BYTES + NET_IPV4_BYTES,
		.payload_offset = NET_ETHERNET_BYTES + NET_IPV4_BYTES + length,
	};
	return true;
}

/*
 * Reads the frame whose first @bytes, at least NET_ETHERNET_BYTES of them, are
 * at @head.
 */
static inline void net_frame_parse(const uint8_t *head, size_t bytes,
				   struct net_frame *ret_frame)
{
	if (!net_frame_parse_usual(head, bytes, ret_frame))
		net_frame_parse_any(head, bytes, ret_frame);
}

/* The frame that tells a network where @mac is now: a RARP request for itself,
 * RFC 903. */
void net_frame_rarp(const uint8_t mac[static 6],
		    uint8_t ret_frame[static NET_RARP_BYTES]);

#endif
