/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that a user can see of an image at one moment, as stamps (see guest.h):
 * its disk, its snapshots' disks, its bitmaps. Two such pictures are what a
 * change that nothing interrupts leads from and to.
 */
#ifndef TESTS_IMAGES_PICTURE_H
#define TESTS_IMAGES_PICTURE_H

#include "image/image.h"

enum {
	PICTURE_MAX_SNAPSHOTS = 4,
	PICTURE_MAX_BITMAPS = 4,
	PICTURE_NAME_BYTES = 16,
};

struct picture_disk {
	uint64_t size_bytes;
	uint64_t sectors;
	uint64_t *stamps;
};

struct picture_snapshot {
	char name[PICTURE_NAME_BYTES];
	struct picture_disk disk;
};

struct picture_bitmap {
	char name[PICTURE_NAME_BYTES];
	uint32_t granularity_bytes;
	bool enabled;
	bool inconsistent;
	uint64_t bits;
	bool *set; /* @bits of them */
};

struct picture {
	struct picture_disk disk;
	struct picture_snapshot snapshots[PICTURE_MAX_SNAPSHOTS];
	unsigned snapshot_count;
	struct picture_bitmap bitmaps[PICTURE_MAX_BITMAPS];
	unsigned bitmap_count;
};

/* The disk as the image reads. */
void picture_read_disk(struct picture_disk *disk, struct image *image);
void picture_copy_disk(struct picture_disk *to,
		       const struct picture_disk *from);
void picture_resize_disk(struct picture_disk *disk, uint64_t size_bytes);
bool picture_same_disk(const struct picture_disk *a,
		       const struct picture_disk *b);

/* The bitmaps as the image lists them; none if it cannot. */
void picture_read_bitmaps(struct picture *picture, struct image *image);

struct picture *picture_copy(const struct picture *from);
void picture_free(struct picture *picture);

/* NULL if there is none. */
struct picture_snapshot *picture_snapshot(const struct picture *picture,
					  const char *name);
struct picture_bitmap *picture_bitmap(const struct picture *picture,
				      const char *name);
void picture_drop_snapshot(struct picture *picture,
			   struct picture_snapshot *snapshot);
void picture_drop_bitmap(struct picture *picture,
			 struct picture_bitmap *bitmap);

/* Granule for granule, and enabled or not; false if either is inconsistent. */
bool picture_same_bitmap(const struct picture_bitmap *a,
			 const struct picture_bitmap *b);

#endif
