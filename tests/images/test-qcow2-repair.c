/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Repairs of what an image has lists of, snapshots and bitmaps: only what is
 * broken goes, all else is as it was. A second repair changes nothing, one that
 * a crash cut off is carried to its end by the next, and where QEMU's repair
 * mends the same image both come to the same disk and snapshots.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "image/manage.h"
#include "image/open.h"
#include "image/sync-io.h"
#include "qcow2/format.h"
#include "qcow2/qcow2.h"
#include "tests/cmocka.h"
#include "tests/images/crash-log.h"
#include "tests/images/damaged.h"
#include "tests/images/qcow2-walk.h"
#include "tests/images/scratch.h"
#include "tests/sanitized.h"

enum {
	SIZE = 17 << 20, /* more bits than one cluster of a bitmap holds */
	MAX_CHANGES = 3,
	NAMES_BYTES = 256,
	DATA_END = 4 << 20,  /* of the disk; what is behind was never written */
	BITMAP_CLUSTERS = 3, /* a table, and bits */
	TORN = 1, /* states with parts of what was not flushed, each */
};

/* One position of a crash in so many is looked at. */
#define STRIDE SAMPLED(29)
/* States that show any order of writes that is not kept. */
#define MANY_TORN (TEST_SANITIZED ? TORN : 8)

#define FAR_AWAY (UINT64_C(1) << 40)

/* What is damaged, and what of each list is left. */
enum place {
	NOWHERE,
	HEADER,
	SNAPSHOT, /* bytes at @at of entry @index */
	BITMAP,
	BITMAP_TABLE, /* of bitmap @index */
	EXTENSION,    /* the header's, for bitmaps */
	EXTRA,	      /* snapshot @index has @value bytes of extra data */
};

enum named {
	A_NUMBER,
	ITSELF_MORE, /* what is there, and @value */
	DATA,
	L2_TABLE,
	FIRST_BITMAP,	    /* its table */
	FIRST_BITMAPS_BITS, /* its first cluster of bits */
};

struct damage {
	const char *name;
	struct change {
		enum place place;
		uint32_t index, at;
		unsigned bytes;
		uint64_t value;
		enum named named;
	} changes[MAX_CHANGES];
	const char *snapshots; /* NULL: all */
	const char *bitmaps;
	bool theirs; /* QEMU mends it, too */
	bool many_torn;
};

#define PUT(where, number, offset, length, what)               \
	{                                                      \
		.place = where, .index = number, .at = offset, \
		.bytes = length, .value = what                 \
	}
#define NAME(where, number, what, more)                                     \
	{                                                                   \
		.place = where, .index = number, .bytes = 8, .named = what, \
		.value = more                                               \
	}
#define EXTRA_OF(number, length)                                 \
	{                                                        \
		.place = EXTRA, .index = number, .value = length \
	}

