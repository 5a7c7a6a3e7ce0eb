/* SPDX-License-Identifier: Apache-2.0 */
#include "qcow2/check-refs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

#define COUNT_MASK ((uint32_t)QCOW2_REFS_MAX_COUNT)
#define USE_SHIFT  26
#define USE_MASK   UINT32_C(15)
#define IS_OVERLAP (UINT32_C(1) << 30)
#define IS_ONE	   (UINT32_C(1) << 31)

enum {
	FIRST_SLOTS = 64,
	CHUNK_PAGES = 1024,
};

static size_t hash(uint64_t key, size_t slot_count)
{
	return (key * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (slot_count - 1);
}

void qcow2_refs_init(struct qcow2_refs *refs)
{
	*refs = (struct qcow2_refs){0};
}

void qcow2_refs_deinit(struct qcow2_refs *refs)
{
	for (size_t i = 0; i < refs->chunk_count; i++)
		free(refs->chunks[i]);
	free(refs->chunks);
	free(refs->slots);
	qcow2_refs_init(refs);
}

static struct qcow2_refs_page **slot_of(const struct qcow2_refs *refs,
					uint64_t index)
{
	size_t at = hash(index, refs->slot_count);

	while (refs->slots[at] && refs->slots[at]->index != index)
		at = (at + 1) & (refs->slot_count - 1);
	return &refs->slots[at];
}

static int grow_slots(struct qcow2_refs *refs)
{
	struct qcow2_refs old = *refs;

	refs->slot_count = MAX((size_t)FIRST_SLOTS, old.slot_count * 2);
	refs->slots = calloc(refs->slot_count, sizeof(*refs->slots));
	if (!refs->slots) {
		*refs = old;
		return -ENOMEM;
	}
	for (size_t i = 0; i < old.slot_count; i++)
		if (old.slots[i])
			*slot_of(refs, old.slots[i]->index) = old.slots[i];
	free(old.slots);
	return 0;
}

static int grow_chunks(struct qcow2_refs *refs)
{
	void **chunks = reallocarray(refs->chunks, refs->chunk_count + 1,
				     sizeof(*chunks));

	if (!chunks)
		return -ENOMEM;
	refs->chunks = chunks;
	refs->chunk = calloc(CHUNK_PAGES, sizeof(*refs->chunk));
	if (!refs->chunk)
		return -ENOMEM;
	refs->chunks[refs->chunk_count++] = refs->chunk;
	refs->chunk_left = CHUNK_PAGES;
	return 0;
}

static int new_page(struct qcow2_refs *refs, uint64_t index)
{
	int err = 0;

	if (refs->page_count >= QCOW2_REFS_MAX_PAGES)
		return -EFBIG;
	if (refs->page_count >= refs->slot_count / 2)
		err = grow_slots(refs);
	if (err == 0 && refs->chunk_left == 0)
		err = grow_chunks(refs);
	if (err)
		return err;
	refs->last = refs->chunk++;
	refs->chunk_left--;
	refs->page_count++;
	refs->last->index = index;
	*slot_of(refs, index) = refs->last;
	return 0;
}

/* The cluster's word, or NULL if its page was never needed. */
static uint32_t *word_of(struct qcow2_refs *refs, uint64_t cluster)
{
	uint64_t index = cluster >> QCOW2_REFS_PAGE_BITS;
	struct qcow2_refs_page *page = refs->last;

	if (!page || page->index != index)
		page = refs->slot_count ? *slot_of(refs, index) : NULL;
	if (!page)
		return NULL;
	refs->last = page;
	return &page->words[cluster & ((1u << QCOW2_REFS_PAGE_BITS) - 1)];
}

int qcow2_refs_add(struct qcow2_refs *refs, uint64_t cluster, uint32_t times,
		   enum qcow2_use use, enum qcow2_use *ret_before)
{
	uint32_t *word = word_of(refs, cluster);
	uint32_t count;

	if (!word) {
		int err = new_page(refs, cluster >> QCOW2_REFS_PAGE_BITS);

		if (err)
			return err;
		word = word_of(refs, cluster);
	}
	*ret_before = *word >> USE_SHIFT & USE_MASK;
	count = *word & COUNT_MASK;
	count = times > COUNT_MASK - count ? COUNT_MASK : count + times;
	*word = (*word & ~COUNT_MASK) | count;
	if (*ret_before == QCOW2_USE_NONE)
		*word |= (uint32_t)use << USE_SHIFT;
	return 0;
}

uint32_t qcow2_refs_count(struct qcow2_refs *refs, uint64_t cluster)
{
	const uint32_t *word = word_of(refs, cluster);

	return word ? *word & COUNT_MASK : 0;
}

enum qcow2_use qcow2_refs_use(struct qcow2_refs *refs, uint64_t cluster)
{
	const uint32_t *word = word_of(refs, cluster);

	return word ? *word >> USE_SHIFT & USE_MASK : QCOW2_USE_NONE;
}

bool qcow2_refs_is_one(struct qcow2_refs *refs, uint64_t cluster)
{
	const uint32_t *word = word_of(refs, cluster);

	return word && (*word & IS_ONE);
}

void qcow2_refs_set_one(struct qcow2_refs *refs, uint64_t cluster)
{
	uint32_t *word = word_of(refs, cluster);

	if (word)
		*word |= IS_ONE;
}

bool qcow2_refs_is_overlap(struct qcow2_refs *refs, uint64_t cluster)
{
	const uint32_t *word = word_of(refs, cluster);

	return word && (*word & IS_OVERLAP);
}

void qcow2_refs_set_overlap(struct qcow2_refs *refs, uint64_t cluster)
{
	uint32_t *word = word_of(refs, cluster);

	if (word)
		*word |= IS_OVERLAP;
}

static int compare_pages(const void *a, const void *b)
{
	uint64_t x = (*(struct qcow2_refs_page *const *)a)->index;
	uint64_t y = (*(struct qcow2_refs_page *const *)b)->index;

	return (x > y) - (x < y);
}

struct qcow2_refs_page **qcow2_refs_sorted(const struct qcow2_refs *refs)
{
	struct qcow2_refs_page **pages =
		calloc(refs->page_count + 1, sizeof(struct qcow2_refs_page *));
	size_t count = 0;

	if (!pages)
		return NULL;
	for (size_t i = 0; i < refs->slot_count; i++)
		if (refs->slots[i])
			pages[count++] = refs->slots[i];
	qsort(pages, count, sizeof(struct qcow2_refs_page *), compare_pages);
	return pages;
}

static struct qcow2_l2_place *place_of(const struct qcow2_l2_places *places,
				       uint64_t cluster)
{
	size_t at = hash(cluster, places->slot_count);

	while (places->slots[at].cluster &&
	       places->slots[at].cluster != cluster)
		at = (at + 1) & (places->slot_count - 1);
	return &places->slots[at];
}

static int grow_places(struct qcow2_l2_places *places)
{
	struct qcow2_l2_places old = *places;

	places->slot_count = MAX((size_t)FIRST_SLOTS, old.slot_count * 2);
	places->slots = calloc(places->slot_count, sizeof(*places->slots));
	if (!places->slots) {
		*places = old;
		return -ENOMEM;
	}
	for (size_t i = 0; i < old.slot_count; i++)
		if (old.slots[i].cluster)
			*place_of(places, old.slots[i].cluster) = old.slots[i];
	free(old.slots);
	return 0;
}

int qcow2_l2_places_add(struct qcow2_l2_places *places, uint64_t cluster,
			bool active)
{
	struct qcow2_l2_place *place;

	if (places->count >= places->slot_count / 2) {
		int err = grow_places(places);

		if (err)
			return err;
	}
	place = place_of(places, cluster);
	if (place->cluster == 0)
		places->count++;
	place->cluster = cluster;
	place->all++;
	place->active += active;
	return 0;
}

static int compare_places(const void *a, const void *b)
{
	uint64_t x = ((const struct qcow2_l2_place *)a)->cluster;
	uint64_t y = ((const struct qcow2_l2_place *)b)->cluster;

	/* Free slots come last. */
	return (x - 1 > y - 1) - (x - 1 < y - 1);
}

void qcow2_l2_places_sort(struct qcow2_l2_places *places)
{
	if (places->slot_count)
		qsort(places->slots, places->slot_count, sizeof(*places->slots),
		      compare_places);
}

void qcow2_l2_places_deinit(struct qcow2_l2_places *places)
{
	free(places->slots);
	*places = (struct qcow2_l2_places){0};
}
