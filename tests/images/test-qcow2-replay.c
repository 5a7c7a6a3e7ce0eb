/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kills the process everywhere, not the machine. Random guest requests run on
 * an image with a journal; before every write to the store, in the middle of
 * it, between the steps of flushes and while allocations are open, the store
 * and the journal's memory are looked at as a process started anew finds them:
 * with the journal replayed each sector holds what was last reported to be
 * written, and no cluster has two owners. Replays are killed too, and journals
 * are forged.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "image/journal.h"
#include "image/open.h"
#include "image/sync-io.h"
#include "qcow2/create.h"
#include "qcow2/qcow2.h"
#include "tests/cmocka.h"
#include "tests/images/crash-log.h"
#include "tests/images/guest.h"
#include "tests/images/qcow2-walk.h"

enum {
	KIB = 1 << 10,
	MAX_CHECKED = 4096,
	CAPACITY = 96 << 20,
	AREA_BYTES =
		JOURNAL_HEAD_BYTES + 96 * (int)sizeof(struct journal_record),
};

struct scenario {
	struct qcow2_create_options options;
	bool snapshot;
	bool only_writes;  /* nothing is freed: so nothing may leak */
	bool block_device; /* no growing */
	unsigned requests;
	unsigned one_in; /* of the moments, is looked at */
};

struct life {
	const struct scenario *scenario;
	struct guest guest;
	struct store *inner;
	struct store store; /* calls @inner, and is killed at times */
	struct crash_log log;
	bool at_rest;
	unsigned moments;
	unsigned replayed; /* moments with records in the journal */
	unsigned forged;
	unsigned refused;
	_Alignas(8) uint8_t area[AREA_BYTES];
};

static struct life *life;

static uint64_t pick(uint64_t below)
{
	return guest_pick(&life->guest, below);
}

static struct image *open_store(struct store *store)
{
	const struct image_open_options options = {.cache_bytes = 1};
	struct image *image = NULL;
	char *error = NULL;

	if (qcow2_format.open(store, &options, &image, &error) != 0)
		fail_msg("does not open: %s", error ? error : "");
	return image;
}

static uint64_t check_structure(struct store *store)
{
	struct qcow2_walk walk = {
		.data = crash_log_data(store),
		.size_bytes = store->size_bytes,
	};

	if (qcow2_walk(&walk) != 0)
		fail_msg("moment %u: %s", life->moments, walk.problem);
	free(walk.uses);
	return walk.leaked;
}

static void check_content(struct image *image)
{
	static uint8_t data[MAX_CHECKED * GUEST_SECTOR];
	const struct guest *guest = &life->guest;

	assert_true(guest->sector_count <= MAX_CHECKED);
	if (sync_io_read(image, 0, data, guest->sector_count * GUEST_SECTOR))
		fail_msg("moment %u: %s", life->moments, image_error(image));
	for (uint64_t i = 0; i < guest->sector_count; i++) {
		uint64_t stamp = guest_stamp(data + i * GUEST_SECTOR, i);

		if (!guest_may_hold(guest, i, stamp, 0, UINT64_MAX))
			fail_msg("moment %u: sector %llu holds write %llu",
				 life->moments, (unsigned long long)i,
				 (unsigned long long)stamp);
	}
}

static struct store *store_of(struct crash_log *log, const uint8_t *data,
			      uint64_t data_bytes, uint64_t bytes)
{
	struct store *store =
		crash_log_record(log, data, MIN(data_bytes, bytes));

	store->size_bytes = bytes;
	store->can_grow = !life->scenario->block_device;
	return store;
}

/* A new process goes on; the result of its replay. */
static int go_on(struct store *store, const uint8_t *area, bool check)
{
	_Alignas(8) uint8_t copy[AREA_BYTES];
	struct image *image = open_store(store);
	int err;

	memcpy(copy, area, AREA_BYTES);
	err = image_journal_attach(image, copy, AREA_BYTES);
	if (check && err)
		fail_msg("moment %u: replay: %d: %s", life->moments, err,
			 image_error(image));
	if (check)
		check_content(image);
	if (err == 0 && image_journal_detach(image) != 0)
		assert_false(check);
	image_close(image);
	return err;
}

