/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bursts of frames into receive queues whose buffers change from one to the next:
 * each frame arrives whole and in its turn, whichever way was taken for it, and
 * what it does not fill stays as it was.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/cmocka.h"
#include "vhost-net/net-tx.h"
#include "vhost/test-driver.h"

enum {
	RING = 1024,
	HEADER_BYTES = sizeof(struct virtio_net_hdr_v1),
	PLACE_BYTES = 2048, /* of a frame that is sent */
	MAX_BYTES = 1600,
	MANY = 3 *
	       NET_BURST, /* buffers, at least: three merged ones for a frame */
	LAPS = 300,
	CANARY = 0xee,
};

static struct net_rx rx;
static struct net_tx tx;
static uint8_t sent[NET_BURST][MAX_BYTES];
static uint32_t sent_bytes[NET_BURST];

/* The receiver's buffers, in the order of the ring. */
struct offered {
	uint64_t gpa;
	uint32_t bytes;
};
static struct offered offers[RING];
static unsigned offered, taken;

struct burst_test {
	struct ring_pair rings;
	uint64_t next_gpa;
};

static int set_up(void **state)
{
	struct burst_test *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	ring_pair_setup(&t->rings, *state, RING);
	net_rx_start(&rx, t->rings.from->vq, 0, HEADER_BYTES);
	offered = taken = 0;
	srand(1);
	*state = t;
	return 0;
}

static int tear_down(void **state)
{
	struct burst_test *t = *state;

	ring_pair_teardown(&t->rings);
	free(t);
	return 0;
}

/* One frame of random bytes in one descriptor or two. */
static void send_one(struct burst_test *t, unsigned i)
{
	const uint64_t gpa = GUEST_DATA_GPA + i * PLACE_BYTES;
	uint8_t *at = guest_at(&t->rings.from->guest, gpa);
	const uint32_t bytes = 60 + rand() % (MAX_BYTES - 60);
	const uint32_t whole = HEADER_BYTES + bytes;
	const uint32_t cut = 1 + rand() % (whole - 2);
	const struct buffer one[] = {{gpa, whole, false}};
	const struct buffer two[] = {{gpa, cut, false},
				     {gpa + cut, whole - cut, false}};

	sent_bytes[i] = bytes;
	for (uint32_t b = 0; b < bytes; b++)
		sent[i][b] = rand();
	memset(at, 0, HEADER_BYTES);
	memcpy(at + HEADER_BYTES, sent[i], bytes);
	if (rand() % 4)
		driver_add(&t->rings.from->driver, one, 1);
	else
		driver_add(&t->rings.from->driver, two, 2);
}

/* Buffers of @bytes each, in one descriptor or two. */
static void offer(struct burst_test *t, unsigned count, uint32_t bytes,
		  unsigned pieces)
{
	for (unsigned i = 0; i < count; i++) {
		const uint64_t gpa = t->next_gpa;
		const struct buffer two[] = {
			{gpa, bytes / pieces, true},
			{gpa + bytes / pieces, bytes - bytes / pieces, true}};

		if (driver_add(&t->rings.to->driver, two, pieces) < 0)
			return;
		memset(guest_at(&t->rings.to->guest, gpa), CANARY, bytes);
		offers[offered++ % RING] = (struct offered){gpa, bytes};
		t->next_gpa += bytes;
		if (t->next_gpa > GUEST_SEAM_GPA - 4096)
			t->next_gpa = GUEST_DATA_GPA;
	}
}

/* Runs of like buffers, long and short, until the ring has many. */
static void offer_some(struct burst_test *t, uint32_t least_bytes)
{
	while (offered - taken < MANY)
		offer(t, 1 + rand() % (rand() % 2 ? 3 : 40),
		      least_bytes + rand() % 2000, 1 + rand() % 2);
}

/* One buffer's part of a frame at @at; its bytes. */
static uint32_t take_buffer(struct burst_test *t, uint8_t *at)
{
	const struct offered *o = &offers[taken++ % RING];
	const uint8_t *data = guest_at(&t->rings.to->guest, o->gpa);
	uint32_t length;

	assert_true(driver_used(&t->rings.to->driver, &length) >= 0);
	assert_true(length <= o->bytes);
	memcpy(at, data, length);
	for (uint32_t i = length; i < o->bytes; i++)
		assert_int_equal(data[i], CANARY);
	return length;
}

