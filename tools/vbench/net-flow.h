/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames that go one way, from one end to the other: how many may be sent now,
 * what arrived, how long it took.
 *
 * Without a rate, a number of frames is under way at a time: until they arrive,
 * or, where that is not seen, until the back-end gives them back. A far end
 * that returns frames sends what arrived there, with the stamps that it came
 * with.
 */
#ifndef TOOLS_VBENCH_NET_FLOW_H
#define TOOLS_VBENCH_NET_FLOW_H

#include "base/histogram.h"
#include "tools/vbench/net-end.h"

struct net_flow {
	const struct net_bench_options *options;
	struct net_end *from;  /* NULL: it sends nothing that we know of */
	struct net_end *to;    /* NULL: what arrives is not seen */
	struct net_flow *back; /* sends what arrives here; or NULL */
	bool sends;	       /* of its own accord */
	uint64_t began_ns;     /* of what is counted */
	uint64_t heard_ns;     /* of the last arrival */
	uint64_t given_back;   /* by @from's back-end, before that */
	uint64_t sent_frames, sent_bytes;
	uint64_t arrived_frames, arrived_bytes;
	uint64_t given_up; /* bytes that will not arrive, it seems */
	uint64_t to_return[NET_BENCH_MAX_DEPTH]; /* stamps */
	unsigned to_return_count;
	struct histogram latency;
};

/* Counts from now on. */
void net_flow_begin(struct net_flow *flow, uint64_t now_ns);

/* A burst each: a negative errno of an end. */
int net_flow_send(struct net_flow *flow, uint64_t now_ns);
int net_flow_receive(struct net_flow *flow, uint64_t now_ns);

/* Nothing is under way, or it has not been heard of for a while. */
bool net_flow_is_quiet(const struct net_flow *flow);

/* Frames that were sent: as far as that can be known. */
uint64_t net_flow_sent(const struct net_flow *flow);
uint64_t net_flow_lost(const struct net_flow *flow);

#endif
