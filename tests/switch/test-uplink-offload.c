/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest leaves to be made, on its way through two switches that are joined
 * by a device that can make it (net_virtio_user), or is told not to: whatever the
 * guest at the end takes, each byte and each checksum is right, and who takes
 * frames whole gets them whole.
 */
#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/switch/uplink.h"

#define NET_BIT(name) (UINT64_C(1) << VIRTIO_NET_F_##name)
#define GUEST_USO     (UINT64_C(3) << 54)
#define GSO_UDP_L4    5 /* virtio 1.3, 5.1.6 */

enum {
	SEGMENT_BYTES = 1400,
	ETHERNET_BYTES = 14,
	IPV6_BYTES = 40,
	CWR = 0x80,
};

/* What a frame is, and what is left to be made of it. */
static const struct work {
	const char *name;
	bool is_ipv6, is_udp;
	unsigned options_bytes;	    /* of IPv4 */
	unsigned tcp_options_bytes; /* and of TCP */
	uint8_t tcp_flags;
	unsigned payload_bytes;
	uint8_t gso_type;
	bool out, in; /* whether the device takes it so, and gives it so */
} works[] = {
	{.name = "checksum, TCP, IPv4",
	 .payload_bytes = 1001,
	 .out = true,
	 .in = true},
	{.name = "checksum, UDP, IPv4",
	 .is_udp = true,
	 .payload_bytes = 1400,
	 .out = true,
	 .in = true},
	{.name = "checksum, TCP, IPv6",
	 .is_ipv6 = true,
	 .tcp_options_bytes = 12,
	 .payload_bytes = 500,
	 .out = true,
	 .in = true},
	{.name = "checksum, UDP, IPv6",
	 .is_ipv6 = true,
	 .is_udp = true,
	 .payload_bytes = 77,
	 .out = true,
	 .in = true},
	{.name = "segments, IPv4",
	 .tcp_options_bytes = 12,
	 .tcp_flags = 0x18,
	 .payload_bytes = 64001,
	 .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
	 .out = true,
	 .in = true},
	{.name = "segments, IPv6",
	 .is_ipv6 = true,
	 .tcp_flags = 0x18,
	 .payload_bytes = 20000,
	 .gso_type = VIRTIO_NET_HDR_GSO_TCPV6,
	 .out = true,
	 .in = true},
	{.name = "segments, ECN",
	 .tcp_flags = 0x10 | CWR,
	 .payload_bytes = 9000,
	 .gso_type = VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN},
	{.name = "segments, UDP",
	 .is_ipv6 = true,
	 .is_udp = true,
	 .payload_bytes = 9000,
	 .gso_type = GSO_UDP_L4},
	{.name = "segments, options of IPv4",
	 .options_bytes = 8,
	 .payload_bytes = 9000,
	 .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
	 .in = true},
};

/* What the guest at the end does not take. */
static const struct taker {
	const char *name;
	uint64_t without;
	bool sums, cuts;
} takers[] = {
	{"takes all", 0, true, true},
	{"takes no segments",
	 NET_BIT(GUEST_TSO4) | NET_BIT(GUEST_TSO6) | NET_BIT(GUEST_ECN) |
		 GUEST_USO,
	 true, false},
	{"takes nothing",
	 NET_BIT(GUEST_CSUM) | NET_BIT(GUEST_TSO4) | NET_BIT(GUEST_TSO6) |
		 NET_BIT(GUEST_ECN) | GUEST_USO,
	 false, false},
};

static uint8_t frame[FIXTURE_FRAME_BYTES], got[FIXTURE_FRAME_BYTES];

/* --- frames ------------------------------------------------------------------ */

static size_t l4_at(const struct work *work)
{
	return ETHERNET_BYTES +
	       (work->is_ipv6 ? IPV6_BYTES : 20 + work->options_bytes);
}

static size_t payload_at(const struct work *work)
{
	return l4_at(work) + (work->is_udp ? 8 : 20 + work->tcp_options_bytes);
}

static size_t sum_at(const struct work *work)
{
	return l4_at(work) + (work->is_udp ? 6 : 16);
}

