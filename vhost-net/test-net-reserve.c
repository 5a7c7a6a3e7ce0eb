/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receive buffers that are reserved for somebody else to write a frame into:
 * net_tx_reserve, net_tx_reserve_chain, and what becomes of what was not used.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/cmocka.h"
#include "vhost-net/net-tx.h"
#include "vhost/test-driver.h"

enum {
	RING = 1024,
	MANY = RING * 2 / 3,
	HEADER_BYTES = sizeof(struct virtio_net_hdr_v1),
	FRAME_BYTES = 1514,
	/* What one chain must have room for. */
	LEAST_BYTES = 1500,
	MAX_SEGMENTS = 8,
};

static const uint64_t merged = NET_FEATURE(MRG_RXBUF);

struct room_test {
	struct ring_test *ring;
	struct net_tx tx;
	uint64_t next_gpa;
};

/* What a call has said last. */
static struct iovec iov[MAX_SEGMENTS];
static unsigned segments;
static uint32_t room_bytes;

static int set_up(void **state)
{
	struct room_test *t = calloc(1, sizeof(*t));
	void *ring = *state;

	assert_non_null(t);
	ring_setup(&ring);
	t->ring = ring;
	t->next_gpa = GUEST_DATA_GPA;
	ring_start(t->ring, RING);
	net_tx_start(&t->tx, t->ring->vq, merged, HEADER_BYTES);
	*state = t;
	return 0;
}

static int tear_down(void **state)
{
	struct room_test *t = *state;
	void *ring = t->ring;

	free(t);
	return ring_teardown(&ring);
}

/* A chain of writable buffers, of the lengths given, ending in 0: its gpa. They lie
 * one behind the other, 16 bytes apart. */
static uint64_t offer(struct room_test *t, const uint32_t *bytes)
{
	struct buffer buffers[MAX_SEGMENTS * 2];
	const uint64_t gpa = t->next_gpa;
	unsigned count = 0;

	for (; bytes[count]; count++) {
		buffers[count] =
			(struct buffer){t->next_gpa, bytes[count], true};
		t->next_gpa += bytes[count] + 16;
	}
	assert_true(driver_add(&t->ring->driver, buffers, count) >= 0);
	return gpa;
}

#define OFFER(t, ...) offer(t, (const uint32_t[]){__VA_ARGS__, 0})

static enum net_fault reserve_chain(struct room_test *t, unsigned index)
{
	return net_tx_reserve_chain(&t->tx, index, LEAST_BYTES, FRAME_BYTES,
				    iov, MAX_SEGMENTS, &segments, &room_bytes);
}

static enum net_fault reserve(struct room_test *t, uint32_t bytes)
{
	return net_tx_reserve(&t->tx, bytes, iov, MAX_SEGMENTS, &segments,
			      &room_bytes);
}

static void expect_segment(const struct room_test *t, unsigned i, uint64_t gpa,
			   uint32_t bytes)
{
	assert_true(i < segments);
	assert_ptr_equal(iov[i].iov_base,
			 guest_device_at(&t->ring->guest, gpa));
	assert_int_equal(iov[i].iov_len, bytes);
}

static void commit(struct room_test *t, uint32_t bytes)
{
	const struct virtio_net_hdr_v1 header = {0};

	net_tx_commit(&t->tx, &header, bytes);
}

static void expect_used(struct room_test *t, const uint32_t *bytes)
{
	uint32_t used;

	net_tx_done(&t->tx);
	for (; *bytes; bytes++) {
		assert_true(driver_used(&t->ring->driver, &used) >= 0);
		assert_int_equal(used, *bytes);
	}
	assert_int_equal(driver_used(&t->ring->driver, &used), -1);
}

#define EXPECT_USED(t, ...) expect_used(t, (const uint32_t[]){__VA_ARGS__, 0})

static unsigned num_buffers(const struct room_test *t, uint64_t gpa)
{
	const struct virtio_net_hdr_v1 *header = guest_at(&t->ring->guest, gpa);

	return le16toh(header->num_buffers);
}

