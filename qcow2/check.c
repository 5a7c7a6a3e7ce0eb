/* SPDX-License-Identifier: Apache-2.0 */
#include "qcow2/check.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	READ_ALIGNMENT = 4096
};

void qcow2_check_say(struct qcow2_check *c, bool fixed, const char *format, ...)
{
	char text[256];
	va_list args;

	/* What a round mends it tells; what it leaves, the last one tells. */
	if (!c->report || (c->mends && !fixed))
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	c->report(c->opaque, text, fixed);
}

void qcow2_check_corrupt(struct qcow2_check *c, uint64_t times, bool fixed,
			 const char *format, ...)
{
	char text[256];
	va_list args;
	size_t used;

	if (fixed) {
		c->counts.corruptions_fixed += times;
		c->mended++;
	} else {
		c->counts.corruptions += times;
	}
	if (!c->report || (c->mends && !fixed))
		return;
	va_start(args, format);
	used = fixed ? 0 : snprintf(text, sizeof(text), "ERROR ");
	vsnprintf(text + used, sizeof(text) - used, format, args);
	va_end(args);
	c->report(c->opaque, text, fixed);
}

/* Holes of a sparse file are not read: its length may be any number. */
bool qcow2_check_is_hole(struct qcow2_check *c, uint64_t offset, uint64_t bytes)
{
	struct store_status status;

	if (offset < c->hole_from || !range_fits(offset, bytes, c->hole_to)) {
		if (store_status(c->store, offset, UINT64_MAX - offset,
				 &status) != 0 ||
		    !status.zero)
			status.length = 0;
		c->hole_from = offset;
		c->hole_to = offset + status.length;
	}
	return range_fits(offset, bytes, c->hole_to);
}

int qcow2_check_read(struct qcow2_check *c, uint64_t offset, void *ret_data,
		     uint64_t bytes)
{
	int err;

	if (qcow2_check_is_hole(c, offset, bytes)) {
		memset(ret_data, 0, bytes);
		return 0;
	}
	err = store_read(c->store, offset, ret_data, bytes);
	if (err == 0)
		return 0;
	c->counts.check_errors++;
	c->incomplete = true;
	qcow2_check_say(c, false, "cannot read %llu bytes at %llu: %s",
			(unsigned long long)bytes, (unsigned long long)offset,
			strerror(-err));
	return -EIO;
}

bool qcow2_check_in_file(const struct qcow2_check *c, uint64_t offset,
			 uint64_t bytes)
{
	uint64_t end = align_up(c->store->size_bytes, 512) +
		       qcow2_cluster_bytes(c->q) - 1;

	return range_fits(offset, bytes, end);
}

bool qcow2_check_is_taken(struct qcow2_check *c, uint64_t offset,
			  uint64_t bytes)
{
	uint64_t first = qcow2_cluster_of(c->q, offset);
	uint64_t last = qcow2_cluster_of(c->q, offset + bytes - 1);

	for (uint64_t i = first; i <= last; i++) {
		enum qcow2_use use = qcow2_refs_use(&c->refs, i);

		if (use != QCOW2_USE_NONE && use < QCOW2_USE_DATA)
			return true;
	}
	return false;
}

static bool may_share(enum qcow2_use before, enum qcow2_use use)
{
	if (before == QCOW2_USE_NONE)
		return true;
	return before >= QCOW2_USE_DATA && use >= QCOW2_USE_DATA;
}

int qcow2_check_use(struct qcow2_check *c, uint64_t offset, uint64_t bytes,
		    uint32_t times, enum qcow2_use use, bool *ret_conflict)
{
	uint64_t first = qcow2_cluster_of(c->q, offset);
	uint64_t last = qcow2_cluster_of(c->q, offset + bytes - 1);

	*ret_conflict = false;
	for (uint64_t i = first; i <= last; i++) {
		enum qcow2_use before;
		int err = qcow2_refs_add(&c->refs, i, times, use, &before);

		if (err)
			return err;
		if (!may_share(before, use))
			*ret_conflict = true;
		c->highest = MAX(c->highest, i);
	}
	return 0;
}

void qcow2_check_note_overlap(struct qcow2_check *c, uint64_t offset,
			      uint64_t bytes)
{
	uint64_t first = qcow2_cluster_of(c->q, offset);
	uint64_t last = qcow2_cluster_of(c->q, offset + bytes - 1);

	c->overlaps = true;
	for (uint64_t i = first; i <= last; i++)
		if (qcow2_refs_count(&c->refs, i) > 1)
			qcow2_refs_set_overlap(&c->refs, i);
}

