/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of `vbench net`. */
#ifndef TOOLS_VBENCH_NET_OPTIONS_H
#define TOOLS_VBENCH_NET_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/options.h"

enum {
	NET_BENCH_MAX_DEPTH = 128,
	NET_BENCH_MIN_FRAME = 60,
	NET_BENCH_MIN_TCP = 70, /* with a time in it */
	NET_BENCH_MAX_FRAME = 65000,
	NET_BENCH_MAX_RATE = 1000 * 1000 * 1000,
	NET_BENCH_MAX_STATIONS = 1 << 20,
};

enum net_direction {
	NET_SENDS,
	NET_RECEIVES,
	NET_BOTH,
	NET_ROUND_TRIP, /* it sends, and the far end returns each frame */
};

struct net_bench_options {
	const char *socket_path;
	/* The far end, a second guest or an interface of the host; or neither,
	 * and nobody knows what arrives there. */
	const char *peer_path;
	const char *wire;
	bool listens; /* back-ends connect to us */
	enum net_direction direction;
	uint16_t frame_bytes;
	uint16_t depth;
	uint16_t queue_size;
	bool tso;
	bool packed;
	bool plain;	   /* receive buffers are not merged */
	bool any_order;	   /* IN_ORDER is not taken */
	bool inflight;	   /* the back-end is to note what is in flight */
	uint32_t stations; /* behind each end */
	uint64_t rate; /* frames a second and direction; 0: as iodepth has it */
	uint64_t time_ns;
	uint64_t ramp_ns;
	int cpu; /* -1: anywhere */
	int backend_pid;
	bool json;
	bool rfc2544;
	const char *plot; /* NULL: none */
};

static inline bool net_bench_has_far_end(const struct net_bench_options *o)
{
	return o->peer_path || o->wire;
}

/* As options_parse; @argv begins with the sub-command. */
int net_bench_options_parse(int argc, char **argv,
			    struct net_bench_options *ret_options,
			    char ret_error[static OPTIONS_ERROR_BYTES]);
void net_bench_options_print_help(void);

const char *net_direction_name(enum net_direction direction);

#endif
