/* SPDX-License-Identifier: Apache-2.0 */
/* What a device says of frames that it gives us, and what guests are told of it. */
#include <string.h>

#include "base/bytes.h"
#include "tests/cmocka.h"
#include "vhost-net/net-deliver.h"
#include "vhost-net/test-packet.h"
#include "vswitch/ethdev-offload.h"
#include "vswitch/ethdev-rx.h"
#include "vswitch/test-eal.h"
#include "vswitch/test-ethdev-ring.h"

#define ALL_RX                                                         \
	(RTE_ETH_RX_OFFLOAD_TCP_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM | \
	 RTE_ETH_RX_OFFLOAD_TCP_LRO)

static struct ethdev dev;
static struct packet packet;
static struct net_rx_frame in;
static struct iovec in_iov[ETHDEV_MAX_SEGMENTS];

static int setup(void **state)
{
	return test_ring_open(&dev);
}

static int teardown(void **state)
{
	return test_ring_close(&dev);
}

#define RING_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static enum net_fault receive(uint64_t offloads, uint64_t flags,
			      uint16_t segment, uint32_t type)
{
	const struct ethdev_offloads on = {.rx = offloads};
	struct rte_mbuf *first = NULL, **next = &first;
	enum net_fault fault;
	size_t at = 0;

	for (unsigned n = 1; at < packet.bytes; n++) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(dev.pool);

		*next = m;
		next = &m->next;
		m->data_len = MIN(packet.bytes - at, (size_t)2000);
		memcpy(rte_pktmbuf_mtod(m, void *), packet.data + at,
		       m->data_len);
		at += m->data_len;
		first->nb_segs = n;
	}
	first->pkt_len = packet.bytes;
	first->ol_flags |= flags;
	first->tso_segsz = segment;
	first->packet_type = type;
	fault = ethdev_rx_describe(&on, first, in_iov, &in);
	rte_pktmbuf_free(first);
	return fault;
}

static void a_good_checksum_is_told(void **state)
{
	static const struct packet_shape shape = {
		.l3 = NET_L3_IPV4, .l4 = NET_L4_UDP, .payload_bytes = 50};
	const uint64_t good = RTE_MBUF_F_RX_L4_CKSUM_GOOD;

	packet_make(&packet, &shape);
	assert_int_equal(receive(ALL_RX, good, 0, 0), NET_FAULT_NONE);
	assert_int_equal(in.header.flags, VIRTIO_NET_HDR_F_DATA_VALID);
	/* To who takes it. */
	assert_int_equal(net_header_work(&in.header, &in.layout,
					 NET_FEATURE(GUEST_CSUM)),
			 NET_WORK_NONE);
	assert_int_equal(net_header_work(&in.header, &in.layout, 0),
			 NET_WORK_HEADER);
	assert_int_equal(receive(ALL_RX, good, 0, RTE_PTYPE_TUNNEL_VXLAN),
			 NET_FAULT_NONE);
	assert_int_equal(in.header.flags, 0);
	assert_int_equal(receive(0, good, 0, 0), NET_FAULT_NONE);
	assert_int_equal(in.header.flags, 0);
	assert_int_equal(receive(ALL_RX, RTE_MBUF_F_RX_L4_CKSUM_BAD, 0, 0),
			 NET_FAULT_NONE);
	assert_int_equal(in.header.flags, 0);
	packet.data[packet.l3 + 6] = 0x20;
	assert_int_equal(receive(ALL_RX, good, 0, 0), NET_FAULT_NONE);
	assert_int_equal(in.header.flags, 0);
	packet.data[packet.l3 + 9] = 132;
	assert_int_equal(receive(ALL_RX, good, 0, 0), NET_FAULT_NONE);
	assert_int_equal(in.header.flags, 0);
}

static enum net_fault see_header(void *to, const struct net_delivery *delivery)
{
	*(struct virtio_net_hdr_v1 *)to = delivery->header;
	return NET_FAULT_NONE;
}

