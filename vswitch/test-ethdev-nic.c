/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/test-ethdev-nic.h"

#include <rte_ethdev.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/cmocka.h"
#include "vhost-net/net-frame.h"
#include "vhost-net/test-packet.h"

enum {
	MIN_BYTES = 60,
};

uint32_t test_nic_add(uint32_t sum, uint32_t value)
{
	sum += value;
	return (sum & 0xffff) + (sum >> 16);
}

/* What is in the field is part of the sum: so says DPDK. */
static void nic_sum(uint8_t *at, size_t bytes, size_t field, uint16_t length)
{
	uint32_t sum = (uint16_t)~packet_checksum(at, bytes);

	sum = (uint16_t)~test_nic_add(sum, length);
	put_be16(at + field, sum ? sum : 0xffff);
}

static void nic_emit(struct test_frames *made, const uint8_t *data,
		     uint32_t bytes)
{
	uint8_t *to = made->data[made->count];

	assert_true(made->count < TEST_NIC_FRAMES &&
		    bytes <= sizeof(*made->data));
	memset(to, 0, MIN_BYTES);
	memcpy(to, data, bytes);
	made->bytes[made->count++] = MAX(bytes, (uint32_t)MIN_BYTES);
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

static void nic_cut(struct test_frames *made, const uint8_t *whole,
		    const struct rte_mbuf *m)
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
		nic_emit(made, segment, head + n);
	}
}

void test_nic_send(struct test_frames *made, const struct rte_mbuf *m,
		   bool is_strict)
{
	static uint8_t whole[NET_MAX_FRAME_BYTES];
	uint32_t at = 0;

	for (const struct rte_mbuf *piece = m; piece; piece = piece->next) {
		memcpy(whole + at, rte_pktmbuf_mtod(piece, void *),
		       piece->data_len);
		at += piece->data_len;
	}
	assert_int_equal(at, m->pkt_len);
	if (is_strict)
		assert_int_equal(rte_validate_tx_offload(m), 0);
	if (m->ol_flags & RTE_MBUF_F_TX_OFFLOAD_MASK)
		assert_true(m->data_len >= m->l2_len + m->l3_len + m->l4_len);
	if (m->ol_flags & RTE_MBUF_F_TX_TCP_SEG) {
		assert_true(m->ol_flags & RTE_MBUF_F_TX_TCP_CKSUM);
		nic_cut(made, whole, m);
		return;
	}
	if (m->ol_flags & RTE_MBUF_F_TX_L4_MASK)
		nic_sum(whole + m->l2_len + m->l3_len,
			m->pkt_len - m->l2_len - m->l3_len, nic_field(m), 0);
	if (m->ol_flags & RTE_MBUF_F_TX_IP_CKSUM)
		put_be16(whole + m->l2_len + 10,
			 packet_checksum(whole + m->l2_len, m->l3_len));
	nic_emit(made, whole, m->pkt_len);
}
