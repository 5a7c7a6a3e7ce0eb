/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/vbench/net-report.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/bytes.h"
#include "base/clock.h"

static const struct {
	const char *text;
	const char *key;
	unsigned per_mille;
} percentiles[] = {
	{"p50", "p50", 500},	 {"p90", "p90", 900},  {"p99", "p99", 990},
	{"p99.9", "p99_9", 999}, {"max", "max", 1000},
};

static double per_second(const struct net_result *r, uint64_t count)
{
	return r->elapsed_ns ? (double)count * NS_PER_SECOND / r->elapsed_ns
			     : 0;
}

static double gbit(const struct net_result *r, uint64_t bytes)
{
	return per_second(r, bytes) * 8 / 1e9;
}

static uint64_t sent_bytes(const struct net_bench_options *o,
			   const struct net_result *r)
{
	return r->from_guest.sent_frames * o->frame_bytes;
}

/* Of the back-end's CPU time; 0: unknown. */
static double ns_per_frame(const struct net_result *r)
{
	uint64_t frames =
		r->from_guest.sent_frames + r->to_guest.arrived_frames;

	return frames ? (double)r->backend_cpu_ns / frames : 0;
}

static double microseconds(uint64_t ns)
{
	return ns / 1000.0;
}

static void latency_text(const char *what, const struct histogram *latency)
{
	if (latency->count == 0)
		return;
	printf("%s µs: mean %.1f", what, microseconds(histogram_mean(latency)));
	for (unsigned i = 0; i < ARRAY_SIZE(percentiles); i++)
		printf(", %s %.1f", percentiles[i].text,
		       microseconds(histogram_percentile(
			       latency, percentiles[i].per_mille)));
	printf("\n");
}

void net_report_text(const struct net_bench_options *o,
		     const struct net_result *r)
{
	const bool round_trip = o->direction == NET_ROUND_TRIP;

	printf("%s, %u bytes%s, depth %u, %s ring\n",
	       net_direction_name(o->direction), o->frame_bytes,
	       o->tso ? " of TCP" : "", o->depth,
	       o->packed ? "packed" : "split");
	printf("sent %.0f frames/s, %.2f Gbit/s; received %.0f frames/s, "
	       "%.2f Gbit/s\n",
	       per_second(r, r->from_guest.sent_frames),
	       gbit(r, sent_bytes(o, r)),
	       per_second(r, r->to_guest.arrived_frames),
	       gbit(r, r->to_guest.arrived_bytes));
	if (net_bench_has_far_end(o))
		printf("lost: %" PRIu64 " of those sent, %" PRIu64
		       " on the way here\n",
		       r->from_guest.lost_frames, r->to_guest.lost_frames);
	latency_text("from the guest,", &r->from_guest.latency);
	latency_text(round_trip ? "round trip," : "to the guest,",
		     &r->to_guest.latency);
	if (r->backend_pid)
		printf("back-end (pid %d): %.0f %% of a core, %.0f ns a "
		       "frame\n",
		       r->backend_pid,
		       100 * per_second(r, r->backend_cpu_ns) / NS_PER_SECOND,
		       ns_per_frame(r));
}

static void latency_json(const char *key, const struct histogram *latency)
{
	if (latency->count == 0)
		return;
	printf("\"%s\":{\"mean\":%.2f", key,
	       microseconds(histogram_mean(latency)));
	for (unsigned i = 0; i < ARRAY_SIZE(percentiles); i++)
		printf(",\"%s\":%.2f", percentiles[i].key,
		       microseconds(histogram_percentile(
			       latency, percentiles[i].per_mille)));
	printf("},");
}

void net_report_json(const struct net_bench_options *o,
		     const struct net_result *r)
{
	const bool round_trip = o->direction == NET_ROUND_TRIP;

	printf("{\"device\":\"net\",\"direction\":\"%s\",\"size\":%u,"
	       "\"tso\":%s,\"iodepth\":%u,\"queue_size\":%u,\"ring\":\"%s\","
	       "\"seconds\":%.3f,",
	       net_direction_name(o->direction), o->frame_bytes,
	       o->tso ? "true" : "false", o->depth, o->queue_size,
	       o->packed ? "packed" : "split",
	       (double)r->elapsed_ns / NS_PER_SECOND);
	printf("\"sent_frames\":%" PRIu64 ",\"sent_gbit_per_s\":%.3f,"
	       "\"received_frames\":%" PRIu64 ",\"received_gbit_per_s\":%.3f,",
	       r->from_guest.sent_frames, gbit(r, sent_bytes(o, r)),
	       r->to_guest.arrived_frames, gbit(r, r->to_guest.arrived_bytes));
	if (net_bench_has_far_end(o))
		printf("\"far_sent_frames\":%" PRIu64
		       ",\"far_received_frames\":%" PRIu64
		       ",\"sent_lost\":%" PRIu64 ",\"received_lost\":%" PRIu64
		       ",",
		       r->to_guest.sent_frames, r->from_guest.arrived_frames,
		       r->from_guest.lost_frames, r->to_guest.lost_frames);
	latency_json("sent_latency_us", &r->from_guest.latency);
	latency_json(round_trip ? "round_trip_us" : "received_latency_us",
		     &r->to_guest.latency);
	printf("\"backend_pid\":%d,\"backend_cpu_percent\":%.1f,"
	       "\"backend_ns_per_frame\":%.1f}\n",
	       r->backend_pid,
	       100 * per_second(r, r->backend_cpu_ns) / NS_PER_SECOND,
	       ns_per_frame(r));
}
