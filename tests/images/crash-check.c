/* SPDX-License-Identifier: Apache-2.0 */
/* What has to hold for each state that a crash can leave. */
#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "image/manage.h"
#include "image/open.h"
#include "qcow2/format.h"
#include "qcow2/qcow2.h"
#include "tests/cmocka.h"
#include "tests/images/crash-run.h"
#include "tests/images/qcow2-walk.h"
#include "tests/images/workload.h"

enum {
	KIB = 1 << 10,
	/* Allocated past the last write: looked at, too. */
	SLACK = 256 * KIB,
	/* One state in so many is written to afterwards. */
	REUSED_STATES = 97,
	REUSING_REQUESTS = 30,
	/* One in so many is opened for writing though nothing wants mending. */
	WRITABLE_STATES = 7,
};

struct check {
	struct crash_run *run;
	const struct crash_phase *phase;
	struct crash_state *state;
	size_t position;
	uint64_t promised; /* see guest_promised */
	uint64_t end[CRASH_FILES];
};

#define WRONG(c, ...)                                               \
	do {                                                        \
		print_error("position %zu, in %s: ", (c)->position, \
			    (c)->phase->what);                      \
		fail_msg(__VA_ARGS__);                              \
	} while (0)

static struct store *file_of(const struct check *c, unsigned which)
{
	return which < c->run->log.files ? &c->state->file[which].store : NULL;
}

static bool is_dirty(const struct check *c)
{
	const uint8_t *head = c->state->file[0].data;

	return get_be32(head + offsetof(struct qcow2_wire_header, version)) >
		       2 &&
	       (get_be64(head + offsetof(struct qcow2_wire_header,
					 incompatible_features)) &
		QCOW2_INCOMPAT_DIRTY);
}

static uint64_t check_structure(const struct check *c)
{
	struct qcow2_walk walk = {
		.data = c->state->file[0].data,
		.size_bytes = MIN(c->state->file[0].store.size_bytes,
				  c->end[0] + SLACK),
	};

	if (qcow2_walk(&walk) != 0)
		WRONG(c, "%s", walk.problem);
	free(walk.uses);
	if ((c->run->scenario->work & CRASH_RESIZES) && walk.hidden)
		WRONG(c, "a larger disk would show %llu clusters or bytes",
		      (unsigned long long)walk.hidden);
	return walk.leaked;
}

/* Each sector holds the last that was promised, or something later. */
static void check_guest_disk(const struct check *c,
			     const struct picture_disk *disk)
{
	const struct guest *guest = &c->phase->guest;

	if (disk->size_bytes != c->phase->before->disk.size_bytes)
		WRONG(c, "the disk has %llu bytes",
		      (unsigned long long)disk->size_bytes);
	for (uint64_t i = 0; i < disk->sectors; i++)
		if (!guest_may_hold(guest, i, disk->stamps[i], c->position,
				    c->promised))
			WRONG(c, "sector %llu holds write %llu",
			      (unsigned long long)i,
			      (unsigned long long)disk->stamps[i]);
}

/* A range of sectors that goes unit by unit. */
struct clearing {
	uint64_t from;
	uint64_t to;
	uint64_t unit;
};

static bool is_zero(const struct picture_disk *disk, uint64_t from, uint64_t to)
{
	while (from < to && disk->stamps[from] == 0)
		from++;
	return from == to;
}

/* Each unit is as it was, or gone. */
static bool is_part_cleared(const struct picture_disk *disk,
			    const struct picture_disk *before,
			    struct clearing part)
{
	for (uint64_t at = part.from; at < part.to; at += part.unit) {
		uint64_t end = MIN(at + part.unit, part.to);

		if (memcmp(disk->stamps + at, before->stamps + at,
			   (end - at) * sizeof(*disk->stamps)) != 0 &&
		    !is_zero(disk, at, end))
			return false;
	}
	return true;
}

static bool is_untouched(const struct picture_disk *disk,
			 const struct picture_disk *before,
			 struct clearing part)
{
	part.unit = part.to - part.from;
	return part.unit == 0 ||
	       memcmp(disk->stamps + part.from, before->stamps + part.from,
		      part.unit * sizeof(*disk->stamps)) == 0;
}

/*
 * A shrink was cut off: of what the smaller disk lacks sectors of its last
 * cluster are gone, then clusters of its last L2 table, then tables; each only
 * once all before it are (qcow2/shrink.c).
 */
