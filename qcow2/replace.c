/* SPDX-License-Identifier: Apache-2.0 */
#include "qcow2/replace.h"

#include "qcow2/free.h"
#include "qcow2/pending.h"

/* Room for one more slice among the two that a pending allocation can hold. */
static bool keep_refs(struct qcow2_target *t,
		      struct metacache_block *const refs[2])
{
	struct metacache_block *kept[2] = {t->refs[0], t->refs[1]};

	for (int i = 0; i < 2; i++) {
		if (!refs[i] || refs[i] == kept[0] || refs[i] == kept[1])
			continue;
		if (kept[0] && kept[1])
			return false;
		kept[kept[0] ? 1 : 0] = refs[i];
	}
	t->refs[0] = kept[0];
	t->refs[1] = kept[1];
	return true;
}

/* Blocks in t->refs are pinned, since looking at further ones loads more. */
int qcow2_target_add_old(struct qcow2 *q, struct qcow2_target *t,
			 uint64_t entry, struct image_extent *ret)
{
	struct metacache_block *before[2] = {t->refs[0], t->refs[1]};
	struct metacache_block *refs[2];
	int err;

	if (!qcow2_entry_in_file(q, entry))
		return qcow2_corrupt_entry(q, t->ask->cluster + t->count,
					   entry);
	if (!qcow2_free_has_room(q, t->frees + 3))
		return qcow2_answer_full(q, ret);
	err = qcow2_free_prepare(q, entry, ret, refs);
	if (err)
		return err;
	if (!keep_refs(t, refs))
		return qcow2_answer_busy(ret);
	for (int i = 0; i < 2; i++)
		if (t->refs[i] && !before[i])
			metacache_pin(&q->cache, t->refs[i]);
	t->frees += 2;
	return 0;
}

int qcow2_target_take(struct qcow2 *q, struct qcow2_target *t,
		      struct image_extent *ret, struct qcow2_run *ret_run)
{
	if (!q->data_file)
		return qcow2_alloc(q, QCOW2_ALLOC_DATA, t->count, ret, ret_run);
	/* What is not mapped there may hold anything, after a crash too. */
	*ret_run = (struct qcow2_run){
		.first = t->ask->cluster,
		.count = t->count,
	};
	return 0;
}

unsigned qcow2_target_promise(struct qcow2 *q, struct qcow2_target *t,
			      const struct qcow2_run *run,
			      struct qcow2_pending *pending)
{
	pending->count = run->count;
	pending->guest = t->ask->cluster;
	pending->host = run->first;
	pending->index = t->l2.index;
	pending->in_place = t->in_place || q->data_file;
	pending->frees = t->frees + 1;
	pending->l2 = t->l2.slice;
	pending->new_ref = run->ref;
	/* The pins go along. */
	for (int i = 0; i < 2; i++) {
		pending->old_ref[i] = t->refs[i];
		t->refs[i] = NULL;
	}
	metacache_pin(&q->cache, pending->l2);
	if (pending->new_ref)
		metacache_pin(&q->cache, pending->new_ref);
	return qcow2_pending_add(q, pending);
}

void qcow2_target_release(struct qcow2 *q, struct qcow2_target *t)
{
	for (int i = 0; i < 2; i++)
		if (t->refs[i])
			metacache_unpin(&q->cache, t->refs[i]);
	metacache_unpin(&q->cache, t->l2.slice);
}
