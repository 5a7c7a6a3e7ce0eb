/* SPDX-License-Identifier: Apache-2.0 */
/* What can be done to an image under test, and what has to come of it. */
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "image/manage.h"
#include "image/open.h"
#include "image/sync-io.h"
#include "qcow2/offline.h"
#include "qcow2/table.h"
#include "tests/cmocka.h"
#include "tests/images/crash-run.h"

static bool always(struct crash_run *run, const struct picture *before)
{
	return true;
}

static int reopen(struct crash_run *run)
{
	int err = image_close(run->image);

	run->image = crash_open(run->store[0], run->store[1], NULL, false);
	return err;
}

/* A name that no snapshot has, and no bitmap. */
static void new_name(struct crash_run *run, const struct picture *before)
{
	do
		snprintf(run->name, sizeof(run->name), "n%u",
			 (unsigned)crash_pick(run, 100));
	while (picture_snapshot(before, run->name) ||
	       picture_bitmap(before, run->name));
}

static bool choose_snapshot(struct crash_run *run, const struct picture *before)
{
	unsigned count = before->snapshot_count;

	if (count)
		snprintf(run->name, sizeof(run->name), "%s",
			 before->snapshots[crash_pick(run, count)].name);
	return count > 0;
}

static bool choose_new_snapshot(struct crash_run *run,
				const struct picture *before)
{
	new_name(run, before);
	return before->snapshot_count < PICTURE_MAX_SNAPSHOTS;
}

static int create_snapshot(struct crash_run *run)
{
	return image_snapshot_create(run->image, run->name);
}

static void snapshot_created(struct crash_run *run, struct picture *picture)
{
	struct picture_snapshot *snapshot =
		&picture->snapshots[picture->snapshot_count++];

	memcpy(snapshot->name, run->name, sizeof(snapshot->name));
	picture_copy_disk(&snapshot->disk, &picture->disk);
}

static int apply_snapshot(struct crash_run *run)
{
	return image_snapshot_apply(run->image, run->name);
}

static void snapshot_applied(struct crash_run *run, struct picture *picture)
{
	const struct picture_snapshot *snapshot =
		picture_snapshot(picture, run->name);

	free(picture->disk.stamps);
	picture_copy_disk(&picture->disk, &snapshot->disk);
}

static int delete_snapshot(struct crash_run *run)
{
	return image_snapshot_delete(run->image, run->name);
}

static void snapshot_deleted(struct crash_run *run, struct picture *picture)
{
	picture_drop_snapshot(picture, picture_snapshot(picture, run->name));
}

/* To half or twice the size that the scenario begins with, at most. */
static bool choose_size(struct crash_run *run, const struct picture *before)
{
	uint64_t usual = run->scenario->options.size_bytes / GUEST_SECTOR;

	run->size_bytes =
		(usual / 2 + crash_pick(run, usual * 3 / 2)) * GUEST_SECTOR;
	return run->size_bytes != before->disk.size_bytes;
}

static int resize(struct crash_run *run)
{
	return image_resize(run->image, run->size_bytes,
			    IMAGE_PREALLOCATION_OFF);
}

static void resize_bitmap(struct picture_bitmap *bitmap, uint64_t size_bytes)
{
	uint64_t bits =
		div_round_up(size_bytes, (uint64_t)bitmap->granularity_bytes);

	bitmap->set = realloc(bitmap->set, bits + 1);
	assert_non_null(bitmap->set);
	if (bits > bitmap->bits)
		memset(bitmap->set + bitmap->bits, 0, bits - bitmap->bits);
	bitmap->bits = bits;
}

static void resized(struct crash_run *run, struct picture *picture)
{
	picture_resize_disk(&picture->disk, run->size_bytes);
	for (unsigned i = 0; i < picture->bitmap_count; i++)
		resize_bitmap(&picture->bitmaps[i], run->size_bytes);
}

static bool choose_bitmap(struct crash_run *run, const struct picture *before)
{
	unsigned count = before->bitmap_count;

	if (count == 0)
		return false;
	snprintf(run->name, sizeof(run->name), "%s",
		 before->bitmaps[crash_pick(run, count)].name);
	snprintf(run->other_name, sizeof(run->other_name), "%s",
		 before->bitmaps[crash_pick(run, count)].name);
	return true;
}

static bool choose_new_bitmap(struct crash_run *run,
			      const struct picture *before)
{
	new_name(run, before);
	/* Of all sizes, so that some have a table of more than an entry. */
	run->number = 512u << crash_pick(run, 8);
	return before->bitmap_count < PICTURE_MAX_BITMAPS;
}

static int change_bitmap(struct crash_run *run, enum image_bitmap_action action)
{
	const struct image_bitmap_change change = {
		.action = action,
		.name = run->name,
		.granularity_bytes = run->number,
		.source_name = run->other_name,
	};

	return image_bitmap_change(run->image, &change);
}

static int add_bitmap(struct crash_run *run)
{
	return change_bitmap(run, IMAGE_BITMAP_ADD);
}

