/* SPDX-License-Identifier: Apache-2.0 */
/* What the in-flight tracking of both layouts has in common. */
#include <errno.h>
#include <stdlib.h>

#include "vhost/virtq-internal.h"

int track_alloc(struct virtq *vq, struct inflight_queue queue)
{
	struct virtq_track *track = &vq->track;
	size_t size = queue.size;

	if (queue.packed != vq->is_packed || queue.size < vq->size)
		return virtq_fail(vq,
				  "the in-flight region is for %s ring of %u "
				  "entries",
				  queue.packed ? "a packed" : "a split",
				  queue.size);
	track->lost = queue.lost;
	track->entries = queue.size;
	track->batch = calloc(size, sizeof(*track->batch));
	track->again = calloc(size, sizeof(*track->again));
	track->taken = calloc(size, sizeof(*track->taken));
	track->next = calloc(size, sizeof(*track->next));
	if (!track->batch || !track->again || !track->taken || !track->next)
		return -ENOMEM;
	return 0;
}

void track_free(struct virtq_track *track)
{
	free(track->batch);
	free(track->again);
	free(track->taken);
	free(track->next);
	free(track->last);
	free(track->num);
	*track = (struct virtq_track){0};
}

int track_check_header(struct virtq *vq, uint64_t features, uint16_t version,
		       uint16_t desc_num)
{
	if (version != INFLIGHT_VERSION || features != 0)
		return virtq_fail(vq,
				  "the in-flight region has version %u and "
				  "features 0x%llx",
				  version, (unsigned long long)features);
	if (desc_num != vq->track.entries)
		return virtq_fail(vq,
				  "the in-flight region has %u entries "
				  "instead of %u",
				  desc_num, vq->track.entries);
	return 0;
}

static int order_compare(const void *a, const void *b)
{
	const struct track_order *left = a;
	const struct track_order *right = b;

	if (left->counter != right->counter)
		return left->counter < right->counter ? -1 : 1;
	return left->entry < right->entry ? -1 : left->entry > right->entry;
}

int track_again(struct virtq *vq, struct track_order *order)
{
	struct virtq_track *track = &vq->track;
	uint16_t count = track->again_count;

	if (count == 0)
		return 0;
	qsort(order, count, sizeof(*order), order_compare);
	for (unsigned i = 0; i < count; i++)
		track->again[i] = order[i].entry;
	/* More than can be counted in a machine's life is a lie. */
	if (order[count - 1].counter > INT64_MAX)
		return virtq_fail(vq, "an in-flight counter of %llu",
				  (unsigned long long)order[count - 1].counter);
	track->counter = order[count - 1].counter + 1;
	return 0;
}
