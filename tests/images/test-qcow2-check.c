/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks and repairs against QEMU's: images that it made are damaged by hand,
 * one thing each. Both have to be of one mind whether that is a leak or
 * worse; after our repair both find nothing, and a second repair changes no
 * byte.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "image/manage.h"
#include "image/open.h"
#include "image/sync-io.h"
#include "qcow2/qcow2.h"
#include "tests/cmocka.h"
#include "tests/images/damaged.h"
#include "tests/images/scratch.h"
#include "tests/sanitized.h"

/* Where a damage lies, or what its value names. */
enum place {
	NOTHING,
	HEADER,		/* 32 bits at @index */
	HEADER64,	/* 64 bits at @index */
	L1,		/* entry @index */
	L2,		/* entry @index of the first L2 table */
	SNAPSHOT,	/* 64 bits at @index of the snapshot table */
	SNAPSHOT_L1,	/* entry @index of the first snapshot's */
	SNAPSHOT_L2,	/* entry @index of its first L2 table */
	REFTABLE,	/* entry @index */
	REFBLOCK,	/* 16 bits: the refcount of cluster @index */
	REFCOUNT_OF,	/* the same, of where L2 entry @index points */
	REFCOUNT_OF_L2, /* of the first L2 table */
	REFCOUNT_OF_L1,
	REFCOUNT_OF_SNAPSHOTS,
	REFCOUNT_OF_SNAPSHOT_L1,
	REFCOUNT_OF_SNAPSHOT_L2,
	REFCOUNT_OF_REFTABLE,
	THE_FILE, /* is cut to @value bytes less */
};

enum how {
	SET,
	OR,
	AND_NOT,
	POINT, /* at what @named is; the entry's flags are @value */
};

struct damage {
	const char *name;
	enum place place;
	uint32_t index;
	enum how how;
	uint64_t value;
	enum place named;
	uint32_t named_index;
	bool stays; /* no repair of ours makes it clean */
};

#define COPIED	   (UINT64_C(1) << 63)
#define COMPRESSED (UINT64_C(1) << 62)
#define OFFSET	   UINT64_C(0x00fffffffffffe00)
#define FAR_AWAY   (UINT64_C(1) << 40)

