/* SPDX-License-Identifier: Apache-2.0 */
/* The format that is none: guest byte n is byte n of the store. */
#include <errno.h>
#include <stdlib.h>

#include "image/open.h"
#include "image/raw-manage.h"

static bool raw_probe(const void *head, size_t size)
{
	return false; /* what no other format claims */
}

static int raw_open(struct store *store, const struct image_open_options *o,
		    struct image **ret_image, char **ret_error)
{
	struct image *image = calloc(1, sizeof(*image));

	if (!image)
		return -ENOMEM;
	image_init(image, &raw_format, store);
	image->size_bytes = store->size_bytes;
	image->read_only = o->read_only;
	*ret_image = image;
	return 0;
}

static void raw_close(struct image *image)
{
	image_deinit(image);
	free(image);
}

static int raw_map(struct image *image, enum image_op op, uint64_t offset,
		   uint64_t length, struct image_extent *ret_extent)
{
	ret_extent->kind = IMAGE_DATA;
	ret_extent->length = length;
	ret_extent->store = image->store;
	ret_extent->host_offset = offset;
	return 0;
}

static int raw_flush_begin(struct image *image, struct image_plan *ret_plan)
{
	static struct image_step barrier = {.kind = IMAGE_STEP_BARRIER};

	*ret_plan = (struct image_plan){.steps = &barrier, .count = 1};
	return 0;
}

/* Plans share one constant step: nothing to free, and any number may be out. */
static void raw_flush_end(struct image *image, struct image_plan *plan,
			  int result)
{
}

const struct image_format raw_format = {
	.name = "raw",
	.manage = &raw_manage,
	.map_is_constant = true,
	.probe = raw_probe,
	.open = raw_open,
	.close = raw_close,
	.map = raw_map,
	.flush_begin = raw_flush_begin,
	.flush_end = raw_flush_end,
};