/* Each prefix of what a replay did, replayed from the same journal. */
static void kill_replays(const struct crash_log *log, uint64_t bytes,
			 const uint8_t *area)
{
	struct crash_state state;

	crash_state_init(&state, log);
	state.file[0].store.size_bytes = bytes;
	for (size_t i = 0; i <= log->count; i++) {
		struct crash_log again;
		struct store *store;

		crash_state_set(&state, i, NULL);
		store = store_of(&again, state.file[0].data,
				 state.file[0].written_end,
				 state.file[0].store.size_bytes);
		go_on(store, area, true);
		check_structure(store);
		crash_log_release(store);
		crash_log_deinit(&again);
	}
	crash_state_deinit(&state);
}

static struct journal_record *record_in(uint8_t *area, uint64_t at)
{
	return (struct journal_record *)(area + JOURNAL_HEAD_BYTES) + at;
}

/* Something that another process could have written there. */
static void forge(uint8_t *area)
{
	struct journal_head *head = (struct journal_head *)area;
	uint64_t count = head->end - head->first;
	unsigned bits = life->guest.image->cluster_bytes;

	for (unsigned n = 1 + pick(3); n > 0; n--) {
		struct journal_record *r = record_in(
			area,
			(head->first + pick(MAX(count, UINT64_C(1)))) % 96);

		switch (pick(9)) {
		case 0:
			r->entry = UINT64_C(1) << 63 | pick(256) * bits;
			break;
		case 1:
			r->entry ^= UINT64_C(1) << pick(64);
			break;
		case 2:
			r->cluster = pick(life->guest.sector_count);
			break;
		case 3:
			r->cluster ^= UINT64_C(1) << pick(64);
			break;
		case 4:
			r->entry = record_in(area, pick(96))->entry;
			break;
		case 5:
			head->first -= pick(4);
			break;
		case 6:
			head->end += pick(4);
			break;
		case 7:
			area[pick(AREA_BYTES)] ^= 1 << pick(8);
			break;
		default:
			r->entry = life->guest.random;
			r->cluster = pick(4);
		}
	}
}

/* Whatever it says: an image that is whole afterwards, or a refusal. */
static void forge_journal(const uint8_t *data, uint64_t data_bytes,
			  uint64_t bytes)
{
	uint8_t area[AREA_BYTES];
	struct crash_log log;
	struct store *store = store_of(&log, data, data_bytes, bytes);

	memcpy(area, life->area, AREA_BYTES);
	forge(area);
	life->forged++;
	life->refused += go_on(store, area, false) != 0;
	check_structure(store);
	crash_log_release(store);
	crash_log_deinit(&log);
}

/* The process dies now, when @data and the journal are what is left. */
static void look(const uint8_t *data, uint64_t data_bytes, uint64_t bytes)
{
	struct crash_log log;
	struct store *store = store_of(&log, data, data_bytes, bytes);
	const struct journal_head *head =
		(const struct journal_head *)life->area;
	void (*hook)(void) = sync_io_before_commit;
	uint64_t leaked;

	sync_io_before_commit = NULL;
	life->replayed += head->end != head->first;
	go_on(store, life->area, true);
	leaked = check_structure(store);
	if (life->scenario->only_writes && life->at_rest)
		assert_int_equal(leaked, 0);
	if (pick(6) == 0)
		kill_replays(&log, bytes, life->area);
	for (unsigned i = 0; i < 2; i++)
		forge_journal(data, data_bytes, bytes);
	crash_log_release(store);
	crash_log_deinit(&log);
	life->moments++;
	sync_io_before_commit = hook;
}

/* As it would be found now. */
static void look_now(void)
{
	look(crash_log_data(life->inner), crash_log_end(&life->log, 0),
	     life->inner->size_bytes);
}

