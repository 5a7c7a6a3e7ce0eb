/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making up for what a killed process did not flush, from its journal.
 *
 * Of each guest cluster only the last record counts, and only if the entry is
 * not on disk already: so it does not matter how much of a flush, or of an
 * earlier replay, was done when the process died. The host cluster that a
 * record names was free when it was given out, and what lies in it is the
 * guest's data, or zeroes where that data was never reported to be written.
 *
 * Its refcount on disk is usually zero. It is one if the process was killed
 * between writing refcounts and mappings; the same could be said by a record
 * that lies, so then all tables are searched for a use of the cluster.
 *
 * Everything is judged before anything is changed. Then clusters are taken
 * before anything else could be placed in them, and then the entries change as
 * any other change does: the old cluster is queued to be freed, and flushes
 * write all of it in their usual order.
 */
#include <errno.h>
#include <stdlib.h>

#include "image/open.h"
#include "qcow2/alloc.h"
#include "qcow2/free.h"
#include "qcow2/refcount.h"
#include "qcow2/references.h"
#include "qcow2/subcluster.h"
#include "qcow2/table.h"

enum {
	/* A step that gets no further in so many tries never will. */
	MAX_TRIES = 1000,
	/*
	 * How far past the file's end an honest record can point: for each
	 * record a cluster, its L2 table and its refcount block; and what was
	 * given out and never mapped.
	 */
	CLUSTERS_PER_RECORD = 3,
	MAX_UNMAPPED = 1 << 20,
};

/* One L2 entry that has to change. */
struct change {
	uint64_t guest; /* cluster */
	uint64_t entry;
	uint64_t bitmap; /* of an extended entry; else 0 */
	size_t at;	 /* of the record */
	bool done;	 /* on disk already */
	bool takes;	 /* a host cluster that was not mapped before */
	bool counted;	 /* its refcount is not zero */
};

struct replay {
	struct qcow2 *q;
	struct change *changes;
	size_t count;
	struct qcow2_suspects hosts; /* taken by the changes */
	uint64_t limit; /* host clusters past this are no honest record's */
};

#define LIE(r, change, ...) \
	lie((r)->q, (change)->guest, (change)->entry, __VA_ARGS__)

static int lie(struct qcow2 *q, uint64_t guest, uint64_t entry,
	       const char *what)
{
	return image_set_error(&q->image, IMAGE_E_CORRUPT,
			       "the journal's entry 0x%llx for guest cluster "
			       "%llu %s; nothing was replayed",
			       (unsigned long long)entry,
			       (unsigned long long)guest, what);
}

/* Does what the answer in @need asks for, so that the step can go on. */
static int obey(struct qcow2 *q, const struct image_extent *need)
{
	int err;

	switch (need->kind) {
	case IMAGE_NEED:
		err = store_read(need->store, need->host_offset, need->buffer,
				 need->host_bytes);
		qcow2_provide(&q->image, need, err);
		return err;
	case IMAGE_MUST_FLUSH:
		return image_flush_sync(&q->image);
	default:
		return -EBUSY;
	}
}

/* Carries out @step, which may be asked again, to its end. */
static int carry_out(struct replay *r,
		     int (*step)(struct replay *r, struct change *change,
				 struct image_extent *need),
		     struct change *change)
{
	struct image_extent need;
	int err = QCOW2_ANSWERED;

	for (int i = 0; i < MAX_TRIES && err == QCOW2_ANSWERED; i++) {
		err = step(r, change, &need);
		if (err == QCOW2_ANSWERED) {
			int obeyed = obey(r->q, &need);

			if (obeyed)
				return obeyed;
		}
	}
	return err == QCOW2_ANSWERED ? -EBUSY : err;
}

static int for_all(struct replay *r,
		   int (*step)(struct replay *r, struct change *change,
			       struct image_extent *need))
{
	int err = 0;

	for (size_t i = 0; i < r->count && err == 0; i++)
		err = carry_out(r, step, &r->changes[i]);
	return err;
}

static int compare_changes(const void *a, const void *b)
{
	const struct change *x = a, *y = b;

	if (x->guest != y->guest)
		return x->guest < y->guest ? -1 : 1;
	return (x->at > y->at) - (x->at < y->at);
}

/* The last record of each guest cluster. */
static int collect(struct replay *r, const struct journal_record *records,
		   size_t count)
{
	size_t kept = 0;

	r->changes = calloc(count, sizeof(*r->changes));
	if (!r->changes)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		r->changes[i] = (struct change){
			.guest = records[i].cluster,
			.entry = records[i].entry,
			.bitmap = records[i].detail,
			.at = i,
		};
	qsort(r->changes, count, sizeof(*r->changes), compare_changes);
	for (size_t i = 0; i < count; i++)
		if (i + 1 == count ||
		    r->changes[i].guest != r->changes[i + 1].guest)
			r->changes[kept++] = r->changes[i];
	r->count = kept;
	return 0;
}

static uint64_t host_of(const struct qcow2 *q, uint64_t entry)
{
	return qcow2_cluster_of(q, entry & QCOW2_OFFSET_MASK);
}

