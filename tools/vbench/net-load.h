/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The load of `vbench net`: one guest, and what is at the far end of its
 * network if that is known. Frames go one way or both.
 *
 * One thread, which looks at all ends and never sleeps.
 */
#ifndef TOOLS_VBENCH_NET_LOAD_H
#define TOOLS_VBENCH_NET_LOAD_H

#include "base/histogram.h"
#include "tools/vbench/net-options.h"

struct net_load;

/* Of one direction, within the measured time; in what the guest sends or
 * receives. */
struct net_direction_result {
	uint64_t sent_frames;	 /* without a far end: that were given back */
	uint64_t arrived_frames; /* 0 where that is not seen, … */
	uint64_t arrived_bytes;	 /* … without virtio-net headers */
	uint64_t lost_frames;
	struct histogram latency;
};

struct net_result {
	uint64_t elapsed_ns;
	struct net_direction_result from_guest, to_guest;
	int backend_pid;	 /* 0: unknown, and then: */
	uint64_t backend_cpu_ns; /* 0 */
};

/* Connects and starts; borrows @options. A negative errno, with a line on
 * stderr. */
int net_load_new(const struct net_bench_options *options,
		 struct net_load **ret_load);
void net_load_free(struct net_load *load); /* accepts NULL */

/*
 * The ramp, and then what is measured, with @options of this run instead: they
 * differ in rate and times only. May be called again. -EPROTO for a device
 * that errs.
 */
int net_load_run(struct net_load *load, const struct net_bench_options *options,
		 struct net_result *ret_result);

#endif
