/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/vbench/net-flow.h"

#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"

enum {
	/* Frames that did not arrive for so long are not waited for. */
	LOST_NS = 100 * 1000 * 1000,
};

void net_flow_begin(struct net_flow *flow, uint64_t now_ns)
{
	flow->began_ns = flow->heard_ns = now_ns;
	flow->sent_frames = flow->sent_bytes = 0;
	flow->arrived_frames = flow->arrived_bytes = 0;
	flow->given_up = 0;
	flow->to_return_count = 0;
	flow->latency = (struct histogram){0};
	if (flow->from)
		flow->given_back = net_end_given_back(flow->from);
}

/*
 * What is returned is under way until it is back. Segments have headers of
 * their own: more may arrive than was sent.
 */
static uint64_t under_way(const struct net_flow *flow)
{
	const struct net_flow *end = flow->back ? flow->back : flow;
	uint64_t known = end->arrived_bytes + flow->given_up;

	return flow->sent_bytes > known ? flow->sent_bytes - known : 0;
}

static uint64_t due(const struct net_flow *flow, uint64_t now_ns)
{
	const struct net_bench_options *o = flow->options;
	uint64_t by_now;

	if (!flow->sends)
		return flow->to_return_count;
	if (o->rate) {
		by_now = (double)(now_ns - flow->began_ns) * o->rate /
			 NS_PER_SECOND;
		return by_now > flow->sent_frames ? by_now - flow->sent_frames
						  : 0;
	}
	if (!flow->to)
		return o->depth;
	by_now = (under_way(flow) + o->frame_bytes - 1) / o->frame_bytes;
	return o->depth > by_now ? o->depth - by_now : 0;
}

/* The oldest of those that arrived, or the time it is now. */
static void choose_stamps(const struct net_flow *flow, uint64_t now_ns,
			  uint64_t *ret_stamps, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		ret_stamps[i] = flow->sends ? now_ns : flow->to_return[i];
}

int net_flow_send(struct net_flow *flow, uint64_t now_ns)
{
	uint64_t stamps[NET_END_BURST];
	unsigned count;
	int sent;

	if (!flow->from)
		return 0;
	count = MIN(due(flow, now_ns), (uint64_t)NET_END_BURST);
	choose_stamps(flow, now_ns, stamps, count);
	sent = net_end_send(flow->from, stamps, count);
	if (sent <= 0)
		return sent;
	flow->sent_frames += sent;
	flow->sent_bytes += (uint64_t)sent * flow->options->frame_bytes;
	if (flow->sends)
		return 0;
	flow->to_return_count -= sent;
	memmove(flow->to_return, flow->to_return + sent,
		flow->to_return_count * sizeof(flow->to_return[0]));
	return 0;
}

/* What waited in a queue since before, or was cut off behind a stamp. */
static bool is_older(const struct net_flow *flow,
		     const struct net_arrival *arrival)
{
	return flow->from && !flow->options->tso &&
	       arrival->sent_ns < flow->began_ns;
}

static void arrived(struct net_flow *flow, const struct net_arrival *arrival,
		    uint64_t now_ns)
{
	struct net_flow *back = flow->back;

	if (is_older(flow, arrival))
		return;
	flow->arrived_frames++;
	flow->arrived_bytes += arrival->bytes;
	if (arrival->sent_ns == 0 || arrival->sent_ns > now_ns)
		return;
	histogram_add(&flow->latency, now_ns - arrival->sent_ns);
	if (back && back->to_return_count < ARRAY_SIZE(back->to_return))
		back->to_return[back->to_return_count++] = arrival->sent_ns;
}

int net_flow_receive(struct net_flow *flow, uint64_t now_ns)
{
	struct net_arrival arrivals[NET_END_BURST];
	int count;

	if (!flow->to)
		return 0;
	count = net_end_receive(flow->to, arrivals, NET_END_BURST);
	if (count > 0) {
		flow->heard_ns = now_ns = clock_ns();
		for (int i = 0; i < count; i++)
			arrived(flow, &arrivals[i], now_ns);
	} else if (count == 0 && now_ns > flow->heard_ns + LOST_NS) {
		flow->given_up += under_way(flow);
		flow->heard_ns = now_ns;
	}
	return count < 0 ? count : 0;
}

bool net_flow_is_quiet(const struct net_flow *flow)
{
	return !flow->from || !flow->to || under_way(flow) == 0;
}

uint64_t net_flow_sent(const struct net_flow *flow)
{
	if (!flow->from)
		return 0;
	return flow->to ? flow->sent_frames
			: net_end_given_back(flow->from) - flow->given_back;
}

uint64_t net_flow_lost(const struct net_flow *flow)
{
	uint64_t missing = flow->sent_bytes > flow->arrived_bytes
				   ? flow->sent_bytes - flow->arrived_bytes
				   : 0;

	return flow->from && flow->to ? missing / flow->options->frame_bytes
				      : 0;
}
