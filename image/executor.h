/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries out requests on an image: maps, transfers on io_uring, fills, copies,
 * decompresses, walks the backing chain, commits, flushes.
 *
 * One executor serves one image on one loop (one thread); an image may have
 * several executors, each on its own thread. Plain data goes from the caller's
 * buffers to the store in one readv or writev. Nothing is allocated while
 * requests run: the executor's pools are made at the start, and a request that
 * finds them empty waits for its turn.
 */
#ifndef IMAGE_EXECUTOR_H
#define IMAGE_EXECUTOR_H

#include <sys/uio.h>

#include "base/iov.h"
#include "base/loop.h"
#include "image/image.h"

struct codec_pool;
struct executor;

enum executor_op {
	EXECUTOR_READ,
	EXECUTOR_WRITE,
	/*
	 * As WRITE, and stored compressed where that is smaller: whole clusters,
	 * but for the image's last one. -ENOTSUP unless the executor was made to
	 * compress.
	 */
	EXECUTOR_WRITE_COMPRESSED,
	EXECUTOR_ZERO,
	EXECUTOR_DISCARD,
	EXECUTOR_FLUSH,
};

/*
 * One request, in the caller's storage (zeroed, then the first part set) from
 * executor_submit until @done is called.
 */
struct executor_request {
	enum executor_op op;
	uint64_t offset;	 /* guest bytes */
	uint64_t length;	 /* READ, WRITE*: the sum of @iov */
	const struct iovec *iov; /* borrowed until done; READ and WRITE* */
	unsigned iov_count;
	/*
	 * Called once, on the executor's thread, possibly before
	 * executor_submit returns. @result is 0 or a negative errno; -EIO for
	 * an image that turned out corrupt (image_error says how).
	 */
	void (*done)(struct executor_request *request, int result);

	/* The executor's own. */
	struct loop_op loop_op;
	struct executor *executor;
	struct executor_request *next;
	struct iov_cursor cursor; /* over @iov, at @at */
	uint64_t at;		  /* bytes done or under way */
	uint32_t pending;	  /* parts under way */
	int result;
	uint8_t state;
	uint8_t parity;
	bool nested;  /* a fill's own, or a pack's */
	bool packed;  /* a pack's: see executor-packed.c */
	bool counted; /* in the executor's live requests */
};

struct executor_config {
	unsigned depth;	   /* requests at once; more wait in a list */
	bool writethrough; /* flush after each write before @done */
	bool no_sync;	   /* flushes write, and never wait for the disk */
	/*
	 * What compresses and decompresses; outlives the executor. NULL: its
	 * own thread. With a pool, data is decompressed straight to the buffers
	 * of the request where these take whole clusters.
	 */
	struct codec_pool *pool;
	bool compress; /* make what EXECUTOR_WRITE_COMPRESSED needs */
	int level;     /* of compression, as for codec_compress */
	/*
	 * Transfers through the page cache are carried out by the executor's
	 * thread, which may sleep in them. For bulk copies with a thread per
	 * processor: io_uring hands each buffered write to a worker.
	 */
	bool in_line;
};

int executor_new(struct loop *loop, struct image *image,
		 const struct executor_config *config,
		 struct executor **ret_executor);

/* All requests must have ended; not from within a done. */
void executor_free(struct executor *executor);

/* Starts @request; the SQEs go out at the loop's next submit. */
void executor_submit(struct executor *executor,
		     struct executor_request *request);

void executor_set_writethrough(struct executor *executor, bool on);

/* Requests submitted and not done. */
unsigned executor_in_flight(const struct executor *executor);

#endif
