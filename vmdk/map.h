/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What image_map answers. Each answer covers as many neighbouring grains of one
 * kind as the request wants and the piece of the table at hand holds.
 */
#ifndef VMDK_MAP_H
#define VMDK_MAP_H

#include "vmdk/table.h"

/* A request, cut off at the end of the part that it begins in. */
struct vmdk_ask {
	enum image_op op;
	struct vmdk_part *part;
	uint64_t offset; /* of the part's bytes */
	uint64_t length;
	uint64_t grain; /* SPARSE: of @offset, and the last one */
	uint64_t last_grain;
	uint64_t skip; /* @offset's place in its grain */
};

struct vmdk_ask vmdk_ask(struct vmdk *v, enum image_op op, uint64_t offset,
			 uint64_t length);

/* Bytes of @ask that its first @grains grains hold. */
static inline uint64_t vmdk_ask_bytes(const struct vmdk_ask *ask,
				      uint64_t grains)
{
	return MIN(ask->length, (grains << ask->part->grain_bits) - ask->skip);
}

/*
 * Parts without tables; -EACCES, -EROFS where nothing may be. Whether the CID
 * allows a change is for the caller to see.
 */
int vmdk_map_plain(const struct vmdk_ask *ask, struct image_extent *ret);

/* For a read that has found @table. False: an entry cannot be. */
bool vmdk_map_found(const struct vmdk_ask *ask, const struct vmdk_table *table,
		    struct image_extent *ret);

/* For a change that has found @table. IMAGE_E_CORRUPT: an entry cannot be. */
int vmdk_change_found(struct vmdk *v, const struct vmdk_ask *ask,
		      const struct vmdk_table *table, struct image_extent *ret);

/*
 * For a change where there is no table for so many grains. VMDK_ANSWERED: now
 * there is one.
 */
int vmdk_change_absent(struct vmdk *v, const struct vmdk_ask *ask,
		       uint64_t grains, struct image_extent *ret);

/* @grains of the request are in no file: the parent may have them. */
void vmdk_map_absent(const struct vmdk_ask *ask, uint64_t grains,
		     struct image_extent *ret);

#endif
