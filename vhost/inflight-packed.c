/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In-flight tracking of a packed ring.
 *
 * A slot of the ring may be overwritten by a used element while the chain that
 * began there is still out, so the region keeps a copy of each descriptor that
 * was taken. Its entries are a list of free ones, which ends with their number,
 * and one list for each chain in flight.
 *
 * The header has two of each: the state as it will be, and the old one, which
 * holds until the batch is published. Who dies in between leaves them
 * different, and the ring itself says whether the batch was seen. Each pair
 * lies within one 64-bit word and is stored at once, which the specification's
 * order of single fields does not ask for, but without which a crash between
 * two of them turns the ring's lap over.
 *
 * The positions in the ring follow from it: the device's is kept, and the
 * driver's lies as much further as entries are in flight.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "vhost/virtq-internal.h"

/* The header's words, as they lie in the region. */
struct heads_word {
	uint16_t version;
	uint16_t desc_num;
	uint16_t free_head;
	uint16_t old_free_head;
};

struct used_word {
	uint16_t used_idx;
	uint16_t old_used_idx;
	uint8_t used_wrap;
	uint8_t old_used_wrap;
	uint16_t padding;
};

static_assert(sizeof(struct heads_word) == 8, "one store");
static_assert(sizeof(struct used_word) == 8, "one store");

static void heads_write(struct virtq *vq, uint16_t free_head,
			uint16_t old_free_head)
{
	struct heads_word heads = {
		.version = INFLIGHT_VERSION,
		.desc_num = vq->track.entries,
		.free_head = free_head,
		.old_free_head = old_free_head,
	};
	uint64_t word;

	memcpy(&word, &heads, sizeof(word));
	store_release((uint64_t *)&vq->track.packed->version, word);
}

static void used_write(struct virtq *vq, uint16_t old_used_idx,
		       bool old_used_wrap)
{
	struct used_word used = {
		.used_idx = vq->packed.used_next,
		.old_used_idx = old_used_idx,
		.used_wrap = vq->packed.used_wrap,
		.old_used_wrap = old_used_wrap,
	};
	uint64_t word;

	memcpy(&word, &used, sizeof(word));
	store_release((uint64_t *)&vq->track.packed->used_idx, word);
}

uint16_t packed_track_desc(struct virtq *vq, uint16_t entry,
			   const struct virtq_desc *desc, bool first)
{
	struct inflight_packed_desc *to;

	entry = first ? vq->track.free_head : vq->track.next[entry];
	/* There are as many entries as can be in flight. */
	assert(entry < vq->track.entries);
	to = &vq->track.packed->desc[entry];
	to->addr = desc->addr;
	to->len = desc->len;
	to->flags = desc->flags;
	to->id = desc->link;
	return entry;
}

struct virtq_desc packed_track_read(const struct virtq *vq, uint16_t entry)
{
	const struct inflight_packed_desc *from =
		&vq->track.packed->desc[entry];

	return (struct virtq_desc){
		.addr = load_once(&from->addr),
		.len = load_once(&from->len),
		.flags = load_once(&from->flags),
		.link = load_once(&from->id),
	};
}

/* The chain is taken when the free list begins behind it. */
void packed_track_take(struct virtq *vq, uint16_t last,
		       struct virtq_chain *chain)
{
	struct virtq_track *track = &vq->track;
	uint16_t first = track->free_head;
	struct inflight_packed_desc *desc = &track->packed->desc[first];

	desc->num = chain->descs;
	desc->last = last;
	desc->counter = track->counter++;
	release_barrier();
	store_once(&desc->inflight, 1);
	track->num[first] = chain->descs;
	track->last[first] = last;
	track->free_head = track->next[last];
	heads_write(vq, track->free_head, track->free_head);
	chain->slot = first;
}

