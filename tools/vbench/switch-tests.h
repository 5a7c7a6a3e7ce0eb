/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tests of `vbench switch`: traffic of many guests, and those of RFC 2889
 * that a switch for guests can have: broadcast frames (5.10), how many addresses
 * it keeps (5.7), how fast it learns them (5.8), and whether a port that takes
 * nothing holds up others (5.5).
 */
#ifndef TOOLS_VBENCH_SWITCH_TESTS_H
#define TOOLS_VBENCH_SWITCH_TESTS_H

#include "tools/vbench/switch-load.h"

/* Fields that do not belong to the test are 0. */
struct switch_result {
	uint64_t elapsed_ns;
	uint64_t sent, arrived, lost;
	uint64_t backend_cpu_ns; /* 0: unknown */
	/* SWITCH_CAPACITY, SWITCH_LEARNING: what was to be learned, and was; and
	 * how many such frames came in a second. */
	uint64_t stations, learned;
	double learned_per_s;
	/* SWITCH_HEAD_OF_LINE: of frames to a port that takes them, how many
	 * a second before another takes none, and while; what was lost of them. */
	double free_per_s, held_per_s;
	uint64_t held_lost;
};

/* A negative errno of a device that errs. */
int switch_test_run(struct switch_load *load, struct switch_result *ret_result);

#endif