static void each_chain_has_room_behind_its_header(void **state)
{
	struct room_test *t = *state;
	const uint64_t whole = OFFER(t, 2048);
	const uint64_t split = OFFER(t, 5, 20, 1000, 1000);
	const uint64_t exact = OFFER(t, HEADER_BYTES, LEAST_BYTES);

	assert_int_equal(reserve_chain(t, 0), NET_FAULT_NONE);
	assert_int_equal(room_bytes, FRAME_BYTES);
	assert_int_equal(segments, 1);
	expect_segment(t, 0, whole + HEADER_BYTES, FRAME_BYTES);

	assert_int_equal(reserve_chain(t, 1), NET_FAULT_NONE);
	assert_int_equal(room_bytes, FRAME_BYTES);
	assert_int_equal(segments, 3);
	/* The header takes the first buffer and seven bytes more. */
	expect_segment(t, 0, split + 21 + 7, 13);
	expect_segment(t, 1, split + 21 + 36, 1000);
	expect_segment(t, 2, split + 21 + 36 + 1016, FRAME_BYTES - 1013);

	/* As long as it is: somebody else has the rest. */
	assert_int_equal(reserve_chain(t, 2), NET_FAULT_NONE);
	assert_int_equal(room_bytes, LEAST_BYTES);
	expect_segment(t, 0, exact + HEADER_BYTES + 16, LEAST_BYTES);

	/* The same again is the same. */
	assert_int_equal(reserve_chain(t, 0), NET_FAULT_NONE);
	expect_segment(t, 0, whole + HEADER_BYTES, FRAME_BYTES);
	assert_int_equal(virtq_in_flight(t->ring->vq), 3);
}

static void frames_are_committed_chain_by_chain(void **state)
{
	struct room_test *t = *state;
	uint64_t gpas[3];

	for (unsigned i = 0; i < 3; i++)
		gpas[i] = OFFER(t, 100, 1900);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(reserve_chain(t, i), NET_FAULT_NONE);
	commit(t, 60);
	commit(t, FRAME_BYTES);
	EXPECT_USED(t, HEADER_BYTES + 60, HEADER_BYTES + FRAME_BYTES);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(num_buffers(t, gpas[i]), 1);
	/* The third is the first of those that are held now. */
	OFFER(t, 2048);
	assert_int_equal(reserve_chain(t, 0), NET_FAULT_NONE);
	expect_segment(t, 0, gpas[2] + HEADER_BYTES, 100 - HEADER_BYTES);
	assert_int_equal(reserve_chain(t, 1), NET_FAULT_NONE);
	net_tx_release(&t->tx);
	assert_int_equal(virtq_in_flight(t->ring->vq), 0);
	/* As if it had never been taken. */
	assert_int_equal(reserve_chain(t, 0), NET_FAULT_NONE);
	expect_segment(t, 0, gpas[2] + HEADER_BYTES, 100 - HEADER_BYTES);
	assert_int_equal(t->tx.frames_total, 2);
	assert_int_equal(t->tx.bytes_total, 60 + FRAME_BYTES);
}

static void chain_that_is_no_use_is_said_to_be(void **state)
{
	struct room_test *t = *state;
	uint32_t crumbs[2 * MAX_SEGMENTS + 1] = {0};

	assert_int_equal(reserve_chain(t, 0), NET_FAULT_NO_BUFFER);
	OFFER(t, HEADER_BYTES + LEAST_BYTES - 1);
	assert_int_equal(reserve_chain(t, 0), NET_FAULT_SMALL_BUFFER);
	/* Less than a header. */
	OFFER(t, 5);
	assert_int_equal(reserve_chain(t, 1), NET_FAULT_SMALL_BUFFER);
	/* In more pieces than the caller can name. */
	for (unsigned i = 0; i < 2 * MAX_SEGMENTS; i++)
		crumbs[i] = 100;
	offer(t, crumbs);
	assert_int_equal(reserve_chain(t, 2), NET_FAULT_LAYOUT);
	assert_int_equal(segments, MAX_SEGMENTS);
	assert_int_equal(reserve_chain(t, 3), NET_FAULT_NO_BUFFER);
	/* None of it is counted, or lost to the ring. */
	for (unsigned i = 0; i < NET_FAULTS; i++)
		assert_int_equal(t->tx.faults[i], 0);
	net_tx_release(&t->tx);
	assert_int_equal(virtq_in_flight(t->ring->vq), 0);
	EXPECT_USED(t, 0);
}

