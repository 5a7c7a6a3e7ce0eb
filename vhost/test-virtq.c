/* SPDX-License-Identifier: Apache-2.0 */
/* What holds for both kinds of ring; each test runs on each kind. */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "vhost/sigbus.h"
#include "vhost/test-driver.h"

static void chain_comes_with_its_segments_in_order(void **state)
{
	struct ring_test *f = *state;
	struct virtq_chain chain;
	uint32_t len;
	int id;

	ring_start(f, 8);
	assert_int_equal(ring_get(f, &chain), VIRTQ_E_EMPTY);
	assert_false(virtq_has_avail(f->vq));
	id = driver_add(&f->driver, blk_request, 3);
	assert_true(virtq_has_avail(f->vq));
	assert_int_equal(ring_get(f, &chain), 0);
	assert_int_equal(chain.out_count, 2);
	assert_int_equal(chain.in_count, 1);
	assert_int_equal(chain.out_bytes, 16 + 4096);
	assert_int_equal(chain.in_bytes, 1);
	for (unsigned i = 0; i < 3; i++) {
		assert_ptr_equal(
			f->iov[i].iov_base,
			guest_device_at(&f->guest, blk_request[i].gpa));
		assert_int_equal(f->iov[i].iov_len, blk_request[i].len);
	}
	assert_int_equal(virtq_in_flight(f->vq), 1);
	virtq_put(f->vq, &chain, 1);
	assert_int_equal(driver_used(&f->driver, &len), -1);
	virtq_flush(f->vq);
	assert_int_equal(driver_used(&f->driver, &len), id);
	assert_int_equal(len, 1);
	assert_int_equal(virtq_in_flight(f->vq), 0);
	assert_int_equal(ring_get(f, &chain), VIRTQ_E_EMPTY);
}

/*
 * Those of one buffer that come next, @got having come, while none is out; some are
 * given up again, and the others given back at once. How many these are.
 */
static unsigned pass_singles(struct ring_test *f, unsigned max, unsigned got)
{
	struct virtq_single singles[8];
	unsigned count = virtq_get_singles(f->vq, singles, max, false);

	assert_true(count <= max);
	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(*(uint32_t *)singles[i].host, got + i);
		assert_int_equal(singles[i].len, 16);
	}
	virtq_unget_singles(f->vq, singles + count / 2, count - count / 2);
	virtq_put_singles(f->vq, singles, NULL, count / 2);
	return count / 2;
}

/* Tags each chain in its buffer, so that the test knows which came back. */
static void round_trip(struct ring_test *f, unsigned total, unsigned seed)
{
	struct buffer buffers[3];
	unsigned added = 0, got = 0, returned = 0;
	struct virtq_chain held[40];
	unsigned held_count = 0;
	static uint32_t tag_of_id[VIRTQ_MAX_SIZE];
	unsigned random = seed;
	uint32_t len;
	int id;

	while (returned < total) {
		unsigned count = 1 + random % MIN(3, f->driver.size);
		struct virtq_chain *chain = &held[held_count];

		random = random * 1103515245 + 12345;
		for (unsigned i = 0; i < count; i++)
			buffers[i] = (struct buffer){
				GUEST_DATA_GPA + added % 4096 * 64 + i * 16, 16,
				i > 0};
		if (added < total && random >> 16 & 1) {
			id = driver_add(&f->driver, buffers, count);
			if (id >= 0) {
				*(uint32_t *)guest_at(&f->guest,
						      buffers[0].gpa) = added;
				tag_of_id[id] = added++;
			}
		}
		if (held_count < ARRAY_SIZE(held) && ring_get(f, chain) == 0) {
			assert_int_equal(*(uint32_t *)f->iov[0].iov_base, got);
			assert_int_equal(chain->out_bytes, 16);
			got++;
			held_count++;
		}
		if (held_count == 0)
			got += pass_singles(f, random >> 25 & 7, got);
		if (held_count > 0 && random >> 17 & 1) {
			unsigned at = (random >> 18) % held_count;

			virtq_put(f->vq, &held[at],
				  (uint32_t)held[at].in_bytes);
			held[at] = held[--held_count];
		}
		if (random >> 19 & 1)
			virtq_flush(f->vq);
		if (random >> 20 & 1)
			virtq_prefetch(f->vq, random >> 21 & 63, random & 1);
		while ((id = driver_used(&f->driver, &len)) >= 0) {
			assert_true(tag_of_id[id] < got);
			returned++;
		}
	}
	assert_int_equal(got, total);
	assert_int_equal(virtq_in_flight(f->vq), 0);
	assert_null(virtq_error(f->vq));
}

