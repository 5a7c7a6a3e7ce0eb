/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changed-block tracking: a file that the descriptor names (changeTrackPath,
 * mostly DISK-ctk.vmdk) has a number for each block of the disk, which grows from
 * one backup to the next and is 0 where nothing was ever written. What is known
 * of that file, and what is only inferred, is told in docs/vmdk.md.
 *
 * It is read only, as a bitmap called "changes". Whoever else changes the disk has
 * to disown it before (vmdk_track_add), as the numbers would lie.
 */
#ifndef VMDK_TRACK_H
#define VMDK_TRACK_H

#include "image/manage.h"
#include "image/plan.h"
#include "vmdk/core.h"

/* The bitmap's name; a number N names what has this number, or a greater one. */
#define VMDK_TRACK_BITMAP "changes"

enum {
	/* Steps and bytes of a plan that vmdk_track_add takes at most. */
	VMDK_TRACK_STEPS = 2,
	VMDK_TRACK_STEP_BYTES = 16,
};

/* The size of a block of a disk of @disk_bytes, which has to be more than 0. */
uint64_t vmdk_track_block_bytes(uint64_t disk_bytes);

/* Of an image that is read: the file is one of image.files. 0 or -ENOMEM. */
int vmdk_track_name(struct vmdk *v);

/* Judges @data, the file of that name. 0, IMAGE_E_* or a negative errno. */
int vmdk_track_attach(struct vmdk *v, struct store *data, char **ret_error);

/*
 * Of an image that is to be written: notes where in @text, the descriptor at
 * @offset of the store, the tracking is named.
 */
void vmdk_track_prepare(struct vmdk *v, const char *text, size_t bytes,
			uint64_t offset);

/*
 * For the plan that goes before the first change: the descriptor names no tracking
 * any more. Bytes in their place, each of which is enough; and how it ended.
 */
void vmdk_track_add(struct vmdk *v, struct plan_draft *draft);
void vmdk_track_planned(struct vmdk *v, int result);

/* The same at once, with its own I/O: stable when it returns 0. Or a negative errno. */
int vmdk_track_disown(struct vmdk *v);

void vmdk_track_deinit(struct vmdk_track *track);

/* See struct image_manage. */
int vmdk_bitmap_list(struct image *image, struct image_bitmaps *ret);
int vmdk_bitmap_next(struct image *image, const char *name, uint64_t offset,
		     uint64_t *ret_offset, uint64_t *ret_length);

#endif
