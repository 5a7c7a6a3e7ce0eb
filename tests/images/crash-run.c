/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/images/crash-run.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "image/open.h"
#include "qcow2/qcow2.h"
#include "tests/cmocka.h"
#include "tests/random.h"

uint64_t crash_pick(struct crash_run *run, uint64_t below)
{
	return random_below(&run->random, below);
}

struct image *crash_open(struct store *store, struct store *data,
			 const char *snapshot, bool read_only)
{
	const struct image_open_options options = {
		.read_only = read_only,
		.cache_bytes = 1,
		.snapshot = snapshot,
	};
	struct image *image = NULL;
	char *error = NULL;
	int err = qcow2_format.open(store, &options, &image, &error);

	if (err == 0 && image->file_count) {
		assert_non_null(data);
		err = image_attach(image, 0, data, &error);
	}
	if (err)
		fail_msg("does not open: %d: %s", err, error ? error : "");
	return image;
}

struct picture *crash_picture(struct crash_run *run,
			      const struct picture *before)
{
	struct picture *picture =
		before ? picture_copy(before) : calloc(1, sizeof(*picture));

	assert_non_null(picture);
	while (picture->bitmap_count)
		picture_drop_bitmap(picture, &picture->bitmaps[0]);
	free(picture->disk.stamps);
	picture_read_disk(&picture->disk, run->image);
	picture_read_bitmaps(picture, run->image);
	return picture;
}

static struct crash_phase *new_phase(struct crash_run *run,
				     const struct picture *before)
{
	struct crash_phase *phase = &run->phases[run->phase_count++];

	*phase = (struct crash_phase){
		.begin = run->log.count,
		.before = picture_copy(before),
	};
	return phase;
}

/* Granules of an enabled bitmap that the guest changed are set, at least. */
static void check_followed(const struct crash_phase *phase,
			   const struct picture *after)
{
	for (unsigned i = 0; i < phase->before->bitmap_count; i++) {
		const struct picture_bitmap *old = &phase->before->bitmaps[i];
		const struct picture_bitmap *new =
			picture_bitmap(after, old->name);

		assert_non_null(new);
		assert_false(new->inconsistent);
		for (uint64_t g = 0; g < old->bits; g++)
			if (old->set[g] && !new->set[g])
				fail_msg("bitmap %s lost a bit", old->name);
		for (uint64_t s = 0; old->enabled && s < after->disk.sectors;
		     s++)
			if (after->disk.stamps[s] !=
				    phase->before->disk.stamps[s] &&
			    !new->set[s * GUEST_SECTOR /
				      new->granularity_bytes])
				fail_msg("bitmap %s missed sector %llu",
					 old->name, (unsigned long long)s);
	}
}

static void guest_phase(struct crash_run *run, struct picture **picture)
{
	struct crash_phase *phase = new_phase(run, *picture);
	struct guest *guest = &phase->guest;
	struct picture *after;

	phase->what = "guest";
	guest_init(guest, run->image, (*picture)->disk.sectors,
		   (*picture)->disk.stamps, run->random);
	guest->position = &run->log.count;
	guest->stamp = run->stamp;
	run->guest = guest;
	guest_interrupt(guest);
	for (unsigned i = 0; i < run->scenario->requests; i++) {
		const struct crash_op *op = NULL;

		if (guest_pick(guest, 4) == 0)
			op = crash_choose(run, true, phase->before);
		if (op)
			op->act(run);
		else
			guest_request(guest,
				      guest_pick(guest, 8) ? 8
							   : GUEST_MAX_SECTORS,
				      false);
		if (guest_pick(guest, 6) == 0)
			guest_flush_slowly(guest);
	}
	guest_interrupt(NULL);
	guest_flush(guest);
	run->guest = NULL;
	run->stamp = guest->stamp;
	run->random = guest->random;
	after = crash_picture(run, *picture);
	check_followed(phase, after);
	picture_free(*picture);
	*picture = after;
}