static const struct damage damages[] = {
	{.name = "nothing at all"},
	/* Refcounts. */
	{.name = "data leaks", .place = REFCOUNT_OF, .value = 7},
	{.name = "data is not counted", .place = REFCOUNT_OF, .value = 0},
	{.name = "data of a snapshot counts once",
	 .place = REFCOUNT_OF,
	 .index = 20,
	 .value = 1},
	{.name = "the highest refcount", .place = REFCOUNT_OF, .value = 0xffff},
	{.name = "an L2 table is not counted", .place = REFCOUNT_OF_L2},
	{.name = "an L2 table leaks", .place = REFCOUNT_OF_L2, .value = 2},
	{.name = "the L1 table is not counted", .place = REFCOUNT_OF_L1},
	{.name = "the L1 table leaks", .place = REFCOUNT_OF_L1, .value = 3},
	{.name = "the snapshot table is not counted",
	 .place = REFCOUNT_OF_SNAPSHOTS},
	{.name = "a snapshot's L1 table is not counted",
	 .place = REFCOUNT_OF_SNAPSHOT_L1},
	{.name = "a snapshot's L1 table leaks",
	 .place = REFCOUNT_OF_SNAPSHOT_L1,
	 .value = 2},
	{.name = "a snapshot's L2 table is not counted",
	 .place = REFCOUNT_OF_SNAPSHOT_L2},
	{.name = "a snapshot's L2 table leaks",
	 .place = REFCOUNT_OF_SNAPSHOT_L2,
	 .value = 2},
	{.name = "the refcount table is not counted",
	 .place = REFCOUNT_OF_REFTABLE},
	{.name = "the header is not counted", .place = REFBLOCK},
	{.name = "the header leaks", .place = REFBLOCK, .value = 2},
	{.name = "a compressed cluster is not counted",
	 .place = REFCOUNT_OF,
	 .index = 256},
	{.name = "a compressed cluster leaks",
	 .place = REFCOUNT_OF,
	 .index = 256,
	 .value = 9999},
	/* L2 entries. */
	{.name = "data without COPIED",
	 .place = L2,
	 .how = AND_NOT,
	 .value = COPIED},
	{.name = "COPIED data of a snapshot",
	 .place = L2,
	 .index = 20,
	 .how = OR,
	 .value = COPIED},
	{.name = "data that is not aligned",
	 .place = L2,
	 .how = OR,
	 .value = 512},
	{.name = "data far outside", .place = L2, .value = COPIED | FAR_AWAY},
	{.name = "data in a snapshot far outside",
	 .place = SNAPSHOT_L2,
	 .value = FAR_AWAY},
	{.name = "reserved low bits", .place = L2, .how = OR, .value = 2},
	{.name = "reserved high bits",
	 .place = L2,
	 .how = OR,
	 .value = UINT64_C(1) << 57},
	{.name = "an entry is lost", .place = L2},
	{.name = "an entry becomes zeroes", .place = L2, .value = 1},
	{.name = "a cluster becomes a preallocated zero",
	 .place = L2,
	 .how = OR,
	 .value = 1},
	{.name = "a zero cluster that is not aligned",
	 .place = L2,
	 .how = OR,
	 .value = 513},
	{.name = "compressed and COPIED",
	 .place = L2,
	 .index = 256,
	 .how = OR,
	 .value = COPIED},
	{.name = "compressed far outside",
	 .place = L2,
	 .index = 256,
	 .value = COMPRESSED | FAR_AWAY},
	{.name = "data becomes compressed",
	 .place = L2,
	 .how = OR,
	 .value = COMPRESSED},
	{.name = "two entries for one cluster",
	 .place = L2,
	 .how = POINT,
	 .value = COPIED,
	 .named = L2,
	 .named_index = 1},
	{.name = "data in the L1 table",
	 .place = L2,
	 .how = POINT,
	 .value = COPIED,
	 .named = L1},
	{.name = "data in an L2 table",
	 .place = L2,
	 .how = POINT,
	 .value = COPIED,
	 .named = L2},
	{.name = "data in the refcount table",
	 .place = L2,
	 .how = POINT,
	 .value = COPIED,
	 .named = REFTABLE},
	{.name = "data in a refcount block",
	 .place = L2,
	 .how = POINT,
	 .value = COPIED,
	 .named = REFBLOCK},
	{.name = "data in the snapshot table",
	 .place = L2,
	 .how = POINT,
	 .value = COPIED,
	 .named = SNAPSHOT},
	{.name = "data in a snapshot's L1 table",
	 .place = L2,
	 .how = POINT,
	 .value = COPIED,
	 .named = SNAPSHOT_L1},
	{.name = "a snapshot's data in the active L2 table",
	 .place = SNAPSHOT_L2,
	 .how = POINT,
	 .named = L2},
	{.name = "compressed data in the header",
	 .place = L2,
	 .value = COMPRESSED | 512},
	/* L1 entries. */
	{.name = "an L2 table without COPIED",
	 .place = L1,
	 .how = AND_NOT,
	 .value = COPIED},
	{.name = "an L2 table is lost", .place = L1},
	{.name = "an L2 table that is not aligned",
	 .place = L1,
	 .how = OR,
	 .value = 512},
	{.name = "an L2 table far outside",
	 .place = L1,
	 .value = COPIED | FAR_AWAY},
	{.name = "reserved bits in an L1 entry",
	 .place = L1,
	 .how = OR,
	 .value = 4},
	{.name = "an L1 entry that is nothing but COPIED",
	 .place = L1,
	 .index = 1,
	 .value = COPIED},
	{.name = "an L2 table in the L1 table",
	 .place = L1,
	 .how = POINT,
	 .value = COPIED,
	 .named = L1},
	{.name = "an L2 table in the refcount table",
	 .place = L1,
	 .how = POINT,
	 .value = COPIED,
	 .named = REFTABLE},
	{.name = "an L2 table in a refcount block",
	 .place = L1,
	 .how = POINT,
	 .value = COPIED,
	 .named = REFBLOCK},
	{.name = "an L2 table in the snapshot table",
	 .place = L1,
	 .how = POINT,
	 .value = COPIED,
	 .named = SNAPSHOT},
	{.name = "one L2 table twice",
	 .place = L1,
	 .index = 1,
	 .how = POINT,
	 .value = COPIED,
	 .named = L2},
	{.name = "COPIED in a snapshot's L1 table",
	 .place = SNAPSHOT_L1,
	 .how = OR,
	 .value = COPIED},
	{.name = "COPIED in a snapshot's L2 table",
	 .place = SNAPSHOT_L2,
	 .how = OR,
	 .value = COPIED},
	{.name = "a snapshot's L2 table far outside",
	 .place = SNAPSHOT_L1,
	 .value = FAR_AWAY},
	{.name = "a snapshot's L2 table that is not aligned",
	 .place = SNAPSHOT_L1,
	 .how = OR,
	 .value = 512},
	/* The refcount structure. */
	{.name = "no refcount block", .place = REFTABLE},
	{.name = "a refcount block that is not aligned",
	 .place = REFTABLE,
	 .how = OR,
	 .value = 512},
	{.name = "a refcount block with reserved bits",
	 .place = REFTABLE,
	 .how = OR,
	 .value = 1},
	{.name = "a refcount block far outside",
	 .place = REFTABLE,
	 .value = FAR_AWAY},
	{.name = "a refcount block in the header",
	 .place = REFTABLE,
	 .index = 1,
	 .how = POINT,
	 .named = REFBLOCK},
	{.name = "a refcount block in the L1 table",
	 .place = REFTABLE,
	 .how = POINT,
	 .named = L1},
	{.name = "a refcount block in data",
	 .place = REFTABLE,
	 .how = POINT,
	 .named = L2,
	 .named_index = 0},
	{.name = "the refcount table in data",
	 .place = HEADER64,
	 .index = 48,
	 .how = POINT,
	 .named = L2,
	 .named_index = 0},
	/* Snapshots. */
	{.name = "a snapshot's L1 table far outside",
	 .place = SNAPSHOT,
	 .value = FAR_AWAY},
	{.name = "a snapshot's L1 table that is not aligned",
	 .place = SNAPSHOT,
	 .how = OR,
	 .value = 512},
	{.name = "a snapshot's L1 table is the active one",
	 .place = SNAPSHOT,
	 .how = POINT,
	 .named = L1,
	 .stays = true},
	{.name = "a snapshot is forgotten",
	 .place = HEADER,
	 .index = 60,
	 .value = 0},
	/* Marks and the file's end. */
	{.name = "dirty",
	 .place = HEADER64,
	 .index = 72,
	 .how = OR,
	 .value = 1},
	{.name = "marked corrupt",
	 .place = HEADER64,
	 .index = 72,
	 .how = OR,
	 .value = 2},
	{.name = "the file is cut", .place = THE_FILE, .value = 40960},
};

