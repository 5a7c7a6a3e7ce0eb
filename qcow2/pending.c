/* SPDX-License-Identifier: Apache-2.0 */
#include "qcow2/pending.h"

#include "qcow2/free.h"
#include "qcow2/subcluster.h"
#include "qcow2/table.h"

/* Of its cluster @at, the sub-clusters that become data. */
static uint64_t subs_of(const struct qcow2_pending *p, uint64_t at)
{
	unsigned first = at == 0 ? p->first_sub : 0;
	unsigned end = at + 1 == p->count ? p->end_sub : QCOW2_SUBS;

	return qcow2_subs_between(first, end);
}

uint64_t qcow2_pending_limit(const struct qcow2 *q, uint64_t first,
			     uint64_t count)
{
	for (unsigned i = 0; i < q->pending_top; i++) {
		const struct qcow2_pending *p = &q->pending[i];

		if (p->used && ranges_overlap(first, count, p->guest, p->count))
			count = p->guest > first ? p->guest - first : 0;
	}
	return count;
}

bool qcow2_pending_has(const struct qcow2 *q, uint64_t guest_cluster,
		       uint64_t subs)
{
	for (unsigned i = 0; i < q->pending_top; i++) {
		const struct qcow2_pending *p = &q->pending[i];
		uint64_t at = guest_cluster - p->guest;

		if (p->used && at < p->count &&
		    (!p->in_place || (subs_of(p, at) & subs)))
			return true;
	}
	return false;
}

unsigned qcow2_pending_add(struct qcow2 *q, const struct qcow2_pending *pending)
{
	unsigned ticket = 0;

	while (q->pending[ticket].used)
		ticket++;
	q->pending[ticket] = *pending;
	q->pending[ticket].used = true;
	q->pending_count++;
	q->pending_top = MAX(q->pending_top, ticket + 1);
	q->frees_reserved += pending->frees;
	if (q->image.journal)
		q->image.journal->reserved += pending->count;
	return ticket;
}

static void map_new_clusters(struct qcow2 *q, const struct qcow2_pending *p)
{
	const struct qcow2_l2 l2 = {
		.slice = p->l2,
		.index = p->index,
		.entry_bits = q->entry_bits,
	};

	for (uint32_t i = 0; i < p->count; i++) {
		uint64_t old = qcow2_l2_get(&l2, i);
		uint64_t bitmap = 0;
		struct metacache_block *refs[2];
		struct image_extent unused;

		if (q->extended)
			bitmap = qcow2_subs_filled(old, qcow2_l2_bitmap(&l2, i),
						   subs_of(p, i));
		/* The slices are pinned: it fails only where refcounts lie. */
		if (!p->in_place &&
		    qcow2_free_prepare(q, old, &unused, refs) == 0)
			qcow2_free_entry(q, old, refs);
		if (p->packed)
			qcow2_l2_set(q, p->l2, p->index + i, p->guest + i,
				     p->packed);
		else
			qcow2_l2_set_extended(
				q, p->l2, p->index + i, p->guest + i,
				(p->host + i) << q->cluster_bits | QCOW2_COPIED,
				bitmap);
	}
}

static void remove_pending(struct qcow2 *q, struct qcow2_pending *p)
{
	metacache_unpin(&q->cache, p->l2);
	if (p->new_ref)
		metacache_unpin(&q->cache, p->new_ref);
	if (p->new_ref_end)
		metacache_unpin(&q->cache, p->new_ref_end);
	for (int i = 0; i < 2; i++)
		if (p->old_ref[i])
			metacache_unpin(&q->cache, p->old_ref[i]);
	p->used = false;
	q->pending_count--;
	while (q->pending_top > 0 && !q->pending[q->pending_top - 1].used)
		q->pending_top--;
}

/* The room of a compressed cluster, which shares its host clusters. */
static void give_up_packed(struct qcow2 *q, const struct qcow2_pending *p)
{
	struct metacache_block *refs[2] = {
		p->new_ref, p->new_ref_end ? p->new_ref_end : p->new_ref};

	qcow2_free_entry(q, p->packed, refs);
}

int qcow2_commit(struct image *image, const struct image_extent *extent,
		 int result)
{
	struct qcow2 *q = qcow2_of(image);
	struct qcow2_pending *p = &q->pending[extent->ticket];

	q->frees_reserved -= p->frees;
	if (q->image.journal)
		q->image.journal->reserved -= p->count;
	if (result == 0)
		map_new_clusters(q, p);
	else if (p->packed)
		give_up_packed(q, p);
	else if (!p->in_place)
		/* Never in a data file: it has no refcounts. */
		qcow2_free_queue(q, p->new_ref, p->host, p->count);
	remove_pending(q, p);
	return 0;
}
