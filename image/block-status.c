/* SPDX-License-Identifier: Apache-2.0 */
#include "image/block-status.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "image/manage.h"

/* Asks until no block of metadata is missing. */
static int map_read(struct image *image, uint64_t offset, uint64_t length,
		    struct image_extent *ret)
{
	for (;;) {
		int err = image_map(image, IMAGE_READ, offset, length, ret);

		if (err == 0 &&
		    (ret->kind == IMAGE_BUSY || ret->kind == IMAGE_MUST_FLUSH))
			return -EAGAIN;
		if (err || ret->kind != IMAGE_NEED)
			return err;
		err = image_read_need(image, ret);
		if (err)
			return err;
	}
}

/* What the store knows of its bytes: a hole need not be read to be known. */
static int look_into_store(struct block_status *s)
{
	struct store_status found;
	int err = store_status(s->store, s->host_offset, s->length, &found);

	if (err < 0)
		return err;
	s->length = found.length;
	s->zero = found.zero;
	s->hole = found.hole;
	s->data = !found.hole;
	return 0;
}

static void describe_place(const struct image_extent *extent,
			   struct block_status *s)
{
	s->store = extent->store;
	s->host_offset = extent->host_offset;
	s->has_offset = extent->store && !extent->cipher;
}

static int describe(const struct image_extent *extent, struct block_status *s)
{
	s->length = extent->length;
	switch (extent->kind) {
	case IMAGE_DATA:
		s->present = s->data = true;
		describe_place(extent, s);
		if (s->has_offset)
			return look_into_store(s);
		break;
	case IMAGE_COMPRESSED:
		s->present = s->data = s->compressed = true;
		break;
	case IMAGE_ZEROES:
		s->present = s->zero = true;
		describe_place(extent, s);
		break;
	default:
		describe_place(extent, s);
		break;
	}
	return 0;
}

int block_status_of_layer(struct image *image, uint64_t offset, uint64_t length,
			  struct block_status *ret)
{
	struct image_extent extent;
	int err = map_read(image, offset, length, &extent);

	*ret = (struct block_status){.offset = offset, .image = image};
	return err ? err : describe(&extent, ret);
}

int block_status_above(struct image *top, const struct image *below,
		       uint64_t offset, uint64_t length,
		       struct block_status *ret)
{
	unsigned depth = 0;

	for (struct image *image = top; image != below;
	     image = image->backing, depth++) {
		int err;

		/*
		 * What the image above has left to it. If that ends above
		 * @below, it is this image that says so, and not the one above:
		 * whoever takes it for that one's own loses the zeroes.
		 */
		if (offset >= image->size_bytes) {
			ret->zero = true;
			if (below) {
				ret->present = true;
				ret->depth = depth;
				ret->image = image;
			}
			return 0;
		}
		length = MIN(length, image->size_bytes - offset);
		err = block_status_of_layer(image, offset, length, ret);
		ret->depth = depth;
		if (err || ret->present)
			return err;
		length = ret->length;
	}
	ret->zero = !below;
	return 0;
}

int block_status_next(struct image *image, uint64_t offset, uint64_t length,
		      struct block_status *ret)
{
	return block_status_above(image, NULL, offset, length, ret);
}

int block_status_judge_hole(struct block_status_sparse *chain,
			    struct block_status *s)
{
	int err = 0;

	if (!s->hole || s->image->cluster_bytes == 0)
		return 0;
	if (!chain->known[s->depth])
		err = image_is_sparse(s->image, &chain->sparse[s->depth]);
	chain->known[s->depth] = true;
	s->data = true;
	s->hole = s->zero = chain->sparse[s->depth];
	return err;
}

bool block_status_joins(const struct block_status *now,
			const struct block_status *next)
{
	return now->depth == next->depth && now->present == next->present &&
	       now->zero == next->zero && now->data == next->data &&
	       now->hole == next->hole && now->has_offset == next->has_offset &&
	       now->compressed == next->compressed &&
	       (!now->has_offset ||
		(now->store == next->store &&
		 now->host_offset + now->length == next->host_offset));
}
