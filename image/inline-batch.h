/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transfers to files that live in memory (tmpfs, ramfs): many in one system
 * call, done when the call returns.
 *
 * Such files cannot be read "without waiting" (RWF_NOWAIT), so io_uring hands
 * each operation to a worker thread, although it would never sleep. The older
 * io_submit(2) carries a whole batch out in the caller, which for memory is
 * exactly right: one entry into the kernel and no second thread. On anything
 * that may wait for a device it would stall the caller; image/executor.c uses
 * it for stores that inline_batch_suits() vouches for.
 *
 * One batch belongs to one thread.
 */
#ifndef IMAGE_INLINE_BATCH_H
#define IMAGE_INLINE_BATCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/loop.h"

enum {
	INLINE_BATCH_MAX = 128
};

struct inline_batch;

/* True if @fd is a file whose pages are its storage (fstatfs(2)). */
bool inline_batch_suits(int fd);

/* 0 or -ENOMEM. Where the kernel lacks native AIO, transfers go one by one. */
int inline_batch_new(struct inline_batch **ret_batch);
void inline_batch_free(struct inline_batch *batch); /* accepts NULL */

/*
 * Adds a transfer of @iov (borrowed until it is done). False if the batch is
 * full: run it first. The result goes to op->done as io_uring would give it.
 */
bool inline_batch_add(struct inline_batch *batch, int fd, bool write,
		      const struct iovec *iov, unsigned iov_count,
		      uint64_t offset, struct loop_op *op);

/*
 * Carries out what was added and calls each done, which may add again (for the
 * next run). Returns how many were done.
 */
unsigned inline_batch_run(struct inline_batch *batch);

#endif
