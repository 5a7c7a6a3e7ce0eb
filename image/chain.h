/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is done to images of a backing chain: committing what the upper ones
 * hold into a lower one, and giving an image another backing file while what
 * is read stays the same. Formats are not known here: content goes through
 * executors, many requests at once, and what need not be read is not.
 *
 * A crash at any time leaves what is read through the chain as it was: a copy
 * is stable before whatever makes it count.
 *
 * Nothing else may be under way on the images, and all belongs to one thread.
 * 0, a negative errno, or IMAGE_E_*; *@ret_failed is then the image that it is
 * about (image_error may say more), or NULL.
 */
#ifndef IMAGE_CHAIN_H
#define IMAGE_CHAIN_H

#include "image/image.h"

struct chain_options {
	bool writethrough;   /* flush after each write */
	bool keep;	     /* commit: the top one is not emptied */
	uint64_t rate_bytes; /* copied or compared a second; 0: no limit */
	/* Guest bytes that are settled, of all; or NULL. */
	void (*progress)(void *opaque, uint64_t done, uint64_t total);
	void *opaque;
};

/*
 * What the images from @top down to the one above @base say is written to
 * @base, which lies in @top's chain and was opened for writing (see
 * image_open_request.writable_depth); it grows if it is smaller than @top. Then
 * @top is emptied, which is wanted only if @base is its own backing image:
 * with images in between, whose view of @base changes, say @keep. One whose
 * format cannot be emptied keeps what @base has then, too.
 */
int chain_commit(struct image *top, struct image *base,
		 const struct chain_options *options,
		 struct image **ret_failed);

/*
 * @image is to be backed by @backing, opened with its own chain, which it
 * shall name @name with @format; or by nothing (all NULL). What it left to the
 * old chain and the new one has not is written to it first. Its own chain in
 * memory stays what it was: close it. -ELOOP if @image is part of @backing.
 */
int chain_rebase(struct image *image, struct image *backing, const char *name,
		 const char *format, const struct chain_options *options,
		 struct image **ret_failed);

#endif
