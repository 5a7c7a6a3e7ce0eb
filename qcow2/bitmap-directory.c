/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bitmap directory: taken apart and put together. What cannot be walked,
 * or names two bitmaps the same, is broken as a whole; an entry that is merely
 * strange makes its own bitmap unusable, and is kept as it is.
 */
#include <errno.h>
#include <stdlib.h>

#include "qcow2/bitmap.h"
#include "qcow2/core.h"

#define FIELD(entry, bits, name) \
	get_be##bits((entry) + offsetof(struct qcow2_wire_bitmap, name))
#define PUT(entry, bits, name, value) \
	put_be##bits((entry) + offsetof(struct qcow2_wire_bitmap, name), value)

/* The flags are the lower half of the entry's second word. */
static uint32_t flags_word(const struct qcow2_bitmap *b)
{
	static_assert(offsetof(struct qcow2_wire_bitmap, flags) == 12, "");
	return b->directory_at / 8 + 1;
}

uint32_t qcow2_bitmap_flags(const struct qcow2 *q, const struct qcow2_bitmap *b)
{
	return (uint32_t)qcow2_memtable_get(&q->bitmaps.directory,
					    flags_word(b));
}

void qcow2_bitmap_mark(struct qcow2 *q, const struct qcow2_bitmap *b)
{
	struct qcow2_memtable *directory = &q->bitmaps.directory;
	uint32_t word = flags_word(b);

	qcow2_memtable_set(directory, word,
			   qcow2_memtable_get(directory, word) |
				   QCOW2_BITMAP_IN_USE);
}

void qcow2_bitmap_free(struct qcow2_bitmap *bitmap)
{
	if (!bitmap)
		return;
	free(bitmap->name);
	free(bitmap->extra);
	free(bitmap->bits);
	free(bitmap);
}

static int broken(struct qcow2 *q, const char *why)
{
	return image_set_error(&q->image, IMAGE_E_CORRUPT,
			       "the bitmap directory cannot be used: %s", why);
}

/* Whether the table lies where one can. */
static bool is_placed(const struct qcow2 *q, const struct qcow2_bitmap *b)
{
	uint64_t cluster = qcow2_cluster_bytes(q);
	uint64_t file = q->image.store->size_bytes;
	uint64_t bytes = b->table_entries * UINT64_C(8);

	return b->table_offset != 0 && is_aligned(b->table_offset, cluster) &&
	       b->table_entries <= (uint32_t)QCOW2_MAX_BITMAP_BYTES >>
		       q->cluster_bits &&
	       file <= UINT64_MAX - cluster &&
	       range_fits(b->table_offset, bytes, align_up(file, cluster)) &&
	       !qcow2_overlaps_tables(q, qcow2_cluster_of(q, b->table_offset),
				      div_round_up(bytes, cluster));
}

static void judge(const struct qcow2 *q, struct qcow2_bitmap *b)
{
	uint64_t bytes;

	b->placed = is_placed(q, b);
	b->unknown =
		b->type != QCOW2_BITMAP_DIRTY_TRACKING ||
		(b->flags & QCOW2_BITMAP_FLAGS_RESERVED) ||
		b->granularity_bits < QCOW2_MIN_BITMAP_GRANULARITY_BITS ||
		b->granularity_bits > QCOW2_MAX_BITMAP_GRANULARITY_BITS ||
		(b->extra_bytes && !(b->flags & QCOW2_BITMAP_EXTRA_COMPATIBLE));
	if (b->unknown)
		return;
	bytes = qcow2_bitmap_bytes(q->image.size_bytes, b->granularity_bits);
	if (!b->placed ||
	    b->table_entries != div_round_up(bytes, qcow2_cluster_bytes(q)))
		b->inconsistent = true;
}

static int copy_strings(struct qcow2_bitmap *b, const uint8_t *extra,
			const char *name, size_t name_bytes)
{
	b->name = strndup(name, name_bytes);
	if (b->extra_bytes) {
		b->extra = malloc(b->extra_bytes);
		if (b->extra)
			memcpy(b->extra, extra, b->extra_bytes);
	}
	return b->name && (b->extra || !b->extra_bytes) ? 0 : -ENOMEM;
}

