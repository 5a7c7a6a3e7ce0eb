/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Storing bitmaps: bits, tables and a directory go to new clusters, which are
 * made stable; then one write of the header makes them count; then the old ones
 * are given back. Before that write all is as it was, marks included.
 */
#include <errno.h>
#include <stdlib.h>

#include "qcow2/bitmap.h"
#include "qcow2/core.h"
#include "qcow2/header-write.h"
#include "qcow2/offline.h"

/* A table and its data, written and not referred to yet. */
struct fresh {
	uint64_t offset;
	uint64_t bytes; /* 0: this bitmap stays where it is */
	uint32_t entries;
};

struct storing {
	struct qcow2 *q;
	struct fresh *fresh;	   /* one for each bitmap */
	struct qcow2_bitmap *olds; /* where those were: tables only */
	struct qcow2_memtable directory;
	uint64_t directory_bytes;
};

/* What cannot be given back leaks: a check finds it. */
void qcow2_bitmap_give_back(struct qcow2 *q, const struct qcow2_bitmap *b)
{
	uint64_t *table;

	if (!b->placed || b->unknown || b->table_entries == 0 ||
	    qcow2_bitmap_read_table(q, b, &table) != 0)
		return;
	for (uint32_t i = 0; i < b->table_entries; i++)
		if (table[i] & QCOW2_OFFSET_MASK)
			(void)qcow2_offline_give_back(
				q, table[i] & QCOW2_OFFSET_MASK,
				qcow2_cluster_bytes(q));
	(void)qcow2_offline_give_back(q, b->table_offset,
				      b->table_entries * UINT64_C(8));
	free(table);
}

static int write_bitmaps(struct storing *s)
{
	int err = 0;

	for (size_t i = 0; i < s->q->bitmaps.count && err == 0; i++) {
		struct qcow2_bitmap *b = s->q->bitmaps.all[i];
		struct fresh *fresh = &s->fresh[i];

		if (b->bits && b->changed && !b->inconsistent)
			err = qcow2_bitmap_write(s->q, b, &fresh->offset,
						 &fresh->bytes,
						 &fresh->entries);
	}
	return err;
}

/* The bitmaps in memory name their new places; or their old ones again. */
static void exchange_places(struct storing *s, bool back)
{
	for (size_t i = 0; i < s->q->bitmaps.count; i++) {
		struct qcow2_bitmap *b = s->q->bitmaps.all[i];
		const struct fresh *fresh = &s->fresh[i];

		if (fresh->bytes == 0)
			continue;
		if (back) {
			b->table_offset = s->olds[i].table_offset;
			b->table_entries = s->olds[i].table_entries;
			b->placed = s->olds[i].placed;
			continue;
		}
		s->olds[i] = *b;
		b->table_offset = fresh->offset;
		b->table_entries = fresh->entries;
		b->placed = true;
	}
}

static int write_directory(struct storing *s)
{
	struct qcow2 *q = s->q;
	uint32_t slice = UINT32_C(1) << q->slice_bits;
	int err;

	s->directory_bytes = qcow2_bitmaps_directory_bytes(q);
	if (s->directory_bytes > QCOW2_MAX_BITMAP_DIRECTORY_BYTES)
		return image_set_error(&q->image, -ENOSPC,
				       "the bitmap directory has no room left");
	err = qcow2_memtable_init(&s->directory,
				  align_up(s->directory_bytes, slice), slice);
	if (err || s->directory_bytes == 0)
		return err;
	qcow2_bitmaps_build(q, s->directory.data);
	err = qcow2_offline_take(q, s->directory.bytes, &s->directory.offset);
	return err ? err
		   : store_write(q->image.store, s->directory.offset,
				 s->directory.data, s->directory.bytes);
}

static int switch_header(struct storing *s)
{
	struct qcow2 *q = s->q;
	int err;

	q->header.bitmap_count = q->bitmaps.count;
	q->header.bitmap_directory_bytes = s->directory_bytes;
	q->header.bitmap_directory_offset = s->directory.offset;
	if (q->bitmaps.count)
		q->header.autoclear |= QCOW2_AUTOCLEAR_BITMAPS;
	else
		q->header.autoclear &= ~QCOW2_AUTOCLEAR_BITMAPS;
	err = qcow2_header_update(q);
	/*
	 * The file has the old header or the new one: so neither directory can
	 * be marked any more, nor anything given back.
	 */
	if (err)
		qcow2_bitmaps_disown(q, "bitmaps could not be stored");
	return err;
}

