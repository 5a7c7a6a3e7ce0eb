/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "image/open.h"
#include "qcow2/alloc.h"
#include "qcow2/check.h"
#include "qcow2/core.h"
#include "qcow2/crypt.h"
#include "qcow2/header-write.h"
#include "qcow2/manage.h"
#include "qcow2/offline.h"
#include "qcow2/qcow2.h"
#include "qcow2/snapshot.h"

enum {
	/*
	 * What waits is done after a few: a free goes through three plans, a
	 * refcount table's move through two before it frees the old place.
	 */
	MAX_CLOSE_FLUSHES = 16,
};

static bool probe(const void *head, size_t size)
{
	return size >= 8 && get_be32(head) == QCOW2_MAGIC &&
	       (get_be32((const char *)head + 4) == 2 ||
		get_be32((const char *)head + 4) == 3);
}

static void set_geometry(struct qcow2 *q)
{
	const struct qcow2_header *h = &q->header;

	q->cluster_bits = h->cluster_bits;
	q->extended = h->incompatible & QCOW2_INCOMPAT_EXTENDED_L2;
	q->data_file = h->incompatible & QCOW2_INCOMPAT_DATA_FILE;
	q->data_missing = q->data_file;
	q->raw_zero_from = UINT64_MAX;
	q->sub_bits = h->cluster_bits - (q->extended ? 5 : 0);
	q->entry_bits = q->extended ? 4 : 3;
	q->l2_bits = h->cluster_bits - q->entry_bits;
	q->slice_bits = MIN(h->cluster_bits,
			    (unsigned)__builtin_ctz(QCOW2_SLICE_BYTES));
	q->slice_entry_bits = q->slice_bits - q->entry_bits;
	q->refblock_bits = h->cluster_bits + 3 - h->refcount_order;
	q->slice_ref_bits = q->slice_bits + 3 - h->refcount_order;
}

/* The L1 table and the refcount table are held in memory as a whole. */
static int read_table(struct qcow2 *q, struct qcow2_memtable *table,
		      uint64_t offset, uint64_t bytes)
{
	int err;

	bytes = align_up(bytes, qcow2_cluster_bytes(q));
	err = qcow2_memtable_init(table, bytes, UINT32_C(1) << q->slice_bits);
	table->offset = offset;
	if (err == 0 && bytes)
		err = store_read(q->image.store, offset, table->data, bytes);
	return err;
}

static int init_cache(struct qcow2 *q, uint64_t bytes)
{
	uint64_t slice = UINT64_C(1) << q->slice_bits;
	uint64_t least = 4 * qcow2_cluster_bytes(q) + 128 * slice;

	if (bytes == 0)
		bytes = QCOW2_DEFAULT_CACHE_BYTES;
	bytes = MAX(MIN(bytes, UINT64_C(1) << 40), least);
	return metacache_init(&q->cache, bytes, slice);
}

/* The header keeps its own, to be written from. */
static int copy_names(struct qcow2 *q)
{
	const struct qcow2_header *h = &q->header;

	if (h->backing_name)
		q->image.backing_name = strdup(h->backing_name);
	if (h->backing_format)
		q->image.backing_format = strdup(h->backing_format);
	if ((h->backing_name && !q->image.backing_name) ||
	    (h->backing_format && !q->image.backing_format))
		return -ENOMEM;
	return q->data_file ? image_add_file(&q->image, h->data_name, false)
			    : 0;
}

int qcow2_reload(struct qcow2 *q)
{
	const struct qcow2_header *h = &q->header;
	uint64_t bytes = (uint64_t)q->cache.block_count << q->slice_bits;
	int err;

	metacache_deinit(&q->cache);
	qcow2_places_deinit(&q->places);
	qcow2_memtable_deinit(&q->l1);
	qcow2_memtable_deinit(&q->reftable);
	memset(&q->regrow, 0, sizeof(q->regrow));
	q->copy.state = QCOW2_COPY_IDLE;
	q->pack_at = 0;
	q->autoclear_stale = !q->image.read_only &&
			     (h->autoclear & ~qcow2_autoclear_kept(q));
	err = read_table(q, &q->l1, h->l1_offset, h->l1_entries * UINT64_C(8));
	if (err == 0)
		err = read_table(q, &q->reftable, h->reftable_offset,
				 (uint64_t)h->reftable_clusters
					 << q->cluster_bits);
	if (err == 0)
		err = store_read(q->image.store, 0, q->head,
				 UINT64_C(1) << q->slice_bits);
	if (err == 0)
		err = init_cache(q, bytes);
	if (err == 0)
		qcow2_alloc_init(q);
	return err;
}