static bool is_half_cleared(const struct check *c,
			    const struct picture_disk *disk)
{
	const struct picture_disk *before = &c->phase->before->disk;
	const struct qcow2_create_options *o = &c->run->scenario->options;
	uint64_t end = c->phase->after->disk.sectors;
	uint64_t bytes = o->cluster_bytes ? o->cluster_bytes : 64 * KIB;
	uint64_t cluster = bytes / GUEST_SECTOR;
	uint64_t table = cluster * (bytes / (o->extended_l2 ? 16 : 8));
	uint64_t in_cluster = MIN(align_up(end, cluster), before->sectors);
	uint64_t in_table = MIN(align_up(end, table), before->sectors);
	const struct clearing parts[] = {
		{end, in_cluster, 1},
		{in_cluster, in_table, cluster},
		{in_table, before->sectors, table},
	};
	bool touched = false;

	if (!(c->phase->loose & CRASH_LOOSE_TAIL) || end >= before->sectors ||
	    disk->size_bytes != before->size_bytes ||
	    memcmp(disk->stamps, before->stamps, end * sizeof(*disk->stamps)))
		return false;
	for (size_t i = ARRAY_SIZE(parts); i-- > 0;) {
		if (touched ? !is_zero(disk, parts[i].from, parts[i].to)
			    : !is_part_cleared(disk, before, parts[i]))
			return false;
		touched = touched || !is_untouched(disk, before, parts[i]);
	}
	return true;
}

static void check_disk(const struct check *c, const struct picture_disk *disk)
{
	if (!c->phase->managed)
		check_guest_disk(c, disk);
	else if (!picture_same_disk(disk, &c->phase->before->disk) &&
		 !picture_same_disk(disk, &c->phase->after->disk) &&
		 !is_half_cleared(c, disk))
		WRONG(c, "the disk is neither as before nor as after");
}

static void check_snapshot(const struct check *c, const char *name)
{
	const struct picture_snapshot *before =
		picture_snapshot(c->phase->before, name);
	const struct picture_snapshot *after =
		c->phase->after ? picture_snapshot(c->phase->after, name)
				: NULL;
	struct image *image =
		crash_open(file_of(c, 0), file_of(c, 1), name, true);
	struct picture_disk disk;

	picture_read_disk(&disk, image);
	if (!(before && picture_same_disk(&disk, &before->disk)) &&
	    !(after && picture_same_disk(&disk, &after->disk)))
		WRONG(c, "snapshot %s holds something else", name);
	free(disk.stamps);
	image_close(image);
}

static bool is_listed(const struct image_snapshots *list, const char *name)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->all[i].name, name) == 0)
			return true;
	return false;
}

/* All that were there before and are after; the image is closed for it. */
static void check_snapshots(const struct check *c,
			    const struct image_snapshots *list)
{
	const struct picture *before = c->phase->before;
	const struct picture *after =
		c->phase->after ? c->phase->after : before;

	for (size_t i = 0; i < list->count; i++)
		if (!picture_snapshot(before, list->all[i].name) &&
		    !picture_snapshot(after, list->all[i].name))
			WRONG(c, "there is a snapshot %s", list->all[i].name);
	for (unsigned i = 0; i < before->snapshot_count; i++)
		if (picture_snapshot(after, before->snapshots[i].name) &&
		    !is_listed(list, before->snapshots[i].name))
			WRONG(c, "there is no snapshot %s",
			      before->snapshots[i].name);
	if (list->count)
		check_snapshot(c,
			       list->all[crash_pick(c->run, list->count)].name);
}

/* It knows of all that is not as it was when the phase began. */
static bool follows(const struct check *c, const struct picture *now,
		    const struct picture_bitmap *bitmap)
{
	const struct picture_disk *then = &c->phase->before->disk;
	const struct picture_bitmap *old =
		picture_bitmap(c->phase->before, bitmap->name);

	if (!old || !picture_same_bitmap(old, bitmap))
		return false;
	for (uint64_t i = 0; old->enabled && i < then->sectors; i++)
		if (now->disk.stamps[i] != then->stamps[i] &&
		    !bitmap->set[i * GUEST_SECTOR / bitmap->granularity_bytes])
			return false;
	return true;
}

static bool is_either(const struct check *c,
		      const struct picture_bitmap *bitmap)
{
	const struct picture_bitmap *before =
		picture_bitmap(c->phase->before, bitmap->name);
	const struct picture_bitmap *after =
		picture_bitmap(c->phase->after, bitmap->name);

	return (before && picture_same_bitmap(before, bitmap)) ||
	       (after && picture_same_bitmap(after, bitmap));
}