static uint64_t refcount_place(const struct damaged *f, uint64_t host)
{
	uint64_t cluster = host / f->cluster;
	uint64_t per_block = f->cluster / 2;
	uint64_t block =
		damaged_get(f, f->reftable + cluster / per_block * 8, 8);

	return block + cluster % per_block * 2;
}

static uint64_t target_of(const struct damaged *f, uint32_t index)
{
	uint64_t entry = damaged_get(f, f->l2 + index * UINT64_C(8), 8);

	if (entry & COMPRESSED)
		return entry & ((UINT64_C(1)
				 << (62 - (__builtin_ctzll(f->cluster) - 8))) -
				1);
	return entry & OFFSET;
}

/* Where the place's bytes are, and how many bits it has. */
static uint64_t where(const struct damaged *f, enum place place, uint32_t index,
		      unsigned *ret_bits)
{
	uint64_t by = index * UINT64_C(8);

	*ret_bits = 64;
	switch (place) {
	case HEADER:
		*ret_bits = 32;
		return index;
	case HEADER64:
		return index;
	case L1:
		return f->l1 + by;
	case L2:
		return f->l2 + by;
	case SNAPSHOT:
		return f->snapshots + index;
	case SNAPSHOT_L1:
		return f->snapshot_l1 + by;
	case SNAPSHOT_L2:
		return f->snapshot_l2 + by;
	case REFTABLE:
		return f->reftable + by;
	default:
		break;
	}
	*ret_bits = 16;
	switch (place) {
	case REFBLOCK:
		return refcount_place(f, index * f->cluster);
	case REFCOUNT_OF:
		return refcount_place(f, target_of(f, index));
	case REFCOUNT_OF_L2:
		return refcount_place(f, f->l2);
	case REFCOUNT_OF_L1:
		return refcount_place(f, f->l1);
	case REFCOUNT_OF_SNAPSHOTS:
		return refcount_place(f, f->snapshots);
	case REFCOUNT_OF_SNAPSHOT_L1:
		return refcount_place(f, f->snapshot_l1);
	case REFCOUNT_OF_SNAPSHOT_L2:
		return refcount_place(f, f->snapshot_l2);
	case REFCOUNT_OF_REFTABLE:
		return refcount_place(f, f->reftable);
	default:
		fail_msg("no such place");
	}
	return 0;
}