static const struct damage damages[] = {
	{.name = "nothing", .theirs = true},
	/* The snapshot table. */
	{.name = "the first one's L1 table far outside",
	 .changes = {PUT(SNAPSHOT, 0, 0, 8, FAR_AWAY)},
	 .snapshots = "two three"},
	{.name = "the last one's L1 table far outside",
	 .changes = {PUT(SNAPSHOT, 2, 0, 8, FAR_AWAY)},
	 .snapshots = "one two"},
	{.name = "an L1 table past the end of offsets",
	 .changes = {PUT(SNAPSHOT, 1, 0, 8, UINT64_MAX - 4095)},
	 .snapshots = "one three"},
	{.name = "an L1 table that is not aligned",
	 .changes = {NAME(SNAPSHOT, 1, ITSELF_MORE, 512)},
	 .snapshots = "one three"},
	{.name = "an L1 table nowhere",
	 .changes = {PUT(SNAPSHOT, 1, 0, 8, 0)},
	 .snapshots = "one three"},
	{.name = "an L1 table of 4 Gi entries",
	 .changes = {PUT(SNAPSHOT, 1, 8, 4, UINT32_MAX)},
	 .snapshots = "one three"},
	{.name = "an L1 table of 32 MiB and an entry",
	 .changes = {PUT(SNAPSHOT, 1, 8, 4, QCOW2_MAX_L1_BYTES / 8 + 1)},
	 .snapshots = "one three"},
	{.name = "all L1 tables far outside",
	 .changes = {PUT(SNAPSHOT, 0, 0, 8, FAR_AWAY),
		     PUT(SNAPSHOT, 1, 0, 8, FAR_AWAY),
		     PUT(SNAPSHOT, 2, 0, 8, FAR_AWAY)},
	 .snapshots = ""},
	{.name = "extra data of 4 GiB",
	 .changes = {PUT(SNAPSHOT, 1, 36, 4, UINT32_MAX)},
	 .snapshots = "one"},
	{.name = "the table far outside",
	 .changes = {PUT(HEADER, 0, 64, 8, FAR_AWAY)},
	 .snapshots = ""},
	{.name = "the table in the header",
	 .changes = {PUT(HEADER, 0, 64, 8, 0)},
	 .snapshots = ""},
	{.name = "a disk of 2^63 bytes",
	 .changes = {PUT(SNAPSHOT, 1, 48, 8, UINT64_C(1) << 63)}},
	{.name = "no extra data", .changes = {EXTRA_OF(1, 0)}, .theirs = true},
	{.name = "half the extra data",
	 .changes = {EXTRA_OF(0, 8), EXTRA_OF(2, 8)},
	 .theirs = true},
	{.name = "unknown extra data",
	 .changes = {EXTRA_OF(1, 1024)},
	 .theirs = true},
	{.name = "too much extra data",
	 .changes = {EXTRA_OF(1, 1025)},
	 .theirs = true},
	{.name = "too much extra data, and an L1 table far outside",
	 .changes = {EXTRA_OF(1, 1025), PUT(SNAPSHOT, 2, 0, 8, FAR_AWAY)},
	 .snapshots = "one two"},
	/* Bitmaps. */
	{.name = "a table far outside",
	 .changes = {PUT(BITMAP, 0, 0, 8, FAR_AWAY)},
	 .bitmaps = "b1 b2"},
	{.name = "a table that is not aligned",
	 .changes = {NAME(BITMAP, 2, ITSELF_MORE, 512)},
	 .bitmaps = "b0 b1"},
	{.name = "a table in data",
	 .changes = {NAME(BITMAP, 1, DATA, 0)},
	 .bitmaps = "b0 b2"},
	{.name = "a table in an L2 table",
	 .changes = {NAME(BITMAP, 1, L2_TABLE, 0)},
	 .bitmaps = "b0 b2"},
	{.name = "one table for two",
	 .changes = {NAME(BITMAP, 1, FIRST_BITMAP, 0)},
	 .bitmaps = "b2"},
	{.name = "a table without entries",
	 .changes = {PUT(BITMAP, 1, 8, 4, 0)},
	 .bitmaps = "b0 b2"},
	{.name = "a table of 4 Gi entries",
	 .changes = {PUT(BITMAP, 1, 8, 4, UINT32_MAX)},
	 .bitmaps = "b0 b2"},
	{.name = "a table too short for the disk",
	 .changes = {PUT(BITMAP, 1, 8, 4, 1)},
	 .bitmaps = "b0 b2"},
	{.name = "reserved bits in a table",
	 .changes = {NAME(BITMAP_TABLE, 1, ITSELF_MORE, 2)},
	 .bitmaps = "b0 b2"},
	{.name = "bits far outside",
	 .changes = {PUT(BITMAP_TABLE, 1, 0, 8, FAR_AWAY)},
	 .bitmaps = "b0 b2"},
	{.name = "bits in data",
	 .changes = {NAME(BITMAP_TABLE, 1, DATA, 0)},
	 .bitmaps = "b0 b2"},
	{.name = "bits in an L2 table",
	 .changes = {NAME(BITMAP_TABLE, 1, L2_TABLE, 0)},
	 .bitmaps = "b0 b2"},
	{.name = "the same bits for two",
	 .changes = {NAME(BITMAP_TABLE, 1, FIRST_BITMAPS_BITS, 0)},
	 .bitmaps = "b2"},
	{.name = "all tables far outside",
	 .changes = {PUT(BITMAP, 0, 0, 8, FAR_AWAY),
		     PUT(BITMAP, 1, 0, 8, FAR_AWAY),
		     PUT(BITMAP, 2, 0, 8, FAR_AWAY)},
	 .bitmaps = ""},
	{.name = "a name of no bytes",
	 .changes = {PUT(BITMAP, 1, 18, 2, 0)},
	 .bitmaps = ""},
	{.name = "a name with a zero byte",
	 .changes = {PUT(BITMAP, 1, 25, 1, 0)},
	 .bitmaps = ""},
	{.name = "a name twice",
	 .changes = {PUT(BITMAP, 1, 25, 1, '0')},
	 .bitmaps = ""},
	{.name = "extra data past the directory",
	 .changes = {PUT(BITMAP, 2, 20, 4, 4096)},
	 .bitmaps = ""},
	{.name = "a bitmap too many",
	 .changes = {PUT(EXTENSION, 0, 0, 4, 4)},
	 .bitmaps = ""},
	{.name = "a bitmap too few",
	 .changes = {PUT(EXTENSION, 0, 0, 4, 2)},
	 .bitmaps = ""},
	{.name = "the directory far outside",
	 .changes = {PUT(EXTENSION, 0, 16, 8, FAR_AWAY)},
	 .bitmaps = ""},
	/* Both. */
	{.name = "one of each",
	 .changes = {PUT(SNAPSHOT, 0, 0, 8, FAR_AWAY),
		     PUT(BITMAP, 0, 0, 8, FAR_AWAY)},
	 .snapshots = "two three",
	 .bitmaps = "b1 b2",
	 .many_torn = true},
};

