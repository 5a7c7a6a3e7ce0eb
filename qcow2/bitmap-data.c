/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bitmap tables and bitmap data. Bit n of a bitmap is bit n % 8 of byte n / 8:
 * a little-endian array of words.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/bitmap.h"
#include "qcow2/bitmap.h"
#include "qcow2/core.h"
#include "qcow2/offline.h"

enum {
	ALIGNMENT = 4096, /* what O_DIRECT may ask of a buffer */
};

uint64_t qcow2_bitmap_granules(const struct qcow2 *q,
			       const struct qcow2_bitmap *b)
{
	return div_round_up(q->image.size_bytes,
			    UINT64_C(1) << b->granularity_bits);
}

uint64_t qcow2_bitmap_bytes(uint64_t size_bytes, unsigned granularity_bits)
{
	return div_round_up(
		div_round_up(size_bytes, UINT64_C(1) << granularity_bits), 8);
}

static uint64_t bytes_needed(const struct qcow2 *q,
			     const struct qcow2_bitmap *b)
{
	return qcow2_bitmap_bytes(q->image.size_bytes, b->granularity_bits);
}

static void *new_cluster(const struct qcow2 *q)
{
	return aligned_alloc(ALIGNMENT,
			     align_up(qcow2_cluster_bytes(q), ALIGNMENT));
}

static bool entry_is_sound(const struct qcow2 *q, uint64_t entry)
{
	uint64_t offset = entry & QCOW2_OFFSET_MASK;

	if (entry & QCOW2_BITMAP_ENTRY_RESERVED)
		return false;
	if (offset == 0)
		return true;
	return !(entry & QCOW2_BITMAP_ALL_ONES) &&
	       qcow2_in_cluster(q, offset) == 0 &&
	       qcow2_cluster_of(q, offset) <
		       div_round_up(q->image.store->size_bytes,
				    qcow2_cluster_bytes(q)) &&
	       !qcow2_overlaps_tables(q, qcow2_cluster_of(q, offset), 1);
}

int qcow2_bitmap_read_table(struct qcow2 *q, const struct qcow2_bitmap *b,
			    uint64_t **ret_table)
{
	uint64_t bytes = b->table_entries * UINT64_C(8);
	uint64_t *table = aligned_alloc(
		ALIGNMENT, align_up(MAX(bytes, UINT64_C(8)), ALIGNMENT));
	int err = table ? 0 : -ENOMEM;

	if (err == 0 && bytes)
		err = store_read(q->image.store, b->table_offset, table, bytes);
	for (uint32_t i = 0; i < b->table_entries && err == 0; i++) {
		table[i] = be64toh(table[i]);
		if (!entry_is_sound(q, table[i]))
			err = qcow2_corrupt(
				q,
				"the table of bitmap \"%s\" has the entry "
				"0x%llx, which cannot be",
				b->name, (unsigned long long)table[i]);
	}
	if (err) {
		free(table);
		return err;
	}
	*ret_table = table;
	return 0;
}

/*
 * One cluster's worth of bits from byte @at of the bitmap: @data, or all ones
 * if that is NULL. At least one byte lies inside the bitmap.
 */
typedef void visit_cluster(void *opaque, uint64_t at, uint64_t bytes,
			   const uint8_t *data);

/* Calls @visit for clusters that are not all zeroes; *@reads limits reading. */
static int visit_data(struct qcow2 *q, const struct qcow2_bitmap *b,
		      uint64_t *reads, visit_cluster *visit, void *opaque)
{
	uint64_t cluster = qcow2_cluster_bytes(q);
	uint64_t end = bytes_needed(q, b);
	uint64_t *table = NULL;
	uint8_t *data = new_cluster(q);
	int err = data ? qcow2_bitmap_read_table(q, b, &table) : -ENOMEM;

	for (uint32_t i = 0; i < b->table_entries && err == 0; i++) {
		uint64_t at = i * cluster;
		uint64_t bytes = at < end ? MIN(cluster, end - at) : 0;
		uint64_t offset = table[i] & QCOW2_OFFSET_MASK;

		if (bytes == 0 || table[i] == 0)
			continue;
		if (offset && (*reads)-- == 0)
			err = qcow2_corrupt(q, "bitmap \"%s\" shares clusters",
					    b->name);
		else if (offset)
			err = store_read(q->image.store, offset, data, cluster);
		if (err == 0)
			visit(opaque, at, bytes, offset ? data : NULL);
	}
	free(table);
	free(data);
	return err;
}

