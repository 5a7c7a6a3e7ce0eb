/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VIRTIO_F_IN_ORDER: what is published, and when, and where one element stands for
 * several chains. virtio 1.2, 2.7.9 and its like in 2.8.
 */
#include "base/bytes.h"
#include "vhost/test-driver.h"

enum {
	SIZE = 16,
};

static const struct buffer readable[2] = {
	{GUEST_DATA_GPA, 16, false},
	{GUEST_DATA_GPA + 4096, 4096, false},
};
static const struct buffer *const writable = &blk_request[2];

static void start_in_order(struct ring_test *f)
{
	struct virtq_config config;

	driver_init(&f->driver, &f->guest, f->packed, SIZE);
	config = driver_config(&f->driver);
	config.in_order = true;
	ring_start_with(f, &config);
}

static void chains_put_in_any_order_are_published_in_order(void **state)
{
	struct ring_test *f = *state;
	struct virtq_chain held[8];
	static const unsigned shuffle[8] = {3, 1, 0, 7, 6, 2, 5, 4};
	static const unsigned visible[8] = {0, 0, 2, 2, 2, 4, 4, 8};
	uint32_t len;

	start_in_order(f);
	for (unsigned lap = 0; lap < 100; lap++) {
		int ids[8];
		unsigned seen = 0;

		for (unsigned i = 0; i < 8; i++) {
			ids[i] = driver_add(&f->driver, writable, 1);
			assert_int_equal(ring_get(f, &held[i]), 0);
		}
		for (unsigned i = 0; i < 8; i++) {
			virtq_put(f->vq, &held[shuffle[i]], shuffle[i]);
			virtq_flush(f->vq);
			for (; seen < visible[i]; seen++) {
				assert_int_equal(driver_used(&f->driver, &len),
						 ids[seen]);
				assert_int_equal(len, seen);
			}
			assert_int_equal(driver_used(&f->driver, &len), -1);
		}
	}
	assert_int_equal(virtq_in_flight(f->vq), 0);
}

static void one_element_stands_for_all_that_was_read(void **state)
{
	struct ring_test *f = *state;
	struct virtq_chain held[4];
	uint32_t len;
	int ids[4];

	start_in_order(f);
	/* So often that a batch lies across the ring's end. */
	for (unsigned lap = 0; lap < 50; lap++) {
		for (unsigned i = 0; i < 4; i++) {
			ids[i] = driver_add(&f->driver, readable, 1 + i % 2);
			assert_int_equal(ring_get(f, &held[i]), 0);
		}
		for (unsigned i = 0; i < 4; i++)
			virtq_put(f->vq, &held[i ^ 1], 0);
		assert_int_equal(driver_used_in_order(&f->driver, ids, 4, &len),
				 0);
		virtq_flush(f->vq);
		assert_int_equal(driver_used_in_order(&f->driver, ids, 4, &len),
				 4);
		assert_int_equal(len, 0);
		assert_int_equal(driver_used(&f->driver, &len), -1);
	}
	assert_int_equal(virtq_in_flight(f->vq), 0);
}

/* One that is passed over counts as full. */
static void what_could_be_written_has_its_own_element(void **state)
{
	struct ring_test *f = *state;
	struct virtq_chain held[5];
	uint32_t len;
	int ids[5];

	start_in_order(f);
	for (unsigned lap = 0; lap < 50; lap++) {
		for (unsigned i = 0; i < 5; i++) {
			ids[i] = driver_add(&f->driver,
					    i == 2 ? writable : readable, 1);
			assert_int_equal(ring_get(f, &held[i]), 0);
		}
		for (unsigned i = 0; i < 5; i++)
			virtq_put(f->vq, &held[i], 0);
		virtq_flush(f->vq);
		for (unsigned seen = 0; seen < 5;) {
			unsigned n = driver_used_in_order(
				&f->driver, ids + seen, 5 - seen, &len);

			assert_true(n > 0);
			assert_int_equal(len, 0);
			if (seen <= 2)
				assert_true(seen + n <= 2 || n == 1);
			seen += n;
		}
		assert_int_equal(driver_used(&f->driver, &len), -1);
	}
}

/* The caller has no room to see it, and writes nothing: still it could be. */
static void a_chain_that_is_too_long_has_its_own_element(void **state)
{
	struct ring_test *f = *state;
	struct buffer many[3] = {readable[0], *writable, *writable};
	struct virtq_chain held[2];
	struct iovec iov[2];
	uint32_t len;
	int ids[2];

	start_in_order(f);
	for (unsigned i = 0; i < 2; i++) {
		ids[i] = driver_add(&f->driver, many, 3);
		held[i].iov = iov;
		held[i].iov_max = 2;
		assert_int_equal(virtq_get(f->vq, &held[i]), VIRTQ_E_TOO_LONG);
	}
	for (unsigned i = 0; i < 2; i++)
		virtq_put(f->vq, &held[i], 0);
	virtq_flush(f->vq);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(
			driver_used_in_order(&f->driver, ids + i, 2 - i, &len),
			1);
}

static void a_batch_that_waited_is_published_as_one(void **state)
{
	struct ring_test *f = *state;
	struct virtq_chain held[6];
	uint32_t len;
	int ids[6];

	start_in_order(f);
	for (unsigned i = 0; i < 6; i++) {
		ids[i] = driver_add(&f->driver, readable, 1);
		assert_int_equal(ring_get(f, &held[i]), 0);
	}
	for (unsigned i = 1; i < 6; i++)
		virtq_put(f->vq, &held[i], 0);
	virtq_flush(f->vq);
	assert_int_equal(driver_used(&f->driver, &len), -1);
	virtq_put(f->vq, &held[0], 0);
	virtq_flush(f->vq);
	assert_int_equal(driver_used_in_order(&f->driver, ids, 6, &len), 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_BOTH(chains_put_in_any_order_are_published_in_order),
		ON_BOTH(one_element_stands_for_all_that_was_read),
		ON_BOTH(what_could_be_written_has_its_own_element),
		ON_BOTH(a_chain_that_is_too_long_has_its_own_element),
		ON_BOTH(a_batch_that_waited_is_published_as_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
