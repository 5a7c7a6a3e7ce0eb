/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compressed writes through the executor, many at once and mixed with plain
 * ones, with a codec pool and without: what is read is what was written, and
 * the image is sound.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "image/codec-pool.h"
#include "image/executor.h"
#include "image/open.h"
#include "qcow2/create.h"
#include "qcow2/qcow2.h"
#include "tests/cmocka.h"
#include "tests/images/crowd.h"
#include "tests/images/scratch.h"

#define NAME "pack.qcow2"

enum {
	SLOTS = 16,
	PART_CLUSTERS = 6,
	MAX_PART = PART_CLUSTERS * 65536,
	REQUESTS = 150, /* of each slot */
	PIECES = 3,
};

struct slot {
	struct executor_request request;
	struct crowd *crowd;
	struct iovec iov[PIECES];
	uint64_t start, bytes; /* the part */
	uint64_t first, count; /* the request, within the part */
	enum executor_op op;
	unsigned left;
	uint8_t model[MAX_PART];
	uint8_t data[MAX_PART];
};

static void next_request(struct slot *slot);

static void done(struct executor_request *request, int result)
{
	struct slot *slot = container_of(request, struct slot, request);

	if (result)
		fail_msg("op %d: %d %s", slot->op, result,
			 image_error(slot->crowd->image));
	if (slot->op == EXECUTOR_READ)
		assert_memory_equal(slot->data, slot->model + slot->first,
				    slot->count);
	else if (slot->op == EXECUTOR_ZERO)
		memset(slot->model + slot->first, 0, slot->count);
	else if (slot->op != EXECUTOR_FLUSH)
		memcpy(slot->model + slot->first, slot->data, slot->count);
	next_request(slot);
}

/* Text, noise that no codec makes smaller, or zeroes, by the 4 KiB. */
static void make_data(struct slot *slot)
{
	struct crowd *crowd = slot->crowd;

	for (uint64_t at = 0; at < slot->count; at += 4096) {
		uint64_t end = MIN(at + 4096, slot->count);
		unsigned kind = crowd_pick(crowd, 4);

		for (uint64_t i = at; i < end; i++)
			slot->data[i] = kind == 0   ? 0
					: kind == 1 ? crowd_pick(crowd, 256)
						    : 'a' + i % 7 * (kind - 1);
	}
}

/* In pieces that end anywhere. */
static void submit(struct slot *slot, enum executor_op op)
{
	uint64_t cut[PIECES + 1] = {0, crowd_pick(slot->crowd, slot->count + 1),
				    0, slot->count};

	cut[2] = cut[1] + crowd_pick(slot->crowd, slot->count - cut[1] + 1);
	for (int i = 0; i < PIECES; i++)
		slot->iov[i] = (struct iovec){
			.iov_base = slot->data + cut[i],
			.iov_len = cut[i + 1] - cut[i],
		};
	slot->op = op;
	slot->request = (struct executor_request){
		.op = op,
		.offset = slot->start + slot->first,
		.length = slot->count,
		.iov = slot->iov,
		.iov_count = PIECES,
		.done = done,
	};
	executor_submit(slot->crowd->executor, &slot->request);
}

static void pick_range(struct slot *slot, uint64_t unit)
{
	uint64_t units = div_round_up(slot->bytes, unit);
	uint64_t first = crowd_pick(slot->crowd, units);
	uint64_t end = first + 1 + crowd_pick(slot->crowd, units - first);

	slot->first = first * unit;
	slot->count = MIN(end * unit, slot->bytes) - slot->first;
}

static void next_request(struct slot *slot)
{
	struct crowd *crowd = slot->crowd;
	unsigned what = crowd_pick(crowd, 16);

	if (slot->left-- == 0)
		return;
	pick_range(slot, what < 7 ? crowd->image->cluster_bytes : 1);
	make_data(slot);
	if (what < 7)
		submit(slot, EXECUTOR_WRITE_COMPRESSED);
	else if (what < 9)
		submit(slot, EXECUTOR_WRITE);
	else if (what < 10)
		submit(slot, EXECUTOR_ZERO);
	else if (what < 11)
		submit(slot, EXECUTOR_FLUSH);
	else
		submit(slot, EXECUTOR_READ);
}

static void open_it(struct crowd *crowd, unsigned threads)
{
	const struct image_open_request request = {
		.path = NAME,
		.format = "qcow2",
		.cache_bytes = 1,
	};
	const struct executor_config config = {
		.depth = SLOTS / 2,
		.compress = true,
	};

	crowd_open(crowd, &request, &config, threads);
}

static void run(uint32_t cluster_bytes, enum qcow2_compression compression,
		unsigned threads)
{
	const uint64_t part = PART_CLUSTERS * (uint64_t)cluster_bytes;
	const struct qcow2_create_options options = {
		/* Ends within a cluster, in the last slot's part. */
		.size_bytes = (SLOTS * part - 3 * 512) & ~511ull,
		.cluster_bytes = cluster_bytes,
		.compression = compression,
	};
	struct slot *slots = calloc(SLOTS, sizeof(*slots));
	struct crowd crowd;

	assert_non_null(slots);
	crowd_create(NAME, &options);
	open_it(&crowd, threads);
	for (unsigned i = 0; i < SLOTS; i++) {
		struct slot *slot = &slots[i];

		slot->crowd = &crowd;
		slot->start = i * part;
		slot->bytes = MIN(part, options.size_bytes - slot->start);
		slot->left = REQUESTS;
		next_request(slot);
	}
	crowd_wait(&crowd);
	crowd_close(&crowd);
	free(slots);
	crowd_check_file(NAME);
}

static void compressed_and_plain_writes_are_read_back(void **state)
{
	run(4096, QCOW2_COMPRESSION_ZLIB, 0);
	run(4096, QCOW2_COMPRESSION_ZSTD, 3);
	run(65536, QCOW2_COMPRESSION_ZLIB, 2);
}

static int last;

static void note(struct executor_request *request, int result)
{
	last = result;
}

static int write_one(struct crowd *crowd, uint64_t offset, uint64_t length)
{
	static uint8_t data[8192];
	struct iovec iov = {data, length};
	struct executor_request request = {
		.op = EXECUTOR_WRITE_COMPRESSED,
		.offset = offset,
		.length = length,
		.iov = &iov,
		.iov_count = 1,
		.done = note,
	};

	executor_submit(crowd->executor, &request);
	crowd_wait(crowd);
	return last;
}

static void what_is_no_whole_cluster_is_refused(void **state)
{
	const struct qcow2_create_options options = {
		.size_bytes = 5 * 4096 + 1024,
		.cluster_bytes = 4096,
	};
	struct crowd crowd;

	crowd_create(NAME, &options);
	open_it(&crowd, 1);
	assert_int_equal(write_one(&crowd, 512, 4096), -EINVAL);
	assert_int_equal(write_one(&crowd, 0, 4095), -EINVAL);
	assert_int_equal(write_one(&crowd, 5 * 4096, 4096), -EINVAL);
	assert_int_equal(write_one(&crowd, 4 * 4096, 4096 + 1024), 0);
	crowd_close(&crowd);
	crowd_check_file(NAME);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(compressed_and_plain_writes_are_read_back),
		cmocka_unit_test(what_is_no_whole_cluster_is_refused),
	};
	int failed;

	scratch_enter("true");
	image_register_format(&qcow2_format);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	scratch_leave();
	return failed;
}
