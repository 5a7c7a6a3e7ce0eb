/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the qcow2 core costs by itself, on one processor and without I/O:
 * mapping 4 KiB reads and writes at random where all metadata is cached, and
 * allocating clusters in a row. Prints each round, in CPU time.
 */
#include <stdio.h>

#include "image/open.h"
#include "tests/bench/filled-image.h"

enum {
	BLOCK_BYTES = 4096,
	REQUESTS = 1 << 22,
	ROUNDS = 5,
};

static double map_ns(struct image *image, enum image_op op)
{
	uint64_t blocks = image->size_bytes / BLOCK_BYTES;
	uint64_t random = 88172645463325252;
	uint64_t start = bench_cpu_ns();

	for (unsigned i = 0; i < REQUESTS; i++) {
		struct image_extent extent;

		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		bench_check(image_map(image, op, random % blocks * BLOCK_BYTES,
				      BLOCK_BYTES, &extent),
			    "map");
		bench_check(extent.kind == IMAGE_DATA ? 0 : -1, "not cached");
	}
	return (double)(bench_cpu_ns() - start) / REQUESTS;
}

static void run(uint64_t size_bytes)
{
	struct image *image = filled_image_new(size_bytes);
	double fill = filled_image_fill(image);

	printf("%llu GiB: allocating a cluster %.0f ns\n",
	       (unsigned long long)(size_bytes >> 30), fill);
	for (unsigned i = 0; i < ROUNDS; i++)
		printf("%llu GiB: mapping 4 KiB to read %.1f ns, to write "
		       "%.1f ns\n",
		       (unsigned long long)(size_bytes >> 30),
		       map_ns(image, IMAGE_READ), map_ns(image, IMAGE_WRITE));
	image_close(image);
}

int main(void)
{
	run(UINT64_C(1) << 30);
	run(UINT64_C(32) << 30);
	return 0;
}
