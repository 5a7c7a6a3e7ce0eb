/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another size. The header's one write is the moment at which it counts.
 *
 * Larger	1. the L1 table is large enough, elsewhere if need be, and the
 *		   header names its place
 *		2. a data file is long enough; what lies past the old end
 *		   reads as zeroes: nothing that was left there, and nothing of
 *		   a longer backing image; and room is allocated for it if that
 *		   is asked for
 *		3. the header has the new size
 *
 * Smaller	1. the header has the new size
 *		2. entries past the end are cleared, L1 entries too
 *		3. what they used is given back, and a data file is cut off
 *
 * A crash leaves the size before or the one after. Entries past the end that it
 * may leave are counted as others are, nobody sees them, and step 2 of the next
 * growth takes care that nobody will.
 */
#include "qcow2/resize.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "image/executor.h"
#include "qcow2/bitmap.h"
#include "qcow2/fill.h"
#include "qcow2/free.h"
#include "qcow2/header-write.h"
#include "qcow2/offline.h"
#include "qcow2/table.h"
#include "qcow2/tree.h"

enum {
	LOOP_ENTRIES = 64,
};

static uint64_t l1_entries_for(const struct qcow2 *q, uint64_t size_bytes)
{
	return div_round_up(size_bytes,
			    UINT64_C(1) << (q->l2_bits + q->cluster_bits));
}

static int refuse(struct qcow2 *q, int err, const char *why)
{
	return image_set_error(&q->image, err, "%s", why);
}

/* --- Zeroes, as a guest would write them ---------------------------------- */

struct zeroing {
	struct executor_request request;
	bool done;
	int result;
};

static void zeroing_done(struct executor_request *request, int result)
{
	struct zeroing *z = container_of(request, struct zeroing, request);

	z->done = true;
	z->result = result;
}

static int run_zeroing(struct loop *loop, struct executor *executor,
		       struct zeroing *z)
{
	executor_submit(executor, &z->request);
	while (!z->done) {
		int err = loop_wait(loop, UINT64_MAX);

		if (err < 0 && err != -EINTR && !z->done)
			return err;
	}
	return z->result;
}

/* Parts of clusters keep the rest of them, wherever that has to come from. */
static int zero_range(struct qcow2 *q, uint64_t offset, uint64_t length)
{
	const struct executor_config config = {.depth = 1};
	struct zeroing z = {.request = {.op = EXECUTOR_ZERO,
					.offset = offset,
					.length = length,
					.done = zeroing_done}};
	struct executor *executor;
	struct loop *loop;
	int err;

	if (length == 0)
		return 0;
	err = loop_new(LOOP_ENTRIES, &loop);
	if (err)
		return err;
	err = executor_new(loop, &q->image, &config, &executor);
	if (err == 0) {
		err = run_zeroing(loop, executor, &z);
		executor_free(executor);
	}
	loop_free(loop);
	return err;
}

/* --- Larger -------------------------------------------------------------- */

/* The header names the L1 table as it is in @q. */
static int update_l1(struct qcow2 *q, uint64_t offset, uint32_t entries)
{
	uint64_t old_offset = q->header.l1_offset;
	uint32_t old_entries = q->header.l1_entries;
	int err;

	q->header.l1_offset = offset;
	q->header.l1_entries = entries;
	err = qcow2_header_update(q);
	if (err) {
		q->header.l1_offset = old_offset;
		q->header.l1_entries = old_entries;
	}
	return err;
}

/* The table has room in its last cluster, which may hold anything. */
static int extend_l1(struct qcow2 *q, uint32_t entries)
{
	int err;

	for (uint32_t i = q->header.l1_entries; i < entries; i++)
		qcow2_memtable_set(&q->l1, i, 0);
	err = qcow2_offline_stable(q);
	return err ? err : update_l1(q, q->header.l1_offset, entries);
}

static int move_l1(struct qcow2 *q, uint32_t entries)
{
	uint64_t bytes =
		align_up(entries * UINT64_C(8), qcow2_cluster_bytes(q));
	struct qcow2_memtable moved, old = q->l1;
	int err = qcow2_memtable_init(&moved, bytes,
				      UINT32_C(1) << q->slice_bits);

	if (err)
		return err;
	memcpy(moved.data, old.data, q->header.l1_entries * UINT64_C(8));
	err = qcow2_offline_take(q, bytes, &moved.offset);
	if (err) {
		qcow2_memtable_deinit(&moved);
		return err;
	}
	err = store_write(q->image.store, moved.offset, moved.data, bytes);
	if (err == 0)
		err = qcow2_offline_stable(q);
	if (err == 0)
		err = update_l1(q, moved.offset, entries);
	else
		(void)qcow2_offline_give_back(q, moved.offset, bytes);
	if (err) {
		qcow2_memtable_deinit(&moved);
		return err;
	}
	q->l1 = moved;
	err = old.placed ? qcow2_offline_give_back(q, old.offset, old.placed)
			 : 0;
	qcow2_memtable_deinit(&old);
	return err;
}

