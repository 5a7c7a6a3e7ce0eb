/* SPDX-License-Identifier: Apache-2.0 */
#include "qcow2/bitmap.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bitmap.h"
#include "image/open.h"
#include "qcow2/core.h"

/* Told by the directory, as nobody may believe it once the guest has written. */
static bool wants_mark(const struct qcow2 *q, const struct qcow2_bitmap *b)
{
	return (b->flags & QCOW2_BITMAP_AUTO) &&
	       !(qcow2_bitmap_flags(q, b) & QCOW2_BITMAP_IN_USE);
}

static bool any_wants_mark(const struct qcow2 *q)
{
	for (size_t i = 0; i < q->bitmaps.count; i++)
		if (wants_mark(q, q->bitmaps.all[i]))
			return true;
	return false;
}

void qcow2_bitmaps_follow_all(struct qcow2 *q)
{
	struct qcow2_bitmaps *all = &q->bitmaps;

	all->followed = NULL;
	for (size_t i = 0; i < all->count; i++) {
		struct qcow2_bitmap *b = all->all[i];

		if (!(b->flags & QCOW2_BITMAP_AUTO) || b->unknown ||
		    b->inconsistent || qcow2_bitmap_load(q, b) != 0)
			continue;
		b->next_followed = all->followed;
		all->followed = b;
	}
	all->must_mark = any_wants_mark(q);
	all->marked = false;
}

static int read_directory(struct qcow2 *q)
{
	struct qcow2_memtable *directory = &q->bitmaps.directory;
	uint32_t slice = UINT32_C(1) << q->slice_bits;
	int err = qcow2_memtable_init(
		directory, align_up(q->header.bitmap_directory_bytes, slice),
		slice);

	directory->offset = q->header.bitmap_directory_offset;
	if (err == 0)
		err = store_read(q->image.store, directory->offset,
				 directory->data, directory->bytes);
	return err ? err : qcow2_bitmaps_parse(q);
}

void qcow2_bitmaps_disown(struct qcow2 *q, const char *why)
{
	qcow2_bitmaps_deinit(q);
	q->bitmaps.broken = strdup(why);
	q->header.autoclear &= ~QCOW2_AUTOCLEAR_BITMAPS;
	q->header.bitmap_count = 0;
	q->header.bitmap_directory_bytes = 0;
	q->header.bitmap_directory_offset = 0;
	q->autoclear_stale = !q->image.read_only;
}

int qcow2_bitmaps_open(struct qcow2 *q, bool follow)
{
	int err;

	if (!(q->header.autoclear & QCOW2_AUTOCLEAR_BITMAPS))
		return 0;
	/* The bit stands for nothing: it goes before the first change. */
	if (q->header.bitmap_count == 0) {
		q->header.autoclear &= ~QCOW2_AUTOCLEAR_BITMAPS;
		q->autoclear_stale = !q->image.read_only;
		return 0;
	}
	err = read_directory(q);
	if (err == IMAGE_E_CORRUPT) {
		qcow2_bitmaps_disown(q, q->image.error);
		return 0;
	}
	if (err == 0 && follow)
		qcow2_bitmaps_follow_all(q);
	return err;
}

void qcow2_bitmaps_deinit(struct qcow2 *q)
{
	for (size_t i = 0; i < q->bitmaps.count; i++)
		qcow2_bitmap_free(q->bitmaps.all[i]);
	free(q->bitmaps.all);
	free(q->bitmaps.broken);
	qcow2_memtable_deinit(&q->bitmaps.directory);
	q->bitmaps = (struct qcow2_bitmaps){0};
}

/*
 * A mark is one bit of a byte that is otherwise written as it is on disk. So a
 * write that is torn leaves some bitmaps marked and some not, and nothing was
 * changed yet.
 */
static void mark(struct qcow2 *q, bool all)
{
	for (size_t i = 0; i < q->bitmaps.count; i++) {
		struct qcow2_bitmap *b = q->bitmaps.all[i];

		if (qcow2_bitmap_flags(q, b) & QCOW2_BITMAP_IN_USE)
			continue;
		if (all || (b->flags & QCOW2_BITMAP_AUTO))
			qcow2_bitmap_mark(q, b);
	}
}

void qcow2_bitmaps_mark(struct qcow2 *q)
{
	mark(q, false);
	for (size_t i = 0; i < q->bitmaps.count; i++) {
		struct qcow2_bitmap *b = q->bitmaps.all[i];

		/* It cannot follow: too large, or not understood. */
		if ((b->flags & QCOW2_BITMAP_AUTO) && !b->bits)
			b->inconsistent = true;
	}
}

void qcow2_bitmaps_marked(struct qcow2 *q)
{
	q->bitmaps.must_mark = false;
	q->bitmaps.marked = true;
}

void qcow2_bitmap_set_bytes(struct qcow2_bitmap *b, uint64_t offset,
			    uint64_t length)
{
	uint64_t first = offset >> b->granularity_bits;
	uint64_t last = (offset + length - 1) >> b->granularity_bits;

	bitmap_set_range(b->bits, first, last - first + 1);
	b->changed = true;
}

void qcow2_bitmaps_follow(struct qcow2 *q, uint64_t offset, uint64_t length)
{
	for (struct qcow2_bitmap *b = q->bitmaps.followed; b;
	     b = b->next_followed)
		qcow2_bitmap_set_bytes(b, offset, length);
}

static int reserve_all(struct qcow2 *q, uint64_t new_size)
{
	for (size_t i = 0; i < q->bitmaps.count; i++) {
		struct qcow2_bitmap *b = q->bitmaps.all[i];
		int err;

		if (b->inconsistent && !b->unknown)
			continue;
		err = qcow2_bitmap_load(q, b);
		if (err == 0)
			err = qcow2_bitmap_reserve(q, b, new_size);
		if (err == 0)
			b->changed = true;
		if (err)
			return err;
	}
	return 0;
}

/* A granule that comes into being was not written. */
static void clear_growth(struct qcow2 *q, uint64_t new_size)
{
	for (size_t i = 0; i < q->bitmaps.count; i++) {
		struct qcow2_bitmap *b = q->bitmaps.all[i];
		uint64_t from = qcow2_bitmap_granules(q, b);

		if (b->bits && new_size > q->image.size_bytes)
			bitmap_clear_range(b->bits, from,
					   b->bytes_held * 8 - from);
	}
}

int qcow2_bitmaps_resize(struct qcow2 *q, uint64_t new_size)
{
	int err;

	if (q->bitmaps.count == 0)
		return 0;
	if (new_size == 0)
		return image_set_error(&q->image, -EINVAL,
				       "an image of no bytes cannot have "
				       "bitmaps: remove them first");
	err = reserve_all(q, new_size);
	if (err)
		return err;
	clear_growth(q, new_size);
	mark(q, true);
	err = image_flush_sync(&q->image);
	/* Even if some were marked before: all are. */
	if (err == 0)
		qcow2_bitmaps_marked(q);
	return err;
}

int qcow2_bitmaps_forbid_switch(struct qcow2 *q)
{
	if (q->bitmaps.count == 0)
		return 0;
	return image_set_error(&q->image, -EBUSY,
			       "the image has bitmaps, which cannot tell what "
			       "differs from a snapshot: remove them first");
}
