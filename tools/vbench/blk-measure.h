/* SPDX-License-Identifier: Apache-2.0 */
/* The measuring run of `vbench blk`, and its result. */
#ifndef TOOLS_VBENCH_BLK_MEASURE_H
#define TOOLS_VBENCH_BLK_MEASURE_H

#include "base/histogram.h"
#include "tools/vbench/blk-load.h"

struct blk_result {
	uint64_t elapsed_ns; /* the ramp left out */
	uint64_t reads;
	uint64_t writes;
	uint64_t errors;
	struct histogram latency;
	uint64_t kicks; /* whole run */
	uint64_t kicks_saved;
	int backend_pid;	   /* 0: unknown, and then the rest too */
	double backend_cpu;	   /* cores that it kept busy */
	uint64_t backend_anon_kib; /* at the end */
};

/* Runs the load that the options ask for. As blk_load_run. */
int blk_measure(struct blk_load *load, struct blk_result *ret_result);

void blk_report_text(const struct bench_options *options,
		     const struct blk_result *result);
void blk_report_json(const struct bench_options *options,
		     const struct blk_result *result);

#endif
