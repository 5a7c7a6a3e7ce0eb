/* SPDX-License-Identifier: Apache-2.0 */
#include "image/inline-batch.h"

#include <errno.h>
#include <linux/aio_abi.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/barrier.h"
#include "base/bytes.h"

enum {
	/* The copy of so much takes far longer than the call that asks for it. */
	LARGE_BYTES = 65536,
};

/* One side collects while the other is carried out. */
struct side {
	struct iocb iocbs[INLINE_BATCH_MAX];
	struct iocb *pointers[INLINE_BATCH_MAX];
	unsigned count;
	uint64_t bytes; /* of all of them */
};

struct inline_batch {
	aio_context_t context; /* 0: not made yet, or there is none to be had */
	bool no_context;
	struct side sides[2];
	unsigned adding; /* which side inline_batch_add fills */
	bool running;	 /* a done function may end up in a run again */
};

/*
 * The head of the completion ring that the kernel maps at the context's
 * address (fs/aio.c): readable without a system call when the magic says that
 * it has this shape.
 */
struct completion_ring {
	uint32_t id;
	uint32_t count;
	uint32_t head;
	uint32_t tail;
	uint32_t magic;
	uint32_t compat_features;
	uint32_t incompat_features;
	uint32_t header_bytes;
	struct io_event events[];
};

static const uint32_t ring_magic = 0xa10a10a1;

bool inline_batch_suits(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return false;
	return fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC;
}

int inline_batch_new(struct inline_batch **ret_batch)
{
	struct inline_batch *batch = calloc(1, sizeof(*batch));

	if (!batch)
		return -ENOMEM;
	for (size_t s = 0; s < ARRAY_SIZE(batch->sides); s++) {
		struct side *side = &batch->sides[s];

		for (size_t i = 0; i < INLINE_BATCH_MAX; i++)
			side->pointers[i] = &side->iocbs[i];
	}
	*ret_batch = batch;
	return 0;
}

void inline_batch_free(struct inline_batch *batch)
{
	if (!batch)
		return;
	if (batch->context)
		syscall(SYS_io_destroy, batch->context);
	free(batch);
}

bool inline_batch_add(struct inline_batch *batch, int fd, bool write,
		      const struct iovec *iov, unsigned iov_count,
		      uint64_t offset, struct loop_op *op)
{
	struct side *side = &batch->sides[batch->adding];

	if (side->count == INLINE_BATCH_MAX)
		return false;
	for (unsigned i = 0; i < iov_count; i++)
		side->bytes += iov[i].iov_len;
	side->iocbs[side->count++] = (struct iocb){
		.aio_data = (uintptr_t)op,
		.aio_lio_opcode = write ? IOCB_CMD_PWRITEV : IOCB_CMD_PREADV,
		.aio_fildes = fd,
		.aio_buf = (uintptr_t)iov,
		.aio_nbytes = iov_count,
		.aio_offset = offset,
	};
	return true;
}

static void run_plain(const struct iocb *iocb)
{
	struct loop_op *op = (struct loop_op *)(uintptr_t)iocb->aio_data;
	const struct iovec *iov =
		(const struct iovec *)(uintptr_t)iocb->aio_buf;
	ssize_t result;

	if (iocb->aio_lio_opcode == IOCB_CMD_PWRITEV)
		result = pwritev(iocb->aio_fildes, iov, iocb->aio_nbytes,
				 iocb->aio_offset);
	else
		result = preadv(iocb->aio_fildes, iov, iocb->aio_nbytes,
				iocb->aio_offset);
	op->done(op, result < 0 ? -errno : result, 0);
}

static void event_done(const struct io_event *event)
{
	struct loop_op *op = (struct loop_op *)(uintptr_t)event->data;

	op->done(op, event->res, 0);
}

/* Takes one event from the ring; false if there is none. */
static bool take_event(struct inline_batch *batch, struct io_event *ret_event)
{
	struct completion_ring *ring = (void *)(uintptr_t)batch->context;
	uint32_t head = ring->head;

	if (ring->magic != ring_magic || ring->incompat_features != 0)
		return syscall(SYS_io_getevents, batch->context, 1, 1,
			       ret_event, NULL) == 1;
	/* Pairs with the kernel's barrier before it moves the tail. */
	if (head == load_acquire(&ring->tail))
		return false;
	*ret_event = ring->events[head];
	store_release(&ring->head, (head + 1) % ring->count);
	return true;
}

/* Submits [from, count) of @side; returns how many the kernel took. */
static unsigned submit(struct inline_batch *batch, struct side *side,
		       unsigned from)
{
	long taken = syscall(SYS_io_submit, batch->context, side->count - from,
			     side->pointers + from);

	return taken > 0 ? taken : 0;
}

/*
 * The context is made when it is wanted first: to end one costs some 20 ms of
 * waiting, a tenth of what a whole conversion may take.
 */
static bool has_context(struct inline_batch *batch)
{
	if (!batch->context && !batch->no_context)
		batch->no_context = syscall(SYS_io_setup, INLINE_BATCH_MAX,
					    &batch->context) < 0;
	return !batch->no_context;
}

/* One transfer, or a large one, costs less as a plain call than in a batch. */
static bool is_worth_it(const struct side *side)
{
	return side->count > 1 && side->bytes / side->count < LARGE_BYTES;
}

static void run_side(struct inline_batch *batch, struct side *side)
{
	bool batched = is_worth_it(side) && has_context(batch);
	unsigned at = 0;

	while (at < side->count) {
		unsigned taken = 0;

		if (batched && side->count - at > 1)
			taken = submit(batch, side, at);
		if (taken == 0) {
			/* Or one that the kernel did not take. */
			run_plain(&side->iocbs[at++]);
			continue;
		}
		at += taken;
		while (taken > 0) {
			struct io_event event;

			if (take_event(batch, &event)) {
				event_done(&event);
				taken--;
			} else {
				cpu_relax();
			}
		}
	}
}

unsigned inline_batch_run(struct inline_batch *batch)
{
	struct side *side = &batch->sides[batch->adding];
	unsigned count = side->count;

	if (count == 0 || batch->running)
		return 0;
	/* done may add to the other side. */
	batch->running = true;
	batch->adding ^= 1;
	run_side(batch, side);
	side->count = 0;
	side->bytes = 0;
	batch->running = false;
	return count;
}
