/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another image's bitmaps, all at once. The bits of each go to new clusters as
 * they come, so that only one is held in memory at a time; one directory, and
 * one write of the header, make all of them count. So nothing is written twice,
 * and the file becomes no larger than what they take.
 */
#include "qcow2/bitmap.h"
#include "qcow2/core.h"
#include "qcow2/offline.h"

/* In the list, and on disk; but nothing there names it. */
static int place(struct qcow2 *q, struct image *source,
		 const struct image_bitmap *from)
{
	const struct image_bitmap_change add = {
		.action = IMAGE_BITMAP_ADD,
		.name = from->name,
		.granularity_bytes = from->granularity_bytes,
		.disabled = !from->enabled,
	};
	struct qcow2_bitmap *b;
	uint64_t bytes;
	int err = qcow2_bitmap_new(q, &add, &b);

	if (err)
		return err;
	err = qcow2_bitmap_merge(q, b, source, from->name);
	if (err == 0)
		err = qcow2_bitmap_write(q, b, &b->table_offset, &bytes,
					 &b->table_entries);
	qcow2_bitmap_drop(q, b);
	if (err) {
		qcow2_bitmap_free(b);
		return err;
	}
	b->placed = true;
	q->bitmaps.all[q->bitmaps.count++] = b;
	return 0;
}

static void take_back(struct qcow2 *q, size_t count)
{
	while (q->bitmaps.count > count) {
		struct qcow2_bitmap *b = q->bitmaps.all[--q->bitmaps.count];

		qcow2_bitmap_give_back(q, b);
		qcow2_bitmap_drop(q, b);
		qcow2_bitmap_free(b);
	}
}

static int copy(struct qcow2 *q, struct image *source,
		const struct image_bitmaps *all)
{
	size_t before = q->bitmaps.count;
	int err = 0;

	for (size_t i = 0; i < all->count && err == 0; i++)
		if (!all->all[i].inconsistent)
			err = place(q, source, &all->all[i]);
	if (err == 0 && q->bitmaps.count > before)
		err = qcow2_bitmaps_store_all(q);
	/* The header may name them although not all is well afterwards. */
	if (err && !q->bitmaps.broken && q->header.bitmap_count == before)
		take_back(q, before);
	return err;
}

int qcow2_bitmap_copy(struct image *image, struct image *source)
{
	struct qcow2 *q = qcow2_of(image);
	struct image_bitmaps all = {0};
	int err;

	if (q->bitmaps.broken)
		return image_set_error(image, IMAGE_E_CORRUPT, "%s",
				       q->bitmaps.broken);
	err = qcow2_settle(q);
	if (err == 0)
		err = image_bitmap_list(source, &all);
	if (err == 0)
		err = copy(q, source, &all);
	image_bitmaps_deinit(&all);
	return err;
}
