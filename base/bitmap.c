/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bitmap.h"

#include "base/bytes.h"

/* The bits [from, to) of one word; to <= 64. */
static uint64_t word_mask(size_t from, size_t to)
{
	uint64_t below_to = to == 64 ? UINT64_MAX : (UINT64_C(1) << to) - 1;

	return below_to & ~((UINT64_C(1) << from) - 1);
}

static void set_range(uint64_t *map, size_t first, size_t count, bool value)
{
	while (count > 0) {
		size_t from = first % 64;
		size_t step = MIN(count, 64 - from);
		uint64_t mask = word_mask(from, from + step);

		if (value)
			map[first / 64] |= mask;
		else
			map[first / 64] &= ~mask;
		first += step;
		count -= step;
	}
}

void bitmap_set_range(uint64_t *map, size_t first, size_t count)
{
	set_range(map, first, count, true);
}

void bitmap_clear_range(uint64_t *map, size_t first, size_t count)
{
	set_range(map, first, count, false);
}

/* @invert is 0 to look for a set bit, all ones to look for a clear one. */
static size_t next_bit(const uint64_t *map, size_t bits, size_t from,
		       uint64_t invert)
{
	while (from < bits) {
		uint64_t word = (map[from / 64] ^ invert) >> (from % 64);

		if (word != 0)
			return MIN(bits, from + __builtin_ctzll(word));
		from = (from / 64 + 1) * 64;
	}
	return bits;
}

size_t bitmap_next_set(const uint64_t *map, size_t bits, size_t from)
{
	return next_bit(map, bits, from, 0);
}

size_t bitmap_next_clear(const uint64_t *map, size_t bits, size_t from)
{
	return next_bit(map, bits, from, UINT64_MAX);
}

size_t bitmap_count(const uint64_t *map, size_t bits)
{
	size_t count = 0;

	for (size_t at = 0; at < bits; at += 64) {
		size_t last = MIN(bits - at, (size_t)64);

		count +=
			__builtin_popcountll(map[at / 64] & word_mask(0, last));
	}
	return count;
}
