/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What image_map answers, by what is asked. Each covers as many neighbouring
 * clusters of one kind as the request wants and the L2 slice at hand holds.
 */
#ifndef QCOW2_MAP_H
#define QCOW2_MAP_H

#include "qcow2/core.h"
#include "qcow2/table.h"

/* A request, and how far it goes in clusters. */
struct qcow2_ask {
	enum image_op op;
	uint64_t offset; /* guest bytes */
	uint64_t length;
	uint64_t cluster; /* of @offset */
	uint64_t skip;	  /* @offset's place in its cluster */
	uint64_t clusters;
};

/* @offset and @length lie inside the image. */
static inline struct qcow2_ask qcow2_ask(const struct qcow2 *q,
					 enum image_op op, uint64_t offset,
					 uint64_t length)
{
	uint64_t first = qcow2_cluster_of(q, offset);

	return (struct qcow2_ask){
		.op = op,
		.offset = offset,
		.length = length,
		.cluster = first,
		.skip = qcow2_in_cluster(q, offset),
		.clusters =
			qcow2_cluster_of(q, offset + length - 1) - first + 1,
	};
}

int qcow2_map_read(struct qcow2 *q, const struct qcow2_ask *ask,
		   struct image_extent *ret);
/* What a read is answered once the entry is found. */
int qcow2_map_found(struct qcow2 *q, const struct qcow2_ask *ask,
		    const struct qcow2_l2 *l2, struct image_extent *ret);
int qcow2_map_write(struct qcow2 *q, const struct qcow2_ask *ask,
		    struct image_extent *ret);
/* ZERO and DISCARD. */
int qcow2_map_zero(struct qcow2 *q, const struct qcow2_ask *ask,
		   struct image_extent *ret);

/* For a write or zero that finds no cluster it can change: makes one. */
int qcow2_map_allocate(struct qcow2 *q, const struct qcow2_ask *ask,
		       struct image_extent *ret);

/* Guest bytes of @ask that its first @clusters clusters hold. */
static inline uint64_t qcow2_ask_bytes(const struct qcow2 *q,
				       const struct qcow2_ask *ask,
				       uint64_t clusters)
{
	return MIN(ask->length, (clusters << q->cluster_bits) - ask->skip);
}

/* The run of NORMAL clusters at @l2 as IMAGE_DATA; @flags must be set in all. */
int qcow2_map_data(struct qcow2 *q, const struct qcow2_ask *ask,
		   const struct qcow2_l2 *l2, uint64_t flags,
		   struct image_extent *ret);

/*
 * For zeroes where the image reads as zeroes already, and the raw data file may
 * not, since a crash can leave there what was written and never mapped: the
 * first @length bytes of @ask, which lie in @clusters clusters. Otherwise, and
 * for discards, there is nothing to do: IMAGE_DONE.
 */
int qcow2_map_zero_again(struct qcow2 *q, const struct qcow2_ask *ask,
			 uint64_t clusters, uint64_t length,
			 struct image_extent *ret);

/* The compressed cluster of @entry as IMAGE_COMPRESSED. */
int qcow2_map_compressed(struct qcow2 *q, const struct qcow2_ask *ask,
			 uint64_t entry, struct image_extent *ret);

/*
 * Whether something has to be stable before the image's content may change;
 * then the change is answered (QCOW2_ANSWERED), and the next flush sees to it.
 */
static inline bool qcow2_must_prepare(const struct qcow2 *q)
{
	return q->autoclear_stale || q->bitmaps.must_mark;
}
int qcow2_prepare_first_change(struct qcow2 *q, struct image_extent *ret);

#endif
