/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that compress and decompress clusters, each with a codec of its own.
 * A job lies in its submitter's storage and goes into a list: submitting
 * allocates nothing and cannot fail. Its end is a message to the submitter's
 * loop, so that whoever waits there needs no lock.
 */
#ifndef IMAGE_CODEC_POOL_H
#define IMAGE_CODEC_POOL_H

#include "base/loop.h"
#include "image/codec.h"

enum {
	CODEC_POOL_MAX_THREADS = 64,
};

struct codec_pool;

/* The submitter's until codec_pool_submit, and again once @message has run. */
struct codec_job {
	struct loop *loop;
	struct loop_message message; /* its run is set by the submitter */
	bool compress;		     /* codec_compress; else _decompress */
	bool may_be_short;	     /* codec_decompress_short */
	enum image_codec kind;
	int level;
	const void *from;
	size_t from_bytes;
	void *to;
	size_t to_bytes;
	size_t ret_bytes; /* of a compressed stream */
	int result;	  /* what the codec answered */
	struct codec_job *next;
};

/* @threads of them, 0: as many as the process has processors. */
int codec_pool_new(unsigned threads, struct codec_pool **ret_pool);

/*
 * No job may be under way. Before the loops that were posted to are freed.
 * Accepts NULL.
 */
void codec_pool_free(struct codec_pool *pool);

/* Any thread. */
void codec_pool_submit(struct codec_pool *pool, struct codec_job *job);

unsigned codec_pool_threads(const struct codec_pool *pool);

/* Carries out @job at once, on this thread; no message. */
void codec_job_run(struct codec *codec, struct codec_job *job);

#endif
