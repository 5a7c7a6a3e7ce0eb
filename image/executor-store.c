/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transfers of stores that have no descriptor. What a store carries out by
 * itself (store_submit) ends on a thread of its own, which posts a message to the
 * executor's loop; the rest of the transfer goes on from there. All else is done
 * by the store's synchronous calls, here and now.
 */
#include <errno.h>

#include "base/bytes.h"
#include "image/executor-private.h"

static bool allocates(const struct executor_transfer *transfer)
{
	return transfer->kind == TRANSFER_ZERO ||
	       transfer->kind == TRANSFER_PUNCH;
}

/* On a thread of the store's. */
static void io_done(struct store_io *io, int result)
{
	struct executor_transfer *transfer =
		container_of(io, struct executor_transfer, io);

	transfer->io_result = result;
	loop_post(transfer->executor->loop, &transfer->io_ended);
}

static void io_ended(struct loop_message *message)
{
	struct executor_transfer *transfer =
		container_of(message, struct executor_transfer, io_ended);
	struct executor *executor = transfer->executor;
	int result = transfer->io_result;

	if (allocates(transfer))
		transfer_allocated(transfer, result);
	else
		transfer_moved(transfer,
			       result < 0 ? result
					  : (int32_t)transfer->io.length);
	executor_run(executor);
}

/* False if the store wants its synchronous call for it. */
static bool submit(struct executor_transfer *transfer, enum store_io_kind kind,
		   uint64_t length, unsigned count)
{
	transfer->io_ended.run = io_ended;
	transfer->io = (struct store_io){
		.kind = kind,
		.offset = transfer->offset,
		.length = length,
		.iov = iov_cursor(transfer->iov, count),
		.done = io_done,
	};
	return store_submit(transfer->file->store, &transfer->io);
}

static void run_sync(struct executor_transfer *transfer)
{
	struct store *store = transfer->file->store;
	int err = 0;

	while (transfer->left > 0 && err == 0) {
		unsigned count = transfer_slice(transfer, TRANSFER_MAX_BYTES);
		const struct iovec *iov = transfer->iov;

		for (; count > 0 && err == 0; count--, iov++) {
			err = transfer->kind == TRANSFER_READ
				      ? store_read(store, transfer->offset,
						   iov->iov_base, iov->iov_len)
				      : store_write(store, transfer->offset,
						    iov->iov_base,
						    iov->iov_len);
			transfer_advance(transfer, iov->iov_len);
		}
	}
	transfer_end_later(transfer, err);
}

void executor_store_move(struct executor_transfer *transfer, uint64_t within)
{
	bool read = transfer->kind == TRANSFER_READ;
	unsigned count;

	if (transfer->file->store->ops->submit) {
		count = transfer_slice(transfer, within);
		if (submit(transfer, read ? STORE_IO_READ : STORE_IO_WRITE,
			   iov_bytes(transfer->iov, count), count))
			return;
	}
	run_sync(transfer);
}

void executor_store_allocate(struct executor_transfer *transfer)
{
	struct store *store = transfer->file->store;
	bool zero = transfer->kind == TRANSFER_ZERO;
	int err;

	if (submit(transfer, zero ? STORE_IO_ZERO : STORE_IO_PUNCH,
		   transfer->left, 0))
		return;
	err = zero ? store_zero(store, transfer->offset, transfer->left)
		   : store_punch(store, transfer->offset, transfer->left);
	if (transfer_is_unsupported(err) && zero)
		transfer_write_zeroes(transfer);
	else
		transfer_end_later(transfer,
				   transfer_is_unsupported(err) ? 0 : err);
}
