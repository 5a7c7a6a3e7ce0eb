/* SPDX-License-Identifier: Apache-2.0 */
/* A compressed extent, read and unpacked by synchronous calls. */
#ifndef IMAGE_PACKED_READ_H
#define IMAGE_PACKED_READ_H

#include "image/codec.h"
#include "image/image.h"

/*
 * The bytes of an IMAGE_COMPRESSED @extent, extent->length of them. @codec may
 * be used for the next one. 0, -ENOMEM, or as for reading the store and
 * unpacking.
 */
int packed_read(struct codec *codec, const struct image_extent *extent,
		void *ret_data);

#endif