/* --- Damage ---------------------------------------------------------------- */

static uint64_t table_of(const struct damaged *f, uint32_t bitmap)
{
	return damaged_get(f, damaged_bitmap(f, bitmap), 8);
}

static uint64_t value_of(const struct damaged *f, const struct change *c,
			 uint64_t at)
{
	switch (c->named) {
	case A_NUMBER:
		return c->value;
	case ITSELF_MORE:
		return damaged_get(f, at, c->bytes) | c->value;
	case DATA:
		return damaged_get(f, f->l2, 8) & QCOW2_OFFSET_MASK;
	case L2_TABLE:
		return f->l2;
	case FIRST_BITMAP:
		return table_of(f, 0);
	case FIRST_BITMAPS_BITS:
		return damaged_get(f, table_of(f, 0), 8);
	}
	return 0;
}

/* The table in its cluster anew, the entry's extra data cut or filled up. */
static void set_extra(struct damaged *f, uint32_t index, uint32_t extra)
{
	uint64_t at = damaged_snapshot(f, index) + 40;
	uint32_t old = damaged_get(f, at - 4, 4);
	uint64_t next = damaged_snapshot(f, index + 1);
	uint64_t rest = at + old;
	uint64_t names = damaged_get(f, at - 40 + 12, 2) +
			 damaged_get(f, at - 40 + 14, 2);
	uint64_t end = f->snapshots + f->cluster;
	uint8_t *tail = malloc(f->cluster);
	uint64_t new_next = align_up(at + extra + names, 8);

	memcpy(tail, f->data + next, end - next);
	memmove(f->data + at + extra, f->data + rest, names);
	if (extra > old)
		memset(f->data + at + old, 0xee, extra - old);
	damaged_put(f, at - 4, 4, extra);
	assert_true(new_next < end);
	memcpy(f->data + new_next, tail, end - MAX(new_next, next));
	free(tail);
}

static void do_change(struct damaged *f, const struct change *c)
{
	uint64_t at = c->at;

	if (c->place == EXTRA) {
		set_extra(f, c->index, c->value);
		return;
	}
	if (c->place == SNAPSHOT)
		at += damaged_snapshot(f, c->index);
	else if (c->place == BITMAP)
		at += damaged_bitmap(f, c->index);
	else if (c->place == BITMAP_TABLE)
		at += table_of(f, c->index);
	else if (c->place == EXTENSION)
		at += f->bitmaps_extension;
	if (c->place != NOWHERE)
		damaged_put(f, at, c->bytes, value_of(f, c, at));
}

