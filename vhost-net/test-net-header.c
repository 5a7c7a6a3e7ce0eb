/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/bytes.h"
#include "tests/cmocka.h"
#include "vhost-net/net-header.h"
#include "vhost-net/test-packet.h"

static const uint64_t all_host = NET_FEATURE(CSUM) | NET_FEATURE(HOST_TSO4) |
				 NET_FEATURE(HOST_TSO6) |
				 NET_FEATURE(HOST_ECN) | NET_FEATURE(HOST_USO);
static const uint64_t all_guest =
	NET_FEATURE(GUEST_CSUM) | NET_FEATURE(GUEST_TSO4) |
	NET_FEATURE(GUEST_TSO6) | NET_FEATURE(GUEST_ECN) |
	NET_FEATURE(GUEST_USO4) | NET_FEATURE(GUEST_USO6);

static struct packet packet;
static struct net_frame frame;
static struct virtio_net_hdr_v1 header;

/* A frame of that kind, and the header that a good driver sends with it. */
static void make(enum net_l3 l3, enum net_l4 l4)
{
	const struct packet_shape shape = {
		.l3 = l3,
		.l4 = l4,
		.payload_bytes = 5000,
	};
	uint8_t type = l4 == NET_L4_UDP	   ? VIRTIO_NET_HDR_GSO_UDP_L4
		       : l3 == NET_L3_IPV4 ? VIRTIO_NET_HDR_GSO_TCPV4
					   : VIRTIO_NET_HDR_GSO_TCPV6;

	packet_make(&packet, &shape);
	net_frame_parse(packet.data, NET_COPY_BYTES, &frame);
	header = (struct virtio_net_hdr_v1){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = type,
		.gso_size = htole16(1400),
		.csum_start = htole16(packet.l4),
		.csum_offset = htole16(l4 == NET_L4_TCP ? 16 : 6),
	};
}

static enum net_fault judge(uint64_t features)
{
	return net_header_judge(&header, &frame, packet.bytes, features);
}

struct kind {
	enum net_l3 l3;
	enum net_l4 l4;
	uint64_t host, guest;
};

static const struct kind kinds[] = {
	{NET_L3_IPV4, NET_L4_TCP, NET_FEATURE(HOST_TSO4),
	 NET_FEATURE(GUEST_TSO4)},
	{NET_L3_IPV6, NET_L4_TCP, NET_FEATURE(HOST_TSO6),
	 NET_FEATURE(GUEST_TSO6)},
	{NET_L3_IPV4, NET_L4_UDP, NET_FEATURE(HOST_USO),
	 NET_FEATURE(GUEST_USO4)},
	{NET_L3_IPV6, NET_L4_UDP, NET_FEATURE(HOST_USO),
	 NET_FEATURE(GUEST_USO6)},
};

static void each_offload_needs_its_feature(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		make(kinds[i].l3, kinds[i].l4);
		assert_int_equal(judge(all_host & ~kinds[i].host),
				 NET_FAULT_OFFLOAD);
		assert_int_equal(judge(all_host & ~NET_FEATURE(CSUM)),
				 NET_FAULT_OFFLOAD);
		assert_int_equal(judge(NET_FEATURE(CSUM) | kinds[i].host),
				 NET_FAULT_NONE);
		assert_int_equal(le16toh(header.hdr_len), packet.payload);
	}
}

static void ecn_needs_its_feature_and_tcp(void **state)
{
	make(NET_L3_IPV4, NET_L4_TCP);
	header.gso_type |= VIRTIO_NET_HDR_GSO_ECN;
	assert_int_equal(judge(all_host & ~NET_FEATURE(HOST_ECN)),
			 NET_FAULT_OFFLOAD);
	assert_int_equal(judge(all_host), NET_FAULT_NONE);
	make(NET_L3_IPV4, NET_L4_UDP);
	header.gso_type |= VIRTIO_NET_HDR_GSO_ECN;
	assert_int_equal(judge(all_host), NET_FAULT_GSO_TYPE);
}

static void a_receiver_gets_no_offload_that_it_did_not_ask_for(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		make(kinds[i].l3, kinds[i].l4);
		assert_int_equal(judge(all_host), NET_FAULT_NONE);
		assert_int_equal(net_header_work(&header, &frame, all_guest),
				 NET_WORK_NONE);
		assert_int_equal(net_header_work(&header, &frame,
						 all_guest & ~kinds[i].guest),
				 NET_WORK_SEGMENT);
		assert_int_equal(
			net_header_work(&header, &frame, kinds[i].guest),
			NET_WORK_SEGMENT);
	}
	make(NET_L3_IPV4, NET_L4_TCP);
	header.gso_type |= VIRTIO_NET_HDR_GSO_ECN;
	assert_int_equal(net_header_work(&header, &frame,
					 all_guest & ~NET_FEATURE(GUEST_ECN)),
			 NET_WORK_SEGMENT);
	header.gso_type = VIRTIO_NET_HDR_GSO_NONE;
	assert_int_equal(net_header_work(&header, &frame, 0),
			 NET_WORK_CHECKSUM);
	header.flags = 0;
	assert_int_equal(net_header_work(&header, &frame, 0), NET_WORK_NONE);
}