static void bitmap_added(struct crash_run *run, struct picture *picture)
{
	struct picture_bitmap *bitmap =
		&picture->bitmaps[picture->bitmap_count++];
	uint64_t bits =
		div_round_up(picture->disk.size_bytes, (uint64_t)run->number);

	*bitmap = (struct picture_bitmap){
		.granularity_bytes = run->number,
		.enabled = true,
		.bits = bits,
		.set = calloc(bits + 1, 1),
	};
	memcpy(bitmap->name, run->name, sizeof(bitmap->name));
}

static int remove_bitmap(struct crash_run *run)
{
	return change_bitmap(run, IMAGE_BITMAP_REMOVE);
}

static void bitmap_removed(struct crash_run *run, struct picture *picture)
{
	picture_drop_bitmap(picture, picture_bitmap(picture, run->name));
}

static int clear_bitmap(struct crash_run *run)
{
	return change_bitmap(run, IMAGE_BITMAP_CLEAR);
}

static void bitmap_cleared(struct crash_run *run, struct picture *picture)
{
	struct picture_bitmap *bitmap = picture_bitmap(picture, run->name);

	memset(bitmap->set, 0, bitmap->bits);
}

static int enable_bitmap(struct crash_run *run)
{
	return change_bitmap(run, IMAGE_BITMAP_ENABLE);
}

static void bitmap_enabled(struct crash_run *run, struct picture *picture)
{
	picture_bitmap(picture, run->name)->enabled = true;
}

static int disable_bitmap(struct crash_run *run)
{
	return change_bitmap(run, IMAGE_BITMAP_DISABLE);
}

static void bitmap_disabled(struct crash_run *run, struct picture *picture)
{
	picture_bitmap(picture, run->name)->enabled = false;
}

static int merge_bitmap(struct crash_run *run)
{
	return change_bitmap(run, IMAGE_BITMAP_MERGE);
}

/* Of each source granule, whatever lies in the target's is set. */
static void bitmap_merged(struct crash_run *run, struct picture *picture)
{
	struct picture_bitmap *to = picture_bitmap(picture, run->name);
	const struct picture_bitmap *from =
		picture_bitmap(picture, run->other_name);

	for (uint64_t s = 0; s < picture->disk.sectors; s++)
		if (from->set[s * GUEST_SECTOR / from->granularity_bytes])
			to->set[s * GUEST_SECTOR / to->granularity_bytes] =
				true;
}

/* Long and short, so that it moves in the header's cluster. */
static bool choose_backing(struct crash_run *run, const struct picture *before)
{
	run->number = crash_pick(run, 3) * 60;
	return true;
}

static int set_backing(struct crash_run *run)
{
	char name[128];

	snprintf(name, sizeof(name), "/%0*u", run->number, 0);
	return image_set_backing(run->image, run->number ? name : NULL,
				 run->number ? "raw" : NULL);
}

static int make_empty(struct crash_run *run)
{
	return image_make_empty(run->image);
}

static void made_empty(struct crash_run *run, struct picture *picture)
{
	memset(picture->disk.stamps, 0,
	       picture->disk.sectors * sizeof(*picture->disk.stamps));
}

/* A few clusters, compressed. Part of the guest's work. */
static int write_packed(struct crash_run *run)
{
	static uint8_t data[GUEST_MAX_SECTORS * GUEST_SECTOR];
	size_t versions[GUEST_MAX_SECTORS];
	struct guest *guest = run->guest;
	uint64_t per_cluster = run->image->cluster_bytes / GUEST_SECTOR;
	uint64_t clusters = guest->sector_count / per_cluster;
	uint64_t first = crash_pick(run, clusters);
	uint64_t count = MIN(1 + crash_pick(run, 3), clusters - first);
	uint64_t stamp = ++guest->stamp;

	first *= per_cluster;
	count *= per_cluster;
	assert_true(count <= GUEST_MAX_SECTORS);
	guest_fill(data, first, count, stamp);
	guest_begin(guest, first, count, stamp, versions);
	guest_end(guest, first, count, versions,
		  sync_io_write_packed(guest->image, first * GUEST_SECTOR, data,
				       count * GUEST_SECTOR));
	return 0;
}

/* Each is possible whatever came before. */
static const char *const amendments[] = {
	"compat=1.1,lazy_refcounts=on", "compat=1.1,lazy_refcounts=off",
	"compat=1.1,refcount_bits=16",	"compat=1.1,refcount_bits=8",
	"compat=1.1,refcount_bits=64",	"compat=1.1,refcount_bits=32",
	"compat=0.10,refcount_bits=16", "compat=0.10,refcount_bits=16",
};

static bool choose_amendment(struct crash_run *run,
			     const struct picture *before)
{
	run->number = crash_pick(run, ARRAY_SIZE(amendments));
	return true;
}

