/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/vbench/net-options.h"

#include <stdio.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "tools/vbench/bench-options.h"

enum {
	DEFAULT_SECONDS = 5,
	DEFAULT_DEPTH = 64,
	DEFAULT_RING = 256,
	MAX_RING = 32768,
};

static struct net_bench_options *bench(struct options_parser *parser)
{
	return parser->options;
}

static int set_direction(struct options_parser *parser)
{
	return options_word(parser, "send|receive|both|round-trip",
			    &bench(parser)->direction);
}

const char *net_direction_name(enum net_direction direction)
{
	static const char *const names[] = {"send", "receive", "both",
					    "round-trip"};

	return names[direction];
}

static int set_peer(struct options_parser *parser)
{
	bench(parser)->peer_path = parser->value;
	return 0;
}

static int set_wire(struct options_parser *parser)
{
	bench(parser)->wire = parser->value;
	return 0;
}

static int set_listen(struct options_parser *parser)
{
	bench(parser)->listens = true;
	return 0;
}

static int set_rate(struct options_parser *parser)
{
	if (options_size(parser->value, &bench(parser)->rate) < 0 ||
	    bench(parser)->rate > NET_BENCH_MAX_RATE)
		return options_fail_value(parser, "frames a second");
	return 0;
}

static int set_size(struct options_parser *parser)
{
	uint64_t bytes;

	if (options_size(parser->value, &bytes) < 0 ||
	    bytes < NET_BENCH_MIN_FRAME || bytes > NET_BENCH_MAX_FRAME)
		return options_fail_value(parser, "a number from 60 to 65000");
	bench(parser)->frame_bytes = bytes;
	return 0;
}

static int set_depth(struct options_parser *parser)
{
	return options_count(parser, NET_BENCH_MAX_DEPTH,
			     &bench(parser)->depth);
}

static int set_queue_size(struct options_parser *parser)
{
	return options_count(parser, MAX_RING, &bench(parser)->queue_size);
}

static int set_stations(struct options_parser *parser)
{
	uint64_t stations;

	if (options_size(parser->value, &stations) < 0 || stations == 0 ||
	    stations > NET_BENCH_MAX_STATIONS)
		return options_fail_value(parser, "a number from 1 to 1048576");
	bench(parser)->stations = stations;
	return 0;
}

static int set_tso(struct options_parser *parser)
{
	bench(parser)->tso = true;
	return 0;
}

static int set_packed(struct options_parser *parser)
{
	bench(parser)->packed = true;
	return 0;
}

static int set_plain(struct options_parser *parser)
{
	bench(parser)->plain = true;
	return 0;
}

static int set_any_order(struct options_parser *parser)
{
	bench(parser)->any_order = true;
	return 0;
}

static int set_inflight(struct options_parser *parser)
{
	bench(parser)->inflight = true;
	return 0;
}

static int set_time(struct options_parser *parser)
{
	return bench_seconds(parser, &bench(parser)->time_ns);
}

static int set_ramp(struct options_parser *parser)
{
	return bench_seconds(parser, &bench(parser)->ramp_ns);
}

static int set_cpu(struct options_parser *parser)
{
	return bench_cpu(parser, &bench(parser)->cpu);
}

static int set_backend_pid(struct options_parser *parser)
{
	return bench_pid(parser, &bench(parser)->backend_pid);
}

static int set_json(struct options_parser *parser)
{
	bench(parser)->json = true;
	return 0;
}

static int set_rfc2544(struct options_parser *parser)
{
	bench(parser)->rfc2544 = true;
	return 0;
}

static int set_plot(struct options_parser *parser)
{
	bench(parser)->plot = parser->value;
	return 0;
}

static int set_help(struct options_parser *parser)
{
	return OPTIONS_HELP;
}