static int grow_l1(struct qcow2 *q, uint32_t entries)
{
	if (entries <= q->header.l1_entries)
		return 0;
	return entries <= q->l1.entries ? extend_l1(q, entries)
					: move_l1(q, entries);
}

/*
 * A data file that can grow gets the length of the disk. Of a raw one, what
 * lies past the old end is nobody's, and must not become the guest's.
 */
static int grow_data_file(struct qcow2 *q, uint64_t old, uint64_t size)
{
	struct store *store = q->image.data_store;
	int err = 0;

	if (!q->data_file)
		return 0;
	if (!store->can_grow)
		return store->size_bytes >= size
			       ? 0
			       : refuse(q, -ENOSPC,
					"the external data file cannot become "
					"longer");
	if (!qcow2_data_is_raw(q))
		return store->size_bytes >= size ? 0
						 : store_resize(store, size);
	if (store->size_bytes > old)
		err = store_resize(store, old);
	if (err == 0)
		err = store_resize(store, size);
	if (err == 0)
		q->raw_zero_from = old;
	return err;
}

/* What is past the disk's end is not mapped any more. */
static int shrink_data_file(struct qcow2 *q, uint64_t size)
{
	struct store *store = q->image.data_store;

	if (!q->data_file || !store->can_grow || store->size_bytes <= size)
		return 0;
	return store_resize(store, size);
}

/* What is allocated in the file, from @from to @to, gets its space, too. */
static int reserve_file(struct qcow2 *q, uint64_t from, uint64_t to)
{
	struct store *store = q->image.data_store;
	int err;

	if (store->fd < 0 || to <= from)
		return 0;
	err = posix_fallocate(store->fd, (off_t)(store->fd_offset + from),
			      (off_t)(to - from));
	return err == EOPNOTSUPP ? 0 : -err;
}

static int preallocate(struct qcow2 *q, uint64_t from, uint64_t to,
		       enum image_preallocation how)
{
	uint64_t first = align_up(from, qcow2_cluster_bytes(q));
	uint64_t end = q->end_cluster << q->cluster_bits;
	int err = 0;

	if (how == IMAGE_PREALLOCATION_OFF || first >= to)
		return 0;
	err = qcow2_fill_zeroes(q, first, to - first,
				how == IMAGE_PREALLOCATION_FULL);
	if (err || how != IMAGE_PREALLOCATION_FALLOC)
		return err;
	return q->data_file ? reserve_file(q, first, to)
			    : reserve_file(q, end,
					   q->end_cluster << q->cluster_bits);
}

static int fill_new_part(struct qcow2 *q, uint64_t from, uint64_t to,
			 enum image_preallocation how)
{
	struct qcow2_bitmap *followed = q->bitmaps.followed;
	int err;

	/* Not the guest's doing: to its bitmaps nothing was written. */
	q->bitmaps.followed = NULL;
	err = zero_range(q, from, to - from);
	if (err == 0)
		err = preallocate(q, from, to, how);
	if (err == 0)
		err = qcow2_settle(q);
	q->bitmaps.followed = followed;
	return err;
}

static int set_size(struct qcow2 *q, uint64_t size)
{
	uint64_t old = q->header.size_bytes;
	int err;

	q->header.size_bytes = size;
	err = qcow2_header_update(q);
	if (err)
		q->header.size_bytes = old;
	return err;
}

static int grow(struct qcow2 *q, uint64_t size, enum image_preallocation how)
{
	uint32_t old_used = q->header.l1_used;
	uint64_t old = q->image.size_bytes;
	int err = grow_l1(q, l1_entries_for(q, size));

	if (err)
		return err;
	q->image.size_bytes = size;
	q->header.l1_used = l1_entries_for(q, size);
	err = grow_data_file(q, old, size);
	if (err == 0)
		err = fill_new_part(q, old, size, how);
	q->raw_zero_from = UINT64_MAX;
	if (err == 0)
		err = set_size(q, size);
	if (err) {
		q->image.size_bytes = old;
		q->header.l1_used = old_used;
	}
	return err;
}

/* --- Smaller ------------------------------------------------------------- */

struct clearing {
	uint64_t at; /* guest clusters */
	uint64_t end;
};

static int clear_one(struct qcow2 *q, uint64_t cluster,
		     const struct qcow2_l2 *l2, struct image_extent *ret)
{
	uint64_t entry = qcow2_l2_get(l2, 0);
	struct metacache_block *refs[2];
	int err;

	if (entry == 0)
		return 0;
	if (!qcow2_free_has_room(q, 2) || qcow2_journal_room(q) == 0)
		return qcow2_answer_full(q, ret);
	metacache_pin(&q->cache, l2->slice);
	err = qcow2_free_prepare(q, entry, ret, refs);
	metacache_unpin(&q->cache, l2->slice);
	if (err)
		return err;
	qcow2_free_entry(q, entry, refs);
	qcow2_l2_set(q, l2->slice, l2->index, cluster, 0);
	return 0;
}

