/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pulls the plug everywhere. Random guest requests run on an image in a store
 * that remembers each write and flush; flushes are drawn out, with requests
 * between the steps of their plans, and allocations are left open over them.
 * Then each state that a crash could have left is looked at: the image opens,
 * no cluster has two owners, refcounts cover all uses, and each sector holds
 * what was last flushed there or something written later.
 */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "image/open.h"
#include "qcow2/create.h"
#include "qcow2/qcow2.h"
#include "qcow2/sync-io.h"
#include "tests/cmocka.h"
#include "tests/images/crash-log.h"
#include "tests/images/qcow2-walk.h"
#include "tests/images/workload.h"

enum {
	KIB = 1 << 10,
	SECTOR = 512,
	MAX_REQUEST_SECTORS = 160, /* whole clusters of 64 KiB, too */
	CHUNK_SECTORS = 64,
	IMAGE_CAPACITY = 8 << 20,
	/* Allocated past the last write: looked at, too. */
	SLACK = 256 * KIB,
	/* One state in so many is written to afterwards. */
	REUSED_STATES = 97,
};

/* What a sector was given: by which request, and from when on. */
struct version {
	uint64_t stamp;	      /* 0: zeroes */
	size_t asked_at;      /* position in the log */
	uint64_t asked_after; /* so many completions */
	uint64_t done_at; /* number of the completion; UINT64_MAX: not yet */
};

struct sector {
	struct version *versions;
	size_t count;
};

/* A flush that ended: what was done before it began is there after it. */
struct promise {
	size_t position;
	uint64_t done_before;
};

struct plug {
	struct image *image;
	struct crash_log log;
	struct sector *sectors;
	uint64_t sector_count;
	struct promise *promises;
	size_t promise_count;
	uint64_t completions;
	uint64_t stamp;
	uint64_t random;
	unsigned depth; /* of requests within requests */
	size_t states;
};

static struct plug *current; /* for the hook, which has no argument */

static uint64_t pick(uint64_t below)
{
	current->random ^= current->random << 13;
	current->random ^= current->random >> 7;
	current->random ^= current->random << 17;
	return (current->random >> 11) % below;
}

static void add_version(struct plug *plug, uint64_t sector, uint64_t stamp,
			size_t asked_at)
{
	struct sector *s = &plug->sectors[sector];

	s->versions =
		realloc(s->versions, (s->count + 1) * sizeof(*s->versions));
	assert_non_null(s->versions);
	s->versions[s->count++] = (struct version){
		.stamp = stamp,
		.asked_at = asked_at,
		.asked_after = plug->completions,
		.done_at = UINT64_MAX,
	};
}

static uint64_t stamp_of(const uint8_t *data, uint64_t sector)
{
	uint64_t value = get_le64(data);

	for (int i = 8; i < SECTOR; i += 8)
		if (get_le64(data + i) != value)
			fail_msg("sector %llu is torn",
				 (unsigned long long)sector);
	if (value != 0 && (value & 0xfffff) != sector)
		fail_msg("sector %llu holds what sector %llu was given",
			 (unsigned long long)sector,
			 (unsigned long long)(value & 0xfffff));
	return value >> 20;
}

static int write_sectors(struct plug *plug, uint64_t first, uint64_t count)
{
	uint8_t data[MAX_REQUEST_SECTORS * SECTOR];
	uint64_t stamp = ++plug->stamp;

	for (uint64_t i = 0; i < count; i++) {
		add_version(plug, first + i, stamp, plug->log.count);
		for (int b = 0; b < SECTOR; b += 8)
			put_le64(data + i * SECTOR + b,
				 stamp << 20 | (first + i));
	}
	return sync_io_write(plug->image, first * SECTOR, data, count * SECTOR);
}

static int zero_sectors(struct plug *plug, uint64_t first, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		add_version(plug, first + i, 0, plug->log.count);
	return sync_io_zero(plug->image, first * SECTOR, count * SECTOR);
}

/* What the range reads as afterwards is what it was given. */
static int discard_sectors(struct plug *plug, uint64_t first, uint64_t count)
{
	uint8_t data[MAX_REQUEST_SECTORS * SECTOR];
	size_t asked_at = plug->log.count;
	int err = sync_io_discard(plug->image, first * SECTOR, count * SECTOR);

	if (sync_io_read(plug->image, first * SECTOR, data, count * SECTOR))
		fail();
	for (uint64_t i = 0; i < count; i++)
		add_version(plug, first + i,
			    stamp_of(data + i * SECTOR, first + i), asked_at);
	return err;
}

