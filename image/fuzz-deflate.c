/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Byte 0: the level; byte 1: how much less room than the bound there is; the
 * rest is encoded, in a buffer of exactly that size, and must come back.
 */
#include <stdlib.h>
#include <string.h>

#include "image/deflate.h"
#include "image/inflate-walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const uint8_t *stream, size_t stream_bytes,
		  const uint8_t *from, size_t bytes)
{
	struct inflate_walk walk;
	uint8_t *back = malloc(bytes + 1);

	if (!back)
		return;
	if (!inflate_walk(stream, stream_bytes, back, bytes, &walk) ||
	    walk.out_bytes != bytes || walk.in_bytes != stream_bytes ||
	    walk.farthest > DEFLATE_WINDOW_BYTES ||
	    memcmp(back, from, bytes) != 0)
		abort();
	free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct deflate *deflate;
	size_t bytes, room, got;
	uint8_t *out;

	if (size < 2 || (!deflate && deflate_new(&deflate) < 0))
		return 0;
	bytes = size - 2;
	room = deflate_bound(bytes);
	room -= data[1] < room ? data[1] : room;
	out = malloc(room + 1);
	if (!out)
		return 0;
	got = deflate_compress(deflate, data[0] % 12, data + 2, bytes, out,
			       room);
	if (got > 0)
		check(out, got, data + 2, bytes);
	else if (data[1] == 0)
		abort();
	free(out);
	return 0;
}
