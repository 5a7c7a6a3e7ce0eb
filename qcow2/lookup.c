/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answers that need nothing but a look at the tables in memory, given on
 * many threads at once: all reads of what is cached, and writes to clusters
 * that the guest has for itself.
 *
 * Nothing here may change a thing, and that holds for image->error, too. So
 * what the functions of map.c and subcluster.c would report as corrupt is found
 * here before they are called, and left to qcow2_map.
 */
#include "qcow2/map.h"
#include "qcow2/subcluster.h"

/* An answer to a change has to be noted somewhere, or something comes first. */
static bool changes_are_noted(const struct qcow2 *q)
{
	return q->for_check || q->corrupt_met || qcow2_must_prepare(q) ||
	       q->bitmaps.followed;
}

/* Zeroes may have a host cluster that cannot be: a reader does not go there. */
static bool is_sound(const struct qcow2 *q, const struct qcow2_ask *ask,
		     const struct qcow2_l2 *l2)
{
	uint64_t entry = qcow2_l2_get(l2, 0);

	switch (qcow2_l2_kind(q, l2, 0)) {
	case QCOW2_UNALLOCATED:
	case QCOW2_ZERO_PLAIN:
	case QCOW2_ZERO_ALLOCATED:
		return true;
	case QCOW2_NORMAL:
	case QCOW2_IS_COMPRESSED:
		return qcow2_entry_in_file(q, entry) &&
		       !qcow2_is_misplaced(q, ask->cluster, entry);
	case QCOW2_CORRUPT_ENTRY:
		break;
	}
	return false;
}

static bool look_to_read(struct qcow2 *q, const struct qcow2_ask *ask,
			 const struct qcow2_l2 *l2, struct image_extent *ret)
{
	if (l2->slice && !is_sound(q, ask, l2))
		return false;
	return qcow2_map_found(q, ask, l2, ret) == 0;
}

/* As qcow2_map_write and qcow2_sub_write, where nothing is to be allocated. */
static bool look_to_write(struct qcow2 *q, const struct qcow2_ask *ask,
			  const struct qcow2_l2 *l2, struct image_extent *ret)
{
	uint64_t own = qcow2_own_flag(q);
	uint64_t entry;

	if (!l2->slice)
		return false;
	entry = qcow2_l2_get(l2, 0);
	if (qcow2_l2_kind(q, l2, 0) != QCOW2_NORMAL ||
	    !qcow2_is_own(q, entry) || !qcow2_entry_in_file(q, entry) ||
	    qcow2_is_misplaced(q, ask->cluster, entry))
		return false;
	if (!q->extended)
		return qcow2_map_data(q, ask, l2, own, ret) == 0;
	if (!(qcow2_l2_bitmap(l2, 0) & UINT64_C(1) << qcow2_ask_sub(q, ask)))
		return false;
	return qcow2_sub_data(q, ask, l2, own, ret) == 0;
}

bool qcow2_lookup(struct image *image, enum image_op op, uint64_t offset,
		  uint64_t length, struct image_extent *ret)
{
	struct qcow2 *q = qcow2_of(image);
	struct qcow2_ask ask = qcow2_ask(q, op, offset, length);
	struct qcow2_l2 l2;

	if (op != IMAGE_READ && (op != IMAGE_WRITE || changes_are_noted(q)))
		return false;
	if (q->data_missing || !qcow2_l2_peek(q, ask.cluster, &l2))
		return false;
	return op == IMAGE_READ ? look_to_read(q, &ask, &l2, ret)
				: look_to_write(q, &ask, &l2, ret);
}
