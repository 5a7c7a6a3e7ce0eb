/* SPDX-License-Identifier: Apache-2.0 */
#include "qcow2/free.h"

#include "qcow2/refcount.h"
#include "qcow2/table.h"

void qcow2_free_queue(struct qcow2 *q, struct metacache_block *ref,
		      uint64_t first, uint32_t count)
{
	struct qcow2_free *last =
		q->free_count ? &q->frees[q->free_count - 1] : NULL;

	/* What a plan has taken already is not its any more to extend. */
	if (last && q->free_count > q->plan.frees && last->flush == 0 &&
	    last->ref == ref && last->first + last->count == first) {
		last->count += count;
		return;
	}
	metacache_pin(&q->cache, ref);
	q->frees[q->free_count++] = (struct qcow2_free){
		.first = first,
		.count = count,
		.ref = ref,
	};
}

uint32_t qcow2_entry_clusters(const struct qcow2 *q, uint64_t entry,
			      uint64_t *ret_first)
{
	if (q->data_file)
		return 0;
	if (entry & QCOW2_COMPRESSED) {
		uint64_t offset, bytes;

		qcow2_entry_compressed(q, entry, &offset, &bytes);
		*ret_first = qcow2_cluster_of(q, offset);
		return qcow2_cluster_of(q, offset + bytes - 1) - *ret_first + 1;
	}
	*ret_first = qcow2_cluster_of(q, entry & QCOW2_OFFSET_MASK);
	return *ret_first != 0;
}

int qcow2_free_prepare_run(struct qcow2 *q, uint64_t first, uint32_t count,
			   struct image_extent *ret,
			   struct metacache_block *ret_refs[2])
{
	ret_refs[0] = ret_refs[1] = NULL;
	for (uint32_t i = 0; i < count; i++) {
		struct metacache_block *ref;
		int err = qcow2_ref_slice(q, first + i, ret, &ref);

		if (err)
			return err;
		if (!ref || qcow2_ref_get(q, ref, first + i) == 0)
			return qcow2_corrupt(
				q,
				"host cluster %llu is used and its refcount is 0",
				(unsigned long long)(first + i));
		if (i == 0)
			ret_refs[0] = ref;
		ret_refs[1] = ref;
	}
	return 0;
}

int qcow2_free_prepare(struct qcow2 *q, uint64_t entry,
		       struct image_extent *ret,
		       struct metacache_block *ret_refs[2])
{
	uint64_t first = 0;
	uint32_t count = qcow2_entry_clusters(q, entry, &first);

	return qcow2_free_prepare_run(q, first, count, ret, ret_refs);
}

void qcow2_free_entry(struct qcow2 *q, uint64_t entry,
		      struct metacache_block *const refs[2])
{
	uint64_t first = 0;
	uint32_t count = qcow2_entry_clusters(q, entry, &first);
	uint32_t index, in_first;

	if (count == 0)
		return;
	index = qcow2_ref_index(q, first);
	in_first = MIN(count, (UINT32_C(1) << q->slice_ref_bits) - index);
	qcow2_free_queue(q, refs[0], first, in_first);
	if (count > in_first)
		qcow2_free_queue(q, refs[1], first + in_first,
				 count - in_first);
}

void qcow2_free_stable(struct qcow2 *q, uint32_t count, uint64_t flush)
{
	for (uint32_t i = 0; i < count; i++)
		if (q->frees[i].flush == 0)
			q->frees[i].flush = flush;
}

/* Keeps a last reference until the cluster is punched. */
static void queue_punch(struct qcow2 *q, struct metacache_block *ref,
			uint64_t cluster)
{
	struct qcow2_free *last = q->punch_count > q->plan.punches
					  ? &q->punches[q->punch_count - 1]
					  : NULL;

	if (last && last->ref == ref && last->first + last->count == cluster) {
		last->count++;
		return;
	}
	if (q->punch_count == QCOW2_MAX_FREES) {
		/* It keeps its space in the file, and can be used again. */
		qcow2_ref_set(q, ref, cluster, 0);
		q->free_hint = MIN(q->free_hint, cluster);
		return;
	}
	metacache_pin(&q->cache, ref);
	q->punches[q->punch_count++] = (struct qcow2_free){
		.first = cluster,
		.count = 1,
		.ref = ref,
	};
}

static void give_up(struct qcow2 *q, struct metacache_block *ref,
		    uint64_t cluster)
{
	qcow2_packed_forget(q, cluster);
	queue_punch(q, ref, cluster);
}

static void drop_references(struct qcow2 *q, const struct qcow2_free *run)
{
	for (uint32_t i = 0; i < run->count; i++) {
		uint64_t cluster = run->first + i;
		uint64_t count = qcow2_ref_get(q, run->ref, cluster);

		if (count > 1)
			qcow2_ref_set(q, run->ref, cluster, count - 1);
		else if (count == 1)
			give_up(q, run->ref, cluster);
		else
			(void)qcow2_changed(
				q, qcow2_corrupt(q,
						 "host cluster %llu was freed "
						 "twice",
						 (unsigned long long)cluster));
	}
	metacache_unpin(&q->cache, run->ref);
}

void qcow2_reclaim(struct image *image, uint64_t flush)
{
	struct qcow2 *q = qcow2_of(image);
	uint32_t done = 0;

	while (done < q->free_count && q->frees[done].flush != 0 &&
	       q->frees[done].flush <= flush)
		drop_references(q, &q->frees[done++]);
	if (done == 0)
		return;
	q->free_count -= done;
	q->plan.frees -= MIN(q->plan.frees, done);
	memmove(q->frees, q->frees + done, q->free_count * sizeof(*q->frees));
}

void qcow2_free_punched(struct qcow2 *q, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		const struct qcow2_free *run = &q->punches[i];

		for (uint32_t c = 0; c < run->count; c++)
			if (qcow2_ref_get(q, run->ref, run->first + c) == 1)
				qcow2_ref_set(q, run->ref, run->first + c, 0);
		q->free_hint = MIN(q->free_hint, run->first);
		metacache_unpin(&q->cache, run->ref);
	}
	if (count == 0)
		return;
	q->punch_count -= count;
	memmove(q->punches, q->punches + count,
		q->punch_count * sizeof(*q->punches));
}
