/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Crashes of sparse VMDK extents, at every instant: random work of a guest on an
 * image whose writes and flushes are recorded, then each state that a crash could
 * have left. It has to open, no two grains may share their room, each sector holds
 * what was last flushed there or something later, and who knew the disk before it
 * was changed has to see another CID. Then life goes on.
 *
 * And where only the process is killed, at moments of all kinds, whoever opens the
 * image next with the journal has to find all that was reported to be written; a
 * journal that was forged is refused, or harmless.
 *
 *	test-vmdk-crash			what an ordinary run does
 *	test-vmdk-crash STATES [SEED]	until so many states were seen
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "image/journal.h"
#include "image/open.h"
#include "image/sync-io.h"
#include "tests/cmocka.h"
#include "tests/images/crash-run.h"
#include "tests/images/vmdk-crash-image.h"
#include "tests/images/workload.h"
#include "vmdk/core.h"
#include "vmdk/vmdk.h"

enum {
	REQUESTS = 60,
	TORN = 3,
	REUSED_STATES = 61,
	REUSING_REQUESTS = 20,
	FEWEST_STATES = 500 / CRASH_STRIDE,
	ORDINARY_RUNS = 3, /* of each kind */

	JOURNAL_RECORDS = 64,
	AREA_BYTES = JOURNAL_HEAD_BYTES +
		     JOURNAL_RECORDS * (int)sizeof(struct journal_record),
	MOMENTS = 300, /* of a kill, of each kind of image */
	FORGED = 3,    /* journals of each */
	LIFE_REQUESTS = 20,
};

static const struct vmdk_crash_kind kinds[] = {
	{.name = "tables_in_two_copies", .tables = true, .second = true},
	{.name = "tables_that_come_later", .second = true, .zeroes = true},
	{.name = "one_copy_that_comes_later"},
	{.name = "one_copy_with_zeroed_grains", .tables = true, .zeroes = true},
	{.name = "cowd", .cowd = true},
	{.name = "sesparse", .se = true},
};

static unsigned long all_states, wanted_states;
static uint64_t first_seed = 5;

/* --- An image ----------------------------------------------------------- */

/* Its files are recorded, or a state of recorded ones. */
struct files {
	struct store *store[CRASH_FILES];
	unsigned count;
};

/* A new disk. */
static struct files record(const struct vmdk_crash_kind *kind,
			   struct crash_log *log)
{
	static uint8_t start[CRASH_FILES][VMDK_CRASH_BYTES];
	size_t bytes[CRASH_FILES];
	struct files f = {.count = vmdk_crash_build(kind, start, bytes)};

	f.store[0] = crash_log_record(log, start[0], bytes[0]);
	if (f.count > 1)
		f.store[1] = crash_log_record_more(log, start[1], bytes[1]);
	return f;
}

static void release(struct files *f)
{
	for (unsigned i = 0; i < f->count; i++)
		crash_log_release(f->store[i]);
}

static void open_failed(int err, const char *error)
{
	if (err)
		fail_msg("does not open: %d: %s", err, error ? error : "");
}

static struct image *open_files(const struct files *f, bool read_only)
{
	const struct image_open_options options = {
		.read_only = read_only,
		.cache_bytes = 1,
	};
	struct image *image;
	char *error = NULL;

	open_failed(vmdk_format.open(f->store[0], &options, &image, &error),
		    error);
	if (f->count > 1)
		open_failed(image_attach(image, 0, f->store[1], &error), error);
	return image;
}

/* --- Judging ------------------------------------------------------------ */

struct look {
	const struct vmdk_crash_kind *kind;
	struct guest guest;
	struct crash_state state;
	size_t position;
	uint64_t promised;
};

static void walk(const struct look *l)
{
	const struct crash_file *extent =
		&l->state.file[l->state.log->files - 1];

	vmdk_crash_walk(l->kind, extent->data, extent->store.size_bytes,
			l->position);
}

static struct files files_of(struct look *l)
{
	struct files f = {.count = l->state.log->files};

	for (unsigned i = 0; i < f.count; i++)
		f.store[i] = &l->state.file[i].store;
	return f;
}

static void check_content(struct look *l, struct image *image)
{
	struct picture_disk disk;
	bool changed = false;

	picture_read_disk(&disk, image);
	for (uint64_t i = 0; i < disk.sectors; i++) {
		changed |= disk.stamps[i] != 0;
		if (!guest_may_hold(&l->guest, i, disk.stamps[i], l->position,
				    l->promised))
			fail_msg("position %zu: sector %llu holds write %llu",
				 l->position, (unsigned long long)i,
				 (unsigned long long)disk.stamps[i]);
	}
	if (changed && vmdk_of(image)->d.cid == VMDK_CRASH_CID)
		fail_msg("position %zu: changed, and the CID is the old one",
			 l->position);
	free(disk.stamps);
}

