/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compression and decompression of one cluster. A codec keeps what the
 * libraries need between calls, so that none of them allocates once a kind and
 * level were used; it belongs to one thread.
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

/*
 * As codec_decompress, of a ZLIB stream that may yield less: the rest of @to is
 * zeroes then. Others are IMAGE_E_UNSUPPORTED.
 */
int codec_decompress_short(struct codec *codec, enum image_codec kind,
			   const void *from, size_t from_bytes, void *to,
			   size_t to_bytes);

/* What is neither slow nor large, and how far one may go. */
enum {
	CODEC_DEFAULT_LEVEL = 0,
	CODEC_MAX_DEFLATE_LEVEL = 9,
	CODEC_MAX_ZSTD_LEVEL = 19,
	CODEC_SLACK_BYTES = 8, /* of the output that a stream leaves unused */
};

/* The highest level of @kind; 0 for a codec that is none. */
int codec_max_level(enum image_codec kind);

/*
 * Compresses @bytes of @from at @level (clamped, or CODEC_DEFAULT_LEVEL) to
 * @to, where deflate and zstd streams are such that QEMU can read them: of
 * DEFLATE no distance exceeds 4 KiB. 0 and *@ret_bytes; IMAGE_E_NO_SPACE if the
 * stream does not fit in @to_bytes less CODEC_SLACK_BYTES; IMAGE_E_UNSUPPORTED
 * for a codec that is none; -ENOMEM.
 */
int codec_compress(struct codec *codec, enum image_codec kind, int level,
		   const void *from, size_t bytes, void *to, size_t to_bytes,
		   size_t *ret_bytes);

#endif
