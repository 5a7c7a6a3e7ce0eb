/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests: a plain inflater that shares no code or tables with what it
 * judges, and says what libraries keep to themselves.
 */
#ifndef IMAGE_INFLATE_WALK_H
#define IMAGE_INFLATE_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct inflate_walk {
	size_t out_bytes;
	size_t in_bytes; /* used */
	unsigned farthest, longest;
	unsigned stored, fixed, dynamic; /* blocks */
};

/*
 * Unpacks a raw deflate stream to @out; false if it is broken, cut off, or
 * yields more than @out_bytes. Incomplete codes count as broken, but for a
 * single distance.
 */
bool inflate_walk(const uint8_t *in, size_t in_bytes, uint8_t *out,
		  size_t out_bytes, struct inflate_walk *ret_walk);

#endif
