/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decompression of one cluster. A codec keeps what the libraries need between
 * calls, so that none of them allocates; it belongs to one thread.
 */
#ifndef IMAGE_CODEC_H
#define IMAGE_CODEC_H

#include <stddef.h>

#include "image/image.h"

struct codec;

int codec_new(struct codec **ret_codec);

/* Accepts NULL. */
void codec_free(struct codec *codec);

/*
 * Decompresses the stream that begins at @from into exactly @to_bytes at @to.
 * Images give a stream's length in sectors: what follows its end within
 * @from_bytes is not looked at. 0, or IMAGE_E_CORRUPT for a stream that is
 * broken, cut off, or yields more or less; the contents of @to are undefined
 * then. IMAGE_E_UNSUPPORTED for a codec that is none.
 */
int codec_decompress(struct codec *codec, enum image_codec kind,
		     const void *from, size_t from_bytes, void *to,
		     size_t to_bytes);

#endif
