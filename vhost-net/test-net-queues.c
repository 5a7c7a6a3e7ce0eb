/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From one guest's transmit queue into another's receive queue, both with a
 * real ring and their memory mapped twice.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/cmocka.h"
#include "vhost-net/net-tx.h"
#include "vhost-net/test-packet.h"
#include "vhost/test-driver.h"

enum {
	RING = 1024,
	HEADER_BYTES = sizeof(struct virtio_net_hdr_v1),
	MERGED_BYTES = 1526,
	PLAIN_BYTES = 66000,
	CANARY = 0xee,
};

static const uint64_t all_host = NET_FEATURE(CSUM) | NET_FEATURE(HOST_TSO4) |
				 NET_FEATURE(HOST_TSO6) |
				 NET_FEATURE(HOST_ECN) | NET_FEATURE(HOST_USO);
static const uint64_t all_guest =
	NET_FEATURE(GUEST_CSUM) | NET_FEATURE(GUEST_TSO4) |
	NET_FEATURE(GUEST_TSO6) | NET_FEATURE(GUEST_USO4) |
	NET_FEATURE(GUEST_USO6);

struct wire {
	struct ring_pair rings;
	struct net_rx rx;
	struct net_tx tx;
	/* The driver's receive buffers, in the order in which they were added. */
	uint64_t buffer_gpa[RING];
	uint32_t buffer_bytes[RING];
	unsigned added, taken;
	uint64_t next_gpa;
};

static struct packet packet;
static struct virtio_net_hdr_v1 header;
static uint8_t received[NET_MAX_FRAME_BYTES + HEADER_BYTES];

static int set_up(void **state)
{
	struct wire *wire = calloc(1, sizeof(*wire));

	assert_non_null(wire);
	ring_pair_setup(&wire->rings, *state, RING);
	net_rx_start(&wire->rx, wire->rings.from->vq, all_host, HEADER_BYTES);
	*state = wire;
	return 0;
}

static int tear_down(void **state)
{
	struct wire *wire = *state;

	ring_pair_teardown(&wire->rings);
	free(wire);
	return 0;
}

static void receive_with(struct wire *wire, uint64_t features)
{
	net_tx_start(&wire->tx, wire->rings.to->vq, features, HEADER_BYTES);
	wire->next_gpa = GUEST_DATA_GPA;
}

/* The bytes up to the seam, behind which the driver's mapping is elsewhere. */
static size_t up_to_seam(uint64_t gpa, size_t bytes)
{
	return gpa < GUEST_SEAM_GPA ? MIN(bytes, GUEST_SEAM_GPA - gpa) : bytes;
}

static void to_guest(const struct guest *guest, uint64_t gpa, const void *data,
		     size_t bytes)
{
	size_t first = up_to_seam(gpa, bytes);

	memcpy(guest_at(guest, gpa), data, first);
	if (first < bytes)
		memcpy(guest_at(guest, gpa + first),
		       (const uint8_t *)data + first, bytes - first);
}

static void from_guest(const struct guest *guest, uint64_t gpa, void *ret_data,
		       size_t bytes)
{
	size_t first = up_to_seam(gpa, bytes);

	memcpy(ret_data, guest_at(guest, gpa), first);
	if (first < bytes)
		memcpy((uint8_t *)ret_data + first,
		       guest_at(guest, gpa + first), bytes - first);
}

/* Offers @count buffers of @bytes, each in one descriptor. */
static void offer(struct wire *wire, unsigned count, uint32_t bytes)
{
	static uint8_t canaries[PLAIN_BYTES];

	memset(canaries, CANARY, sizeof(canaries));
	for (unsigned i = 0; i < count; i++) {
		const struct buffer buffer = {wire->next_gpa, bytes, true};
		unsigned slot = wire->added++ % RING;

		assert_true(range_fits(wire->next_gpa - GUEST_GPA, bytes,
				       2 * GUEST_REGION_BYTES));
		to_guest(&wire->rings.to->guest, buffer.gpa, canaries, bytes);
		wire->buffer_gpa[slot] = buffer.gpa;
		wire->buffer_bytes[slot] = bytes;
		wire->next_gpa += bytes;
		assert_true(driver_add(&wire->rings.to->driver, &buffer, 1) >=
			    0);
	}
}