static void rings_of_any_size_wrap_and_lose_nothing(void **state)
{
	static const uint16_t sizes[] = {1, 2, 4, 64, 256, 1024, 32768};
	static const uint16_t odd[] = {3, 5, 7, 100, 32767};
	struct ring_test *f = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		ring_start(f, sizes[i]);
		round_trip(f, sizes[i] < 5 ? 70000 : 3000, i);
		virtq_stop(f->vq);
	}
	for (unsigned i = 0; f->packed && i < ARRAY_SIZE(odd); i++) {
		ring_start(f, odd[i]);
		round_trip(f, 3000, i);
		virtq_stop(f->vq);
	}
}

static void full_ring_of_the_largest_size_is_served(void **state)
{
	struct ring_test *f = *state;
	struct buffer buffer = {GUEST_DATA_GPA, 64, false};
	struct virtq_chain chain;
	static struct virtq_chain held[VIRTQ_MAX_SIZE];
	uint32_t len;

	ring_start(f, VIRTQ_MAX_SIZE);
	for (unsigned lap = 0; lap < 3; lap++) {
		for (unsigned i = 0; i < VIRTQ_MAX_SIZE; i++)
			assert_true(driver_add(&f->driver, &buffer, 1) >= 0);
		assert_int_equal(driver_add(&f->driver, &buffer, 1), -1);
		for (unsigned i = 0; i < VIRTQ_MAX_SIZE; i++)
			assert_int_equal(ring_get(f, &held[i]), 0);
		assert_int_equal(ring_get(f, &chain), VIRTQ_E_EMPTY);
		for (unsigned i = VIRTQ_MAX_SIZE; i-- > 0;)
			virtq_put(f->vq, &held[i], 0);
		virtq_flush(f->vq);
		for (unsigned i = 0; i < VIRTQ_MAX_SIZE; i++)
			assert_true(driver_used(&f->driver, &len) >= 0);
	}
}

static void chains_that_are_ungot_come_again(void **state)
{
	struct ring_test *f = *state;
	struct virtq_chain held[4];
	struct virtq_chain again;
	uint32_t len;
	int ids[4];

	ring_start(f, 7 + !f->packed);
	for (unsigned lap = 0; lap < 20; lap++) {
		for (unsigned i = 0; i < 2; i++) {
			ids[i] = driver_add(&f->driver, blk_request, 3);
			assert_int_equal(ring_get(f, &held[i]), 0);
		}
		virtq_unget(f->vq, held, 2);
		assert_int_equal(virtq_in_flight(f->vq), 0);
		assert_int_equal(ring_get(f, &held[0]), 0);
		assert_int_equal(ring_get(f, &held[1]), 0);
		virtq_unget(f->vq, &held[1], 1);
		assert_int_equal(ring_get(f, &again), 0);
		assert_int_equal(again.id, held[1].id);
		assert_int_equal(again.out_count, 2);
		virtq_put(f->vq, &held[0], 0);
		virtq_put(f->vq, &again, 0);
		virtq_flush(f->vq);
		assert_int_equal(driver_used(&f->driver, &len), ids[0]);
		assert_int_equal(driver_used(&f->driver, &len), ids[1]);
	}
}

static void buffer_across_the_regions_seam_is_split(void **state)
{
	struct ring_test *f = *state;
	struct buffer buffer = {GUEST_SEAM_GPA - 100, 300, true};
	struct virtq_chain chain;

	ring_start(f, 4);
	driver_add(&f->driver, &buffer, 1);
	assert_int_equal(ring_get(f, &chain), 0);
	assert_int_equal(chain.in_count, 2);
	assert_int_equal(f->iov[0].iov_len, 100);
	assert_int_equal(f->iov[1].iov_len, 200);
	assert_ptr_equal(f->iov[1].iov_base,
			 guest_device_at(&f->guest, GUEST_SEAM_GPA));
	virtq_put(f->vq, &chain, 300);
	virtq_flush(f->vq);
}

static void empty_descriptors_make_no_segments(void **state)
{
	struct ring_test *f = *state;
	struct buffer buffers[4] = {
		{GUEST_DATA_GPA, 0, false},
		{GUEST_DATA_GPA, 5, false},
		{0, 0, true},
		{GUEST_DATA_GPA, 6, true},
	};
	struct virtq_chain chain;

	ring_start(f, 8);
	driver_add(&f->driver, buffers, 4);
	assert_int_equal(ring_get(f, &chain), 0);
	assert_int_equal(chain.out_count, 1);
	assert_int_equal(chain.in_count, 1);
	assert_int_equal(chain.out_bytes, 5);
	assert_int_equal(chain.in_bytes, 6);
	virtq_put(f->vq, &chain, 6);
	virtq_flush(f->vq);
}

