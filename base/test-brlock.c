/* SPDX-License-Identifier: Apache-2.0 */
#include "base/brlock.h"

#include <pthread.h>
#include <stdlib.h>

#include "tests/cmocka.h"

enum {
	THREADS = 4,
	ROUNDS = 20000,
	PAIR = 2,
};

/* Two words that are equal whenever nobody writes. */
struct shared {
	struct brlock lock;
	pthread_mutex_t writers;
	uint64_t words[PAIR];
	uint64_t writes;
	uint64_t unequal; /* under the mutex */
};

static bool read_pair(struct shared *shared)
{
	bool equal;

	if (!brlock_try_read(&shared->lock)) {
		pthread_mutex_lock(&shared->writers);
		equal = shared->words[0] == shared->words[1];
		pthread_mutex_unlock(&shared->writers);
		return equal;
	}
	equal = shared->words[0] == shared->words[1];
	brlock_end_read(&shared->lock);
	return equal;
}

static void write_pair(struct shared *shared)
{
	pthread_mutex_lock(&shared->writers);
	brlock_begin_write(&shared->lock);
	for (int i = 0; i < PAIR; i++)
		shared->words[i]++;
	brlock_end_write(&shared->lock);
	shared->writes++;
	pthread_mutex_unlock(&shared->writers);
}

static void *read_and_write(void *opaque)
{
	struct shared *shared = opaque;
	uint64_t unequal = 0;

	for (unsigned i = 0; i < ROUNDS; i++) {
		unequal += !read_pair(shared);
		if (i % 8 == 0)
			write_pair(shared);
	}
	pthread_mutex_lock(&shared->writers);
	shared->unequal += unequal;
	pthread_mutex_unlock(&shared->writers);
	return NULL;
}

static struct shared *new_shared(void)
{
	struct shared *shared = calloc(1, sizeof(*shared));

	assert_non_null(shared);
	pthread_mutex_init(&shared->writers, NULL);
	return shared;
}

static void free_shared(struct shared *shared)
{
	pthread_mutex_destroy(&shared->writers);
	free(shared);
}

static void readers_never_see_half_a_write(void **unused)
{
	struct shared *shared = new_shared();
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL,
						read_and_write, shared),
				 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(shared->unequal, 0);
	assert_int_equal(shared->writes, THREADS * ROUNDS / 8);
	assert_int_equal(shared->words[0], shared->writes);
	free_shared(shared);
}

static void nobody_reads_while_somebody_writes(void **unused)
{
	struct shared *shared = new_shared();

	assert_true(brlock_try_read(&shared->lock));
	brlock_end_read(&shared->lock);
	brlock_begin_write(&shared->lock);
	assert_false(brlock_try_read(&shared->lock));
	brlock_end_write(&shared->lock);
	assert_true(brlock_try_read(&shared->lock));
	brlock_end_read(&shared->lock);
	free_shared(shared);
}

/* Reads once its turn has come, and lives until all have. */
struct crowd {
	struct brlock lock;
	pthread_barrier_t all_in;
	uint32_t read;
};

static void *join_crowd(void *opaque)
{
	struct crowd *crowd = opaque;

	if (brlock_try_read(&crowd->lock)) {
		fetch_add_relaxed(&crowd->read, 1);
		brlock_end_read(&crowd->lock);
	}
	pthread_barrier_wait(&crowd->all_in);
	return NULL;
}

static uint32_t run_crowd(unsigned count)
{
	struct crowd *crowd = calloc(1, sizeof(*crowd));
	pthread_t threads[2 * BRLOCK_READERS];
	uint32_t read;

	assert_non_null(crowd);
	assert_true(count <= 2 * BRLOCK_READERS);
	pthread_barrier_init(&crowd->all_in, NULL, count);
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, join_crowd, crowd),
			0);
	for (unsigned i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	read = crowd->read;
	pthread_barrier_destroy(&crowd->all_in);
	free(crowd);
	return read;
}

/* This thread has a place, from the tests before or from here. */
static void places_are_few_and_come_back(void **unused)
{
	struct brlock lock = {0};

	assert_true(brlock_try_read(&lock));
	brlock_end_read(&lock);
	assert_int_equal(run_crowd(2 * BRLOCK_READERS), BRLOCK_READERS - 1);
	/* Those have ended. */
	for (int i = 0; i < 4; i++)
		assert_int_equal(run_crowd(BRLOCK_READERS - 1),
				 BRLOCK_READERS - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(readers_never_see_half_a_write),
		cmocka_unit_test(nobody_reads_while_somebody_writes),
		cmocka_unit_test(places_are_few_and_come_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