static void check_effect(const char *what, const struct picture *expected,
			 const struct picture *got)
{
	if (!picture_same_disk(&expected->disk, &got->disk))
		fail_msg("after %s the disk is another", what);
	for (unsigned i = 0; i < expected->bitmap_count; i++) {
		const struct picture_bitmap *bitmap =
			picture_bitmap(got, expected->bitmaps[i].name);

		if (!bitmap ||
		    !picture_same_bitmap(&expected->bitmaps[i], bitmap))
			fail_msg("after %s bitmap %s is another", what,
				 expected->bitmaps[i].name);
	}
	if (expected->bitmap_count != got->bitmap_count)
		fail_msg("after %s there are %u bitmaps, not %u", what,
			 got->bitmap_count, expected->bitmap_count);
}

static void managed_phase(struct crash_run *run, const struct crash_op *op,
			  struct picture **picture)
{
	struct crash_phase *phase = new_phase(run, *picture);
	struct picture *after;
	int err;

	phase->managed = true;
	phase->loose = op->loose;
	phase->what = op->name;
	err = op->act(run);
	if (err)
		fail_msg("%s: %d: %s", op->name, err, image_error(run->image));
	if (op->effect)
		op->effect(run, *picture);
	after = crash_picture(run, *picture);
	check_effect(op->name, *picture, after);
	phase->after = after;
	picture_free(*picture);
	*picture = picture_copy(after);
}

static void record(struct crash_run *run)
{
	const struct crash_scenario *scenario = run->scenario;
	struct picture *picture = crash_picture(run, NULL);

	run->phases = calloc(scenario->phases * 2 + 1, sizeof(*run->phases));
	assert_non_null(run->phases);
	for (unsigned i = 0; i < scenario->phases; i++) {
		const struct crash_op *op;

		guest_phase(run, &picture);
		op = crash_choose(run, false, picture);
		if (op)
			managed_phase(run, op, &picture);
	}
	new_phase(run, picture)->what = "close";
	guest_init(&run->phases[run->phase_count - 1].guest, run->image,
		   picture->disk.sectors, picture->disk.stamps, run->random);
	picture_free(picture);
	assert_int_equal(image_close(run->image), 0);
	run->image = NULL;
}

/* What the work begins with: an image in the stores that will record it. */
static void make(struct crash_run *run)
{
	const struct crash_scenario *scenario = run->scenario;
	struct crash_log log;
	struct store *store = crash_log_record(&log, NULL, 0);
	struct store *data = NULL;
	char *error = NULL;
	int err;

	if (scenario->data_file)
		data = crash_log_record_more(&log, NULL, 0);
	err = qcow2_create(store, &scenario->options, &error);
	if (err)
		fail_msg("%s", error);
	if (scenario->thirds) {
		struct image *image = crash_open(store, data, NULL, false);

		guest_write_thirds(image);
		assert_int_equal(image_close(image), 0);
	}
	run->store[0] = crash_log_record(&run->log, crash_log_data(store),
					 store->size_bytes);
	if (data)
		run->store[1] = crash_log_record_more(
			&run->log, crash_log_data(data), data->size_bytes);
	run->log.loses = run->loses;
	run->log.is_lost = run->loses ? crash_loses : NULL;
	crash_log_release(store);
	if (data)
		crash_log_release(data);
	crash_log_deinit(&log);
}

static void free_run(struct crash_run *run)
{
	for (size_t i = 0; i < run->phase_count; i++) {
		picture_free(run->phases[i].before);
		picture_free(run->phases[i].after);
		guest_deinit(&run->phases[i].guest);
	}
	free(run->phases);
	for (unsigned i = 0; i < CRASH_FILES; i++)
		if (run->store[i])
			crash_log_release(run->store[i]);
	crash_log_deinit(&run->log);
}

size_t crash_run(struct crash_run *run)
{
	run->random = run->seed;
	run->stamp = 1;
	make(run);
	run->image = crash_open(run->store[0], run->store[1], NULL, false);
	record(run);
	crash_check(run);
	free_run(run);
	return run->states;
}