static int load(struct qcow2 *q, const struct image_open_options *o)
{
	const struct qcow2_header *h = &q->header;
	int err;

	set_geometry(q);
	if (image_wants_snapshot(o) && q->data_file)
		return image_set_error(&q->image, IMAGE_E_UNSUPPORTED,
				       "an image with an external data file "
				       "cannot have internal snapshots");
	err = image_wants_snapshot(o) ? qcow2_snapshot_enter(q, o) : 0;
	if (err)
		return err;
	q->image.size_bytes = h->size_bytes;
	q->image.cluster_bytes = qcow2_cluster_bytes(q);
	q->image.codec = q->header.compression == QCOW2_COMPRESSION_ZSTD
				 ? IMAGE_CODEC_ZSTD
				 : IMAGE_CODEC_DEFLATE;
	q->image.read_only = o->read_only;
	q->for_check = o->check;
	q->autoclear_stale =
		!o->read_only && (h->autoclear & ~qcow2_autoclear_kept(q)) != 0;

	err = copy_names(q);
	if (err)
		return err;
	err = read_table(q, &q->l1, h->l1_offset, h->l1_entries * UINT64_C(8));
	if (err == 0)
		err = read_table(q, &q->reftable, h->reftable_offset,
				 (uint64_t)h->reftable_clusters
					 << q->cluster_bits);
	if (err)
		return err;
	q->head = aligned_alloc(4096, 4096);
	if (!o->read_only) {
		q->frees = calloc(QCOW2_MAX_FREES, sizeof(*q->frees));
		q->punches = calloc(QCOW2_MAX_FREES, sizeof(*q->punches));
	}
	if (!q->head || (!o->read_only && (!q->frees || !q->punches)))
		return -ENOMEM;
	err = store_read(q->image.store, 0, q->head,
			 UINT64_C(1) << q->slice_bits);
	if (err == 0)
		err = init_cache(q, o->cache_bytes);
	if (err == 0)
		qcow2_alloc_init(q);
	/* A check looks at bitmaps itself, and finds what is wrong with them. */
	if (err == 0 && !o->check)
		err = qcow2_bitmaps_open(q, !o->read_only);
	return err;
}

static void destroy(struct qcow2 *q)
{
	metacache_deinit(&q->cache);
	qcow2_places_deinit(&q->places);
	qcow2_memtable_deinit(&q->l1);
	qcow2_memtable_deinit(&q->reftable);
	qcow2_bitmaps_deinit(q);
	qcow2_header_deinit(&q->header);
	free(q->copy.data);
	free(q->punches);
	free(q->frees);
	free(q->head);
	image_deinit(&q->image);
	free(q);
}

static enum qcow2_header_use header_use(const struct image_open_options *o)
{
	if (o->check)
		return QCOW2_HEADER_CHECK;
	return o->read_only ? QCOW2_HEADER_READ : QCOW2_HEADER_WRITE;
}

static int open_image(struct store *store, const struct image_open_options *o,
		      struct image **ret_image, char **ret_error);

/* Through an opening of its own, which knows nothing of what follows. */
static int mend_dirty(struct store *store, char **ret_error)
{
	const struct image_open_options options = {
		.check = true,
		.cache_bytes = 1,
		.no_key = true,
	};
	struct image *image;
	struct qcow2 *q;
	int err = open_image(store, &options, &image, ret_error);

	if (err)
		return err;
	q = qcow2_of(image);
	err = qcow2_mend_dirty(q);
	if (err)
		store_fail(ret_error, err, "%s: qcow2: %s", store->name,
			   image->error[0] ? image->error : strerror(-err));
	image->store = image->data_store = NULL;
	destroy(q);
	return err;
}

static int read_header(struct store *store, const struct image_open_options *o,
		       struct qcow2_header *h, char **ret_error)
{
	int err = qcow2_header_read(store, header_use(o), h, ret_error);

	if (err || header_use(o) != QCOW2_HEADER_WRITE ||
	    !(h->incompatible & QCOW2_INCOMPAT_DIRTY))
		return err;
	qcow2_header_deinit(h);
	err = mend_dirty(store, ret_error);
	return err ? err
		   : qcow2_header_read(store, header_use(o), h, ret_error);
}

