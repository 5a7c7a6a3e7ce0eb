/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The snapshot table and the bitmap directory without what is broken in them,
 * in new room that is counted already: when they are stable there, one write of
 * the header makes both count. What they left out, and where they were, leaks
 * until the refcounts fall.
 */
#include <errno.h>
#include <stdlib.h>

#include "qcow2/check.h"
#include "qcow2/header-write.h"
#include "qcow2/snapshot-table.h"

/* One entry as it has to be, at @to, where there are item->new_bytes. */
typedef int put_item(struct qcow2_check *c, const struct qcow2_item *item,
		     uint8_t *to);

#define FIELD(entry, bits, name) \
	get_be##bits((entry) + offsetof(struct qcow2_wire_snapshot, name))

static uint64_t list_bytes(const struct qcow2_list *list)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < list->count && list->changes; i++)
		bytes += align_up(list->items[i].new_bytes, 8);
	return bytes;
}

static uint64_t list_clusters(const struct qcow2_check *c,
			      const struct qcow2_list *list)
{
	return div_round_up(list_bytes(list), qcow2_cluster_bytes(c->q));
}

uint64_t qcow2_lists_clusters(const struct qcow2_check *c)
{
	return list_clusters(c, &c->snapshots) + list_clusters(c, &c->bitmaps);
}

int qcow2_lists_place(struct qcow2_check *c, uint64_t *first)
{
	uint64_t count = qcow2_lists_clusters(c);
	enum qcow2_use before;
	int err = 0;

	for (uint64_t i = 0; i < count && err == 0; i++)
		err = qcow2_refs_add(&c->refs, *first + i, 1,
				     QCOW2_USE_SNAPSHOTS, &before);
	*first += count;
	return err;
}

/*
 * The entry at @item with as much extra data as there may be, at @entry, where
 * there is room for any such.
 */
static int read_snapshot(struct qcow2_check *c, const struct qcow2_item *item,
			 uint8_t *entry, uint32_t *ret_extra)
{
	const size_t fixed = sizeof(struct qcow2_wire_snapshot);
	uint32_t extra, kept;
	int err = store_read(c->store, item->at, entry, fixed);

	if (err)
		return err;
	extra = FIELD(entry, 32, extra_bytes);
	kept = MIN(extra, (uint32_t)QCOW2_MAX_SNAPSHOT_EXTRA);
	err = store_read(c->store, item->at + fixed, entry + fixed, kept);
	if (err == 0)
		err = store_read(c->store, item->at + fixed + extra,
				 entry + fixed + kept,
				 FIELD(entry, 16, id_bytes) +
					 FIELD(entry, 16, name_bytes));
	put_be32(entry + offsetof(struct qcow2_wire_snapshot, extra_bytes),
		 kept);
	*ret_extra = kept;
	return err;
}

static int put_snapshot(struct qcow2_check *c, const struct qcow2_item *item,
			uint8_t *to)
{
	const size_t fixed = sizeof(struct qcow2_wire_snapshot);
	uint8_t *entry = malloc(fixed + QCOW2_MAX_SNAPSHOT_EXTRA +
				2 * (size_t)UINT16_MAX);
	struct qcow2_snapshot s;
	uint32_t extra;
	int err = entry ? read_snapshot(c, item, entry, &extra) : -ENOMEM;

	if (err == 0) {
		qcow2_snapshot_parse(c->q, entry, extra, &s);
		if (s.size_bytes > INT64_MAX)
			put_be64(entry + fixed + 8, c->q->header.size_bytes);
		if (item->new_bytes > item->bytes)
			qcow2_snapshot_put(to, &s);
		else
			memcpy(to, entry, item->new_bytes);
	}
	free(entry);
	return err;
}

static int put_bitmap(struct qcow2_check *c, const struct qcow2_item *item,
		      uint8_t *to)
{
	return store_read(c->store, item->at, to, item->bytes);
}

/* At cluster *@first, which moves on; *@ret_count entries are left. */
static int write_list(struct qcow2_check *c, const struct qcow2_list *list,
		      put_item *put, uint64_t *first, uint32_t *ret_count)
{
	uint64_t clusters = list_clusters(c, list);
	uint64_t bytes = clusters << c->q->cluster_bits, at = 0;
	uint8_t *all = calloc(1, bytes + 1);
	uint32_t count = 0;
	int err = all ? 0 : -ENOMEM;

	for (uint32_t i = 0; i < list->count && err == 0; i++) {
		const struct qcow2_item *item = &list->items[i];

		if (item->dropped)
			continue;
		err = put(c, item, all + at);
		at += align_up(item->new_bytes, 8);
		count++;
	}
	if (err == 0 && bytes)
		err = store_write(c->store, *first << c->q->cluster_bits, all,
				  bytes);
	free(all);
	*first += clusters;
	*ret_count = count;
	return err;
}

static int write_snapshots(struct qcow2_check *c, uint64_t *first)
{
	struct qcow2_header *h = &c->q->header;
	uint64_t offset = *first << c->q->cluster_bits;
	uint32_t count;
	int err = write_list(c, &c->snapshots, put_snapshot, first, &count);

	if (err)
		return err;
	h->snapshots_offset = count ? offset : 0;
	h->snapshot_count = count;
	return 0;
}

static int write_bitmaps(struct qcow2_check *c, uint64_t *first)
{
	struct qcow2_header *h = &c->q->header;
	uint64_t offset = *first << c->q->cluster_bits;
	uint32_t count;
	int err = write_list(c, &c->bitmaps, put_bitmap, first, &count);

	if (err)
		return err;
	h->bitmap_directory_offset = count ? offset : 0;
	h->bitmap_directory_bytes = list_bytes(&c->bitmaps);
	h->bitmap_count = count;
	if (count == 0)
		h->autoclear &= ~QCOW2_AUTOCLEAR_BITMAPS;
	return 0;
}

static void tell(struct qcow2_check *c, const struct qcow2_list *list,
		 const char *what)
{
	for (uint32_t i = 0; i < list->count; i++)
		if (list->items[i].wrong)
			qcow2_check_corrupt(c, 1, true, "%s entry %u %s", what,
					    i, list->items[i].wrong);
}

int qcow2_lists_write(struct qcow2_check *c, uint64_t first)
{
	struct qcow2_header before = c->q->header;
	int err = 0;

	if (c->snapshots.changes)
		err = write_snapshots(c, &first);
	if (err == 0 && c->bitmaps.changes)
		err = write_bitmaps(c, &first);
	if (err) {
		c->q->header = before;
		return err;
	}
	/* Makes stable what was written before it writes the header. */
	err = qcow2_header_replace(c->q, &before, NULL);
	if (err == 0) {
		tell(c, &c->snapshots, "snapshot table");
		tell(c, &c->bitmaps, "bitmap directory");
	}
	return err;
}
