/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "Bitmaps": the directory, the tables that it names and the clusters that
 * these name. Only looked at while the autoclear bit vouches for them; else
 * they are nobody's, and leak.
 *
 * A directory that cannot be taken apart is broken as a whole. A bitmap whose
 * table cannot be, or which shares a cluster with anything, is broken by
 * itself: what its bits are nobody knows, and of two that share one, both.
 */
#include <errno.h>
#include <stdlib.h>

#include "qcow2/check.h"

enum {
	TABLE_PIECE = 512 << 10,
};

#define FIELD(entry, bits, name) \
	get_be##bits((entry) + offsetof(struct qcow2_wire_bitmap, name))

/* --- The directory --------------------------------------------------------- */

static int broken(struct qcow2_check *c, const char *what)
{
	c->bitmaps_broken = true;
	c->incomplete |= !c->drops;
	qcow2_check_corrupt(c, 1, false, "the bitmap directory %s", what);
	return 0;
}

static const uint8_t *entry_of(const struct qcow2_check *c,
			       const uint8_t *directory,
			       const struct qcow2_item *item)
{
	return directory + (item->at - c->q->header.bitmap_directory_offset);
}

struct name {
	const uint8_t *bytes;
	size_t length;
};

static int compare_names(const void *a, const void *b)
{
	const struct name *x = a, *y = b;
	int order = memcmp(x->bytes, y->bytes, MIN(x->length, y->length));

	return order ? order
		     : (x->length > y->length) - (x->length < y->length);
}

static int check_names(struct qcow2_check *c, const uint8_t *directory)
{
	uint32_t count = c->bitmaps.count;
	struct name *names = calloc((size_t)count + 1, sizeof(*names));
	const char *wrong = NULL;

	if (!names)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *entry =
			entry_of(c, directory, &c->bitmaps.items[i]);

		names[i].bytes = entry + sizeof(struct qcow2_wire_bitmap) +
				 FIELD(entry, 32, extra_bytes);
		names[i].length = FIELD(entry, 16, name_bytes);
		if (names[i].length == 0 ||
		    names[i].length > QCOW2_MAX_BITMAP_NAME ||
		    memchr(names[i].bytes, 0, names[i].length))
			wrong = "has a name that cannot be";
	}
	qsort(names, count, sizeof(*names), compare_names);
	for (uint32_t i = 1; i < count && !wrong; i++)
		if (compare_names(&names[i - 1], &names[i]) == 0)
			wrong = "has one name twice";
	free(names);
	return wrong ? broken(c, wrong) : 0;
}

static int split(struct qcow2_check *c, const uint8_t *directory)
{
	const struct qcow2_header *h = &c->q->header;
	uint64_t left = h->bitmap_directory_bytes, at = 0;

	while (c->bitmaps.count < h->bitmap_count) {
		const uint8_t *entry = directory + at;
		uint64_t bytes = sizeof(struct qcow2_wire_bitmap);

		if (left < bytes)
			return broken(c, "is cut off");
		bytes += (uint64_t)FIELD(entry, 16, name_bytes) +
			 FIELD(entry, 32, extra_bytes);
		if (align_up(bytes, 8) > left)
			return broken(c, "is cut off");
		c->bitmaps.items[c->bitmaps.count++] = (struct qcow2_item){
			.at = h->bitmap_directory_offset + at,
			.bytes = bytes,
			.new_bytes = bytes,
		};
		at += align_up(bytes, 8);
		left -= align_up(bytes, 8);
	}
	if (left)
		return broken(c, "is longer than its bitmaps");
	return check_names(c, directory);
}

/* --- One bitmap ------------------------------------------------------------ */

/* A walk over what one refers to: to count it, or to see whether it can be. */
struct visit {
	struct qcow2_check *c;
	uint32_t index;		   /* of the bitmap */
	struct qcow2_refs *owners; /* of clusters: bitmaps, from 1; or NULL */
};

