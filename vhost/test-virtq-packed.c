/* SPDX-License-Identifier: Apache-2.0 */
/* What only a packed ring can get wrong, and its notifications. */
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/bytes.h"
#include "vhost/test-driver.h"

enum {
	SIZE = 5
};

static void chain_longer_than_the_ring_is_refused(void **state)
{
	struct ring_test *f = *state;
	struct virtq_chain chain;

	ring_start(f, 8);
	for (unsigned i = 0; i < 8; i++)
		f->driver.ring[i] = (struct vring_packed_desc){
			.addr = GUEST_DATA_GPA,
			.len = 1,
			.flags = 1 << VRING_PACKED_DESC_F_AVAIL |
				 VRING_DESC_F_NEXT,
		};
	expect_broken(f, "more than 8 descriptors");
	/* The same with others in flight. */
	ring_start(f, 8);
	driver_add(&f->driver, blk_request, 3);
	assert_int_equal(ring_get(f, &chain), 0);
	for (unsigned i = 3; i < 8; i++)
		f->driver.ring[i] = (struct vring_packed_desc){
			.addr = GUEST_DATA_GPA,
			.len = 1,
			.flags = 1 << VRING_PACKED_DESC_F_AVAIL |
				 VRING_DESC_F_NEXT,
		};
	expect_broken(f, "more than 8 descriptors");
}

static void slot_made_available_while_taken_is_refused(void **state)
{
	struct ring_test *f = *state;
	struct virtq_chain chain;

	ring_start(f, 2);
	for (unsigned i = 0; i < 2; i++) {
		driver_add(&f->driver, blk_request, 1);
		assert_int_equal(ring_get(f, &chain), 0);
	}
	/* As it would be a lap later. */
	f->driver.ring[0].flags = 1 << VRING_PACKED_DESC_F_USED;
	expect_broken(f, "more than 2 descriptors");
}

static void base_outside_the_ring_is_refused(void **state)
{
	static const uint32_t bases[] = {8, 0x8008, 0x80088000, 0x7fff7fff,
					 0xffffffff};
	struct ring_test *f = *state;
	struct virtq_config config;

	driver_init(&f->driver, &f->guest, true, 8);
	config = driver_config(&f->driver);
	for (unsigned i = 0; i < ARRAY_SIZE(bases); i++) {
		config.base = bases[i];
		assert_int_equal(virtq_start(f->vq, &config, f->guest.memory,
					     NULL, (struct inflight_queue){0}),
				 VIRTQ_E_BROKEN);
	}
}

static void base_with_only_its_lower_half_counts_for_both(void **state)
{
	struct ring_test *f = *state;
	struct virtq_config config;

	driver_init(&f->driver, &f->guest, true, 8);
	config = driver_config(&f->driver);
	config.base = 0x8000;
	ring_start_with(f, &config);
	assert_int_equal(virtq_stop(f->vq), 0x80008000);
	config.base = 0x80018003;
	ring_start_with(f, &config);
	assert_int_equal(virtq_stop(f->vq), 0x80018003);
}

static void one_chain(struct ring_test *f)
{
	struct virtq_chain chain;
	uint32_t len;

	driver_add(&f->driver, blk_request, 1);
	assert_int_equal(ring_get(f, &chain), 0);
	virtq_put(f->vq, &chain, 0);
	virtq_flush(f->vq);
	assert_true(driver_used(&f->driver, &len) >= 0);
}

static int start_with_call(struct ring_test *f, bool event_idx)
{
	struct virtq_config config;

	driver_init(&f->driver, &f->guest, true, SIZE);
	config = driver_config(&f->driver);
	config.event_idx = event_idx;
	config.call_fd = eventfd(0, EFD_CLOEXEC);
	ring_start_with(f, &config);
	return config.call_fd;
}

