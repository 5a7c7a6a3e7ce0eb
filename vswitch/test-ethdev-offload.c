/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What devices are told of frames that they get. A NIC by the book takes the mbufs: of
 * it come, byte by byte, the frames that the copy makes for a device that can nothing.
 * The device is a ring, which passes on what it gets.
 */
#include "vswitch/ethdev-offload.h"

#include <rte_malloc.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/cmocka.h"
#include "vhost-net/test-packet.h"
#include "vswitch/ethdev-tx.h"
#include "vswitch/test-eal.h"
#include "vswitch/test-ethdev-nic.h"
#include "vswitch/test-ethdev-ring.h"

enum {
	MTU_BYTES = 1522,
};

#define ALL_TX                                                          \
	(RTE_ETH_TX_OFFLOAD_MULTI_SEGS | RTE_ETH_TX_OFFLOAD_TCP_CKSUM | \
	 RTE_ETH_TX_OFFLOAD_UDP_CKSUM | RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | \
	 RTE_ETH_TX_OFFLOAD_TCP_TSO)
#define ALL_RX                                                         \
	(RTE_ETH_RX_OFFLOAD_TCP_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM | \
	 RTE_ETH_RX_OFFLOAD_TCP_LRO)

static struct ethdev dev;
static struct ethdev_tx tx;
static struct packet packet;
static struct net_rx_frame frame;
static struct test_frames made, wanted;

static int setup(void **state)
{
	if (test_ring_open(&dev) < 0)
		return -1;
	tx = (struct ethdev_tx){
		.id = dev.id,
		.pool = dev.pool,
		.max_frame_bytes = MTU_BYTES,
	};
	return 0;
}

static int teardown(void **state)
{
	return test_ring_close(&dev);
}

#define RING_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* --- frames ------------------------------------------------------------------ */

/* The packet, as a guest sends it, with the sum of its pseudo header. */
static void describe(uint8_t gso_type, uint16_t segment)
{
	struct iovec *rest = malloc(sizeof(*rest));
	uint16_t place, full;

	frame = (struct net_rx_frame){
		.bytes = packet.bytes,
		.head_bytes = MIN(packet.bytes, (size_t)NET_COPY_BYTES),
	};
	net_frame_parse(packet.data, frame.head_bytes, &frame.layout);
	place = frame.layout.l4_offset +
		(frame.layout.l4 == NET_L4_TCP ? 16 : 6);
	put_be16(packet.data + place, 0);
	full = packet_transport_checksum(packet.data, packet.bytes,
					 &frame.layout);
	/* Without what lies behind: the field would have the rest. */
	full = test_nic_add(
		(uint16_t)~full,
		packet_checksum(packet.data + frame.layout.l4_offset,
				packet.bytes - frame.layout.l4_offset));
	put_be16(packet.data + place, full);
	frame.header = (struct virtio_net_hdr_v1){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.csum_start = htole16(frame.layout.l4_offset),
		.csum_offset = htole16(place - frame.layout.l4_offset),
		.gso_type = gso_type,
		.gso_size = htole16(segment),
	};
	memcpy(frame.head, packet.data, frame.head_bytes);
	rest->iov_base = packet.data + frame.head_bytes;
	rest->iov_len = packet.bytes - frame.head_bytes;
	frame.rest = iov_cursor(rest, 1);
	assert_int_equal(net_header_judge(&frame.header, &frame.layout,
					  frame.bytes, UINT64_MAX),
			 NET_FAULT_NONE);
}

static void make(const struct packet_shape *shape, uint8_t gso_type,
		 uint16_t segment)
{
	packet_make(&packet, shape);
	describe(gso_type, segment);
}

static void forget(void)
{
	free((void *)frame.rest.iov);
}

/* Sends the frame with @offloads on; whether the device had anything to do. */
static bool send_with(uint64_t offloads, struct test_frames *ret_frames)
{
	struct rte_mbuf *mbufs[TEST_NIC_FRAMES];
	bool is_used = false;
	unsigned count;

	made.count = 0;
	tx.offloads.tx = offloads;
	ethdev_tx_put(&tx, &frame);
	ethdev_tx_flush(&tx);
	count = rte_eth_rx_burst(dev.id, 0, mbufs, TEST_NIC_FRAMES);
	for (unsigned i = 0; i < count; i++) {
		is_used |= mbufs[i]->ol_flags != 0;
		test_nic_send(&made, mbufs[i],
			      offloads & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM);
	}
	rte_pktmbuf_free_bulk(mbufs, count);
	*ret_frames = made;
	return is_used;
}

