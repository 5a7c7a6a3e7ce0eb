/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A log-linear histogram of latencies in nanoseconds: 64 buckets for each
 * power of two, so that a percentile is wrong by less than 1.6 %, whatever its
 * size. The largest value is kept exactly.
 */
#ifndef BASE_HISTOGRAM_H
#define BASE_HISTOGRAM_H

#include <stdint.h>

enum {
	HISTOGRAM_SUB_BITS = 6,
	HISTOGRAM_SUB = 1 << HISTOGRAM_SUB_BITS,
	HISTOGRAM_MAX_BITS = 40, /* 18 minutes; what is longer counts as that */
	HISTOGRAM_BUCKETS =
		(HISTOGRAM_MAX_BITS - HISTOGRAM_SUB_BITS + 1) * HISTOGRAM_SUB,
};

struct histogram {
	uint64_t count;
	uint64_t sum;
	uint64_t max;
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

static inline unsigned histogram_bucket(uint64_t value)
{
	unsigned shift;

	if (value < HISTOGRAM_SUB)
		return value;
	if (value >> HISTOGRAM_MAX_BITS)
		return HISTOGRAM_BUCKETS - 1;
	shift = 63 - __builtin_clzll(value) - HISTOGRAM_SUB_BITS;
	return (shift + 1) * HISTOGRAM_SUB + (value >> shift) - HISTOGRAM_SUB;
}

static inline void histogram_add(struct histogram *h, uint64_t value)
{
	h->count++;
	h->sum += value;
	if (value > h->max)
		h->max = value;
	h->buckets[histogram_bucket(value)]++;
}

/*
 * The value that @per_mille of a thousand are not above: the middle of its
 * bucket, at most the largest value seen. 0 if nothing was added.
 */
uint64_t histogram_percentile(const struct histogram *h, unsigned per_mille);

uint64_t histogram_mean(const struct histogram *h);

#endif