/* The offset of the cluster that is named. */
static uint64_t named(const struct damaged *f, const struct damage *d)
{
	switch (d->named) {
	case L1:
		return f->l1;
	case L2:
		return d->named_index || d->place >= REFTABLE ||
				       d->place == HEADER64
			       ? target_of(f, d->named_index)
			       : f->l2;
	case SNAPSHOT:
		return f->snapshots;
	case SNAPSHOT_L1:
		return f->snapshot_l1;
	case REFTABLE:
		return f->reftable;
	case REFBLOCK:
		return damaged_get(f, f->reftable, 8);
	default:
		fail_msg("names nothing");
	}
	return 0;
}

static void do_damage(struct damaged *f, const struct damage *d)
{
	unsigned bits;
	uint64_t at, value;

	if (d->place == NOTHING)
		return;
	if (d->place == THE_FILE) {
		f->size -= d->value;
		return;
	}
	at = where(f, d->place, d->index, &bits);
	assert_true(range_fits(at, bits / 8, f->size));
	value = bits == 64   ? get_be64(f->data + at)
		: bits == 32 ? get_be32(f->data + at)
			     : get_be16(f->data + at);
	if (d->how == SET)
		value = d->value;
	else if (d->how == OR)
		value |= d->value;
	else if (d->how == AND_NOT)
		value &= ~d->value;
	else
		value = d->value | named(f, d);
	if (bits == 64)
		put_be64(f->data + at, value);
	else if (bits == 32)
		put_be32(f->data + at, value);
	else
		put_be16(f->data + at, value);
}

static void assert_same_numbers(const struct image_check *ours)
{
	assert_int_equal(ours->total_clusters,
			 damaged_theirs("total-clusters"));
	assert_int_equal(ours->allocated_clusters,
			 damaged_theirs("allocated-clusters"));
	assert_int_equal(ours->fragmented_clusters,
			 damaged_theirs("fragmented-clusters"));
	assert_int_equal(ours->compressed_clusters,
			 damaged_theirs("compressed-clusters"));
	assert_int_equal(ours->image_end_offset,
			 damaged_theirs("image-end-offset"));
	assert_int_equal(ours->leaks, damaged_theirs("leaks"));
}

/* What was there before and what was not, written after a repair. */
static int write_ours(const char *name)
{
	static const uint64_t at[] = {0, 64 << 10, 1 << 20, 2 << 20, 3 << 20};
	const struct image_open_request request = {
		.path = name,
		.format = "qcow2",
	};
	size_t bytes = 100 << 10;
	uint8_t *data = malloc(bytes);
	struct image *image;
	char *error = NULL;
	int err = image_open(&request, &image, &error, NULL);

	if (err && getenv("RINGLINE_TELL"))
		print_message("  %s\n", error);
	free(error);
	memset(data, 5, bytes);
	for (size_t i = 0; i < ARRAY_SIZE(at) && err == 0; i++)
		assert_int_equal(sync_io_write(image, at[i], data, bytes), 0);
	if (err == 0)
		assert_int_equal(image_close(image), 0);
	free(data);
	return err;
}

static void compare_found(const struct damaged *whole, const struct damage *d,
			  int ours, const struct image_check *counts)
{
	int qemu = damaged_check_theirs("damaged.qcow2");

	if (getenv("RINGLINE_TELL"))
		print_message("%s: %d %d\n", d->name, ours, qemu);
	/* Version 2 has no zero flag, which QEMU's check does not mind. */
	if (ours != qemu && !(ours == 2 && d->place == L2 && (d->value & 1) &&
			      get_be32(whole->data + 4) == 2))
		fail_msg("%s: status %d, of qemu-img %d:\n%s", d->name, ours,
			 qemu, scratch_output());
	if (ours == 0 || ours == 3)
		assert_same_numbers(counts);
}

