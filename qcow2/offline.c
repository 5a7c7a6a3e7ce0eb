/* SPDX-License-Identifier: Apache-2.0 */
#include "qcow2/offline.h"

#include <errno.h>

#include "image/open.h"
#include "qcow2/alloc.h"
#include "qcow2/free.h"
#include "qcow2/refcount.h"

enum {
	/* Flushes in a row that did not let a step go on. */
	MAX_VAIN_FLUSHES = 8,
};

int qcow2_offline_run(struct qcow2 *q,
		      int (*step)(struct qcow2 *q, void *opaque,
				  struct image_extent *ret),
		      void *opaque)
{
	unsigned vain = 0;

	for (;;) {
		struct image_extent answer = {0};
		int err = step(q, opaque, &answer);

		if (err != QCOW2_ANSWERED)
			return err;
		if (answer.kind == IMAGE_NEED) {
			err = image_read_need(&q->image, &answer);
			vain = 0;
		} else if (vain++ < MAX_VAIN_FLUSHES) {
			err = image_flush_sync(&q->image);
		} else {
			err = image_set_error(&q->image, -ENOBUFS,
					      "the cache of metadata is too "
					      "small for this change");
		}
		if (err)
			return err;
	}
}

/* A search for free clusters in a row, among those with refcount blocks. */
struct search {
	uint32_t count;
	uint64_t at;
	uint64_t run; /* clusters before @at that are free */
};

static int search_step(struct qcow2 *q, void *opaque, struct image_extent *ret)
{
	struct search *s = opaque;

	while (s->at < q->end_cluster && s->run < s->count) {
		struct metacache_block *ref;
		int err = qcow2_ref_slice(q, s->at, ret, &ref);

		if (err)
			return err;
		if (!ref) {
			s->at = ((s->at >> q->refblock_bits) + 1)
				<< q->refblock_bits;
			s->run = 0;
			continue;
		}
		do {
			bool used = qcow2_ref_get(q, ref, s->at) != 0;

			s->run = used ? 0 : s->run + 1;
			s->at++;
		} while (s->at < q->end_cluster && s->run < s->count &&
			 qcow2_ref_index(q, s->at) != 0);
	}
	return 0;
}

static int take_step(struct qcow2 *q, void *opaque, struct image_extent *ret)
{
	return qcow2_alloc_row(q, opaque, ret);
}

int qcow2_offline_take(struct qcow2 *q, uint64_t bytes, uint64_t *ret_offset)
{
	uint64_t count = div_round_up(bytes, qcow2_cluster_bytes(q));
	struct search search = {.at = q->free_hint};
	struct qcow2_row row = {0};
	int err;

	if (count == 0 || count > UINT32_MAX)
		return -EINVAL;
	row.count = search.count = (uint32_t)count;
	err = qcow2_offline_run(q, search_step, &search);
	if (err == 0 && search.run >= count)
		row.first = search.at - count;
	if (err == 0)
		err = qcow2_offline_run(q, take_step, &row);
	if (err == 0)
		*ret_offset = row.first << q->cluster_bits;
	return err;
}

struct range {
	uint64_t at; /* host clusters */
	uint64_t end;
	uint64_t value;
};

static int give_back_step(struct qcow2 *q, void *opaque,
			  struct image_extent *ret)
{
	struct range *range = opaque;

	while (range->at < range->end) {
		struct metacache_block *ref;
		int err;

		if (!qcow2_has_room(q) || !qcow2_free_has_room(q, 1))
			return qcow2_answer_full(q, ret);
		err = qcow2_ref_slice(q, range->at, ret, &ref);
		if (err)
			return err;
		if (!ref || qcow2_ref_get(q, ref, range->at) == 0)
			return qcow2_changed(
				q,
				qcow2_corrupt(q,
					      "host cluster %llu is used and "
					      "its refcount is 0",
					      (unsigned long long)range->at));
		qcow2_free_queue(q, ref, range->at, 1);
		range->at++;
	}
	return 0;
}

int qcow2_offline_give_back(struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
	struct range range = {
		.at = qcow2_cluster_of(q, offset),
		.end = qcow2_cluster_of(q, offset) +
		       div_round_up(bytes, qcow2_cluster_bytes(q)),
	};

	return qcow2_offline_run(q, give_back_step, &range);
}

static int get_step(struct qcow2 *q, void *opaque, struct image_extent *ret)
{
	struct range *range = opaque;
	struct metacache_block *ref;
	int err = qcow2_ref_slice(q, range->at, ret, &ref);

	if (err == 0)
		range->value = ref ? qcow2_ref_get(q, ref, range->at) : 0;
	return err;
}

int qcow2_offline_ref_get(struct qcow2 *q, uint64_t cluster, uint64_t *ret)
{
	struct range range = {.at = cluster};
	int err = qcow2_offline_run(q, get_step, &range);

	if (err == 0)
		*ret = range.value;
	return err;
}

static int set_step(struct qcow2 *q, void *opaque, struct image_extent *ret)
{
	struct range *range = opaque;
	struct metacache_block *ref;
	int err;

	if (!qcow2_has_room(q))
		return qcow2_answer_full(q, ret);
	err = qcow2_ref_slice(q, range->at, ret, &ref);
	if (err)
		return err;
	if (!ref)
		return range->value == 0
			       ? 0
			       : qcow2_corrupt(q,
					       "host cluster %llu has no "
					       "refcount block",
					       (unsigned long long)range->at);
	qcow2_ref_set(q, ref, range->at, range->value);
	if (range->value == 0)
		q->free_hint = MIN(q->free_hint, range->at);
	return 0;
}

int qcow2_offline_ref_set(struct qcow2 *q, uint64_t cluster, uint64_t value)
{
	unsigned bits = 1u << q->header.refcount_order;
	struct range range = {.at = cluster, .value = value};

	if (bits < 64 && value >> bits)
		return image_set_error(&q->image, -EOVERFLOW,
				       "refcounts of %u bits cannot count %llu "
				       "references",
				       bits, (unsigned long long)value);
	return qcow2_offline_run(q, set_step, &range);
}

int qcow2_offline_stable(struct qcow2 *q)
{
	return image_flush_sync(&q->image);
}
