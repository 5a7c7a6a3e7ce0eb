/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a range of guest bytes is made of, found without reading it: along the
 * backing chain, and in raw files by the file system's map of holes.
 */
#ifndef IMAGE_BLOCK_STATUS_H
#define IMAGE_BLOCK_STATUS_H

#include "image/open.h"

struct block_status {
	uint64_t offset; /* guest bytes */
	uint64_t length;
	/* Below the top one; of what nobody says: the lowest that reaches so far. */
	unsigned depth;
	struct image *image; /* the one at @depth */
	bool present;	     /* some image of the chain says what it is */
	bool zero;	     /* reads as zeroes */
	bool data;	     /* is stored */
	bool hole; /* zeroes, since the file has a hole where it is mapped */
	bool has_offset; /* has room, and is not encrypted, at @host_offset */
	bool compressed;
	uint64_t host_offset;
	struct store *store; /* lives as long as the image */
};

/*
 * Of [offset, offset + length), inside the image and not empty: what its first
 * ret->length bytes are. Synchronous reads of metadata only. 0, a negative
 * errno or IMAGE_E_*.
 */
int block_status_next(struct image *image, uint64_t offset, uint64_t length,
		      struct block_status *ret);

/*
 * The same of the images from @top down to the one above @below, an image of
 * the chain: what they leave to it is not present. What lies past the end of an
 * image that is not the top one is zeroes, and present. @below NULL: as
 * block_status_next. -EAGAIN: requests on the images, or a flush, have to get on
 * first.
 */
int block_status_above(struct image *top, const struct image *below,
		       uint64_t offset, uint64_t length,
		       struct block_status *ret);

/* The same of @image alone: what it leaves to its backing is not present. */
int block_status_of_layer(struct image *image, uint64_t offset, uint64_t length,
			  struct block_status *ret);

/* Which images of a chain are sparse, as far as it was asked; zeroed at first. */
struct block_status_sparse {
	bool known[IMAGE_MAX_CHAIN]; /* by depth */
	bool sparse[IMAGE_MAX_CHAIN];
};

/*
 * Sees a hole as QEMU does in a format that has tables: what is mapped is data,
 * and zeroes as well only where the image is sparse as a whole
 * (image_is_sparse). 0, a negative errno or IMAGE_E_*.
 */
int block_status_judge_hole(struct block_status_sparse *chain,
			    struct block_status *status);

/* True if @next, which begins where @now ends, goes on in the same way. */
bool block_status_joins(const struct block_status *now,
			const struct block_status *next);

#endif