static void a_checksum_lies_inside_the_frame(void **state)
{
	static const struct {
		uint32_t start, offset;
		enum net_fault fault;
	} places[] = {
		{34, 16, NET_FAULT_NONE},
		{14, 0, NET_FAULT_NONE},
		{13, 0, NET_FAULT_CHECKSUM},
		{0, 0, NET_FAULT_CHECKSUM},
		{5052, 0, NET_FAULT_NONE},
		{5052, 1, NET_FAULT_CHECKSUM},
		{5054, 0, NET_FAULT_CHECKSUM},
		{65535, 65535, NET_FAULT_CHECKSUM},
		{34, 65535, NET_FAULT_CHECKSUM},
	};

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		make(NET_L3_IPV4, NET_L4_TCP);
		assert_int_equal(packet.bytes, 5054);
		header.gso_type = VIRTIO_NET_HDR_GSO_NONE;
		header.csum_start = htole16(places[i].start);
		header.csum_offset = htole16(places[i].offset);
		assert_int_equal(judge(all_host), places[i].fault);
	}
}

static void nonsense_about_segments_is_refused(void **state)
{
	make(NET_L3_IPV4, NET_L4_TCP);
	header.gso_size = 0;
	assert_int_equal(judge(all_host), NET_FAULT_GSO_SIZE);
	make(NET_L3_IPV4, NET_L4_TCP);
	header.flags = 0;
	assert_int_equal(judge(all_host), NET_FAULT_GSO_PACKET);
	make(NET_L3_IPV4, NET_L4_TCP);
	header.gso_type = VIRTIO_NET_HDR_GSO_TCPV6;
	assert_int_equal(judge(all_host), NET_FAULT_GSO_PACKET);
	make(NET_L3_IPV6, NET_L4_UDP);
	header.gso_type = VIRTIO_NET_HDR_GSO_TCPV6;
	assert_int_equal(judge(all_host), NET_FAULT_GSO_PACKET);
	make(NET_L3_IPV4, NET_L4_TCP);
	header.csum_start = htole16(packet.l3);
	assert_int_equal(judge(all_host), NET_FAULT_GSO_PACKET);
	make(NET_L3_IPV4, NET_L4_TCP);
	frame.is_fragment = true;
	assert_int_equal(judge(all_host), NET_FAULT_GSO_PACKET);
	for (unsigned type = 0; type < 256; type++) {
		unsigned plain = type & ~VIRTIO_NET_HDR_GSO_ECN;

		if (plain == 1 || plain == 4 || plain == 5 || type == 0)
			continue;
		make(NET_L3_IPV4, NET_L4_TCP);
		header.gso_type = type;
		assert_int_equal(judge(all_host), NET_FAULT_GSO_TYPE);
	}
}

static void a_packet_longer_than_ip_can_say_is_not_cut(void **state)
{
	struct packet_shape shape = {.l3 = NET_L3_IPV4, .l4 = NET_L4_TCP};

	for (unsigned i = 0; i < 4; i++) {
		shape.l3 = i & 1 ? NET_L3_IPV6 : NET_L3_IPV4;
		make(shape.l3, NET_L4_TCP);
		shape.payload_bytes = 65535 - 20 -
				      (shape.l3 == NET_L3_IPV4 ? 20 : 0) +
				      (i >> 1);
		packet_make(&packet, &shape);
		assert_int_equal(judge(all_host),
				 i < 2 ? NET_FAULT_NONE : NET_FAULT_GSO_PACKET);
	}
	packet.bytes = NET_MAX_FRAME_BYTES + 1;
	assert_int_equal(judge(all_host), NET_FAULT_OVERSIZE);
}

static void what_means_nothing_is_cleared(void **state)
{
	make(NET_L3_IPV4, NET_L4_TCP);
	memset(&header, 0xff, sizeof(header));
	header.flags &= ~VIRTIO_NET_HDR_F_NEEDS_CSUM;
	header.gso_type = VIRTIO_NET_HDR_GSO_NONE;
	assert_int_equal(judge(all_host), NET_FAULT_NONE);
	assert_memory_equal(&header, &(struct virtio_net_hdr_v1){0},
			    sizeof(header));
}

static void every_fault_has_a_name(void **state)
{
	for (unsigned i = 0; i < NET_FAULTS; i++)
		assert_non_null(net_fault_name(i));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_offload_needs_its_feature),
		cmocka_unit_test(ecn_needs_its_feature_and_tcp),
		cmocka_unit_test(
			a_receiver_gets_no_offload_that_it_did_not_ask_for),
		cmocka_unit_test(a_checksum_lies_inside_the_frame),
		cmocka_unit_test(nonsense_about_segments_is_refused),
		cmocka_unit_test(a_packet_longer_than_ip_can_say_is_not_cut),
		cmocka_unit_test(what_means_nothing_is_cleared),
		cmocka_unit_test(every_fault_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
