/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of what is done, for a crash at any instant. Each line is stable
 * before the next begins; a header is the old one or the new one.
 *
 * create	1. the COPIED flags leave the image's L1 and L2 tables
 *		2. the copy of the L1 table and the new snapshot table have
 *		   their places and contents, all refcounts are raised
 *		3. the header names the new snapshot table
 *		4. the old snapshot table is given back
 *
 * apply	1. the COPIED flags leave the snapshot's L2 tables
 *		2. a copy of its L1 table has its place and content, all its
 *		   refcounts are raised
 *		3. the header names that table, and the snapshot's size
 *		4. what the old L1 table reached, and it, are given back
 *
 * delete	1. the new snapshot table has its place and content
 *		2. the header names it
 *		3. the old table, and what the snapshot's L1 table reached, and
 *		   it, are given back
 *		4. COPIED flags are set where a refcount is one
 *
 * A flag is never set while there are, or will be, two references; a refcount
 * is never lower than the references that a header, the old or the new one,
 * leads to. So a crash costs space, or flags: a cluster without its flag is
 * copied before it is written. A version 3 image is marked dirty before the
 * first of these steps and not dirty any more after the last, so that whoever
 * opens it next can have the space and the flags back.
 */
#include "qcow2/snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "qcow2/bitmap.h"
#include "qcow2/header-write.h"
#include "qcow2/offline.h"
#include "qcow2/snapshot-table.h"
#include "qcow2/table.h"
#include "qcow2/tree.h"

/* Cleared, aligned memory for a table of @bytes, in whole clusters. */
static uint8_t *new_clusters(const struct qcow2 *q, uint64_t bytes,
			     uint64_t *ret_bytes)
{
	uint64_t cluster = MAX(qcow2_cluster_bytes(q), UINT64_C(4096));
	uint8_t *data =
		aligned_alloc(4096, align_up(MAX(bytes, UINT64_C(1)), cluster));

	*ret_bytes = align_up(bytes, qcow2_cluster_bytes(q));
	if (data)
		memset(data, 0, align_up(MAX(bytes, UINT64_C(1)), cluster));
	return data;
}

/* A table at a place of its own: stable with the next flush. */
static int place(struct qcow2 *q, const uint8_t *data, uint64_t bytes,
		 uint64_t *ret_offset)
{
	int err = qcow2_offline_take(q, bytes, ret_offset);

	if (err)
		return err;
	err = store_write(q->image.store, *ret_offset, data, bytes);
	if (err)
		(void)qcow2_offline_give_back(q, *ret_offset, bytes);
	return err;
}

/* How many L1 entries a disk of @size_bytes needs. */
static uint64_t l1_entries_for(const struct qcow2 *q, uint64_t size_bytes)
{
	return div_round_up(size_bytes,
			    UINT64_C(1) << (q->l2_bits + q->cluster_bits));
}

static int begin(struct qcow2 *q, struct qcow2_snapshot_table *ret_table)
{
	int err;

	if (q->header.incompatible & QCOW2_INCOMPAT_DATA_FILE)
		return image_set_error(&q->image, -ENOTSUP,
				       "an image with an external data file "
				       "cannot have internal snapshots");
	err = qcow2_settle(q);
	return err ? err : qcow2_snapshot_table_read(q, ret_table);
}

static int set_dirty(struct qcow2 *q, bool dirty)
{
	uint64_t bits = q->header.incompatible & ~QCOW2_INCOMPAT_DIRTY;

	if (q->header.version < 3)
		return 0;
	if (dirty)
		bits |= QCOW2_INCOMPAT_DIRTY;
	q->amid_change = dirty;
	return qcow2_header_set_features(q, bits, q->header.compatible,
					 q->header.autoclear);
}

/* The header names the snapshot table at @offset from now on. */
static int name_table(struct qcow2 *q, uint64_t offset, uint32_t count)
{
	struct qcow2_header before = q->header;
	int err;

	q->header.snapshots_offset = offset;
	q->header.snapshot_count = count;
	err = qcow2_header_update(q);
	if (err) {
		q->header.snapshots_offset = before.snapshots_offset;
		q->header.snapshot_count = before.snapshot_count;
	}
	return err;
}

