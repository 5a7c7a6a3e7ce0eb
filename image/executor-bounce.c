/* SPDX-License-Identifier: Apache-2.0 */
/*
 * O_DIRECT where the caller's memory, offset or length is not aligned: through
 * an aligned buffer, a piece at a time.
 *
 * A part of a block is written with the store's synchronous call, which reads
 * the block, changes it and writes it back under the store's own lock: two
 * writes to the two halves of a block never lose each other, on whichever threads
 * they are. It blocks the loop meanwhile; a device announces the store's
 * block size so that its guest has no reason to come here. (A guest that writes a
 * part of a block while it also writes the whole of it, without waiting for
 * either, may find any mixture of the two.)
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "image/executor-private.h"

static void give_back(struct executor_transfer *transfer)
{
	executor_give_buffer(transfer->executor, transfer->bounce);
	transfer->bounce = NULL;
}

static void end(struct executor_transfer *transfer, int result)
{
	give_back(transfer);
	transfer_end_later(transfer, result);
}

static void next_round(struct executor_transfer *transfer)
{
	give_back(transfer);
	if (transfer->left == 0)
		transfer_end_later(transfer, 0);
	else
		transfer_run(transfer);
}

/* Of the blocks that were read, the caller's bytes; zeroes past the end. */
static void take_blocks(struct executor_transfer *transfer, size_t got)
{
	size_t skip = transfer->offset & (transfer->file->store->alignment - 1);
	size_t bytes = MIN(transfer->bounce_bytes - skip, transfer->left);

	if (got > skip)
		bytes = MIN(bytes, got - skip);
	else
		memset(transfer->bounce + skip, 0, bytes);
	transfer_copy(transfer, transfer->bounce + skip, bytes);
	transfer_advance(transfer, bytes);
}

static void bounced(struct loop_op *op, int32_t result, uint32_t flags)
{
	struct executor_transfer *transfer =
		container_of(op, struct executor_transfer, op);
	struct executor *executor = transfer->executor;

	if (result == -EAGAIN || result == -EINTR) {
		next_round(transfer);
	} else if (result < 0) {
		end(transfer, result);
	} else if (transfer->kind == TRANSFER_READ) {
		take_blocks(transfer, result);
		next_round(transfer);
	} else if (result == 0) {
		end(transfer, -EIO);
	} else {
		transfer_advance(transfer, result);
		next_round(transfer);
	}
	executor_run(executor);
}

static void submit(struct executor_transfer *transfer, uint64_t offset,
		   size_t bytes)
{
	struct executor_file *file = transfer->file;
	struct io_uring_sqe *sqe = loop_sqe(transfer->executor->loop);
	bool write = transfer->kind == TRANSFER_WRITE;

	transfer->bounce_bytes = bytes;
	io_uring_prep_rw(write ? IORING_OP_WRITE : IORING_OP_READ, sqe,
			 file->fd, transfer->bounce, bytes,
			 file->store->fd_offset + offset);
	sqe->flags = file->sqe_flags;
	transfer->op.done = bounced;
	loop_bind(sqe, &transfer->op);
}

static void read_blocks(struct executor_transfer *transfer)
{
	uint32_t alignment = transfer->file->store->alignment;
	uint64_t start = align_down(transfer->offset, alignment);
	uint64_t bytes = transfer->offset - start + transfer->left;

	submit(transfer, start,
	       MIN(align_up(bytes, alignment),
		   (uint64_t)transfer->executor->buffer_bytes));
}

static void write_part_of_block(struct executor_transfer *transfer)
{
	struct store *store = transfer->file->store;
	uint64_t skip = transfer->offset & (store->alignment - 1);
	uint64_t bytes = MIN(transfer->left, store->alignment - skip);
	int err;

	transfer_copy(transfer, transfer->bounce, bytes);
	err = store_write(store, transfer->offset, transfer->bounce, bytes);
	transfer_advance(transfer, bytes);
	if (err < 0)
		end(transfer, err);
	else
		next_round(transfer);
}

static void write_blocks(struct executor_transfer *transfer)
{
	uint64_t bytes = align_down(
		MIN(transfer->left, (uint64_t)transfer->executor->buffer_bytes),
		transfer->file->store->alignment);

	transfer_copy(transfer, transfer->bounce, bytes);
	submit(transfer, transfer->offset, bytes);
}

void executor_bounce(struct executor_transfer *transfer)
{
	struct executor *executor = transfer->executor;
	uint32_t alignment = transfer->file->store->alignment;

	if (transfer->cipher) {
		executor_crypt(transfer);
		return;
	}
	transfer->bounce = executor_take_buffer(executor);
	if (!transfer->bounce) {
		transfer->next = executor->bounce_waiters;
		executor->bounce_waiters = transfer;
	} else if (transfer->kind == TRANSFER_READ) {
		read_blocks(transfer);
	} else if (transfer->left < alignment ||
		   !is_aligned(transfer->offset, alignment)) {
		write_part_of_block(transfer);
	} else {
		write_blocks(transfer);
	}
}

void executor_bounce_waiters(struct executor *executor)
{
	struct executor_transfer *transfer = executor->bounce_waiters;

	executor->bounce_waiters = NULL;
	while (transfer) {
		struct executor_transfer *next = transfer->next;

		executor_bounce(transfer);
		transfer = next;
	}
}
