/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The load of `vbench net`: one guest that sends frames, as many at a time as
 * it was told, and takes whatever comes. Frames are written into guest memory
 * once and sent again and again; received buffers are offered again at once.
 *
 * One thread, which looks at both rings and never sleeps.
 */
#ifndef TOOLS_VBENCH_NET_LOAD_H
#define TOOLS_VBENCH_NET_LOAD_H

#include "tests/frontend/net-driver.h"
#include "tools/vbench/net-options.h"

struct net_load;

/* What happened within the measured time. */
struct net_result {
	uint64_t elapsed_ns;
	uint64_t sent_frames; /* given back by the back-end */
	uint64_t received_frames;
	uint64_t received_bytes; /* without virtio-net headers */
	int backend_pid;	 /* 0: unknown, and then: */
	uint64_t backend_cpu_ns; /* 0 */
};

/* Connects and starts. A negative errno, with a line on stderr. */
int net_load_new(const struct net_bench_options *options,
		 struct net_load **ret_load);
void net_load_free(struct net_load *load); /* accepts NULL */

/* The ramp, and then what is measured. -EPROTO for a device that errs. */
int net_load_run(struct net_load *load, struct net_result *ret_result);

#endif
