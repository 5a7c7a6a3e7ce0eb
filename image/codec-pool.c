/* SPDX-License-Identifier: Apache-2.0 */
#include "image/codec-pool.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>

#include "base/bytes.h"

struct worker {
	struct codec_pool *pool;
	struct codec *codec;
	pthread_t thread;
};

struct codec_pool {
	pthread_mutex_t lock;
	pthread_cond_t wanted;
	struct codec_job *first, *last;
	bool ending;
	unsigned count; /* of workers that run */
	struct worker workers[];
};

void codec_job_run(struct codec *codec, struct codec_job *job)
{
	if (job->compress)
		job->result =
			codec_compress(codec, job->kind, job->level, job->from,
				       job->from_bytes, job->to, job->to_bytes,
				       &job->ret_bytes);
	else if (job->may_be_short)
		job->result = codec_decompress_short(codec, job->kind,
						     job->from, job->from_bytes,
						     job->to, job->to_bytes);
	else
		job->result = codec_decompress(codec, job->kind, job->from,
					       job->from_bytes, job->to,
					       job->to_bytes);
}

/* NULL at the end. */
static struct codec_job *take(struct codec_pool *pool)
{
	struct codec_job *job;

	pthread_mutex_lock(&pool->lock);
	while (!pool->first && !pool->ending)
		pthread_cond_wait(&pool->wanted, &pool->lock);
	job = pool->first;
	if (job)
		pool->first = job->next;
	pthread_mutex_unlock(&pool->lock);
	return job;
}

static void *work(void *arg)
{
	struct worker *worker = arg;
	struct codec_job *job;

	while ((job = take(worker->pool))) {
		codec_job_run(worker->codec, job);
		loop_post(job->loop, &job->message);
	}
	return NULL;
}

static unsigned count_processors(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return 1;
	return MAX(CPU_COUNT(&set), 1);
}

/* Signals are for the threads that know of them. */
static int start(struct worker *worker)
{
	sigset_t all, old;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = -pthread_create(&worker->thread, NULL, work, worker);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return err;
}

static int add_worker(struct codec_pool *pool)
{
	struct worker *worker = &pool->workers[pool->count];
	int err = codec_new(&worker->codec);

	worker->pool = pool;
	if (err == 0)
		err = start(worker);
	if (err == 0)
		pool->count++;
	else
		codec_free(worker->codec);
	return err;
}

int codec_pool_new(unsigned threads, struct codec_pool **ret_pool)
{
	struct codec_pool *pool;
	int err = 0;

	if (threads == 0)
		threads = count_processors();
	threads = MIN(threads, (unsigned)CODEC_POOL_MAX_THREADS);
	pool = calloc(1, sizeof(*pool) + threads * sizeof(struct worker));
	if (!pool)
		return -ENOMEM;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->wanted, NULL);
	while (pool->count < threads && err == 0)
		err = add_worker(pool);
	if (err < 0) {
		codec_pool_free(pool);
		return err;
	}
	*ret_pool = pool;
	return 0;
}

void codec_pool_free(struct codec_pool *pool)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->ending = true;
	pthread_cond_broadcast(&pool->wanted);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < pool->count; i++) {
		pthread_join(pool->workers[i].thread, NULL);
		codec_free(pool->workers[i].codec);
	}
	pthread_cond_destroy(&pool->wanted);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

void codec_pool_submit(struct codec_pool *pool, struct codec_job *job)
{
	job->next = NULL;
	pthread_mutex_lock(&pool->lock);
	if (pool->first)
		pool->last->next = job;
	else
		pool->first = job;
	pool->last = job;
	pthread_cond_signal(&pool->wanted);
	pthread_mutex_unlock(&pool->lock);
}

unsigned codec_pool_threads(const struct codec_pool *pool)
{
	return pool->count;
}
