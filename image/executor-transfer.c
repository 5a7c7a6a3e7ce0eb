/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A transfer moves bytes between memory, in up to three parts, and one
 * contiguous range of a store. It goes in rounds of at most TRANSFER_IOV
 * segments; a short read or write is simply a round that moved less.
 */
#include <errno.h>
#include <linux/falloc.h>

#include "base/bytes.h"
#include "image/executor-private.h"

_Alignas(4096) char executor_zeroes[ZEROES_BYTES];

enum {
	MIN_HOLE_BYTES = 65536,
};

void transfer_set_iov(struct executor_transfer *transfer, struct iov_cursor at,
		      uint64_t bytes)
{
	transfer->left = bytes;
	transfer->parts[0] = (struct transfer_part){.at = at, .left = bytes};
	transfer->parts[1].left = 0;
	transfer->parts[2].left = 0;
}

void transfer_set_buffer(struct executor_transfer *transfer, void *data,
			 uint64_t bytes)
{
	transfer->single = (struct iovec){.iov_base = data, .iov_len = bytes};
	transfer_set_iov(transfer, iov_cursor(&transfer->single, 1), bytes);
}

void transfer_set_zeroes(struct executor_transfer *transfer, uint64_t bytes)
{
	transfer_set_iov(transfer, iov_cursor(NULL, 0), bytes);
	transfer->parts[0].zeroes = true;
}

void transfer_end_later(struct executor_transfer *transfer, int result)
{
	struct executor *executor = transfer->executor;

	transfer->result = result;
	transfer->next = NULL;
	*executor->ended_tail = transfer;
	executor->ended_tail = &transfer->next;
}

static unsigned slice_zeroes(struct transfer_part part, struct iovec *iov,
			     unsigned max, size_t *bytes)
{
	unsigned count = 0;

	for (*bytes = 0; count < max && part.left > 0; count++) {
		size_t length = MIN(part.left, (uint64_t)ZEROES_BYTES);

		iov[count] = (struct iovec){.iov_base = executor_zeroes,
					    .iov_len = length};
		part.left -= length;
		*bytes += length;
	}
	return count;
}

/* The next segments, at most @max_bytes, without moving on. */
unsigned transfer_slice(struct executor_transfer *transfer, uint64_t max_bytes)
{
	unsigned count = 0;

	for (unsigned i = 0; i < TRANSFER_PARTS; i++) {
		struct transfer_part part = transfer->parts[i];
		unsigned max = TRANSFER_IOV - count;
		size_t bytes = 0;

		part.left = MIN(part.left, max_bytes);
		if (part.left == 0)
			continue;
		if (part.zeroes)
			count += slice_zeroes(part, transfer->iov + count, max,
					      &bytes);
		else
			count += iov_slice(&part.at, part.left,
					   transfer->iov + count, max, &bytes);
		max_bytes -= bytes;
		if (bytes < transfer->parts[i].left)
			break;
	}
	return count;
}

void transfer_advance(struct executor_transfer *transfer, uint64_t bytes)
{
	transfer->offset += bytes;
	transfer->left -= bytes;
	for (unsigned i = 0; i < TRANSFER_PARTS && bytes > 0; i++) {
		struct transfer_part *part = &transfer->parts[i];
		uint64_t moved = MIN(part->left, bytes);

		if (!part->zeroes)
			iov_skip(&part->at, moved);
		part->left -= moved;
		bytes -= moved;
	}
}

/* The next @bytes between memory and @buffer; does not move on. */
void transfer_copy(struct executor_transfer *transfer, char *buffer,
		   uint64_t bytes)
{
	for (unsigned i = 0; i < TRANSFER_PARTS && bytes > 0; i++) {
		struct transfer_part part = transfer->parts[i];
		uint64_t length = MIN(part.left, bytes);

		if (transfer->kind == TRANSFER_READ)
			iov_write(&part.at, buffer, length);
		else if (part.zeroes)
			memset(buffer, 0, length);
		else
			iov_read(&part.at, buffer, length);
		buffer += length;
		bytes -= length;
	}
}