/* Takes one used buffer: its bytes are appended at @at. */
static size_t take_buffer(struct wire *wire, size_t at)
{
	static uint8_t data[PLAIN_BYTES];
	unsigned slot = wire->taken++ % RING;
	uint32_t length;

	from_guest(&wire->rings.to->guest, wire->buffer_gpa[slot], data,
		   wire->buffer_bytes[slot]);

	assert_true(driver_used(&wire->rings.to->driver, &length) >= 0);
	assert_true(length <= wire->buffer_bytes[slot]);
	assert_true(at + length <= sizeof(received));
	memcpy(received + at, data, length);
	for (uint32_t i = length; i < wire->buffer_bytes[slot]; i++)
		assert_int_equal(data[i], CANARY);
	return length;
}

/* The next frame that the driver got, in received; its bytes with header. */
static size_t take_frame(struct wire *wire)
{
	struct virtio_net_hdr_v1 got;
	unsigned buffers = 0;
	size_t bytes = 0;

	for (; bytes < sizeof(got); buffers++)
		bytes += take_buffer(wire, bytes);
	memcpy(&got, received, sizeof(got));
	assert_true(le16toh(got.num_buffers) >= buffers);
	for (; buffers < le16toh(got.num_buffers); buffers++)
		bytes += take_buffer(wire, bytes);
	return bytes;
}

/*
 * Sends header and packet in descriptors of @piece bytes, the first of @first.
 * Frames lie across the seam of two regions of guest memory.
 */
static void send_pieces(struct wire *wire, size_t first, size_t piece)
{
	static struct buffer buffers[RING];
	const size_t bytes = HEADER_BYTES + packet.bytes;
	const uint64_t gpa =
		GUEST_SEAM_GPA - MIN(bytes / 2, (size_t)GUEST_REGION_BYTES / 2);
	unsigned count = 0;

	to_guest(&wire->rings.from->guest, gpa, &header, HEADER_BYTES);
	to_guest(&wire->rings.from->guest, gpa + HEADER_BYTES, packet.data,
		 packet.bytes);
	for (size_t at = 0; at < bytes; count++) {
		size_t now = MIN(count ? piece : first, bytes - at);

		buffers[count] = (struct buffer){gpa + at, now, false};
		at += now;
	}
	assert_true(driver_add(&wire->rings.from->driver, buffers, count) >= 0);
}

/* Moves what was sent: the fault of the last frame. */
static enum net_fault forward(struct wire *wire)
{
	unsigned count = net_rx_burst(&wire->rx, NET_BURST);
	enum net_fault fault = NET_FAULT_NONE;
	uint32_t length;

	for (unsigned i = 0; i < count; i++)
		fault = net_tx_put(&wire->tx, &wire->rx.frames[i]);
	net_rx_done(&wire->rx);
	net_tx_done(&wire->tx);
	while (driver_used(&wire->rings.from->driver, &length) >= 0)
		assert_int_equal(length, 0);
	assert_int_equal(virtq_in_flight(wire->rx.vq), 0);
	assert_int_equal(virtq_in_flight(wire->tx.vq), 0);
	assert_null(virtq_error(wire->rx.vq));
	assert_null(virtq_error(wire->tx.vq));
	return fault;
}

/* A frame of @bytes that asks for nothing. */
static void make_plain(size_t bytes)
{
	packet_make(&packet,
		    &(struct packet_shape){.payload_bytes = bytes - 14});
	header = (struct virtio_net_hdr_v1){0};
	assert_int_equal(packet.bytes, bytes);
}

static void check_same(struct wire *wire, size_t buffer_bytes)
{
	const size_t wanted = HEADER_BYTES + packet.bytes;
	struct virtio_net_hdr_v1 got;

	assert_int_equal(take_frame(wire), wanted);
	memcpy(&got, received, sizeof(got));
	assert_int_equal(le16toh(got.num_buffers),
			 div_round_up(wanted, buffer_bytes));
	got.num_buffers = 0;
	assert_memory_equal(&got, &header, sizeof(got));
	assert_memory_equal(received + HEADER_BYTES, packet.data, packet.bytes);
}