static void chain_too_long_for_the_caller_can_be_put_back(void **state)
{
	struct ring_test *f = *state;
	struct virtq_chain chain = {.iov = f->iov, .iov_max = 2};
	uint32_t len;
	int id;

	ring_start(f, 8);
	for (unsigned lap = 0; lap < 20; lap++) {
		id = driver_add(&f->driver, blk_request, 3);
		assert_int_equal(virtq_get(f->vq, &chain), VIRTQ_E_TOO_LONG);
		assert_int_equal(chain.out_count + chain.in_count, 0);
		assert_int_equal(virtq_in_flight(f->vq), 1);
		virtq_put(f->vq, &chain, 0);
		virtq_flush(f->vq);
		assert_int_equal(driver_used(&f->driver, &len), id);
	}
	assert_null(virtq_error(f->vq));
}

static void indirect_chain_comes_like_a_direct_one(void **state)
{
	struct ring_test *f = *state;
	/* Aligned, odd, and across the seam, even within an entry. */
	static const uint64_t tables[] = {
		GUEST_DATA_GPA + 0x8000, GUEST_DATA_GPA + 0x8003,
		GUEST_SEAM_GPA - 16, GUEST_SEAM_GPA - 21};
	struct virtq_chain chain;
	uint32_t len;

	ring_start(f, 4);
	for (unsigned i = 0; i < ARRAY_SIZE(tables); i++) {
		int id = driver_add_indirect(&f->driver, blk_request, 3,
					     tables[i]);

		assert_int_equal(ring_get(f, &chain), 0);
		assert_int_equal(chain.out_count, 2);
		assert_int_equal(chain.in_count, 1);
		for (unsigned j = 0; j < 3; j++)
			assert_ptr_equal(
				f->iov[j].iov_base,
				guest_device_at(&f->guest, blk_request[j].gpa));
		virtq_put(f->vq, &chain, 1);
		virtq_flush(f->vq);
		assert_int_equal(driver_used(&f->driver, &len), id);
	}
}

static void buffer_outside_memory_is_refused(void **state)
{
	struct ring_test *f = *state;
	static const struct buffer bad[] = {
		{0, 1, false},
		{GUEST_GPA - 1, 2, false},
		{GUEST_SEAM_GPA + GUEST_REGION_BYTES - 1, 2, true},
		{UINT64_MAX, 1, false},
		{UINT64_MAX - 0xfff, 0x2000, true},
		{GUEST_DATA_GPA, UINT32_MAX, true},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		ring_start(f, 4);
		driver_add(&f->driver, &bad[i], 1);
		expect_broken(f, "not in guest memory");
	}
}

/* A look ahead takes nothing, and goes where nobody may without harm. */
static void what_is_only_expected_is_not_taken(void **state)
{
	static const struct buffer bad = {UINT64_MAX - 0xfff, 0x2000, true};
	struct ring_test *f = *state;
	struct virtq_chain chain;

	ring_start(f, 8);
	virtq_prefetch(f->vq, UINT32_MAX, false);
	assert_int_equal(ring_get(f, &chain), VIRTQ_E_EMPTY);
	driver_add(&f->driver, blk_request, 3);
	driver_add(&f->driver, &bad, 1);
	for (unsigned i = 0; i < 2; i++) {
		virtq_prefetch(f->vq, UINT32_MAX, i);
		assert_int_equal(virtq_in_flight(f->vq), 0);
	}
	assert_int_equal(ring_get(f, &chain), 0);
	assert_int_equal(chain.out_bytes, 16 + 4096);
	virtq_prefetch(f->vq, 1, true);
	expect_broken(f, "not in guest memory");
	virtq_prefetch(f->vq, 1, true);
}

static void readable_descriptor_after_a_writable_one_is_refused(void **state)
{
	struct ring_test *f = *state;
	struct buffer buffers[2] = {
		{GUEST_DATA_GPA, 8, true},
		{GUEST_DATA_GPA, 8, false},
	};

	ring_start(f, 4);
	driver_add(&f->driver, buffers, 2);
	expect_broken(f, "readable");
	buffers[0].len = 0;
	ring_start(f, 4);
	driver_add(&f->driver, buffers, 2);
	expect_broken(f, "readable");
	ring_start(f, 4);
	driver_add_indirect(&f->driver, buffers, 2, GUEST_DATA_GPA + 64);
	expect_broken(f, "readable");
}

