/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A new refcount structure in room that nobody uses: blocks, then the table,
 * and only when these are stable does the header name it. After a crash there
 * is the old one or the new one.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/bitmap.h"
#include "qcow2/check.h"
#include "qcow2/refcount.h"

struct rebuild {
	struct qcow2_check *c;
	uint64_t first;	  /* cluster: the blocks, then the table */
	uint64_t *needed; /* bit per refcount block */
	uint64_t limit;	  /* blocks that the largest table has */
	uint64_t blocks;
	uint64_t entries; /* of the table */
	uint64_t table_clusters;
};

static int need_block(struct rebuild *r, uint64_t cluster)
{
	uint64_t index = cluster >> r->c->q->refblock_bits;

	if (index >= r->limit)
		return -EFBIG;
	if (!bitmap_test(r->needed, index)) {
		bitmap_set(r->needed, index);
		r->blocks++;
	}
	r->entries = MAX(r->entries, index + 1);
	return 0;
}

static int need_used(struct rebuild *r)
{
	struct qcow2_refs *refs = &r->c->refs;
	int err = 0;

	for (size_t i = 0; i < refs->slot_count && err == 0; i++) {
		const struct qcow2_refs_page *page = refs->slots[i];
		uint64_t first;

		if (!page)
			continue;
		first = page->index << QCOW2_REFS_PAGE_BITS;
		for (unsigned k = 0; k < 1u << QCOW2_REFS_PAGE_BITS && err == 0;
		     k++)
			if (page->words[k] & QCOW2_REFS_MAX_COUNT)
				err = need_block(r, first + k);
	}
	return err;
}

/* The structure counts itself, and may need more blocks for that. */
static int need_own(struct rebuild *r)
{
	uint64_t per_cluster = qcow2_cluster_bytes(r->c->q) / 8;
	uint64_t before;
	int err = 0;

	do {
		uint64_t count;

		before = r->blocks;
		r->table_clusters = div_round_up(r->entries, per_cluster);
		count = r->blocks + r->table_clusters;
		for (uint64_t i = 0; i < count && err == 0; i++)
			err = need_block(r, r->first + i);
	} while (err == 0 &&
		 (before != r->blocks ||
		  r->table_clusters != div_round_up(r->entries, per_cluster)));
	return err;
}

static int write_block(struct rebuild *r, uint64_t index, uint64_t place)
{
	struct qcow2_check *c = r->c;
	unsigned order = c->q->header.refcount_order;
	uint64_t most =
		order == 6 ? UINT64_MAX : (UINT64_C(1) << (1u << order)) - 1;
	uint64_t count = UINT64_C(1) << c->q->refblock_bits;
	uint64_t first = index << c->q->refblock_bits;
	uint64_t own = r->blocks + r->table_clusters;

	memset(c->table, 0, qcow2_cluster_bytes(c->q));
	for (uint64_t i = 0; i < count; i++) {
		uint64_t refs = qcow2_refs_count(&c->refs, first + i);

		if (first + i - r->first < own)
			refs = 1;
		if (refs)
			qcow2_refcount_set(c->table, order, i, MIN(refs, most));
	}
	return store_write(c->store, place << c->q->cluster_bits, c->table,
			   qcow2_cluster_bytes(c->q));
}

static int write_structure(struct rebuild *r)
{
	struct qcow2_check *c = r->c;
	uint64_t bytes = r->table_clusters << c->q->cluster_bits;
	uint64_t place = r->first;
	uint8_t *table = calloc(1, bytes);
	int err = table ? 0 : -ENOMEM;

	for (uint64_t i = 0; i < r->entries && err == 0; i++) {
		if (!bitmap_test(r->needed, i))
			continue;
		put_be64(table + i * 8, place << c->q->cluster_bits);
		err = write_block(r, i, place++);
	}
	if (err == 0)
		err = store_write(c->store, place << c->q->cluster_bits, table,
				  bytes);
	if (err == 0)
		err = store_flush(c->store);
	free(table);
	return err;
}

static int switch_header(struct rebuild *r)
{
	struct qcow2_check *c = r->c;
	uint64_t offset = (r->first + r->blocks) << c->q->cluster_bits;
	/* The two fields are neighbours. */
	uint8_t fields[12];
	int err;

	put_be64(fields, offset);
	put_be32(fields + 8, r->table_clusters);
	err = store_write(
		c->store,
		offsetof(struct qcow2_wire_header, refcount_table_offset),
		fields, sizeof(fields));
	if (err == 0)
		err = store_flush(c->store);
	if (err)
		return err;
	c->q->header.reftable_offset = offset;
	c->q->header.reftable_clusters = r->table_clusters;
	return 0;
}

int qcow2_rebuild_refcounts(struct qcow2_check *c, uint64_t first_cluster)
{
	struct rebuild r = {
		.c = c,
		.first = first_cluster,
		.limit = QCOW2_MAX_REFTABLE_BYTES / 8,
	};
	uint64_t old_end = c->highest + 1;
	int err;

	r.needed = calloc(BITMAP_WORDS(r.limit), sizeof(*r.needed));
	err = r.needed ? need_used(&r) : -ENOMEM;
	if (err == 0)
		err = need_own(&r);
	/* Past the end any length is free; elsewhere it was measured. */
	if (err == 0 && first_cluster < old_end &&
	    first_cluster < c->clusters) {
		for (uint64_t i = 0; i < r.blocks + r.table_clusters; i++)
			if (qcow2_refs_count(&c->refs, r.first + i))
				err = -ENOSPC;
	}
	if (err == 0)
		err = write_structure(&r);
	if (err == 0)
		err = switch_header(&r);
	free(r.needed);
	return err;
}

/* The most clusters that a structure for what @c found can take. */
static uint64_t most_clusters(struct qcow2_check *c)
{
	uint64_t blocks =
		(MAX(c->clusters, c->highest) >> c->q->refblock_bits) + 2;

	blocks = MIN(blocks, c->refs.page_count * 32 + 8);
	return 2 * blocks + blocks / (qcow2_cluster_bytes(c->q) / 8) + 8;
}

int qcow2_check_find_room(struct qcow2_check *c, uint64_t count,
			  uint64_t *ret_cluster)
{
	uint64_t want = count + most_clusters(c);
	struct qcow2_refs_page **pages;
	uint64_t free_from = 1;

	if (c->store->can_grow) {
		*ret_cluster = MAX(c->clusters, c->highest + 1);
		return 0;
	}
	pages = qcow2_refs_sorted(&c->refs);
	if (!pages)
		return -ENOMEM;
	for (size_t i = 0; i < c->refs.page_count; i++) {
		uint64_t first = pages[i]->index << QCOW2_REFS_PAGE_BITS;

		for (uint64_t k = 0; k < 1u << QCOW2_REFS_PAGE_BITS; k++) {
			if (qcow2_refs_count(&c->refs, first + k) == 0)
				continue;
			if (first + k - free_from >= want)
				goto found;
			free_from = first + k + 1;
		}
	}
found:
	free(pages);
	if (!range_fits(free_from, want,
			c->store->size_bytes >> c->q->cluster_bits))
		return -ENOSPC;
	*ret_cluster = free_from;
	return 0;
}