/* Puts the entries of the chain that begins with @first before the free ones.*/
static void entries_free(struct virtq_track *track, uint16_t first)
{
	uint16_t last = track->last[first];

	track->next[last] = track->free_head;
	store_once(&track->packed->desc[last].next, track->free_head);
	track->free_head = first;
}

void packed_track_untake(struct virtq *vq, const struct virtq_chain *chain)
{
	struct virtq_track *track = &vq->track;

	entries_free(track, chain->slot);
	heads_write(vq, track->free_head, track->free_head);
	release_barrier();
	store_once(&track->packed->desc[chain->slot].inflight, 0);
	track->counter--;
}

void packed_track_before(struct virtq *vq, uint16_t old_used_next,
			 bool old_wrap)
{
	struct virtq_track *track = &vq->track;
	uint16_t old_free_head = track->free_head;

	for (unsigned i = 0; i < vq->packed.batch_count; i++)
		entries_free(track, vq->packed.batch[i].slot);
	heads_write(vq, track->free_head, old_free_head);
	used_write(vq, old_used_next, old_wrap);
}

void packed_track_after(struct virtq *vq)
{
	struct virtq_track *track = &vq->track;
	struct inflight_packed_desc *desc = track->packed->desc;

	/* Not before the batch is published. */
	release_barrier();
	for (unsigned i = 0; i < vq->packed.batch_count; i++)
		store_once(&desc[vq->packed.batch[i].slot].inflight, 0);
	heads_write(vq, track->free_head, track->free_head);
	used_write(vq, vq->packed.used_next, vq->packed.used_wrap);
}

static void region_begin(struct virtq *vq)
{
	struct virtq_track *track = &vq->track;
	struct inflight_packed *region = track->packed;

	region->features = 0;
	memset(region->desc, 0, track->entries * sizeof(region->desc[0]));
	for (unsigned i = 0; i < track->entries; i++) {
		track->next[i] = (uint16_t)(i + 1);
		region->desc[i].next = (uint16_t)(i + 1);
	}
	track->free_head = 0;
	used_write(vq, vq->packed.used_next, vq->packed.used_wrap);
	/* The version comes with it, as the sign that all is there. */
	heads_write(vq, 0, 0);
}

/*
 * Finishes or undoes the batch that was being published: the ring's position
 * and the head of the free list as they hold now.
 */
static int batch_settle(struct virtq *vq, uint16_t *ret_free_head)
{
	struct packed_ring *ring = &vq->packed;
	struct heads_word heads;
	struct used_word used;
	bool published = true;
	uint64_t word = load_once((uint64_t *)&vq->track.packed->version);

	memcpy(&heads, &word, sizeof(word));
	word = load_once((uint64_t *)&vq->track.packed->used_idx);
	memcpy(&used, &word, sizeof(word));
	if (used.used_idx >= vq->size || used.old_used_idx >= vq->size ||
	    used.used_wrap > 1 || used.old_used_wrap > 1)
		return virtq_fail(vq,
				  "the in-flight region's used index is %u or "
				  "%u in a ring of %u",
				  used.used_idx, used.old_used_idx, vq->size);
	if (used.used_idx != used.old_used_idx ||
	    used.used_wrap != used.old_used_wrap)
		published = !packed_is_avail(
			le16toh(load_once(
				&ring->desc[used.old_used_idx].flags)),
			used.old_used_wrap);
	else
		heads.free_head = heads.old_free_head;
	ring->used_next = published ? used.used_idx : used.old_used_idx;
	ring->used_wrap = published ? used.used_wrap : used.old_used_wrap;
	*ret_free_head = published ? heads.free_head : heads.old_free_head;
	return 0;
}

