/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answers that need nothing but a look at the tables in memory, given on
 * many threads at once. Nothing here may change a thing, and that holds for
 * image->error, too: what cannot be is left to vmdk_map.
 */
#include "vmdk/map.h"

bool vmdk_lookup(struct image *image, enum image_op op, uint64_t offset,
		 uint64_t length, struct image_extent *ret)
{
	struct vmdk *v = vmdk_of(image);
	struct vmdk_ask ask;
	struct vmdk_table table;

	if (op != IMAGE_READ && v->cid.state != VMDK_CID_NEW)
		return false;
	ask = vmdk_ask(v, op, offset, length);
	if (ask.part->kind != VMDK_PART_SPARSE)
		return vmdk_map_plain(&ask, ret) == 0;
	if (op != IMAGE_READ && !ask.part->writable)
		return false;
	return vmdk_table_find(v, ask.part, ask.grain, &table) ==
		       VMDK_TABLE_HERE &&
	       vmdk_map_found(&ask, &table, ret) &&
	       (op == IMAGE_READ || ret->kind == IMAGE_DATA);
}
