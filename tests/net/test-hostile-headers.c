/* SPDX-License-Identifier: Apache-2.0 */
/* Headers that lie and frames that make no sense: dropped, and counted by
 * reason. */
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/net/hostile.h"

#define HOST_USO   56
#define GSO_UDP_L4 5

enum {
	PAYLOAD = 5000,
	AT_IP = 14,
	AT_TCP = 34,
};

static uint8_t frame[FIXTURE_FRAME_BYTES], got[FIXTURE_FRAME_BYTES];

/* What a case changes of a good TSO frame of PAYLOAD bytes. */
struct lie {
	struct virtio_net_hdr_v1 header;
	size_t bytes;
	const uint32_t *cuts;
};

struct header_case {
	const char *name;
	const char *fault; /* NULL: it is delivered, mended */
	void (*tell)(struct lie *lie);
	uint64_t without; /* features not negotiated */
};

#define LIE(name, ...)                    \
	static void name(struct lie *lie) \
	{                                 \
		__VA_ARGS__;              \
	}

LIE(size_0, lie->header.gso_size = 0)
LIE(type_2, lie->header.gso_type = 2)
LIE(type_3, lie->header.gso_type = VIRTIO_NET_HDR_GSO_UDP)
LIE(type_7f, lie->header.gso_type = 0x7f)
LIE(type_ecn, lie->header.gso_type = VIRTIO_NET_HDR_GSO_ECN)
LIE(uso_ecn, lie->header.gso_type = GSO_UDP_L4 | VIRTIO_NET_HDR_GSO_ECN)
LIE(tso_ecn, lie->header.gso_type |= VIRTIO_NET_HDR_GSO_ECN)
LIE(no_csum, lie->header.flags = 0)
LIE(v6_of_v4, lie->header.gso_type = VIRTIO_NET_HDR_GSO_TCPV6)
LIE(uso_of_tcp, lie->header.gso_type = GSO_UDP_L4)
LIE(no_ip, put_be16(frame + 12, 0x88b5))
LIE(start_elsewhere, lie->header.csum_start = htole16(AT_TCP + 2))
LIE(place_elsewhere, lie->header.csum_offset = htole16(6))
LIE(fragment, put_be16(frame + AT_IP + 6, 0x2000))
LIE(later_fragment, put_be16(frame + AT_IP + 6, 0x00ff))
LIE(offset_0, frame[AT_TCP + 12] = 0)
LIE(offset_15, frame[AT_TCP + 12] = 15 << 4; lie->bytes = AT_TCP + 40)
LIE(ihl_0, frame[AT_IP] = 0x40)
LIE(ihl_15, frame[AT_IP] = 0x4f)
LIE(version_9, frame[AT_IP] = 0x95)
LIE(cut_in_tcp, lie->bytes = AT_TCP + 10)
LIE(cut_in_ip, lie->bytes = AT_IP + 10)
LIE(start_far, lie->header.gso_type = 0; lie->header.csum_start = 0xffff)
LIE(place_far, lie->header.gso_type = 0; lie->header.csum_offset = 0xffff)
LIE(both_far, lie->header.gso_type = 0;
    lie->header.csum_start = lie->header.csum_offset = 0xffff)
LIE(in_ethernet, lie->header.gso_type = 0; lie->header.csum_start = 0)
LIE(last_byte, lie->header.gso_type = 0;
    lie->header.csum_start = htole16(AT_TCP);
    lie->header.csum_offset = htole16(PAYLOAD + 20 - 1))
LIE(nothing, lie->bytes = 0)
LIE(one_byte, lie->bytes = 1)
LIE(thirteen, lie->bytes = 13)
LIE(too_long, lie->header = (struct virtio_net_hdr_v1){0};
    lie->bytes = NET_SEND_BYTES - NET_HEADER_BYTES)
LIE(ip_too_long, lie->bytes = AT_IP + 65536)
LIE(tags, memmove(frame + 12 + 40, frame + 12, 5000);
    for (unsigned i = 0; i < 10; i++) put_be32(frame + 12 + 4 * i, 0x81000001))
LIE(hdr_len, lie->header.hdr_len = 0xffff)
LIE(device_flags, lie->header.flags = 0xff)
LIE(num_buffers, lie->header.num_buffers = 0xffff)

static void ipv6(struct lie *lie, uint8_t next)
{
	uint8_t *ip = frame + AT_IP;

	memset(ip, 0, 200);
	put_be16(frame + 12, ETH_P_IPV6);
	ip[0] = 0x60;
	put_be16(ip + 4, PAYLOAD);
	ip[6] = next;
	lie->header.gso_type = VIRTIO_NET_HDR_GSO_TCPV6;
}