static int give_back(struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
	return bytes ? qcow2_offline_give_back(q, offset, bytes) : 0;
}

/*
 * After the last step. What went wrong on the way stays marked as dirty, and
 * what goes well afterwards does not change that.
 */
static int finish(struct qcow2 *q, int err)
{
	if (err == 0)
		err = qcow2_settle(q);
	if (err)
		q->was_cut_off = true;
	return err || q->was_cut_off ? err : set_dirty(q, false);
}

static char *copy_text(const char *bytes, size_t length)
{
	return strndup(bytes, length);
}

int qcow2_snapshot_list(struct image *image, struct image_snapshots *ret)
{
	struct image_snapshots list = {0};
	struct qcow2_snapshot_table table;
	int err = qcow2_snapshot_table_read(qcow2_of(image), &table);

	if (err)
		return err;
	list.all = calloc((size_t)table.count + 1, sizeof(*list.all));
	if (!list.all)
		err = -ENOMEM;
	for (uint32_t i = 0; i < table.count && err == 0; i++) {
		const struct qcow2_snapshot *s = &table.all[i];
		struct image_snapshot *to = &list.all[list.count++];

		*to = (struct image_snapshot){
			.id = copy_text(s->id, s->id_bytes),
			.name = copy_text(s->name, s->name_bytes),
			.size_bytes = s->size_bytes,
			.vm_state_bytes = s->state_bytes,
			.date_seconds = s->date_seconds,
			.date_nanoseconds = s->date_nanoseconds,
			.vm_clock_nanoseconds = s->clock_nanoseconds,
			.icount = s->icount,
		};
		if (!to->id || !to->name)
			err = -ENOMEM;
	}
	qcow2_snapshot_table_deinit(&table);
	if (err)
		image_snapshots_deinit(&list);
	else
		*ret = list;
	return err;
}

/* --- Create ------------------------------------------------------------- */

/* What becomes of the image's own L1 table: its entries for the disk. */
static struct qcow2_tree disk_tree(const struct qcow2 *q)
{
	return (struct qcow2_tree){q->l1.data, q->header.l1_used};
}

static int unmark_active(struct qcow2 *q)
{
	int err = qcow2_tree_unmark(q, disk_tree(q));

	for (uint32_t i = 0; i < q->header.l1_used && err == 0; i++) {
		uint64_t entry = qcow2_memtable_get(&q->l1, i);

		if (entry & QCOW2_COPIED)
			qcow2_memtable_set(&q->l1, i, entry & ~QCOW2_COPIED);
	}
	return err ? err : qcow2_offline_stable(q);
}

/* The new tables of a snapshot on its way. */
struct making {
	struct qcow2_snapshot snapshot;
	struct qcow2_snapshot_table table;
	uint64_t l1_bytes;    /* in whole clusters; 0: has no place yet */
	uint64_t table_bytes; /* the same */
	uint64_t table_offset;
	bool raised;
};

static int place_l1_copy(struct qcow2 *q, struct making *m)
{
	/* One at least: so that there is a place to name. */
	uint32_t entries = MAX(q->header.l1_used, UINT32_C(1));
	uint64_t bytes;
	uint8_t *copy = new_clusters(q, entries * UINT64_C(8), &bytes);
	int err;

	if (!copy)
		return -ENOMEM;
	memcpy(copy, q->l1.data, q->header.l1_used * UINT64_C(8));
	err = place(q, copy, bytes, &m->snapshot.l1_offset);
	if (err == 0)
		m->l1_bytes = bytes;
	m->snapshot.l1_entries = entries;
	free(copy);
	return err;
}

static int place_table(struct qcow2 *q, struct making *m)
{
	uint64_t bytes = align_up(m->table.size, qcow2_cluster_bytes(q));
	int err;

	if (bytes == 0) {
		m->table_offset = 0;
		return 0;
	}
	err = place(q, m->table.bytes, bytes, &m->table_offset);
	if (err == 0)
		m->table_bytes = bytes;
	return err;
}

