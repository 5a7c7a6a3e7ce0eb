/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/vbench/net-rfc2544.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "tools/vbench/net-load.h"

enum {
	FCS_BYTES = 4,
	SEARCH_STEPS = 8,
	/* Longer bursts would be a throughput test. */
	MAX_BURST_NS = 500 * 1000 * 1000,
	MIN_BURST_NS = 100 * 1000,
};

/* RFC 2544, 9.1: those of Ethernet. */
static const uint16_t sizes[NET_RFC2544_SIZES] = {64,	128,  256, 512,
						  1024, 1280, 1518};

struct search {
	struct net_bench_options options;
	struct net_load *load;
	struct net_result result; /* of the last trial */
};

static uint64_t sent(const struct net_result *r)
{
	return r->from_guest.sent_frames + r->to_guest.sent_frames;
}

static uint64_t lost(const struct net_result *r)
{
	return r->from_guest.lost_frames + r->to_guest.lost_frames;
}

static double lost_percent(const struct net_result *r)
{
	return sent(r) ? 100.0 * lost(r) / sent(r) : 0;
}

static double rate_of(const struct net_result *r)
{
	return r->elapsed_ns ? (double)sent(r) * NS_PER_SECOND / r->elapsed_ns
			     : 0;
}

/* @rate: of each direction; 0: as many as can be under way. */
static int trial(struct search *s, uint64_t rate, uint64_t time_ns)
{
	s->options.rate = rate;
	s->options.time_ns = time_ns;
	return net_load_run(s->load, &s->options, &s->result);
}

static unsigned directions(const struct search *s)
{
	return s->options.direction == NET_BOTH ? 2 : 1;
}

/* Of the way that is measured; of two, what the guest received. */
static const struct histogram *latency_of(const struct search *s)
{
	return s->options.direction == NET_SENDS ? &s->result.from_guest.latency
						 : &s->result.to_guest.latency;
}

/* 26.1 and 26.2: halves what is between a rate that passed and one that did
 * not. */
static int find_throughput(struct search *s, struct net_rfc2544_size *size)
{
	const uint64_t time_ns = s->options.time_ns;
	double low = 0, high = size->most_fps / directions(s);
	int err = 0;

	for (unsigned i = 0; i < SEARCH_STEPS && err == 0; i++) {
		const double rate = i == 0 ? high : (low + high) / 2;

		if (rate < 1)
			break;
		err = trial(s, rate, time_ns);
		if (err < 0 || lost(&s->result) > 0) {
			high = rate;
			continue;
		}
		low = rate;
		size->throughput_fps = rate_of(&s->result);
		size->latency = *latency_of(s);
		if (i == 0)
			break;
	}
	s->options.time_ns = time_ns;
	return err;
}

/* 26.3: down from all, until twice nothing was lost. */
static int find_losses(struct search *s, struct net_rfc2544_size *size)
{
	const uint64_t time_ns = s->options.time_ns;
	unsigned without = 0;
	int err = 0;

	for (unsigned i = 0; i < NET_RFC2544_LOADS && err == 0 && without < 2;
	     i++) {
		double share =
			(double)(NET_RFC2544_LOADS - i) / NET_RFC2544_LOADS;

		err = trial(s, size->most_fps / directions(s) * share + 1,
			    time_ns);
		size->lost[i] = lost_percent(&s->result);
		without = lost(&s->result) ? 0 : without + 1;
	}
	s->options.time_ns = time_ns;
	return err;
}

/* 26.4: twice as long each time, as fast as the load can. */
static int find_burst(struct search *s, struct net_rfc2544_size *size)
{
	const uint64_t time_ns = s->options.time_ns;
	uint64_t burst_ns = MIN_BURST_NS;
	int err = 0;

	while (burst_ns <= MAX_BURST_NS && err == 0) {
		err = trial(s, NET_BENCH_MAX_RATE, burst_ns);
		if (lost(&s->result) > 0)
			break;
		size->burst_frames = sent(&s->result);
		burst_ns *= 2;
	}
	s->options.time_ns = time_ns;
	return err;
}

static int run_size(struct search *s, struct net_rfc2544_size *size)
{
	int err = trial(s, 0, s->options.time_ns);

	size->most_fps = rate_of(&s->result);
	if (err == 0)
		err = find_throughput(s, size);
	if (err == 0)
		err = find_losses(s, size);
	if (err == 0)
		err = find_burst(s, size);
	return err;
}

int net_rfc2544_run(const struct net_bench_options *options,
		    struct net_rfc2544_size ret_sizes[NET_RFC2544_SIZES])
{
	static struct search search;
	int err = 0;

	for (unsigned i = 0; i < NET_RFC2544_SIZES && err == 0; i++) {
		search.options = *options;
		search.options.frame_bytes = sizes[i] - FCS_BYTES;
		ret_sizes[i] =
			(struct net_rfc2544_size){.frame_bytes = sizes[i]};
		err = net_load_new(&search.options, &search.load);
		if (err < 0)
			return err;
		err = run_size(&search, &ret_sizes[i]);
		net_load_free(search.load);
	}
	return err;
}
