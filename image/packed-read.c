/* SPDX-License-Identifier: Apache-2.0 */
#include "image/packed-read.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/store.h"

static int unpack(struct codec *codec, const struct image_extent *extent,
		  const void *packed, void *ret_plain)
{
	if (extent->may_be_short)
		return codec_decompress_short(codec, extent->codec, packed,
					      extent->host_bytes, ret_plain,
					      extent->cluster_bytes);
	return codec_decompress(codec, extent->codec, packed,
				extent->host_bytes, ret_plain,
				extent->cluster_bytes);
}

int packed_read(struct codec *codec, const struct image_extent *extent,
		void *ret_data)
{
	uint8_t *packed = malloc(extent->host_bytes);
	uint8_t *plain = malloc(extent->cluster_bytes);
	int err = packed && plain ? 0 : -ENOMEM;

	if (err == 0)
		err = store_read(extent->store, extent->host_offset, packed,
				 extent->host_bytes);
	if (err == 0)
		err = unpack(codec, extent, packed, plain);
	if (err == 0)
		memcpy(ret_data, plain + extent->skip, extent->length);
	free(plain);
	free(packed);
	return err;
}
