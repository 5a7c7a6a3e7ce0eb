/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much may pass in a second, in either direction, of all pairs of a device
 * together: bytes, and frames. What goes beyond waits: in the guest's ring, or
 * in the TAP's queue, where the kernel drops what is too much.
 *
 * net_limits_set: before any thread uses it. The others: any thread.
 */
#ifndef VHOST_NET_NET_LIMITS_H
#define VHOST_NET_NET_LIMITS_H

#include <stdbool.h>

#include "base/limit.h"

/* As the guest sees it. */
enum net_direction {
	NET_RECEIVE,
	NET_SEND,
	NET_DIRECTIONS,
};

struct net_rates {
	uint64_t bytes[NET_DIRECTIONS]; /* a second; 0: no limit */
	uint64_t frames[NET_DIRECTIONS];
};

struct net_limits {
	bool limits[NET_DIRECTIONS]; /* anything */
	struct limit bytes[NET_DIRECTIONS];
	struct limit frames[NET_DIRECTIONS];
};

enum {
	/* Frames between two looks at a limit. */
	NET_LIMITED_BURST = 8,
};

/* -EINVAL for a rate beyond LIMIT_MAX_RATE. */
int net_limits_set(struct net_limits *limits, const struct net_rates *rates);

/* How long nothing more should pass; 0: it may. */
uint64_t net_limits_wait_ns(const struct net_limits *limits,
			    enum net_direction direction);

/* So much has passed. */
void net_limits_passed(struct net_limits *limits, enum net_direction direction,
		       unsigned frames, uint32_t bytes);

#endif