static void assert_same_frames(void)
{
	assert_int_equal(made.count, wanted.count);
	assert_true(made.count > 0);
	for (unsigned i = 0; i < made.count; i++) {
		assert_int_equal(made.bytes[i], wanted.bytes[i]);
		assert_memory_equal(made.data[i], wanted.data[i],
				    made.bytes[i]);
	}
}

/* Whether the device made of the frame what the copy would have. */
static bool is_offloaded(uint64_t offloads)
{
	bool is_used;

	assert_false(send_with(0, &wanted));
	is_used = send_with(offloads, &made);
	assert_same_frames();
	return is_used;
}

/* Of the frame, sent once more; OFFLOADS: as no frame at all. */
static void assert_counted(enum offload who)
{
	uint64_t counts[OFFLOADS] = {0};

	if (who < OFFLOADS)
		counts[who] = 1;
	memset(tx.made, 0, sizeof(tx.made));
	send_with(ALL_TX, &made);
	assert_memory_equal(tx.made, counts, sizeof(counts));
}

static uint8_t gso_of(enum net_l3 l3)
{
	return l3 == NET_L3_IPV4 ? VIRTIO_NET_HDR_GSO_TCPV4
				 : VIRTIO_NET_HDR_GSO_TCPV6;
}

/* --- out --------------------------------------------------------------------- */

static void checksums_are_the_devices(void **state)
{
	static const unsigned sizes[] = {0, 1, 5, 6, 7, 63, 90, 1001, 1400};

	for (unsigned i = 0; i < 2 * 2 * 2 * ARRAY_SIZE(sizes); i++) {
		const struct packet_shape shape = {
			.l3 = i & 1 ? NET_L3_IPV6 : NET_L3_IPV4,
			.l4 = i & 2 ? NET_L4_UDP : NET_L4_TCP,
			.tags = i >> 2 & 1,
			.payload_bytes = sizes[i >> 3],
			.tcp_options_bytes = i & 4,
			.tcp_flags = 0x18,
		};
		const uint64_t mine = i & 2 ? RTE_ETH_TX_OFFLOAD_UDP_CKSUM
					    : RTE_ETH_TX_OFFLOAD_TCP_CKSUM;

		make(&shape, VIRTIO_NET_HDR_GSO_NONE, 0);
		assert_true(is_offloaded(ALL_TX));
		assert_true(is_offloaded(mine));
		assert_false(is_offloaded(ALL_TX & ~mine));
		assert_counted(OFFLOAD_CHECKSUM);
		/* With nothing left to be made. */
		frame.header = (struct virtio_net_hdr_v1){0};
		assert_counted(OFFLOADS);
		forget();
	}
}

static void segments_are_the_devices(void **state)
{
	static const unsigned sizes[] = {1401, 2799, 2800, 2801, 20000, 65000};
	static const uint16_t segments[] = {256, 536, 1400};

	for (unsigned i = 0; i < 2 * 2 * ARRAY_SIZE(sizes); i++) {
		const struct packet_shape shape = {
			.l3 = i & 1 ? NET_L3_IPV6 : NET_L3_IPV4,
			.l4 = NET_L4_TCP,
			.tags = i >> 1 & 1,
			.tcp_options_bytes = 12 * (i >> 1 & 1),
			.payload_bytes = sizes[i >> 2],
			.tcp_flags = 0x19,
			.ip_id = 0xfff0,
			.tcp_sequence = 0xfffff000,
		};

		for (unsigned s = 0; s < ARRAY_SIZE(segments); s++) {
			make(&shape, gso_of(shape.l3), segments[s]);
			assert_true(is_offloaded(ALL_TX));
			/* As virtio and vmxnet3 have it. */
			assert_true(is_offloaded(
				ALL_TX & ~RTE_ETH_TX_OFFLOAD_IPV4_CKSUM));
			assert_false(is_offloaded(ALL_TX &
						  ~RTE_ETH_TX_OFFLOAD_TCP_TSO));
			assert_counted(OFFLOAD_TSO);
			forget();
		}
	}
}

/* The guest's own IPv4 checksum does not count where it asks for segments. */
static void a_frame_that_is_one_segment_is_summed(void **state)
{
	for (unsigned i = 0; i < 4; i++) {
		const struct packet_shape shape = {
			.l3 = i & 1 ? NET_L3_IPV6 : NET_L3_IPV4,
			.l4 = NET_L4_TCP,
			.payload_bytes = i & 2 ? 0 : 700,
		};

		make(&shape, gso_of(shape.l3), 700);
		if (shape.l3 == NET_L3_IPV4)
			put_be16(frame.head + 24, 0x1234);
		assert_true(is_offloaded(ALL_TX));
		assert_true(
			is_offloaded(ALL_TX & ~RTE_ETH_TX_OFFLOAD_IPV4_CKSUM));
		/* A checksum is enough. */
		assert_true(is_offloaded(ALL_TX & ~RTE_ETH_TX_OFFLOAD_TCP_TSO));
		assert_counted(OFFLOAD_CHECKSUM);
		forget();
	}
}