static void describe(const struct qcow2 *q, const char *name, const char *id,
		     struct qcow2_snapshot *ret)
{
	struct timespec now = {0};

	clock_gettime(CLOCK_REALTIME, &now);
	*ret = (struct qcow2_snapshot){
		.date_seconds = (uint32_t)now.tv_sec,
		.date_nanoseconds = (uint32_t)now.tv_nsec,
		.size_bytes = q->header.size_bytes,
		.icount = UINT64_MAX,
		.id = id,
		.id_bytes = (uint16_t)strlen(id),
		.name = name,
		.name_bytes = (uint16_t)strlen(name),
	};
}

/* Steps 1 and 2. */
static int prepare_create(struct qcow2 *q, struct making *m,
			  const struct qcow2_snapshot_table *old)
{
	int err = unmark_active(q);

	if (err == 0)
		err = place_l1_copy(q, m);
	if (err == 0)
		err = qcow2_snapshot_table_edit(q, old, UINT32_MAX,
						&m->snapshot, &m->table);
	if (err == 0)
		err = place_table(q, m);
	if (err == 0)
		err = qcow2_tree_raise(q, disk_tree(q));
	m->raised = err == 0;
	return err ? err : qcow2_offline_stable(q);
}

/*
 * Takes back what prepare_create did, as nothing names it: the image is as it
 * was. Returns @err.
 */
static int undo_create(struct qcow2 *q, const struct making *m, int err)
{
	char reason[sizeof(q->image.error)];
	int failed = 0;

	memcpy(reason, q->image.error, sizeof(reason));
	if (m->raised)
		failed = qcow2_tree_lower(q, disk_tree(q));
	if (failed == 0)
		failed = give_back(q, m->snapshot.l1_offset, m->l1_bytes);
	if (failed == 0)
		failed = give_back(q, m->table_offset, m->table_bytes);
	if (failed == 0)
		failed = qcow2_settle(q);
	if (failed == 0)
		failed = qcow2_tree_mark_active(q);
	(void)finish(q, failed);
	memcpy(q->image.error, reason, sizeof(reason));
	return err;
}

static int create(struct qcow2 *q, const char *name,
		  const struct qcow2_snapshot_table *old)
{
	uint64_t old_offset = q->header.snapshots_offset;
	struct making m = {0};
	char id[24];
	int err = qcow2_tree_check_raise(q, disk_tree(q));

	if (err)
		return err;
	qcow2_snapshot_new_id(old, id);
	describe(q, name, id, &m.snapshot);
	err = set_dirty(q, true);
	if (err)
		return err;
	err = prepare_create(q, &m, old);
	if (err) {
		err = undo_create(q, &m, err);
	} else {
		err = name_table(q, m.table_offset, m.table.count);
		if (err == 0)
			err = give_back(q, old_offset, old->size);
		err = finish(q, err);
	}
	qcow2_snapshot_table_deinit(&m.table);
	return err;
}

int qcow2_snapshot_create(struct image *image, const char *name)
{
	struct qcow2 *q = qcow2_of(image);
	struct qcow2_snapshot_table old;
	int err;

	if (strlen(name) > UINT16_MAX)
		return image_set_error(image, -ENAMETOOLONG,
				       "a snapshot's name has at most 65535 "
				       "bytes");
	err = begin(q, &old);
	if (err)
		return err;
	if (old.count == QCOW2_MAX_SNAPSHOTS)
		err = image_set_error(image, -EFBIG,
				      "there are 65536 snapshots already");
	else
		err = create(q, name, &old);
	qcow2_snapshot_table_deinit(&old);
	return err;
}

static int not_found(struct qcow2 *q, const char *name)
{
	return image_set_error(&q->image, -ENOENT,
			       "there is no snapshot called \"%s\"", name);
}

