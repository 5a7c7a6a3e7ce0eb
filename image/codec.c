/* SPDX-License-Identifier: Apache-2.0 */
#include "image/codec.h"

#include <errno.h>
#include <libdeflate.h>
#include <stdlib.h>
#include <zstd.h>

struct codec {
	struct libdeflate_decompressor *deflate;
	ZSTD_DCtx *zstd;
};

int codec_new(struct codec **ret_codec)
{
	struct codec *codec = calloc(1, sizeof(*codec));

	if (!codec)
		return -ENOMEM;
	codec->deflate = libdeflate_alloc_decompressor();
	codec->zstd = ZSTD_createDCtx();
	if (!codec->deflate || !codec->zstd) {
		codec_free(codec);
		return -ENOMEM;
	}
	*ret_codec = codec;
	return 0;
}

void codec_free(struct codec *codec)
{
	if (!codec)
		return;
	libdeflate_free_decompressor(codec->deflate);
	ZSTD_freeDCtx(codec->zstd);
	free(codec);
}

/* Without a place for the actual output size, libdeflate wants it exact. */
static int inflate_raw(struct codec *codec, const void *from, size_t from_bytes,
		       void *to, size_t to_bytes)
{
	size_t used;

	return libdeflate_deflate_decompress_ex(codec->deflate, from,
						from_bytes, to, to_bytes, &used,
						NULL) == LIBDEFLATE_SUCCESS
		       ? 0
		       : IMAGE_E_CORRUPT;
}

static int inflate_zlib(struct codec *codec, const void *from,
			size_t from_bytes, void *to, size_t to_bytes)
{
	size_t used;

	return libdeflate_zlib_decompress_ex(codec->deflate, from, from_bytes,
					     to, to_bytes, &used,
					     NULL) == LIBDEFLATE_SUCCESS
		       ? 0
		       : IMAGE_E_CORRUPT;
}

/* One frame; the library would take what follows for another. */
static int unpack_zstd(struct codec *codec, const void *from, size_t from_bytes,
		       void *to, size_t to_bytes)
{
	size_t frame = ZSTD_findFrameCompressedSize(from, from_bytes);
	size_t got;

	if (ZSTD_isError(frame))
		return IMAGE_E_CORRUPT;
	got = ZSTD_decompressDCtx(codec->zstd, to, to_bytes, from, frame);
	return !ZSTD_isError(got) && got == to_bytes ? 0 : IMAGE_E_CORRUPT;
}

int codec_decompress(struct codec *codec, enum image_codec kind,
		     const void *from, size_t from_bytes, void *to,
		     size_t to_bytes)
{
	switch (kind) {
	case IMAGE_CODEC_DEFLATE:
		return inflate_raw(codec, from, from_bytes, to, to_bytes);
	case IMAGE_CODEC_ZLIB:
		return inflate_zlib(codec, from, from_bytes, to, to_bytes);
	case IMAGE_CODEC_ZSTD:
		return unpack_zstd(codec, from, from_bytes, to, to_bytes);
	case IMAGE_CODEC_NONE:
		break;
	}
	return IMAGE_E_UNSUPPORTED;
}