static void go_on(struct look *l)
{
	struct files f = files_of(l);
	struct workload work;

	workload_init(&work, open_files(&f, false), l->position + 1);
	workload_run(&work, REUSING_REQUESTS);
	workload_check(&work);
	assert_int_equal(image_close(work.image), 0);
	workload_deinit(&work);
	walk(l);
}

static void look(struct look *l)
{
	struct files f = files_of(l);
	struct image *image;

	walk(l);
	image = open_files(&f, true);
	check_content(l, image);
	assert_int_equal(image_close(image), 0);
	if (++all_states % REUSED_STATES == 0)
		go_on(l);
}

/* --- Killing the process ------------------------------------------------ */

static struct life {
	const struct vmdk_crash_kind *kind;
	struct guest guest;
	struct files files;
	_Alignas(8) uint8_t area[AREA_BYTES];
	unsigned moments, replayed, forged, refused;
} life;

static struct files copy_files(struct crash_log *log)
{
	struct files copy = life.files;

	for (unsigned i = 0; i < copy.count; i++) {
		struct store *from = life.files.store[i];

		copy.store[i] = (i ? crash_log_record_more : crash_log_record)(
			log, crash_log_data(from), from->size_bytes);
	}
	return copy;
}

static void check_replayed(struct image *image)
{
	struct picture_disk disk;

	picture_read_disk(&disk, image);
	for (uint64_t i = 0; i < disk.sectors; i++)
		if (!guest_may_hold(&life.guest, i, disk.stamps[i], 0,
				    UINT64_MAX))
			fail_msg("moment %u: sector %llu holds write %llu",
				 life.moments, (unsigned long long)i,
				 (unsigned long long)disk.stamps[i]);
	free(disk.stamps);
}

static void check_rooms(const struct files *f)
{
	struct store *extent = f->store[f->count - 1];

	vmdk_crash_walk(life.kind, crash_log_data(extent), extent->size_bytes,
			life.moments);
}

/* A new process goes on with a copy; whether it took the journal. */
static bool replay(const uint8_t *area, bool honest)
{
	_Alignas(8) uint8_t copy[AREA_BYTES];
	struct crash_log log;
	struct files files = copy_files(&log);
	struct image *image = open_files(&files, false);
	int err;

	memcpy(copy, area, AREA_BYTES);
	err = image_journal_attach(image, copy, AREA_BYTES);
	if (err && honest)
		fail_msg("moment %u: %d: %s", life.moments, err,
			 image_error(image));
	if (honest)
		check_replayed(image);
	if (err == 0)
		assert_int_equal(image_journal_detach(image), 0);
	assert_int_equal(image_close(image), 0);
	check_rooms(&files);
	release(&files);
	crash_log_deinit(&log);
	return err == 0;
}

static void forge(uint8_t *area)
{
	struct journal_head *head = (struct journal_head *)area;
	uint64_t count = MAX(head->end - head->first, UINT64_C(1));
	uint64_t grain = vmdk_crash_grain_sectors(life.kind);
	struct journal_record *r =
		(struct journal_record *)(area + JOURNAL_HEAD_BYTES) +
		(head->first + guest_pick(&life.guest, count)) %
			JOURNAL_RECORDS;

	switch (guest_pick(&life.guest, 7)) {
	case 0:
		r->entry = guest_pick(&life.guest, 100) * grain;
		break;
	case 1:
		r->entry ^= UINT64_C(1) << guest_pick(&life.guest, 64);
		break;
	case 2:
		r->cluster = guest_pick(&life.guest,
					vmdk_crash_sectors(life.kind) / grain);
		break;
	case 3:
		r->cluster ^= UINT64_C(1) << guest_pick(&life.guest, 64);
		break;
	case 4:
		r->detail ^= UINT64_C(1) << guest_pick(&life.guest, 64);
		break;
	case 5:
		head->first -= guest_pick(&life.guest, 4);
		break;
	default:
		r->entry = 1;
	}
}

static void kill_now(void)
{
	const struct journal_head *head = (struct journal_head *)life.area;
	void (*hook)(void) = sync_io_before_commit;
	uint8_t area[AREA_BYTES];

	sync_io_before_commit = NULL;
	life.replayed += head->first != head->end;
	replay(life.area, true);
	for (int i = 0; i < FORGED; i++) {
		memcpy(area, life.area, AREA_BYTES);
		forge(area);
		life.forged++;
		life.refused += !replay(area, false);
	}
	life.moments++;
	sync_io_before_commit = hook;
}

/* The guest's own hook lets requests cross each other. */
static void (*cross)(void);

static void killed_before_commit(void)
{
	if (guest_pick(&life.guest, 8) == 0)
		kill_now();
	cross();
}

