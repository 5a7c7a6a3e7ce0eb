/* SPDX-License-Identifier: Apache-2.0 */
#include "vmdk/track.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long long number;

static const char key[] = "changeTrackPath";
/* As long: a comment, from which people see what it was. */
static const char stale[] = "#staleTrackPath";

static_assert(sizeof(key) == sizeof(stale), "in its place");
static_assert(sizeof(stale) - 1 + 1 <= VMDK_TRACK_STEP_BYTES,
	      "and the version's digit");

/* --- The file ----------------------------------------------------------- */

uint64_t vmdk_track_block_bytes(uint64_t disk_bytes)
{
	uint64_t block = VMDK_TRACK_MIN_BLOCK_BYTES;

	while (div_round_up(disk_bytes, block) > VMDK_TRACK_MAX_BLOCKS)
		block *= 2;
	return block;
}

static bool is_tracked(const struct vmdk *v)
{
	return v->d.change_track && *v->d.change_track;
}

int vmdk_track_name(struct vmdk *v)
{
	int err;

	if (!is_tracked(v) || v->image.size_bytes == 0)
		return 0;
	err = image_add_file(&v->image, v->d.change_track, true);
	if (err)
		return err;
	v->track.file = v->image.file_count - 1;
	v->image.files[v->track.file].optional = true;
	v->track.named = true;
	return 0;
}

static int judge_header(const struct vmdk_wire_track *h, char **ret_error)
{
	if (h->magic != VMDK_TRACK_MAGIC)
		return store_fail(ret_error, IMAGE_E_CORRUPT,
				  "it does not begin as a file of changed "
				  "blocks");
	if (h->version != VMDK_TRACK_VERSION)
		return store_fail(ret_error, IMAGE_E_UNSUPPORTED,
				  "it is of version %u, and only %u is known",
				  h->version, VMDK_TRACK_VERSION);
	if (h->table_offset != sizeof(*h))
		return store_fail(ret_error, IMAGE_E_UNSUPPORTED,
				  "its numbers begin at byte %u, and not at "
				  "%zu",
				  h->table_offset, sizeof(*h));
	return 0;
}

int vmdk_track_attach(struct vmdk *v, struct store *data, char **ret_error)
{
	struct vmdk_track *t = &v->track;
	uint64_t block = vmdk_track_block_bytes(v->image.size_bytes);
	uint64_t blocks = div_round_up(v->image.size_bytes, block);
	uint64_t expected = sizeof(struct vmdk_wire_track) + blocks * 4;
	struct vmdk_wire_track header;
	int err;

	if (block > VMDK_TRACK_MAX_BLOCK_BYTES)
		return store_fail(ret_error, IMAGE_E_UNSUPPORTED,
				  "%s: the changes of a disk of %llu bytes "
				  "cannot be tracked",
				  data->name, (number)v->image.size_bytes);
	/* One that is too short belongs to a smaller disk, or lost its end. */
	if (data->size_bytes != expected)
		return store_fail(ret_error, IMAGE_E_CORRUPT,
				  "%s: it has %llu bytes, and a disk of %llu "
				  "bytes has %llu of them",
				  data->name, (number)data->size_bytes,
				  (number)v->image.size_bytes,
				  (number)expected);
	err = store_read(data, 0, &header, sizeof(header));
	if (err == 0)
		err = judge_header(&header, ret_error);
	if (err)
		return err;
	t->store = data;
	t->block_bytes = block;
	t->blocks = blocks;
	return 0;
}

/* All of them, once somebody asks. */
static int load(struct vmdk *v)
{
	struct vmdk_track *t = &v->track;
	size_t bytes = t->blocks * 4;
	uint8_t *numbers;
	int err;

	if (!t->named)
		return image_set_error(&v->image, -ENOENT,
				       "the changes of this disk are not "
				       "tracked");
	if (!t->store)
		return image_set_error(
			&v->image, IMAGE_E_CORRUPT,
			"the tracking of its changes cannot be used: %s",
			v->image.files[t->file].missing
				? v->image.files[t->file].missing
				: "the file was not opened");
	if (t->numbers)
		return 0;
	numbers = malloc(bytes);
	if (!numbers)
		return -ENOMEM;
	err = store_read(t->store, sizeof(struct vmdk_wire_track), numbers,
			 bytes);
	if (err)
		free(numbers);
	else
		t->numbers = numbers;
	return err;
}

void vmdk_track_deinit(struct vmdk_track *track)
{
	free(track->numbers);
	track->numbers = NULL;
}

/* --- As bitmaps --------------------------------------------------------- */

