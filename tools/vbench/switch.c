/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/vbench/switch.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "tools/vbench/blk.h"
#include "tools/vbench/cpu.h"
#include "tools/vbench/switch-tests.h"

static double per_second(const struct switch_result *r, uint64_t count)
{
	return r->elapsed_ns ? (double)count * NS_PER_SECOND / r->elapsed_ns
			     : 0;
}

/* Of the switch's CPU time; 0: unknown. */
static double ns_per_frame(const struct switch_result *r)
{
	return r->arrived ? (double)r->backend_cpu_ns / r->arrived : 0;
}

static void report_text(const struct switch_bench_options *o,
			const struct switch_result *r)
{
	printf("%s, %u of %u guests, %u bytes, depth %u, %s ring\n",
	       switch_test_name(o->test), o->active, o->guests, o->frame_bytes,
	       o->depth, o->packed ? "packed" : "split");
	switch (o->test) {
	case SWITCH_CAPACITY:
	case SWITCH_LEARNING:
		printf("%" PRIu64 " of %" PRIu64 " stations learned, of %.0f "
		       "frames/s\n",
		       r->learned, r->stations, r->learned_per_s);
		break;
	case SWITCH_HEAD_OF_LINE:
		printf("to a guest that takes its frames: %.0f frames/s; %.0f "
		       "while another takes none, %" PRIu64 " lost\n",
		       r->free_per_s, r->held_per_s, r->held_lost);
		break;
	default:
		printf("sent %.0f frames/s, arrived %.0f, lost %" PRIu64
		       "; %.1f ns of the switch for each\n",
		       per_second(r, r->sent), per_second(r, r->arrived),
		       r->lost, ns_per_frame(r));
	}
}

static void report_json(const struct switch_bench_options *o,
			const struct switch_result *r)
{
	printf("{\"device\":\"switch\",\"test\":\"%s\",\"guests\":%u,"
	       "\"active\":%u,\"size\":%u,\"iodepth\":%u,\"queue_size\":%u,"
	       "\"ring\":\"%s\",\"seconds\":%.3f,",
	       switch_test_name(o->test), o->guests, o->active, o->frame_bytes,
	       o->depth, o->queue_size, o->packed ? "packed" : "split",
	       (double)r->elapsed_ns / NS_PER_SECOND);
	printf("\"sent_frames\":%" PRIu64 ",\"arrived_frames\":%" PRIu64
	       ",\"lost_frames\":%" PRIu64 ",\"backend_ns_per_frame\":%.1f,",
	       r->sent, r->arrived, r->lost, ns_per_frame(r));
	printf("\"stations\":%" PRIu64 ",\"learned\":%" PRIu64
	       ",\"learned_per_s\":%.0f,\"free_per_s\":%.0f,"
	       "\"held_per_s\":%.0f,\"held_lost\":%" PRIu64 "}\n",
	       r->stations, r->learned, r->learned_per_s, r->free_per_s,
	       r->held_per_s, r->held_lost);
}

static int measure(const struct switch_bench_options *options)
{
	struct switch_result result;
	struct switch_load *load;
	int err = switch_load_new(options, &load);

	if (err < 0)
		return err;
	err = switch_test_run(load, &result);
	if (err < 0)
		fprintf(stderr, "vbench: %s: %s\n",
			switch_test_name(options->test), strerror(-err));
	else if (options->json)
		report_json(options, &result);
	else
		report_text(options, &result);
	switch_load_free(load);
	return err;
}

int vbench_switch(int argc, char **argv)
{
	struct switch_bench_options options;
	char error[OPTIONS_ERROR_BYTES];
	int err = switch_bench_options_parse(argc, argv, &options, error);

	if (err == OPTIONS_HELP) {
		switch_bench_options_print_help();
		return VBENCH_OK;
	}
	if (err < 0) {
		fprintf(stderr, "vbench: %s\n", error);
		return VBENCH_USAGE;
	}
	err = cpu_pin(options.cpu);
	if (err == 0)
		err = measure(&options);
	return err == 0 ? VBENCH_OK : VBENCH_FAILED;
}
