/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/frame.h"

#include <linux/if_ether.h>
#include <netinet/in.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/cmocka.h"

enum {
	TEST_TYPE = 0x88b5, /* IEEE 802: local experimental */
	AT_SEED = 14,
	AT_BYTES = 18,
	AT_TCP = 34,
};

static const uint8_t guest_mac[] = {2, 0, 0, 0, 0, 1};
static const uint8_t wire_mac[] = {2, 0, 0, 0, 0, 2};

static void make_addresses(uint8_t *frame, uint16_t type)
{
	memcpy(frame, wire_mac, sizeof(wire_mac));
	memcpy(frame + 6, guest_mac, sizeof(guest_mac));
	put_be16(frame + 12, type);
}

void frame_make(uint8_t *frame, size_t bytes, uint32_t seed)
{
	make_addresses(frame, TEST_TYPE);
	for (size_t i = AT_SEED; i < bytes; i++)
		frame[i] = (seed + i) * 31 >> 3;
	if (bytes >= AT_BYTES)
		put_be32(frame + AT_SEED, seed);
}

uint32_t frame_seed(const uint8_t *frame)
{
	return get_be32(frame + AT_SEED);
}

static uint32_t add_up(uint32_t sum, const uint8_t *data, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		sum += i % 2 ? data[i] : data[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static uint32_t pseudo_sum(const uint8_t *frame, size_t tcp_bytes)
{
	return add_up(6 + tcp_bytes, frame + 26, 8);
}

size_t frame_make_tso(uint8_t *frame, size_t payload,
		      struct virtio_net_hdr_v1 *ret_header)
{
	uint8_t *ip = frame + ETH_HLEN, *tcp = frame + AT_TCP;

	memset(frame, 0, FRAME_TCP_HEADERS);
	make_addresses(frame, ETH_P_IP);
	ip[0] = 0x45;
	put_be16(ip + 2, 40 + payload);
	ip[8] = 64;
	ip[9] = IPPROTO_TCP;
	put_be32(ip + 12, 0x0a000001);
	put_be32(ip + 16, 0x0a000002);
	put_be16(ip + 10, ~add_up(0, ip, 20));
	put_be16(tcp, 1000);
	put_be16(tcp + 2, 2000);
	put_be32(tcp + 4, 77);
	tcp[12] = 5 << 4;
	tcp[13] = 0x10;
	put_be16(tcp + 14, 5000);
	put_be16(tcp + 16, pseudo_sum(frame, 20 + payload));
	for (size_t i = 0; i < payload; i++)
		frame[FRAME_TCP_HEADERS + i] = i * 13 >> 2;
	*ret_header = (struct virtio_net_hdr_v1){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.gso_size = htole16(1400),
		.hdr_len = htole16(FRAME_TCP_HEADERS),
		.csum_start = htole16(AT_TCP),
		.csum_offset = htole16(16),
	};
	return FRAME_TCP_HEADERS + payload;
}

void frame_finish_tcp(uint8_t *frame, size_t bytes)
{
	uint8_t *place = frame + AT_TCP + 16;

	put_be16(place, ~add_up(0, frame + AT_TCP, bytes - AT_TCP));
}

void frame_assert_tcp(const uint8_t *frame, size_t bytes, size_t payload_at)
{
	const size_t tcp_bytes = bytes - AT_TCP;

	assert_int_equal(get_be16(frame + 12), ETH_P_IP);
	assert_int_equal(get_be16(frame + ETH_HLEN + 2), bytes - ETH_HLEN);
	assert_int_equal(add_up(0, frame + ETH_HLEN, 20), 0xffff);
	assert_int_equal(
		add_up(pseudo_sum(frame, tcp_bytes), frame + AT_TCP, tcp_bytes),
		0xffff);
	for (size_t i = 0; i < bytes - FRAME_TCP_HEADERS; i++)
		assert_int_equal(frame[FRAME_TCP_HEADERS + i],
				 (uint8_t)((payload_at + i) * 13 >> 2));
}