static void routing_header(struct lie *lie)
{
	ipv6(lie, IPPROTO_ROUTING);
	frame[AT_IP + 40] = IPPROTO_TCP;
	frame[AT_IP + 43] = 1; /* a segment is left */
	frame[AT_IP + 48 + 12] = 5 << 4;
	lie->header.csum_start = htole16(AT_IP + 48);
}

/* Each of them says that one more follows. */
static void many_extensions(struct lie *lie)
{
	ipv6(lie, 0);
	lie->header.csum_start = htole16(AT_IP + 40 + 10 * 8);
}

static const struct header_case header_cases[] = {
	{"gso_size is 0", "gso-size", size_0, 0},
	{"gso type 2", "gso-type", type_2, 0},
	{"gso type UFO", "gso-type", type_3, 0},
	{"gso type 0x7f", "gso-type", type_7f, 0},
	{"ECN of nothing", "gso-type", type_ecn, 0},
	{"ECN of UDP", "gso-type", uso_ecn, 0},
	{"TSO without a checksum", "gso-packet", no_csum, 0},
	{"TSO of IPv6 in IPv4", "gso-packet", v6_of_v4, 0},
	{"USO of TCP", "gso-packet", uso_of_tcp, 0},
	{"TSO of no IP", "gso-packet", no_ip, 0},
	{"TSO with its checksum elsewhere", "gso-packet", start_elsewhere, 0},
	{"TSO with its place elsewhere", "gso-packet", place_elsewhere, 0},
	{"TSO of a first fragment", "gso-packet", fragment, 0},
	{"TSO of a later fragment", "gso-packet", later_fragment, 0},
	{"TSO with a TCP header of 0 bytes", "gso-packet", offset_0, 0},
	{"TSO with a TCP header past the end", "gso-packet", offset_15, 0},
	{"TSO with an IP header of 0 bytes", "gso-packet", ihl_0, 0},
	{"TSO with IP options over TCP", "gso-packet", ihl_15, 0},
	{"TSO of IP version 9", "gso-packet", version_9, 0},
	{"TSO cut within TCP", "checksum", cut_in_tcp, 0},
	{"TSO cut within IP", "checksum", cut_in_ip, 0},
	{"TSO longer than IP can say", "gso-packet", ip_too_long, 0},
	{"TSO with a routing header", "gso-packet", routing_header, 0},
	{"TSO with extensions without end", "gso-packet", many_extensions, 0},
	{"TSO behind ten tags", "gso-packet", tags, 0},
	{"checksum starts past the end", "checksum", start_far, 0},
	{"checksum's place past the end", "checksum", place_far, 0},
	{"checksum's sum overflows", "checksum", both_far, 0},
	{"checksum of the Ethernet header", "checksum", in_ethernet, 0},
	{"checksum over the last byte", "checksum", last_byte, 0},
	{"no frame at all", "runt", nothing, 0},
	{"a frame of one byte", "runt", one_byte, 0},
	{"a frame of 13 bytes", "runt", thirteen, 0},
	{"a frame over 64 KiB", "oversize", too_long, 0},
	{"checksum, not negotiated", "offload", start_far, NET_BIT(CSUM)},
	{"TSO, not negotiated", "offload", hdr_len, NET_BIT(HOST_TSO4)},
	{"ECN, not negotiated", "offload", tso_ecn, NET_BIT(HOST_ECN)},
	{"USO, not negotiated", "offload", uso_of_tcp, BIT(HOST_USO)},
	{"a wrong hdr_len", NULL, hdr_len, 0},
	{"flags that are the device's", NULL, device_flags, 0},
	{"num_buffers of 65535", NULL, num_buffers, 0},
};

static void try_header(const struct fixture *f, const struct header_case *c)
{
	const struct net_options o = {.without = c->without};
	struct net_driver *d = fixture_open(f, &o);
	uint64_t before = c->fault ? hostile_count_fault(f, c->fault) : 0;
	struct lie lie = {0};

	lie.bytes = frame_make_tso(frame, PAYLOAD, &lie.header);
	c->tell(&lie);
	assert_int_equal(
		net_send(d, 0, &lie.header, frame, lie.bytes, lie.cuts), 0);
	assert_int_equal(net_send_wait(d, 0), 0);
	if (c->fault) {
		assert_int_equal(hostile_count_fault(f, c->fault), before + 1);
	} else {
		assert_int_equal(
			wire_receive(f, HOSTILE_PATIENCE_MS, NULL, got),
			lie.bytes);
		assert_memory_equal(got, frame, lie.bytes);
	}
	hostile_expect_frame(f, d, 0);
	net_driver_free(d);
}

static void headers_that_lie_are_dropped(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(header_cases); i++) {
		print_message("# %s\n", header_cases[i].name);
		try_header(*state, &header_cases[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DAEMON_TEST(headers_that_lie_are_dropped),
	};

	namespace_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
