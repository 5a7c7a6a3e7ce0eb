/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CID tells whoever made an image on top of this one that its content is no
 * longer the same. So the first change after opening has to wait until another
 * CID is stable: as many digits in their place. Changed-block tracking is disowned
 * by the same plan (vmdk/track.h), and nothing else of the descriptor is written.
 */
#ifndef VMDK_CID_H
#define VMDK_CID_H

#include "image/plan.h"
#include "vmdk/core.h"

/*
 * Finds the digits in @text, the descriptor at @offset of the store, and
 * chooses the next CID. 0, or IMAGE_E_UNSUPPORTED with *@ret_error.
 */
int vmdk_cid_prepare(struct vmdk *v, const char *text, size_t bytes,
		     uint64_t offset, char **ret_error);

/* A change waits: *@ret is MUST_FLUSH, or BUSY while a plan is out. */
void vmdk_cid_want(struct vmdk *v, struct image_extent *ret);

/* For plans: writes it if it is wanted; and how the plan ended. */
void vmdk_cid_add(struct vmdk *v, struct plan_draft *draft);
void vmdk_cid_planned(struct vmdk *v, int result);

#endif