static int parse_entry(struct qcow2 *q, uint64_t *at)
{
	struct qcow2_bitmaps *all = &q->bitmaps;
	uint64_t left = q->header.bitmap_directory_bytes - *at;
	const uint8_t *entry = all->directory.data + *at;
	const size_t fixed = sizeof(struct qcow2_wire_bitmap);
	struct qcow2_bitmap *b;
	uint64_t name_bytes, bytes;
	int err;

	if (left < fixed)
		return broken(q, "it is cut off");
	name_bytes = FIELD(entry, 16, name_bytes);
	bytes = align_up(fixed + FIELD(entry, 32, extra_bytes) + name_bytes, 8);
	if (bytes > left)
		return broken(q, "it is cut off");
	if (name_bytes == 0 || name_bytes > QCOW2_MAX_BITMAP_NAME)
		return broken(q, "the length of a name is out of range");
	b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	all->all[all->count++] = b;
	b->table_offset = FIELD(entry, 64, table_offset);
	b->table_entries = FIELD(entry, 32, table_entries);
	b->flags = FIELD(entry, 32, flags) & ~QCOW2_BITMAP_IN_USE;
	b->inconsistent = FIELD(entry, 32, flags) & QCOW2_BITMAP_IN_USE;
	b->type = entry[offsetof(struct qcow2_wire_bitmap, type)];
	b->granularity_bits =
		entry[offsetof(struct qcow2_wire_bitmap, granularity_bits)];
	b->extra_bytes = FIELD(entry, 32, extra_bytes);
	b->directory_at = (uint32_t)*at;
	err = copy_strings(b, entry + fixed,
			   (const char *)entry + fixed + b->extra_bytes,
			   name_bytes);
	if (err)
		return err;
	if (strlen(b->name) != name_bytes)
		return broken(q, "a name holds a zero byte");
	judge(q, b);
	*at += bytes;
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	const struct qcow2_bitmap *const *left = a, *const *right = b;

	return strcmp((*left)->name, (*right)->name);
}

static int check_names(struct qcow2 *q)
{
	const struct qcow2_bitmaps *all = &q->bitmaps;
	struct qcow2_bitmap **sorted =
		malloc((all->count + 1) * sizeof(void *));
	int err = 0;

	if (!sorted)
		return -ENOMEM;
	memcpy(sorted, all->all, all->count * sizeof(void *));
	qsort(sorted, all->count, sizeof(void *), compare_names);
	for (size_t i = 1; i < all->count && err == 0; i++)
		if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0)
			err = broken(q, "two bitmaps have the same name");
	free(sorted);
	return err;
}

/* What all tables hold together is bounded by the file, as they share nothing. */
static int check_tables(struct qcow2 *q)
{
	uint64_t left = q->image.store->size_bytes / 8 +
			q->bitmaps.count * qcow2_cluster_bytes(q) / 8;

	for (size_t i = 0; i < q->bitmaps.count; i++) {
		const struct qcow2_bitmap *b = q->bitmaps.all[i];

		if (!b->placed)
			continue;
		if (b->table_entries > left)
			return broken(q, "tables of bitmaps overlap");
		left -= b->table_entries;
	}
	return 0;
}

int qcow2_bitmaps_parse(struct qcow2 *q)
{
	struct qcow2_bitmaps *all = &q->bitmaps;
	uint64_t at = 0;
	int err = 0;

	all->all = calloc(q->header.bitmap_count + 1, sizeof(*all->all));
	if (!all->all)
		return -ENOMEM;
	for (uint32_t i = 0; i < q->header.bitmap_count && err == 0; i++)
		err = parse_entry(q, &at);
	if (err == 0 && at != q->header.bitmap_directory_bytes)
		err = broken(q, "it is longer than its bitmaps");
	if (err == 0)
		err = check_names(q);
	return err ? err : check_tables(q);
}

static uint64_t entry_bytes(const struct qcow2_bitmap *b)
{
	return align_up(sizeof(struct qcow2_wire_bitmap) + b->extra_bytes +
				strlen(b->name),
			8);
}

uint64_t qcow2_bitmaps_directory_bytes(const struct qcow2 *q)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < q->bitmaps.count; i++)
		bytes += entry_bytes(q->bitmaps.all[i]);
	return bytes;
}

static void build_entry(const struct qcow2_bitmap *b, uint8_t *entry)
{
	uint8_t *extra = entry + sizeof(struct qcow2_wire_bitmap);

	PUT(entry, 64, table_offset, b->table_offset);
	PUT(entry, 32, table_entries, b->table_entries);
	PUT(entry, 32, flags,
	    b->flags | (b->inconsistent ? QCOW2_BITMAP_IN_USE : 0));
	entry[offsetof(struct qcow2_wire_bitmap, type)] = b->type;
	entry[offsetof(struct qcow2_wire_bitmap, granularity_bits)] =
		b->granularity_bits;
	PUT(entry, 16, name_bytes, strlen(b->name));
	PUT(entry, 32, extra_bytes, b->extra_bytes);
	if (b->extra_bytes)
		memcpy(extra, b->extra, b->extra_bytes);
	memcpy(extra + b->extra_bytes, b->name, strlen(b->name));
}

void qcow2_bitmaps_build(const struct qcow2 *q, uint8_t *directory)
{
	uint64_t at = 0;

	for (size_t i = 0; i < q->bitmaps.count; i++) {
		build_entry(q->bitmaps.all[i], directory + at);
		at += entry_bytes(q->bitmaps.all[i]);
	}
}

void qcow2_bitmaps_adopt(struct qcow2 *q,
			 const struct qcow2_memtable *directory)
{
	uint64_t at = 0;

	qcow2_memtable_deinit(&q->bitmaps.directory);
	q->bitmaps.directory = *directory;
	for (size_t i = 0; i < q->bitmaps.count; i++) {
		q->bitmaps.all[i]->directory_at = (uint32_t)at;
		at += entry_bytes(q->bitmaps.all[i]);
	}
}