static void maybe_look(void)
{
	if (pick(life->scenario->one_in) == 0)
		look_now();
}

static int killed_read(struct store *store, uint64_t offset, void *ret_data,
		       size_t length)
{
	return store_read(life->inner, offset, ret_data, length);
}

/* A kill can leave a part of a write. */
static int killed_write(struct store *store, uint64_t offset, const void *data,
			size_t length)
{
	size_t half = align_down(length / 2, GUEST_SECTOR);
	int err;

	maybe_look();
	if (half && pick(life->scenario->one_in) == 0) {
		assert_int_equal(store_write(life->inner, offset, data, half),
				 0);
		store->size_bytes = life->inner->size_bytes;
		look_now();
	}
	err = store_write(life->inner, offset, data, length);
	store->size_bytes = life->inner->size_bytes;
	return err;
}

static int killed_flush(struct store *store)
{
	maybe_look();
	return 0;
}

static int killed_resize(struct store *store, uint64_t size_bytes)
{
	int err;

	maybe_look();
	err = store_resize(life->inner, size_bytes);
	store->size_bytes = life->inner->size_bytes;
	return err;
}

static int killed_punch(struct store *store, uint64_t offset, uint64_t length)
{
	maybe_look();
	return store_punch(life->inner, offset, length);
}

static void keep(struct store *store)
{
}

static const struct store_ops killed_ops = {
	.read = killed_read,
	.write = killed_write,
	.flush = killed_flush,
	.resize = killed_resize,
	.punch = killed_punch,
	.zero = killed_punch,
	.free = keep,
};

/* An image of which every third sector holds stamp 1. */
static uint64_t prepare(const struct scenario *scenario, uint8_t *data)
{
	struct crash_log log;
	struct store *store = crash_log_record(&log, NULL, 0);
	char *error = NULL;
	uint64_t size;

	assert_int_equal(qcow2_create(store, &scenario->options, &error), 0);
	if (scenario->snapshot) {
		struct image *image = open_store(store);

		guest_write_thirds(image);
		image_close(image);
	}
	size = store->size_bytes;
	assert_true(size < CAPACITY);
	memcpy(data, crash_log_data(store), size);
	if (scenario->snapshot)
		size = qcow2_walk_add_snapshot(data, size, CAPACITY);
	crash_log_release(store);
	crash_log_deinit(&log);
	return size;
}

static void be_born(const struct scenario *scenario, uint64_t seed)
{
	uint8_t *data = calloc(1, CAPACITY);
	uint64_t size = prepare(scenario, data);
	struct image *image;

	*life = (struct life){.scenario = scenario};
	/* A device has room from the start. */
	life->inner = store_of(&life->log, data, size,
			       scenario->block_device ? CAPACITY / 16 : size);
	life->store = *life->inner;
	life->store.ops = &killed_ops;
	image = open_store(&life->store);
	guest_init(&life->guest, image,
		   scenario->options.size_bytes / GUEST_SECTOR, NULL, seed);
	life->guest.only_writes = scenario->only_writes;
	if (scenario->snapshot)
		guest_know_thirds(&life->guest);
	free(data);
	assert_int_equal(image_journal_attach(image, life->area, AREA_BYTES),
			 0);
}

static void live(const struct scenario *scenario, uint64_t seed)
{
	be_born(scenario, seed);
	guest_interrupt(&life->guest);
	for (unsigned i = 0; i < scenario->requests; i++) {
		guest_request(&life->guest, pick(8) ? 8 : GUEST_MAX_SECTORS,
			      false);
		life->at_rest = !life->guest.unflushed;
		maybe_look();
		life->at_rest = false;
		if (pick(12) == 0)
			guest_flush_slowly(&life->guest);
	}
	guest_interrupt(NULL);
	/* A clean end leaves nothing to replay, and no leak. */
	assert_int_equal(image_journal_detach(life->guest.image), 0);
	life->replayed = 0;
	look_now();
	assert_int_equal(life->replayed, 0);
	image_close(life->guest.image);
	assert_int_equal(check_structure(life->inner), 0);
	guest_deinit(&life->guest);
	crash_log_release(life->inner);
	crash_log_deinit(&life->log);
}

