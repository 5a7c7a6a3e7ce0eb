/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header of a COWD extent says from which sector on its file is free, and
 * VMware takes room there without a look at what the tables name. So it is behind
 * all that they name at any moment: a plan writes it, if it is to say another
 * sector, before the tables, and a crash leaves at worst room that nobody uses.
 * Nothing is done to other extents.
 */
#ifndef VMDK_FREE_SECTOR_H
#define VMDK_FREE_SECTOR_H

#include "image/plan.h"
#include "vmdk/core.h"

/* For plans: adds it, one step of four bytes; and how the plan ended. */
enum {
	VMDK_FREE_SECTOR_BYTES = 4,
};
void vmdk_free_sector_add(struct vmdk_part *part, struct plan_draft *draft);
void vmdk_free_sector_planned(struct vmdk_part *part, int result);

/* Synchronous, for repairs: it is stable then. */
int vmdk_free_sector_write(struct vmdk_part *part);

#endif
