/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-net/net-limits.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "vhost-net/net-frame.h"

enum {
	/* What may come at once: a hundredth of a second's, … */
	BURSTS_A_SECOND = 100,
	/* … and at least so much. */
	MIN_BURST_BYTES = NET_MAX_FRAME_BYTES,
	MIN_BURST_FRAMES = NET_LIMITED_BURST,
};

static int set(struct limit *limit, uint64_t rate, uint64_t min_burst)
{
	return limit_set(limit, rate, MAX(rate / BURSTS_A_SECOND, min_burst));
}

int net_limits_set(struct net_limits *limits, const struct net_rates *rates)
{
	int err = 0;

	for (unsigned i = 0; i < NET_DIRECTIONS && err == 0; i++) {
		limits->limits[i] = rates->bytes[i] || rates->frames[i];
		err = set(&limits->bytes[i], rates->bytes[i], MIN_BURST_BYTES);
		if (err == 0)
			err = set(&limits->frames[i], rates->frames[i],
				  MIN_BURST_FRAMES);
	}
	return err;
}

uint64_t net_limits_wait_ns(const struct net_limits *limits,
			    enum net_direction direction)
{
	uint64_t now;

	if (!limits->limits[direction])
		return 0;
	now = clock_ns();
	return MAX(limit_wait_ns(&limits->bytes[direction], now),
		   limit_wait_ns(&limits->frames[direction], now));
}

void net_limits_passed(struct net_limits *limits, enum net_direction direction,
		       unsigned frames, uint32_t bytes)
{
	uint64_t now;

	if (!limits->limits[direction])
		return;
	now = clock_ns();
	limit_owe(&limits->bytes[direction], bytes, now);
	limit_owe(&limits->frames[direction], frames, now);
}
