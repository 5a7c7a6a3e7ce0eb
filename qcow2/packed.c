/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Room for compressed clusters ("Compressed Clusters Descriptor"). Streams are
 * packed byte after byte: several share a host cluster, whose refcount counts
 * them, and one may run on into the next host cluster if that is free.
 *
 * What a flush has made stable shares no block of a disk with what comes after
 * it, so that a write that a crash tears apart harms nothing older.
 */
#include <errno.h>

#include "qcow2/alloc.h"
#include "qcow2/free.h"
#include "qcow2/map.h"
#include "qcow2/pending.h"
#include "qcow2/refcount.h"
#include "qcow2/subcluster.h"

enum {
	BLOCK_BYTES = 4096, /* that a disk may write as one */
	/* In the queue: the old entry's clusters, or the new one's. */
	FREES = 2,
};

/* A place for a stream, and the refcounts of the one or two clusters. */
struct room {
	uint64_t offset;
	struct metacache_block *refs[2];
};

static void pack_on_at(struct qcow2 *q, uint64_t offset)
{
	q->pack_at = qcow2_in_cluster(q, offset) ? offset : 0;
}

void qcow2_packed_flush(struct qcow2 *q)
{
	pack_on_at(q, align_up(q->pack_at, BLOCK_BYTES));
}

void qcow2_packed_forget(struct qcow2 *q, uint64_t cluster)
{
	if (q->pack_at && qcow2_cluster_of(q, q->pack_at) == cluster)
		q->pack_at = 0;
}

static uint64_t most_references(const struct qcow2 *q)
{
	return q->header.refcount_order == 6
		       ? UINT64_MAX
		       : (UINT64_C(1) << (1u << q->header.refcount_order)) - 1;
}

/* The refcounts of the cluster at pack_at; NULL: nothing can be added to it. */
static int find_shared(struct qcow2 *q, struct image_extent *ret,
		       struct metacache_block **ret_ref)
{
	uint64_t cluster = qcow2_cluster_of(q, q->pack_at);
	uint64_t references;
	int err;

	*ret_ref = NULL;
	if (!q->pack_at)
		return 0;
	err = qcow2_ref_slice(q, cluster, ret, ret_ref);
	if (err)
		return err;
	references = *ret_ref ? qcow2_ref_get(q, *ret_ref, cluster) : 0;
	if (references == 0 || references >= most_references(q))
		*ret_ref = NULL;
	return 0;
}

static void add_reference(struct qcow2 *q, struct metacache_block *ref,
			  uint64_t cluster)
{
	qcow2_ref_set(q, ref, cluster, qcow2_ref_get(q, ref, cluster) + 1);
}

/* In a new cluster, and perhaps from the end of the shared one on. */
static int take_more(struct qcow2 *q, uint32_t bytes,
		     struct metacache_block *shared, struct image_extent *ret,
		     struct room *room)
{
	uint64_t cluster = qcow2_cluster_of(q, q->pack_at);
	struct qcow2_run run;
	int err;

	if (shared)
		metacache_pin(&q->cache, shared);
	err = qcow2_alloc(q, QCOW2_ALLOC_DATA, 1, ret, &run);
	if (err == 0 && shared && run.first == cluster + 1) {
		add_reference(q, shared, cluster);
		*room = (struct room){q->pack_at, {shared, run.ref}};
	} else if (err == 0) {
		*room = (struct room){run.first << q->cluster_bits,
				      {run.ref, NULL}};
	}
	if (shared)
		metacache_unpin(&q->cache, shared);
	if (err == 0)
		pack_on_at(q, room->offset + bytes);
	return err;
}

static int take_room(struct qcow2 *q, uint32_t bytes, struct image_extent *ret,
		     struct room *room)
{
	struct metacache_block *shared;
	int err = find_shared(q, ret, &shared);

	if (err)
		return err;
	if (!shared ||
	    bytes > qcow2_cluster_bytes(q) - qcow2_in_cluster(q, q->pack_at))
		return take_more(q, bytes, shared, ret, room);
	*room = (struct room){q->pack_at, {shared, NULL}};
	add_reference(q, shared, qcow2_cluster_of(q, q->pack_at));
	pack_on_at(q, q->pack_at + bytes);
	return 0;
}

static uint64_t packed_entry(const struct qcow2 *q, uint64_t offset,
			     uint32_t bytes)
{
	unsigned offset_bits = 62 - (q->cluster_bits - 8);
	uint64_t more = (offset + bytes - 1) / 512 - offset / 512;

	return QCOW2_COMPRESSED | more << offset_bits | offset;
}