/* On a new image: soon each grain has its room, and nothing is recorded. */
static void live(uint64_t seed)
{
	struct crash_log log = {0};

	life.files = record(life.kind, &log);
	memset(life.area, 0, sizeof(life.area));
	guest_init(&life.guest, open_files(&life.files, false),
		   vmdk_crash_sectors(life.kind), NULL, seed);
	assert_int_equal(
		image_journal_attach(life.guest.image, life.area, AREA_BYTES),
		0);
	guest_interrupt(&life.guest);
	cross = sync_io_before_commit;
	sync_io_before_commit = killed_before_commit;
	for (int i = 0; i < LIFE_REQUESTS; i++) {
		guest_request(&life.guest, 24, false);
		if (guest_pick(&life.guest, 12) == 0)
			guest_flush_slowly(&life.guest);
		if (guest_pick(&life.guest, 3) == 0)
			kill_now();
	}
	guest_interrupt(NULL);
	assert_int_equal(image_journal_detach(life.guest.image), 0);
	assert_int_equal(image_close(life.guest.image), 0);
	guest_deinit(&life.guest);
	release(&life.files);
	crash_log_deinit(&log);
}

static void any_kill_loses_nothing(void **state)
{
	life = (struct life){.kind = *state};
	for (uint64_t i = 0; life.moments < MOMENTS; i++)
		live(first_seed + i);
	assert_true(life.replayed > MOMENTS / 2);
	assert_true(life.refused > 0 && life.refused < life.forged);
	print_message("# %u kills, %u with records; %u of %u forged journals "
		      "refused\n",
		      life.moments, life.replayed, life.refused, life.forged);
}

/* --- Recording ---------------------------------------------------------- */

static void work(struct guest *guest, const struct files *f)
{
	for (int opened = 0; opened < 2; opened++) {
		guest->image = open_files(f, false);
		guest_interrupt(guest);
		for (unsigned i = 0; i < REQUESTS; i++) {
			guest_request(guest,
				      guest_pick(guest, 8) ? 24
							   : GUEST_MAX_SECTORS,
				      false);
			if (guest_pick(guest, 6) == 0)
				guest_flush_slowly(guest);
		}
		guest_interrupt(NULL);
		guest_flush(guest);
		assert_int_equal(image_close(guest->image), 0);
	}
}

static void run(const struct vmdk_crash_kind *kind, uint64_t seed)
{
	struct crash_log log = {0};
	struct look l = {.kind = kind};
	struct files files = record(kind, &log);
	uint64_t random = seed * 2654435761u + 1;

	guest_init(&l.guest, NULL, vmdk_crash_sectors(kind), NULL, seed + 1);
	l.guest.position = &log.count;
	work(&l.guest, &files);
	crash_state_init(&l.state, &log);
	for (size_t at = 0; at <= log.count; at += CRASH_STRIDE) {
		l.position = at;
		l.promised = guest_promised(&l.guest, at);
		crash_state_set(&l.state, at, NULL);
		look(&l);
		for (int i = 0; i < TORN; i++) {
			crash_state_set(&l.state, at, &random);
			look(&l);
		}
	}
	crash_state_deinit(&l.state);
	release(&files);
	crash_log_deinit(&log);
	guest_deinit(&l.guest);
}

static void any_crash_leaves_it_whole(void **state)
{
	unsigned long before = all_states;

	for (uint64_t i = 0; i < ORDINARY_RUNS; i++)
		run(*state, first_seed + i);
	assert_true(all_states - before > FEWEST_STATES);
	print_message("# %lu crash states\n", all_states - before);
}

static void any_of_so_many_crashes_leaves_it_whole(void **state)
{
	for (uint64_t i = 0; all_states < wanted_states; i++)
		run(&kinds[i % ARRAY_SIZE(kinds)], first_seed + i);
}

int main(int argc, char **argv)
{
	struct CMUnitTest tests[2 * ARRAY_SIZE(kinds)];
	const struct CMUnitTest many[] = {
		cmocka_unit_test(any_of_so_many_crashes_leaves_it_whole),
	};

	if (argc > 1)
		wanted_states = strtoul(argv[1], NULL, 10);
	if (argc > 2)
		first_seed = strtoull(argv[2], NULL, 10);
	if (wanted_states)
		return cmocka_run_group_tests(many, NULL, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
		tests[i] = (struct CMUnitTest){
			.name = kinds[i / 2].name,
			.test_func = i % 2 ? any_kill_loses_nothing
					   : any_crash_leaves_it_whole,
			.initial_state = (void *)&kinds[i / 2],
		};
	return _cmocka_run_group_tests("any_crash_leaves_it_whole", tests,
				       ARRAY_SIZE(tests), NULL, NULL);
}