static void who_does_not_take_flags_gets_none(void **state)
{
	static const struct packet_shape shape = {
		.l3 = NET_L3_IPV6, .l4 = NET_L4_TCP, .payload_bytes = 50};
	static const struct virtio_net_hdr_v1 none;
	struct virtio_net_hdr_v1 header = {.flags = 0xff};

	packet_make(&packet, &shape);
	assert_int_equal(receive(ALL_RX, RTE_MBUF_F_RX_L4_CKSUM_GOOD, 0, 0),
			 NET_FAULT_NONE);
	net_deliver(&in, NET_WORK_HEADER, see_header, &header);
	assert_memory_equal(&header, &none, sizeof(none));
}

/* The checksum is whole when what the header asks for is done. */
static void assert_completed(void)
{
	const uint16_t start = le16toh(in.header.csum_start);
	const uint16_t place = start + le16toh(in.header.csum_offset);
	uint32_t sum;

	assert_int_equal(in.header.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	memcpy(packet.data, in.head, in.head_bytes);
	sum = packet_checksum(packet.data + start, packet.bytes - start);
	put_be16(packet.data + place, sum);
	assert_int_equal(packet_transport_checksum(packet.data, packet.bytes,
						   &in.layout),
			 0);
}

/* Whatever is in the field. */
static void a_checksum_that_was_left_out_is_asked_for(void **state)
{
	for (unsigned i = 0; i < 16; i++) {
		const struct packet_shape shape = {
			.l3 = i & 1 ? NET_L3_IPV6 : NET_L3_IPV4,
			.l4 = i & 2 ? NET_L4_UDP : NET_L4_TCP,
			.tags = i >> 2 & 1,
			.payload_bytes = 30 + 1000 * (i >> 3),
		};

		packet_make(&packet, &shape);
		put_be16(packet.data + packet.l4 + (i & 2 ? 6 : 16), 0x1234);
		assert_int_equal(
			receive(ALL_RX, RTE_MBUF_F_RX_L4_CKSUM_NONE, 0, 0),
			NET_FAULT_NONE);
		assert_int_equal(in.header.gso_type, VIRTIO_NET_HDR_GSO_NONE);
		assert_completed();
	}
	/* Nobody knows where it is. */
	packet.data[packet.l3 + 6] = 132;
	assert_int_equal(receive(ALL_RX, RTE_MBUF_F_RX_L4_CKSUM_NONE, 0, 0),
			 NET_FAULT_OFFLOAD);
}

static void large_frames_are_to_be_cut(void **state)
{
	const uint64_t flags = RTE_MBUF_F_RX_LRO | RTE_MBUF_F_RX_L4_CKSUM_NONE;

	for (unsigned i = 0; i < 8; i++) {
		const struct packet_shape shape = {
			.l3 = i & 1 ? NET_L3_IPV6 : NET_L3_IPV4,
			.l4 = NET_L4_TCP,
			.tags = i >> 1 & 1,
			.tcp_flags = i & 4 ? 0x90 : 0x10,
			.payload_bytes = 60000,
		};

		packet_make(&packet, &shape);
		assert_int_equal(receive(ALL_RX, flags, 1400, 0),
				 NET_FAULT_NONE);
		assert_int_equal(in.header.gso_type,
				 (i & 1 ? VIRTIO_NET_HDR_GSO_TCPV6
					: VIRTIO_NET_HDR_GSO_TCPV4) |
					 (i & 4 ? VIRTIO_NET_HDR_GSO_ECN : 0));
		assert_int_equal(le16toh(in.header.gso_size), 1400);
		assert_int_equal(le16toh(in.header.hdr_len), packet.payload);
		assert_completed();
		assert_int_equal(receive(ALL_RX, flags, 0, 0),
				 NET_FAULT_GSO_SIZE);
		/* Nobody asked for it. */
		assert_int_equal(receive(ALL_RX & ~RTE_ETH_RX_OFFLOAD_TCP_LRO,
					 RTE_MBUF_F_RX_LRO, 1400, 0),
				 NET_FAULT_NONE);
		assert_int_equal(in.header.gso_type, VIRTIO_NET_HDR_GSO_NONE);
	}
	/* A fragment; and of UDP nobody merges anything. */
	packet.data[packet.l3 + 6] = 17;
	assert_int_equal(receive(ALL_RX, flags, 1400, 0), NET_FAULT_OFFLOAD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RING_TEST(a_good_checksum_is_told),
		RING_TEST(who_does_not_take_flags_gets_none),
		RING_TEST(a_checksum_that_was_left_out_is_asked_for),
		RING_TEST(large_frames_are_to_be_cut),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
