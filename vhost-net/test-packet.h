/* SPDX-License-Identifier: Apache-2.0 */
/* For tests: Ethernet frames made byte by byte, and sums by the book. */
#ifndef VHOST_NET_TEST_PACKET_H
#define VHOST_NET_TEST_PACKET_H

#include <stddef.h>
#include <stdint.h>

#include "vhost-net/net-frame.h"

struct packet {
	uint8_t data[NET_MAX_FRAME_BYTES + 64];
	size_t bytes;
	size_t l3, l4, payload; /* where each begins */
};

/* What a packet is to be made of. Zeroes: untagged, no options. */
struct packet_shape {
	enum net_l3 l3;
	enum net_l4 l4;
	unsigned tags;
	unsigned ip_options_bytes;  /* IPv4; a multiple of 4 */
	unsigned tcp_options_bytes; /* a multiple of 4 */
	unsigned payload_bytes;	    /* of a pattern */
	uint8_t tcp_flags;
	uint16_t ip_id;
	uint32_t tcp_sequence;
};

/* Complete but for the checksum of the transport, which is 0. */
void packet_make(struct packet *packet, const struct packet_shape *shape);

/* The byte at @at of any packet's payload. */
uint8_t packet_payload(size_t at);

/* RFC 1071 one byte after the other; 0 for data with its checksum in it. */
uint16_t packet_checksum(const uint8_t *data, size_t bytes);

/* That of the transport with its pseudo header, over @bytes of @frame. */
uint16_t packet_transport_checksum(const uint8_t *frame, size_t bytes,
				   const struct net_frame *layout);

#endif
