/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qimg bench, from inside: bench.c reads the command line and prints; bench-run.c
 * sends the requests, many at once on one loop, and takes their times.
 */
#ifndef QIMG_BENCH_H
#define QIMG_BENCH_H

#include "base/histogram.h"
#include "tools/qimg/spec.h"

struct bench_plan {
	const char *name; /* of the image, in messages */
	struct image *image;
	uint64_t count;		/* of requests */
	unsigned depth;		/* as many at once */
	uint64_t request_bytes; /* of each */
	uint64_t offset;	/* of the first */
	uint64_t step; /* to the next; past the end it goes on from 0 */
	bool write;
	uint8_t pattern; /* what is written */
	/* Requests between two flushes; 0: none. */
	uint64_t flush_interval;
	bool drain; /* a flush waits for all before it, and all after for it */
	struct qimg_cache cache;
};

struct bench_result {
	uint64_t requests;
	uint64_t flushes;
	uint64_t elapsed_ns;
	struct histogram latency_ns; /* of requests, without flushes */
};

/* The exit status, after a message if it is not 0. */
int bench_run(const struct bench_plan *plan, struct bench_result *ret);

#endif