/* More reads than the file has clusters means that some are shared. */
static uint64_t all_reads(const struct qcow2 *q)
{
	return q->image.store->size_bytes / qcow2_cluster_bytes(q) + 1;
}

static int check_usable(struct qcow2 *q, const struct qcow2_bitmap *b)
{
	if (b->unknown)
		return image_set_error(&q->image, IMAGE_E_UNSUPPORTED,
				       "bitmap \"%s\" uses something that is "
				       "not known here",
				       b->name);
	if (b->inconsistent)
		return image_set_error(
			&q->image, -EINVAL,
			"bitmap \"%s\" is inconsistent (it was "
			"not stored by who used it last): it can "
			"only be removed",
			b->name);
	return 0;
}

static void take_cluster(void *opaque, uint64_t at, uint64_t bytes,
			 const uint8_t *data)
{
	uint64_t *words = (uint64_t *)opaque + at / 8;

	if (!data) {
		bitmap_set_range(words, 0, bytes * 8);
		return;
	}
	for (uint64_t i = 0; i * 8 < bytes; i++)
		words[i] = get_le64(data + i * 8);
}

int qcow2_bitmap_reserve(struct qcow2 *q, struct qcow2_bitmap *b,
			 uint64_t size_bytes)
{
	uint64_t bytes = align_up(
		MAX(qcow2_bitmap_bytes(size_bytes, b->granularity_bits),
		    UINT64_C(1)),
		8);
	uint64_t *bits;

	if (b->bits && bytes <= b->bytes_held)
		return 0;
	if (bytes > QCOW2_MAX_BITMAP_MEMORY ||
	    q->bitmaps.memory - b->bytes_held > QCOW2_MAX_BITMAP_MEMORY - bytes)
		return image_set_error(&q->image, -ENOMEM,
				       "bitmap \"%s\" is too large: of all "
				       "bitmaps together %d MiB are held in "
				       "memory at most",
				       b->name, QCOW2_MAX_BITMAP_MEMORY >> 20);
	bits = calloc(1, bytes);
	if (!bits)
		return -ENOMEM;
	if (b->bits)
		memcpy(bits, b->bits, b->bytes_held);
	free(b->bits);
	q->bitmaps.memory += bytes - b->bytes_held;
	b->bits = bits;
	b->bytes_held = bytes;
	return 0;
}

void qcow2_bitmap_drop(struct qcow2 *q, struct qcow2_bitmap *b)
{
	q->bitmaps.memory -= b->bytes_held;
	free(b->bits);
	b->bits = NULL;
	b->bytes_held = 0;
	b->changed = false;
}

/* What is in memory only because somebody looked at it makes room. */
static void drop_idle(struct qcow2 *q)
{
	for (size_t i = 0; i < q->bitmaps.count; i++) {
		struct qcow2_bitmap *b = q->bitmaps.all[i];

		if (b->bits && !b->changed && !(b->flags & QCOW2_BITMAP_AUTO))
			qcow2_bitmap_drop(q, b);
	}
}

int qcow2_bitmap_load(struct qcow2 *q, struct qcow2_bitmap *b)
{
	uint64_t reads = all_reads(q);
	uint64_t granules;
	int err = check_usable(q, b);

	if (err || b->bits)
		return err;
	err = qcow2_bitmap_reserve(q, b, q->image.size_bytes);
	if (err == -ENOMEM) {
		drop_idle(q);
		err = qcow2_bitmap_reserve(q, b, q->image.size_bytes);
	}
	if (err)
		return err;
	err = visit_data(q, b, &reads, take_cluster, b->bits);
	if (err == 0) {
		granules = qcow2_bitmap_granules(q, b);
		bitmap_clear_range(b->bits, granules,
				   b->bytes_held * 8 - granules);
		return 0;
	}
	qcow2_bitmap_drop(q, b);
	if (err == IMAGE_E_CORRUPT)
		b->inconsistent = true;
	return err;
}

struct counter {
	uint64_t granules;
	uint64_t count;
};

static void count_cluster(void *opaque, uint64_t at, uint64_t bytes,
			  const uint8_t *data)
{
	struct counter *c = opaque;
	uint64_t bits = MIN(bytes * 8, c->granules - at * 8);

	if (!data) {
		c->count += bits;
		return;
	}
	for (uint64_t i = 0; i < bits; i += 64) {
		uint64_t word = get_le64(data + i / 8);

		c->count += bitmap_count(&word, MIN(bits - i, UINT64_C(64)));
	}
}