/* The first block from @block on that is @changed since, or that is not. */
static uint64_t find(const struct vmdk_track *t, uint64_t block, uint32_t since,
		     bool changed)
{
	while (block < t->blocks &&
	       (get_le32(t->numbers + block * 4) >= since) != changed)
		block++;
	return block;
}

static uint64_t end_of(const struct vmdk *v, uint64_t block)
{
	return MIN(block * v->track.block_bytes, v->image.size_bytes);
}

static uint64_t count_changed(const struct vmdk *v)
{
	const struct vmdk_track *t = &v->track;
	uint64_t block = find(t, 0, 1, true), bytes = 0;

	while (block < t->blocks) {
		uint64_t end = find(t, block, 1, false);

		bytes += end_of(v, end) - end_of(v, block);
		block = find(t, end, 1, true);
	}
	return bytes;
}

int vmdk_bitmap_list(struct image *image, struct image_bitmaps *ret)
{
	struct vmdk *v = vmdk_of(image);
	struct image_bitmap *one;
	int err;

	*ret = (struct image_bitmaps){0};
	if (!v->track.named)
		return 0;
	err = load(v);
	if (err == -ENOMEM)
		return err;
	one = calloc(1, sizeof(*one));
	if (!one)
		return -ENOMEM;
	*one = (struct image_bitmap){
		.name = strdup(VMDK_TRACK_BITMAP),
		.granularity_bytes = err ? 0 : (uint32_t)v->track.block_bytes,
		.inconsistent = err != 0,
		.enabled = true,
		.dirty_bytes = err ? 0 : count_changed(v),
	};
	*ret = (struct image_bitmaps){.all = one, .count = 1};
	if (one->name)
		return 0;
	image_bitmaps_deinit(ret);
	return -ENOMEM;
}

/* A number in decimal digits, and nothing else. */
static bool parse_number(const char *text, uint32_t *ret)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (!isdigit((unsigned char)*text) || *end || errno ||
	    value > UINT32_MAX)
		return false;
	*ret = (uint32_t)value;
	return true;
}

/* From which number on a block is one of the bitmap @name. */
static int parse_name(struct vmdk *v, const char *name, uint32_t *ret_since)
{
	uint32_t since = 1;

	if (strcmp(name, VMDK_TRACK_BITMAP) != 0 && !parse_number(name, &since))
		return image_set_error(&v->image, -ENOENT,
				       "the image has no bitmap \"%s\"; its "
				       "changes are \"" VMDK_TRACK_BITMAP "\", "
				       "or a number from which on",
				       name);
	*ret_since = MAX(since, UINT32_C(1));
	return 0;
}

int vmdk_bitmap_next(struct image *image, const char *name, uint64_t offset,
		     uint64_t *ret_offset, uint64_t *ret_length)
{
	struct vmdk *v = vmdk_of(image);
	uint64_t block, end;
	uint32_t since = 1;
	int err = load(v);

	if (err == 0)
		err = parse_name(v, name, &since);
	if (err)
		return err;
	block = find(&v->track, offset / v->track.block_bytes, since, true);
	end = find(&v->track, block, since, false);
	*ret_offset = MAX(offset, end_of(v, block));
	*ret_length = block < end ? end_of(v, end) - *ret_offset : 0;
	return 0;
}

/* --- Disowned ----------------------------------------------------------- */

void vmdk_track_prepare(struct vmdk *v, const char *text, size_t bytes,
			uint64_t offset)
{
	struct vmdk_place place;

	if (!is_tracked(v))
		return;
	place = vmdk_descriptor_place(&v->d, key, text, bytes);
	v->track.key_at = offset + place.key_at;
	v->track.owned = true;
	if (v->d.version != VMDK_TRACKED_VERSION)
		return;
	place = vmdk_descriptor_place(&v->d, "version", text, bytes);
	v->track.version_at = offset + place.value_at;
}

void vmdk_track_add(struct vmdk *v, struct plan_draft *draft)
{
	const struct vmdk_track *t = &v->track;

	if (!t->owned)
		return;
	plan_add_write(draft, v->image.store, t->key_at, stale,
		       sizeof(stale) - 1);
	if (t->version_at)
		plan_add_write(draft, v->image.store, t->version_at, "1", 1);
}

void vmdk_track_planned(struct vmdk *v, int result)
{
	if (result == 0)
		v->track.owned = false;
}

int vmdk_track_disown(struct vmdk *v)
{
	const struct vmdk_track *t = &v->track;
	struct store *store = v->image.store;
	int err;

	if (!t->owned)
		return 0;
	err = store_write(store, t->key_at, stale, sizeof(stale) - 1);
	if (err == 0 && t->version_at)
		err = store_write(store, t->version_at, "1", 1);
	if (err == 0)
		err = store_flush(store);
	vmdk_track_planned(v, err);
	return err;
}