static void mend_leaks(const struct damage *d, int ours,
		       const struct image_check *counts)
{
	struct image_check after = {0};
	int fixed;

	damaged_copy_file("leaks.qcow2", "damaged.qcow2");
	fixed = damaged_check("leaks.qcow2", IMAGE_FIX_LEAKS, &after);
	if (ours == 3 && fixed != 0)
		fail_msg("%s: leaks are left: %d", d->name, fixed);
	if (after.corruptions > counts->corruptions)
		fail_msg("%s: repairing leaks made it worse", d->name);
}

static void mend_all(const struct damage *d, int ours)
{
	struct image_check after = {0};
	int fixed;

	damaged_copy_file("all.qcow2", "damaged.qcow2");
	fixed = damaged_check("all.qcow2", IMAGE_FIX_ALL, &after);
	if (d->stays) {
		assert_int_equal(fixed, 2);
		return;
	}
	if (fixed != 0 || damaged_check_theirs("all.qcow2") != 0)
		fail_msg("%s: repaired: %d, qemu-img finds:\n%s", d->name,
			 fixed, scratch_output());
	if (ours != 0)
		assert_true(after.corruptions_fixed + after.leaks_fixed > 0);
	damaged_copy_file("twice.qcow2", "all.qcow2");
	assert_int_equal(damaged_check("twice.qcow2", IMAGE_FIX_ALL, &after),
			 0);
	if (!damaged_same_files("all.qcow2", "twice.qcow2"))
		fail_msg("%s: a second repair changed something", d->name);
	assert_int_equal(write_ours("all.qcow2"), 0);
	if (damaged_check("all.qcow2", IMAGE_FIX_NONE, &after) != 0)
		fail_msg("%s: repaired and written: not whole", d->name);
}

static void check_damage(const struct damaged *whole, const struct damage *d)
{
	struct damaged f;
	struct image_check counts = {0};
	int ours;

	damaged_copy(&f, whole);
	do_damage(&f, d);
	damaged_write("damaged.qcow2", &f);
	damaged_free(&f);
	ours = damaged_check("damaged.qcow2", IMAGE_FIX_NONE, &counts);
	/* Of version 2, only what an L2 entry says is another matter. */
	if (get_be32(whole->data + 4) == 3 || d->place == L2)
		compare_found(whole, d, ours, &counts);
	mend_leaks(d, ours, &counts);
	mend_all(d, ours);
}

static void make(const char *options)
{
	scratch_must("rm -f whole.qcow2 text.raw && "
		     "qemu-img create -q -f qcow2 -o %s whole.qcow2 4M && "
		     "qemu-io -f qcow2 -c 'write -P 1 0 256k' "
		     "-c 'write -P 2 3M 64k' -c 'write -c -P 3 1M 64k' "
		     "whole.qcow2 && "
		     "qemu-img snapshot -c one whole.qcow2 && "
		     "qemu-io -f qcow2 -c 'write -P 4 0 64k' "
		     "-c 'write -c -P 3 1088k 64k' -c 'write -z 64k 4k' "
		     "whole.qcow2",
		     options);
}

static void check_all_damages(const char *options)
{
	struct damaged whole;
	const char *only = getenv("RINGLINE_ONLY");

	make(options);
	damaged_load(&whole, "whole.qcow2");
	for (size_t i = 0; i < ARRAY_SIZE(damages); i += SAMPLED(5)) {
		if (get_be32(whole.data + 4) == 2 &&
		    damages[i].place == HEADER64 && damages[i].index == 72)
			continue;
		if (only && strcmp(only, damages[i].name) != 0)
			continue;
		check_damage(&whole, &damages[i]);
	}
	damaged_free(&whole);
}

static void damages_are_found_and_mended(void **state)
{
	check_all_damages("compat=1.1,cluster_size=4k");
}

static void damages_of_version_2_are_found_and_mended(void **state)
{
	check_all_damages("compat=0.10,cluster_size=4k");
}

/* Refcounts and flags: what a crash may leave in an image marked dirty. */
static bool is_of_refcounts(const struct damage *d)
{
	if (d->place >= REFTABLE && d->place != THE_FILE)
		return true;
	return d->place == NOTHING ||
	       ((d->place == L1 || d->place == L2) && d->how != POINT &&
		d->value == COPIED && d->index != 1 && d->index != 256);
}

