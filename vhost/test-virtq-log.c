/* SPDX-License-Identifier: Apache-2.0 */
/* What a ring writes is in the dirty log, and nothing else: one write after the
 * other, since with several to one page none could be missed. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "vhost/inflight-layout.h"
#include "vhost/inflight.h"
#include "vhost/test-driver.h"

enum {
	PAGE = DIRTY_LOG_PAGE_BYTES,
	LOG_BYTES = (GUEST_SEAM_GPA + GUEST_REGION_BYTES) / PAGE / 8,
	/* Entries of a split ring; its index and its event are on other pages. */
	SIZE = 1024,
	DESCS_OF_PAGE = PAGE / 16,
};

struct log_test {
	struct ring_test *ring;
	struct virtq_config config;
	struct dirty_log *log;
	uint8_t *bits;
	int fd;
};

static struct log_test log_init(struct ring_test *ring, uint16_t size)
{
	struct log_test t = {.ring = ring,
			     .fd = memfd_create("log", MFD_CLOEXEC)};

	assert_int_equal(ftruncate(t.fd, LOG_BYTES), 0);
	t.bits = mmap(NULL, LOG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, t.fd,
		      0);
	assert_ptr_not_equal(t.bits, MAP_FAILED);
	assert_int_equal(dirty_log_new(t.fd, 0, LOG_BYTES, &t.log), 0);
	driver_init(&ring->driver, &ring->guest, ring->packed, size);
	t.config = driver_config(&ring->driver);
	t.config.log_used = true;
	return t;
}

/* What starting wrote is forgotten. */
static void log_start(struct log_test *t)
{
	assert_int_equal(virtq_start(t->ring->vq, &t->config,
				     t->ring->guest.memory, t->log,
				     (struct inflight_queue){0}),
			 0);
	memset(t->bits, 0, LOG_BYTES);
}

static void log_deinit(struct log_test *t)
{
	virtq_stop(t->ring->vq);
	dirty_log_unref(t->log);
	munmap(t->bits, LOG_BYTES);
	close(t->fd);
}

/* These pages, at ascending gpas, and no others; the log is then clear. */
static void expect_pages(struct log_test *t, const uint64_t *gpas,
			 unsigned count)
{
	unsigned found = 0;

	for (uint64_t page = 0; page < LOG_BYTES * 8; page++) {
		if (!(t->bits[page / 8] >> page % 8 & 1))
			continue;
		if (found == count || page != gpas[found] / PAGE)
			fail_msg("page 0x%llx is in the log",
				 (unsigned long long)page * PAGE);
		found++;
	}
	assert_int_equal(found, count);
	memset(t->bits, 0, LOG_BYTES);
}

#define EXPECT(t, ...)                                         \
	expect_pages(t, (const uint64_t[]){__VA_ARGS__},       \
		     sizeof((const uint64_t[]){__VA_ARGS__}) / \
			     sizeof(uint64_t))

/* In one batch; the device writes @bytes of each, up to a page. */
static void pass_chains(struct log_test *t, unsigned count, uint32_t bytes)
{
	const struct buffer buffer = {GUEST_DATA_GPA, PAGE, true};
	struct ring_test *f = t->ring;
	struct virtq_chain chain;
	uint32_t length;

	for (unsigned i = 0; i < count; i++)
		assert_true(driver_add(&f->driver, &buffer, 1) >= 0);
	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(ring_get(f, &chain), 0);
		virtq_put(f->vq, &chain, bytes);
	}
	virtq_flush(f->vq);
	for (unsigned i = 0; i < count; i++)
		assert_true(driver_used(&f->driver, &length) >= 0);
}

static void pages_written_are_in_the_log_and_no_others(void **state)
{
	struct ring_test *f = *state;
	struct log_test t = log_init(f, 8);
	struct buffer buffers[3] = {
		{GUEST_DATA_GPA, PAGE, false},
		{GUEST_DATA_GPA + 0x2800, 0x1000, true},
		{GUEST_SEAM_GPA - 0x1000, 0x3000, true},
	};
	struct virtq_chain chain;

	log_start(&t);
	driver_add(&f->driver, buffers, 3);
	assert_int_equal(ring_get(f, &chain), 0);
	virtq_put(f->vq, &chain, 0x1000 + 0x1001);
	virtq_flush(f->vq);
	EXPECT(&t, f->packed ? GUEST_DESC_GPA : GUEST_USED_GPA,
	       GUEST_DATA_GPA + 0x2000, GUEST_DATA_GPA + 0x3000,
	       GUEST_SEAM_GPA - 0x1000, GUEST_SEAM_GPA);
	log_deinit(&t);
}

