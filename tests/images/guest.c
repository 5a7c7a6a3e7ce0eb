/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/images/guest.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "image/open.h"
#include "image/sync-io.h"
#include "tests/cmocka.h"
#include "tests/random.h"

static struct guest *interrupted; /* for the hook, which has no argument */

uint64_t guest_pick(struct guest *guest, uint64_t below)
{
	return random_below(&guest->random, below);
}

static size_t position_of(const struct guest *guest)
{
	return guest->position ? *guest->position : 0;
}

static size_t add_version(struct guest *guest, uint64_t sector, uint64_t stamp)
{
	struct guest_sector *s = &guest->sectors[sector];

	s->versions =
		realloc(s->versions, (s->count + 1) * sizeof(*s->versions));
	assert_non_null(s->versions);
	s->versions[s->count] = (struct guest_version){
		.stamp = stamp,
		.asked_at = position_of(guest),
		.asked_after = guest->completions,
		.done_at = UINT64_MAX,
	};
	return s->count++;
}

void guest_init(struct guest *guest, struct image *image, uint64_t sector_count,
		const uint64_t *stamps, uint64_t seed)
{
	*guest = (struct guest){
		.image = image,
		.sectors = calloc(sector_count + 1, sizeof(*guest->sectors)),
		.sector_count = sector_count,
		.stamp = 1,
		.random = seed,
	};
	assert_non_null(guest->sectors);
	for (uint64_t i = 0; i < sector_count; i++) {
		add_version(guest, i, stamps ? stamps[i] : 0);
		guest->sectors[i].versions[0].done_at = 1;
	}
	guest->completions = 1;
}

void guest_deinit(struct guest *guest)
{
	for (uint64_t i = 0; i < guest->sector_count; i++)
		free(guest->sectors[i].versions);
	free(guest->sectors);
	free(guest->promises);
}

void guest_fill(uint8_t *data, uint64_t first, uint64_t count, uint64_t stamp)
{
	for (uint64_t i = 0; i < count; i++)
		for (int b = 0; b < GUEST_SECTOR; b += 8)
			put_le64(data + i * GUEST_SECTOR + b,
				 stamp << GUEST_NUMBER_BITS | (first + i));
}

uint64_t guest_stamp(const uint8_t *data, uint64_t sector)
{
	uint64_t value = get_le64(data);
	uint64_t number = value & ((1u << GUEST_NUMBER_BITS) - 1);

	for (int i = 8; i < GUEST_SECTOR; i += 8)
		if (get_le64(data + i) != value)
			fail_msg("sector %llu is torn",
				 (unsigned long long)sector);
	if (value != 0 && number != sector)
		fail_msg("sector %llu holds what sector %llu was given",
			 (unsigned long long)sector,
			 (unsigned long long)number);
	return value >> GUEST_NUMBER_BITS;
}

void guest_write_thirds(struct image *image)
{
	uint8_t data[GUEST_SECTOR];

	for (uint64_t i = 0; i < image->size_bytes / GUEST_SECTOR; i += 3) {
		guest_fill(data, i, 1, 1);
		assert_int_equal(sync_io_write(image, i * GUEST_SECTOR, data,
					       GUEST_SECTOR),
				 0);
	}
}

void guest_know_thirds(struct guest *guest)
{
	for (uint64_t i = 0; i < guest->sector_count; i += 3)
		guest->sectors[i].versions[0].stamp = 1;
}

void guest_begin(struct guest *guest, uint64_t first, uint64_t count,
		 uint64_t stamp, size_t *ret_versions)
{
	for (uint64_t i = 0; i < count; i++) {
		struct guest_sector *s = &guest->sectors[first + i];

		ret_versions[i] = add_version(guest, first + i, stamp);
		s->crossed |= s->open > 0;
		s->open++;
	}
}

static uint64_t read_stamp(struct guest *guest, uint64_t sector)
{
	uint8_t data[GUEST_SECTOR];

	assert_int_equal(sync_io_read(guest->image, sector * GUEST_SECTOR, data,
				      GUEST_SECTOR),
			 0);
	return guest_stamp(data, sector);
}

