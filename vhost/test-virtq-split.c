/* SPDX-License-Identifier: Apache-2.0 */
/* What only a split ring can get wrong, and its notifications. */
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/bytes.h"
#include "vhost/test-driver.h"

static void head_outside_the_table_is_refused(void **state)
{
	static const uint16_t heads[] = {8, 9, 0x8000, 0xffff};
	struct ring_test *f = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(heads); i++) {
		ring_start(f, 8);
		f->driver.avail->ring[0] = heads[i];
		f->driver.avail->idx = 1;
		expect_broken(f, "avail entry");
	}
}

static void next_outside_the_table_is_refused(void **state)
{
	struct ring_test *f = *state;
	int head;

	ring_start(f, 8);
	head = driver_add(&f->driver, blk_request, 3);
	f->driver.desc[head].next = 8;
	expect_broken(f, "next 8");
}

static void descriptor_loop_is_refused(void **state)
{
	struct ring_test *f = *state;
	int head;

	ring_start(f, 8);
	head = driver_add(&f->driver, blk_request, 2);
	f->driver.desc[f->driver.desc[head].next] = (struct vring_desc){
		.addr = GUEST_DATA_GPA,
		.len = 1,
		.flags = VRING_DESC_F_NEXT,
		.next = (uint16_t)head,
	};
	expect_broken(f, "loop");
	/* Of one descriptor, and of empty ones. */
	ring_start(f, 8);
	head = driver_add(&f->driver, blk_request, 1);
	f->driver.desc[head].flags = VRING_DESC_F_NEXT;
	f->driver.desc[head].len = 0;
	f->driver.desc[head].next = (uint16_t)head;
	expect_broken(f, "loop");
}

static void chain_as_long_as_the_ring_is_taken(void **state)
{
	struct ring_test *f = *state;
	struct buffer buffers[8];
	struct virtq_chain chain;

	for (unsigned i = 0; i < 8; i++)
		buffers[i] = blk_request[0];
	ring_start(f, 8);
	driver_add(&f->driver, buffers, 8);
	assert_int_equal(ring_get(f, &chain), 0);
	assert_int_equal(chain.out_count, 8);
}

static void loop_in_an_indirect_table_is_refused(void **state)
{
	struct ring_test *f = *state;
	struct vring_desc *table = guest_at(&f->guest, GUEST_DATA_GPA + 64);

	for (unsigned next = 0; next < 4; next++) {
		ring_start(f, 8);
		driver_add_indirect(&f->driver, blk_request, 3,
				    GUEST_DATA_GPA + 64);
		table[2] = (struct vring_desc){
			.flags = VRING_DESC_F_NEXT | VRING_DESC_F_WRITE,
			.next = (uint16_t)next,
		};
		table[0].flags |= VRING_DESC_F_WRITE;
		table[1].flags |= VRING_DESC_F_WRITE;
		expect_broken(f, next < 3 ? "loop" : "next 3");
	}
}

static void avail_index_that_jumps_is_refused(void **state)
{
	static const uint16_t idx[] = {9, 0x8000, 0xffff};
	struct ring_test *f = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(idx); i++) {
		ring_start(f, 8);
		f->driver.avail->idx = idx[i];
		expect_broken(f, "jumped");
	}
}

static void more_chains_than_entries_are_refused(void **state)
{
	struct ring_test *f = *state;
	struct virtq_chain chain;

	ring_start(f, 4);
	driver_add(&f->driver, blk_request, 1);
	for (unsigned i = 0; i < 4; i++) {
		f->driver.avail->idx = (uint16_t)(i + 1);
		f->driver.avail->ring[i] = f->driver.avail->ring[0];
		assert_int_equal(ring_get(f, &chain), 0);
	}
	f->driver.avail->idx = 5;
	expect_broken(f, "more than 4 chains");
}

