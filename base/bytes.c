/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"

enum {
	BLOCK_BYTES = 64
};

static bool block_is_zero(const unsigned char *p)
{
	uint64_t any = 0;

	for (size_t i = 0; i < BLOCK_BYTES; i += sizeof(uint64_t)) {
		uint64_t word;

		memcpy(&word, p + i, sizeof(word));
		any |= word;
	}
	return any == 0;
}

bool bytes_are_zero(const void *data, size_t length)
{
	const unsigned char *p = data;

	for (; length >= BLOCK_BYTES; p += BLOCK_BYTES, length -= BLOCK_BYTES)
		if (!block_is_zero(p))
			return false;
	for (; length > 0; p++, length--)
		if (*p != 0)
			return false;
	return true;
}