static int clear_step(struct qcow2 *q, void *opaque, struct image_extent *ret)
{
	struct clearing *c = opaque;

	while (c->at < c->end) {
		struct qcow2_l2 l2;
		int err = qcow2_l2_own(q, c->at, ret, &l2);

		if (err == 0)
			err = clear_one(q, c->at, &l2, ret);
		if (err)
			return err;
		c->at++;
	}
	return 0;
}

/* Entries from guest cluster @first to the end of its L2 table. */
static int clear_rest_of_table(struct qcow2 *q, uint64_t first)
{
	uint64_t entries = UINT64_C(1) << q->l2_bits;
	struct clearing c = {.at = first, .end = align_up(first, entries)};
	int err = 0;

	if (c.at == c.end ||
	    qcow2_memtable_get(&q->l1, first >> q->l2_bits) == 0)
		return 0;
	while (c.at < align_up(first, entries) && err == 0) {
		c.end = MIN(c.at + 1024, align_up(first, entries));
		err = qcow2_offline_run(q, clear_step, &c);
	}
	return err;
}

/* L1 entries from @first on, and all that they reach. */
static int drop_tables(struct qcow2 *q, uint64_t first)
{
	uint32_t entries = q->header.l1_entries;
	size_t bytes = first < entries ? (entries - first) * 8 : 0;
	struct qcow2_tree tree;
	uint8_t *old;
	int err;

	if (bytes == 0)
		return 0;
	old = malloc(bytes);
	if (!old)
		return -ENOMEM;
	memcpy(old, q->l1.data + first * 8, bytes);
	tree = (struct qcow2_tree){old, entries - first};
	err = qcow2_tree_check(q, tree);
	for (uint32_t i = first; i < entries && err == 0; i++)
		if (qcow2_memtable_get(&q->l1, i) != 0)
			qcow2_memtable_set(&q->l1, i, 0);
	if (err == 0)
		err = qcow2_offline_stable(q);
	if (err == 0)
		err = qcow2_tree_lower(q, tree);
	free(old);
	return err;
}

static int is_mapped_step(struct qcow2 *q, void *opaque,
			  struct image_extent *ret)
{
	struct clearing *c = opaque;
	struct qcow2_l2 l2;
	int err = qcow2_l2_find(q, c->at, ret, &l2);

	if (err == 0)
		c->end = l2.slice && qcow2_l2_get(&l2, 0) != 0;
	return err;
}

/* Of the last cluster, what is past the end: it must not come back. */
static int zero_tail(struct qcow2 *q, uint64_t size)
{
	struct clearing c = {.at = qcow2_cluster_of(q, size)};
	uint64_t end = align_up(size, qcow2_cluster_bytes(q));
	int err;

	if (end == size)
		return 0;
	err = qcow2_offline_run(q, is_mapped_step, &c);
	if (err || !c.end)
		return err;
	return zero_range(q, size, MIN(end, q->image.size_bytes) - size);
}

static int shrink(struct qcow2 *q, uint64_t size)
{
	uint64_t first = div_round_up(size, qcow2_cluster_bytes(q));
	uint64_t tables = div_round_up(first, UINT64_C(1) << q->l2_bits);
	int err = set_size(q, size);

	if (err)
		return err;
	err = zero_tail(q, size);
	if (err == 0)
		err = qcow2_settle(q);
	if (err == 0)
		err = clear_rest_of_table(q, first);
	if (err == 0)
		err = qcow2_settle(q);
	if (err == 0)
		err = drop_tables(q, tables);
	/* The size is what the header says, come what may of the rest. */
	q->image.size_bytes = size;
	q->header.l1_used = l1_entries_for(q, size);
	if (err == 0)
		err = qcow2_settle(q);
	return err ? err : shrink_data_file(q, size);
}

static int check(struct qcow2 *q, uint64_t size, enum image_preallocation how)
{
	if (q->data_missing)
		return refuse(q, IMAGE_E_UNSUPPORTED,
			      "its external data file is not open");
	if (q->header.version < 3 && q->header.snapshot_count)
		return refuse(q, -ENOTSUP,
			      "a version 2 image with snapshots cannot be "
			      "resized");
	if (size < q->image.size_bytes && how != IMAGE_PREALLOCATION_OFF)
		return refuse(q, -EINVAL,
			      "nothing can be preallocated where an image is "
			      "made smaller");
	if (size > INT64_MAX ||
	    l1_entries_for(q, size) > QCOW2_MAX_L1_BYTES / 8)
		return refuse(q, -EFBIG,
			      "an image of this size needs larger clusters");
	return 0;
}

int qcow2_resize(struct image *image, uint64_t size_bytes,
		 enum image_preallocation preallocation)
{
	struct qcow2 *q = qcow2_of(image);
	int err = check(q, size_bytes, preallocation);

	if (err || size_bytes == image->size_bytes)
		return err;
	err = qcow2_settle(q);
	if (err == 0)
		err = qcow2_bitmaps_resize(q, size_bytes);
	if (err == 0)
		err = size_bytes > image->size_bytes
			      ? grow(q, size_bytes, preallocation)
			      : shrink(q, size_bytes);
	return err ? err : qcow2_settle(q);
}
