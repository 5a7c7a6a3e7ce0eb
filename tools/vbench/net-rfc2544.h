/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The searches of RFC 2544 (26.1 to 26.4) for a vhost-user-net back-end: for
 * each size of frame the highest rate at which none is lost, how long frames
 * take at that rate, how many are lost above it, and the longest burst of
 * which none is. Trials are as long as --time says; the RFC's are 60 s.
 */
#ifndef TOOLS_VBENCH_NET_RFC2544_H
#define TOOLS_VBENCH_NET_RFC2544_H

#include "base/histogram.h"
#include "tools/vbench/net-options.h"

enum {
	NET_RFC2544_SIZES = 7,
	NET_RFC2544_LOADS = 10, /* 100 %, 90 %, …, 10 % */
};

struct net_rfc2544_size {
	uint16_t frame_bytes;	  /* with the checksum that RFC 2544 counts */
	double most_fps;	  /* that the load, or the back-end, can do */
	double throughput_fps;	  /* without loss; 0: there was always some */
	struct histogram latency; /* at that rate */
	/* Per cent lost at 100 %, 90 %, … of most_fps; those of two loads
	 * without loss, and of all below, are 0. */
	double lost[NET_RFC2544_LOADS];
	uint64_t burst_frames; /* at full speed, none lost */
};

/* As net_load_run, for all sizes. */
int net_rfc2544_run(const struct net_bench_options *options,
		    struct net_rfc2544_size ret_sizes[NET_RFC2544_SIZES]);

void net_rfc2544_text(const struct net_rfc2544_size *sizes);
void net_rfc2544_json(const struct net_rfc2544_size *sizes);

/* An SVG picture of throughput and latency by size. A negative errno. */
int net_rfc2544_plot(const struct net_rfc2544_size *sizes, const char *path);

#endif
