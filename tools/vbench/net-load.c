/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/vbench/net-load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "tools/vbench/net-flow.h"
#include "tools/vbench/process.h"

enum {
	/* Rounds between two looks at whether the time is over. */
	CLOCK_ROUNDS = 16,
};

#define ANNOUNCE_NS (10 * NS_PER_SECOND)

struct net_load {
	struct net_bench_options options;
	struct net_end *guest, *far; /* far: NULL if it is not ours */
	struct net_flow flows[NET_WAYS];
};

static int open_ends(struct net_load *load)
{
	const struct net_bench_options *o = &load->options;
	int err =
		net_end_guest(o, o->socket_path, NET_FROM_GUEST, &load->guest);

	if (err == 0 && o->peer_path)
		err = net_end_guest(o, o->peer_path, NET_TO_GUEST, &load->far);
	else if (err == 0 && o->wire)
		err = net_end_wire(o, o->wire, NET_TO_GUEST, &load->far);
	return err;
}

static void set_up_flows(struct net_load *load)
{
	const enum net_direction direction = load->options.direction;
	struct net_flow *out = &load->flows[NET_FROM_GUEST];
	struct net_flow *in = &load->flows[NET_TO_GUEST];

	*out = (struct net_flow){
		.options = &load->options,
		.from = load->guest,
		.to = load->far,
		.sends = direction != NET_RECEIVES,
	};
	*in = (struct net_flow){
		.options = &load->options,
		.from = load->far,
		.to = load->guest,
		.sends = direction == NET_RECEIVES || direction == NET_BOTH,
	};
	if (direction == NET_ROUND_TRIP)
		out->back = in;
}

/* A switch learns where they are; what arrives of it does not count. */
static int announce(struct net_end *end, struct net_end *other)
{
	const uint64_t until = clock_ns() + ANNOUNCE_NS;
	struct net_arrival arrivals[NET_END_BURST];
	uint64_t stamps[NET_END_BURST];
	int err = 0;

	while (err >= 0 && !net_end_is_announced(end)) {
		const uint64_t now = clock_ns();

		if (now > until)
			return -ETIMEDOUT;
		for (unsigned i = 0; i < NET_END_BURST; i++)
			stamps[i] = now;
		err = net_end_send(end, stamps, NET_END_BURST);
		if (err >= 0)
			err = net_end_receive(other, arrivals, NET_END_BURST);
	}
	return err < 0 ? err : 0;
}

static int announce_all(struct net_load *load)
{
	int err;

	if (load->options.stations == 1)
		return 0;
	err = announce(load->far, load->guest);
	if (err == 0)
		err = announce(load->guest, load->far);
	if (err < 0)
		fprintf(stderr,
			"vbench: the stations cannot be announced: %s\n",
			strerror(-err));
	return err;
}

int net_load_new(const struct net_bench_options *options,
		 struct net_load **ret_load)
{
	struct net_load *load = calloc(1, sizeof(*load));
	int err;

	if (!load)
		return -ENOMEM;
	load->options = *options;
	err = open_ends(load);
	if (err == 0)
		err = announce_all(load);
	if (err < 0) {
		net_load_free(load);
		return err;
	}
	set_up_flows(load);
	*ret_load = load;
	return 0;
}

void net_load_free(struct net_load *load)
{
	if (!load)
		return;
	net_end_free(load->guest);
	net_end_free(load->far);
	free(load);
}

/* What has arrived is returned in any case. */
static int round_of(struct net_load *load, bool sends)
{
	const uint64_t now = clock_ns();
	int err = 0;

	for (unsigned i = 0; i < NET_WAYS && err == 0; i++)
		if (sends || !load->flows[i].sends)
			err = net_flow_send(&load->flows[i], now);
	for (unsigned i = 0; i < NET_WAYS && err == 0; i++)
		err = net_flow_receive(&load->flows[i], now);
	return err;
}

static int run_until(struct net_load *load, uint64_t end_ns)
{
	int err = 0;

	for (unsigned round = 0; err == 0; round++) {
		if (round % CLOCK_ROUNDS == 0 && clock_ns() >= end_ns)
			break;
		err = round_of(load, true);
	}
	return err;
}

/* What is under way arrives, or is given up. */
static int drain(struct net_load *load)
{
	int err = 0;

	while (err == 0 && !(net_flow_is_quiet(&load->flows[0]) &&
			     net_flow_is_quiet(&load->flows[1])))
		err = round_of(load, false);
	return err;
}

static void begin(struct net_load *load)
{
	for (unsigned i = 0; i < NET_WAYS; i++)
		net_flow_begin(&load->flows[i], clock_ns());
}

/* What the flow counted up to now; losses are known after drain only. */
static void take(const struct net_flow *flow,
		 struct net_direction_result *ret_result)
{
	ret_result->sent_frames = net_flow_sent(flow);
	ret_result->arrived_frames = flow->arrived_frames;
	ret_result->arrived_bytes = flow->arrived_bytes;
}

static void take_losses(const struct net_flow *flow,
			struct net_direction_result *ret_result)
{
	ret_result->lost_frames = net_flow_lost(flow);
	ret_result->latency = flow->latency;
}

static int measure(struct net_load *load, struct net_result *ret_result)
{
	uint64_t cpu_before = 0, cpu_after = 0;
	const int pid = ret_result->backend_pid;
	int err;

	if (process_cpu_ns(pid, &cpu_before) < 0)
		ret_result->backend_pid = 0;
	begin(load);
	err = run_until(load, load->flows[0].began_ns + load->options.time_ns);
	ret_result->elapsed_ns = clock_ns() - load->flows[0].began_ns;
	if (ret_result->backend_pid && process_cpu_ns(pid, &cpu_after) == 0)
		ret_result->backend_cpu_ns = cpu_after - cpu_before;
	take(&load->flows[NET_FROM_GUEST], &ret_result->from_guest);
	take(&load->flows[NET_TO_GUEST], &ret_result->to_guest);
	return err;
}

int net_load_run(struct net_load *load, const struct net_bench_options *options,
		 struct net_result *ret_result)
{
	struct net_result result = {
		.backend_pid = options->backend_pid
				       ? options->backend_pid
				       : net_end_backend_pid(load->guest),
	};
	int err;

	load->options.rate = options->rate;
	load->options.time_ns = options->time_ns;
	begin(load);
	err = run_until(load, clock_ns() + options->ramp_ns);
	if (err == 0)
		err = drain(load);
	if (err == 0)
		err = measure(load, &result);
	if (err == 0)
		err = drain(load);
	if (err < 0)
		return err;
	take_losses(&load->flows[NET_FROM_GUEST], &result.from_guest);
	take_losses(&load->flows[NET_TO_GUEST], &result.to_guest);
	*ret_result = result;
	return 0;
}