static void check_sizes(struct wire *wire, uint64_t features,
			size_t buffer_bytes)
{
	static const size_t sizes[] = {
		14,   15,   60,	  64,	127,   128,   129,
		1500, 1514, 1515, 9014, 65000, 65549, NET_MAX_FRAME_BYTES};
	static const size_t splits[][2] = {{1 << 20, 1 << 20},
					   {HEADER_BYTES, 1 << 20},
					   {5, 1000},
					   {HEADER_BYTES + 14, 4096},
					   {1, 131}};

	for (size_t i = 0; i < ARRAY_SIZE(sizes) * ARRAY_SIZE(splits); i++) {
		const size_t *split = splits[i % ARRAY_SIZE(splits)];
		const size_t bytes = sizes[i / ARRAY_SIZE(splits)];
		const size_t needed = HEADER_BYTES + bytes;

		receive_with(wire, features);
		offer(wire, div_round_up(needed, buffer_bytes), buffer_bytes);
		make_plain(bytes);
		send_pieces(wire, split[0], split[1]);
		assert_int_equal(forward(wire), NET_FAULT_NONE);
		check_same(wire, buffer_bytes);
	}
}

static void frames_of_any_size_and_split_arrive(void **state)
{
	check_sizes(*state, 0, PLAIN_BYTES);
	check_sizes(*state, NET_FEATURE(MRG_RXBUF), PLAIN_BYTES);
	check_sizes(*state, NET_FEATURE(MRG_RXBUF), MERGED_BYTES);
	check_sizes(*state, NET_FEATURE(MRG_RXBUF), 100);
}

static void a_frame_in_single_bytes_arrives(void **state)
{
	struct wire *wire = *state;

	for (size_t bytes = 14; bytes < 300; bytes += 11) {
		receive_with(wire, NET_FEATURE(MRG_RXBUF));
		offer(wire, HEADER_BYTES + bytes, 1);
		make_plain(bytes);
		send_pieces(wire, 1, 1);
		assert_int_equal(forward(wire), NET_FAULT_NONE);
		check_same(wire, 1);
	}
}

static void make_gso(enum net_l3 l3, enum net_l4 l4, size_t payload_bytes)
{
	const struct packet_shape shape = {
		.l3 = l3,
		.l4 = l4,
		.payload_bytes = payload_bytes,
	};
	struct net_frame layout;
	uint16_t sum;

	packet_make(&packet, &shape);
	header = (struct virtio_net_hdr_v1){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = l4 == NET_L4_UDP	? VIRTIO_NET_HDR_GSO_UDP_L4
			    : l3 == NET_L3_IPV4 ? VIRTIO_NET_HDR_GSO_TCPV4
						: VIRTIO_NET_HDR_GSO_TCPV6,
		.gso_size = htole16(1400),
		.hdr_len = htole16(packet.payload),
		.csum_start = htole16(packet.l4),
		.csum_offset = htole16(l4 == NET_L4_TCP ? 16 : 6),
	};
	/* The driver's part: the sum of the pseudo header alone. */
	net_frame_parse(packet.data, NET_COPY_BYTES, &layout);
	sum = ~packet_transport_checksum(packet.data, packet.bytes, &layout);
	for (size_t i = packet.l4; i < packet.bytes; i++) {
		uint32_t byte = (i - packet.l4) % 2 ? packet.data[i]
						    : packet.data[i] << 8;
		uint32_t less = sum + (uint16_t)~byte;

		sum = (less & 0xffff) + (less >> 16);
	}
	put_be16(packet.data + packet.l4 + (l4 == NET_L4_TCP ? 16 : 6), sum);
}

/* All that arrived are whole packets, and their payloads make up the whole. */
static void check_segments(struct wire *wire, size_t payload_bytes)
{
	size_t at = 0;

	while (at < payload_bytes) {
		const uint8_t *frame = received + HEADER_BYTES;
		size_t bytes = take_frame(wire) - HEADER_BYTES;
		struct virtio_net_hdr_v1 got;
		struct net_frame layout;

		memcpy(&got, received, sizeof(got));
		assert_int_equal(got.flags, 0);
		assert_int_equal(got.gso_type, VIRTIO_NET_HDR_GSO_NONE);
		net_frame_parse(frame, MIN(bytes, (size_t)NET_COPY_BYTES),
				&layout);
		assert_int_equal(
			packet_transport_checksum(frame, bytes, &layout), 0);
		for (size_t i = layout.payload_offset; i < bytes; i++)
			assert_int_equal(frame[i], packet_payload(at++));
	}
	assert_int_equal(at, payload_bytes);
}

