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
#include "tests/images/workload.h"
#include "vmdk/core.h"
#include "vmdk/vmdk.h"

enum {
	GRAIN_SECTORS = 8,
	GTES = 16,
	TABLES = 3,
	/* The last table and the last grain are not full. */
	SECTORS = GRAIN_SECTORS * GTES * (TABLES - 1) + 77,
	TABLE_SECTORS = 1,
	DESCRIPTOR_SECTORS = 2,
	SECOND = 1 + DESCRIPTOR_SECTORS,
	FIRST = SECOND + 1 + TABLES * TABLE_SECTORS,
	OVERHEAD = (FIRST + 1 + TABLES * TABLE_SECTORS + GRAIN_SECTORS - 1) /
		   GRAIN_SECTORS * GRAIN_SECTORS,

	REQUESTS = 60,
	TORN = 3,
	REUSED_STATES = 61,
	REUSING_REQUESTS = 20,
	FEWEST_STATES = 500 / CRASH_STRIDE,
	ORDINARY_RUNS = 3, /* of each kind */
	OLD_CID = 0x1badcafe,

	JOURNAL_RECORDS = 64,
	AREA_BYTES = JOURNAL_HEAD_BYTES +
		     JOURNAL_RECORDS * (int)sizeof(struct journal_record),
	MOMENTS = 300, /* of a kill, of each kind of image */
	FORGED = 3,    /* journals of each */
	LIFE_REQUESTS = 20,
};

struct kind {
	const char *name;
	bool tables; /* there from the beginning */
	bool second; /* directory */
	bool zeroes; /* grains may be marked as such */
};

static const struct kind kinds[] = {
	{"tables_in_two_copies", true, true, false},
	{"tables_that_come_later", false, true, true},
	{"one_copy_that_comes_later", false, false, false},
	{"one_copy_with_zeroed_grains", true, false, true},
};

static unsigned long all_states, wanted_states;
static uint64_t first_seed = 5;

/* --- An image ----------------------------------------------------------- */

static void put_directory(uint8_t *image, unsigned at)
{
	for (unsigned i = 0; i < TABLES; i++)
		put_le32(image + at * 512 + i * 4, at + 1 + i * TABLE_SECTORS);
}

static void build(const struct kind *kind, uint8_t *image)
{
	struct vmdk_wire_sparse header = {
		.magic = VMDK_SPARSE_MAGIC,
		.version = kind->zeroes ? 2 : 1,
		.flags = VMDK_FLAG_LINE_ENDS |
			 (kind->second ? VMDK_FLAG_REDUNDANT : 0) |
			 (kind->zeroes ? VMDK_FLAG_ZERO_GRAINS : 0),
		.capacity = SECTORS,
		.grain_size = GRAIN_SECTORS,
		.descriptor_offset = 1,
		.descriptor_size = DESCRIPTOR_SECTORS,
		.gtes_per_gt = GTES,
		.rgd_offset = kind->second ? SECOND : 0,
		.gd_offset = FIRST,
		.overhead = OVERHEAD,
	};

	memcpy(header.line_ends, VMDK_LINE_ENDS, 4);
	memset(image, 0, OVERHEAD * 512);
	memcpy(image, &header, sizeof(header));
	snprintf((char *)image + 512, DESCRIPTOR_SECTORS * 512,
		 VMDK_DESCRIPTOR_MAGIC
		 "\nversion=1\nCID=%08x\nparentCID=ffffffff\n"
		 "createType=\"monolithicSparse\"\nRW %d SPARSE \"x.vmdk\"\n",
		 OLD_CID, SECTORS);
	if (kind->tables && kind->second)
		put_directory(image, SECOND);
	if (kind->tables)
		put_directory(image, FIRST);
}

static struct image *open_store(struct store *store, bool read_only)
{
	const struct image_open_options options = {
		.read_only = read_only,
		.cache_bytes = 1,
	};
	struct image *image;
	char *error = NULL;
	int err = vmdk_format.open(store, &options, &image, &error);

	if (err)
		fail_msg("does not open: %d: %s", err, error ? error : "");
	return image;
}

/* --- Judging ------------------------------------------------------------ */

struct look {
	struct guest guest;
	struct crash_state state;
	size_t position;
	uint64_t promised;
	uint8_t *uses; /* of each grain's room in the file */
	uint64_t rooms;
};

static void use(struct look *l, uint64_t sector, uint64_t sectors)
{
	for (uint64_t at = sector / GRAIN_SECTORS;
	     at < div_round_up(sector + sectors, (uint64_t)GRAIN_SECTORS); at++)
		if (at >= l->rooms)
			fail_msg("sector %llu is outside the file",
				 (unsigned long long)sector);
		else if (at >= OVERHEAD / GRAIN_SECTORS && l->uses[at]++)
			fail_msg("position %zu: room %llu is used twice",
				 l->position, (unsigned long long)at);
}

static void walk_table(struct look *l, const uint8_t *data, uint32_t sector,
		       bool zeroes)
{
	for (unsigned i = 0; i < GTES; i++) {
		uint32_t entry =
			get_le32(data + (uint64_t)sector * 512 + i * 4);

		if (entry == 0 || (entry == 1 && zeroes))
			continue;
		if (entry < OVERHEAD || entry % GRAIN_SECTORS)
			fail_msg("position %zu: a grain at sector %u",
				 l->position, entry);
		use(l, entry, 1);
	}
}