static uint8_t payload_byte(size_t at)
{
	return at * 7 + at / 251;
}

/* RFC 1071. */
static uint16_t add(uint16_t sum, const uint8_t *at, size_t bytes)
{
	uint64_t total = sum;

	for (size_t i = 0; i < bytes; i++)
		total += i % 2 ? at[i] : at[i] << 8;
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	return total;
}

/* Of the frame at @at, as long as it is. */
static uint16_t pseudo_sum(const struct work *work, const uint8_t *at,
			   size_t bytes)
{
	const uint8_t *ip = at + ETHERNET_BYTES;
	uint8_t tail[4] = {0, work->is_udp ? IPPROTO_UDP : IPPROTO_TCP};

	put_be16(tail + 2, bytes - l4_at(work));
	return add(work->is_ipv6 ? add(0, ip + 8, 32) : add(0, ip + 12, 8),
		   tail, sizeof(tail));
}

static void make_ip(const struct work *work, size_t bytes)
{
	uint8_t *ip = frame + ETHERNET_BYTES;
	const uint8_t protocol = work->is_udp ? IPPROTO_UDP : IPPROTO_TCP;

	put_be16(frame + 12, work->is_ipv6 ? 0x86dd : 0x0800);
	if (work->is_ipv6) {
		ip[0] = 0x60;
		put_be16(ip + 4, bytes - l4_at(work));
		ip[6] = protocol;
		ip[7] = 64;
		for (unsigned i = 8; i < IPV6_BYTES; i++)
			ip[i] = i * 5;
		return;
	}
	ip[0] = 0x45 + work->options_bytes / 4;
	put_be16(ip + 2, bytes - ETHERNET_BYTES);
	ip[8] = 64;
	ip[9] = protocol;
	put_be32(ip + 12, 0x0a000001);
	put_be32(ip + 16, 0x0a0000fe);
	memset(ip + 20, 1, work->options_bytes); /* no operation */
	put_be16(ip + 10, ~add(0, ip, 20 + work->options_bytes));
}

/* As a guest does, with the sum of the pseudo header where the checksum goes. Its
 * length. */
static size_t make(const struct work *work,
		   struct virtio_net_hdr_v1 *ret_header)
{
	static const uint8_t addresses[12] = {2, 0, 0, 0, 1, 9,
					      2, 0, 0, 0, 1, 8};
	const size_t at = payload_at(work), bytes = at + work->payload_bytes;
	const bool is_cut = work->gso_type != VIRTIO_NET_HDR_GSO_NONE;
	uint8_t *l4 = frame + l4_at(work);

	memset(frame, 0, at);
	memcpy(frame, addresses, sizeof(addresses));
	make_ip(work, bytes);
	put_be32(l4, 1000 << 16 | 2000);
	if (work->is_udp) {
		put_be16(l4 + 4, bytes - l4_at(work));
	} else {
		l4[12] = (20 + work->tcp_options_bytes) / 4 << 4;
		l4[13] = work->tcp_flags;
		memset(l4 + 20, 1, work->tcp_options_bytes);
	}
	for (size_t i = 0; i < work->payload_bytes; i++)
		frame[at + i] = payload_byte(i);
	put_be16(frame + sum_at(work), pseudo_sum(work, frame, bytes));
	*ret_header = (struct virtio_net_hdr_v1){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.csum_start = htole16(l4_at(work)),
		.csum_offset = htole16(sum_at(work) - l4_at(work)),
		.gso_type = work->gso_type,
		.gso_size = htole16(is_cut ? SEGMENT_BYTES : 0),
		.hdr_len = htole16(is_cut ? at : 0),
	};
	return bytes;
}

/* With what its header leaves to be made made. */
static void check_checksums(const struct virtio_net_hdr_v1 *header,
			    const struct work *work, size_t bytes)
{
	const size_t start = l4_at(work);

	if (header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		assert_int_equal(le16toh(header->csum_start), start);
		assert_int_equal(start + le16toh(header->csum_offset),
				 sum_at(work));
		put_be16(got + sum_at(work),
			 ~add(0, got + start, bytes - start));
	}
	assert_int_equal(
		add(pseudo_sum(work, got, bytes), got + start, bytes - start),
		0xffff);
	if (!work->is_ipv6)
		assert_int_equal(
			add(0, got + ETHERNET_BYTES, start - ETHERNET_BYTES),
			0xffff);
}

