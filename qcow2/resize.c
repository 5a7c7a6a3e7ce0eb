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
 * Smaller	1. what is past the new end goes: see shrink.c
 *		2. the header has the new size
 *		3. the file is cut off where nothing is used
 *
 * A crash leaves the size before or the one after, and in the first case of a
 * shrink less than there was past the new end. Nothing that was there comes
 * back when somebody, who may be another program, makes the disk larger again.
 * Entries past the end, which a growth may leave, are counted as others are and
 * say zero; other programs have left some that do not, which is why a growth
 * looks at all that it uncovers.
 */
#include "qcow2/resize.h"

#include <errno.h>
#include <fcntl.h>

#include "qcow2/bitmap.h"
#include "qcow2/fill.h"
#include "qcow2/header-write.h"
#include "qcow2/offline.h"
#include "qcow2/shrink.h"

static uint64_t l1_entries_for(const struct qcow2 *q, uint64_t size_bytes)
{
	return div_round_up(size_bytes,
			    UINT64_C(1) << (q->l2_bits + q->cluster_bits));
}

static int refuse(struct qcow2 *q, int err, const char *why)
{
	return image_set_error(&q->image, err, "%s", why);
}

/* --- Larger -------------------------------------------------------------- */

/* The header names another L1 table. */
static int update_l1(struct qcow2 *q, uint64_t offset, uint32_t entries,
		     bool *ret_kept)
{
	struct qcow2_header before = q->header;

	q->header.l1_offset = offset;
	q->header.l1_entries = entries;
	return qcow2_header_replace(q, &before, ret_kept);
}

/* The table has room in its last cluster, which may hold anything. */
static int extend_l1(struct qcow2 *q, uint32_t entries)
{
	int err;

	for (uint32_t i = q->header.l1_entries; i < entries; i++)
		qcow2_memtable_set(&q->l1, i, 0);
	err = qcow2_offline_stable(q);
	return err ? err : update_l1(q, q->header.l1_offset, entries, NULL);
}

/* What fails leaves room taken only where the header may name it. */
static int place_l1(struct qcow2 *q, struct qcow2_memtable *table,
		    uint32_t entries)
{
	uint64_t bytes = table->bytes;
	bool kept = true;
	int err = qcow2_offline_take(q, bytes, &table->offset);

	if (err)
		return err;
	err = store_write(q->image.store, table->offset, table->data, bytes);
	if (err == 0)
		err = qcow2_offline_stable(q);
	if (err == 0)
		err = update_l1(q, table->offset, entries, &kept);
	if (err && kept &&
	    qcow2_offline_give_back(q, table->offset, bytes) == 0)
		(void)qcow2_settle(q);
	return err;
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
	err = place_l1(q, &moved, entries);
	if (err) {
		qcow2_memtable_deinit(&moved);
		return err;
	}
	q->l1 = moved;
	qcow2_places_deinit(&q->places);
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

/* From @from to the end of its cluster, which holds something before. */
static int preallocate_part(struct qcow2 *q, uint64_t from, uint64_t to)
{
	uint64_t end = align_up(from, qcow2_cluster_bytes(q));

	return qcow2_write_zeroes(q, from, MIN(end, to) - from);
}

static int preallocate(struct qcow2 *q, uint64_t from, uint64_t to,
		       enum image_preallocation how)
{
	uint64_t first = align_up(from, qcow2_cluster_bytes(q));
	uint64_t end = q->end_cluster << q->cluster_bits;
	int err;

	if (how == IMAGE_PREALLOCATION_OFF)
		return 0;
	err = preallocate_part(q, from, to);
	if (err == 0 && first < to)
		err = qcow2_fill_zeroes(q, first, to - first,
					how == IMAGE_PREALLOCATION_FULL);
	if (err || how != IMAGE_PREALLOCATION_FALLOC)
		return err;
	return q->data_file ? reserve_file(q, from, to)
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
	err = qcow2_zero_range(q, from, to - from);
	if (err == 0)
		err = preallocate(q, from, to, how);
	if (err == 0)
		err = qcow2_settle(q);
	q->bitmaps.followed = followed;
	return err;
}

static int set_size(struct qcow2 *q, uint64_t size, bool *ret_kept)
{
	struct qcow2_header before = q->header;

	q->header.size_bytes = size;
	return qcow2_header_replace(q, &before, ret_kept);
}

/* What was allocated for a size that is not to be. Returns @err. */
static int undo_growth(struct qcow2 *q, uint64_t old, int err)
{
	char reason[sizeof(q->image.error)];

	memcpy(reason, q->image.error, sizeof(reason));
	(void)qcow2_clear_past(q, old);
	memcpy(q->image.error, reason, sizeof(reason));
	return err;
}

static int grow(struct qcow2 *q, uint64_t size, enum image_preallocation how)
{
	uint32_t old_used = q->header.l1_used;
	uint64_t old = q->image.size_bytes;
	bool kept = true;
	int err = grow_l1(q, l1_entries_for(q, size));

	if (err)
		return err;
	q->image.size_bytes = size;
	q->header.l1_used = l1_entries_for(q, size);
	qcow2_places_deinit(&q->places);
	err = grow_data_file(q, old, size);
	if (err == 0)
		err = fill_new_part(q, old, size, how);
	if (err == 0)
		err = set_size(q, size, &kept);
	if (err && kept)
		err = undo_growth(q, old, err);
	q->raw_zero_from = UINT64_MAX;
	if (err) {
		q->image.size_bytes = old;
		q->header.l1_used = old_used;
	}
	return err;
}

/* --- Smaller ------------------------------------------------------------- */

static int shrink(struct qcow2 *q, uint64_t size)
{
	struct qcow2_bitmap *followed = q->bitmaps.followed;
	uint64_t old = q->image.size_bytes;
	int err;

	/* What goes with the end changes nothing of the rest. */
	q->bitmaps.followed = NULL;
	err = qcow2_clear_past(q, size);
	if (err == 0)
		err = set_size(q, size, NULL);
	q->bitmaps.followed = followed;
	if (err) {
		qcow2_bitmaps_follow(q, size, old - size);
		return err;
	}
	q->image.size_bytes = size;
	q->header.l1_used = l1_entries_for(q, size);
	return qcow2_cut_file(q);
}

static int check(struct qcow2 *q, uint64_t size, enum image_preallocation how)
{
	if (q->data_missing)
		return refuse(q, IMAGE_E_UNSUPPORTED,
			      "its external data file is not open");
	if (q->header.version < 3 && q->header.snapshot_count)
		return refuse(q, -ENOTSUP,
			      "Can't resize a v2 image which has snapshots: "
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
