/* SPDX-License-Identifier: Apache-2.0 */
/* Chains of one buffer, many at once: which they are, and that they come back like
 * others, in rings that are in order, tracked or logged, too. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "vhost/inflight.h"
#include "vhost/test-driver.h"

enum {
	SIZE = 16,
	/* A part of the ring, so that a batch lies across its end now and then. */
	BATCH = 5,
	LAPS = 100,
	LOG_BYTES = (GUEST_SEAM_GPA + GUEST_REGION_BYTES) /
		    DIRTY_LOG_PAGE_BYTES / 8,
};

static const struct buffer *const readable = &blk_request[0];
static const struct buffer *const writable = &blk_request[2];

static void end_before_the_first_other_chain(void **state)
{
	static const struct buffer bad = {UINT64_MAX - 0xfff, 0x2000, true};
	static const struct buffer nothing = {GUEST_DATA_GPA, 0, true};
	const struct buffer seam = {GUEST_SEAM_GPA - 100, 300, true};
	struct ring_test *f = *state;
	struct virtq_single singles[8];
	struct virtq_chain chain;

	ring_start(f, SIZE);
	assert_int_equal(virtq_get_singles(f->vq, singles, 8, false), 0);
	driver_add(&f->driver, readable, 1);
	driver_add(&f->driver, writable, 1);
	driver_add(&f->driver, blk_request, 3);
	driver_add(&f->driver, writable, 1);
	driver_add(&f->driver, &seam, 1);
	driver_add_indirect(&f->driver, blk_request, 2, GUEST_DATA_GPA);
	driver_add(&f->driver, &nothing, 1);
	driver_add(&f->driver, &bad, 1);
	assert_int_equal(virtq_get_singles(f->vq, singles, 8, true), 0);
	assert_int_equal(virtq_get_singles(f->vq, singles, 8, false), 1);
	assert_ptr_equal(singles[0].host,
			 guest_device_at(&f->guest, readable->gpa));
	assert_int_equal(singles[0].len, readable->len);
	assert_int_equal(virtq_get_singles(f->vq, singles, 8, false), 0);
	assert_int_equal(virtq_get_singles(f->vq, singles, 8, true), 1);
	assert_ptr_equal(singles[0].host,
			 guest_device_at(&f->guest, writable->gpa));
	assert_int_equal(singles[0].len, writable->len);
	assert_int_equal(virtq_get_singles(f->vq, singles, 8, true), 0);
	assert_int_equal(ring_get(f, &chain), 0);
	assert_int_equal(virtq_get_singles(f->vq, singles, 8, true), 1);
	/* Across a seam, in a table, of no bytes. */
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(virtq_get_singles(f->vq, singles, 8, true), 0);
		assert_int_equal(ring_get(f, &chain), 0);
	}
	assert_int_equal(virtq_get_singles(f->vq, singles, 8, true), 0);
	assert_int_equal(virtq_in_flight(f->vq), 7);
	expect_broken(f, "not in guest memory");
	assert_int_equal(virtq_get_singles(f->vq, singles, 8, true), 0);
}

static void are_no_more_than_the_ring_has(void **state)
{
	struct ring_test *f = *state;
	struct virtq_single singles[16];
	uint32_t len;

	ring_start(f, 8);
	for (unsigned lap = 0; lap < 5; lap++) {
		for (unsigned i = 0; i < 8; i++)
			driver_add(&f->driver, readable, 1);
		assert_int_equal(virtq_get_singles(f->vq, singles, 16, false),
				 8);
		virtq_put_singles(f->vq, singles, NULL, 8);
		virtq_flush(f->vq);
		for (unsigned i = 0; i < 8; i++)
			assert_true(driver_used(&f->driver, &len) >= 0);
	}
	/* The driver says that there are more than it can have. */
	for (unsigned i = 0; i < 8; i++)
		driver_add(&f->driver, readable, 1);
	assert_int_equal(virtq_get_singles(f->vq, singles, 16, false), 8);
	if (f->packed)
		for (unsigned i = 0; i < 8; i++)
			f->driver.ring[i].flags ^=
				1 << VRING_PACKED_DESC_F_AVAIL |
				1 << VRING_PACKED_DESC_F_USED;
	else
		store_release(&f->driver.avail->idx, f->driver.avail->idx + 8);
	assert_int_equal(virtq_get_singles(f->vq, singles, 16, false), 0);
	expect_broken(f, "in flight");
}

