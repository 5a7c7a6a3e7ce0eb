/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/vbench/net-frame.h"

#include <linux/if_ether.h>
#include <string.h>

#include "base/bytes.h"

enum {
	TEST_TYPE = 0x88b5, /* IEEE 802: local experimental */
	AT_SOURCE = ETH_ALEN,
	AT_STATION = 2, /* of an address */
	AT_WAY = 5,
	AT_TYPE = 2 * ETH_ALEN,
	AT_IP = ETH_HLEN,
	AT_TCP = AT_IP + 20,
	TCP_HEADERS = AT_TCP + 20,
	MSS = 1448,
	/* The stamp: a number of ours, plus the way, and a time. */
	MAGIC = 0x76626e63,
	STAMP_BYTES = 4 + 8,
};

/* Of station 0. */
static const uint8_t addresses[NET_WAYS][ETH_ALEN] = {
	{2, 0, 0, 0, 0, 1},
	{2, 0, 0, 0, 0, 2},
};

static uint32_t sum_of(uint32_t sum, const uint8_t *data, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += 2)
		sum += get_be16(data + i);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* With the sum of its pseudo header; whoever sends it on does the rest. */
static void make_tcp(uint8_t *frame, unsigned bytes,
		     struct virtio_net_hdr_v1 *header)
{
	uint8_t *ip = frame + AT_IP, *tcp = frame + AT_TCP;

	put_be16(frame + AT_TYPE, ETH_P_IP);
	ip[0] = 0x45;
	put_be16(ip + 2, bytes - AT_IP);
	ip[8] = 64;
	ip[9] = 6;
	put_be32(ip + 12, 0xc0000201); /* RFC 5737: documentation */
	put_be32(ip + 16, 0xc0000202);
	put_be16(ip + 10, ~sum_of(0, ip, 20));
	put_be16(tcp, 9);
	put_be16(tcp + 2, 9);
	tcp[12] = 5 << 4;
	tcp[13] = 0x10;
	put_be16(tcp + 16, sum_of(6 + bytes - AT_TCP, ip + 12, 8));
	*header = (struct virtio_net_hdr_v1){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.csum_start = htole16(AT_TCP),
		.csum_offset = htole16(16),
	};
	if (bytes <= TCP_HEADERS + MSS)
		return;
	header->gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
	header->gso_size = htole16(MSS);
	header->hdr_len = htole16(TCP_HEADERS);
}

static uint8_t *stamp_of(uint8_t *frame, bool tso)
{
	return frame + (tso ? TCP_HEADERS : ETH_HLEN);
}

void net_frame_make(uint8_t *frame, unsigned bytes, bool tso, enum net_way way,
		    struct virtio_net_hdr_v1 *ret_header)
{
	struct virtio_net_hdr_v1 header = {0};

	memset(frame, 0, bytes);
	memcpy(frame, addresses[!way], ETH_ALEN);
	memcpy(frame + AT_SOURCE, addresses[way], ETH_ALEN);
	put_be16(frame + AT_TYPE, TEST_TYPE);
	if (tso)
		make_tcp(frame, bytes, &header);
	put_be32(stamp_of(frame, tso), MAGIC + way);
	*ret_header = header;
}

static void put_station(uint8_t *address, uint32_t station)
{
	address[AT_STATION] = station >> 16;
	put_be16(address + AT_STATION + 1, station & 0xffff);
}

void net_frame_address(uint8_t *frame, uint32_t to, uint32_t from)
{
	put_station(frame, to);
	put_station(frame + AT_SOURCE, from);
}

static bool comes_from(const uint8_t *source, enum net_way way)
{
	return memcmp(source, addresses[way], AT_STATION) == 0 &&
	       source[AT_WAY] == addresses[way][AT_WAY];
}

void net_frame_stamp(uint8_t *frame, bool tso, uint64_t sent_ns)
{
	put_be64(stamp_of(frame, tso) + 4, sent_ns);
}

bool net_frame_read(const uint8_t *frame, size_t bytes, enum net_way way,
		    uint64_t *ret_sent_ns)
{
	size_t at = ETH_HLEN;

	*ret_sent_ns = 0;
	if (bytes < ETH_HLEN)
		return false;
	if (get_be16(frame + AT_TYPE) == ETH_P_IP)
		at = TCP_HEADERS;
	if (range_fits(at, STAMP_BYTES, bytes) &&
	    get_be32(frame + at) == MAGIC + way) {
		*ret_sent_ns = get_be64(frame + at + 4);
		return true;
	}
	/* What was cut off behind a stamp. */
	return comes_from(frame + AT_SOURCE, way);
}