/* --- What is left ---------------------------------------------------------- */

static struct image *open_store(struct store *store, const char *snapshot)
{
	const struct image_open_options options = {
		.read_only = true,
		.snapshot = snapshot,
	};
	struct image *image;
	char *error = NULL;

	if (qcow2_format.open(store, &options, &image, &error))
		fail_msg("%s", error ? error : "does not open");
	return image;
}

static void add_name(char *names, const char *name)
{
	if (*names)
		strncat(names, " ", NAMES_BYTES - strlen(names) - 1);
	strncat(names, name, NAMES_BYTES - strlen(names) - 1);
}

static void snapshot_names(struct image *image, char *names)
{
	struct image_snapshots list;

	*names = '\0';
	assert_int_equal(image_snapshot_list(image, &list), 0);
	for (size_t i = 0; i < list.count; i++) {
		add_name(names, list.all[i].name);
		assert_int_equal(list.all[i].size_bytes, SIZE);
	}
	image_snapshots_deinit(&list);
}

/* Each has the bits that it had: of all that was written. */
static void bitmap_names(struct image *image, char *names)
{
	struct image_bitmaps list;

	*names = '\0';
	assert_int_equal(image_bitmap_list(image, &list), 0);
	for (size_t i = 0; i < list.count; i++) {
		add_name(names, list.all[i].name);
		assert_false(list.all[i].inconsistent);
		assert_int_equal(list.all[i].dirty_bytes, 128 << 10);
	}
	image_bitmaps_deinit(&list);
}

static void check_disk(struct image *image, const uint8_t *model)
{
	uint8_t *data = malloc(DATA_END);

	assert_int_equal(image->size_bytes, SIZE);
	assert_int_equal(sync_io_read(image, 0, data, DATA_END), 0);
	assert_memory_equal(data, model, DATA_END);
	free(data);
}

/* The disk, and what "one", "two" and "three" show of it. */
static uint8_t *models[4];
static const char *const model_names[] = {NULL, "one", "two", "three"};
static bool has_bitmaps;

static void check_lists(struct store *store, const struct damage *d)
{
	struct image *image = open_store(store, NULL);
	char names[NAMES_BYTES];

	snapshot_names(image, names);
	assert_string_equal(names,
			    d->snapshots ? d->snapshots : "one two three");
	bitmap_names(image, names);
	assert_string_equal(names, !has_bitmaps ? ""
				   : d->bitmaps ? d->bitmaps
						: "b0 b1 b2");
	check_disk(image, models[0]);
	image->store = image->data_store = NULL;
	image_close(image);
}

static struct store *open_file(const char *name)
{
	const struct store_file_options options = {.read_only = true};
	struct store *store;
	char *error;

	assert_int_equal(store_open_file(name, &options, &store, &error), 0);
	return store;
}

static void check_snapshots(const char *name, const struct damage *d)
{
	for (unsigned i = 1; i < ARRAY_SIZE(models); i++) {
		struct image *image;

		if (d->snapshots && !strstr(d->snapshots, model_names[i]))
			continue;
		image = open_store(open_file(name), model_names[i]);
		check_disk(image, models[i]);
		image_close(image);
	}
}

/* --- Repairs ---------------------------------------------------------------- */

static int check(struct store *store, enum image_fix fix,
		 struct image_check *ret)
{
	const struct image_open_options options = {.check = true};
	struct image *image;
	char *error = NULL;
	int err = qcow2_format.open(store, &options, &image, &error);

	if (err)
		fail_msg("%s", error ? error : "does not open");
	err = image_check(image, fix, NULL, NULL, ret);
	if (err && fix != IMAGE_FIX_NONE)
		print_error("%s\n", image_error(image));
	assert_int_equal(image_close(image), 0);
	return err;
}

static int repair(struct store *store, struct image_check *ret)
{
	return check(store, IMAGE_FIX_ALL, ret);
}

