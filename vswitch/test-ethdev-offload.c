/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What devices are told of frames, and tell. A NIC by the book takes the mbufs that
 * a device gets, knowing what they say and nothing else: of it come, byte by byte,
 * the frames that the copy makes for a device that can nothing. The device is a
 * ring, which passes on what it gets.
 */
#include "vswitch/ethdev-offload.h"

#include <rte_malloc.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/cmocka.h"
#include "vhost-net/net-deliver.h"
#include "vhost-net/test-packet.h"
#include "vswitch/ethdev-rx.h"
#include "vswitch/ethdev-tx.h"
#include "vswitch/test-eal.h"

enum {
	MAX_FRAMES = 300,
	MIN_BYTES = 60,
	MTU_BYTES = 1522,
};

#define ALL_TX                                                          \
	(RTE_ETH_TX_OFFLOAD_MULTI_SEGS | RTE_ETH_TX_OFFLOAD_TCP_CKSUM | \
	 RTE_ETH_TX_OFFLOAD_UDP_CKSUM | RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | \
	 RTE_ETH_TX_OFFLOAD_TCP_TSO)
#define ALL_RX                                                         \
	(RTE_ETH_RX_OFFLOAD_TCP_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM | \
	 RTE_ETH_RX_OFFLOAD_TCP_LRO)

struct frames {
	unsigned count;
	uint32_t bytes[MAX_FRAMES];
	uint8_t data[MAX_FRAMES][2048];
};

static struct ethdev dev;
static struct ethdev_tx tx;
static struct packet packet;
static struct net_rx_frame frame;
static struct frames made, wanted;
static uint8_t whole[NET_MAX_FRAME_BYTES];

static int setup(void **state)
{
	const struct ethdev_config config = {
		.devargs = "net_ring0",
		.queues = 1,
		.offloads = true,
	};
	char error[ETHDEV_ERROR_BYTES];

	if (ethdev_open(&config, &dev, error) < 0)
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
	const bool is_whole = rte_mempool_full(dev.pool);

	ethdev_close(&dev);
	return is_whole ? 0 : -1;
}

#define RING_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* --- a NIC by the book ------------------------------------------------------- */

static uint32_t add16(uint32_t sum, uint32_t value)
{
	sum += value;
	return (sum & 0xffff) + (sum >> 16);
}

/* What is in the field is part of the sum: so says DPDK. */
static void nic_sum(uint8_t *at, size_t bytes, size_t field, uint16_t length)
{
	uint32_t sum = (uint16_t)~packet_checksum(at, bytes);

	sum = (uint16_t)~add16(sum, length);
	put_be16(at + field, sum ? sum : 0xffff);
}

static void nic_emit(const uint8_t *data, uint32_t bytes)
{
	uint8_t *to = made.data[made.count];

	assert_true(made.count < MAX_FRAMES && bytes <= sizeof(*made.data));
	memset(to, 0, MIN_BYTES);
	memcpy(to, data, bytes);
	made.bytes[made.count++] = MAX(bytes, (uint32_t)MIN_BYTES);
}

static size_t nic_field(const struct rte_mbuf *m)
{
	return (m->ol_flags & RTE_MBUF_F_TX_L4_MASK) == RTE_MBUF_F_TX_UDP_CKSUM
		       ? 6
		       : 16;
}

static void nic_ip(const struct rte_mbuf *m, uint8_t *ip, uint32_t bytes,
		   unsigned number)
{
	if (m->ol_flags & RTE_MBUF_F_TX_IPV6) {
		put_be16(ip + 4, bytes - 40);
		return;
	}
	assert_true(m->ol_flags & RTE_MBUF_F_TX_IPV4);
	put_be16(ip + 2, bytes);
	put_be16(ip + 4, get_be16(ip + 4) + number);
	put_be16(ip + 10, 0);
	put_be16(ip + 10, packet_checksum(ip, m->l3_len));
}

