/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several threads on one image: some read and overwrite, some discard and write
 * anew, one flushes. Each has clusters of its own, whose content it knows, side
 * by side with those of the others in the same tables; all read what nobody
 * changes. Meant for the thread sanitizer as much as for what it asserts.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "image/open.h"
#include "image/sync-io.h"
#include "qcow2/create.h"
#include "qcow2/qcow2.h"
#include "tests/cmocka.h"

enum {
	WORKERS = 3,
	CLUSTER = 4096,
	CLUSTERS = 600, /* of each worker, and as many that nobody changes */
	STEPS = 3000,
	SHARERS = WORKERS + 1,
};

struct worker {
	struct image *image;
	pthread_t thread;
	unsigned number;
	unsigned random;
	uint8_t content[CLUSTERS]; /* of each byte of a cluster; 0: none */
	unsigned wrong;
	int err;
	const uint32_t *over; /* the flusher's end */
};

/* Clusters of the workers take turns; the last turn is nobody's. */
static uint64_t place_of(unsigned owner, unsigned index)
{
	return ((uint64_t)index * SHARERS + owner) * CLUSTER;
}

/* Others are at it still, or flush already. */
static bool comes_too_soon(int err)
{
	return err == -EDEADLK || err == -EBUSY;
}

static bool holds(struct image *image, uint64_t offset, uint8_t value, int *err)
{
	uint8_t data[CLUSTER];

	do
		*err = sync_io_read(image, offset, data, CLUSTER);
	while (comes_too_soon(*err));
	if (*err)
		return false;
	for (unsigned i = 0; i < CLUSTER; i++)
		if (data[i] != value)
			return false;
	return true;
}

static int write_cluster(struct image *image, uint64_t offset, uint8_t value)
{
	uint8_t data[CLUSTER];
	int err;

	memset(data, value, CLUSTER);
	do
		err = sync_io_write(image, offset, data, CLUSTER);
	while (comes_too_soon(err));
	return err;
}

static int drop_cluster(struct image *image, uint64_t offset)
{
	int err;

	do
		err = sync_io_discard(image, offset, CLUSTER);
	while (comes_too_soon(err));
	return err;
}

static void step(struct worker *w)
{
	unsigned index = (unsigned)rand_r(&w->random) % CLUSTERS;
	unsigned what = (unsigned)rand_r(&w->random) % 8;
	uint64_t offset = place_of(w->number, index);

	if (what == 0) {
		w->err = drop_cluster(w->image, offset);
		w->content[index] = 0;
	} else if (what < 3) {
		w->content[index] = (uint8_t)((rand_r(&w->random) & 127) + 1);
		w->err = write_cluster(w->image, offset, w->content[index]);
	} else if (what < 5) {
		w->wrong += !holds(w->image, place_of(WORKERS, index), 200,
				   &w->err);
	} else {
		w->wrong +=
			!holds(w->image, offset, w->content[index], &w->err);
	}
}

static void *work(void *opaque)
{
	struct worker *w = opaque;

	for (unsigned i = 0; i < STEPS && w->err == 0; i++)
		step(w);
	return NULL;
}

/* What was freed is not given out again: nobody here says when it may be. */
static void *keep_flushing(void *opaque)
{
	struct worker *w = opaque;

	while (!load_acquire(w->over)) {
		struct image_plan plan;

		if (image_flush_begin(w->image, &plan) != 0)
			continue;
		for (size_t i = 0; i < plan.count && w->err == 0; i++) {
			const struct image_step *s = &plan.steps[i];

			if (s->kind == IMAGE_STEP_WRITE)
				w->err = store_write(s->store, s->offset,
						     s->data, s->length);
			else if (s->kind == IMAGE_STEP_RESIZE)
				w->err = store_resize(s->store, s->offset);
		}
		image_flush_end(w->image, &plan, w->err);
	}
	return NULL;
}

/* With room for all tables: nobody is asked to flush, which would reclaim. */
static struct image *open_store(struct store *store)
{
	const struct image_open_options options = {0};
	struct image *image = NULL;
	char *error = NULL;

	assert_int_equal(qcow2_format.open(store, &options, &image, &error), 0);
	return image;
}

static struct image *make(bool extended)
{
	const struct qcow2_create_options options = {
		.size_bytes = (uint64_t)CLUSTERS * SHARERS * CLUSTER,
		.cluster_bytes = extended ? 16384 : CLUSTER,
		.extended_l2 = extended,
	};
	struct image *image;
	struct store *store, *copy;
	char *error = NULL;

	assert_int_equal(store_new_memory(0, &store), 0);
	assert_int_equal(qcow2_create(store, &options, &error), 0);
	image = open_store(store);
	for (unsigned i = 0; i < CLUSTERS; i++)
		assert_int_equal(
			write_cluster(image, place_of(WORKERS, i), 200), 0);
	/* Opened anew: tables are read while others look for them. */
	assert_int_equal(image_flush_sync(image), 0);
	assert_int_equal(store_new_memory(store->size_bytes, &copy), 0);
	memcpy(store_memory_data(copy), store_memory_data(store),
	       store->size_bytes);
	assert_int_equal(image_close(image), 0);
	return open_store(copy);
}

static void run(bool extended)
{
	struct image *image = make(extended);
	struct worker *workers = calloc(SHARERS, sizeof(*workers));
	uint32_t over = 0;

	assert_non_null(workers);
	for (unsigned i = 0; i < SHARERS; i++) {
		workers[i].image = image;
		workers[i].number = workers[i].random = i;
		workers[i].over = &over;
		assert_int_equal(
			pthread_create(&workers[i].thread, NULL,
				       i < WORKERS ? work : keep_flushing,
				       &workers[i]),
			0);
	}
	for (unsigned i = 0; i < SHARERS; i++) {
		if (i == WORKERS)
			store_release(&over, 1);
		pthread_join(workers[i].thread, NULL);
		if (workers[i].err > 0)
			print_error("%s\n", image_error(image));
		assert_int_equal(workers[i].err, 0);
		assert_int_equal(workers[i].wrong, 0);
	}
	for (unsigned i = 0; i < WORKERS * CLUSTERS; i++) {
		const struct worker *w = &workers[i / CLUSTERS];
		int err;

		assert_true(holds(image, place_of(w->number, i % CLUSTERS),
				  w->content[i % CLUSTERS], &err));
	}
	free(workers);
	assert_int_equal(image_close(image), 0);
}

static void threads_see_what_they_wrote(void **state)
{
	run(false);
}

/* Here four clusters of the test share one of the image. */
static void threads_that_share_clusters_see_what_they_wrote(void **state)
{
	run(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads_see_what_they_wrote),
		cmocka_unit_test(
			threads_that_share_clusters_see_what_they_wrote),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