static int find_old(struct qcow2 *q, uint64_t guest, const struct qcow2_l2 *l2,
		    struct image_extent *ret, struct metacache_block *refs[2])
{
	uint64_t old = qcow2_l2_get(l2, 0);
	enum qcow2_cluster_kind kind = qcow2_l2_kind(q, l2, 0);

	refs[0] = refs[1] = NULL;
	if (kind == QCOW2_UNALLOCATED || kind == QCOW2_ZERO_PLAIN)
		return 0;
	if (kind == QCOW2_CORRUPT_ENTRY || !qcow2_entry_in_file(q, old))
		return qcow2_corrupt_entry(q, guest, old);
	return qcow2_free_prepare(q, old, ret, refs);
}

static void pin_all(struct qcow2 *q, struct metacache_block *const refs[2])
{
	for (int i = 0; i < 2; i++)
		if (refs[i])
			metacache_pin(&q->cache, refs[i]);
}

static void unpin_all(struct qcow2 *q, struct metacache_block *const refs[2])
{
	for (int i = 0; i < 2; i++)
		if (refs[i])
			metacache_unpin(&q->cache, refs[i]);
}

/* The pins of @l2 and @old become the pending allocation's. */
static void hand_out(struct qcow2 *q, uint64_t guest, uint32_t bytes,
		     const struct qcow2_l2 *l2,
		     struct metacache_block *const old[2],
		     const struct room *room, struct image_extent *ret)
{
	uint64_t offset = guest << q->cluster_bits;
	struct qcow2_pending pending = {
		.count = 1,
		.guest = guest,
		.host = qcow2_cluster_of(q, room->offset),
		.index = l2->index,
		.packed = packed_entry(q, room->offset, bytes),
		.frees = FREES,
		.l2 = l2->slice,
		.new_ref = room->refs[0],
		.new_ref_end = room->refs[1],
		.old_ref = {old[0], old[1]},
	};

	pin_all(q, room->refs);
	*ret = (struct image_extent){
		.kind = IMAGE_ALLOCATE,
		.length = MIN(qcow2_cluster_bytes(q),
			      q->image.size_bytes - offset),
		.store = q->image.data_store,
		.host_offset = room->offset,
		.host_bytes = bytes,
		.ticket = qcow2_pending_add(q, &pending),
	};
}

static int map_packed(struct qcow2 *q, uint64_t guest, uint32_t bytes,
		      struct image_extent *ret)
{
	unsigned offset_bits = 62 - (q->cluster_bits - 8);
	struct metacache_block *old[2];
	struct qcow2_l2 l2;
	struct room room;
	int err = qcow2_l2_own(q, guest, ret, &l2);

	if (err)
		return err;
	if (qcow2_pending_limit(q, guest, 1) == 0 || qcow2_pending_is_full(q))
		return qcow2_answer_busy(ret);
	if (!qcow2_free_has_room(q, FREES))
		return qcow2_answer_full(q, ret);
	if (q->end_cluster >> (offset_bits - q->cluster_bits))
		return IMAGE_E_NO_SPACE;
	metacache_pin(&q->cache, l2.slice);
	err = find_old(q, guest, &l2, ret, old);
	if (err == 0) {
		pin_all(q, old);
		err = take_room(q, bytes, ret, &room);
		if (err == 0) {
			hand_out(q, guest, bytes, &l2, old, &room, ret);
			return 0;
		}
		unpin_all(q, old);
	}
	metacache_unpin(&q->cache, l2.slice);
	return err;
}

int qcow2_map_packed(struct image *image, uint64_t offset, uint32_t bytes,
		     struct image_extent *ret)
{
	struct qcow2 *q = qcow2_of(image);
	int err;

	if (q->for_check)
		return -EROFS;
	if (q->corrupt_met)
		return IMAGE_E_CORRUPT;
	/* A journal's records are of whole clusters. */
	if (image->data_store != image->store || image->cipher ||
	    image->journal)
		return -ENOTSUP;
	if (qcow2_must_prepare(q))
		err = qcow2_prepare_first_change(q, ret);
	else
		err = map_packed(q, qcow2_cluster_of(q, offset), bytes, ret);
	if (err == 0)
		qcow2_bitmaps_follow(q, offset, ret->length);
	return qcow2_changed(q, err == QCOW2_ANSWERED ? 0 : err);
}