/* The next frame, whose payload begins at @at: how much of it. */
static size_t receive(struct net_driver *guest, const struct work *work,
		      size_t at, struct virtio_net_hdr_v1 *ret_header)
{
	const size_t begin = payload_at(work);
	int n = net_receive(guest, 0, ret_header, got, sizeof(got));

	assert_true(n > (int)begin);
	assert_memory_equal(got, frame, ETHERNET_BYTES);
	check_checksums(ret_header, work, n);
	if (work->tcp_flags & CWR)
		assert_int_equal(!(got[l4_at(work) + 13] & CWR), at > 0);
	for (size_t i = begin; i < (size_t)n; i++)
		if (got[i] != payload_byte(at + i - begin))
			fail_msg("%s: byte %zu", work->name, at + i - begin);
	return n - begin;
}

/* --- the matrix -------------------------------------------------------------- */

static void check_header(const struct virtio_net_hdr_v1 *header,
			 const struct work *work, const struct taker *taker,
			 bool is_whole)
{
	if (!taker->sums)
		assert_int_equal(header->flags, 0);
	if (!is_whole) {
		assert_int_equal(header->gso_type, VIRTIO_NET_HDR_GSO_NONE);
		return;
	}
	assert_int_equal(header->gso_type, work->gso_type);
	if (taker->sums)
		assert_int_equal(header->flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
}

/* Whole, if all on the way take it: the device @takes it. */
static void pass(struct net_driver *from, struct net_driver *to,
		 const struct work *work, const struct taker *taker, bool takes)
{
	const bool is_cut = work->gso_type != VIRTIO_NET_HDR_GSO_NONE;
	const bool is_whole = takes && (is_cut ? taker->cuts : taker->sums);
	const size_t payload = work->payload_bytes;
	struct virtio_net_hdr_v1 header;
	size_t bytes = make(work, &header), at = 0;

	assert_int_equal(net_send(from, 0, &header, frame, bytes, NULL), 0);
	while (at < payload) {
		const size_t part = receive(to, work, at, &header);

		check_header(&header, work, taker, is_whole);
		assert_int_equal(
			part, is_cut && !is_whole
				      ? MIN(payload - at, (size_t)SEGMENT_BYTES)
				      : payload);
		at += part;
	}
	assert_int_equal(at, payload);
}

/* What the device takes and gives so. */
enum {
	OUT_SUMS = 1,
	OUT_CUTS = 2,
	IN_SUMS = 4,
	IN_CUTS = 8,
	EVERYTHING = 15,
};

/* By the one in front, of the frames that its guest sent @rounds times. */
static void assert_counted(struct uplink *u, unsigned rounds, unsigned does)
{
	unsigned sums = 0, cuts = 0;
	char words[512];

	for (unsigned i = 0; i < ARRAY_SIZE(works); i++) {
		const bool is_cut =
			works[i].gso_type != VIRTIO_NET_HDR_GSO_NONE;

		sums += works[i].out && !is_cut && does & OUT_SUMS;
		cuts += works[i].out && is_cut && does & OUT_CUTS;
	}
#define SAMPLE "vswitch_offloads_total{port=\"w\",outcome="
	snprintf(words, sizeof(words),
		 SAMPLE "\"checksum\"} %u\n" SAMPLE "\"tso\"} %u\n" SAMPLE
			"\"copied\"} %u\n" SAMPLE "\"refused\"} 0\n",
		 rounds * sums, rounds * cuts,
		 rounds * ((unsigned)ARRAY_SIZE(works) - sums - cuts));
	fixture_ctl_says(u->front, "metrics", words);
	assert_null(
		strstr(u->front->said, "vswitch_offloads_total{port=\"p1\""));
}

static void join(struct uplink *u, const struct taker *taker)
{
	const struct net_options options = {.without = taker->without};

	fixture_join(u->back, UPLINK_BACK_GUEST, &options);
	fixture_join(u->front, UPLINK_FRONT_GUEST, &options);
}

static void leave(struct uplink *u)
{
	fixture_leave(u->back, UPLINK_BACK_GUEST);
	fixture_leave(u->front, UPLINK_FRONT_GUEST);
}

/* All that a frame can be, both ways. */
static void pass_works(struct uplink *u, const struct taker *taker,
		       unsigned does)
{
	struct net_driver *back = u->back->guests[UPLINK_BACK_GUEST];
	struct net_driver *front = u->front->guests[UPLINK_FRONT_GUEST];

	for (unsigned i = 0; i < ARRAY_SIZE(works); i++) {
		const struct work *work = &works[i];
		const bool is_cut = work->gso_type != VIRTIO_NET_HDR_GSO_NONE;

		print_message("%s: %s\n", taker->name, work->name);
		pass(front, back, work, taker,
		     work->out && does & (is_cut ? OUT_CUTS : OUT_SUMS));
		pass(back, front, work, taker,
		     work->in && does & (is_cut ? IN_CUTS : IN_SUMS));
	}
}

/* Between all kinds of guests. */
static void pass_all(struct uplink *u, unsigned does)
{
	for (unsigned i = 0; i < ARRAY_SIZE(takers); i++) {
		join(u, &takers[i]);
		pass_works(u, &takers[i], does);
		leave(u);
	}
	assert_counted(u, ARRAY_SIZE(takers), does);
}

static void start(struct uplink *u, const char *args, const char *both,
		  const char *front)
{
	char keys[256];

	snprintf(keys, sizeof(keys), "%s%s", both, front);
	uplink_start_back(u, both);
	uplink_start_front(u, "", args, keys);
}

static void a_device_that_can_has_it_to_do(void **state)
{
	struct uplink *u = *state;

	start(u, "", "", "");
	fixture_ctl_says(u->front, "port show",
			 "tx-checksum tx-tso rx-checksum rx-tso");
	pass_all(u, EVERYTHING);
}

static void so_it_is_in_frames_with_a_tag(void **state)
{
	struct uplink *u = *state;

	start(u, "",
	      ", vlan-mode: trunk, vlan: 1, vlans: [all], "
	      "tags-native: true",
	      "");
	pass_all(u, EVERYTHING);
}

static void a_device_that_must_not_has_nothing_to_do(void **state)
{
	struct uplink *u = *state;

	start(u, "", "", ", offloads: false");
	pass_all(u, 0);
}

/* Without merged buffers no frame of 64 KiB comes in. */
static void a_device_without_buffers_for_it_gets_no_large_frames(void **state)
{
	struct uplink *u = *state;

	start(u, ",mrg_rxbuf=0", "", "");
	fixture_ctl_says(u->front, "port show",
			 "tx-checksum tx-tso rx-checksum ");
	join(u, &takers[0]);
	pass_works(u, &takers[0], EVERYTHING & ~IN_CUTS);
}

/* Whose driver does not send frames in several buffers rightly. */
static void a_device_with_packed_rings_is_given_none(void **state)
{
	struct uplink *u = *state;

	start(u, ",packed_vq=1", "", "");
	fixture_ctl_says(u->front, "port show",
			 "tx-checksum rx-checksum rx-tso");
	join(u, &takers[0]);
	pass_works(u, &takers[0], EVERYTHING & ~OUT_CUTS);
	assert_counted(u, 1, EVERYTHING & ~OUT_CUTS);
	fixture_ctl_says(u->front, "--json stats", "\"checksum\": 4,\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UPLINK_TEST(a_device_that_can_has_it_to_do),
		UPLINK_TEST(so_it_is_in_frames_with_a_tag),
		UPLINK_TEST(a_device_that_must_not_has_nothing_to_do),
		UPLINK_TEST(
			a_device_without_buffers_for_it_gets_no_large_frames),
		UPLINK_TEST(a_device_with_packed_rings_is_given_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
