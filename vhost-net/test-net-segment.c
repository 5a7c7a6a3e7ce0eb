/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/bytes.h"
#include "tests/cmocka.h"
#include "vhost-net/net-checksum.h"
#include "vhost-net/net-segment.h"
#include "vhost-net/test-packet.h"

enum {
	FIN = 0x01,
	PSH = 0x08,
	ACK = 0x10,
	CWR = 0x80,
	ID = 0xfffe, /* wraps */
	SEQUENCE = 0xfffffff0,
};

static struct packet packet;
static struct net_frame frame;
static struct net_segmenter segmenter;
static uint8_t whole[NET_MAX_FRAME_BYTES];

static void begin(const struct packet_shape *shape, uint16_t gso_size,
		  uint8_t gso_flags)
{
	const struct virtio_net_hdr_v1 header = {
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4 | gso_flags,
		.gso_size = htole16(gso_size),
	};

	packet_make(&packet, shape);
	net_frame_parse(packet.data, MIN(packet.bytes, (size_t)NET_COPY_BYTES),
			&frame);
	net_segmenter_init(&segmenter, &header, &frame, packet.data,
			   packet.bytes);
}

/* The frame that a receiver gets: headers, payload, checksum. Its length. */
static size_t finish(const struct net_segment *segment)
{
	const size_t bytes = segment->head_bytes + segment->payload_bytes;
	struct net_sum sum = {0};

	memcpy(whole, segment->head, segment->head_bytes);
	memcpy(whole + segment->head_bytes,
	       packet.data + segment->payload_offset, segment->payload_bytes);
	net_sum_add(&sum, whole + segment->csum_start,
		    bytes - segment->csum_start);
	net_sum_store(&sum, whole + segment->csum_place);
	return bytes;
}

static void check_ip(size_t bytes, uint32_t number)
{
	const uint8_t *ip = whole + frame.l3_offset;

	if (frame.l3 == NET_L3_IPV4) {
		assert_int_equal(get_be16(ip + 2), bytes - frame.l3_offset);
		assert_int_equal(get_be16(ip + 4), (uint16_t)(ID + number));
		assert_int_equal(
			packet_checksum(ip, frame.l4_offset - frame.l3_offset),
			0);
	} else {
		assert_int_equal(get_be16(ip + 4),
				 bytes - frame.l3_offset - 40);
	}
}

static void check_segment(const struct net_segment *segment, uint32_t number,
			  uint32_t at)
{
	const size_t bytes = finish(segment);
	const uint8_t *l4 = whole + frame.l4_offset;
	struct net_frame again;

	net_frame_parse(whole, MIN(bytes, (size_t)NET_COPY_BYTES), &again);
	assert_memory_equal(&again, &frame, sizeof(frame));
	check_ip(bytes, number);
	assert_int_equal(packet_transport_checksum(whole, bytes, &frame), 0);
	if (frame.l4 == NET_L4_TCP)
		assert_int_equal(get_be32(l4 + 4), (uint32_t)(SEQUENCE + at));
	else
		assert_int_equal(get_be16(l4 + 4), bytes - frame.l4_offset);
	assert_memory_equal(whole, packet.data, frame.l3_offset);
	for (size_t i = 0; i < segment->payload_bytes; i++)
		assert_int_equal(whole[segment->head_bytes + i],
				 packet_payload(at + i));
}

static void check_all(const struct packet_shape *shape, uint16_t gso_size)
{
	struct net_segment segment;
	uint32_t number = 0, at = 0;

	begin(shape, gso_size, 0);
	while (net_segmenter_next(&segmenter, &segment)) {
		check_segment(&segment, number, at);
		assert_true(segment.payload_bytes <= gso_size);
		at += segment.payload_bytes;
		number++;
	}
	assert_int_equal(at, shape->payload_bytes);
	assert_int_equal(number, net_segmenter_count(&segmenter));
}

static void segments_are_whole_packets_with_right_checksums(void **state)
{
	static const unsigned payloads[] = {0, 1, 99, 100, 101, 5000, 65000};

	for (unsigned i = 0; i < 2 * 2 * 3 * ARRAY_SIZE(payloads); i++) {
		const struct packet_shape shape = {
			.l3 = i & 1 ? NET_L3_IPV4 : NET_L3_IPV6,
			.l4 = i & 2 ? NET_L4_TCP : NET_L4_UDP,
			.tags = i / 4 % 3,
			.ip_options_bytes = 4,
			.tcp_options_bytes = 12,
			.payload_bytes = payloads[i / 12],
			.ip_id = ID,
			.tcp_sequence = SEQUENCE,
		};

		check_all(&shape, 100);
		check_all(&shape, 1448);
		check_all(&shape, 65535);
	}
}

static void segments_of_one_byte_are_made_too(void **state)
{
	const struct packet_shape shape = {
		.l3 = NET_L3_IPV4,
		.l4 = NET_L4_TCP,
		.payload_bytes = 999,
		.ip_id = ID,
		.tcp_sequence = SEQUENCE,
	};

	check_all(&shape, 1);
}

static void
only_the_last_ends_and_pushes_and_only_the_first_has_cwr(void **state)
{
	const struct packet_shape shape = {
		.l3 = NET_L3_IPV4,
		.l4 = NET_L4_TCP,
		.payload_bytes = 300,
		.tcp_flags = FIN | PSH | ACK | CWR,
	};
	static const uint8_t flags[2][3] = {
		{ACK | CWR, ACK | CWR, FIN | PSH | ACK | CWR},
		{ACK | CWR, ACK, FIN | PSH | ACK},
	};
	struct net_segment segment;

	for (unsigned ecn = 0; ecn < 2; ecn++) {
		begin(&shape, 100, ecn ? VIRTIO_NET_HDR_GSO_ECN : 0);
		for (unsigned i = 0; i < 3; i++) {
			assert_true(net_segmenter_next(&segmenter, &segment));
			assert_int_equal(segment.head[packet.l4 + 13],
					 flags[ecn][i]);
		}
		assert_false(net_segmenter_next(&segmenter, &segment));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			segments_are_whole_packets_with_right_checksums),
		cmocka_unit_test(segments_of_one_byte_are_made_too),
		cmocka_unit_test(
			only_the_last_ends_and_pushes_and_only_the_first_has_cwr),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