const char *qcow2_use_name(enum qcow2_use use)
{
	static const char *const names[] = {
		[QCOW2_USE_NONE] = "nothing",
		[QCOW2_USE_HEADER] = "the header",
		[QCOW2_USE_REFTABLE] = "the refcount table",
		[QCOW2_USE_REFBLOCK] = "a refcount block",
		[QCOW2_USE_L1] = "the L1 table",
		[QCOW2_USE_SNAPSHOTS] = "the snapshot table",
		[QCOW2_USE_SNAPSHOT_L1] = "a snapshot's L1 table",
		[QCOW2_USE_CRYPT] = "the encryption header",
		[QCOW2_USE_BITMAP_DIRECTORY] = "the bitmap directory",
		[QCOW2_USE_BITMAP_TABLE] = "a bitmap table",
		[QCOW2_USE_L2] = "an L2 table",
		[QCOW2_USE_BITMAP] = "a bitmap",
		[QCOW2_USE_DATA] = "data",
		[QCOW2_USE_COMPRESSED] = "compressed data",
	};

	return names[use];
}

int qcow2_check_init(struct qcow2_check *c, struct qcow2 *q)
{
	uint64_t cluster = qcow2_cluster_bytes(q);
	uint64_t size = q->image.store->size_bytes;

	*c = (struct qcow2_check){
		.q = q,
		.store = q->image.store,
		.clusters = div_round_up(size, cluster),
		.l1_budget = size,
	};
	qcow2_refs_init(&c->refs);
	c->counts.total_clusters = div_round_up(q->header.size_bytes, cluster);
	c->table = aligned_alloc(READ_ALIGNMENT,
				 align_up(cluster, READ_ALIGNMENT));
	return c->table ? 0 : -ENOMEM;
}

void qcow2_check_deinit(struct qcow2_check *c)
{
	qcow2_refs_deinit(&c->refs);
	qcow2_l2_places_deinit(&c->l2);
	free(c->snapshots.items);
	free(c->bitmaps.items);
	free(c->reftable);
	free(c->moves);
	free(c->table);
}

int qcow2_list_reserve(struct qcow2_list *list, uint32_t count)
{
	list->items = calloc((size_t)count + 1, sizeof(*list->items));
	return list->items ? 0 : -ENOMEM;
}

static int check_crypt(struct qcow2_check *c)
{
	const struct qcow2_header *h = &c->q->header;
	bool conflict;
	int err;

	if (h->crypt_bytes == 0)
		return 0;
	if (!qcow2_check_in_file(c, h->crypt_offset, h->crypt_bytes)) {
		qcow2_check_corrupt(c, 1, false,
				    "the encryption header is not in the file");
		return 0;
	}
	err = qcow2_check_use(c, h->crypt_offset, h->crypt_bytes, 1,
			      QCOW2_USE_CRYPT, &conflict);
	if (err == 0 && conflict) {
		c->incomplete = true;
		qcow2_check_say(c, false,
				"ERROR the encryption header overlaps with "
				"another table");
		qcow2_check_note_overlap(c, h->crypt_offset, h->crypt_bytes);
	}
	return err;
}

int qcow2_check_walk(struct qcow2_check *c)
{
	bool conflict;
	int err;

	err = qcow2_check_use(c, 0, 1, 1, QCOW2_USE_HEADER, &conflict);
	if (err == 0)
		err = check_crypt(c);
	if (err == 0)
		err = qcow2_check_l1_tables(c);
	if (err == 0)
		err = qcow2_check_l2_tables(c);
	if (err == 0)
		err = qcow2_check_bitmaps(c);
	if (err == 0 && !c->without_refcounts)
		err = qcow2_check_refcount_structure(c);
	return err;
}

/* As the image is now, with what was fixed before. */
static int look(struct qcow2 *q, image_report *report, void *opaque,
		struct image_check *counts)
{
	struct qcow2_check c;
	int err = qcow2_check_init(&c, q);

	c.report = report;
	c.opaque = opaque;
	if (err == 0)
		err = qcow2_check_walk(&c);
	if (err == 0)
		err = qcow2_check_refcounts(&c, QCOW2_CHECK_SET_NONE);
	if (err == 0)
		err = qcow2_check_copied(&c, false);
	if (err == 0) {
		c.counts.corruptions_fixed = counts->corruptions_fixed;
		c.counts.leaks_fixed = counts->leaks_fixed;
		c.counts.image_end_offset = (c.highest + 1) << q->cluster_bits;
		*counts = c.counts;
	}
	qcow2_check_deinit(&c);
	return err;
}

int qcow2_check(struct image *image, enum image_fix fix, image_report *report,
		void *opaque, struct image_check *ret)
{
	struct qcow2 *q = qcow2_of(image);
	struct image_check counts = {0};
	int err = 0;

	if (fix != IMAGE_FIX_NONE && !q->for_check)
		return image_set_error(image, -EINVAL,
				       "the image was not opened to be "
				       "repaired");
	if (!image->read_only)
		err = qcow2_settle(q);
	if (err == IMAGE_E_CORRUPT)
		err = 0; /* that is what is to be found */
	if (err == 0 && fix != IMAGE_FIX_NONE)
		err = qcow2_repair(q, fix, report, opaque, &counts);
	if (err == 0)
		err = look(q, report, opaque, &counts);
	if (err == 0 && fix != IMAGE_FIX_NONE && counts.corruptions == 0 &&
	    counts.check_errors == 0)
		err = qcow2_mark_whole(q);
	if (err == 0)
		*ret = counts;
	return err;
}