static void blame(struct qcow2_check *c, uint32_t index, const char *what)
{
	struct qcow2_item *item = &c->bitmaps.items[index];

	if (!c->drops) {
		c->incomplete = true;
		qcow2_check_corrupt(c, 1, false, "bitmap directory entry %u %s",
				    index, what);
		return;
	}
	item->wrong = what;
	item->dropped = true;
	item->new_bytes = 0;
	c->bitmaps.changes = true;
}

/* Bits that can be told to be too few for the disk. */
static bool is_too_short(const struct qcow2_check *c, const uint8_t *entry)
{
	uint32_t flags = FIELD(entry, 32, flags);
	unsigned granularity =
		entry[offsetof(struct qcow2_wire_bitmap, granularity_bits)];
	uint64_t clusters = FIELD(entry, 32, table_entries);

	if ((flags & (QCOW2_BITMAP_IN_USE | QCOW2_BITMAP_FLAGS_RESERVED)) ||
	    entry[offsetof(struct qcow2_wire_bitmap, type)] !=
		    QCOW2_BITMAP_DIRTY_TRACKING ||
	    granularity < QCOW2_MIN_BITMAP_GRANULARITY_BITS ||
	    granularity > QCOW2_MAX_BITMAP_GRANULARITY_BITS)
		return false;
	return clusters <
	       div_round_up(
		       qcow2_bitmap_bytes(c->q->header.size_bytes, granularity),
		       qcow2_cluster_bytes(c->q));
}

static const char *judge(const struct qcow2_check *c, const uint8_t *entry)
{
	uint64_t offset = FIELD(entry, 64, table_offset);
	uint32_t entries = FIELD(entry, 32, table_entries);

	if (offset == 0 || qcow2_in_cluster(c->q, offset))
		return "has a table that is not aligned to a cluster";
	if (entries == 0 ||
	    entries > (uint32_t)QCOW2_MAX_BITMAP_BYTES >> c->q->cluster_bits)
		return "has a table of a length that cannot be";
	if (!qcow2_check_in_file(c, offset, entries * UINT64_C(8)))
		return "has a table that is not in the file";
	return is_too_short(c, entry) ? "is too short for the disk" : NULL;
}

/* Of a bitmap that may be dropped: these clusters are its own. */
static int claim(struct visit *v, uint64_t offset, uint64_t bytes,
		 enum qcow2_use use, bool *ret_conflict)
{
	uint64_t first = qcow2_cluster_of(v->c->q, offset);
	uint64_t last = qcow2_cluster_of(v->c->q, offset + bytes - 1);
	int err = 0;

	for (uint64_t i = first; i <= last && err == 0; i++) {
		uint32_t owner = qcow2_refs_count(v->owners, i);
		enum qcow2_use before;

		if (qcow2_refs_use(&v->c->refs, i) != QCOW2_USE_NONE)
			*ret_conflict = true;
		if (owner == 0) {
			err = qcow2_refs_add(v->owners, i, v->index + 1, use,
					     &before);
			continue;
		}
		*ret_conflict = true;
		blame(v->c, owner - 1, "shares a cluster with another one");
	}
	return err;
}

static int use(struct visit *v, uint64_t offset, uint64_t bytes,
	       enum qcow2_use use, bool *ret_good)
{
	bool conflict = false;
	int err;

	if (v->owners)
		err = claim(v, offset, bytes, use, &conflict);
	else
		err = qcow2_check_use(v->c, offset, bytes, 1, use, &conflict);
	if (conflict && v->owners) {
		blame(v->c, v->index, "overlaps with something else");
	} else if (conflict) {
		v->c->incomplete = true;
		qcow2_check_say(v->c, false,
				"ERROR bitmap directory entry %u: %s at %llu "
				"overlaps with something else",
				v->index, qcow2_use_name(use),
				(unsigned long long)offset);
		qcow2_check_note_overlap(v->c, offset, bytes);
	}
	*ret_good = err == 0 && !conflict;
	return err;
}