/*
 * Which of those that were open at once came last is the image's to say, but
 * it cannot change its mind: as if the same were written again.
 */
static void settle(struct guest *guest, uint64_t sector)
{
	struct guest_sector *s = &guest->sectors[sector];
	uint64_t stamp = read_stamp(guest, sector);
	size_t version;

	assert_true(guest_may_hold(guest, sector, stamp, position_of(guest),
				   UINT64_MAX));
	/* Those that failed have done what they ever will. */
	for (size_t i = 0; i < s->count; i++)
		s->versions[i].done_at =
			MIN(s->versions[i].done_at, guest->completions);
	version = add_version(guest, sector, stamp);
	s->versions[version].done_at = ++guest->completions;
	s->crossed = false;
}

void guest_end(struct guest *guest, uint64_t first, uint64_t count,
	       const size_t *versions, int err)
{
	uint64_t done = ++guest->completions;

	/* Busy: another request is at it, or the plan that is out. */
	if (err != 0 && !((err == -EDEADLK || err == -EBUSY) && guest->depth))
		fail_msg("request failed: %d: %s", err,
			 image_error(guest->image));
	for (uint64_t i = 0; i < count; i++) {
		struct guest_sector *s = &guest->sectors[first + i];

		/* One that got half-way may have done its part of the work. */
		if (err == 0)
			s->versions[versions[i]].done_at = done;
		else
			s->crossed = true;
		if (--s->open == 0 && s->crossed)
			settle(guest, first + i);
	}
}

/* Compressed, if the image takes that: half of what covers whole clusters. */
static int write_somehow(struct guest *guest, uint64_t offset,
			 const uint8_t *data, uint64_t length)
{
	struct image *image = guest->image;
	uint64_t cluster = image->cluster_bytes;

	if (guest->stamp % 2 && image->codec != IMAGE_CODEC_NONE &&
	    !image->journal && !image->cipher &&
	    image->store == image->data_store && offset % cluster == 0 &&
	    length % cluster == 0)
		return sync_io_write_packed(image, offset, data, length);
	return sync_io_write(image, offset, data, length);
}

static void write_sectors(struct guest *guest, uint64_t first, uint64_t count)
{
	uint8_t data[GUEST_MAX_SECTORS * GUEST_SECTOR];
	size_t versions[GUEST_MAX_SECTORS];
	uint64_t stamp = ++guest->stamp;

	guest_fill(data, first, count, stamp);
	guest_begin(guest, first, count, stamp, versions);
	guest_end(guest, first, count, versions,
		  write_somehow(guest, first * GUEST_SECTOR, data,
				count * GUEST_SECTOR));
}

static void zero_sectors(struct guest *guest, uint64_t first, uint64_t count)
{
	size_t versions[GUEST_MAX_SECTORS];

	guest_begin(guest, first, count, 0, versions);
	guest_end(guest, first, count, versions,
		  sync_io_zero(guest->image, first * GUEST_SECTOR,
			       count * GUEST_SECTOR));
}

/* It reads as zeroes or as before, but as what stays the same. */
static void discard_sectors(struct guest *guest, uint64_t first, uint64_t count)
{
	size_t versions[GUEST_MAX_SECTORS];
	int err;

	guest_begin(guest, first, count, 0, versions);
	err = sync_io_discard(guest->image, first * GUEST_SECTOR,
			      count * GUEST_SECTOR);
	for (uint64_t i = 0; i < count; i++) {
		struct guest_sector *s = &guest->sectors[first + i];

		s->versions[versions[i]].stamp = read_stamp(guest, first + i);
	}
	guest_end(guest, first, count, versions, err);
}

void guest_request(struct guest *guest, uint64_t most, bool small)
{
	uint64_t per_cluster = guest->image->cluster_bytes / GUEST_SECTOR;
	uint64_t first = guest_pick(guest, guest->sector_count);
	uint64_t count = 1 + guest_pick(guest, most);
	unsigned what = guest->only_writes ? 0 : guest_pick(guest, 8);

	count = MIN(count, guest->sector_count - first);
	if (small)
		count = MIN(count, per_cluster - first % per_cluster);
	if (what < 5)
		write_sectors(guest, first, count);
	else if (what == 5)
		zero_sectors(guest, first, count);
	else
		discard_sectors(guest, first, count);
}

