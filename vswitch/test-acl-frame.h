/* SPDX-License-Identifier: Apache-2.0 */
/* One frame, and one rule that denies it or does not. */
#ifndef VSWITCH_TEST_ACL_FRAME_H
#define VSWITCH_TEST_ACL_FRAME_H

#include <string.h>

#include "base/bytes.h"
#include "tests/cmocka.h"
#include "vhost-net/test-packet.h"
#include "vswitch/acl.h"

enum {
	SSH = 22,
	HIGH = 40000, /* whence a connection comes */
};

static struct packet packet;
static struct net_rx_frame frame;
static const struct acl_range all_ports = {0, UINT16_MAX};

static inline void take_packet(void)
{
	memset(&frame, 0, sizeof(frame));
	frame.bytes = packet.bytes;
	frame.head_bytes = MIN(packet.bytes, (size_t)NET_COPY_BYTES);
	memcpy(frame.head, packet.data, frame.head_bytes);
	net_frame_parse(frame.head, frame.head_bytes, &frame.layout);
}

static inline void make(enum net_l3 l3, enum net_l4 l4, unsigned payload_bytes)
{
	const struct packet_shape shape = {
		.l3 = l3, .l4 = l4, .payload_bytes = payload_bytes};

	packet_make(&packet, &shape);
	memcpy(packet.data, (uint8_t[]){2, 0, 0, 0, 0, 2}, 6);
	memcpy(packet.data + 6, (uint8_t[]){2, 0, 0, 0, 0, 1}, 6);
	if (l4 != NET_L4_NONE) {
		put_be16(packet.data + packet.l4, HIGH);
		put_be16(packet.data + packet.l4 + 2, SSH);
	}
	take_packet();
}

static inline enum acl_verdict judge(struct acl *acl)
{
	struct acl_key key;
	const struct acl_key *keys[] = {&key};
	enum acl_verdict verdict;

	acl_key_of(&frame, 7, &key);
	acl_judge(acl, keys, 1, &verdict);
	return verdict;
}

/* One rule that denies: whether it fits the frame at hand. */
static inline enum acl_verdict try(struct acl_rule rule)
{
	enum acl_verdict verdict;
	struct acl *acl;

	rule.denies = true;
	assert_int_equal(acl_new(&rule, 1, &acl), 0);
	verdict = judge(acl);
	assert_int_equal(acl_hits(acl, 0), verdict == ACL_DENIED);
	acl_free(acl);
	return verdict;
}

static inline struct acl_rule ports_rule(uint8_t protocol, uint16_t first,
					 uint16_t last)
{
	return (struct acl_rule){
		.has_protocol = true,
		.protocol = protocol,
		.has_ports = true,
		.from_ports = all_ports,
		.to_ports = {first, last},
	};
}

#endif