int qcow2_bitmap_count(struct qcow2 *q, struct qcow2_bitmap *b, uint64_t *reads,
		       uint64_t *ret_count)
{
	struct counter c = {.granules = qcow2_bitmap_granules(q, b)};
	int err = check_usable(q, b);

	if (err == 0 && b->bits)
		c.count = bitmap_count(b->bits, c.granules);
	else if (err == 0)
		err = visit_data(q, b, reads, count_cluster, &c);
	if (err == IMAGE_E_CORRUPT)
		b->inconsistent = true;
	if (err == 0)
		*ret_count = c.count;
	return err;
}

/* --- Writing --------------------------------------------------------------- */

struct writer {
	struct qcow2 *q;
	const struct qcow2_bitmap *b;
	uint64_t end; /* of the bits, in bytes */
	uint64_t granules;
	uint64_t *table;
	uint32_t entries;
	uint64_t table_bytes; /* in whole clusters */
};

/* The entry of cluster @i, or one with an offset if it has to be written. */
static uint64_t entry_for(const struct writer *w, uint32_t i)
{
	uint64_t bits = qcow2_cluster_bytes(w->q) * 8;
	uint64_t first = i * bits;
	uint64_t end = MIN(first + bits, w->granules);

	if (bitmap_next_set(w->b->bits, end, first) == end)
		return 0;
	if (end == first + bits &&
	    bitmap_next_clear(w->b->bits, end, first) == end)
		return QCOW2_BITMAP_ALL_ONES;
	return UINT64_MAX;
}

static uint64_t plan_table(struct writer *w)
{
	uint64_t count = 0;

	for (uint32_t i = 0; i < w->entries; i++) {
		w->table[i] = entry_for(w, i);
		count += w->table[i] == UINT64_MAX;
	}
	return count;
}

/* Bits past the image's end are zero on disk. */
static void put_cluster(const struct writer *w, uint32_t i, uint8_t *data)
{
	uint64_t cluster = qcow2_cluster_bytes(w->q);
	uint64_t first = i * cluster * 8;

	memset(data, 0, cluster);
	for (uint64_t bit = 0; bit < cluster * 8; bit += 64) {
		uint64_t at = first + bit;
		uint64_t word;

		if (at >= w->granules)
			break;
		word = w->b->bits[at / 64];
		if (w->granules - at < 64)
			word &= (UINT64_C(1) << (w->granules - at)) - 1;
		put_le64(data + bit / 8, word);
	}
}

static int write_row(struct writer *w, uint64_t offset)
{
	struct store *store = w->q->image.store;
	uint64_t cluster = qcow2_cluster_bytes(w->q);
	uint64_t at = offset + w->table_bytes;
	uint8_t *data = new_cluster(w->q);
	int err = data ? 0 : -ENOMEM;

	for (uint32_t i = 0; i < w->entries && err == 0; i++) {
		if (w->table[i] == UINT64_MAX) {
			put_cluster(w, i, data);
			err = store_write(store, at, data, cluster);
			w->table[i] = at;
			at += cluster;
		}
		w->table[i] = htobe64(w->table[i]);
	}
	if (err == 0)
		err = store_write(store, offset, w->table, w->table_bytes);
	free(data);
	return err;
}

int qcow2_bitmap_write(struct qcow2 *q, const struct qcow2_bitmap *b,
		       uint64_t *ret_offset, uint64_t *ret_bytes,
		       uint32_t *ret_entries)
{
	uint64_t cluster = qcow2_cluster_bytes(q);
	struct writer w = {
		.q = q,
		.b = b,
		.end = bytes_needed(q, b),
		.granules = qcow2_bitmap_granules(q, b),
	};
	uint64_t bytes, offset;
	int err;

	w.entries = div_round_up(w.end, cluster);
	w.table_bytes =
		align_up(MAX(w.entries, UINT32_C(1)) * UINT64_C(8), cluster);
	w.table = aligned_alloc(ALIGNMENT, align_up(w.table_bytes, ALIGNMENT));
	if (!w.table)
		return -ENOMEM;
	memset(w.table, 0, w.table_bytes);
	bytes = w.table_bytes + plan_table(&w) * cluster;
	err = qcow2_offline_take(q, bytes, &offset);
	if (err == 0) {
		err = write_row(&w, offset);
		if (err)
			(void)qcow2_offline_give_back(q, offset, bytes);
	}
	free(w.table);
	if (err)
		return err;
	*ret_offset = offset;
	*ret_bytes = bytes;
	*ret_entries = w.entries;
	return 0;
}