static int open_image(struct store *store, const struct image_open_options *o,
		      struct image **ret_image, char **ret_error)
{
	struct qcow2 *q = calloc(1, sizeof(*q));
	int err;

	if (!q)
		return -ENOMEM;
	image_init(&q->image, &qcow2_format, store);
	err = read_header(store, o, &q->header, ret_error);
	if (err == 0 && image_wants_snapshot(o) && !o->read_only)
		err = store_fail(ret_error, -EROFS,
				 "%s: a snapshot can only be opened read-only",
				 store->name);
	if (err == 0) {
		err = load(q, o);
		if (err && q->image.error[0])
			store_fail(ret_error, err, "%s: qcow2: %s", store->name,
				   q->image.error);
		else if (err)
			store_fail(ret_error, err,
				   "%s: the qcow2 tables cannot be read: %s",
				   store->name, strerror(-err));
	}
	if (err == 0)
		err = qcow2_crypt_open(q, o, ret_error);
	if (err) {
		q->image.store = q->image.data_store = NULL;
		destroy(q);
		return err;
	}
	*ret_image = &q->image;
	return 0;
}

static int attach_data(struct image *image, size_t index, struct store *data,
		       char **ret_error)
{
	struct qcow2 *q = qcow2_of(image);

	if (!q->data_missing)
		return store_fail(ret_error, -EINVAL,
				  "%s: there is no place for a data file",
				  image->store->name);
	/* One that can grow does so when it is written. */
	if (!image->read_only && !q->for_check && !data->can_grow &&
	    data->size_bytes < image->size_bytes)
		return store_fail(ret_error, -ENOSPC,
				  "%s: has %llu bytes, and the disk whose data "
				  "lies there has %llu",
				  data->name,
				  (unsigned long long)data->size_bytes,
				  (unsigned long long)image->size_bytes);
	image->data_store = data;
	q->data_missing = false;
	return 0;
}

static int regrow(struct qcow2 *q, void *opaque, struct image_extent *ret)
{
	return qcow2_regrow_waits(q) ? qcow2_regrow_step(q, ret) : 0;
}

static bool is_settled(const struct qcow2 *q)
{
	return !qcow2_is_dirty(&((struct qcow2 *)q)->image) &&
	       q->free_count == 0;
}

int qcow2_settle(struct qcow2 *q)
{
	for (int i = 0; i < MAX_CLOSE_FLUSHES; i++) {
		int err = qcow2_offline_run(q, regrow, NULL);

		if (err == 0 && is_settled(q))
			return q->corrupt_met ? IMAGE_E_CORRUPT : 0;
		err = image_flush_sync(&q->image);
		if (err)
			return err;
	}
	return image_set_error(&q->image, -EBUSY,
			       "something still waits after %d flushes",
			       MAX_CLOSE_FLUSHES);
}

/* All refcounts are as they should be again: nobody has to mend them. */
static void mark_clean(struct qcow2 *q)
{
	if (q->dirty_by_us && !q->amid_change && is_settled(q) &&
	    (q->header.incompatible & QCOW2_INCOMPAT_DIRTY))
		(void)qcow2_header_set_features(
			q, q->header.incompatible & ~QCOW2_INCOMPAT_DIRTY,
			q->header.compatible, q->header.autoclear);
}

/* Nothing is under way. What cannot be done leaks space, no more. */
static void close_image(struct image *image)
{
	struct qcow2 *q = qcow2_of(image);
	uint64_t end;

	if (!image->read_only && qcow2_settle(q) == 0 &&
	    qcow2_bitmaps_store(q) == 0) {
		mark_clean(q);
		end = MAX(q->end_cluster << q->cluster_bits, q->open_bytes);
		if (q->grown)
			(void)store_resize(image->store, end);
	}
	destroy(q);
}

const struct image_format qcow2_format = {
	.name = "qcow2",
	.probe = probe,
	.open = open_image,
	.attach_data = attach_data,
	.close = close_image,
	.map = qcow2_map,
	.lookup = qcow2_lookup,
	.map_packed = qcow2_map_packed,
	.provide = qcow2_provide,
	.commit = qcow2_commit,
	.flush_begin = qcow2_flush_begin,
	.flush_end = qcow2_flush_end,
	.reclaim = qcow2_reclaim,
	.is_dirty = qcow2_is_dirty,
	.replay = qcow2_replay,
	.manage = &qcow2_manage,
};
