/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-net/test-packet.h"

#include <string.h>

#include "base/bytes.h"

uint8_t packet_payload(size_t at)
{
	return at * 7 + at / 251;
}

static uint8_t *append(struct packet *packet, size_t bytes)
{
	uint8_t *at = packet->data + packet->bytes;

	memset(at, 0, bytes);
	packet->bytes += bytes;
	return at;
}

static void append_ethernet(struct packet *packet,
			    const struct packet_shape *shape)
{
	static const uint8_t addresses[12] = {0x52, 0x54, 0, 0, 0, 1,
					      0x52, 0x54, 0, 0, 0, 2};

	memcpy(append(packet, 12), addresses, 12);
	for (unsigned i = 0; i < shape->tags; i++) {
		uint8_t *tag = append(packet, 4);

		put_be16(tag, i + 1 < shape->tags ? 0x88a8 : 0x8100);
		put_be16(tag + 2, 100 + i);
	}
	put_be16(append(packet, 2), shape->l3 == NET_L3_IPV4   ? 0x0800
				    : shape->l3 == NET_L3_IPV6 ? 0x86dd
							       : 0x88b5);
	packet->l3 = packet->bytes;
}

static uint8_t protocol_of(const struct packet_shape *shape)
{
	return shape->l4 == NET_L4_TCP ? 6 : shape->l4 == NET_L4_UDP ? 17 : 89;
}

static void append_ipv4(struct packet *packet, const struct packet_shape *shape,
			size_t behind_bytes)
{
	size_t bytes = 20 + shape->ip_options_bytes;
	uint8_t *ip = append(packet, bytes);
	uint16_t sum;

	ip[0] = 0x40 | bytes / 4;
	put_be16(ip + 2, bytes + behind_bytes);
	put_be16(ip + 4, shape->ip_id);
	ip[8] = 64;
	ip[9] = protocol_of(shape);
	put_be32(ip + 12, 0x0a000001);
	put_be32(ip + 16, 0x0a0000fe);
	memset(ip + 20, 1, shape->ip_options_bytes);
	sum = packet_checksum(ip, bytes);
	put_be16(ip + 10, sum);
}

static void append_ipv6(struct packet *packet, const struct packet_shape *shape,
			size_t behind_bytes)
{
	uint8_t *ip = append(packet, 40);

	ip[0] = 0x60;
	put_be16(ip + 4, behind_bytes);
	ip[6] = protocol_of(shape);
	ip[7] = 64;
	for (unsigned i = 8; i < 40; i++)
		ip[i] = i * 5;
}

static void append_tcp(struct packet *packet, const struct packet_shape *shape)
{
	size_t bytes = 20 + shape->tcp_options_bytes;
	uint8_t *tcp = append(packet, bytes);

	put_be16(tcp, 1000);
	put_be16(tcp + 2, 2000);
	put_be32(tcp + 4, shape->tcp_sequence);
	tcp[12] = bytes / 4 << 4;
	tcp[13] = shape->tcp_flags;
	put_be16(tcp + 14, 512);
	memset(tcp + 20, 1, shape->tcp_options_bytes);
}

static size_t transport_bytes(const struct packet_shape *shape)
{
	switch (shape->l4) {
	case NET_L4_TCP:
		return 20 + shape->tcp_options_bytes;
	case NET_L4_UDP:
		return 8;
	default:
		return 0;
	}
}

static void append_transport(struct packet *packet,
			     const struct packet_shape *shape)
{
	if (shape->l4 == NET_L4_TCP) {
		append_tcp(packet, shape);
	} else if (shape->l4 == NET_L4_UDP) {
		uint8_t *udp = append(packet, 8);

		put_be16(udp, 1000);
		put_be16(udp + 2, 2000);
		put_be16(udp + 4, 8 + shape->payload_bytes);
	}
}

void packet_make(struct packet *packet, const struct packet_shape *shape)
{
	size_t behind = transport_bytes(shape) + shape->payload_bytes;
	uint8_t *payload;

	packet->bytes = 0;
	append_ethernet(packet, shape);
	if (shape->l3 == NET_L3_IPV4)
		append_ipv4(packet, shape, behind);
	else if (shape->l3 == NET_L3_IPV6)
		append_ipv6(packet, shape, behind);
	packet->l4 = packet->bytes;
	append_transport(packet, shape);
	packet->payload = packet->bytes;
	payload = append(packet, shape->payload_bytes);
	for (size_t i = 0; i < shape->payload_bytes; i++)
		payload[i] = packet_payload(i);
}

static uint32_t sum_words(uint32_t sum, const uint8_t *data, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		sum += i % 2 ? data[i] : data[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

uint16_t packet_checksum(const uint8_t *data, size_t bytes)
{
	return ~sum_words(0, data, bytes);
}

uint16_t packet_transport_checksum(const uint8_t *frame, size_t bytes,
				   const struct net_frame *layout)
{
	const uint8_t *ip = frame + layout->l3_offset;
	const size_t l4_bytes = bytes - layout->l4_offset;
	uint32_t sum = (layout->l4 == NET_L4_TCP ? 6 : 17) + l4_bytes;

	if (layout->l3 == NET_L3_IPV4)
		sum = sum_words(sum, ip + 12, 8);
	else
		sum = sum_words(sum, ip + 8, 32);
	return ~sum_words(sum, frame + layout->l4_offset, l4_bytes);
}