static void used_elements_are_in_the_log(void **state)
{
	struct ring_test *f = *state;
	struct log_test t = log_init(f, SIZE);
	const uint64_t used = GUEST_USED_GPA + PAGE, in = used - 4;

	/* Index and flags end a page; what is used begins the next. */
	t.config.used_uva = guest_uva(in);
	t.config.log_gpa = in;
	f->driver.used = guest_at(&f->guest, in);
	log_start(&t);
	pass_chains(&t, 1, 0);
	EXPECT(&t, in, used);
	pass_chains(&t, 510, 0);
	EXPECT(&t, in, used);
	/* The last of a page and the first of the next. */
	pass_chains(&t, 2, 0);
	EXPECT(&t, in, used, used + PAGE);
	pass_chains(&t, SIZE - 514, 0);
	EXPECT(&t, in, used + PAGE);
	/* The last of the ring and the first. */
	pass_chains(&t, 2, 1);
	EXPECT(&t, in, used, used + PAGE, GUEST_DATA_GPA);
	log_deinit(&t);
}

static void used_descriptors_are_in_the_log(void **state)
{
	struct ring_test *f = *state;
	struct log_test t = log_init(f, SIZE);

	log_start(&t);
	pass_chains(&t, DESCS_OF_PAGE - 1, 0);
	EXPECT(&t, GUEST_DESC_GPA);
	pass_chains(&t, 2, 0);
	EXPECT(&t, GUEST_DESC_GPA, GUEST_DESC_GPA + PAGE);
	pass_chains(&t, 1, 1);
	EXPECT(&t, GUEST_DESC_GPA + PAGE, GUEST_DATA_GPA);
	log_deinit(&t);
}

static void wish_for_kicks_is_in_the_log(void **state)
{
	struct ring_test *f = *state;
	struct log_test t = log_init(f, SIZE);

	log_start(&t);
	virtq_kicks_off(f->vq);
	EXPECT(&t, GUEST_USED_GPA);
	virtq_kicks_on(f->vq);
	EXPECT(&t, GUEST_USED_GPA);
	log_deinit(&t);
}

static void event_index_is_in_the_log(void **state)
{
	struct ring_test *f = *state;
	struct log_test t = log_init(f, SIZE);
	/* Behind the elements. */
	const uint64_t event =
		GUEST_USED_GPA + (f->packed ? 0 : 4 + SIZE * UINT64_C(8));

	t.config.event_idx = true;
	log_start(&t);
	virtq_kicks_off(f->vq);
	if (f->packed)
		EXPECT(&t, event);
	virtq_kicks_on(f->vq);
	EXPECT(&t, event);
	log_deinit(&t);
}

/* A crash left elements behind the first one of a batch, which was not seen. */
static void element_that_is_taken_back_is_in_the_log(void **state)
{
	struct ring_test *f = *state;
	struct log_test t = log_init(f, 8);
	struct virtq_chain chain;
	struct inflight *inflight;
	uint64_t bytes, offset;
	int fd;

	assert_int_equal(
		inflight_new(1, 8, true, 0, &inflight, &fd, &bytes, &offset),
		0);
	for (unsigned restart = 0; restart < 2; restart++) {
		assert_int_equal(virtq_start(f->vq, &t.config, f->guest.memory,
					     t.log,
					     inflight_queue(inflight, 0)),
				 0);
		if (restart)
			break;
		for (unsigned i = 0; i < 2; i++) {
			driver_add(&f->driver, blk_request, 1);
			assert_int_equal(ring_get(f, &chain), 0);
		}
		virtq_stop(f->vq);
		memset(t.bits, 0, LOG_BYTES);
		f->driver.ring[1].flags |=
			htole16(1 << VRING_PACKED_DESC_F_AVAIL |
				1 << VRING_PACKED_DESC_F_USED);
	}
	/* And the event, written by any start. */
	EXPECT(&t, GUEST_DESC_GPA, GUEST_USED_GPA);
	inflight_free(inflight);
	close(fd);
	log_deinit(&t);
}

static void log_of_rings_is_asked_for(void **state)
{
	struct ring_test *f = *state;
	struct log_test t = log_init(f, 8);

	t.config.log_used = false;
	log_start(&t);
	pass_chains(&t, 1, 0);
	virtq_kicks_off(f->vq);
	virtq_kicks_on(f->vq);
	expect_pages(&t, NULL, 0);
	pass_chains(&t, 1, 1);
	EXPECT(&t, GUEST_DATA_GPA);
	log_deinit(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_BOTH(pages_written_are_in_the_log_and_no_others),
		ON_SPLIT(used_elements_are_in_the_log),
		ON_PACKED(used_descriptors_are_in_the_log),
		ON_BOTH(wish_for_kicks_is_in_the_log),
		ON_BOTH(event_index_is_in_the_log),
		ON_PACKED(element_that_is_taken_back_is_in_the_log),
		ON_BOTH(log_of_rings_is_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
