/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/images/workload.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "image/open.h"
#include "image/sync-io.h"
#include "tests/cmocka.h"
#include "tests/random.h"

enum {
	SECTOR = 512,
	USUAL_BYTES = 48 << 10,
};

static void expect(struct workload *work, int err)
{
	if (err)
		print_error("result %d: %s\n", err, image_error(work->image));
	assert_int_equal(err, 0);
}

void workload_init(struct workload *work, struct image *image, uint64_t seed)
{
	*work = (struct workload){
		.image = image,
		.size_bytes = image->size_bytes,
		.model = malloc(image->size_bytes),
		.random = seed,
	};
	assert_non_null(work->model);
	expect(work, sync_io_read(image, 0, work->model, work->size_bytes));
}

void workload_deinit(struct workload *work)
{
	free(work->model);
	work->model = NULL;
}

uint64_t workload_random(struct workload *work, uint64_t below)
{
	return random_below(&work->random, below);
}

static void pick_range(struct workload *work, uint64_t *ret_offset,
		       uint64_t *ret_length)
{
	uint64_t sectors = work->size_bytes / SECTOR;
	uint64_t first = workload_random(work, sectors);
	uint64_t most =
		workload_random(work, 8) ? USUAL_BYTES / SECTOR : sectors;
	uint64_t count = 1 + workload_random(work, MIN(most, sectors - first));

	*ret_offset = first * SECTOR;
	*ret_length = MIN(count, sectors - first) * SECTOR;
}

static void fill_pattern(struct workload *work, uint64_t offset,
			 uint64_t length)
{
	uint8_t *data = work->model + offset;

	for (uint64_t i = 0; i < length; i += 8)
		put_le64(data + i, (uint64_t)++work->stamp << 32 | 1 | i << 8);
}

static void write_pattern(struct workload *work, uint64_t offset,
			  uint64_t length)
{
	fill_pattern(work, offset, length);
	expect(work, sync_io_write(work->image, offset, work->model + offset,
				   length));
}

static bool takes_packed(const struct image *image)
{
	return image->codec != IMAGE_CODEC_NONE && !image->journal &&
	       image->store == image->data_store && !image->cipher;
}

/* The whole clusters that the range touches. */
static void write_packed(struct workload *work, uint64_t offset,
			 uint64_t length)
{
	uint64_t cluster = work->image->cluster_bytes;
	uint64_t end = align_up(offset + length, cluster);

	offset = align_down(offset, cluster);
	length = MIN(end, work->size_bytes) - offset;
	fill_pattern(work, offset, length);
	expect(work, sync_io_write_packed(work->image, offset,
					  work->model + offset, length));
}

static void run_one(struct workload *work)
{
	uint64_t offset, length;
	unsigned what = workload_random(work, 16);

	pick_range(work, &offset, &length);
	if (what < 3 && takes_packed(work->image)) {
		write_packed(work, offset, length);
	} else if (what < 10) {
		write_pattern(work, offset, length);
	} else if (what < 13) {
		memset(work->model + offset, 0, length);
		expect(work, sync_io_zero(work->image, offset, length));
	} else if (what < 15) {
		/* What a discarded range reads as is the format's to say. */
		expect(work, sync_io_discard(work->image, offset, length));
		expect(work, sync_io_read(work->image, offset,
					  work->model + offset, length));
	} else {
		expect(work, image_flush_sync(work->image));
	}
}

void workload_run(struct workload *work, unsigned count)
{
	while (count--)
		run_one(work);
}

void workload_check(struct workload *work)
{
	uint8_t *got = malloc(work->size_bytes);

	assert_non_null(got);
	expect(work, sync_io_read(work->image, 0, got, work->size_bytes));
	for (uint64_t i = 0; i < work->size_bytes; i += SECTOR)
		if (memcmp(got + i, work->model + i,
			   MIN((uint64_t)SECTOR, work->size_bytes - i)) != 0)
			fail_msg("the sector at byte %llu differs",
				 (unsigned long long)i);
	free(got);
}