static void end_request(struct plug *plug, uint64_t first, uint64_t count,
			size_t *counts, int err)
{
	uint64_t done = ++plug->completions;

	/* Busy: another request is at it, or the plan that is out. */
	if (err != 0 && !(err == -EDEADLK && plug->depth))
		fail_msg("request failed: %d: %s", err,
			 image_error(plug->image));
	for (uint64_t i = 0; i < count; i++) {
		struct sector *s = &plug->sectors[first + i];

		/* One that got half-way may have done its part of the work. */
		if (err == 0)
			s->versions[counts[i]].done_at = done;
	}
}

/* One request of at most @most sectors, within one cluster if @small. */
static void request(struct plug *plug, uint64_t most, bool small)
{
	uint64_t per_cluster = plug->image->cluster_bytes / SECTOR;
	uint64_t first = pick(plug->sector_count);
	uint64_t count = 1 + pick(most);
	size_t counts[MAX_REQUEST_SECTORS];
	unsigned what = pick(8);
	int err;

	count = MIN(count, plug->sector_count - first);
	if (small)
		count = MIN(count, per_cluster - first % per_cluster);
	for (uint64_t i = 0; i < count; i++)
		counts[i] = plug->sectors[first + i].count;
	if (what < 5)
		err = write_sectors(plug, first, count);
	else if (what == 5)
		err = zero_sectors(plug, first, count);
	else
		err = discard_sectors(plug, first, count);
	end_request(plug, first, count, counts, err);
}

static void small_requests(struct plug *plug)
{
	plug->depth++;
	while (pick(3))
		request(plug, 8, true);
	plug->depth--;
}

static int run_step(struct image *image, const struct image_step *step)
{
	switch (step->kind) {
	case IMAGE_STEP_WRITE:
		return store_write(step->store, step->offset, step->data,
				   step->length);
	case IMAGE_STEP_BARRIER:
		return store_flush(step->store);
	case IMAGE_STEP_RESIZE:
		return store_resize(step->store, step->offset);
	case IMAGE_STEP_PUNCH:
		return store_punch(step->store, step->offset, step->length);
	}
	return -EINVAL;
}

/* A flush with other requests between its steps; now and then it fails. */
static void slow_flush(struct plug *plug)
{
	uint64_t done_before = plug->completions + 1;
	size_t fails_at = pick(10) ? SIZE_MAX : pick(8);
	struct image_plan plan;
	int err = 0;

	if (image_flush_begin(plug->image, &plan) != 0)
		return;
	for (size_t i = 0; i < plan.count && err == 0; i++) {
		if (plug->depth < 2 && pick(2))
			small_requests(plug);
		err = i == fails_at ? -EIO
				    : run_step(plug->image, &plan.steps[i]);
	}
	image_flush_end(plug->image, &plan, err);
	if (err)
		return;
	plug->promises = realloc(plug->promises, (plug->promise_count +
						  1) * sizeof(struct promise));
	assert_non_null(plug->promises);
	plug->promises[plug->promise_count++] = (struct promise){
		.position = plug->log.count,
		.done_before = done_before,
	};
	/* Only when no request is open: each was mapped before. */
	if (plug->depth == 0 && pick(2))
		image_reclaim(plug->image, image_flushes(plug->image));
}

static void before_commit(void)
{
	if (current->depth || pick(4))
		return;
	current->depth++;
	if (pick(2))
		slow_flush(current);
	else
		small_requests(current);
	current->depth--;
}

static void record(struct plug *plug, unsigned requests)
{
	sync_io_before_commit = before_commit;
	for (unsigned i = 0; i < requests; i++) {
		request(plug, pick(8) ? 8 : MAX_REQUEST_SECTORS, false);
		if (pick(6) == 0)
			slow_flush(plug);
	}
	sync_io_before_commit = NULL;
	image_close(plug->image);
	plug->image = NULL;
}

/* Version @v was over before another began that is there for certain. */
static bool is_overwritten(const struct sector *s, const struct version *v,
			   uint64_t done_before)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->versions[i].done_at < done_before &&
		    s->versions[i].asked_after >= v->done_at)
			return true;
	return false;
}

static bool may_hold(const struct plug *plug, uint64_t sector, uint64_t stamp,
		     size_t position)
{
	const struct sector *s = &plug->sectors[sector];
	uint64_t done_before = 0;

	for (size_t i = 0; i < plug->promise_count; i++)
		if (plug->promises[i].position <= position)
			done_before = plug->promises[i].done_before;
	for (size_t i = s->count; i-- > 0;) {
		const struct version *v = &s->versions[i];

		if (v->stamp == stamp && v->asked_at <= position &&
		    !is_overwritten(s, v, done_before))
			return true;
	}
	return false;
}

static struct image *open_store(struct store *store, bool read_only)
{
	const struct image_open_options options = {
		.read_only = read_only,
		.cache_bytes = 1,
	};
	struct image *image = NULL;
	char *error = NULL;