/* A form in which no cluster is mapped. */
static bool maps_nothing(const struct qcow2 *q, const struct change *c)
{
	if (q->extended)
		return c->entry == 0;
	return c->entry == (q->header.version < 3 ? 0 : QCOW2_ZERO);
}

/*
 * What our own changes of an entry are; see write.c, pending.c, zero.c and
 * subcluster-*.c.
 */
static int check_form(const struct replay *r, const struct change *c)
{
	const struct qcow2 *q = r->q;

	if (c->guest >=
	    div_round_up(q->image.size_bytes, qcow2_cluster_bytes(q)))
		return LIE(r, c, "is not of this image");
	if (q->extended ? qcow2_extended_kind(q, c->entry, c->bitmap) ==
				  QCOW2_CORRUPT_ENTRY
			: c->bitmap != 0)
		return LIE(r, c, "has a bitmap that cannot be");
	if (maps_nothing(q, c))
		return 0;
	if (qcow2_entry_kind(q, c->entry) != QCOW2_NORMAL ||
	    !(c->entry & QCOW2_COPIED || q->extended))
		return LIE(r, c, "is not of a kind that is ever written");
	if (q->data_file)
		return qcow2_is_misplaced(q, c->guest, c->entry)
			       ? LIE(r, c, "is of another place")
			       : 0;
	if (host_of(q, c->entry) >= r->limit)
		return LIE(r, c, "points outside the file");
	return 0;
}

/* What the entry uses loses a reference: so it must have one. */
static int check_old(struct replay *r, const struct change *c, uint64_t old,
		     uint64_t bitmap, struct image_extent *need)
{
	struct qcow2 *q = r->q;
	enum qcow2_cluster_kind kind =
		q->extended ? qcow2_extended_kind(q, old, bitmap)
			    : qcow2_entry_kind(q, old);
	struct metacache_block *refs[2];

	if (kind == QCOW2_UNALLOCATED || kind == QCOW2_ZERO_PLAIN)
		return 0;
	if (kind == QCOW2_CORRUPT_ENTRY || !qcow2_entry_in_file(q, old))
		return qcow2_corrupt_entry(q, c->guest, old);
	return qcow2_free_prepare(q, old, need, refs);
}

/* In a cluster that a snapshot has, too, sub-clusters only cease to be data. */
static int check_shared(const struct replay *r, const struct change *c,
			uint64_t old, uint64_t bitmap)
{
	if (old != c->entry || (qcow2_subs_data(c->bitmap) & ~bitmap))
		return LIE(r, c, "is not of a kind that is ever written");
	return 0;
}

/* The entry keeps its host cluster, which is neither taken nor freed. */
static bool stays(const struct change *c, uint64_t old)
{
	return old == c->entry || old == (c->entry | QCOW2_ZERO);
}

/* Marks what is on disk already as done. */
static int judge(struct replay *r, struct change *c, struct image_extent *need)
{
	struct qcow2 *q = r->q;
	uint64_t host = host_of(q, c->entry);
	struct metacache_block *ref;
	struct qcow2_l2 l2;
	uint64_t old, bitmap;
	int err = check_form(r, c);

	if (err == 0)
		err = qcow2_l2_find(q, c->guest, need, &l2);
	if (err)
		return err;
	old = l2.slice ? qcow2_l2_get(&l2, 0) : 0;
	bitmap = l2.slice && q->extended ? qcow2_l2_bitmap(&l2, 0) : 0;
	c->done = old == c->entry && bitmap == c->bitmap;
	if (c->done)
		return 0;
	err = check_old(r, c, old, bitmap, need);
	if (err == 0 && q->extended && c->entry != 0 &&
	    !(c->entry & QCOW2_COPIED))
		err = check_shared(r, c, old, bitmap);
	if (err || host == 0 || q->data_file || stays(c, old))
		return err;
	err = qcow2_ref_slice(q, host, need, &ref);
	if (err)
		return err;
	c->takes = true;
	c->counted = ref && qcow2_ref_get(q, ref, host) != 0;
	return 0;
}

static void drop_done(struct replay *r)
{
	size_t kept = 0;

	for (size_t i = 0; i < r->count; i++)
		if (!r->changes[i].done)
			r->changes[kept++] = r->changes[i];
	r->count = kept;
}

static int compare_hosts(const void *a, const void *b)
{
	const struct qcow2_suspect *x = a, *y = b;

	return (x->cluster > y->cluster) - (x->cluster < y->cluster);
}

static int list_hosts(struct replay *r)
{
	struct qcow2_suspects *hosts = &r->hosts;

	hosts->all = calloc(r->count + 1, sizeof(*hosts->all));
	if (!hosts->all)
		return -ENOMEM;
	for (size_t i = 0; i < r->count; i++)
		if (r->changes[i].takes)
			hosts->all[hosts->count++].cluster =
				host_of(r->q, r->changes[i].entry);
	qsort(hosts->all, hosts->count, sizeof(*hosts->all), compare_hosts);
	for (size_t i = 1; i < hosts->count; i++)
		if (hosts->all[i].cluster == hosts->all[i - 1].cluster)
			return image_set_error(
				&r->q->image, IMAGE_E_CORRUPT,
				"the journal gives host cluster %llu to two "
				"guest clusters; nothing was replayed",
				(unsigned long long)hosts->all[i].cluster);
	return 0;
}