static void driver_that_disables_events_is_not_interrupted(void **state)
{
	struct ring_test *f = *state;
	uint64_t count;
	int fd = start_with_call(f, false);

	one_chain(f);
	assert_true(virtq_notify(f->vq));
	assert_int_equal(read(fd, &count, 8), 8);
	f->driver.driver_event->flags = VRING_PACKED_EVENT_FLAG_DISABLE;
	one_chain(f);
	assert_false(virtq_notify(f->vq));
	/* Not negotiated, so that it cannot be what it says. */
	f->driver.driver_event->flags = VRING_PACKED_EVENT_FLAG_DESC;
	one_chain(f);
	assert_true(virtq_notify(f->vq));
	close(fd);
}

/*
 * The event at each slot of the lap before, this one and the next, as seen
 * from each slot, with batches of every length.
 */
static void interrupt_comes_when_the_event_slot_is_passed(void **state)
{
	struct ring_test *f = *state;

	for (int from = 1; from < 3 * SIZE; from++) {
		for (int event = from - SIZE; event < from + SIZE; event++) {
			for (int batch = 1; batch < SIZE; batch++) {
				int fd = start_with_call(f, true);
				/* Laps are counted from one before ours. */
				int lap = (event + SIZE) / SIZE;
				uint16_t slot =
					(uint16_t)((event + SIZE) % SIZE);

				for (int i = 0; i < from; i++)
					one_chain(f);
				assert_true(virtq_notify(f->vq));
				f->driver.driver_event->off_wrap =
					(uint16_t)(slot | (lap % 2) << 15);
				f->driver.driver_event->flags =
					VRING_PACKED_EVENT_FLAG_DESC;
				for (int i = 0; i < batch; i++)
					one_chain(f);
				assert_int_equal(virtq_notify(f->vq),
						 event >= from &&
							 event < from + batch);
				virtq_stop(f->vq);
				close(fd);
			}
		}
	}
}

static void kicks_are_asked_for_by_flag(void **state)
{
	struct ring_test *f = *state;

	ring_start(f, 8);
	assert_int_equal(f->driver.device_event->flags,
			 VRING_PACKED_EVENT_FLAG_ENABLE);
	virtq_kicks_off(f->vq);
	assert_int_equal(f->driver.device_event->flags,
			 VRING_PACKED_EVENT_FLAG_DISABLE);
	assert_false(virtq_kicks_on(f->vq));
	assert_int_equal(f->driver.device_event->flags,
			 VRING_PACKED_EVENT_FLAG_ENABLE);
	driver_add(&f->driver, blk_request, 1);
	assert_true(virtq_kicks_on(f->vq));
}

static void kicks_are_asked_for_by_slot_and_wrap(void **state)
{
	struct ring_test *f = *state;
	int fd = start_with_call(f, true);

	for (unsigned i = 0; i < 4 * SIZE; i++) {
		assert_false(virtq_kicks_on(f->vq));
		assert_int_equal(f->driver.device_event->flags,
				 VRING_PACKED_EVENT_FLAG_DESC);
		assert_int_equal(f->driver.device_event->off_wrap,
				 i % SIZE | (i / SIZE % 2 ? 0 : 0x8000));
		virtq_kicks_off(f->vq);
		assert_int_equal(f->driver.device_event->flags,
				 VRING_PACKED_EVENT_FLAG_DISABLE);
		one_chain(f);
	}
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_PACKED(chain_longer_than_the_ring_is_refused),
		ON_PACKED(slot_made_available_while_taken_is_refused),
		ON_PACKED(base_outside_the_ring_is_refused),
		ON_PACKED(base_with_only_its_lower_half_counts_for_both),
		ON_PACKED(driver_that_disables_events_is_not_interrupted),
		ON_PACKED(interrupt_comes_when_the_event_slot_is_passed),
		ON_PACKED(kicks_are_asked_for_by_flag),
		ON_PACKED(kicks_are_asked_for_by_slot_and_wrap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