/* Both tables of a grain that was made later lie in one room. */
static void walk(struct look *l, const struct kind *kind)
{
	const struct crash_file *file = &l->state.file[0];
	const uint8_t *data = file->data;

	l->rooms = div_round_up(file->store.size_bytes,
				(uint64_t)GRAIN_SECTORS * 512) +
		   1;
	l->uses = calloc(l->rooms, 1);
	assert_non_null(l->uses);
	for (unsigned i = 0; i < TABLES; i++) {
		uint32_t first = get_le32(data + FIRST * 512 + i * 4);
		uint32_t second = get_le32(data + SECOND * 512 + i * 4);

		if (first) {
			use(l, first, 1);
			walk_table(l, data, first, kind->zeroes);
		}
		if (kind->second && first && second && !kind->tables &&
		    second != first + TABLE_SECTORS)
			fail_msg("the second table is elsewhere");
	}
	free(l->uses);
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
	if (changed && vmdk_of(image)->d.cid == OLD_CID)
		fail_msg("position %zu: changed, and the CID is the old one",
			 l->position);
	free(disk.stamps);
}

static void go_on(struct look *l, const struct kind *kind)
{
	struct workload work;

	workload_init(&work, open_store(&l->state.file[0].store, false),
		      l->position + 1);
	workload_run(&work, REUSING_REQUESTS);
	workload_check(&work);
	assert_int_equal(image_close(work.image), 0);
	workload_deinit(&work);
	walk(l, kind);
}

static void look(struct look *l, const struct kind *kind)
{
	struct image *image;

	walk(l, kind);
	image = open_store(&l->state.file[0].store, true);
	check_content(l, image);
	assert_int_equal(image_close(image), 0);
	if (++all_states % REUSED_STATES == 0)
		go_on(l, kind);
}

/* --- Killing the process ------------------------------------------------ */

static struct life {
	const struct kind *kind;
	struct guest guest;
	struct store *store;
	_Alignas(8) uint8_t area[AREA_BYTES];
	unsigned moments, replayed, forged, refused;
} life;

static struct store *copy_of(struct crash_log *log)
{
	return crash_log_record(log, crash_log_data(life.store),
				life.store->size_bytes);
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

static void check_rooms(struct store *store)
{
	struct look l = {.position = life.moments};

	l.state.file[0].data = crash_log_data(store);
	l.state.file[0].store.size_bytes = store->size_bytes;
	walk(&l, life.kind);
}

/* A new process goes on with a copy; whether it took the journal. */
static bool replay(const uint8_t *area, bool honest)
{
	_Alignas(8) uint8_t copy[AREA_BYTES];
	struct crash_log log;
	struct store *store = copy_of(&log);
	struct image *image = open_store(store, false);
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
	check_rooms(store);
	crash_log_release(store);
	crash_log_deinit(&log);
	return err == 0;
}

static void forge(uint8_t *area)
{
	struct journal_head *head = (struct journal_head *)area;
	uint64_t count = MAX(head->end - head->first, UINT64_C(1));
	struct journal_record *r =
		(struct journal_record *)(area + JOURNAL_HEAD_BYTES) +
		(head->first + guest_pick(&life.guest, count)) %
			JOURNAL_RECORDS;

	switch (guest_pick(&life.guest, 7)) {
	case 0:
		r->entry = guest_pick(&life.guest, 100) * GRAIN_SECTORS;
		break;
	case 1:
		r->entry ^= UINT64_C(1) << guest_pick(&life.guest, 64);
		break;
	case 2:
		r->cluster = guest_pick(&life.guest, SECTORS / GRAIN_SECTORS);
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
	static uint8_t start[OVERHEAD * 512];
	struct crash_log log = {0};

	build(life.kind, start);
	life.store = crash_log_record(&log, start, sizeof(start));
	memset(life.area, 0, sizeof(life.area));
	guest_init(&life.guest, open_store(life.store, false), SECTORS, NULL,
		   seed);
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
	crash_log_release(life.store);
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

static void work(struct guest *guest, struct store *store, size_t *position)
{
	for (int opened = 0; opened < 2; opened++) {
		guest->image = open_store(store, false);
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

static void run(const struct kind *kind, uint64_t seed)
{
	static uint8_t start[OVERHEAD * 512];
	struct crash_log log = {0};
	struct look l = {0};
	struct store *store;
	uint64_t random = seed * 2654435761u + 1;

	build(kind, start);
	store = crash_log_record(&log, start, sizeof(start));
	guest_init(&l.guest, NULL, SECTORS, NULL, seed + 1);
	l.guest.position = &log.count;
	work(&l.guest, store, &log.count);
	crash_state_init(&l.state, &log);
	for (size_t at = 0; at <= log.count; at += CRASH_STRIDE) {
		l.position = at;
		l.promised = guest_promised(&l.guest, at);
		crash_state_set(&l.state, at, NULL);
		look(&l, kind);
		for (int i = 0; i < TORN; i++) {
			crash_state_set(&l.state, at, &random);
			look(&l, kind);
		}
	}
	crash_state_deinit(&l.state);
	crash_log_release(store);
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