static void check_walk(struct store *store, const char *what)
{
	struct qcow2_walk walk = {.size_bytes = store->size_bytes};

	walk.data = malloc(walk.size_bytes);
	assert_int_equal(store_read(store, 0, walk.data, walk.size_bytes), 0);
	if (qcow2_walk(&walk) || walk.leaked)
		fail_msg("%s: %llu leaked: %s", what,
			 (unsigned long long)walk.leaked, walk.problem);
	free(walk.uses);
	free(walk.data);
}

/*
 * Somebody may write to the image before the next repair: what had its refcounts
 * has them at every instant. Only what belongs to bitmaps that are given up, whose
 * entries nobody can use, may have lost them before its entry goes.
 */
static void check_state(struct store *store, const struct damage *d,
			size_t position, uint64_t damaged)
{
	uint64_t most = damaged + (d->bitmaps ? 3 * BITMAP_CLUSTERS : 0);
	struct image_check counts;

	/* What cannot be looked at is not written to, either. */
	if (check(store, IMAGE_FIX_NONE, &counts) == 0 &&
	    counts.corruptions > most)
		fail_msg("%s: cut off after %zu: %llu corruptions, not %llu",
			 d->name, position,
			 (unsigned long long)counts.corruptions,
			 (unsigned long long)most);
}

/* Whatever a crash left of a repair, the next one comes to the same. */
static void repair_what_a_crash_left(const struct damaged *f,
				     const struct damage *d)
{
	struct crash_log log;
	struct crash_state state;
	struct store *recorded = crash_log_record(&log, f->data, f->size);
	unsigned torn = d->many_torn ? MANY_TORN : TORN;
	uint64_t random = 7, damaged;
	struct image_check counts;

	assert_int_equal(repair(recorded, &counts), 0);
	damaged = counts.corruptions_fixed;
	crash_state_init(&state, &log);
	for (size_t i = 0; i <= log.count; i += STRIDE)
		for (unsigned t = 0; t <= torn; t++) {
			struct store *store = &state.file[0].store;

			crash_state_set(&state, i, t ? &random : NULL);
			check_state(store, d, i, damaged);
			if (repair(store, &counts) || counts.corruptions ||
			    counts.leaks)
				fail_msg("%s: cut off after %zu of %zu: not "
					 "mended",
					 d->name, i, log.count);
			check_walk(store, d->name);
			check_lists(store, d);
		}
	crash_state_deinit(&state);
	crash_log_release(recorded);
	crash_log_deinit(&log);
}

static void compare_with_theirs(void)
{
	damaged_copy_file("theirs.qcow2", "damaged.qcow2");
	scratch_must("qemu-img check -q -r all theirs.qcow2");
	scratch_must("qemu-img compare -q theirs.qcow2 ours.qcow2");
	scratch_must("qemu-img snapshot -l theirs.qcow2 >theirs.txt && "
		     "qemu-img snapshot -l ours.qcow2 >ours.txt && "
		     "cmp theirs.txt ours.txt");
	for (unsigned i = 1; i < ARRAY_SIZE(models); i++)
		scratch_must("qemu-img convert -l %s -O raw theirs.qcow2 t.raw "
			     "&& qemu-img convert -l %s -O raw ours.qcow2 "
			     "o.raw && cmp t.raw o.raw",
			     model_names[i], model_names[i]);
}

static void check_damage(const struct damaged *whole, const struct damage *d)
{
	struct image_check counts;
	struct damaged f;
	struct store *store;
	int status;

	damaged_copy(&f, whole);
	for (unsigned i = 0; i < MAX_CHANGES; i++)
		do_change(&f, &d->changes[i]);
	damaged_write("damaged.qcow2", &f);
	damaged_copy_file("ours.qcow2", "damaged.qcow2");
	status = damaged_check("ours.qcow2", IMAGE_FIX_ALL, &counts);
	if (status || damaged_check_theirs("ours.qcow2"))
		fail_msg("%s: repaired: %d, qemu-img finds:\n%s", d->name,
			 status, scratch_output());
	store = open_file("ours.qcow2");
	check_walk(store, d->name);
	check_lists(store, d);
	store_free(store);
	check_snapshots("ours.qcow2", d);
	damaged_copy_file("twice.qcow2", "ours.qcow2");
	assert_int_equal(damaged_check("twice.qcow2", IMAGE_FIX_ALL, &counts),
			 0);
	assert_int_equal(counts.corruptions_fixed + counts.leaks_fixed, 0);
	if (!damaged_same_files("twice.qcow2", "ours.qcow2"))
		fail_msg("%s: a second repair changed something", d->name);
	/* QEMU's repair of an image with bitmaps loses all its snapshots. */
	if (d->theirs && !has_bitmaps)
		compare_with_theirs();
	repair_what_a_crash_left(&f, d);
	damaged_free(&f);
}