static void small_requests(struct guest *guest)
{
	guest->depth++;
	while (guest_pick(guest, 3))
		guest_request(guest, 8, true);
	guest->depth--;
}

static int run_step(const struct image_step *step, struct image *image)
{
	switch (step->kind) {
	case IMAGE_STEP_WRITE:
		return store_write(step->store, step->offset, step->data,
				   step->length);
	case IMAGE_STEP_BARRIER:
		return image_sync_stores(image);
	case IMAGE_STEP_RESIZE:
		return store_resize(step->store, step->offset);
	case IMAGE_STEP_PUNCH:
		return store_punch(step->store, step->offset, step->length);
	}
	return -EINVAL;
}

static void promise(struct guest *guest, uint64_t done_before)
{
	guest->promises =
		realloc(guest->promises,
			(guest->promise_count + 1) * sizeof(*guest->promises));
	assert_non_null(guest->promises);
	guest->promises[guest->promise_count++] = (struct guest_promise){
		.position = position_of(guest),
		.done_before = done_before,
	};
}

void guest_flush_slowly(struct guest *guest)
{
	uint64_t done_before = guest->completions + 1;
	size_t fails_at =
		guest_pick(guest, 8) ? SIZE_MAX : guest_pick(guest, 8);
	struct image_plan plan;
	int err = 0;

	if (image_flush_begin(guest->image, &plan) != 0)
		return;
	guest->unflushed = true;
	for (size_t i = 0; i < plan.count && err == 0; i++) {
		if (guest->depth < 2 && guest_pick(guest, 2))
			small_requests(guest);
		err = i == fails_at ? -EIO
				    : run_step(&plan.steps[i], guest->image);
	}
	image_flush_end(guest->image, &plan, err);
	guest->unflushed = err != 0;
	if (err)
		return;
	promise(guest, done_before);
	/* Only when no request is open: each was mapped before. */
	if (guest->depth == 0 && guest_pick(guest, 2))
		image_reclaim(guest->image, image_flushes(guest->image));
}

void guest_flush(struct guest *guest)
{
	int err = image_flush_sync(guest->image);

	if (err)
		fail_msg("flush failed: %d: %s", err,
			 image_error(guest->image));
	guest->unflushed = false;
	promise(guest, guest->completions + 1);
}

static void before_commit(void)
{
	struct guest *guest = interrupted;

	if (guest->depth || guest_pick(guest, 4))
		return;
	guest->depth++;
	if (guest_pick(guest, 2))
		guest_flush_slowly(guest);
	else
		small_requests(guest);
	guest->depth--;
}

void guest_interrupt(struct guest *guest)
{
	interrupted = guest;
	sync_io_before_commit = guest ? before_commit : NULL;
}

uint64_t guest_promised(const struct guest *guest, size_t position)
{
	uint64_t done_before = 0;

	for (size_t i = 0; i < guest->promise_count; i++)
		if (guest->promises[i].position <= position)
			done_before = guest->promises[i].done_before;
	return done_before;
}

/* Version @v was over before another began that is there for certain. */
static bool is_overwritten(const struct guest_sector *s,
			   const struct guest_version *v, uint64_t done_before)
{
	for (size_t i = s->count; i-- > 0;)
		if (s->versions[i].done_at < done_before &&
		    s->versions[i].asked_after >= v->done_at)
			return true;
	return false;
}

bool guest_may_hold(const struct guest *guest, uint64_t sector, uint64_t stamp,
		    size_t position, uint64_t done_before)
{
	const struct guest_sector *s = &guest->sectors[sector];

	for (size_t i = s->count; i-- > 0;) {
		const struct guest_version *v = &s->versions[i];

		if (v->stamp == stamp && v->asked_at <= position &&
		    !is_overwritten(s, v, done_before))
			return true;
	}
	return false;
}
