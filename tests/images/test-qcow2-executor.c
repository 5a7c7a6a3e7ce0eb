/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many requests at once on a qcow2 file, through the executor: each slot works
 * on its own part of the image, so that what it must read is known, and the
 * parts share clusters.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "image/executor.h"
#include "image/open.h"
#include "qcow2/create.h"
#include "qcow2/qcow2.h"
#include "tests/cmocka.h"
#include "tests/images/crowd.h"
#include "tests/images/scratch.h"

#define NAME "crowd.qcow2"

enum {
	SECTOR = 512,
	SLOTS = 24,
	PART_SECTORS = 211, /* shares clusters with its neighbours */
	PART_BYTES = PART_SECTORS * SECTOR,
	REQUESTS = 300, /* of each slot */
};

struct slot {
	struct executor_request request;
	struct crowd *crowd;
	struct iovec iov;
	uint64_t start;
	uint8_t model[PART_BYTES];
	uint8_t data[PART_BYTES];
	uint64_t first; /* sectors, within the part */
	uint64_t count;
	enum executor_op op;
	unsigned left;
	unsigned stamp;
};

static void next_request(struct slot *slot);

/* A discard leaves the old content or zeroes, by the sector. */
static void accept_discarded(struct slot *slot)
{
	for (uint64_t i = 0; i < slot->count; i++) {
		const uint8_t *got = slot->data + i * SECTOR;

		if (bytes_are_zero(got, SECTOR))
			memset(slot->model + (slot->first + i) * SECTOR, 0,
			       SECTOR);
	}
}

static void done(struct executor_request *request, int result)
{
	struct slot *slot = container_of(request, struct slot, request);
	uint8_t *model = slot->model + slot->first * SECTOR;
	size_t bytes = slot->count * SECTOR;

	if (result)
		fail_msg("op %d: %d %s", slot->op, result,
			 image_error(slot->crowd->image));
	if (slot->op == EXECUTOR_WRITE)
		memcpy(model, slot->data, bytes);
	else if (slot->op == EXECUTOR_ZERO)
		memset(model, 0, bytes);
	else if (slot->op == EXECUTOR_READ)
		assert_memory_equal(slot->data, model, bytes);
	next_request(slot);
}

static void submit(struct slot *slot, enum executor_op op,
		   void (*when_done)(struct executor_request *, int))
{
	slot->op = op;
	slot->iov = (struct iovec){
		.iov_base = slot->data,
		.iov_len = slot->count * SECTOR,
	};
	slot->request = (struct executor_request){
		.op = op,
		.offset = slot->start + slot->first * SECTOR,
		.length = slot->count * SECTOR,
		.iov = &slot->iov,
		.iov_count = 1,
		.done = when_done,
	};
	executor_submit(slot->crowd->executor, &slot->request);
}

static void read_after_discard(struct executor_request *request, int result)
{
	struct slot *slot = container_of(request, struct slot, request);

	assert_int_equal(result, 0);
	accept_discarded(slot);
	assert_memory_equal(slot->data, slot->model + slot->first * SECTOR,
			    slot->count * SECTOR);
	next_request(slot);
}

static void discarded(struct executor_request *request, int result)
{
	struct slot *slot = container_of(request, struct slot, request);

	assert_int_equal(result, 0);
	submit(slot, EXECUTOR_READ, read_after_discard);
}

static void next_request(struct slot *slot)
{
	struct crowd *crowd = slot->crowd;
	unsigned what = crowd_pick(crowd, 16);

	if (slot->left-- == 0)
		return;
	slot->first = crowd_pick(crowd, PART_SECTORS);
	slot->count = 1 + crowd_pick(crowd, PART_SECTORS - slot->first);
	if (what < 7) {
		for (uint64_t i = 0; i < slot->count * SECTOR; i += 8)
			put_le64(slot->data + i,
				 (slot->start + i) << 20 | ++slot->stamp);
		submit(slot, EXECUTOR_WRITE, done);
	} else if (what < 11) {
		submit(slot, EXECUTOR_READ, done);
	} else if (what < 13) {
		submit(slot, EXECUTOR_ZERO, done);
	} else if (what < 15) {
		submit(slot, EXECUTOR_DISCARD, discarded);
	} else {
		submit(slot, EXECUTOR_FLUSH, done);
	}
}