/* No change takes what anything else uses. */
static int check_hosts(struct replay *r)
{
	bool counted = false;
	int err = 0;

	qcow2_mark_tables(r->q, &r->hosts);
	for (size_t i = 0; i < r->count; i++)
		counted |= r->changes[i].takes && r->changes[i].counted;
	if (counted)
		err = qcow2_mark_contents(r->q, &r->hosts);
	for (size_t i = 0; i < r->count && err == 0; i++) {
		const struct change *c = &r->changes[i];

		if (c->takes &&
		    qcow2_suspects_find(&r->hosts, host_of(r->q, c->entry))
			    ->used)
			err = LIE(r, c, "points at what is in use");
	}
	return err;
}

/*
 * Where a refcount block for this host cluster goes, if there is none: the
 * block was lost with the process, so it lay in a cluster without a record.
 */
static uint64_t home_for(const struct replay *r, uint64_t host)
{
	uint64_t first = host >> r->q->refblock_bits << r->q->refblock_bits;
	uint64_t end = first + (UINT64_C(1) << r->q->refblock_bits);
	uint64_t at = first;

	while (at < end && (qcow2_suspects_find(&r->hosts, at) ||
			    qcow2_overlaps_tables(r->q, at, 1)))
		at++;
	return at < end ? at : UINT64_MAX;
}

static int check_home(struct replay *r, struct change *c,
		      struct image_extent *need)
{
	uint64_t index = host_of(r->q, c->entry) >> r->q->refblock_bits;

	if (!c->takes || (index < r->q->reftable.entries &&
			  qcow2_memtable_get(&r->q->reftable, index) != 0))
		return 0;
	if (home_for(r, host_of(r->q, c->entry)) == UINT64_MAX)
		return LIE(r, c, "leaves no room for refcounts");
	return 0;
}

static int take_host(struct replay *r, struct change *c,
		     struct image_extent *need)
{
	uint64_t host = host_of(r->q, c->entry);

	if (!c->takes)
		return 0;
	return qcow2_alloc_at(r->q, host, home_for(r, host), need);
}

static int set_entry(struct replay *r, struct change *c,
		     struct image_extent *need)
{
	struct qcow2 *q = r->q;
	struct metacache_block *refs[2];
	struct qcow2_l2 l2;
	uint64_t old;
	int err;

	if (!qcow2_free_has_room(q, 2))
		return qcow2_answer_full(q, need);
	err = qcow2_l2_own(q, c->guest, need, &l2);
	if (err)
		return err;
	old = qcow2_l2_get(&l2, 0);
	if (qcow2_entry_kind(q, old) == QCOW2_CORRUPT_ENTRY)
		return qcow2_corrupt_entry(q, c->guest, old);
	if (!stays(c, old)) {
		metacache_pin(&q->cache, l2.slice);
		err = qcow2_free_prepare(q, old, need, refs);
		metacache_unpin(&q->cache, l2.slice);
		if (err)
			return err;
		qcow2_free_entry(q, old, refs);
	}
	qcow2_l2_set_extended(q, l2.slice, l2.index, c->guest, c->entry,
			      c->bitmap);
	return 0;
}

static int run(struct replay *r)
{
	int err = for_all(r, judge);

	if (err)
		return err;
	drop_done(r);
	/*
	 * Autoclear bits are cleared and bitmaps marked on disk before the first
	 * change: whoever undid that has written to the image since.
	 */
	if (r->count && (r->q->autoclear_stale || r->q->bitmaps.must_mark))
		return image_set_error(
			&r->q->image, IMAGE_E_CORRUPT,
			"the journal has changes from before another program "
			"changed the image; nothing was replayed");
	err = list_hosts(r);
	if (err == 0)
		err = check_hosts(r);
	if (err == 0)
		err = for_all(r, check_home);
	if (err)
		return err;
	/* New metadata goes past what the records name. */
	if (r->hosts.count)
		r->q->end_cluster =
			MAX(r->q->end_cluster,
			    r->hosts.all[r->hosts.count - 1].cluster + 1);
	err = for_all(r, take_host);
	if (err == 0)
		err = for_all(r, set_entry);
	return err;
}

int qcow2_replay(struct image *image, const struct journal_record *records,
		 size_t count)
{
	struct qcow2 *q = qcow2_of(image);
	struct replay r = {.q = q};
	int err = collect(&r, records, count);

	r.limit = MIN(q->host_limit, q->end_cluster +
					     count * CLUSTERS_PER_RECORD +
					     MAX_UNMAPPED);
	if (err == 0)
		err = run(&r);
	if (err == 0)
		err = qcow2_settle(q);
	free(r.changes);
	free(r.hosts.all);
	return err;
}
