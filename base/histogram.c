/* SPDX-License-Identifier: Apache-2.0 */
#include "base/histogram.h"

#include "base/bytes.h"

static uint64_t bucket_middle(unsigned bucket)
{
	unsigned shift;
	uint64_t low;

	if (bucket < HISTOGRAM_SUB)
		return bucket;
	shift = bucket / HISTOGRAM_SUB - 1;
	low = (uint64_t)(HISTOGRAM_SUB + bucket % HISTOGRAM_SUB) << shift;
	return low + ((UINT64_C(1) << shift) >> 1);
}

uint64_t histogram_percentile(const struct histogram *h, unsigned per_mille)
{
	uint64_t wanted = div_round_up(h->count * per_mille, 1000);
	uint64_t seen = 0;

	if (h->count == 0)
		return 0;
	if (per_mille >= 1000)
		return h->max;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += h->buckets[i];
		if (seen >= wanted && seen > 0)
			return MIN(bucket_middle(i), h->max);
	}
	return h->max;
}

uint64_t histogram_mean(const struct histogram *h)
{
	return h->count ? h->sum / h->count : 0;
}