static void indirect_table_of_a_bad_size_is_refused(void **state)
{
	static const uint32_t bad[] = {
		0, 1, 15, 17, 16 * VIRTQ_MAX_CHAIN + 16, UINT32_MAX};
	struct ring_test *f = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		ring_start(f, 4);
		driver_add_raw(&f->driver, GUEST_DATA_GPA, bad[i],
			       VRING_DESC_F_INDIRECT);
		expect_broken(f, "table");
	}
}

static void indirect_table_outside_memory_is_refused(void **state)
{
	static const uint64_t bad[] = {
		0, GUEST_SEAM_GPA + GUEST_REGION_BYTES - 16, UINT64_MAX - 31,
		UINT64_MAX - 15, UINT64_MAX};
	struct ring_test *f = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		ring_start(f, 4);
		driver_add_raw(&f->driver, bad[i], 32, VRING_DESC_F_INDIRECT);
		expect_broken(f, "not in guest memory");
	}
}

static void indirect_table_within_a_table_is_refused(void **state)
{
	struct ring_test *f = *state;
	struct vring_desc *table;

	ring_start(f, 4);
	driver_add_indirect(&f->driver, blk_request, 3, GUEST_DATA_GPA + 64);
	table = guest_at(&f->guest, GUEST_DATA_GPA + 64);
	if (f->packed)
		((struct vring_packed_desc *)table)[1].flags |=
			VRING_DESC_F_INDIRECT;
	else
		table[1].flags |= VRING_DESC_F_INDIRECT;
	expect_broken(f, "within an indirect table");
}

static void indirect_descriptor_with_a_next_is_refused(void **state)
{
	struct ring_test *f = *state;

	ring_start(f, 4);
	driver_add_raw(&f->driver, GUEST_DATA_GPA, 16,
		       VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT);
	expect_broken(f, "next");
}

static void indirect_descriptor_not_negotiated_is_refused(void **state)
{
	struct ring_test *f = *state;
	struct virtq_config config;

	driver_init(&f->driver, &f->guest, f->packed, 4);
	config = driver_config(&f->driver);
	config.indirect = false;
	ring_start_with(f, &config);
	driver_add_indirect(&f->driver, blk_request, 3, GUEST_DATA_GPA + 64);
	expect_broken(f, "not negotiated");
}

static void chain_of_more_than_32_bits_of_bytes_is_refused(void **state)
{
	struct ring_test *f = *state;
	static struct buffer buffers[2049];
	/* 2048 times 2 MiB are 4 GiB, one byte too many. */
	unsigned count = 2048;

	for (unsigned i = 0; i < count; i++)
		buffers[i] = (struct buffer){GUEST_GPA, GUEST_REGION_BYTES,
					     i > 1000};
	ring_start(f, 4);
	driver_add_indirect(&f->driver, buffers, count, GUEST_DATA_GPA);
	expect_broken(f, "32 bits");
	buffers[0].len--;
	ring_start(f, 4);
	driver_add_indirect(&f->driver, buffers, count, GUEST_DATA_GPA);
	assert_int_equal(virtq_get(f->vq, &(struct virtq_chain){0}),
			 VIRTQ_E_TOO_LONG);
}

static void ring_outside_memory_or_misaligned_is_refused(void **state)
{
	struct ring_test *f = *state;
	struct virtq_config good, bad;
	struct inflight_queue none = {0};

	driver_init(&f->driver, &f->guest, f->packed, 256);
	good = driver_config(&f->driver);
	for (unsigned part = 0; part < 3; part++) {
		static const uint64_t offsets[] = {0, UINT64_MAX - 64};

		for (unsigned i = 0; i < 4; i++) {
			uint64_t *uva;

			bad = good;
			uva = part == 0	  ? &bad.desc_uva
			      : part == 1 ? &bad.avail_uva
					  : &bad.used_uva;
			if (i < 2)
				*uva = offsets[i];
			else if (i == 2)
				*uva += 1;
			else /* ends after the region */
				*uva = guest_uva(GUEST_SEAM_GPA - 2);
			assert_int_equal(virtq_start(f->vq, &bad,
						     f->guest.memory, NULL,
						     none),
					 VIRTQ_E_BROKEN);
			assert_non_null(virtq_error(f->vq));
			assert_false(virtq_is_started(f->vq));
		}
	}
	bad = good;
	bad.size = 0;
	assert_int_equal(virtq_start(f->vq, &bad, f->guest.memory, NULL, none),
			 VIRTQ_E_BROKEN);
	bad.size = VIRTQ_MAX_SIZE + 1;
	assert_int_equal(virtq_start(f->vq, &bad, f->guest.memory, NULL, none),
			 VIRTQ_E_BROKEN);
	ring_start_with(f, &good);
}