static void run(const struct scenario *scenario)
{
	const char *rounds = getenv("RINGLINE_CRASH_ROUNDS");
	unsigned count = rounds ? (unsigned)atoi(rounds) : 1;
	unsigned moments = 0;

	life = calloc(1, sizeof(*life));
	for (unsigned i = 0; i < MAX(count, 1u); i++) {
		live(scenario, 0x9e3779b97f4a7c15 + i * 1000003);
		moments += life->moments;
	}
	print_message("# %u moments, %u of %u forged journals refused\n",
		      moments, life->refused, life->forged);
	assert_true(moments > scenario->requests / 4);
	assert_true(life->refused > 0 && life->refused < life->forged);
	free(life);
}

static void a_kill_loses_nothing_in_small_clusters(void **state)
{
	const struct scenario scenario = {
		.options = {.size_bytes = 128 * KIB, .cluster_bytes = 512},
		.requests = 150,
		.one_in = 8,
	};

	run(&scenario);
}

static void a_kill_loses_nothing_in_default_clusters(void **state)
{
	const struct scenario scenario = {
		.options = {.size_bytes = 1024 * KIB},
		.requests = 150,
		.one_in = 4,
	};

	run(&scenario);
}

static void
a_kill_loses_nothing_and_leaks_nothing_that_was_written(void **state)
{
	const struct scenario scenario = {
		.options = {.size_bytes = 256 * KIB, .cluster_bytes = 4 * KIB},
		.only_writes = true,
		.requests = 150,
		.one_in = 4,
	};

	run(&scenario);
}

static void a_kill_loses_nothing_beside_a_snapshot(void **state)
{
	const struct scenario scenario = {
		.options = {.size_bytes = 128 * KIB, .cluster_bytes = 1 * KIB},
		.snapshot = true,
		.requests = 150,
		.one_in = 8,
	};

	run(&scenario);
}

static void a_kill_loses_nothing_of_version_2(void **state)
{
	const struct scenario scenario = {
		.options = {.size_bytes = 128 * KIB,
			    .cluster_bytes = 1 * KIB,
			    .version = 2},
		.requests = 150,
		.one_in = 8,
	};

	run(&scenario);
}

static void a_kill_loses_nothing_on_a_block_device(void **state)
{
	const struct scenario scenario = {
		.options = {.size_bytes = 128 * KIB, .cluster_bytes = 1 * KIB},
		.block_device = true,
		.requests = 150,
		.one_in = 8,
	};

	run(&scenario);
}

static void a_kill_loses_nothing_in_sub_clusters(void **state)
{
	const struct scenario scenario = {
		.options = {.size_bytes = 256 * KIB,
			    .cluster_bytes = 16 * KIB,
			    .extended_l2 = true},
		.requests = 150,
		.one_in = 8,
	};

	run(&scenario);
}

static void a_kill_loses_nothing_in_sub_clusters_beside_a_snapshot(void **state)
{
	const struct scenario scenario = {
		.options = {.size_bytes = 256 * KIB,
			    .cluster_bytes = 32 * KIB,
			    .extended_l2 = true},
		.snapshot = true,
		.requests = 150,
		.one_in = 8,
	};

	run(&scenario);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_kill_loses_nothing_in_small_clusters),
		cmocka_unit_test(a_kill_loses_nothing_in_default_clusters),
		cmocka_unit_test(
			a_kill_loses_nothing_and_leaks_nothing_that_was_written),
		cmocka_unit_test(a_kill_loses_nothing_beside_a_snapshot),
		cmocka_unit_test(a_kill_loses_nothing_of_version_2),
		cmocka_unit_test(a_kill_loses_nothing_on_a_block_device),
		cmocka_unit_test(a_kill_loses_nothing_in_sub_clusters),
		cmocka_unit_test(
			a_kill_loses_nothing_in_sub_clusters_beside_a_snapshot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
