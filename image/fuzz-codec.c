/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Byte 0: the codec; bytes 1 and 2: the cluster size asked for; then the
 * stream. The output has exactly that size, so that a sanitizer sees one byte
 * over.
 */
#include <stdlib.h>

#include "base/bytes.h"
#include "image/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct codec *codec;
	size_t bytes;
	char *out;

	if (size < 3 || (!codec && codec_new(&codec) < 0))
		return 0;
	bytes = get_le16(data + 1) + 1;
	out = malloc(bytes);
	if (out)
		codec_decompress(codec, data[0] % 5, data + 3, size - 3, out,
				 bytes);
	free(out);
	return 0;
}
