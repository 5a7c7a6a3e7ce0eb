/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hints that a cache line is wanted soon. Whatever the address, nothing is
 * touched and nothing fails.
 */
#ifndef BASE_PREFETCH_H
#define BASE_PREFETCH_H

enum {
	PREFETCH_LINE = 64
};

static inline void prefetch_read(const void *p)
{
	__builtin_prefetch(p);
}

/*
 * To be written: another core's copy goes away now, and not when a store waits
 * for it. Compilers take the builtin for a read unless told that the processor
 * has the instruction; all of 64 bits have it, or pass over it.
 */
static inline void prefetch_write(const void *p)
{
#if defined(__x86_64__)
	__asm__ volatile("prefetchw %0" : : "m"(*(const char *)p));
#else
	__builtin_prefetch(p, 1);
#endif
}

#endif