static void give_back_fresh(struct storing *s)
{
	for (size_t i = 0; i < s->q->bitmaps.count; i++)
		if (s->fresh[i].bytes)
			(void)qcow2_offline_give_back(s->q, s->fresh[i].offset,
						      s->fresh[i].bytes);
	if (s->directory.offset)
		(void)qcow2_offline_give_back(s->q, s->directory.offset,
					      s->directory.bytes);
}

/* Which old tables go, and the old directory: nothing names them any more. */
static void give_back_old(struct storing *s, uint64_t offset, uint64_t bytes)
{
	for (size_t i = 0; i < s->q->bitmaps.count; i++) {
		struct qcow2_bitmap *b = s->q->bitmaps.all[i];

		if (s->fresh[i].bytes == 0)
			continue;
		qcow2_bitmap_give_back(s->q, &s->olds[i]);
		b->changed = false;
	}
	if (bytes)
		(void)qcow2_offline_give_back(s->q, offset, bytes);
}

static int store(struct storing *s)
{
	struct qcow2 *q = s->q;
	uint64_t old_offset = q->header.bitmap_directory_offset;
	uint64_t old_bytes = q->header.bitmap_directory_bytes;
	int err = write_bitmaps(s);

	exchange_places(s, false);
	if (err == 0)
		err = write_directory(s);
	if (err == 0)
		err = qcow2_offline_stable(q);
	if (err) {
		exchange_places(s, true);
		give_back_fresh(s);
		return err;
	}
	err = switch_header(s);
	if (err)
		return err;
	qcow2_bitmaps_adopt(q, &s->directory);
	s->directory = (struct qcow2_memtable){0};
	give_back_old(s, old_offset, old_bytes);
	qcow2_bitmaps_follow_all(q);
	return qcow2_settle(q);
}

int qcow2_bitmaps_store_all(struct qcow2 *q)
{
	struct storing s = {
		.q = q,
		.fresh = calloc(q->bitmaps.count + 1, sizeof(*s.fresh)),
		.olds = calloc(q->bitmaps.count + 1, sizeof(*s.olds)),
	};
	int err = s.fresh && s.olds ? store(&s) : -ENOMEM;

	qcow2_memtable_deinit(&s.directory);
	free(s.fresh);
	free(s.olds);
	return err;
}

int qcow2_bitmaps_store(struct qcow2 *q)
{
	bool some = false;

	/* Those that stay marked need nothing. */
	for (size_t i = 0; i < q->bitmaps.count && q->bitmaps.marked; i++) {
		const struct qcow2_bitmap *b = q->bitmaps.all[i];

		some = some || (!b->inconsistent && (qcow2_bitmap_flags(q, b) &
						     QCOW2_BITMAP_IN_USE));
	}
	return some ? qcow2_bitmaps_store_all(q) : 0;
}

int qcow2_bitmaps_ranges(struct qcow2 *q,
			 int (*visit)(void *opaque, uint64_t offset,
				      uint64_t bytes),
			 void *opaque)
{
	int err = 0;

	if (q->header.bitmap_directory_bytes)
		err = visit(opaque, q->header.bitmap_directory_offset,
			    q->header.bitmap_directory_bytes);
	for (size_t i = 0; i < q->bitmaps.count && err == 0; i++) {
		const struct qcow2_bitmap *b = q->bitmaps.all[i];
		uint64_t *table;

		if (!b->placed || b->table_entries == 0)
			continue;
		err = visit(opaque, b->table_offset,
			    b->table_entries * UINT64_C(8));
		if (err || qcow2_bitmap_read_table(q, b, &table) != 0)
			continue;
		for (uint32_t e = 0; e < b->table_entries && err == 0; e++)
			if (table[e] & QCOW2_OFFSET_MASK)
				err = visit(opaque,
					    table[e] & QCOW2_OFFSET_MASK,
					    qcow2_cluster_bytes(q));
		free(table);
	}
	return err;
}
