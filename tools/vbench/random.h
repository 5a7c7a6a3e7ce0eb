/* SPDX-License-Identifier: Apache-2.0 */
/* Fast, repeatable pseudo-random numbers: splitmix64. Not for secrets. */
#ifndef TOOLS_VBENCH_RANDOM_H
#define TOOLS_VBENCH_RANDOM_H

#include <stddef.h>
#include <stdint.h>

static inline uint64_t random_mix(uint64_t v)
{
	v = (v ^ v >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	v = (v ^ v >> 27) * UINT64_C(0x94d049bb133111eb);
	return v ^ v >> 31;
}

static inline uint64_t random_next(uint64_t *state)
{
	return random_mix(*state += UINT64_C(0x9e3779b97f4a7c15));
}

/* In [0, limit), by multiplication; limit below 2^32 has no visible bias. */
static inline uint64_t random_below(uint64_t *state, uint64_t limit)
{
	return (uint64_t)((unsigned __int128)random_next(state) * limit >> 64);
}

static inline void random_fill(uint64_t *state, void *data, size_t bytes)
{
	uint64_t *words = data;

	for (size_t i = 0; i < bytes / sizeof(*words); i++)
		words[i] = random_next(state);
}

#endif
