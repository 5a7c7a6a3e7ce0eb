/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-net/net-frame.h"

#include <net/if_arp.h>
#include <string.h>

#include "base/bytes.h"

enum {
	IPV4_OFFSET = 0x1fff,
	IPV6_BYTES = 40,
	IPV6_OFFSET = 0xfff8,
	IPV6_MORE = 1,
	/* Extension headers; more of them are as good as none known. */
	MAX_EXTENSIONS = 8,
};

struct parser {
	const uint8_t *head;
	size_t bytes;
	struct net_frame *frame;
};

static bool is_tag(uint16_t ethertype)
{
	return ethertype == ETH_P_8021Q || ethertype == ETH_P_8021AD ||
	       ethertype == ETH_P_QINQ1;
}

/* Leaves l3_offset behind the last ethertype. */
static void parse_ethernet(const struct parser *parser)
{
	struct net_frame *frame = parser->frame;
	size_t at = NET_AT_ETHERTYPE;

	frame->ethertype = get_be16(parser->head + at);
	at += 2;
	while (is_tag(frame->ethertype) && frame->tags < NET_MAX_TAGS &&
	       range_fits(at, NET_TAG_BYTES, parser->bytes)) {
		frame->tci[frame->tags++] = get_be16(parser->head + at);
		frame->ethertype = get_be16(parser->head + at + 2);
		at += NET_TAG_BYTES;
	}
	frame->l3_offset = at;
}

static void parse_tcp(const struct parser *parser)
{
	struct net_frame *frame = parser->frame;
	size_t at = frame->l4_offset, length;

	if (!range_fits(at, NET_TCP_BYTES, parser->bytes))
		return;
	length = (parser->head[at + 12] >> 4) * 4;
	if (length < NET_TCP_BYTES || !range_fits(at, length, parser->bytes))
		return;
	frame->l4 = NET_L4_TCP;
	frame->payload_offset = at + length;
}

static void parse_udp(const struct parser *parser)
{
	struct net_frame *frame = parser->frame;

	if (!range_fits(frame->l4_offset, NET_UDP_BYTES, parser->bytes))
		return;
	frame->l4 = NET_L4_UDP;
	frame->payload_offset = frame->l4_offset + NET_UDP_BYTES;
}

static void parse_transport(const struct parser *parser)
{
	if (parser->frame->is_later_fragment)
		return;
	if (parser->frame->protocol == IPPROTO_TCP)
		parse_tcp(parser);
	else if (parser->frame->protocol == IPPROTO_UDP)
		parse_udp(parser);
}

static void parse_ipv4(const struct parser *parser)
{
	struct net_frame *frame = parser->frame;
	const uint8_t *ip = parser->head + frame->l3_offset;
	uint16_t fragment;
	size_t length;

	if (!range_fits(frame->l3_offset, NET_IPV4_BYTES, parser->bytes))
		return;
	length = (ip[0] & 15) * 4;
	if (ip[0] >> 4 != 4 || length < NET_IPV4_BYTES)
		return;
	frame->l3 = NET_L3_IPV4;
	frame->l4_offset = frame->l3_offset + length;
	fragment = get_be16(ip + 6);
	frame->is_fragment = fragment & NET_IPV4_FRAGMENT;
	frame->is_later_fragment = fragment & IPV4_OFFSET;
	frame->protocol = ip[9];
	parse_transport(parser);
}

/*
 * Steps over the extension header at l4_offset, of kind *@protocol. False at
 * the end of the chain: *@protocol is then what follows, or of no use.
 */
static bool skip_extension(const struct parser *parser, uint8_t *protocol)
{
	struct net_frame *frame = parser->frame;
	const uint8_t *at = parser->head + frame->l4_offset;
	size_t length;

	if (*protocol != IPPROTO_HOPOPTS && *protocol != IPPROTO_ROUTING &&
	    *protocol != IPPROTO_DSTOPTS && *protocol != IPPROTO_FRAGMENT)
		return false;
	if (!range_fits(frame->l4_offset, 8, parser->bytes)) {
		*protocol = IPPROTO_NONE;
		return false;
	}
	length = *protocol == IPPROTO_FRAGMENT ? 8 : 8 + at[1] * 8u;
	frame->has_routing_header |= *protocol == IPPROTO_ROUTING;
	if (*protocol == IPPROTO_FRAGMENT) {
		uint16_t fragment = get_be16(at + 2);

		frame->is_fragment |= fragment & (IPV6_OFFSET | IPV6_MORE);
		frame->is_later_fragment = fragment & IPV6_OFFSET;
	}
	*protocol = at[0];
	frame->l4_offset += length;
	return !frame->is_later_fragment;
}

static void parse_ipv6(const struct parser *parser)
{
	struct net_frame *frame = parser->frame;
	const uint8_t *ip = parser->head + frame->l3_offset;
	uint8_t protocol;

	if (!range_fits(frame->l3_offset, IPV6_BYTES, parser->bytes) ||
	    ip[0] >> 4 != 6)
		return;
	frame->l3 = NET_L3_IPV6;
	frame->l4_offset = frame->l3_offset + IPV6_BYTES;
	protocol = ip[6];
	for (unsigned i = 0; i < MAX_EXTENSIONS; i++)
		if (!skip_extension(parser, &protocol))
			break;
	frame->protocol = protocol;
	parse_transport(parser);
}

void net_frame_parse_any(const uint8_t *head, size_t bytes,
			 struct net_frame *ret_frame)
{
	const struct parser parser = {head, bytes, ret_frame};

	*ret_frame = (struct net_frame){0};
	parse_ethernet(&parser);
	if (ret_frame->ethertype == ETH_P_IP)
		parse_ipv4(&parser);
	else if (ret_frame->ethertype == ETH_P_IPV6)
		parse_ipv6(&parser);
}

void net_frame_rarp(const uint8_t mac[static 6],
		    uint8_t ret_frame[static NET_RARP_BYTES])
{
	memset(ret_frame, 0xff, ETH_ALEN);
	memset(ret_frame + ETH_ALEN, 0, NET_RARP_BYTES - ETH_ALEN);
	memcpy(ret_frame + 6, mac, ETH_ALEN);
	put_be16(ret_frame + NET_AT_ETHERTYPE, ETH_P_RARP);
	put_be16(ret_frame + 14, ARPHRD_ETHER);
	put_be16(ret_frame + 16, ETH_P_IP);
	ret_frame[18] = ETH_ALEN;
	ret_frame[19] = 4;
	put_be16(ret_frame + 20, ARPOP_RREQUEST);
	memcpy(ret_frame + 22, mac, ETH_ALEN); /* of who asks, … */
	memcpy(ret_frame + 32, mac, ETH_ALEN); /* … and who is asked for */
}