static void expect_frame(struct burst_test *t, unsigned i)
{
	static uint8_t got[8 * MAX_BYTES];
	struct virtio_net_hdr_v1 header;
	uint32_t bytes = 0;
	unsigned buffers = 0;

	for (; bytes < HEADER_BYTES; buffers++)
		bytes += take_buffer(t, got + bytes);
	memcpy(&header, got, sizeof(header));
	for (; buffers < le16toh(header.num_buffers); buffers++)
		bytes += take_buffer(t, got + bytes);
	assert_int_equal(buffers, le16toh(header.num_buffers));
	header.num_buffers = 0;
	for (size_t b = 0; b < sizeof(header); b++)
		assert_int_equal(((const uint8_t *)&header)[b], 0);
	assert_int_equal(bytes, HEADER_BYTES + sent_bytes[i]);
	assert_memory_equal(got + HEADER_BYTES, sent[i], sent_bytes[i]);
}

static void send_burst(struct burst_test *t, unsigned count)
{
	const struct net_rx_frame *frames[NET_BURST];
	uint32_t length;

	for (unsigned i = 0; i < count; i++)
		send_one(t, i);
	assert_int_equal(net_rx_burst(&rx, NET_BURST), count);
	for (unsigned i = 0; i < count; i++) {
		frames[i] = &rx.frames[i];
		/* As a device says of some, which this driver does not take. */
		if (i % 4 == 3)
			rx.frames[i].header.flags = VIRTIO_NET_HDR_F_DATA_VALID;
	}
	assert_int_equal(net_tx_put_burst(&tx, frames, count), count);
	net_tx_done(&tx);
	net_rx_done(&rx);
	for (unsigned i = 0; i < count; i++)
		assert_true(driver_used(&t->rings.from->driver, &length) >= 0);
	assert_int_equal(virtq_in_flight(t->rings.from->vq), 0);
	assert_int_equal(virtq_in_flight(t->rings.to->vq), 0);
}

static void check_bursts(struct burst_test *t, uint64_t features,
			 uint32_t least_bytes)
{
	uint64_t total = 0;

	net_tx_start(&tx, t->rings.to->vq, features, HEADER_BYTES);
	tx.frames_total = tx.bytes_total = 0;
	t->next_gpa = GUEST_DATA_GPA;
	for (unsigned lap = 0; lap < LAPS; lap++) {
		const unsigned count = 1 + rand() % NET_BURST;

		offer_some(t, least_bytes);
		send_burst(t, count);
		for (unsigned i = 0; i < count; i++)
			expect_frame(t, i);
		total += count;
	}
	assert_int_equal(tx.frames_total, total);
}

static void bursts_arrive_in_buffers_of_any_size(void **state)
{
	check_bursts(*state, NET_FEATURE(MRG_RXBUF), 600);
}

static void bursts_arrive_in_buffers_that_are_not_merged(void **state)
{
	check_bursts(*state, 0, HEADER_BYTES + MAX_BYTES);
}

/* What finds no buffer is counted, and takes none; the rest is there. */
static void a_burst_that_is_too_large_arrives_in_part(void **state)
{
	struct burst_test *t = *state;
	const struct net_rx_frame *frames[NET_BURST];

	net_tx_start(&tx, t->rings.to->vq, NET_FEATURE(MRG_RXBUF),
		     HEADER_BYTES);
	t->next_gpa = GUEST_DATA_GPA;
	for (unsigned lap = 0; lap < 3; lap++) {
		const uint64_t before = tx.faults[NET_FAULT_NO_BUFFER];

		for (unsigned i = 0; i < NET_BURST; i++)
			send_one(t, i);
		offer(t, 40, HEADER_BYTES + MAX_BYTES, 1);
		assert_int_equal(net_rx_burst(&rx, NET_BURST), NET_BURST);
		for (unsigned i = 0; i < NET_BURST; i++)
			frames[i] = &rx.frames[i];
		assert_int_equal(net_tx_put_burst(&tx, frames, NET_BURST), 40);
		net_tx_done(&tx);
		net_rx_done(&rx);
		assert_int_equal(tx.faults[NET_FAULT_NO_BUFFER],
				 before + NET_BURST - 40);
		for (unsigned i = 0; i < 40; i++)
			expect_frame(t, i);
		for (unsigned i = 0; i < NET_BURST; i++) {
			uint32_t length;

			assert_true(driver_used(&t->rings.from->driver,
						&length) >= 0);
		}
	}
}

#define ON_BOTH_WIRES(test) ON_BOTH_WITH(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_BOTH_WIRES(bursts_arrive_in_buffers_of_any_size),
		ON_BOTH_WIRES(bursts_arrive_in_buffers_that_are_not_merged),
		ON_BOTH_WIRES(a_burst_that_is_too_large_arrives_in_part),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
