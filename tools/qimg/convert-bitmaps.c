/* SPDX-License-Identifier: Apache-2.0 */
/* --bitmaps: the source's bitmaps go along. */
#include <errno.h>
#include <string.h>

#include "image/manage.h"
#include "tools/qimg/convert.h"

static int change(struct convert *convert, struct image_bitmap_change change,
		  const char *what)
{
	int err = image_bitmap_change(convert->target, &change);
	const char *why = err ? image_error(convert->target) : NULL;

	if (err == 0)
		return 0;
	return cli_error("Failed to %s bitmap %s: %s", what, change.name,
			 why && *why ? why
			 : err < 0   ? strerror(-err)
				     : "the image is corrupt");
}

static int copy_one(struct convert *convert, const struct image_bitmap *bitmap)
{
	struct image_bitmap_change add = {
		.action = IMAGE_BITMAP_ADD,
		.name = bitmap->name,
		.granularity_bytes = bitmap->granularity_bytes,
		.disabled = true,
	};
	struct image_bitmap_change merge = {
		.action = IMAGE_BITMAP_MERGE,
		.name = bitmap->name,
		.source = convert->sources[0].image,
		.source_name = bitmap->name,
	};
	struct image_bitmap_change enable = {
		.action = IMAGE_BITMAP_ENABLE,
		.name = bitmap->name,
	};
	int status = change(convert, add, "create");

	if (status == 0)
		status = change(convert, merge, "populate");
	if (status == 0 && bitmap->enabled)
		status = change(convert, enable, "enable");
	return status;
}

int convert_bitmaps_check(struct convert *convert, bool skip_broken)
{
	struct image *source = convert->sources[0].image;
	const struct image_manage *manage = source->format->manage;
	struct image_bitmaps bitmaps = {0};
	int status = 0;
	int err;

	if (!manage || !manage->bitmap_list)
		return cli_error("Format driver '%s' does not support bitmaps",
				 source->format->name);
	err = image_bitmap_list(source, &bitmaps);
	if (err)
		return qimg_image_error(source, convert->sources[0].name, err,
					"its bitmaps cannot be read");
	for (size_t i = 0; i < bitmaps.count && status == 0; i++)
		if (bitmaps.all[i].inconsistent && !skip_broken)
			status = cli_error("Cannot copy inconsistent bitmap "
					   "'%s'; try --skip-broken-bitmaps, "
					   "or use 'qimg bitmap --remove'",
					   bitmaps.all[i].name);
	image_bitmaps_deinit(&bitmaps);
	return status;
}

int convert_bitmaps_copy(struct convert *convert)
{
	struct image *source = convert->sources[0].image;
	struct image_bitmaps bitmaps = {0};
	int err = image_bitmap_list(source, &bitmaps);
	int status = 0;

	if (err)
		return qimg_image_error(source, convert->sources[0].name, err,
					"its bitmaps cannot be read");
	for (size_t i = 0; i < bitmaps.count && status == 0; i++) {
		if (bitmaps.all[i].inconsistent)
			cli_warning("Skipping inconsistent bitmap '%s'",
				    bitmaps.all[i].name);
		else
			status = copy_one(convert, &bitmaps.all[i]);
	}
	image_bitmaps_deinit(&bitmaps);
	return status;
}