static void each_pair_of_offloads_gives_whole_packets(void **state)
{
	static const size_t payloads[] = {10, 1400, 1401, 9000, 60000};
	struct wire *wire = *state;

	for (unsigned i = 0; i < 2 * 2 * 2 * ARRAY_SIZE(payloads); i++) {
		const enum net_l3 l3 = i & 1 ? NET_L3_IPV4 : NET_L3_IPV6;
		const enum net_l4 l4 = i & 2 ? NET_L4_TCP : NET_L4_UDP;
		const bool merges = i & 4;
		const size_t bytes = payloads[i / 8];
		const size_t buffer = merges ? MERGED_BYTES : 65536;
		uint64_t features = merges ? NET_FEATURE(MRG_RXBUF) : 0;

		make_gso(l3, l4, bytes);
		/* It takes all: what arrives is what was sent. */
		receive_with(wire, features | all_guest);
		offer(wire, div_round_up(HEADER_BYTES + packet.bytes, buffer),
		      buffer);
		send_pieces(wire, 100, 5000);
		assert_int_equal(forward(wire), NET_FAULT_NONE);
		check_same(wire, buffer);
		/* It takes nothing. */
		receive_with(wire, features);
		offer(wire, 50, 1600);
		send_pieces(wire, 100, 5000);
		assert_int_equal(forward(wire), NET_FAULT_NONE);
		check_segments(wire, bytes);
		/* No buffer is left for the next turn. */
		while (virtq_has_avail(wire->tx.vq)) {
			make_plain(60);
			send_pieces(wire, 1000, 1000);
			assert_int_equal(forward(wire), NET_FAULT_NONE);
			take_frame(wire);
		}
	}
}

static void a_receiver_without_checksums_gets_whole_ones(void **state)
{
	struct wire *wire = *state;

	receive_with(wire, 0);
	for (unsigned i = 0; i < 4; i++) {
		make_gso(i & 1 ? NET_L3_IPV4 : NET_L3_IPV6,
			 i & 2 ? NET_L4_TCP : NET_L4_UDP, 999);
		header.gso_type = VIRTIO_NET_HDR_GSO_NONE;
		header.gso_size = 0;
		offer(wire, 1, 2000);
		send_pieces(wire, 33, 77);
		assert_int_equal(forward(wire), NET_FAULT_NONE);
		check_segments(wire, 999);
	}
}

static void expect_fault(struct wire *wire, enum net_fault fault)
{
	uint64_t before = wire->rx.faults[fault];
	uint64_t forwarded = wire->rx.frames_total;

	forward(wire);
	assert_int_equal(wire->rx.faults[fault], before + 1);
	assert_int_equal(wire->rx.frames_total, forwarded);
}

static void malformed_frames_are_counted_and_not_forwarded(void **state)
{
	struct wire *wire = *state;
	const struct buffer both[] = {{GUEST_DATA_GPA, 100, false},
				      {GUEST_DATA_GPA + 4096, 100, true}};
	const struct buffer writable[] = {{GUEST_DATA_GPA, 100, true}};
	const struct buffer of_length[] = {{GUEST_DATA_GPA, 0, false}};

	receive_with(wire, 0);
	offer(wire, 4, PLAIN_BYTES);
	memset(guest_at(&wire->rings.from->guest, GUEST_DATA_GPA), 0, 100);
	driver_add(&wire->rings.from->driver, both, 2);
	expect_fault(wire, NET_FAULT_LAYOUT);
	driver_add(&wire->rings.from->driver, writable, 1);
	expect_fault(wire, NET_FAULT_LAYOUT);
	for (uint32_t bytes = 1; bytes < HEADER_BYTES + 14; bytes++) {
		struct buffer buffer = of_length[0];

		buffer.len = bytes;
		driver_add(&wire->rings.from->driver, &buffer, 1);
		expect_fault(wire, bytes < HEADER_BYTES ? NET_FAULT_LAYOUT
							: NET_FAULT_RUNT);
	}
	make_plain(NET_MAX_FRAME_BYTES);
	packet.bytes++;
	send_pieces(wire, 1 << 20, 1 << 20);
	expect_fault(wire, NET_FAULT_OVERSIZE);
	make_plain(1500);
	header.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	header.csum_start = htole16(1500);
	send_pieces(wire, 1 << 20, 1 << 20);
	expect_fault(wire, NET_FAULT_CHECKSUM);
	assert_int_equal(wire->tx.frames_total, 0);
}

