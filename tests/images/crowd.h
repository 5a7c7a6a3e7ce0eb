/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many requests at once on an image in the scratch folder, through an executor
 * of their own. What fails, or does not end within a minute, fails the test.
 */
#ifndef TESTS_IMAGES_CROWD_H
#define TESTS_IMAGES_CROWD_H

#include "image/codec-pool.h"
#include "image/executor.h"
#include "image/open.h"
#include "qcow2/create.h"

struct crowd {
	struct loop *loop;
	struct codec_pool *pool; /* or NULL */
	struct image *image;
	struct executor *executor;
	uint64_t random;
};

/* The image, before it is opened. */
void crowd_create(const char *name, const struct qcow2_create_options *options);

/* With @threads of a codec pool, or none; @config->pool is that. */
void crowd_open(struct crowd *crowd, const struct image_open_request *request,
		const struct executor_config *config, unsigned threads);
/* All requests have ended. */
void crowd_wait(struct crowd *crowd);
void crowd_close(struct crowd *crowd);

uint64_t crowd_pick(struct crowd *crowd, uint64_t below);

/* Afterwards: refcounts are what they have to be, and nothing leaks. */
void crowd_check_file(const char *name);

#endif