static void fill_with_zeroes(struct executor_transfer *transfer)
{
	for (unsigned i = 0; i < TRANSFER_PARTS; i++)
		iov_fill(&transfer->parts[i].at, 0, transfer->parts[i].left);
	transfer->left = 0;
}

/* A round has moved @result bytes, or failed. */
void transfer_moved(struct executor_transfer *transfer, int32_t result)
{
	if (result > 0) {
		transfer_advance(transfer, result);
	} else if (result == 0) {
		/* Where the store ends, it reads as zeroes. */
		if (transfer->kind == TRANSFER_READ)
			fill_with_zeroes(transfer);
		else
			result = -EIO;
	}
	if (result < 0 && result != -EAGAIN && result != -EINTR)
		transfer->ended(transfer, result);
	else if (transfer->left == 0)
		transfer->ended(transfer, 0);
	else
		transfer_run(transfer);
}

static void moved(struct loop_op *op, int32_t result, uint32_t flags)
{
	struct executor_transfer *transfer =
		container_of(op, struct executor_transfer, op);
	struct executor *executor = transfer->executor;

	transfer_moved(transfer, result);
	executor_run(executor);
}

static void submit(struct executor_transfer *transfer, unsigned count)
{
	struct executor *executor = transfer->executor;
	struct executor_file *file = transfer->file;
	uint64_t offset = file->store->fd_offset + transfer->offset;
	bool write = transfer->kind == TRANSFER_WRITE;
	struct io_uring_sqe *sqe;

	transfer->op.done = moved;
	if (file->in_line &&
	    executor_add_inline(executor, file, write, transfer->iov, count,
				offset, &transfer->op))
		return;
	sqe = loop_sqe(executor->loop);
	io_uring_prep_rw(write ? IORING_OP_WRITEV : IORING_OP_READV, sqe,
			 file->fd, transfer->iov, count, offset);
	sqe->flags = file->sqe_flags;
	loop_bind(sqe, &transfer->op);
}

bool transfer_is_unsupported(int result)
{
	return result == -EOPNOTSUPP || result == -EINVAL ||
	       result == -ENOSYS || result == -ENODEV || result == -EPERM;
}

/* No cheap way to zero: with written zeroes, then. */
void transfer_write_zeroes(struct executor_transfer *transfer)
{
	transfer->kind = TRANSFER_WRITE;
	transfer_set_zeroes(transfer, transfer->left);
	transfer_run(transfer);
}

void transfer_allocated(struct executor_transfer *transfer, int result)
{
	if (!transfer_is_unsupported(result))
		transfer->ended(transfer, result);
	else if (transfer->kind == TRANSFER_ZERO)
		transfer_write_zeroes(transfer);
	else
		transfer->ended(transfer, 0); /* a discard is advice */
}

/* ZERO: by range, else by a hole (tmpfs), else by writing. */
static void zero_otherwise(struct executor_transfer *transfer, int32_t result)
{
	struct executor_file *file = transfer->file;

	/* -EINVAL may be this range's alone, not the file's. */
	if (result != -EINVAL && file->no_zero_range)
		file->no_punch = true;
	else if (result != -EINVAL)
		file->no_zero_range = true;
	if (result == -EINVAL || file->no_punch)
		transfer_write_zeroes(transfer);
	else
		transfer_run(transfer);
}

static void fallocated(struct loop_op *op, int32_t result, uint32_t flags)
{
	struct executor_transfer *transfer =
		container_of(op, struct executor_transfer, op);
	struct executor *executor = transfer->executor;

	if (result == -EINTR || result == -EAGAIN)
		transfer_run(transfer);
	else if (transfer->kind == TRANSFER_ZERO &&
		 transfer_is_unsupported(result))
		zero_otherwise(transfer, result);
	else
		transfer_allocated(transfer, result);
	executor_run(executor);
}

