/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In-flight tracking of a split ring.
 *
 * Taking a chain marks its head, with a counter that keeps the order. A batch
 * that is published is first linked into a list, then the used index is
 * stored, then the marks are taken away and the index is copied into the
 * region. Whoever dies in between leaves the two indexes different, and the
 * difference tells how many heads of the list are no longer in flight.
 *
 * Where the driver's ring is to be read on follows from it: as many entries
 * were taken as were used and are in flight. What a front-end sends as the base
 * after a crash is a guess.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "vhost/virtq-internal.h"

int split_track_take(struct virtq *vq, uint16_t head)
{
	struct inflight_split_desc *desc = &vq->track.split->desc[head];

	if (unlikely(vq->track.taken[head]))
		return virtq_fail(vq, "descriptor %u is in flight already",
				  head);
	vq->track.taken[head] = 1;
	desc->counter = vq->track.counter++;
	release_barrier();
	store_once(&desc->inflight, 1);
	return 0;
}

void split_track_untake(struct virtq *vq, uint16_t head)
{
	store_once(&vq->track.split->desc[head].inflight, 0);
	vq->track.taken[head] = 0;
	vq->track.counter--;
}

void split_track_before(struct virtq *vq)
{
	struct virtq_track *track = &vq->track;
	struct inflight_split *region = track->split;

	for (unsigned i = 0; i < track->batch_count; i++) {
		region->desc[track->batch[i]].next = track->batch_last;
		track->batch_last = track->batch[i];
	}
	release_barrier();
	store_once(&region->last_batch_head, track->batch_last);
}

void split_track_after(struct virtq *vq)
{
	struct virtq_track *track = &vq->track;
	struct inflight_split *region = track->split;

	/* Not before the used index. */
	release_barrier();
	for (unsigned i = 0; i < track->batch_count; i++) {
		store_once(&region->desc[track->batch[i]].inflight, 0);
		track->taken[track->batch[i]] = 0;
	}
	track->batch_count = 0;
	release_barrier();
	store_once(&region->used_idx, vq->split.used_next);
}

/* A region of zeroes becomes ours; the version last, as the sign of it. */
static void region_begin(struct virtq *vq, uint16_t desc_num)
{
	struct inflight_split *region = vq->track.split;

	region->features = 0;
	region->desc_num = desc_num;
	region->last_batch_head = 0;
	region->used_idx = vq->split.used_next;
	memset(region->desc, 0, desc_num * sizeof(region->desc[0]));
	release_barrier();
	store_once(&region->version, INFLIGHT_VERSION);
}

/* Copies the marks to track.taken; how many there are, or -1. */
static int marks_read(struct virtq *vq, uint16_t desc_num)
{
	const struct inflight_split *region = vq->track.split;
	int count = 0;

	for (unsigned i = 0; i < desc_num; i++) {
		uint8_t mark = load_once(&region->desc[i].inflight);

		if (mark > 1 || (mark == 1 && i >= vq->size)) {
			virtq_set_broken(
				vq,
				"the in-flight region marks descriptor %u "
				"with %u in a ring of %u",
				i, mark, vq->size);
			return -1;
		}
		vq->track.taken[i] = mark;
		count += mark;
	}
	return count;
}

/* Takes the marks off the @batch heads that were published before the end. */
static int batch_finish(struct virtq *vq, unsigned batch)
{
	struct virtq_track *track = &vq->track;
	struct inflight_split *region = track->split;
	uint16_t head = load_once(&region->last_batch_head);

	for (unsigned i = 0; i < batch; i++) {
		/* track.next serves as the list of what was seen. */
		if (head >= vq->size || track->next[head])
			return virtq_fail(vq, "the in-flight region's last "
					      "batch is no list");
		track->next[head] = 1;
		track->taken[head] = 0;
		store_once(&region->desc[head].inflight, 0);
		head = load_once(&region->desc[head].next);
	}
	release_barrier();
	store_once(&region->used_idx, vq->split.used_next);
	return 0;
}

/* What is still marked, in the order of its counters. */
static int again_fill(struct virtq *vq)
{
	struct virtq_track *track = &vq->track;
	struct track_order *order = calloc(vq->size, sizeof(*order));
	int err = 0;

	if (!order)
		return -ENOMEM;
	for (unsigned i = 0; i < vq->size; i++) {
		if (!track->taken[i])
			continue;
		order[track->again_count++] = (struct track_order){
			.counter = load_once(&track->split->desc[i].counter),
			.entry = (uint16_t)i,
		};
	}
	err = track_again(vq, order);
	free(order);
	return err;
}

static int region_recover(struct virtq *vq, uint16_t desc_num)
{
	struct inflight_split *region = vq->track.split;
	unsigned batch =
		(uint16_t)(vq->split.used_next - load_once(&region->used_idx));
	int marks = marks_read(vq, desc_num);
	int err;

	if (marks < 0)
		return VIRTQ_E_BROKEN;
	if (batch > vq->size && marks > 0)
		return virtq_fail(vq,
				  "the in-flight region's used index is %u "
				  "before the ring's",
				  batch);
	/* Nothing marked, nothing to finish: the ring was reset meanwhile. */
	err = batch_finish(vq, marks > 0 ? batch : 0);
	if (err == 0)
		err = again_fill(vq);
	vq->split.avail_next =
		(uint16_t)(vq->split.used_next + vq->track.again_count);
	vq->split.avail_seen = vq->split.avail_next;
	return err;
}

int split_track_start(struct virtq *vq, struct inflight_queue queue)
{
	struct virtq_track *track = &vq->track;
	struct inflight_split *region = queue.base;
	int err = track_alloc(vq, queue);

	if (err)
		return err;
	track->split = region;
	if (load_once(&region->version) == INFLIGHT_VERSION_FRESH) {
		region_begin(vq, queue.size);
		return 0;
	}
	err = track_check_header(vq, load_once(&region->features),
				 load_once(&region->version),
				 load_once(&region->desc_num));
	return err ? err : region_recover(vq, queue.size);
}
