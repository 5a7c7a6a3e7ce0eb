/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames for a port, no faster than at a rate: a token bucket (base/limit.h) with
 * a queue behind it. What comes within the rate goes straight on, from where it
 * lies. What is over it is copied into the queue, and goes in its order as soon
 * as the rate lets it; what the queue has no room for is dropped and counted.
 *
 * Frames come from any thread. The queue is drained by one, whose source the
 * shaper is; it is woken by a timer.
 */
#ifndef VSWITCH_SHAPER_H
#define VSWITCH_SHAPER_H

#include "vswitch/source.h"

#define SHAPER_MAX_QUEUE_BYTES (UINT64_C(64) << 20)

struct shaper;

struct shaper_counters {
	uint64_t delayed, dropped; /* frames */
};

/* --- the control thread ------------------------------------------------------ */

/* For @port, borrowed. No rate yet. A negative errno. */
int shaper_new(struct forward_port *port, struct shaper **ret_shaper);
void shaper_free(struct shaper *shaper); /* accepts NULL */

/*
 * @rate bytes a second (0: any number), @burst of them at once, and a queue of
 * @queue_bytes, at most SHAPER_MAX_QUEUE_BYTES; what is in it by now stays, as far
 * as there is room. While frames pass. -ENOMEM; -EINVAL for what cannot be
 * limited.
 */
int shaper_set(struct shaper *shaper, uint64_t rate, uint64_t burst,
	       uint64_t queue_bytes);

/* For lcore_attach and lcore_detach. */
struct source *shaper_source(struct shaper *shaper);

void shaper_count(struct shaper *shaper, struct shaper_counters *ret_counters);

/* --- serving threads --------------------------------------------------------- */

/* @count frames, at most NET_BURST, which are the caller's again afterwards. */
void shaper_send(struct shaper *shaper,
		 const struct net_rx_frame *const *frames, unsigned count,
		 uint64_t now_ns);

/* What may go by now goes. How long until more may, in ns; 0: there is none. */
uint64_t shaper_drain(struct shaper *shaper, uint64_t now_ns);

#endif