	if (qcow2_format.open(store, &options, &image, &error) != 0)
		fail_msg("does not open: %s", error ? error : "");
	return image;
}

static void check_sectors(const struct plug *plug, struct image *image,
			  uint64_t first, uint64_t count, size_t position)
{
	static uint8_t data[CHUNK_SECTORS * SECTOR];
	int err = sync_io_read(image, first * SECTOR, data, count * SECTOR);

	if (err)
		fail_msg("cannot be read: %d: %s", err, image_error(image));
	for (uint64_t i = 0; i < count; i++) {
		uint64_t stamp = stamp_of(data + i * SECTOR, first + i);

		if (!may_hold(plug, first + i, stamp, position))
			fail_msg("position %zu: sector %llu holds write %llu, "
				 "which was not the last",
				 position, (unsigned long long)(first + i),
				 (unsigned long long)stamp);
	}
}

static void check_content(const struct plug *plug, struct store *store,
			  size_t position)
{
	struct image *image = open_store(store, true);

	for (uint64_t i = 0; i < plug->sector_count; i += CHUNK_SECTORS)
		check_sectors(
			plug, image, i,
			MIN((uint64_t)CHUNK_SECTORS, plug->sector_count - i),
			position);
	image_close(image);
}

static uint64_t check_refcounts(uint8_t *data, uint64_t size, size_t position)
{
	struct qcow2_walk walk = {.data = data, .size_bytes = size};

	if (qcow2_walk(&walk) != 0)
		fail_msg("position %zu: %s", position, walk.problem);
	free(walk.uses);
	return walk.leaked;
}

/* After the crash life goes on, and does no more harm. */
static void check_reuse(const struct crash_state *state, uint64_t size,
			size_t position, uint64_t leaked)
{
	struct crash_log log;
	struct store *store = crash_log_record(&log, state->data,
					       MIN(state->written_end, size));
	struct workload work;

	store->size_bytes = size;
	workload_init(&work, open_store(store, false), position + 1);
	workload_run(&work, 30);
	workload_check(&work);
	workload_deinit(&work);
	image_close(work.image);
	assert_true(check_refcounts(crash_log_data(store), store->size_bytes,
				    position) <= leaked);
	crash_log_release(store);
	crash_log_deinit(&log);
}

static void check_state(struct plug *plug, struct crash_state *state,
			size_t position, uint64_t end)
{
	uint64_t size = MIN(state->store.size_bytes, end);
	uint64_t leaked = check_refcounts(state->data, size, position);

	check_content(plug, &state->store, position);
	if (plug->states++ % REUSED_STATES == 0)
		check_reuse(state, size, position, leaked);
}

/* Each position as it is, and @torn times with a random part of the rest. */
static void check_all(struct plug *plug, unsigned torn)
{
	struct crash_state state;
	uint64_t end = plug->log.start_bytes;

	for (size_t i = 0; i < plug->log.count; i++) {
		const struct crash_entry *e = &plug->log.entries[i];

		if (e->kind == CRASH_WRITE)
			end = MAX(end, e->offset + e->length);
	}
	crash_state_init(&state, &plug->log);
	for (size_t i = 0; i <= plug->log.count; i++) {
		crash_state_set(&state, i, NULL);
		check_state(plug, &state, i, end + SLACK);
		for (unsigned t = 0; t < torn; t++) {
			crash_state_set(&state, i, &plug->random);
			check_state(plug, &state, i, end + SLACK);
		}
	}
	crash_state_deinit(&state);
}

struct scenario {
	struct qcow2_create_options options;
	bool snapshot;	   /* of random content, taken before */
	unsigned requests; /* recorded */
	unsigned torn;
};

/* Every third sector of the image holds something. */
static void fill_thirds(struct image *image)
{
	uint8_t sector[SECTOR];

	for (uint64_t i = 0; i < image->size_bytes / SECTOR; i += 3) {
		for (int b = 0; b < SECTOR; b += 8)
			put_le64(sector + b, UINT64_C(1) << 20 | i);
		assert_int_equal(
			sync_io_write(image, i * SECTOR, sector, SECTOR), 0);
	}
}

/* An image with some content, in memory of IMAGE_CAPACITY bytes. */
static uint64_t prepare(const struct scenario *scenario, uint8_t *ret_data)
{
	struct crash_log log;
	struct store *store = crash_log_record(&log, NULL, 0);
	char *error = NULL;
	uint64_t size;

	assert_int_equal(qcow2_create(store, &scenario->options, &error), 0);
	if (scenario->snapshot) {
		struct image *image = open_store(store, false);

		fill_thirds(image);
		image_close(image);
	}
	size = store->size_bytes;
	assert_true(size < IMAGE_CAPACITY);
	memcpy(ret_data, crash_log_data(store), size);
	if (scenario->snapshot)
		size = qcow2_walk_add_snapshot(ret_data, size, IMAGE_CAPACITY);
	crash_log_release(store);
	crash_log_deinit(&log);
	return size;
}

