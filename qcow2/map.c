/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "qcow2/map.h"

#include "qcow2/subcluster.h"

/* How many entries from @l2 on look the same to a reader: @mask'ed equal. */
static uint64_t same_run(const struct qcow2_l2 *l2, uint64_t limit,
			 uint64_t mask)
{
	uint64_t first = qcow2_l2_get(l2, 0) & mask;
	uint64_t run = 1;

	while (run < limit && (qcow2_l2_get(l2, run) & mask) == first)
		run++;
	return run;
}

/*
 * Entries in a row that read as zeroes, and have host clusters in a row, or
 * none.
 */
static int map_zeroes(const struct qcow2 *q, const struct qcow2_ask *ask,
		      const struct qcow2_l2 *l2, struct image_extent *ret)
{
	uint64_t entry = qcow2_l2_get(l2, 0);
	enum qcow2_cluster_kind kind = qcow2_entry_kind(q, entry);
	bool has_room = kind == QCOW2_ZERO_ALLOCATED;
	uint64_t limit = MIN(ask->clusters, (uint64_t)l2->count);
	uint64_t first = entry & QCOW2_OFFSET_MASK;
	uint64_t run = 1;

	for (; run < limit; run++) {
		uint64_t next = qcow2_l2_get(l2, run);

		if (qcow2_entry_kind(q, next) != kind)
			break;
		if (has_room && (next & QCOW2_OFFSET_MASK) !=
					first + (run << q->cluster_bits))
			break;
	}
	*ret = (struct image_extent){
		.kind = IMAGE_ZEROES,
		.length = qcow2_ask_bytes(q, ask, run),
		.store = has_room ? q->image.data_store : NULL,
		.host_offset = has_room ? first + ask->skip : 0,
	};
	return 0;
}

int qcow2_map_data(struct qcow2 *q, const struct qcow2_ask *ask,
		   const struct qcow2_l2 *l2, uint64_t flags,
		   struct image_extent *ret)
{
	uint64_t cluster = qcow2_cluster_bytes(q);
	uint64_t entry = qcow2_l2_get(l2, 0);
	uint64_t limit = MIN(ask->clusters, (uint64_t)l2->count);
	uint64_t mask = QCOW2_OFFSET_MASK | QCOW2_COMPRESSED | QCOW2_ZERO |
			QCOW2_L2_RESERVED | flags;
	uint64_t next = (entry & mask) + cluster;
	uint64_t run = 1;

	while (run < limit && (qcow2_l2_get(l2, run) & mask) == next) {
		run++;
		next += cluster;
	}
	/* The first and the last are inside the file: so are all. */
	if (!qcow2_entry_in_file(q, entry) ||
	    qcow2_is_misplaced(q, ask->cluster, entry))
		return qcow2_corrupt_entry(q, ask->cluster, entry);
	while (run > 1 &&
	       (!qcow2_entry_in_file(q, qcow2_l2_get(l2, run - 1)) ||
		(!q->data_file &&
		 qcow2_overlaps_tables(
			 q, qcow2_cluster_of(q, entry & QCOW2_OFFSET_MASK),
			 run))))
		run--;
	*ret = (struct image_extent){
		.kind = IMAGE_DATA,
		.length = qcow2_ask_bytes(q, ask, run),
		.store = q->image.data_store,
		.host_offset = (entry & QCOW2_OFFSET_MASK) + ask->skip,
	};
	return 0;
}

int qcow2_map_compressed(struct qcow2 *q, const struct qcow2_ask *ask,
			 uint64_t entry, struct image_extent *ret)
{
	uint64_t offset, bytes;

	if (!qcow2_entry_in_file(q, entry))
		return qcow2_corrupt_entry(q, ask->cluster, entry);
	qcow2_entry_compressed(q, entry, &offset, &bytes);
	*ret = (struct image_extent){
		.kind = IMAGE_COMPRESSED,
		.length = qcow2_ask_bytes(q, ask, 1),
		.store = q->image.data_store,
		.host_offset = offset,
		.host_bytes = bytes,
		.cluster_bytes = qcow2_cluster_bytes(q),
		.skip = ask->skip,
		.codec = q->image.codec,
	};
	return 0;
}

int qcow2_map_found(struct qcow2 *q, const struct qcow2_ask *ask,
		    const struct qcow2_l2 *l2, struct image_extent *ret)
{
	uint64_t limit = MIN(ask->clusters, (uint64_t)l2->count);
	uint64_t run = limit;
	uint64_t entry;

	if (l2->slice && q->extended)
		return qcow2_sub_read(q, ask, l2, ret);
	if (l2->slice) {
		entry = qcow2_l2_get(l2, 0);
		switch (qcow2_entry_kind(q, entry)) {
		case QCOW2_NORMAL:
			return qcow2_map_data(q, ask, l2, 0, ret);
		case QCOW2_IS_COMPRESSED:
			return qcow2_map_compressed(q, ask, entry, ret);
		case QCOW2_UNALLOCATED:
			run = same_run(l2, limit, UINT64_MAX);
			break;
		case QCOW2_ZERO_PLAIN:
		case QCOW2_ZERO_ALLOCATED:
			return map_zeroes(q, ask, l2, ret);
		case QCOW2_CORRUPT_ENTRY:
			return qcow2_corrupt_entry(q, ask->cluster, entry);
		}
	}
	*ret = (struct image_extent){
		.kind = IMAGE_HOLE,
		.length = qcow2_ask_bytes(q, ask, run),
	};
	return 0;
}

int qcow2_map_read(struct qcow2 *q, const struct qcow2_ask *ask,
		   struct image_extent *ret)
{
	struct qcow2_l2 l2;
	int err = qcow2_l2_find(q, ask->cluster, ret, &l2);

	return err ? err : qcow2_map_found(q, ask, &l2, ret);
}

int qcow2_prepare_first_change(struct qcow2 *q, struct image_extent *ret)
{
	q->autoclear_now = q->autoclear_stale;
	if (q->bitmaps.must_mark)
		qcow2_bitmaps_mark(q);
	return qcow2_answer_full(q, ret);
}

int qcow2_map(struct image *image, enum image_op op, uint64_t offset,
	      uint64_t length, struct image_extent *ret)
{
	struct qcow2 *q = qcow2_of(image);
	struct qcow2_ask ask = qcow2_ask(q, op, offset, length);
	int err;

	if (q->for_check && op != IMAGE_READ)
		return -EROFS;
	if (q->data_missing)
		return image_set_error(image, IMAGE_E_UNSUPPORTED,
				       "its external data file is not open");
	if (q->corrupt_met && op != IMAGE_READ)
		return IMAGE_E_CORRUPT;
	if (op != IMAGE_READ && qcow2_must_prepare(q))
		err = qcow2_prepare_first_change(q, ret);
	else if (op == IMAGE_READ)
		err = qcow2_map_read(q, &ask, ret);
	else if (op == IMAGE_WRITE)
		err = qcow2_map_write(q, &ask, ret);
	else
		err = qcow2_map_zero(q, &ask, ret);
	if (err == 0 && op != IMAGE_READ)
		qcow2_bitmaps_follow(q, offset, ret->length);
	if (op != IMAGE_READ)
		(void)qcow2_changed(q, err);
	return err == QCOW2_ANSWERED ? 0 : err;
}