static void open_dirty(const struct damaged *whole, const struct damage *d,
		       uint64_t marks)
{
	struct damaged f;
	struct image_check counts;
	int err;

	damaged_copy(&f, whole);
	do_damage(&f, d);
	f.data[79] |= marks; /* of the incompatible features */
	damaged_write("damaged.qcow2", &f);
	damaged_write("dirty.qcow2", &f);
	damaged_free(&f);
	err = write_ours("dirty.qcow2");
	if (err == 0 && (marks & 2))
		fail_msg("%s: written though marked corrupt", d->name);
	if (err && !(marks & 2) && is_of_refcounts(d))
		fail_msg("%s: not mended: %d", d->name, err);
	if (err && !damaged_same_files("dirty.qcow2", "damaged.qcow2"))
		fail_msg("%s: refused, and changed", d->name);
	if (err == 0 &&
	    damaged_check("dirty.qcow2", IMAGE_FIX_NONE, &counts) != 0)
		fail_msg("%s: not whole when opened", d->name);
}

static void a_dirty_image_is_mended_when_it_is_opened(void **state)
{
	struct damaged whole;

	make("compat=1.1,cluster_size=4k");
	damaged_load(&whole, "whole.qcow2");
	open_dirty(&whole, &damages[0], 3);
	open_dirty(&whole, &damages[1], 3);
	for (size_t i = 0; i < ARRAY_SIZE(damages); i += SAMPLED(5))
		open_dirty(&whole, &damages[i], 1);
	damaged_free(&whole);
}

static void whole_images_are_found_whole(void **state)
{
	static const char *const sets[] = {
		"compat=1.1",
		"compat=0.10",
		"compat=1.1,cluster_size=512,refcount_bits=1",
		"compat=1.1,cluster_size=512,refcount_bits=64",
		"compat=1.1,cluster_size=2M",
		"compat=1.1,cluster_size=8k,refcount_bits=4",
	};

	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		struct image_check counts;

		scratch_must("rm -f whole.qcow2 && qemu-img create -q -f qcow2 "
			     "-o %s whole.qcow2 4M && "
			     "qemu-io -f qcow2 -c 'write -P 1 0 256k' "
			     "-c 'write 1M 300k' "
			     "-c 'write -c -P 3 2M 2M' whole.qcow2",
			     sets[i]);
		assert_int_equal(
			damaged_check("whole.qcow2", IMAGE_FIX_NONE, &counts),
			0);
		assert_int_equal(damaged_check_theirs("whole.qcow2"), 0);
		assert_same_numbers(&counts);
	}
}

static void a_bitmap_whose_table_is_broken_is_given_up(void **state)
{
	struct image_check counts;
	struct damaged f;

	make("compat=1.1");
	scratch_must("qemu-img bitmap --add whole.qcow2 b0 && "
		     "qemu-img bitmap --add whole.qcow2 b1");
	assert_int_equal(damaged_check("whole.qcow2", IMAGE_FIX_NONE, &counts),
			 0);
	damaged_load(&f, "whole.qcow2");
	damaged_put(&f, f.bitmaps, 8, FAR_AWAY);
	damaged_write("damaged.qcow2", &f);
	damaged_free(&f);
	assert_int_equal(damaged_check_theirs("damaged.qcow2"), 2);
	assert_int_equal(
		damaged_check("damaged.qcow2", IMAGE_FIX_NONE, &counts), 2);
	assert_int_equal(damaged_check("damaged.qcow2", IMAGE_FIX_ALL, &counts),
			 0);
	assert_int_equal(damaged_check_theirs("damaged.qcow2"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_dirty_image_is_mended_when_it_is_opened),
		cmocka_unit_test(whole_images_are_found_whole),
		cmocka_unit_test(damages_are_found_and_mended),
		cmocka_unit_test(damages_of_version_2_are_found_and_mended),
		cmocka_unit_test(a_bitmap_whose_table_is_broken_is_given_up),
	};
	int failed;

	scratch_prefer_memory();
	scratch_enter("qemu-img");
	image_register_format(&qcow2_format);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	scratch_leave();
	return failed;
}