static void check_bitmaps(const struct check *c, const struct picture *now)
{
	const struct picture *before = c->phase->before;
	const struct picture *after =
		c->phase->after ? c->phase->after : before;

	for (unsigned i = 0; i < now->bitmap_count; i++) {
		const struct picture_bitmap *bitmap = &now->bitmaps[i];

		c->run->bitmaps++;
		c->run->inconsistent += bitmap->inconsistent;
		if (!picture_bitmap(before, bitmap->name) &&
		    !picture_bitmap(after, bitmap->name))
			WRONG(c, "there is a bitmap %s", bitmap->name);
		if (!bitmap->inconsistent &&
		    !(c->phase->managed ? is_either(c, bitmap)
					: follows(c, now, bitmap)))
			WRONG(c, "bitmap %s says something else", bitmap->name);
	}
	for (unsigned i = 0; i < before->bitmap_count; i++)
		if (picture_bitmap(after, before->bitmaps[i].name) &&
		    !picture_bitmap(now, before->bitmaps[i].name))
			WRONG(c, "there is no bitmap %s",
			      before->bitmaps[i].name);
}

static void list_snapshots(const struct check *c, struct image *image,
			   struct image_snapshots *ret)
{
	int err = image_snapshot_list(image, ret);

	if (err && err != -ENOTSUP)
		WRONG(c, "snapshots: %d: %s", err, image_error(image));
}

/* @bitmaps: as they are found by who does not write. */
static void check_content(struct check *c, bool writable, bool bitmaps)
{
	struct image *image =
		crash_open(file_of(c, 0), file_of(c, 1), NULL, !writable);
	struct image_snapshots list = {0};
	struct picture *now = calloc(1, sizeof(*now));

	assert_non_null(now);
	picture_read_disk(&now->disk, image);
	check_disk(c, &now->disk);
	if (bitmaps) {
		picture_read_bitmaps(now, image);
		check_bitmaps(c, now);
	}
	list_snapshots(c, image, &list);
	assert_int_equal(image_close(image), 0);
	check_snapshots(c, &list);
	image_snapshots_deinit(&list);
	picture_free(now);
}

/* After the crash life goes on, and does no more harm. */
static void check_reuse(struct check *c, uint64_t leaked)
{
	struct workload work;

	workload_init(&work,
		      crash_open(file_of(c, 0), file_of(c, 1), NULL, false),
		      c->position + 1);
	workload_run(&work, REUSING_REQUESTS);
	workload_check(&work);
	assert_int_equal(image_close(work.image), 0);
	workload_deinit(&work);
	c->end[0] = c->state->file[0].written_end;
	if (check_structure(c) > leaked)
		WRONG(c, "writing on leaks");
}

static void check_state(struct check *c)
{
	bool dirty = is_dirty(c);
	/* What is marked dirty opens for writing where it can be mended. */
	bool opens = !dirty || qcow2_format.manage->check;
	bool writable =
		opens && (dirty || crash_pick(c->run, WRITABLE_STATES) == 0);
	uint64_t end = c->end[0], leaked;

	if (c->run->look)
		c->run->look(c->run, c->state, c->position);
	if (c->run->only_looks)
		return;
	leaked = dirty ? 0 : check_structure(c);
	check_content(c, false, true);
	if (writable) {
		check_content(c, true, false);
		c->end[0] = MAX(end, c->state->file[0].written_end);
		leaked = MIN(leaked, check_structure(c));
		if (dirty && leaked)
			WRONG(c, "mending left %llu leaks",
			      (unsigned long long)leaked);
	}
	c->run->dirty += dirty;
	if (c->run->states++ % REUSED_STATES == 0 && opens)
		check_reuse(c, leaked);
	c->end[0] = end;
}

/* The phase that a crash at @position may have interrupted. */
static const struct crash_phase *phase_at(const struct crash_run *run,
					  size_t position)
{
	size_t i = 0;

	while (i + 1 < run->phase_count &&
	       (run->phases[i + 1].begin < position ||
		(run->phases[i + 1].begin == position &&
		 run->phases[i].managed)))
		i++;
	return &run->phases[i];
}

/* Of all states one in so many is made. */
static size_t one_in(const struct crash_run *run)
{
	size_t states =
		(run->log.count / CRASH_STRIDE + 1) * (run->scenario->torn + 1);

	return run->only_looks ? MAX(states / run->only_looks, (size_t)1) : 1;
}

/* Each position as it is, and some times with a random part of the rest. */
void crash_check(struct crash_run *run)
{
	struct crash_state state;
	struct check c = {.run = run, .state = &state};
	size_t passed = 0;

	for (unsigned i = 0; i < run->log.files; i++)
		c.end[i] = crash_log_end(&run->log, i);
	crash_state_init(&state, &run->log);
	for (size_t i = run->seed % CRASH_STRIDE; i <= run->log.count;
	     i += CRASH_STRIDE) {
		c.position = i;
		c.phase = phase_at(run, i);
		c.promised = guest_promised(&c.phase->guest, i);
		for (unsigned t = 0; t <= run->scenario->torn; t++) {
			if (passed++ % one_in(run) != 0)
				continue;
			crash_state_set(&state, i, t ? &run->random : NULL);
			check_state(&c);
		}
	}
	crash_state_deinit(&state);
}