/* Several frames were reserved for, one by one is gone on with: a frame may have one
 * chain only, or as many as it takes. */
static void chains_of_a_batch_are_one_frames_room(void **state)
{
	struct room_test *t = *state;
	const uint64_t first = OFFER(t, 2048), second = OFFER(t, 2048);

	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(reserve_chain(t, i), NET_FAULT_NONE);
	assert_int_equal(reserve(t, 3000), NET_FAULT_NONE);
	assert_int_equal(segments, 2);
	expect_segment(t, 0, first + HEADER_BYTES, 2048 - HEADER_BYTES);
	expect_segment(t, 1, second, 3000 - 2048 + HEADER_BYTES);
	commit(t, 3000);
	EXPECT_USED(t, 2048, HEADER_BYTES + 3000 - 2048);
	assert_int_equal(num_buffers(t, first), 2);
	/* What was used is no room of the next. */
	OFFER(t, 2048);
	assert_int_equal(reserve(t, 3000), NET_FAULT_NO_BUFFER);
	OFFER(t, 2048);
	assert_int_equal(reserve(t, 3000), NET_FAULT_NONE);
}

static void without_merging_a_batch_is_given_back(void **state)
{
	struct room_test *t = *state;
	const uint64_t first = OFFER(t, 2048);

	net_tx_start(&t->tx, t->ring->vq, 0, HEADER_BYTES);
	OFFER(t, 2048);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(reserve_chain(t, i), NET_FAULT_NONE);
	assert_int_equal(reserve(t, 3000), NET_FAULT_SMALL_BUFFER);
	assert_int_equal(room_bytes, 2048 - HEADER_BYTES);
	assert_int_equal(virtq_in_flight(t->ring->vq), 1);
	assert_int_equal(reserve(t, 2000), NET_FAULT_NONE);
	expect_segment(t, 0, first + HEADER_BYTES, 2000);
	commit(t, 2000);
	EXPECT_USED(t, HEADER_BYTES + 2000);
}

/* So many are held that they are moved, now and then, to where some of them are. */
static void room_lasts_for_any_number_of_frames(void **state)
{
	struct room_test *t = *state;
	uint64_t gpas[RING];

	for (unsigned n = 0; n < 4 * RING; n++) {
		t->next_gpa = GUEST_DATA_GPA + n % RING * UINT64_C(32);
		gpas[n % RING] = OFFER(t, HEADER_BYTES + 1);
		assert_int_equal(net_tx_reserve_chain(&t->tx,
						      MIN(n, (unsigned)MANY), 1,
						      1, iov, MAX_SEGMENTS,
						      &segments, &room_bytes),
				 NET_FAULT_NONE);
		expect_segment(t, 0, gpas[n % RING] + HEADER_BYTES, 1);
		if (n < MANY)
			continue;
		for (unsigned i = 0; i <= MANY; i += MANY / 5) {
			assert_int_equal(net_tx_reserve_chain(&t->tx, i, 1, 1,
							      iov, MAX_SEGMENTS,
							      &segments,
							      &room_bytes),
					 NET_FAULT_NONE);
			expect_segment(
				t, 0,
				gpas[(n - MANY + i) % RING] + HEADER_BYTES, 1);
		}
		commit(t, 1);
		EXPECT_USED(t, HEADER_BYTES + 1);
	}
}

#define ON_BOTH_RINGS(test) ON_BOTH_WITH(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_BOTH_RINGS(each_chain_has_room_behind_its_header),
		ON_BOTH_RINGS(frames_are_committed_chain_by_chain),
		ON_BOTH_RINGS(chain_that_is_no_use_is_said_to_be),
		ON_BOTH_RINGS(chains_of_a_batch_are_one_frames_room),
		ON_BOTH_RINGS(without_merging_a_batch_is_given_back),
		ON_BOTH_RINGS(room_lasts_for_any_number_of_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