static void run(const struct qcow2_create_options *options, bool direct)
{
	static const char *const allowed[] = {".", NULL};
	const struct image_open_request request = {
		.path = NAME,
		.format = "qcow2",
		.direct = direct,
		.cache_bytes = 1,
		.allowed = allowed,
	};
	const struct executor_config config = {.depth = SLOTS / 2};
	struct slot *slots = calloc(SLOTS, sizeof(*slots));
	struct crowd crowd;

	assert_non_null(slots);
	crowd_create(NAME, options);
	crowd_open(&crowd, &request, &config, 0);
	for (unsigned i = 0; i < SLOTS; i++) {
		slots[i].crowd = &crowd;
		slots[i].start = (uint64_t)i * PART_BYTES;
		slots[i].left = REQUESTS;
		next_request(&slots[i]);
	}
	crowd_wait(&crowd);
	crowd_close(&crowd);
	free(slots);
	crowd_check_file(NAME);
}

static void a_crowd_of_requests_finds_what_it_wrote(void **state)
{
	static const struct qcow2_create_options all[] = {
		{.size_bytes = 8 << 20},
		{.size_bytes = 8 << 20, .cluster_bytes = 512},
		{.size_bytes = 8 << 20,
		 .cluster_bytes = 512,
		 .refcount_bits = 64},
		{.size_bytes = 8 << 20, .cluster_bytes = 4096, .version = 2},
		{.size_bytes = 8 << 20, .cluster_bytes = 2 << 20},
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		run(&all[i], false);
}

static void a_crowd_over_a_backing_image_does_too(void **state)
{
	const struct qcow2_create_options base = {.size_bytes = 2 << 20};
	const struct qcow2_create_options top = {
		.size_bytes = 8 << 20,
		.backing_name = "base.qcow2",
		.backing_format = "qcow2",
	};

	crowd_create(NAME, &base);
	assert_int_equal(rename(NAME, "base.qcow2"), 0);
	run(&top, false);
}

static void note(struct executor_request *request, int result)
{
	assert_int_equal(result, 0);
}

static void do_one(struct crowd *crowd, struct executor_request request)
{
	request.done = note;
	executor_submit(crowd->executor, &request);
	crowd_wait(crowd);
}

/* Neighbours are written backwards: no two of them can be freed as one run. */
static void
one_discard_may_free_more_runs_than_can_wait_for_a_flush(void **state)
{
	enum {
		CLUSTERS = 20000
	};
	const struct qcow2_create_options options = {
		.size_bytes = CLUSTERS * 512,
		.cluster_bytes = 512,
	};
	const struct image_open_request request = {
		.path = NAME,
		.format = "qcow2",
	};
	const struct executor_config config = {.depth = 2};
	uint8_t data[512] = "full";
	struct iovec iov = {.iov_base = data, .iov_len = sizeof(data)};
	struct crowd crowd;

	crowd_create(NAME, &options);
	crowd_open(&crowd, &request, &config, 0);
	for (unsigned i = CLUSTERS; i-- > 0;)
		do_one(&crowd, (struct executor_request){
				       .op = EXECUTOR_WRITE,
				       .offset = i * sizeof(data),
				       .length = sizeof(data),
				       .iov = &iov,
				       .iov_count = 1,
			       });
	do_one(&crowd, (struct executor_request){
			       .op = EXECUTOR_DISCARD,
			       .length = options.size_bytes,
		       });
	crowd_close(&crowd);
	crowd_check_file(NAME);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_crowd_of_requests_finds_what_it_wrote),
		cmocka_unit_test(a_crowd_over_a_backing_image_does_too),
		cmocka_unit_test(
			one_discard_may_free_more_runs_than_can_wait_for_a_flush),
	};
	int failed;

	scratch_enter("true");
	image_register_format(&qcow2_format);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	scratch_leave();
	return failed;
}