static int visit_entry(struct visit *v, uint64_t entry)
{
	uint64_t offset = entry & QCOW2_OFFSET_MASK;
	uint64_t cluster = qcow2_cluster_bytes(v->c->q);
	bool good;

	if (entry == 0)
		return 0;
	if ((entry & QCOW2_BITMAP_ENTRY_RESERVED) ||
	    (offset && (entry & QCOW2_BITMAP_ALL_ONES)) ||
	    !is_aligned(offset, cluster)) {
		blame(v->c, v->index, "has an entry in its table that is none");
		return 0;
	}
	if (offset == 0)
		return 0;
	if (!qcow2_check_in_file(v->c, offset, cluster)) {
		blame(v->c, v->index, "has bits that are not in the file");
		return 0;
	}
	return use(v, offset, cluster, QCOW2_USE_BITMAP, &good);
}

static int visit_table(struct visit *v, uint64_t offset, uint64_t bytes)
{
	uint8_t *piece = malloc(TABLE_PIECE);
	int err = piece ? 0 : -ENOMEM;

	while (bytes && err == 0) {
		uint64_t length = MIN(bytes, (uint64_t)TABLE_PIECE);
		bool hole = qcow2_check_is_hole(v->c, offset, length);

		if (!hole)
			err = qcow2_check_read(v->c, offset, piece, length);
		for (uint64_t at = 0; at < length && err == 0 && !hole; at += 8)
			err = visit_entry(v, get_be64(piece + at));
		offset += length;
		bytes -= length;
	}
	free(piece);
	return err == -EIO ? 0 : err;
}

static int visit_bitmap(struct visit *v, const uint8_t *entry)
{
	uint64_t offset = FIELD(entry, 64, table_offset);
	uint64_t bytes = FIELD(entry, 32, table_entries) * UINT64_C(8);
	const char *wrong = judge(v->c, entry);
	bool good;
	int err;

	if (wrong) {
		blame(v->c, v->index, wrong);
		return 0;
	}
	err = use(v, offset, bytes, QCOW2_USE_BITMAP_TABLE, &good);
	return err || !good ? err : visit_table(v, offset, bytes);
}

/* Those that are not dropped; with @owners, only to find out who is. */
static int visit_all(struct qcow2_check *c, const uint8_t *directory,
		     struct qcow2_refs *owners)
{
	int err = 0;

	for (uint32_t i = 0; i < c->bitmaps.count && err == 0; i++) {
		struct qcow2_item *item = &c->bitmaps.items[i];
		struct visit v = {.c = c, .index = i, .owners = owners};

		if (!item->dropped)
			err = visit_bitmap(&v, entry_of(c, directory, item));
	}
	return err;
}

static int find_dropped(struct qcow2_check *c, const uint8_t *directory)
{
	struct qcow2_refs owners;
	int err;

	qcow2_refs_init(&owners);
	err = visit_all(c, directory, &owners);
	qcow2_refs_deinit(&owners);
	return err;
}

static int check_directory(struct qcow2_check *c, const uint8_t *directory)
{
	int err = split(c, directory);

	if (err || c->bitmaps_broken)
		return err;
	if (c->drops)
		err = find_dropped(c, directory);
	return err ? err : visit_all(c, directory, NULL);
}

int qcow2_check_bitmaps(struct qcow2_check *c)
{
	const struct qcow2_header *h = &c->q->header;
	uint64_t bytes = h->bitmap_directory_bytes;
	uint64_t offset = h->bitmap_directory_offset;
	uint8_t *directory;
	bool conflict;
	int err;

	if (h->bitmap_count == 0 || !(h->autoclear & QCOW2_AUTOCLEAR_BITMAPS))
		return 0;
	if (offset == 0 || !qcow2_check_in_file(c, offset, bytes))
		return broken(c, "is not in the file");
	err = qcow2_check_use(c, offset, bytes, 1, QCOW2_USE_BITMAP_DIRECTORY,
			      &conflict);
	if (err)
		return err;
	if (conflict)
		return broken(c, "overlaps with something else");
	directory = malloc(bytes);
	err = directory ? qcow2_list_reserve(&c->bitmaps, h->bitmap_count)
			: -ENOMEM;
	if (err == 0)
		err = qcow2_check_read(c, offset, directory, bytes);
	if (err == 0)
		err = check_directory(c, directory);
	free(directory);
	return err == -EIO ? 0 : err;
}