static void truncated_memory_breaks_the_ring_that_uses_it(void **state)
{
	struct ring_test *f = *state;
	uint64_t count = 0;
	int err_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct virtq_config config;

	/* cmocka has its own handler in each test. */
	assert_int_equal(sigbus_install(), 0);
	driver_init(&f->driver, &f->guest, f->packed, 8);
	config = driver_config(&f->driver);
	config.err_fd = err_fd;
	ring_start_with(f, &config);
	assert_int_equal(ftruncate(f->guest.fd, 0), 0);
	virtq_has_avail(f->vq);
	assert_true(virtq_has_avail(f->vq));
	expect_broken(f, "truncated");
	assert_int_equal(read(err_fd, &count, 8), 8);
	close(err_fd);
}

static void doorbell_that_nobody_hears_does_no_harm(void **state)
{
	struct ring_test *f = *state;
	struct virtq_config config;
	struct virtq_chain chain;
	int fds[2];
	int full = eventfd(0, EFD_CLOEXEC);
	uint64_t most = UINT64_MAX - 1;

	assert_int_equal(write(full, &most, 8), 8);
	assert_int_equal(pipe(fds), 0);
	close(fds[0]);
	for (unsigned i = 0; i < 2; i++) {
		driver_init(&f->driver, &f->guest, f->packed, 8);
		config = driver_config(&f->driver);
		config.call_fd = i ? full : fds[1];
		ring_start_with(f, &config);
		driver_add(&f->driver, blk_request, 3);
		assert_int_equal(ring_get(f, &chain), 0);
		virtq_put(f->vq, &chain, 0);
		virtq_flush(f->vq);
		assert_true(virtq_notify(f->vq));
		assert_false(virtq_notify(f->vq));
		virtq_stop(f->vq);
	}
	close(fds[1]);
	close(full);
}

static void ring_goes_on_from_the_base_it_was_stopped_with(void **state)
{
	struct ring_test *f = *state;
	struct virtq_config config;
	struct virtq_chain chain;
	uint32_t len;

	ring_start(f, 4);
	config = driver_config(&f->driver);
	for (unsigned i = 0; i < 70000; i++) {
		int id = driver_add(&f->driver, blk_request, 1 + i % 2);

		if (i % 97 == 0) {
			config.base = virtq_stop(f->vq);
			ring_start_with(f, &config);
		}
		assert_int_equal(ring_get(f, &chain), 0);
		virtq_put(f->vq, &chain, i);
		virtq_flush(f->vq);
		assert_int_equal(driver_used(&f->driver, &len), id);
		assert_int_equal(len, i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_BOTH(chain_comes_with_its_segments_in_order),
		ON_BOTH(rings_of_any_size_wrap_and_lose_nothing),
		ON_BOTH(full_ring_of_the_largest_size_is_served),
		ON_BOTH(chains_that_are_ungot_come_again),
		ON_BOTH(buffer_across_the_regions_seam_is_split),
		ON_BOTH(empty_descriptors_make_no_segments),
		ON_BOTH(chain_too_long_for_the_caller_can_be_put_back),
		ON_BOTH(indirect_chain_comes_like_a_direct_one),
		ON_BOTH(buffer_outside_memory_is_refused),
		ON_BOTH(what_is_only_expected_is_not_taken),
		ON_BOTH(readable_descriptor_after_a_writable_one_is_refused),
		ON_BOTH(indirect_table_of_a_bad_size_is_refused),
		ON_BOTH(indirect_table_outside_memory_is_refused),
		ON_BOTH(indirect_table_within_a_table_is_refused),
		ON_BOTH(indirect_descriptor_with_a_next_is_refused),
		ON_BOTH(indirect_descriptor_not_negotiated_is_refused),
		ON_BOTH(chain_of_more_than_32_bits_of_bytes_is_refused),
		ON_BOTH(ring_outside_memory_or_misaligned_is_refused),
		ON_BOTH(truncated_memory_breaks_the_ring_that_uses_it),
		ON_BOTH(doorbell_that_nobody_hears_does_no_harm),
		ON_BOTH(ring_goes_on_from_the_base_it_was_stopped_with),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