static void limits_of_a_device_are_kept(void **state)
{
	const struct packet_shape shape = {
		.l3 = NET_L3_IPV4,
		.l4 = NET_L4_TCP,
		.payload_bytes = 20000,
	};
	const unsigned buffers =
		div_round_up(20054, rte_pktmbuf_data_room_size(dev.pool) -
					    RTE_PKTMBUF_HEADROOM);

	make(&shape, VIRTIO_NET_HDR_GSO_TCPV4, 1400);
	tx.offloads.most_buffers = buffers;
	assert_true(is_offloaded(ALL_TX));
	tx.offloads.most_buffers = buffers - 1;
	assert_false(is_offloaded(ALL_TX));
	tx.offloads.most_buffers = 0;
	tx.offloads.most_packet_buffers = 3;
	assert_true(is_offloaded(ALL_TX));
	tx.offloads.most_packet_buffers = 2;
	assert_false(is_offloaded(ALL_TX));
	tx.offloads.most_packet_buffers = 0;
	forget();
	make(&shape, VIRTIO_NET_HDR_GSO_TCPV4, 255);
	assert_false(is_offloaded(ALL_TX));
	forget();
	/* Segments that are longer than the link's MTU allows. */
	make(&shape, VIRTIO_NET_HDR_GSO_TCPV4, MTU_BYTES - 54 + 1);
	assert_false(send_with(ALL_TX, &made));
	assert_int_equal(made.count, 0);
	assert_int_equal(tx.faults[NET_FAULT_OVERSIZE], 1);
	assert_counted(OFFLOADS);
	forget();
}

static unsigned refused;

static uint16_t refuse(void *queue, struct rte_mbuf **mbufs, uint16_t count)
{
	refused++;
	rte_errno = ENOTSUP;
	return 0;
}

static void what_a_driver_refuses_is_made_in_the_copy(void **state)
{
	const struct packet_shape shape = {
		.l3 = NET_L3_IPV4,
		.l4 = NET_L4_TCP,
		.payload_bytes = 5000,
	};
	const eth_tx_prep_t prepare = rte_eth_fp_ops[dev.id].tx_pkt_prepare;

	rte_eth_fp_ops[dev.id].tx_pkt_prepare = refuse;
	make(&shape, VIRTIO_NET_HDR_GSO_TCPV4, 1400);
	assert_false(is_offloaded(ALL_TX));
	assert_int_equal(refused, 1);
	assert_int_equal(tx.faults[NET_FAULT_OFFLOAD], 0);
	assert_counted(OFFLOAD_REFUSED);
	rte_eth_fp_ops[dev.id].tx_pkt_prepare = prepare;
	assert_true(is_offloaded(ALL_TX));
	forget();
}

static void insert(size_t at, const uint8_t *bytes, size_t count)
{
	memmove(packet.data + at + count, packet.data + at, packet.bytes - at);
	memcpy(packet.data + at, bytes, count);
	packet.bytes += count;
}

/* What not every device reads as we do, and what is said of it that is not so. */
static void odd_frames_are_made_in_the_copy(void **state)
{
	static const uint8_t destination_options[8] = {6, 0, 1, 4};
	struct packet_shape shape = {
		.l3 = NET_L3_IPV4,
		.l4 = NET_L4_TCP,
		.tags = 2,
		.payload_bytes = 5000,
	};

	make(&shape, VIRTIO_NET_HDR_GSO_TCPV4, 1400);
	assert_false(is_offloaded(ALL_TX));
	assert_counted(OFFLOAD_COPIED);
	forget();
	shape.tags = 0;
	make(&shape, VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN, 1400);
	assert_false(is_offloaded(ALL_TX));
	forget();
	shape.ip_options_bytes = 4;
	make(&shape, VIRTIO_NET_HDR_GSO_TCPV4, 1400);
	assert_false(is_offloaded(ALL_TX));
	forget();
	shape.ip_options_bytes = 0;
	shape.l4 = NET_L4_UDP;
	make(&shape, VIRTIO_NET_HDR_GSO_UDP_L4, 1400);
	assert_false(is_offloaded(ALL_TX));
	forget();
	shape.l4 = NET_L4_TCP;
	shape.l3 = NET_L3_IPV6;
	packet_make(&packet, &shape);
	insert(packet.l4, destination_options, 8);
	packet.data[packet.l3 + 6] = 60;
	put_be16(packet.data + packet.l3 + 4, packet.bytes - packet.l4);
	describe(VIRTIO_NET_HDR_GSO_TCPV6, 1400);
	assert_int_equal(frame.layout.l4_offset, 62);
	assert_false(is_offloaded(ALL_TX));
	forget();
	/* A first fragment. */
	shape.l3 = NET_L3_IPV4;
	shape.payload_bytes = 1000;
	packet_make(&packet, &shape);
	packet.data[packet.l3 + 6] = 0x20;
	describe(VIRTIO_NET_HDR_GSO_NONE, 0);
	assert_false(is_offloaded(ALL_TX));
	forget();
}