static size_t run(const struct scenario *scenario, uint64_t seed)
{
	struct plug plug = {
		.sector_count = scenario->options.size_bytes / SECTOR,
		.random = seed,
		.stamp = 1,
	};
	uint8_t *data = malloc(IMAGE_CAPACITY);
	uint64_t size = prepare(scenario, data);
	struct store *store;

	current = &plug;
	plug.sectors = calloc(plug.sector_count, sizeof(*plug.sectors));
	for (uint64_t i = 0; i < plug.sector_count; i++) {
		add_version(&plug, i, scenario->snapshot && i % 3 == 0, 0);
		plug.sectors[i].versions[0].done_at = 1;
	}
	store = crash_log_record(&plug.log, data, size);
	plug.completions = 1;
	plug.image = open_store(store, false);
	record(&plug, scenario->requests);
	check_all(&plug, scenario->torn);

	for (uint64_t i = 0; i < plug.sector_count; i++)
		free(plug.sectors[i].versions);
	free(plug.sectors);
	free(plug.promises);
	crash_log_release(store);
	crash_log_deinit(&plug.log);
	free(data);
	return plug.states;
}

/* RINGLINE_CRASH_ROUNDS multiplies the work. */
static void run_rounds(const struct scenario *scenario)
{
	const char *rounds = getenv("RINGLINE_CRASH_ROUNDS");
	unsigned count = rounds ? (unsigned)atoi(rounds) : 1;
	size_t states = 0;

	for (unsigned i = 0; i < MAX(count, 1u); i++)
		states += run(scenario, 0x9e3779b97f4a7c15 + i * 1000003);
	print_message("# %zu crash states\n", states);
	assert_true(states > scenario->requests);
}

static void any_crash_leaves_small_clusters_whole(void **state)
{
	const struct scenario scenario = {
		.options = {.size_bytes = 128 * KIB, .cluster_bytes = 512},
		.requests = 300,
		.torn = 3,
	};

	run_rounds(&scenario);
}

static void any_crash_leaves_default_clusters_whole(void **state)
{
	const struct scenario scenario = {
		.options = {.size_bytes = 1024 * KIB},
		.requests = 200,
		.torn = 2,
	};

	run_rounds(&scenario);
}

static void
any_crash_leaves_4k_clusters_with_1_bit_refcounts_whole(void **state)
{
	const struct scenario scenario = {
		.options = {.size_bytes = 256 * KIB,
			    .cluster_bytes = 4096,
			    .refcount_bits = 1},
		.requests = 300,
		.torn = 3,
	};

	run_rounds(&scenario);
}

static void any_crash_leaves_version_2_whole(void **state)
{
	const struct scenario scenario = {
		.options = {.size_bytes = 128 * KIB,
			    .cluster_bytes = 1024,
			    .version = 2},
		.requests = 300,
		.torn = 3,
	};

	run_rounds(&scenario);
}

static void any_crash_leaves_a_snapshot_and_its_image_whole(void **state)
{
	const struct scenario scenario = {
		.options = {.size_bytes = 128 * KIB, .cluster_bytes = 1024},
		.snapshot = true,
		.requests = 200,
		.torn = 3,
	};

	run_rounds(&scenario);
}

static void any_crash_while_the_refcount_table_moves_is_harmless(void **state)
{
	const struct scenario scenario = {
		/* 64 refcounts a block, 64 blocks a cluster of the table. */
		.options = {.size_bytes = 3072 * KIB,
			    .cluster_bytes = 512,
			    .refcount_bits = 64},
		.requests = 300,
		.torn = 1,
	};

	run_rounds(&scenario);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_crash_leaves_small_clusters_whole),
		cmocka_unit_test(any_crash_leaves_default_clusters_whole),
		cmocka_unit_test(
			any_crash_leaves_4k_clusters_with_1_bit_refcounts_whole),
		cmocka_unit_test(any_crash_leaves_version_2_whole),
		cmocka_unit_test(
			any_crash_leaves_a_snapshot_and_its_image_whole),
		cmocka_unit_test(
			any_crash_while_the_refcount_table_moves_is_harmless),
	};

	/* Thousands of images are opened: keep their memory at hand. */
	mallopt(M_MMAP_THRESHOLD, 64 << 20);
	mallopt(M_TRIM_THRESHOLD, 256 << 20);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
