/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes in memory and on disk: fixed-endian loads and stores at any
 * alignment, rounding, and the one form in which ranges are compared.
 *
 * Every function here is pure and may be called from any thread.
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#ifndef container_of /* as DPDK has it, too */
#define container_of(ptr, type, member) \
	((type *)((char *)(ptr)-offsetof(type, member)))
#endif

#define MIN(a, b)                                  \
	({                                         \
		__typeof__(a) min_a_ = (a);        \
		__typeof__(b) min_b_ = (b);        \
		min_a_ < min_b_ ? min_a_ : min_b_; \
	})
#define MAX(a, b)                                  \
	({                                         \
		__typeof__(a) max_a_ = (a);        \
		__typeof__(b) max_b_ = (b);        \
		max_a_ > max_b_ ? max_a_ : max_b_; \
	})

#define DEFINE_BYTES(bits, order)                                       \
	static inline uint##bits##_t get_##order##bits(const void *p)   \
	{                                                               \
		uint##bits##_t v;                                       \
		memcpy(&v, p, sizeof(v));                               \
		return order##bits##toh(v);                             \
	}                                                               \
	static inline void put_##order##bits(void *p, uint##bits##_t v) \
	{                                                               \
		v = hto##order##bits(v);                                \
		memcpy(p, &v, sizeof(v));                               \
	}
DEFINE_BYTES(16, le)
DEFINE_BYTES(32, le)
DEFINE_BYTES(64, le)
DEFINE_BYTES(16, be)
DEFINE_BYTES(32, be)
DEFINE_BYTES(64, be)
#undef DEFINE_BYTES

static inline bool is_power_of_two(uint64_t v)
{
	return v != 0 && (v & (v - 1)) == 0;
}

/* @align is a power of two. align_up wraps to 0 at the top: check before. */
static inline uint64_t align_down(uint64_t v, uint64_t align)
{
	return v & ~(align - 1);
}

static inline uint64_t align_up(uint64_t v, uint64_t align)
{
	return (v + align - 1) & ~(align - 1);
}

static inline bool is_aligned(uint64_t v, uint64_t align)
{
	return (v & (align - 1)) == 0;
}

static inline uint64_t div_round_up(uint64_t v, uint64_t by)
{
	return v / by + (v % by != 0);
}

/* True if [offset, offset + length) lies in [0, limit); cannot overflow. */
static inline bool range_fits(uint64_t offset, uint64_t length, uint64_t limit)
{
	return offset <= limit && length <= limit - offset;
}

/* True if the two ranges share a byte. Neither may wrap. */
static inline bool ranges_overlap(uint64_t a, uint64_t a_length, uint64_t b,
				  uint64_t b_length)
{
	if (a_length == 0 || b_length == 0)
		return false;
	return a < b ? b - a < a_length : a - b < b_length;
}

/* True if @length bytes at @p are all zero. Vectorised by the compiler. */
bool bytes_are_zero(const void *p, size_t length);

#endif