int qcow2_snapshot_l1(struct qcow2 *q, const struct qcow2_snapshot *s,
		      uint64_t entries, uint8_t **ret_l1)
{
	uint64_t bytes;
	uint8_t *l1 = new_clusters(q, MAX(entries, (uint64_t)s->l1_entries) * 8,
				   &bytes);
	int err = l1 ? 0 : -ENOMEM;

	if (err == 0 && s->l1_entries)
		err = store_read(q->image.store, s->l1_offset, l1,
				 s->l1_entries * UINT64_C(8));
	if (err)
		free(l1);
	else
		*ret_l1 = l1;
	return err;
}

/* --- Delete ------------------------------------------------------------- */

static int delete (struct qcow2 *q, const struct qcow2_snapshot_table *old,
		   const struct qcow2_snapshot *s, struct qcow2_tree tree)
{
	uint64_t old_offset = q->header.snapshots_offset;
	struct making m = {0};
	int err =
		qcow2_snapshot_table_edit(q, old, s - old->all, NULL, &m.table);

	if (err == 0)
		err = set_dirty(q, true);
	if (err == 0)
		err = place_table(q, &m);
	if (err == 0)
		err = qcow2_offline_stable(q);
	if (err == 0)
		err = name_table(q, m.table_offset, m.table.count);
	if (err == 0)
		err = give_back(q, old_offset, old->size);
	if (err == 0)
		err = qcow2_tree_lower(q, tree);
	if (err == 0)
		err = give_back(q, s->l1_offset, s->l1_entries * UINT64_C(8));
	if (err == 0)
		err = qcow2_settle(q);
	if (err == 0)
		err = qcow2_tree_mark_active(q);
	qcow2_snapshot_table_deinit(&m.table);
	return finish(q, err);
}

int qcow2_snapshot_delete(struct image *image, const char *name)
{
	struct qcow2 *q = qcow2_of(image);
	const struct qcow2_snapshot *s = NULL;
	struct qcow2_snapshot_table old;
	uint8_t *l1 = NULL;
	int err = begin(q, &old);

	if (err)
		return err;
	s = qcow2_snapshot_find(&old, NULL, name);
	if (!s)
		s = qcow2_snapshot_find(&old, name, NULL);
	err = s ? 0 : not_found(q, name);
	if (err == 0)
		err = qcow2_snapshot_l1(q, s, 0, &l1);
	if (err == 0) {
		struct qcow2_tree tree = {l1, s->l1_entries};

		err = qcow2_tree_check(q, tree);
		if (err == 0)
			err = delete (q, &old, s, tree);
	}
	free(l1);
	qcow2_snapshot_table_deinit(&old);
	return err;
}

/* --- Apply -------------------------------------------------------------- */

/* What the image becomes. */
struct applying {
	uint64_t size_bytes;
	struct qcow2_tree tree;	  /* the new L1 table */
	struct qcow2_memtable l1; /* the same, with its place */
	bool placed;
	bool raised;
};

/*
 * The snapshot's entries for its disk. What lies past them, the state of the
 * machine, is read from the snapshot and would be in the way here when the
 * disk grows.
 */
static int make_l1(struct qcow2 *q, const struct qcow2_snapshot *s,
		   struct applying *a)
{
	uint64_t used = l1_entries_for(q, s->size_bytes);
	uint64_t bytes;
	uint8_t *l1;
	int err;

	if (used > QCOW2_MAX_L1_BYTES / 8)
		return qcow2_corrupt(q, "the snapshot's disk is too large");
	bytes = align_up(MAX(used, UINT64_C(1)) * 8, qcow2_cluster_bytes(q));
	err = qcow2_memtable_init(&a->l1, bytes, UINT32_C(1) << q->slice_bits);
	if (err == 0)
		err = qcow2_snapshot_l1(q, s, used, &l1);
	if (err)
		return err;
	memcpy(a->l1.data, l1, used * 8);
	free(l1);
	for (uint64_t i = 0; i < used; i++)
		put_be64(a->l1.data + i * 8,
			 get_be64(a->l1.data + i * 8) & ~QCOW2_COPIED);
	a->size_bytes = s->size_bytes;
	a->tree = (struct qcow2_tree){a->l1.data, used};
	return 0;
}