static void nic_cut(const struct rte_mbuf *m)
{
	const uint32_t head = m->l2_len + m->l3_len + m->l4_len;
	uint8_t segment[2048], *l4 = segment + m->l2_len + m->l3_len;
	const uint8_t *ip = whole + m->l2_len;
	unsigned number = 0;

	if (m->ol_flags & RTE_MBUF_F_TX_IP_CKSUM)
		assert_int_equal(get_be16(ip + 10), 0);
	else if (m->ol_flags & RTE_MBUF_F_TX_IPV4)
		assert_int_equal(packet_checksum(ip, m->l3_len), 0);
	for (uint32_t at = head; at < m->pkt_len; at += m->tso_segsz) {
		const uint32_t n = MIN(m->pkt_len - at, (uint32_t)m->tso_segsz);

		memcpy(segment, whole, head);
		memcpy(segment + head, whole + at, n);
		nic_ip(m, segment + m->l2_len, head + n - m->l2_len, number++);
		put_be32(l4 + 4, get_be32(l4 + 4) + at - head);
		if (at + n < m->pkt_len)
			l4[13] &= ~0x09;
		nic_sum(l4, m->l4_len + n, nic_field(m), m->l4_len + n);
		nic_emit(segment, head + n);
	}
}

static void nic_send(const struct rte_mbuf *m)
{
	uint32_t at = 0;

	for (const struct rte_mbuf *piece = m; piece; piece = piece->next) {
		memcpy(whole + at, rte_pktmbuf_mtod(piece, void *),
		       piece->data_len);
		at += piece->data_len;
	}
	assert_int_equal(at, m->pkt_len);
	/* DPDK wants its flag with IPv4 that is cut, and some of its drivers
	 * do not. */
	if (tx.offloads.tx & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM)
		assert_int_equal(rte_validate_tx_offload(m), 0);
	if (m->ol_flags & RTE_MBUF_F_TX_OFFLOAD_MASK)
		assert_true(m->data_len >= m->l2_len + m->l3_len + m->l4_len);
	if (m->ol_flags & RTE_MBUF_F_TX_TCP_SEG) {
		assert_true(m->ol_flags & RTE_MBUF_F_TX_TCP_CKSUM);
		nic_cut(m);
		return;
	}
	if (m->ol_flags & RTE_MBUF_F_TX_L4_MASK)
		nic_sum(whole + m->l2_len + m->l3_len,
			m->pkt_len - m->l2_len - m->l3_len, nic_field(m), 0);
	if (m->ol_flags & RTE_MBUF_F_TX_IP_CKSUM)
		put_be16(whole + m->l2_len + 10,
			 packet_checksum(whole + m->l2_len, m->l3_len));
	nic_emit(whole, m->pkt_len);
}

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
	full = add16((uint16_t)~full,
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
static bool send_with(uint64_t offloads, struct frames *ret_frames)
{
	struct rte_mbuf *mbufs[MAX_FRAMES];
	bool is_used = false;
	unsigned count;

	made.count = 0;
	tx.offloads.tx = offloads;
	ethdev_tx_put(&tx, &frame);
	ethdev_tx_flush(&tx);
	count = rte_eth_rx_burst(dev.id, 0, mbufs, MAX_FRAMES);
	for (unsigned i = 0; i < count; i++) {
		is_used |= mbufs[i]->ol_flags != 0;
		nic_send(mbufs[i]);
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
		forget();
	}
}

/* --- in ---------------------------------------------------------------------- */

static struct net_rx_frame in;
static struct iovec in_iov[ETHDEV_MAX_SEGMENTS];

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
				 gso_of(shape.l3) |
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
		RING_TEST(a_good_checksum_is_told),
		RING_TEST(who_does_not_take_flags_gets_none),
		RING_TEST(a_checksum_that_was_left_out_is_asked_for),
		RING_TEST(large_frames_are_to_be_cut),
		cmocka_unit_test(devices_are_asked_for_what_is_of_use),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
