/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All guests of a switch, and frames between them. A frame is under way until
 * it arrived where it should, or nothing arrived anywhere for a while.
 *
 * One thread, which looks at all guests in turn and never sleeps. Functions
 * return a negative errno of a device that errs, or -ETIMEDOUT.
 */
#ifndef TOOLS_VBENCH_SWITCH_LOAD_H
#define TOOLS_VBENCH_SWITCH_LOAD_H

#include "tools/vbench/switch-guest.h"

/* What became of the frames of one guest, or arrived at it. */
struct switch_counts {
	uint64_t sent;	  /* by it */
	uint64_t arrived; /* of those, copies wherever they were meant for */
	uint64_t lost;	  /* of those, copies that are not waited for */
	uint64_t taken;	  /* by it, … */
	uint64_t strays;  /* … and what was for others, flooded */
};

struct switch_load {
	const struct switch_bench_options *options;
	struct switch_guest *guests[SWITCH_BENCH_MAX_GUESTS];
	struct switch_counts counts[SWITCH_BENCH_MAX_GUESTS];
	unsigned next[SWITCH_BENCH_MAX_GUESTS]; /* for the patterns' use */
	uint64_t
		heard_ns; /* when something last arrived; 0: since the last look */
};

/* Whom the next frame of guest @from is for. */
struct switch_target {
	uint32_t from_station;
	uint16_t guest; /* SWITCH_TO_ALL */
	uint32_t station;
};

/* Frames of some guests. */
struct switch_pattern {
	/* False: guest @from has no more to send now. */
	bool (*next)(void *arg, unsigned from,
		     struct switch_target *ret_target);
	void *arg;
	unsigned senders; /* the first ones */
	unsigned takers;  /* the first ones; the others leave their rings */
	unsigned copies;  /* of each frame that should arrive */
	/* What was sent is given up at once, not waited for. */
	bool hurries;
};

/* Borrows @options. Connects all guests, with a line on stderr if one fails, and
 * has each introduce itself to the switch. */
int switch_load_new(const struct switch_bench_options *options,
		    struct switch_load **ret_load);
void switch_load_free(struct switch_load *load); /* accepts NULL */

/* Nothing is counted any more. */
void switch_load_reset(struct switch_load *load);

/* A frame of @guest to all others: who has it has all that @guest sent before.
 * Counts begin anew. */
int switch_load_introduce(struct switch_load *load, unsigned guest);

/* One look at all guests. */
int switch_load_round(struct switch_load *load,
		      const struct switch_pattern *pattern);
int switch_load_run(struct switch_load *load,
		    const struct switch_pattern *pattern, uint64_t time_ns);
/* Until @pattern has no more to send, and what is under way has arrived. */
int switch_load_finish(struct switch_load *load,
		       const struct switch_pattern *pattern);

#endif
