/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "tools/vbench/blk-measure.h"

static const struct {
	const char *text;
	const char *key;
	unsigned per_mille;
} percentiles[] = {
	{"p50", "p50", 500},	 {"p90", "p90", 900},  {"p99", "p99", 990},
	{"p99.9", "p99_9", 999}, {"max", "max", 1000},
};

static double microseconds(uint64_t ns)
{
	return ns / 1000.0;
}

static double iops(const struct blk_result *r)
{
	return r->elapsed_ns ? (double)(r->reads + r->writes) * NS_PER_SECOND /
				       r->elapsed_ns
			     : 0;
}

static double mib_per_second(const struct bench_options *o,
			     const struct blk_result *r)
{
	return iops(r) * o->block_bytes / (1 << 20);
}

void blk_report_text(const struct bench_options *o, const struct blk_result *r)
{
	printf("%s, %u bytes, %u queue%s, depth %u, %s ring, %s\n",
	       blk_rw_name(o->rw), o->block_bytes, o->queues,
	       o->queues > 1 ? "s" : "", o->iodepth,
	       o->packed ? "packed" : "split", o->notify ? "notify" : "poll");
	printf("%.0f IOPS, %.1f MiB/s (%" PRIu64 " reads, %" PRIu64
	       " writes, %" PRIu64 " errors)\n",
	       iops(r), mib_per_second(o, r), r->reads, r->writes, r->errors);
	printf("latency µs: mean %.1f",
	       microseconds(histogram_mean(&r->latency)));
	for (unsigned i = 0; i < ARRAY_SIZE(percentiles); i++)
		printf(", %s %.1f", percentiles[i].text,
		       microseconds(histogram_percentile(
			       &r->latency, percentiles[i].per_mille)));
	printf("\nkicks: %" PRIu64 " sent, %" PRIu64 " not wanted\n", r->kicks,
	       r->kicks_saved);
	if (r->backend_pid)
		printf("back-end (pid %d): %.0f %% of a core, %" PRIu64
		       " KiB of its own memory\n",
		       r->backend_pid, 100 * r->backend_cpu,
		       r->backend_anon_kib);
}

void blk_report_json(const struct bench_options *o, const struct blk_result *r)
{
	printf("{\"device\":\"blk\",\"rw\":\"%s\",\"bs\":%u,\"iodepth\":%u,"
	       "\"queues\":%u,\"queue_size\":%u,\"ring\":\"%s\","
	       "\"mode\":\"%s\",\"seconds\":%.3f,",
	       blk_rw_name(o->rw), o->block_bytes, o->iodepth, o->queues,
	       o->queue_size, o->packed ? "packed" : "split",
	       o->notify ? "notify" : "poll",
	       (double)r->elapsed_ns / NS_PER_SECOND);
	printf("\"reads\":%" PRIu64 ",\"writes\":%" PRIu64
	       ",\"errors\":%" PRIu64 ",\"iops\":%.1f,\"mib_per_s\":%.2f,",
	       r->reads, r->writes, r->errors, iops(r), mib_per_second(o, r));
	printf("\"latency_us\":{\"mean\":%.2f",
	       microseconds(histogram_mean(&r->latency)));
	for (unsigned i = 0; i < ARRAY_SIZE(percentiles); i++)
		printf(",\"%s\":%.2f", percentiles[i].key,
		       microseconds(histogram_percentile(
			       &r->latency, percentiles[i].per_mille)));
	printf("},\"kicks\":%" PRIu64 ",\"kicks_saved\":%" PRIu64
	       ",\"backend_pid\":%d,\"backend_cpu_percent\":%.1f,"
	       "\"backend_anon_kib\":%" PRIu64 "}\n",
	       r->kicks, r->kicks_saved, r->backend_pid, 100 * r->backend_cpu,
	       r->backend_anon_kib);
}
