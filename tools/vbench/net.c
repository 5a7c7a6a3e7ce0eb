/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/vbench/net.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "tools/vbench/blk.h"
#include "tools/vbench/net-load.h"
#include "tools/vbench/net-options.h"

static int pin(int cpu)
{
	cpu_set_t set;

	if (cpu < 0)
		return 0;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) == 0)
		return 0;
	fprintf(stderr, "vbench: --cpu=%d: %s\n", cpu, strerror(errno));
	return -errno;
}

static double per_second(const struct net_result *r, uint64_t count)
{
	return r->elapsed_ns ? (double)count * NS_PER_SECOND / r->elapsed_ns
			     : 0;
}

static double gbit(const struct net_result *r, uint64_t bytes)
{
	return per_second(r, bytes) * 8 / 1e9;
}

/* Of the back-end's CPU time; 0: unknown. */
static double ns_per_frame(const struct net_result *r)
{
	uint64_t frames = r->sent_frames + r->received_frames;

	return frames ? (double)r->backend_cpu_ns / frames : 0;
}

static void report_text(const struct net_bench_options *o,
			const struct net_result *r, uint64_t sent_bytes)
{
	printf("%s, %u bytes%s, depth %u, %s ring\n",
	       net_direction_name(o->direction), o->frame_bytes,
	       o->tso ? " of TCP" : "", o->depth,
	       o->packed ? "packed" : "split");
	printf("sent %.0f frames/s, %.2f Gbit/s; received %.0f frames/s, "
	       "%.2f Gbit/s\n",
	       per_second(r, r->sent_frames), gbit(r, sent_bytes),
	       per_second(r, r->received_frames), gbit(r, r->received_bytes));
	if (r->backend_pid)
		printf("back-end (pid %d): %.0f %% of a core, %.0f ns a "
		       "frame\n",
		       r->backend_pid,
		       100 * per_second(r, r->backend_cpu_ns) / NS_PER_SECOND,
		       ns_per_frame(r));
}

static void report_json(const struct net_bench_options *o,
			const struct net_result *r, uint64_t sent_bytes)
{
	printf("{\"device\":\"net\",\"direction\":\"%s\",\"size\":%u,"
	       "\"tso\":%s,\"iodepth\":%u,\"queue_size\":%u,\"ring\":\"%s\","
	       "\"seconds\":%.3f,",
	       net_direction_name(o->direction), o->frame_bytes,
	       o->tso ? "true" : "false", o->depth, o->queue_size,
	       o->packed ? "packed" : "split",
	       (double)r->elapsed_ns / NS_PER_SECOND);
	printf("\"sent_frames\":%" PRIu64 ",\"sent_gbit_per_s\":%.3f,"
	       "\"received_frames\":%" PRIu64 ",\"received_gbit_per_s\":%.3f,",
	       r->sent_frames, gbit(r, sent_bytes), r->received_frames,
	       gbit(r, r->received_bytes));
	printf("\"backend_pid\":%d,\"backend_cpu_percent\":%.1f,"
	       "\"backend_ns_per_frame\":%.1f}\n",
	       r->backend_pid,
	       100 * per_second(r, r->backend_cpu_ns) / NS_PER_SECOND,
	       ns_per_frame(r));
}

static int measure(const struct net_bench_options *options)
{
	struct net_load *load;
	struct net_result result;
	int err = net_load_new(options, &load);

	if (err < 0)
		return err;
	err = net_load_run(load, &result);
	if (err < 0)
		fprintf(stderr, "vbench: %s: %s\n", options->socket_path,
			strerror(-err));
	else if (options->json)
		report_json(options, &result,
			    result.sent_frames * options->frame_bytes);
	else
		report_text(options, &result,
			    result.sent_frames * options->frame_bytes);
	net_load_free(load);
	return err;
}

int vbench_net(int argc, char **argv)
{
	struct net_bench_options options;
	char error[OPTIONS_ERROR_BYTES];
	int err = net_bench_options_parse(argc, argv, &options, error);

	if (err == OPTIONS_HELP) {
		net_bench_options_print_help();
		return VBENCH_OK;
	}
	if (err < 0) {
		fprintf(stderr, "vbench: %s\n", error);
		return VBENCH_USAGE;
	}
	err = pin(options.cpu);
	if (err == 0)
		err = measure(&options);
	return err == 0 ? VBENCH_OK : VBENCH_FAILED;
}
