/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policing: base/limit.h, which several threads may share, beside DPDK's meters,
 * whose context belongs to one thread at a time: what a frame costs, and how
 * much more or less passes of twice the rate than should, in a simulated second
 * of frames of 64 to 1518 bytes.
 */
#include <rte_cycles.h>
#include <rte_meter.h>
#include <rte_spinlock.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/limit.h"
#include "vswitch/eal.h"

enum {
	TURNS = 20,
	FRAMES = 1000 * 1000, /* of a turn */
	LEAST_BYTES = 64,
	MOST_BYTES = 1518,
	CAPACITY = 1000, /* of nothing that is used here */
};

static struct limit limit;
static struct rte_meter_srtcm_profile profile;
static struct rte_meter_srtcm meter;
static rte_spinlock_t lock = RTE_SPINLOCK_INITIALIZER;
static uint64_t hz, configured;

static void require(int err, const char *what)
{
	if (err == 0)
		return;
	fprintf(stderr, "%s\n", what);
	exit(1);
}

static void set_up(uint64_t rate, uint64_t burst)
{
	struct rte_meter_srtcm_params params = {.cir = rate, .cbs = burst};

	require(limit_set(&limit, rate, burst), "no such limit");
	limit.next = 0;
	require(rte_meter_srtcm_profile_config(&profile, &params),
		"no such profile");
	require(rte_meter_srtcm_config(&meter, &profile), "no such meter");
	configured = meter.time;
}

static bool take_limit(uint32_t bytes, uint64_t now_ns, uint64_t cycles)
{
	return limit_take(&limit, bytes, now_ns);
}

/* Its time is that of the TSC since it was configured. */
static bool take_meter(uint32_t bytes, uint64_t now_ns, uint64_t cycles)
{
	return rte_meter_srtcm_color_blind_check(&meter, &profile,
						 configured + cycles,
						 bytes) == RTE_COLOR_GREEN;
}

static bool take_locked_meter(uint32_t bytes, uint64_t now_ns, uint64_t cycles)
{
	bool passes;

	rte_spinlock_lock(&lock);
	passes = take_meter(bytes, now_ns, cycles);
	rte_spinlock_unlock(&lock);
	return passes;
}

struct kind {
	const char *name;
	bool (*take)(uint32_t bytes, uint64_t now_ns, uint64_t cycles);
};

static uint32_t size_of(unsigned n)
{
	return LEAST_BYTES + n * 617 % (MOST_BYTES - LEAST_BYTES + 1);
}

/* Frames of a time that goes on as their bytes do at twice @rate: the best turn
 * in ns a frame, and per cent of what should pass that did of the last. */
static void measure(const struct kind *kind, uint64_t rate)
{
	const double cycles_of_ns = (double)hz / NS_PER_SECOND;
	const uint64_t burst = MAX(rate / 1000, (uint64_t)10 * MOST_BYTES);
	double best = 1e9, due = 0;
	uint64_t passed = 0;

	for (unsigned turn = 0; turn < TURNS; turn++) {
		uint64_t began, sent = 0;

		set_up(rate, burst);
		passed = 0;
		began = clock_ns();
		for (unsigned n = 0; n < FRAMES; n++) {
			const uint32_t bytes = size_of(n);
			const uint64_t now =
				1 + (double)sent * NS_PER_SECOND / (2.0 * rate);

			const uint64_t cycles = now * cycles_of_ns;

			if (kind->take(bytes, now, cycles))
				passed += bytes;
			sent += bytes;
		}
		best = MIN(best, (double)(clock_ns() - began) / FRAMES);
		due = burst + sent / 2.0;
	}
	printf("%-24s %12.0f bytes/s %6.1f ns a frame %8.3f %% of what should "
	       "pass\n",
	       kind->name, (double)rate, best, 100.0 * passed / due);
}

static bool take_nothing(uint32_t bytes, uint64_t now_ns, uint64_t cycles)
{
	__asm__ volatile("" : : "r"(now_ns), "r"(cycles));
	return bytes > MOST_BYTES;
}

int main(void)
{
	static const struct kind kinds[] = {
		{"the loop alone", take_nothing},
		{"limit", take_limit},
		{"rte_meter", take_meter},
		{"rte_meter, with a lock", take_locked_meter},
	};
	static const uint64_t rates[] = {1000, 1000000, 1250000000,
					 UINT64_C(50000000000)};

	require(eal_start(CAPACITY, false, false), "EAL does not start");
	hz = rte_get_tsc_hz();
	for (unsigned r = 0; r < ARRAY_SIZE(rates); r++)
		for (unsigned k = 0; k < ARRAY_SIZE(kinds); k++)
			measure(&kinds[k], rates[r]);
	return 0;
}
