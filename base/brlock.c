/* SPDX-License-Identifier: Apache-2.0 */
#include "base/brlock.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>

enum {
	NO_PLACE = BRLOCK_READERS + 1,
	/* A reader takes less, unless it was put off its processor. */
	SPINS = 1000,
};

_Thread_local unsigned brlock_place;

static uint32_t taken;	/* a bit for each place */
static uint32_t places; /* none was ever taken at or past it */
static pthread_mutex_t places_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_key_t key;
static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static bool has_key;

static_assert(BRLOCK_READERS == 32, "a bit for each");

/* The thread ends. It may yet read, in another destructor: the slow way. */
static void give_back(void *place)
{
	pthread_mutex_lock(&places_lock);
	taken &= ~(UINT32_C(1) << (brlock_place - 1));
	brlock_place = NO_PLACE;
	pthread_mutex_unlock(&places_lock);
}

static void make_key(void)
{
	has_key = pthread_key_create(&key, give_back) == 0;
}

/* The lowest one, so that writers have few to look at. */
static unsigned find_place(void)
{
	unsigned place;

	if (taken == UINT32_MAX)
		return NO_PLACE;
	place = (unsigned)__builtin_ctz(~taken) + 1;
	/* Any value but NULL makes the destructor run. */
	if (pthread_setspecific(key, &taken) != 0)
		return NO_PLACE;
	taken |= UINT32_C(1) << (place - 1);
	if (place > places)
		store_seq_cst(&places, place);
	return place;
}

void brlock_take_place(void)
{
	pthread_once(&key_once, make_key);
	pthread_mutex_lock(&places_lock);
	brlock_place = has_key ? find_place() : NO_PLACE;
	pthread_mutex_unlock(&places_lock);
}

void brlock_begin_write(struct brlock *lock)
{
	uint32_t count;

	store_seq_cst(&lock->writing, 1);
	/* Who gets a place later sees that we write. */
	count = load_seq_cst(&places);
	for (uint32_t i = 0; i < count; i++) {
		for (unsigned spins = 0;
		     load_seq_cst(&lock->readers[i].reading) != 0; spins++) {
			if (spins < SPINS)
				cpu_relax();
			else
				sched_yield();
		}
	}
}
