/* SPDX-License-Identifier: Apache-2.0 */
/* For benchmarks: a qcow2 image in memory whose every cluster is allocated. */
#ifndef TESTS_BENCH_FILLED_IMAGE_H
#define TESTS_BENCH_FILLED_IMAGE_H

#include "image/image.h"

enum {
	FILLED_CLUSTER_BYTES = 65536
};

/* An empty one, in a flat store, open for writing. Ends the program if not. */
struct image *filled_image_new(uint64_t size_bytes);

/* CPU time of this thread, in ns: others may use the processor meanwhile. */
uint64_t bench_cpu_ns(void);

/*
 * Maps each cluster in turn; flushes. Writes no data. Returns the ns of CPU
 * time per cluster.
 */
double filled_image_fill(struct image *image);

/* @err < 0: says @what, and ends the program. */
void bench_check(int err, const char *what);

#endif