/* --- Images ----------------------------------------------------------------- */

static void make(const char *options, bool bitmaps)
{
	size_t length;

	has_bitmaps = bitmaps;
	scratch_must("rm -f whole.qcow2 && qemu-img create -q -f qcow2 "
		     "-o cluster_size=4k,%s whole.qcow2 %d",
		     options, SIZE);
	for (unsigned i = 0; i < 3 && bitmaps; i++)
		scratch_must("qemu-img bitmap --add -g 512 whole.qcow2 b%u", i);
	for (unsigned i = 1; i < ARRAY_SIZE(models); i++)
		scratch_must("qemu-io -f qcow2 -c 'write -P %u %uk 32k' "
			     "whole.qcow2 && qemu-img snapshot -c %s "
			     "whole.qcow2",
			     i, i * 16, model_names[i]);
	scratch_must("qemu-io -f qcow2 -c 'write -P 9 0 64k' whole.qcow2 && "
		     "qemu-io -f qcow2 -c 'write -P 8 3M 48k' whole.qcow2");
	for (unsigned i = 0; i < ARRAY_SIZE(models); i++) {
		free(models[i]);
		scratch_must("qemu-img convert %s %s -O raw whole.qcow2 m.raw",
			     i ? "-l" : "", i ? model_names[i] : "");
		models[i] = scratch_read("m.raw", &length);
		assert_int_equal(length, SIZE);
	}
}

static void check_damages(const char *options, bool bitmaps)
{
	const char *only = getenv("RINGLINE_ONLY");
	struct damaged whole;

	make(options, bitmaps);
	damaged_load(&whole, "whole.qcow2");
	for (size_t i = 0; i < ARRAY_SIZE(damages); i++) {
		const struct damage *d = &damages[i];

		if ((only && strcmp(only, d->name) != 0) ||
		    (d->bitmaps && !bitmaps) || (i + bitmaps) % SAMPLED(5))
			continue;
		check_damage(&whole, d);
	}
	damaged_free(&whole);
}

static void only_what_is_broken_is_dropped(void **state)
{
	check_damages("compat=1.1", true);
}

static void what_theirs_mends_ours_mends_alike(void **state)
{
	check_damages("compat=1.1", false);
}

static void only_what_is_broken_is_dropped_from_version_2(void **state)
{
	check_damages("compat=0.10", false);
}

static void refcounts_of_all_widths_are_made_anew(void **state)
{
	static const char *const widths[] = {"8", "64"};
	static const struct damage d = {
		.name = "one of each",
		.changes = {PUT(SNAPSHOT, 0, 0, 8, FAR_AWAY),
			    PUT(BITMAP, 0, 0, 8, FAR_AWAY)},
		.snapshots = "two three",
		.bitmaps = "b1 b2",
		.many_torn = true,
	};

	for (size_t i = 0; i < ARRAY_SIZE(widths); i++) {
		char options[64];
		struct damaged whole;

		snprintf(options, sizeof(options),
			 "compat=1.1,refcount_bits=%s", widths[i]);
		make(options, true);
		damaged_load(&whole, "whole.qcow2");
		check_damage(&whole, &d);
		damaged_free(&whole);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_what_is_broken_is_dropped),
		cmocka_unit_test(what_theirs_mends_ours_mends_alike),
		cmocka_unit_test(only_what_is_broken_is_dropped_from_version_2),
		cmocka_unit_test(refcounts_of_all_widths_are_made_anew),
	};
	int failed;

	scratch_prefer_memory();
	scratch_enter("qemu-img");
	image_register_format(&qcow2_format);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	scratch_leave();
	return failed;
}
