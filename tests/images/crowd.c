/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/images/crowd.h"

#include <stdlib.h>

#include "base/clock.h"
#include "tests/cmocka.h"
#include "tests/images/qcow2-walk.h"
#include "tests/images/scratch.h"
#include "tests/random.h"

enum {
	LOOP_ENTRIES = 64,
	MOST_SECONDS = 60,
};

void crowd_create(const char *name, const struct qcow2_create_options *options)
{
	struct store *store;
	char *error = NULL;

	assert_int_equal(store_create_file(name, true, &store, &error), 0);
	assert_int_equal(qcow2_create(store, options, &error), 0);
	store_free(store);
}

void crowd_open(struct crowd *crowd, const struct image_open_request *request,
		const struct executor_config *config, unsigned threads)
{
	struct executor_config with_pool = *config;

	*crowd = (struct crowd){.random = 88172645463325252};
	assert_int_equal(loop_new(LOOP_ENTRIES, &crowd->loop), 0);
	if (threads)
		assert_int_equal(codec_pool_new(threads, &crowd->pool), 0);
	with_pool.pool = crowd->pool;
	assert_int_equal(image_open(request, &crowd->image, NULL, NULL), 0);
	assert_int_equal(executor_new(crowd->loop, crowd->image, &with_pool,
				      &crowd->executor),
			 0);
}

void crowd_wait(struct crowd *crowd)
{
	uint64_t deadline = clock_ns() + MOST_SECONDS * NS_PER_SECOND;

	while (executor_in_flight(crowd->executor) > 0) {
		assert_true(loop_wait(crowd->loop, NS_PER_SECOND) >= 0);
		assert_true(clock_ns() < deadline);
	}
}

void crowd_close(struct crowd *crowd)
{
	executor_free(crowd->executor);
	assert_int_equal(image_close(crowd->image), 0);
	codec_pool_free(crowd->pool);
	loop_free(crowd->loop);
}

uint64_t crowd_pick(struct crowd *crowd, uint64_t below)
{
	return random_below(&crowd->random, below);
}

void crowd_check_file(const char *name)
{
	size_t size;
	struct qcow2_walk walk = {.data = scratch_read(name, &size)};

	walk.size_bytes = size;
	if (qcow2_walk(&walk) != 0)
		fail_msg("%s", walk.problem);
	assert_int_equal(walk.leaked, 0);
	free(walk.uses);
	free(walk.data);
}
