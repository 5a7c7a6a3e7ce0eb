/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/vbench/switch-options.h"

#include <stdio.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "tools/vbench/bench-options.h"

enum {
	DEFAULT_SECONDS = 5,
	DEFAULT_DEPTH = 32,
	DEFAULT_RING = 256,
	DEFAULT_STATIONS = 1000,
	MAX_RING = 32768,
};

#define TESTS "pairs|mesh|broadcast|capacity|learning|head-of-line"

/* Guests that each test needs. */
static const unsigned least_guests[] = {
	[SWITCH_PAIRS] = 2,    [SWITCH_MESH] = 2,     [SWITCH_BROADCAST] = 2,
	[SWITCH_CAPACITY] = 3, [SWITCH_LEARNING] = 3, [SWITCH_HEAD_OF_LINE] = 4,
};

static struct switch_bench_options *bench(struct options_parser *parser)
{
	return parser->options;
}

static int set_test(struct options_parser *parser)
{
	return options_word(parser, TESTS, &bench(parser)->test);
}

const char *switch_test_name(enum switch_test test)
{
	static const char *const names[] = {"pairs",	 "mesh",
					    "broadcast", "capacity",
					    "learning",	 "head-of-line"};

	return names[test];
}

static int set_active(struct options_parser *parser)
{
	return options_count(parser, SWITCH_BENCH_MAX_GUESTS,
			     &bench(parser)->active);
}

static int set_size(struct options_parser *parser)
{
	uint64_t bytes;

	if (options_size(parser->value, &bytes) < 0 ||
	    bytes < SWITCH_BENCH_MIN_FRAME || bytes > SWITCH_BENCH_MAX_FRAME)
		return options_fail_value(parser, "a number from 60 to 1518");
	bench(parser)->frame_bytes = bytes;
	return 0;
}

static int set_depth(struct options_parser *parser)
{
	return options_count(parser, SWITCH_BENCH_MAX_DEPTH,
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
	    stations > SWITCH_BENCH_MAX_STATIONS)
		return options_fail_value(parser, "a number from 1 to 1048576");
	bench(parser)->stations = stations;
	return 0;
}

static int set_packed(struct options_parser *parser)
{
	bench(parser)->packed = true;
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

static int set_help(struct options_parser *parser)
{
	return OPTIONS_HELP;
}

static const struct options_row rows[] = {
	{"test", TESTS, set_test, "what is measured (pairs)"},
	{"active", "N", set_active,
	 "guests that send in pairs or a mesh; the others are idle (all)"},
	{"stations", "N", set_stations, "to be learned in one trial (1000)"},
	{"size", "BYTES", set_size, "of a frame (64)"},
	{"iodepth", "N", set_depth,
	 "frames of each guest that are under way at a time (32)"},
	{"queue-size", "N", set_queue_size, "entries of each ring (256)"},
	{"packed", NULL, set_packed, "packed rings; split ones by default"},
	{"time", "SECONDS", set_time, "how long to measure (5)"},
	{"ramp", "SECONDS", set_ramp, "how long to run before that (0)"},
	{"cpu", "N", set_cpu, "run on this CPU"},
	{"backend-pid", "PID", set_backend_pid,
	 "whose CPU time to report (the socket's peer)"},
	{"json", NULL, set_json, "one JSON object"},
	{"help", NULL, set_help, "print this, and exit"},
};

void switch_bench_options_print_help(void)
{
	printf("usage: vbench switch SOCKET... [OPTION]...\n"
	       "Measures the switch that listens at the SOCKETs, each of them "
	       "a port.\n\n");
	options_print(rows, ARRAY_SIZE(rows));
}

static int check(struct options_parser *parser)
{
	struct switch_bench_options *o = bench(parser);

	if (o->guests < least_guests[o->test])
		return options_fail(parser,
				    "--test=%s: give %u SOCKETs at least, "
				    "before the options",
				    switch_test_name(o->test),
				    least_guests[o->test]);
	if (o->guests > SWITCH_BENCH_MAX_GUESTS)
		return options_fail(parser, "give %u SOCKETs at most",
				    SWITCH_BENCH_MAX_GUESTS);
	if (o->active == 1 || o->active > o->guests)
		return options_fail(parser,
				    "--active: give a number from 2 to that "
				    "of the SOCKETs");
	if (!o->active)
		o->active = o->guests;
	if (o->test == SWITCH_PAIRS && o->active % 2)
		return options_fail(parser, "--test=pairs: give an even "
					    "number of SOCKETs, or --active");
	return 0;
}

int switch_bench_options_parse(int argc, char **argv,
			       struct switch_bench_options *ret_options,
			       char ret_error[static OPTIONS_ERROR_BYTES])
{
	struct options_parser parser = {.options = ret_options,
					.error = ret_error};
	int sockets = 0, err;

	while (1 + sockets < argc && argv[1 + sockets][0] != '-')
		sockets++;
	*ret_options = (struct switch_bench_options){
		.sockets = argv + 1,
		.guests = sockets,
		.frame_bytes = 64,
		.depth = DEFAULT_DEPTH,
		.queue_size = DEFAULT_RING,
		.stations = DEFAULT_STATIONS,
		.time_ns = DEFAULT_SECONDS * NS_PER_SECOND,
		.cpu = -1,
	};
	err = options_parse(&parser, rows, ARRAY_SIZE(rows), argc - sockets,
			    argv + sockets);
	return err == 0 ? check(&parser) : err;
}
