/* SPDX-License-Identifier: Apache-2.0 */
/* Random guest requests on an image, and a plain copy of what it must hold. */
#ifndef TESTS_IMAGES_WORKLOAD_H
#define TESTS_IMAGES_WORKLOAD_H

#include "image/image.h"

struct workload {
	struct image *image;
	uint8_t *model;
	uint64_t size_bytes;
	uint64_t random; /* state; the seed to begin with, not 0 */
	unsigned stamp;	 /* goes into what is written next */
};

/* Reads the model from the image as it is. */
void workload_init(struct workload *work, struct image *image, uint64_t seed);
void workload_deinit(struct workload *work);

uint64_t workload_random(struct workload *work, uint64_t below);

/* Carries out @count requests: writes, zeroes, discards, flushes. */
void workload_run(struct workload *work, unsigned count);

/* The image reads as the model says. */
void workload_check(struct workload *work);

#endif