static void without_buffers_the_ring_stays_as_it_was(void **state)
{
	struct wire *wire = *state;

	receive_with(wire, NET_FEATURE(MRG_RXBUF));
	make_plain(4000);
	send_pieces(wire, 1000, 1000);
	assert_int_equal(forward(wire), NET_FAULT_NO_BUFFER);
	offer(wire, 2, MERGED_BYTES);
	send_pieces(wire, 1000, 1000);
	assert_int_equal(forward(wire), NET_FAULT_NO_BUFFER);
	assert_int_equal(wire->tx.faults[NET_FAULT_NO_BUFFER], 2);
	offer(wire, 1, MERGED_BYTES);
	send_pieces(wire, 1000, 1000);
	assert_int_equal(forward(wire), NET_FAULT_NONE);
	check_same(wire, MERGED_BYTES);
}

static void a_buffer_too_small_is_not_overrun(void **state)
{
	struct wire *wire = *state;

	receive_with(wire, 0);
	offer(wire, 1, 1000);
	make_plain(1000);
	send_pieces(wire, 100, 100);
	assert_int_equal(forward(wire), NET_FAULT_SMALL_BUFFER);
	make_plain(1000 - HEADER_BYTES);
	send_pieces(wire, 100, 100);
	assert_int_equal(forward(wire), NET_FAULT_NONE);
	check_same(wire, 1000);
}

static void what_a_receiver_offers_to_read_is_not_written(void **state)
{
	struct wire *wire = *state;
	const struct buffer buffers[] = {
		{GUEST_DATA_GPA, 64, false},
		{GUEST_DATA_GPA + 64, 32, true},
		{GUEST_DATA_GPA + 200, 2000, true},
	};
	uint8_t *data = guest_at(&wire->rings.to->guest, GUEST_DATA_GPA);
	uint32_t length;

	receive_with(wire, 0);
	memset(data, CANARY, 4096);
	driver_add(&wire->rings.to->driver, buffers, 3);
	make_plain(500);
	send_pieces(wire, 100, 100);
	assert_int_equal(forward(wire), NET_FAULT_NONE);
	assert_true(driver_used(&wire->rings.to->driver, &length) >= 0);
	assert_int_equal(length, HEADER_BYTES + 500);
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(data[i], CANARY);
	for (unsigned i = 96; i < 200; i++)
		assert_int_equal(data[i], CANARY);
	assert_memory_equal(data + 64 + HEADER_BYTES, packet.data, 20);
	assert_memory_equal(data + 200, packet.data + 20, 480);
}

static void one_frame_reaches_many_receivers(void **state)
{
	struct wire *wire = *state;

	receive_with(wire, 0);
	offer(wire, 3, PLAIN_BYTES);
	make_plain(9000);
	send_pieces(wire, 1000, 1000);
	assert_int_equal(net_rx_burst(&wire->rx, 1), 1);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(net_tx_put(&wire->tx, &wire->rx.frames[0]),
				 NET_FAULT_NONE);
	net_rx_done(&wire->rx);
	net_tx_done(&wire->tx);
	for (unsigned i = 0; i < 3; i++)
		check_same(wire, PLAIN_BYTES);
}

static void a_burst_ends_though_all_frames_are_bad(void **state)
{
	struct wire *wire = *state;
	const struct buffer bad[] = {{GUEST_DATA_GPA, 1, false}};

	receive_with(wire, 0);
	for (unsigned i = 0; i < 3 * NET_BURST; i++)
		driver_add(&wire->rings.from->driver, bad, 1);
	for (unsigned i = 1; i <= 3; i++) {
		assert_int_equal(net_rx_burst(&wire->rx, NET_BURST), 0);
		net_rx_done(&wire->rx);
		assert_int_equal(wire->rx.faults[NET_FAULT_LAYOUT],
				 i * NET_BURST);
	}
}

#define ON_BOTH_WIRES(test) ON_BOTH_WITH(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_BOTH_WIRES(frames_of_any_size_and_split_arrive),
		ON_BOTH_WIRES(a_frame_in_single_bytes_arrives),
		ON_BOTH_WIRES(each_pair_of_offloads_gives_whole_packets),
		ON_BOTH_WIRES(a_receiver_without_checksums_gets_whole_ones),
		ON_BOTH_WIRES(malformed_frames_are_counted_and_not_forwarded),
		ON_BOTH_WIRES(without_buffers_the_ring_stays_as_it_was),
		ON_BOTH_WIRES(a_buffer_too_small_is_not_overrun),
		ON_BOTH_WIRES(what_a_receiver_offers_to_read_is_not_written),
		ON_BOTH_WIRES(one_frame_reaches_many_receivers),
		ON_BOTH_WIRES(a_burst_ends_though_all_frames_are_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