static void lies_are_the_copys(void **state)
{
	static const struct packet_shape shape = {
		.l3 = NET_L3_IPV4,
		.l4 = NET_L4_TCP,
		.payload_bytes = 1000,
	};

	for (unsigned i = 0; i < 7; i++) {
		make(&shape, VIRTIO_NET_HDR_GSO_NONE, 0);
		switch (i) {
		case 0:
			frame.header.csum_start = htole16(14);
			break;
		case 1:
			frame.header.csum_start = htole16(1000);
			break;
		case 2:
			frame.header.csum_offset = htole16(6);
			break;
		case 3: /* Shorter than the frame, longer, none. */
			put_be16(frame.head + 16, 1000);
			break;
		case 4:
			put_be16(frame.head + 16, 60000);
			break;
		case 5:
			put_be16(frame.head + 16, 0);
			break;
		case 6: /* No protocol that we know. */
			frame.head[23] = 132;
			break;
		}
		net_frame_parse(frame.head, frame.head_bytes, &frame.layout);
		assert_false(is_offloaded(ALL_TX));
		assert_counted(OFFLOAD_COPIED);
		forget();
	}
}

/* --- which are on ------------------------------------------------------------ */

static void devices_are_asked_for_what_is_of_use(void **state)
{
	struct rte_eth_dev_info info = {
		.driver_name = "net_any",
		.rx_offload_capa = UINT64_MAX,
		.tx_offload_capa = UINT64_MAX,
		.tx_desc_lim.nb_seg_max = 24,
		.tx_desc_lim.nb_mtu_seg_max = 8,
	};
	const char *names[ETHDEV_OFFLOAD_NAMES];
	struct ethdev_offloads on = ethdev_offloads_of(&info, true);

	assert_int_equal(on.tx, ALL_TX);
	assert_int_equal(on.rx, RTE_ETH_RX_OFFLOAD_SCATTER |
					(ALL_RX & ~RTE_ETH_RX_OFFLOAD_TCP_LRO));
	assert_int_equal(on.most_buffers, 24);
	assert_int_equal(on.most_packet_buffers, 8);
	assert_int_equal(ethdev_offload_names(&on, names), 3);
	/* Which has frames whole. */
	info.driver_name = "net_virtio_user";
	on = ethdev_offloads_of(&info, true);
	assert_int_equal(on.rx, RTE_ETH_RX_OFFLOAD_SCATTER | ALL_RX);
	assert_int_equal(ethdev_offload_names(&on, names), 4);
	assert_string_equal(names[3], "rx-tso");
	info.rx_offload_capa &= ~RTE_ETH_RX_OFFLOAD_SCATTER;
	on = ethdev_offloads_of(&info, true);
	assert_int_equal(on.rx, ALL_RX & ~RTE_ETH_RX_OFFLOAD_TCP_LRO);
	/* Nothing to cut without checksums, or without chains. */
	info.tx_offload_capa &= ~RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
	on = ethdev_offloads_of(&info, true);
	assert_int_equal(on.tx, RTE_ETH_TX_OFFLOAD_MULTI_SEGS |
					RTE_ETH_TX_OFFLOAD_UDP_CKSUM);
	on = ethdev_offloads_of(&info, false);
	assert_int_equal(on.tx, RTE_ETH_TX_OFFLOAD_MULTI_SEGS);
	assert_int_equal(on.rx, 0);
	assert_int_equal(ethdev_offload_names(&on, names), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RING_TEST(checksums_are_the_devices),
		RING_TEST(segments_are_the_devices),
		RING_TEST(a_frame_that_is_one_segment_is_summed),
		RING_TEST(limits_of_a_device_are_kept),
		RING_TEST(what_a_driver_refuses_is_made_in_the_copy),
		RING_TEST(odd_frames_are_made_in_the_copy),
		RING_TEST(lies_are_the_copys),
		cmocka_unit_test(devices_are_asked_for_what_is_of_use),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
