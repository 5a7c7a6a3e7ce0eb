/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/filled-image.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "image/open.h"
#include "qcow2/create.h"
#include "qcow2/qcow2.h"
#include "tests/bench/flat-store.h"

void bench_check(int err, const char *what)
{
	if (err == 0)
		return;
	fprintf(stderr, "%s: %s\n", what,
		err < 0 ? strerror(-err) : "the image's fault");
	exit(1);
}

uint64_t bench_cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

struct image *filled_image_new(uint64_t size_bytes)
{
	const struct qcow2_create_options options = {
		.size_bytes = size_bytes,
		.cluster_bytes = FILLED_CLUSTER_BYTES,
	};
	const struct image_open_options open_options = {0};
	struct store *store;
	struct image *image;
	char *error = NULL;

	/* Metadata and what the file grows ahead, generously. */
	bench_check(flat_store_new(size_bytes + (size_bytes >> 4) +
					   (UINT64_C(1) << 30),
				   &store),
		    "address space");
	bench_check(qcow2_create(store, &options, &error), "create");
	bench_check(qcow2_format.open(store, &open_options, &image, &error),
		    "open");
	return image;
}

/* What the image wants first. */
static void oblige(struct image *image, const struct image_extent *extent)
{
	switch (extent->kind) {
	case IMAGE_NEED:
		bench_check(image_read_need(image, extent), "metadata");
		break;
	case IMAGE_MUST_FLUSH:
		bench_check(image_flush_sync(image), "flush");
		break;
	default:
		bench_check(-EDEADLK, "fill");
	}
}

double filled_image_fill(struct image *image)
{
	uint64_t start = bench_cpu_ns();
	uint64_t at = 0;

	while (at < image->size_bytes) {
		struct image_extent extent;

		bench_check(image_map(image, IMAGE_WRITE, at,
				      FILLED_CLUSTER_BYTES, &extent),
			    "map");
		if (extent.kind == IMAGE_DATA)
			at += extent.length;
		else
			oblige(image, &extent);
	}
	bench_check(image_flush_sync(image), "flush");
	return (double)(bench_cpu_ns() - start) /
	       (double)(image->size_bytes / FILLED_CLUSTER_BYTES);
}
