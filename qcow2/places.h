/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where tables lie: the host clusters that the L1 table and the refcount table
 * name. A cluster that is used again is looked up here, whatever its refcount
 * says, so that asking costs the same however long these tables are.
 *
 * Places are added as tables come into being and never taken out: what is found
 * here has to be confirmed by who asked, and is forgotten if it is no table any
 * more. So each table that goes costs one confirmation at most.
 */
#ifndef QCOW2_PLACES_H
#define QCOW2_PLACES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct qcow2_places {
	uint64_t *slots; /* host clusters, hashed; 0 is free */
	size_t slot_count;
	size_t count;
	bool built; /* all places are in it, and each new one has to be */
};

/* Accepts a zeroed one, and leaves such. */
void qcow2_places_deinit(struct qcow2_places *places);

/*
 * @cluster (0 is none) is a place; it may be already. 0, or -ENOMEM: then there
 * are none, and they have to be built again.
 */
int qcow2_places_add(struct qcow2_places *places, uint64_t cluster);

bool qcow2_places_has(const struct qcow2_places *places, uint64_t cluster);
void qcow2_places_forget(struct qcow2_places *places, uint64_t cluster);

#endif