/* As many as were asked for, in as many steps as it takes: a split ring's index is not
 * read before all that it said is taken. */
static void take_all(struct ring_test *f, struct virtq_single *singles,
		     unsigned count, bool writes)
{
	for (unsigned at = 0; at < count;) {
		unsigned taken = virtq_get_singles(f->vq, singles + at,
						   count - at, writes);

		assert_in_range(taken, 1, count - at);
		at += taken;
	}
}

/* BATCH + 1 of them; the last is given up, and comes as the first of the next. */
static void pass_batch(struct ring_test *f, const struct buffer *buffer,
		       const int *ids, bool in_order)
{
	const bool writes = buffer->write;
	struct virtq_single singles[BATCH + 1];
	uint32_t written[BATCH], len;
	unsigned seen = 0;

	take_all(f, singles, BATCH + 1, writes);
	virtq_unget_singles(f->vq, &singles[BATCH], 1);
	assert_int_equal(virtq_in_flight(f->vq), BATCH);
	for (unsigned i = 0; i < BATCH; i++)
		written[i] = i % 2;
	virtq_put_singles(f->vq, singles, writes ? written : NULL, BATCH);
	assert_int_equal(driver_used(&f->driver, &len), -1);
	virtq_flush(f->vq);
	assert_int_equal(virtq_in_flight(f->vq), 0);
	while (seen < BATCH) {
		unsigned n = 1;

		if (in_order)
			n = driver_used_in_order(&f->driver, ids + seen,
						 BATCH - seen, &len);
		else
			assert_int_equal(driver_used(&f->driver, &len),
					 ids[seen]);
		assert_int_equal(n, in_order && !writes ? BATCH : 1);
		assert_int_equal(len, writes ? written[seen] : 0);
		seen += n;
	}
	assert_int_equal(driver_used(&f->driver, &len), -1);
}

static void pass_batches(struct ring_test *f, const struct buffer *buffer,
			 bool in_order)
{
	int ids[BATCH + 1];

	ids[BATCH] = driver_add(&f->driver, buffer, 1);
	for (unsigned lap = 0; lap < LAPS; lap++) {
		ids[0] = ids[BATCH];
		for (unsigned i = 1; i <= BATCH; i++) {
			ids[i] = driver_add(&f->driver, buffer, 1);
			assert_true(ids[i] >= 0);
		}
		pass_batch(f, buffer, ids, in_order);
	}
	assert_null(virtq_error(f->vq));
}

/* A ring in which all that is out has come back. */
static struct virtq_config new_ring(struct ring_test *f)
{
	driver_init(&f->driver, &f->guest, f->packed, SIZE);
	return driver_config(&f->driver);
}

static void come_back_with_what_was_written(void **state)
{
	struct ring_test *f = *state;

	for (unsigned i = 0; i < 4; i++) {
		struct virtq_config config = new_ring(f);

		config.in_order = i & 1;
		ring_start_with(f, &config);
		pass_batches(f, i & 2 ? writable : readable, i & 1);
		virtq_stop(f->vq);
	}
}

/* Before chains that were taken after them, one of which was put too early. */
static void are_given_back_before_others(void **state)
{
	struct ring_test *f = *state;
	struct virtq_config config = new_ring(f);
	struct virtq_single singles[2];
	struct virtq_chain chains[2];
	uint32_t len;
	int ids[4];

	config.in_order = true;
	ring_start_with(f, &config);
	for (unsigned i = 0; i < 4; i++)
		ids[i] = driver_add(&f->driver, blk_request, i < 2 ? 1 : 3);
	assert_int_equal(virtq_get_singles(f->vq, singles, 4, false), 2);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(ring_get(f, &chains[i]), 0);
	virtq_put_singles(f->vq, singles, NULL, 2);
	virtq_put(f->vq, &chains[1], 1);
	virtq_put(f->vq, &chains[0], 1);
	virtq_flush(f->vq);
	assert_int_equal(driver_used_in_order(&f->driver, ids, 4, &len), 2);
	assert_int_equal(driver_used_in_order(&f->driver, ids + 2, 2, &len), 1);
	assert_int_equal(driver_used_in_order(&f->driver, ids + 3, 1, &len), 1);
	assert_int_equal(virtq_in_flight(f->vq), 0);
}