static int amend(struct crash_run *run)
{
	struct image_options options = {0};
	const struct image_amend_request request = {.options = &options};
	char *error = NULL;
	int err;

	assert_int_equal(
		image_options_parse(&options, amendments[run->number], &error),
		0);
	err = image_amend(run->image, &request);
	image_options_deinit(&options);
	return err;
}

enum {
	FLAGGED = 8, /* clusters: their entries lie in one sector */
};

/* What QEMU makes of zeroes in room that is kept, and we do not. */
static int flag_step(struct qcow2 *q, void *opaque, struct image_extent *ret)
{
	const struct crash_run *run = opaque;
	uint64_t first = (uint64_t)run->number * FLAGGED;
	struct qcow2_l2 l2;
	int err = qcow2_l2_own(q, first, ret, &l2);

	for (unsigned i = 0; err == 0 && i < MIN((unsigned)FLAGGED, l2.count);
	     i++) {
		uint64_t entry = qcow2_l2_get(&l2, i);

		/* A compressed cluster has no room to keep. */
		if (qcow2_entry_kind(q, entry) == QCOW2_IS_COMPRESSED)
			continue;
		qcow2_l2_set(q, l2.slice, l2.index + i, first + i,
			     entry | QCOW2_ZERO);
	}
	return err;
}

static bool choose_clusters(struct crash_run *run, const struct picture *before)
{
	const struct qcow2 *q = qcow2_of(run->image);

	run->number = crash_pick(run, before->disk.size_bytes / FLAGGED >>
					      q->cluster_bits);
	return q->header.version >= 3 && before->disk.sectors;
}

static int flag(struct crash_run *run)
{
	int err = qcow2_offline_run(qcow2_of(run->image), flag_step, run);

	return err ? err : image_flush_sync(run->image);
}

/* The disk is what it is now: nothing but zeroes has come to it. */
static void flagged(struct crash_run *run, struct picture *picture)
{
	struct picture *now = crash_picture(run, picture);

	for (uint64_t i = 0; i < picture->disk.sectors; i++)
		if (now->disk.stamps[i] == 0)
			picture->disk.stamps[i] = 0;
	picture_free(now);
}

const struct crash_op crash_ops[] = {
	{"reopen", 4, CRASH_REOPENS, 0, always, reopen, NULL, false},
	{"snapshot create", 4, CRASH_SNAPSHOTS, 0, choose_new_snapshot,
	 create_snapshot, snapshot_created, false},
	{"snapshot apply", 2, CRASH_SNAPSHOTS, 0, choose_snapshot,
	 apply_snapshot, snapshot_applied, false},
	{"snapshot delete", 2, CRASH_SNAPSHOTS, 0, choose_snapshot,
	 delete_snapshot, snapshot_deleted, false},
	{"resize", 4, CRASH_RESIZES, CRASH_LOOSE_TAIL, choose_size, resize,
	 resized, false},
	{"bitmap add", 4, CRASH_BITMAPS, 0, choose_new_bitmap, add_bitmap,
	 bitmap_added, false},
	{"bitmap remove", 2, CRASH_BITMAPS, 0, choose_bitmap, remove_bitmap,
	 bitmap_removed, false},
	{"bitmap clear", 1, CRASH_BITMAPS, 0, choose_bitmap, clear_bitmap,
	 bitmap_cleared, false},
	{"bitmap enable", 1, CRASH_BITMAPS, 0, choose_bitmap, enable_bitmap,
	 bitmap_enabled, false},
	{"bitmap disable", 1, CRASH_BITMAPS, 0, choose_bitmap, disable_bitmap,
	 bitmap_disabled, false},
	{"bitmap merge", 2, CRASH_BITMAPS, 0, choose_bitmap, merge_bitmap,
	 bitmap_merged, false},
	{"set backing", 4, CRASH_HEADERS, 0, choose_backing, set_backing, NULL,
	 false},
	{"make empty", 2, CRASH_EMPTIES, 0, always, make_empty, made_empty,
	 false},
	{"compressed write", 4, CRASH_COMPRESSES, 0, always, write_packed, NULL,
	 true},
	{"amend", 4, CRASH_AMENDS, 0, choose_amendment, amend, NULL, false},
	{"flag", 12, CRASH_FLAGS, 0, choose_clusters, flag, flagged, false},
};

const size_t crash_op_count = ARRAY_SIZE(crash_ops);

const struct crash_op *crash_choose(struct crash_run *run, bool by_guest,
				    const struct picture *before)
{
	unsigned total = 0;

	for (size_t i = 0; i < crash_op_count; i++)
		if (crash_ops[i].by_guest == by_guest &&
		    (run->scenario->work & crash_ops[i].needs))
			total += crash_ops[i].weight;
	for (unsigned tries = 0; total && tries < 20; tries++) {
		unsigned at = crash_pick(run, total);
		const struct crash_op *op = crash_ops;

		for (;; op++) {
			if (op->by_guest != by_guest ||
			    !(run->scenario->work & op->needs))
				continue;
			if (at < op->weight)
				break;
			at -= op->weight;
		}
		if (op->choose(run, before))
			return op;
	}
	return NULL;
}
