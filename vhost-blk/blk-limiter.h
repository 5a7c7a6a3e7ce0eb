/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds a device to so many requests and so many bytes a second, all its
 * threads together and without a lock.
 *
 * Each of the two rates is one point in time: when all that was admitted so
 * far will have been paid for. A request is admitted while that lies no more
 * than a burst ahead of now, and then moves it on by what the request costs. So
 * the size of a request need not be known before it is taken, and a large one
 * delays those after it (a token bucket that may go into debt).
 */
#ifndef VHOST_BLK_BLK_LIMITER_H
#define VHOST_BLK_BLK_LIMITER_H

#include <stdbool.h>
#include <stdint.h>

enum {
	BLK_LIMITER_BURST_NS = 50 * 1000 * 1000,
};

struct blk_limiter {
	uint64_t iops; /* 0: no limit */
	uint64_t bps;
	uint64_t ios_paid_ns;
	uint64_t bytes_paid_ns;
};

static inline bool blk_limiter_is_on(const struct blk_limiter *limiter)
{
	return limiter->iops != 0 || limiter->bps != 0;
}

/* 0 if a request may be taken at @now_ns, else how long to wait. Any thread. */
uint64_t blk_limiter_wait_ns(const struct blk_limiter *limiter,
			     uint64_t now_ns);

/* A request of @bytes was admitted at @now_ns. Any thread. */
void blk_limiter_charge(struct blk_limiter *limiter, uint64_t now_ns,
			uint64_t bytes);

#endif