static void size_that_is_no_power_of_two_is_refused(void **state)
{
	struct ring_test *f = *state;
	struct virtq_config config;

	driver_init(&f->driver, &f->guest, false, 8);
	config = driver_config(&f->driver);
	config.size = 12;
	assert_int_equal(virtq_start(f->vq, &config, f->guest.memory, NULL,
				     (struct inflight_queue){0}),
			 VIRTQ_E_BROKEN);
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

/* A ring whose interrupts can be counted. */
static int start_with_call(struct ring_test *f, bool event_idx, uint16_t first)
{
	struct virtq_config config;

	driver_init(&f->driver, &f->guest, false, 4);
	f->driver.avail_next = first;
	f->driver.used_next = first;
	f->driver.avail->idx = first;
	f->driver.used->idx = first;
	config = driver_config(&f->driver);
	config.event_idx = event_idx;
	config.base = first;
	config.call_fd = eventfd(0, EFD_CLOEXEC);
	ring_start_with(f, &config);
	return config.call_fd;
}

static void driver_that_sets_the_flag_is_not_interrupted(void **state)
{
	struct ring_test *f = *state;
	uint64_t count;
	int fd = start_with_call(f, false, 0);

	one_chain(f);
	assert_true(virtq_notify(f->vq));
	assert_int_equal(read(fd, &count, 8), 8);
	assert_int_equal(count, 1);
	f->driver.avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	one_chain(f);
	assert_false(virtq_notify(f->vq));
	assert_int_equal(read(fd, &count, 8), -1);
	close(fd);
}

/*
 * From every distance before and after the event, in batches of one to four,
 * where the indexes wrap and where they do not.
 */
static void interrupt_comes_when_the_used_event_is_passed(void **state)
{
	static const uint16_t firsts[] = {100, 0xfffa};
	struct ring_test *f = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(firsts); i++) {
		for (int ahead = -6; ahead < 6; ahead++) {
			for (unsigned batch = 1; batch <= 4; batch++) {
				int fd = start_with_call(f, true, firsts[i]);
				uint16_t *event =
					&f->driver.avail->ring[f->driver.size];

				one_chain(f);
				assert_true(virtq_notify(f->vq));
				*event =
					(uint16_t)(f->driver.used_next + ahead);
				for (unsigned j = 0; j < batch; j++)
					one_chain(f);
				assert_int_equal(virtq_notify(f->vq),
						 ahead >= 0 &&
							 ahead < (int)batch);
				assert_false(virtq_notify(f->vq));
				virtq_stop(f->vq);
				close(fd);
			}
		}
	}
}

static void ring_with_a_past_interrupts_once_at_its_start(void **state)
{
	struct ring_test *f = *state;
	uint64_t count;
	int fd = start_with_call(f, true, 0);

	assert_int_equal(read(fd, &count, 8), -1);
	virtq_stop(f->vq);
	close(fd);
	fd = start_with_call(f, true, 7);
	assert_int_equal(read(fd, &count, 8), 8);
	virtq_stop(f->vq);
	close(fd);
}

static void kicks_are_asked_for_by_flag(void **state)
{
	struct ring_test *f = *state;

	ring_start(f, 8);
	assert_int_equal(f->driver.used->flags, 0);
	virtq_kicks_off(f->vq);
	assert_int_equal(f->driver.used->flags, VRING_USED_F_NO_NOTIFY);
	assert_false(virtq_kicks_on(f->vq));
	assert_int_equal(f->driver.used->flags, 0);
	virtq_kicks_off(f->vq);
	driver_add(&f->driver, blk_request, 1);
	assert_true(virtq_kicks_on(f->vq));
}

static void kicks_are_asked_for_by_avail_event(void **state)
{
	struct ring_test *f = *state;
	int fd = start_with_call(f, true, 0xfffe);
	uint16_t *event = (uint16_t *)&f->driver.used->ring[4];

	for (unsigned i = 0; i < 6; i++) {
		assert_false(virtq_kicks_on(f->vq));
		assert_int_equal(*event, (uint16_t)(0xfffe + i));
		virtq_kicks_off(f->vq);
		one_chain(f);
	}
	driver_add(&f->driver, blk_request, 1);
	assert_true(virtq_kicks_on(f->vq));
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_SPLIT(head_outside_the_table_is_refused),
		ON_SPLIT(next_outside_the_table_is_refused),
		ON_SPLIT(descriptor_loop_is_refused),
		ON_SPLIT(chain_as_long_as_the_ring_is_taken),
		ON_SPLIT(loop_in_an_indirect_table_is_refused),
		ON_SPLIT(avail_index_that_jumps_is_refused),
		ON_SPLIT(more_chains_than_entries_are_refused),
		ON_SPLIT(size_that_is_no_power_of_two_is_refused),
		ON_SPLIT(driver_that_sets_the_flag_is_not_interrupted),
		ON_SPLIT(interrupt_comes_when_the_used_event_is_passed),
		ON_SPLIT(ring_with_a_past_interrupts_once_at_its_start),
		ON_SPLIT(kicks_are_asked_for_by_flag),
		ON_SPLIT(kicks_are_asked_for_by_avail_event),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