/* Of 16 chains taken one batch is given back; the others come again. */
static void die_with_some_out(struct ring_test *f, bool in_order)
{
	struct virtq_single singles[SIZE];
	struct virtq_config config = new_ring(f);
	struct inflight *inflight;
	struct virtq_chain chain;
	int ids[SIZE];
	uint64_t size, offset;
	int fd;

	config.in_order = in_order;
	assert_int_equal(inflight_new(1, SIZE, f->packed, 0, &inflight, &fd,
				      &size, &offset),
			 0);
	assert_int_equal(virtq_start(f->vq, &config, f->guest.memory, NULL,
				     inflight_queue(inflight, 0)),
			 0);
	for (unsigned i = 0; i < SIZE; i++)
		ids[i] = driver_add(&f->driver, readable, 1);
	assert_int_equal(virtq_get_singles(f->vq, singles, SIZE, false), SIZE);
	virtq_unget_singles(f->vq, singles + SIZE - 1, 1);
	virtq_put_singles(f->vq, singles, NULL, BATCH);
	virtq_flush(f->vq);
	config.base = virtq_stop(f->vq);
	assert_int_equal(virtq_start(f->vq, &config, f->guest.memory, NULL,
				     inflight_queue(inflight, 0)),
			 0);
	/* What was under way is no single one. */
	assert_int_equal(virtq_get_singles(f->vq, singles, SIZE, false), 0);
	for (unsigned i = BATCH; i < SIZE - 1; i++) {
		assert_int_equal(ring_get(f, &chain), 0);
		assert_true(chain.recovered);
		assert_int_equal(chain.id, ids[i]);
		virtq_put(f->vq, &chain, 0);
	}
	assert_int_equal(virtq_get_singles(f->vq, singles, SIZE, false), 1);
	assert_int_equal(singles[0].id, ids[SIZE - 1]);
	virtq_put_singles(f->vq, singles, NULL, 1);
	virtq_flush(f->vq);
	assert_int_equal(virtq_in_flight(f->vq), 0);
	virtq_stop(f->vq);
	inflight_free(inflight);
	close(fd);
}

static void are_tracked_in_flight(void **state)
{
	die_with_some_out(*state, false);
	die_with_some_out(*state, true);
}

static void are_logged_when_written(void **state)
{
	struct ring_test *f = *state;
	struct virtq_config config = new_ring(f);
	struct virtq_single singles[2];
	const uint64_t page = GUEST_DATA_GPA / DIRTY_LOG_PAGE_BYTES + 3;
	const uint32_t written[2] = {1, 0};
	struct buffer buffers[2];
	struct dirty_log *log;
	uint8_t *bits;
	int fd = memfd_create("log", MFD_CLOEXEC);

	assert_int_equal(ftruncate(fd, LOG_BYTES), 0);
	bits = mmap(NULL, LOG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(bits, MAP_FAILED);
	assert_int_equal(dirty_log_new(fd, 0, LOG_BYTES, &log), 0);
	assert_int_equal(virtq_start(f->vq, &config, f->guest.memory, log,
				     (struct inflight_queue){0}),
			 0);
	for (unsigned i = 0; i < 2; i++) {
		buffers[i] = (struct buffer){(page + i) * DIRTY_LOG_PAGE_BYTES,
					     64, true};
		driver_add(&f->driver, &buffers[i], 1);
	}
	assert_int_equal(virtq_get_singles(f->vq, singles, 2, true), 2);
	virtq_put_singles(f->vq, singles, written, 2);
	virtq_flush(f->vq);
	assert_int_equal(bits[page / 8] >> page % 8 & 1, 1);
	assert_int_equal(bits[(page + 1) / 8] >> (page + 1) % 8 & 1, 0);
	virtq_stop(f->vq);
	dirty_log_unref(log);
	munmap(bits, LOG_BYTES);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_BOTH(end_before_the_first_other_chain),
		ON_BOTH(are_no_more_than_the_ring_has),
		ON_BOTH(come_back_with_what_was_written),
		ON_BOTH(are_given_back_before_others),
		ON_BOTH(are_tracked_in_flight),
		ON_BOTH(are_logged_when_written),
	};

	return cmocka_run_group_tests_name("singles", tests, NULL, NULL);
}
