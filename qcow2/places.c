/* SPDX-License-Identifier: Apache-2.0 */
/* A set of numbers: open addressing, half full at most. */
#include "qcow2/places.h"

#include <errno.h>
#include <stdlib.h>

enum {
	FEWEST_SLOTS = 256,
};

void qcow2_places_deinit(struct qcow2_places *places)
{
	free(places->slots);
	*places = (struct qcow2_places){0};
}

/* Where the search for @cluster begins. */
static size_t home(const struct qcow2_places *places, uint64_t cluster)
{
	uint64_t key = cluster * UINT64_C(0x9e3779b97f4a7c15);

	return (key ^ key >> 32) & (places->slot_count - 1);
}

static size_t after(const struct qcow2_places *places, size_t at)
{
	return (at + 1) & (places->slot_count - 1);
}

/* The slot that holds @cluster, or the free one where it would be. */
static size_t find(const struct qcow2_places *places, uint64_t cluster)
{
	size_t at = home(places, cluster);

	while (places->slots[at] != 0 && places->slots[at] != cluster)
		at = after(places, at);
	return at;
}

static int enlarge(struct qcow2_places *places)
{
	struct qcow2_places larger = *places;

	larger.slot_count = places->slot_count ? places->slot_count * 2
					       : (size_t)FEWEST_SLOTS;
	larger.slots = calloc(larger.slot_count, sizeof(*larger.slots));
	if (!larger.slots) {
		qcow2_places_deinit(places);
		return -ENOMEM;
	}
	for (size_t i = 0; i < places->slot_count; i++)
		if (places->slots[i])
			larger.slots[find(&larger, places->slots[i])] =
				places->slots[i];
	free(places->slots);
	*places = larger;
	return 0;
}

int qcow2_places_add(struct qcow2_places *places, uint64_t cluster)
{
	size_t at;

	if (cluster == 0)
		return 0;
	if (places->count * 2 >= places->slot_count) {
		int err = enlarge(places);

		if (err)
			return err;
	}
	at = find(places, cluster);
	places->count += places->slots[at] == 0;
	places->slots[at] = cluster;
	return 0;
}

bool qcow2_places_has(const struct qcow2_places *places, uint64_t cluster)
{
	return cluster != 0 && places->slot_count &&
	       places->slots[find(places, cluster)] == cluster;
}

/* What follows without a gap may have had to move past the slot. */
void qcow2_places_forget(struct qcow2_places *places, uint64_t cluster)
{
	size_t at = find(places, cluster);

	if (places->slots[at] == 0)
		return;
	places->slots[at] = 0;
	places->count--;
	for (at = after(places, at); places->slots[at];
	     at = after(places, at)) {
		uint64_t moved = places->slots[at];

		places->slots[at] = 0;
		places->slots[find(places, moved)] = moved;
	}
}