/* Steps 1 and 2. */
static int prepare_apply(struct qcow2 *q, struct applying *a)
{
	int err = qcow2_tree_unmark(q, a->tree);

	if (err == 0)
		err = place(q, a->l1.data, a->l1.bytes, &a->l1.offset);
	a->placed = err == 0;
	if (err == 0)
		err = qcow2_tree_raise(q, a->tree);
	a->raised = err == 0;
	return err ? err : qcow2_offline_stable(q);
}

static int undo_apply(struct qcow2 *q, const struct applying *a, int err)
{
	char reason[sizeof(q->image.error)];
	int failed = 0;

	memcpy(reason, q->image.error, sizeof(reason));
	if (a->raised)
		failed = qcow2_tree_lower(q, a->tree);
	if (failed == 0 && a->placed)
		failed = give_back(q, a->l1.offset, a->l1.bytes);
	(void)finish(q, failed);
	memcpy(q->image.error, reason, sizeof(reason));
	return err;
}

/* Step 3; on success @a has the old table. */
static int switch_over(struct qcow2 *q, struct applying *a)
{
	struct qcow2_header before = q->header;
	struct qcow2_memtable l1 = q->l1;
	int err;

	q->header.l1_offset = a->l1.offset;
	q->header.l1_entries = MAX(a->tree.entries, UINT32_C(1));
	q->header.l1_used = a->tree.entries;
	q->header.size_bytes = a->size_bytes;
	err = qcow2_header_update(q);
	if (err) {
		q->header.l1_offset = before.l1_offset;
		q->header.l1_entries = before.l1_entries;
		q->header.l1_used = before.l1_used;
		q->header.size_bytes = before.size_bytes;
		return err;
	}
	q->l1 = a->l1;
	qcow2_places_deinit(&q->places);
	a->l1 = l1;
	/* What lies past the old table's end in its last cluster is nothing. */
	a->tree = (struct qcow2_tree){l1.data, before.l1_entries};
	q->image.size_bytes = a->size_bytes;
	q->copy.state = QCOW2_COPY_IDLE;
	return 0;
}

static int apply(struct qcow2 *q, struct applying *a)
{
	struct qcow2_tree active = {q->l1.data, q->header.l1_entries};
	int err = qcow2_tree_check(q, active);

	if (err == 0)
		err = qcow2_tree_check_raise(q, a->tree);
	if (err == 0)
		err = set_dirty(q, true);
	if (err)
		return err;
	err = prepare_apply(q, a);
	if (err)
		return undo_apply(q, a, err);
	err = switch_over(q, a);
	if (err == 0)
		err = qcow2_tree_lower(q, a->tree);
	if (err == 0)
		err = give_back(q, a->l1.offset, a->l1.placed);
	return finish(q, err);
}

int qcow2_snapshot_apply(struct image *image, const char *name)
{
	struct qcow2 *q = qcow2_of(image);
	const struct qcow2_snapshot *s = NULL;
	struct qcow2_snapshot_table table;
	struct applying a = {0};
	int err = begin(q, &table);

	if (err)
		return err;
	s = qcow2_snapshot_find_any(&table, name);
	err = s ? 0 : not_found(q, name);
	if (err == 0)
		err = qcow2_bitmaps_forbid_switch(q);
	if (err == 0 && q->header.version < 3 &&
	    s->size_bytes != q->header.size_bytes)
		err = image_set_error(image, -ENOTSUP,
				      "the snapshot's disk has another size, "
				      "and a version 2 image with snapshots "
				      "cannot be resized");
	if (err == 0)
		err = make_l1(q, s, &a);
	if (err == 0)
		err = apply(q, &a);
	qcow2_memtable_deinit(&a.l1);
	qcow2_snapshot_table_deinit(&table);
	return err;
}
