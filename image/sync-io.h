/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests and fuzzers: carries out requests on an image, and
 * its backing chain, with the stores' synchronous calls, as the contract of
 * image/image.h says and as simply as can be.
 */
#ifndef IMAGE_SYNC_IO_H
#define IMAGE_SYNC_IO_H

#include "image/image.h"

/*
 * Called, if set, when the new place of an allocation is filled and before it
 * is committed: other things may happen there.
 */
extern void (*sync_io_before_commit)(void);

/*
 * 0, a negative errno, or IMAGE_E_*. -EDEADLK: still busy after many tries,
 * which only another request under way can explain. An encrypted image takes
 * whole sectors.
 */
int sync_io_read(struct image *image, uint64_t offset, void *ret_data,
		 size_t length);
int sync_io_write(struct image *image, uint64_t offset, const void *data,
		  size_t length);
/*
 * Whole clusters, but for the image's last one: each is compressed, and those
 * that do not become smaller are written plainly.
 */
int sync_io_write_packed(struct image *image, uint64_t offset, const void *data,
			 size_t length);
int sync_io_zero(struct image *image, uint64_t offset, uint64_t length);
int sync_io_discard(struct image *image, uint64_t offset, uint64_t length);

/* Flushes until nothing is left, frees included. */
int sync_io_settle(struct image *image);

#endif
