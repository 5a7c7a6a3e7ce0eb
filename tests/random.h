/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random numbers for tests that must be able to do the same again: xorshift64.
 * The state is the seed to begin with, and not 0.
 */
#ifndef TESTS_RANDOM_H
#define TESTS_RANDOM_H

#include <stdint.h>

static inline uint64_t random_next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* @below > 0. */
static inline uint64_t random_below(uint64_t *state, uint64_t below)
{
	return (random_next(state) >> 11) % below;
}

#endif