static void submit_fallocate(struct executor_transfer *transfer)
{
	struct executor_file *file = transfer->file;
	struct io_uring_sqe *sqe = loop_sqe(transfer->executor->loop);
	bool punch = transfer->kind == TRANSFER_PUNCH || file->no_zero_range;

	io_uring_prep_fallocate(
		sqe, file->fd,
		FALLOC_FL_KEEP_SIZE |
			(punch ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE),
		file->store->fd_offset + transfer->offset, transfer->left);
	sqe->flags = file->sqe_flags;
	transfer->op.done = fallocated;
	loop_bind(sqe, &transfer->op);
}

/*
 * A write to another part of a block, by way of a bounce buffer, would bring
 * back what was zeroed in the file meanwhile: both go by way of the lock then.
 */
static bool shares_blocks(const struct executor_transfer *transfer)
{
	return !is_aligned(transfer->offset | transfer->left,
			   transfer->file->store->alignment);
}

/*
 * Where zeroes can only be had by a hole, a small one saves little and makes a
 * file look sparse that is not.
 */
static bool is_small_hole(const struct executor_transfer *transfer)
{
	return transfer->file->no_zero_range && transfer->left < MIN_HOLE_BYTES;
}

static void run_allocate(struct executor_transfer *transfer)
{
	struct executor_file *file = transfer->file;

	if (file->fd < 0)
		executor_store_allocate(transfer);
	else if (transfer->kind == TRANSFER_ZERO &&
		 (file->no_punch || shares_blocks(transfer) ||
		  is_small_hole(transfer)))
		transfer_write_zeroes(transfer);
	else
		submit_fallocate(transfer);
}

bool executor_is_aligned(const struct store *store, uint64_t offset,
			 const struct iovec *iov, size_t count)
{
	uint64_t bits = offset;

	for (size_t i = 0; i < count; i++)
		bits |= (uintptr_t)iov[i].iov_base | iov[i].iov_len;
	return is_aligned(bits, store->alignment);
}

/*
 * How much of the transfer lies in the store. A slice or a device is a wall:
 * what lies behind it is somebody else's.
 */
static uint64_t within_store(const struct executor_transfer *transfer)
{
	const struct store *store = transfer->file->store;

	if (store->can_grow)
		return TRANSFER_MAX_BYTES;
	if (transfer->offset >= store->size_bytes)
		return 0;
	return MIN(store->size_bytes - transfer->offset,
		   (uint64_t)TRANSFER_MAX_BYTES);
}

/* The next round. */
void transfer_run(struct executor_transfer *transfer)
{
	const struct store *store = transfer->file->store;
	uint64_t within = within_store(transfer);
	unsigned count;

	if (transfer->cipher) {
		executor_crypt(transfer);
		return;
	}
	if (transfer->kind == TRANSFER_ZERO ||
	    transfer->kind == TRANSFER_PUNCH) {
		run_allocate(transfer);
		return;
	}
	if (within == 0) {
		fill_with_zeroes(transfer);
		transfer_end_later(transfer, 0);
		return;
	}
	if (transfer->file->fd < 0) {
		executor_store_move(transfer, within);
		return;
	}
	count = transfer_slice(transfer, within);
	if (store->alignment > 1 &&
	    !executor_is_aligned(store, transfer->offset, transfer->iov, count))
		executor_bounce(transfer);
	else
		submit(transfer, count);
}

void transfer_start(struct executor_transfer *transfer)
{
	const struct store *store = transfer->file->store;

	if (transfer->left == 0)
		transfer_end_later(transfer, 0);
	else if (transfer->kind != TRANSFER_READ && !store->can_grow &&
		 !range_fits(transfer->offset, transfer->left,
			     store->size_bytes))
		transfer_end_later(transfer, -ENOSPC);
	else
		transfer_run(transfer);
}
