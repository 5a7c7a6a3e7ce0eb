/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bits in an array of 64-bit words that the caller owns. Bit 0 is the lowest
 * bit of word 0. Ranges are [first, first + count).
 */
#ifndef BASE_BITMAP_H
#define BASE_BITMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BITMAP_WORDS(bits) (((bits) + 63) / 64)

static inline bool bitmap_test(const uint64_t *map, size_t bit)
{
	return map[bit / 64] >> (bit % 64) & 1;
}

static inline void bitmap_set(uint64_t *map, size_t bit)
{
	map[bit / 64] |= UINT64_C(1) << (bit % 64);
}

static inline void bitmap_clear(uint64_t *map, size_t bit)
{
	map[bit / 64] &= ~(UINT64_C(1) << (bit % 64));
}

void bitmap_set_range(uint64_t *map, size_t first, size_t count);
void bitmap_clear_range(uint64_t *map, size_t first, size_t count);

/* The first bit at or after @from that is set (or clear); @bits if none. */
size_t bitmap_next_set(const uint64_t *map, size_t bits, size_t from);
size_t bitmap_next_clear(const uint64_t *map, size_t bits, size_t from);

/* How many of the first @bits are set. */
size_t bitmap_count(const uint64_t *map, size_t bits);

#endif
