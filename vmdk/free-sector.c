/* SPDX-License-Identifier: Apache-2.0 */
#include "vmdk/free-sector.h"

enum {
	PLACE = offsetof(struct vmdk_wire_cowd, next_free),
};

/* Into @ret; false: the header says it already. */
static bool put(const struct vmdk_part *part,
		uint8_t ret[VMDK_FREE_SECTOR_BYTES])
{
	put_le32(ret, (uint32_t)(part->end >> VMDK_SECTOR_BITS));
	return part->s.kind == VMDK_KIND_COWD &&
	       part->end != part->s.free_offset;
}

void vmdk_free_sector_add(struct vmdk_part *part, struct plan_draft *draft)
{
	uint8_t data[VMDK_FREE_SECTOR_BYTES];

	if (part->kind != VMDK_PART_SPARSE || !part->gd_dirty ||
	    !put(part, data))
		return;
	plan_add_write(draft, part->store, PLACE, data, sizeof(data));
	part->free_out = part->end;
}

/* After a failure it may say either, and is written again. */
void vmdk_free_sector_planned(struct vmdk_part *part, int result)
{
	if (part->free_out)
		part->s.free_offset = result == 0 ? part->free_out : 0;
	part->free_out = 0;
}

int vmdk_free_sector_write(struct vmdk_part *part)
{
	uint8_t data[VMDK_FREE_SECTOR_BYTES];
	int err;

	if (!put(part, data))
		return 0;
	err = store_write(part->store, PLACE, data, sizeof(data));
	if (err == 0)
		err = store_flush(part->store);
	if (err == 0)
		part->s.free_offset = part->end;
	return err;
}
