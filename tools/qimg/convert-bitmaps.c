/* SPDX-License-Identifier: Apache-2.0 */
/* --bitmaps: the source's bitmaps go along. */
#include "image/manage.h"
#include "tools/qimg/convert.h"

/* In QEMU's words where it can be removed, else with the reason. */
static int refuse(const struct convert *convert,
		  const struct image_bitmap *bitmap)
{
	struct image *source = convert->sources[0].image;
	uint64_t offset, length;
	int err;

	if (source->format->manage->bitmap_change)
		return cli_error("Cannot copy inconsistent bitmap '%s'; try "
				 "--skip-broken-bitmaps, or use 'qimg bitmap "
				 "--remove'",
				 bitmap->name);
	err = image_bitmap_next(source, bitmap->name, 0, &offset, &length);
	return cli_error("Cannot copy bitmap '%s'; try --skip-broken-bitmaps: "
			 "%s",
			 bitmap->name,
			 err ? qimg_image_words(source, err)
			     : "it is inconsistent");
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
			status = refuse(convert, &bitmaps.all[i]);
	image_bitmaps_deinit(&bitmaps);
	return status;
}

int convert_bitmaps_copy(struct convert *convert)
{
	struct image *source = convert->sources[0].image;
	struct image_bitmaps bitmaps = {0};
	int err = image_bitmap_list(source, &bitmaps);

	if (err)
		return qimg_image_error(source, convert->sources[0].name, err,
					"its bitmaps cannot be read");
	for (size_t i = 0; i < bitmaps.count; i++)
		if (bitmaps.all[i].inconsistent)
			cli_warning("Skipping inconsistent bitmap '%s'",
				    bitmaps.all[i].name);
	image_bitmaps_deinit(&bitmaps);
	err = image_bitmap_copy(convert->target, source);
	return err ? qimg_image_error(convert->target, convert->target_name,
				      err, "bitmaps cannot be copied")
		   : 0;
}
