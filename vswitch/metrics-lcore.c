/* SPDX-License-Identifier: Apache-2.0 */
/* The serving threads' part of the page: how they are loaded, and how long what
 * takes. */
#include "vswitch/metrics-lcore.h"

#include "base/bytes.h"
#include "base/clock.h"

static double seconds(uint64_t ns)
{
	return ns / (double)NS_PER_SECOND;
}

/* Buckets hold what is below them, too; OpenMetrics, "Histogram". */
static void print_buckets(FILE *page, const char *name, unsigned lcore,
			  const uint64_t *buckets, unsigned count,
			  double (*limit)(unsigned bucket), bool has_rest,
			  double sum)
{
	uint64_t below = 0;

	for (unsigned i = 0; i < count; i++) {
		below += buckets[i];
		if (has_rest && i == count - 1)
			continue;
		fprintf(page, "%s_bucket{lcore=\"%u\",le=\"%.9g\"} %llu\n",
			name, lcore, limit(i), (unsigned long long)below);
	}
	fprintf(page,
		"%1$s_bucket{lcore=\"%2$u\",le=\"+Inf\"} %3$llu\n"
		"%1$s_count{lcore=\"%2$u\"} %3$llu\n"
		"%1$s_sum{lcore=\"%2$u\"} %4$.9g\n",
		name, lcore, (unsigned long long)below, sum);
}

static double burst_limit(unsigned bucket)
{
	return 1u << bucket;
}

static double latency_limit(unsigned bucket)
{
	return seconds(UINT64_C(1) << (LCORE_LATENCY_BITS + bucket));
}

static void print_busy(FILE *page, unsigned lcore,
		       const struct lcore_counters *c)
{
	fprintf(page, "vswitch_lcore_busy_seconds_total{lcore=\"%u\"} %.9f\n",
		lcore, seconds(c->busy_ns));
}

static void print_queues(FILE *page, unsigned lcore,
			 const struct lcore_counters *c)
{
	fprintf(page, "vswitch_lcore_queues{lcore=\"%u\"} %u\n", lcore,
		c->sources);
}

static void print_bursts(FILE *page, unsigned lcore,
			 const struct lcore_counters *c)
{
	print_buckets(page, "vswitch_burst_frames", lcore, c->bursts,
		      LCORE_BURSTS, burst_limit, false, c->frames);
}

static void print_latencies(FILE *page, unsigned lcore,
			    const struct lcore_counters *c)
{
	print_buckets(page, "vswitch_burst_seconds", lcore, c->latencies,
		      LCORE_LATENCIES, latency_limit, true,
		      seconds(c->busy_ns));
}

static const struct {
	const char *name, *type, *unit, *help;
	void (*print)(FILE *page, unsigned lcore,
		      const struct lcore_counters *counters);
} families[] = {
	{"vswitch_lcore_busy_seconds", "counter", "seconds",
	 "Time that a serving thread spent on frames.", print_busy},
	{"vswitch_lcore_queues", "gauge", "",
	 "Queues that a serving thread looks at.", print_queues},
	{"vswitch_burst_frames", "histogram", "",
	 "Frames that were found at one look.", print_bursts},
	{"vswitch_burst_seconds", "histogram", "seconds",
	 "Time from that look until all of them were where they go.",
	 print_latencies},
};

void metrics_print_lcores(FILE *page, const struct vswitch *vswitch)
{
	const unsigned count = vswitch_lcore_count(vswitch);
	struct lcore_counters counters[CONFIG_MAX_LCORES];

	for (unsigned i = 0; i < count; i++)
		lcore_count(vswitch_lcore(vswitch, i), &counters[i]);
	for (unsigned f = 0; f < ARRAY_SIZE(families); f++) {
		fprintf(page, "# TYPE %s %s\n", families[f].name,
			families[f].type);
		if (families[f].unit[0])
			fprintf(page, "# UNIT %s %s\n", families[f].name,
				families[f].unit);
		fprintf(page, "# HELP %s %s\n", families[f].name,
			families[f].help);
		for (unsigned i = 0; i < count; i++)
			families[f].print(page, i, &counters[i]);
	}
}