/* Copies the free list; its entries are marked in track.taken as seen. */
static int free_list_read(struct virtq *vq, uint16_t head)
{
	struct virtq_track *track = &vq->track;
	uint16_t entry = head;

	while (entry < track->entries && !track->taken[entry]) {
		struct inflight_packed_desc *desc = &track->packed->desc[entry];

		track->taken[entry] = 1;
		/* A batch that was published, or a chain not quite taken. */
		store_once(&desc->inflight, 0);
		track->next[entry] = load_once(&desc->next);
		entry = track->next[entry];
	}
	if (entry != track->entries)
		return virtq_fail(vq,
				  "the in-flight region's free list goes "
				  "to entry %u",
				  entry);
	track->free_head = head;
	return 0;
}

/* Copies the list of one chain in flight; none of it may be seen already. */
static int chain_read(struct virtq *vq, uint16_t first)
{
	struct virtq_track *track = &vq->track;
	const struct inflight_packed_desc *desc = track->packed->desc;
	uint16_t num = load_once(&desc[first].num);
	uint16_t entry = first;

	if (num == 0 || num > vq->size - vq->packed.descs_taken)
		return virtq_fail(vq,
				  "the in-flight region has a chain of %u "
				  "descriptors",
				  num);
	track->num[first] = num;
	for (unsigned i = 0; i < num; i++) {
		if (entry >= track->entries || track->taken[entry])
			return virtq_fail(vq,
					  "the in-flight region's chain at "
					  "entry %u is no list",
					  first);
		track->taken[entry] = 1;
		track->last[first] = entry;
		track->next[entry] = load_once(&desc[entry].next);
		entry = track->next[entry];
	}
	vq->packed.descs_taken += num;
	return 0;
}

/* All chains in flight, and no entry left over; @order has room. */
static int chains_read(struct virtq *vq, struct track_order *order)
{
	struct virtq_track *track = &vq->track;
	const struct inflight_packed_desc *desc = track->packed->desc;
	int err = 0;

	for (unsigned i = 0; i < track->entries && err == 0; i++) {
		if (load_once(&desc[i].inflight) != 1 || track->taken[i])
			continue;
		order[track->again_count++] = (struct track_order){
			.counter = load_once(&desc[i].counter),
			.entry = (uint16_t)i,
		};
		err = chain_read(vq, (uint16_t)i);
	}
	for (unsigned i = 0; i < track->entries && err == 0; i++)
		if (!track->taken[i])
			err = virtq_fail(vq,
					 "entry %u of the in-flight region is "
					 "neither free nor in flight",
					 i);
	return err ? err : track_again(vq, order);
}

static int region_recover(struct virtq *vq)
{
	struct packed_ring *ring = &vq->packed;
	struct track_order *order;
	uint16_t free_head;
	int err = batch_settle(vq, &free_head);

	if (err == 0)
		err = free_list_read(vq, free_head);
	if (err)
		return err;
	order = calloc(vq->track.entries, sizeof(*order));
	if (!order)
		return -ENOMEM;
	err = chains_read(vq, order);
	free(order);
	if (err)
		return err;
	heads_write(vq, free_head, free_head);
	used_write(vq, ring->used_next, ring->used_wrap);
	ring->avail_next = ring->used_next;
	ring->avail_wrap = ring->used_wrap;
	packed_advance(vq, &ring->avail_next, &ring->avail_wrap,
		       ring->descs_taken);
	packed_scrub(vq);
	return 0;
}

int packed_track_start(struct virtq *vq, struct inflight_queue queue)
{
	struct virtq_track *track = &vq->track;
	struct inflight_packed *region = queue.base;
	int err = track_alloc(vq, queue);

	if (err)
		return err;
	track->packed = region;
	track->last = calloc(queue.size, sizeof(*track->last));
	track->num = calloc(queue.size, sizeof(*track->num));
	if (!track->last || !track->num)
		return -ENOMEM;
	if (load_once(&region->version) == INFLIGHT_VERSION_FRESH) {
		region_begin(vq);
		return 0;
	}
	err = track_check_header(vq, load_once(&region->features),
				 load_once(&region->version),
				 load_once(&region->desc_num));
	return err ? err : region_recover(vq);
}
