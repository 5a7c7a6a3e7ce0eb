/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/images/picture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "image/manage.h"
#include "image/sync-io.h"
#include "tests/cmocka.h"
#include "tests/images/guest.h"

enum {
	CHUNK = 64, /* sectors */
};

void picture_read_disk(struct picture_disk *disk, struct image *image)
{
	static uint8_t data[CHUNK * GUEST_SECTOR];
	uint64_t sectors = image->size_bytes / GUEST_SECTOR;

	*disk = (struct picture_disk){
		.size_bytes = image->size_bytes,
		.sectors = sectors,
		.stamps = malloc((sectors + 1) * sizeof(uint64_t)),
	};
	assert_non_null(disk->stamps);
	for (uint64_t at = 0; at < sectors; at += CHUNK) {
		uint64_t count = MIN((uint64_t)CHUNK, sectors - at);
		int err = sync_io_read(image, at * GUEST_SECTOR, data,
				       count * GUEST_SECTOR);

		if (err)
			fail_msg("cannot be read: %d: %s", err,
				 image_error(image));
		for (uint64_t i = 0; i < count; i++)
			disk->stamps[at + i] =
				guest_stamp(data + i * GUEST_SECTOR, at + i);
	}
}

void picture_copy_disk(struct picture_disk *to, const struct picture_disk *from)
{
	size_t bytes = from->sectors * sizeof(*from->stamps);

	*to = *from;
	to->stamps = malloc(bytes + 1);
	assert_non_null(to->stamps);
	memcpy(to->stamps, from->stamps, bytes);
}

void picture_resize_disk(struct picture_disk *disk, uint64_t size_bytes)
{
	uint64_t sectors = size_bytes / GUEST_SECTOR;

	disk->stamps =
		realloc(disk->stamps, (sectors + 1) * sizeof(*disk->stamps));
	assert_non_null(disk->stamps);
	for (uint64_t i = disk->sectors; i < sectors; i++)
		disk->stamps[i] = 0;
	disk->sectors = sectors;
	disk->size_bytes = size_bytes;
}

bool picture_same_disk(const struct picture_disk *a,
		       const struct picture_disk *b)
{
	return a->size_bytes == b->size_bytes &&
	       memcmp(a->stamps, b->stamps, a->sectors * sizeof(*a->stamps)) ==
		       0;
}

static void read_bits(struct picture_bitmap *bitmap, struct image *image)
{
	uint64_t at = 0, start, length;

	while (at < image->size_bytes) {
		int err = image_bitmap_next(image, bitmap->name, at, &start,
					    &length);

		if (err)
			fail_msg("bitmap %s: %d: %s", bitmap->name, err,
				 image_error(image));
		if (length == 0)
			return;
		assert_true(start >= at);
		assert_true(range_fits(start, length, image->size_bytes));
		at = start + length;
		for (uint64_t i = start / bitmap->granularity_bytes;
		     i * bitmap->granularity_bytes < at; i++)
			bitmap->set[i] = true;
	}
}

void picture_read_bitmaps(struct picture *picture, struct image *image)
{
	struct image_bitmaps list = {0};
	int err = image_bitmap_list(image, &list);

	picture->bitmap_count = 0;
	if (err == -ENOTSUP)
		return;
	if (err)
		fail_msg("bitmaps: %d: %s", err, image_error(image));
	assert_true(list.count <= PICTURE_MAX_BITMAPS);
	for (size_t i = 0; i < list.count; i++) {
		struct picture_bitmap *bitmap = &picture->bitmaps[i];
		uint32_t granularity = list.all[i].granularity_bytes;
		uint64_t bits =
			div_round_up(image->size_bytes, (uint64_t)granularity);

		*bitmap = (struct picture_bitmap){
			.granularity_bytes = granularity,
			.enabled = list.all[i].enabled,
			.inconsistent = list.all[i].inconsistent,
			.bits = bits,
			.set = calloc(bits + 1, 1),
		};
		assert_non_null(bitmap->set);
		snprintf(bitmap->name, sizeof(bitmap->name), "%s",
			 list.all[i].name);
		if (!bitmap->inconsistent)
			read_bits(bitmap, image);
	}
	picture->bitmap_count = list.count;
	image_bitmaps_deinit(&list);
}

struct picture *picture_copy(const struct picture *from)
{
	struct picture *to = malloc(sizeof(*to));

	assert_non_null(to);
	*to = *from;
	picture_copy_disk(&to->disk, &from->disk);
	for (unsigned i = 0; i < to->snapshot_count; i++)
		picture_copy_disk(&to->snapshots[i].disk,
				  &from->snapshots[i].disk);
	for (unsigned i = 0; i < to->bitmap_count; i++) {
		to->bitmaps[i].set = malloc(to->bitmaps[i].bits + 1);
		assert_non_null(to->bitmaps[i].set);
		memcpy(to->bitmaps[i].set, from->bitmaps[i].set,
		       to->bitmaps[i].bits);
	}
	return to;
}

void picture_free(struct picture *picture)
{
	if (!picture)
		return;
	while (picture->snapshot_count)
		picture_drop_snapshot(picture, &picture->snapshots[0]);
	while (picture->bitmap_count)
		picture_drop_bitmap(picture, &picture->bitmaps[0]);
	free(picture->disk.stamps);
	free(picture);
}

struct picture_snapshot *picture_snapshot(const struct picture *picture,
					  const char *name)
{
	for (unsigned i = 0; i < picture->snapshot_count; i++)
		if (strcmp(picture->snapshots[i].name, name) == 0)
			return (struct picture_snapshot *)&picture
				->snapshots[i];
	return NULL;
}

struct picture_bitmap *picture_bitmap(const struct picture *picture,
				      const char *name)
{
	for (unsigned i = 0; i < picture->bitmap_count; i++)
		if (strcmp(picture->bitmaps[i].name, name) == 0)
			return (struct picture_bitmap *)&picture->bitmaps[i];
	return NULL;
}

void picture_drop_snapshot(struct picture *picture,
			   struct picture_snapshot *snapshot)
{
	free(snapshot->disk.stamps);
	*snapshot = picture->snapshots[--picture->snapshot_count];
}

void picture_drop_bitmap(struct picture *picture, struct picture_bitmap *bitmap)
{
	free(bitmap->set);
	*bitmap = picture->bitmaps[--picture->bitmap_count];
}

bool picture_same_bitmap(const struct picture_bitmap *a,
			 const struct picture_bitmap *b)
{
	return !a->inconsistent && !b->inconsistent &&
	       a->granularity_bytes == b->granularity_bytes &&
	       a->enabled == b->enabled && a->bits == b->bits &&
	       memcmp(a->set, b->set, a->bits) == 0;
}