static const struct options_row rows[] = {
	{"direction", "send|receive|both|round-trip", set_direction,
	 "what the guest does; it takes what comes in any case (send)"},
	{"peer", "SOCKET", set_peer,
	 "the far end is the guest of this back-end, …"},
	{"wire", "INTERFACE", set_wire,
	 "… or an interface of the host: to know what arrives, and when"},
	{"listen", NULL, set_listen,
	 "the back-ends connect to SOCKET and PEER, where we listen"},
	{"rate", "N", set_rate,
	 "frames a second to send, arrived or not (as iodepth allows)"},
	{"stations", "N", set_stations,
	 "behind each end, announced first, and sent to at random (1)"},
	{"size", "BYTES", set_size, "of a frame that is sent (64)"},
	{"iodepth", "N", set_depth, "frames that are under way at a time (64)"},
	{"queue-size", "N", set_queue_size, "entries of each ring (256)"},
	{"tso", NULL, set_tso,
	 "frames are TCP to be cut into 1448 bytes of payload"},
	{"packed", NULL, set_packed, "packed rings; split ones by default"},
	{"no-merge", NULL, set_plain, "receive buffers are not merged"},
	{"no-in-order", NULL, set_any_order,
	 "do not ask that buffers come back in order"},
	{"inflight", NULL, set_inflight,
	 "have the back-end note what is in flight"},
	{"time", "SECONDS", set_time, "how long to measure (5)"},
	{"ramp", "SECONDS", set_ramp, "how long to run before that (0)"},
	{"cpu", "N", set_cpu, "run on this CPU"},
	{"backend-pid", "PID", set_backend_pid,
	 "whose CPU time to report (the socket's peer)"},
	{"rfc2544", NULL, set_rfc2544,
	 "throughput, latency, losses and bursts of all sizes"},
	{"plot", "FILE", set_plot, "a picture of that, as SVG"},
	{"json", NULL, set_json, "one JSON object"},
	{"help", NULL, set_help, "print this, and exit"},
};

void net_bench_options_print_help(void)
{
	printf("usage: vbench net SOCKET [OPTION]...\n"
	       "Measures the vhost-user-net back-end that listens at "
	       "SOCKET.\n\n");
	options_print(rows, ARRAY_SIZE(rows));
}

static int check(struct options_parser *parser)
{
	const struct net_bench_options *o = bench(parser);

	if (o->peer_path && o->wire)
		return options_fail(parser, "--peer and --wire exclude each "
					    "other: give one");
	if (!net_bench_has_far_end(o) &&
	    (o->rate || o->rfc2544 || o->direction > NET_BOTH))
		return options_fail(parser, "--rate, --rfc2544 and "
					    "--direction=round-trip "
					    "need a far end: give --peer or "
					    "--wire");
	if (o->rfc2544 && (o->tso || o->direction > NET_BOTH))
		return options_fail(parser, "--rfc2544: neither --tso nor "
					    "--direction=round-trip go with "
					    "it");
	if (o->plot && !o->rfc2544)
		return options_fail(parser, "--plot needs --rfc2544");
	if (o->stations > 1 && !o->peer_path)
		return options_fail(parser, "--stations needs --peer");
	if (o->tso && o->frame_bytes < NET_BENCH_MIN_TCP)
		return options_fail(parser,
				    "--tso: give a --size of %u bytes "
				    "at least",
				    NET_BENCH_MIN_TCP);
	return 0;
}

int net_bench_options_parse(int argc, char **argv,
			    struct net_bench_options *ret_options,
			    char ret_error[static OPTIONS_ERROR_BYTES])
{
	struct options_parser parser = {.options = ret_options,
					.error = ret_error};
	const char *socket_path =
		argc > 1 && argv[1][0] != '-' ? argv[1] : NULL;
	const int skip = socket_path ? 1 : 0;
	int err;

	*ret_options = (struct net_bench_options){
		.socket_path = socket_path,
		.frame_bytes = 64,
		.stations = 1,
		.depth = DEFAULT_DEPTH,
		.queue_size = DEFAULT_RING,
		.time_ns = DEFAULT_SECONDS * NS_PER_SECOND,
		.cpu = -1,
	};
	err = options_parse(&parser, rows, ARRAY_SIZE(rows), argc - skip,
			    argv + skip);
	if (err == 0 && !socket_path)
		return options_fail(&parser, "no SOCKET: give the path of the "
					     "back-end's, before the options");
	return err == 0 ? check(&parser) : err;
}
