/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transfers of an encrypted image. The caller's memory never holds ciphertext:
 * whole sectors are read into a buffer, decrypted there and copied out, or copied
 * in, encrypted and written, a buffer at a time.
 *
 * A part of a sector is written with synchronous calls, under the cipher's lock
 * for edges, since the rest of the sector has to be read and written along. As in
 * executor-bounce.c, a device announces sectors so that its guest has no reason to
 * ask for this.
 *
 * Zeroes are written as what they are encrypted to. A discard does nothing: a
 * hole would read as noise, and tell which sectors are in use.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "image/cipher.h"
#include "image/executor-private.h"

static void end(struct executor_transfer *transfer, int result)
{
	if (transfer->bounce)
		executor_give_buffer(transfer->executor, transfer->bounce);
	transfer->bounce = NULL;
	transfer_end_later(transfer, result);
}

static uint64_t sector_of(const struct executor_transfer *transfer,
			  uint64_t store_offset)
{
	return (store_offset + transfer->crypt_shift) / CIPHER_SECTOR_BYTES;
}

/* Reads and writes on the ring are multiples of this. */
static uint64_t unit(const struct executor_transfer *transfer)
{
	return MAX(transfer->file->store->alignment,
		   (uint32_t)CIPHER_SECTOR_BYTES);
}

/* In the store, of the buffer's first byte. */
static uint64_t round_start(const struct executor_transfer *transfer)
{
	if (transfer->kind == TRANSFER_WRITE)
		return transfer->offset;
	return align_down(transfer->offset, unit(transfer));
}

/* A read of blocks that reach past a wall stops there; zeroes follow. */
static uint64_t readable(const struct executor_transfer *transfer,
			 uint64_t start, uint64_t bytes)
{
	const struct store *store = transfer->file->store;

	if (store->can_grow)
		return bytes;
	if (start >= store->size_bytes)
		return 0;
	return MIN(bytes, store->size_bytes - start);
}

/* What was read, or is missing, is plaintext now and goes to the caller. */
static int take_sectors(struct executor_transfer *transfer)
{
	uint64_t start = round_start(transfer);
	uint64_t skip = transfer->offset - start;
	uint64_t bytes = MIN(transfer->bounce_bytes - skip, transfer->left);
	int err;

	memset(transfer->bounce + transfer->bounce_done, 0,
	       transfer->bounce_bytes - transfer->bounce_done);
	err = image_cipher_decrypt(transfer->cipher, sector_of(transfer, start),
				   transfer->bounce, transfer->bounce_bytes);
	if (err < 0)
		return err;
	transfer_copy(transfer, transfer->bounce + skip, bytes);
	transfer_advance(transfer, bytes);
	return 0;
}

static void submit(struct executor_transfer *transfer);

/* The buffer has been read or written as far as it will be. */
static void end_round(struct executor_transfer *transfer)
{
	int err = 0;

	if (transfer->kind == TRANSFER_READ)
		err = take_sectors(transfer);
	else
		transfer_advance(transfer, transfer->bounce_bytes);
	if (err < 0 || transfer->left == 0) {
		end(transfer, err);
		return;
	}
	executor_give_buffer(transfer->executor, transfer->bounce);
	transfer->bounce = NULL;
	transfer_run(transfer);
}

static void moved(struct executor_transfer *transfer, int32_t result)
{
	uint64_t done = transfer->bounce_done;

	if (result < 0 && result != -EAGAIN && result != -EINTR) {
		end(transfer, result);
		return;
	}
	if (result > 0)
		done += result;
	if (transfer->kind == TRANSFER_WRITE && result == 0) {
		end(transfer, -EIO);
		return;
	}
	/* A read that stops within a block has met the end of the file. */
	if (done >= transfer->bounce_bytes || result == 0 ||
	    (transfer->kind == TRANSFER_READ &&
	     !is_aligned(done, unit(transfer)))) {
		transfer->bounce_done = MIN(done, transfer->bounce_bytes);
		end_round(transfer);
		return;
	}
	transfer->bounce_done =
		align_down(done, transfer->file->store->alignment);
	submit(transfer);
}

static void ring_moved(struct loop_op *op, int32_t result, uint32_t flags)
{
	struct executor_transfer *transfer =
		container_of(op, struct executor_transfer, op);
	struct executor *executor = transfer->executor;

	moved(transfer, result);
	executor_run(executor);
}

/* What is left of the round. */
static void submit(struct executor_transfer *transfer)
{
	struct executor_file *file = transfer->file;
	bool write = transfer->kind == TRANSFER_WRITE;
	uint64_t start = round_start(transfer) + transfer->bounce_done;
	uint64_t bytes = transfer->bounce_bytes - transfer->bounce_done;
	uint64_t offset = file->store->fd_offset + start;
	struct io_uring_sqe *sqe;

	if (!write)
		bytes = readable(transfer, start, bytes);
	if (bytes == 0) {
		end_round(transfer);
		return;
	}
	transfer->op.done = ring_moved;
	transfer->iov[0] = (struct iovec){
		.iov_base = transfer->bounce + transfer->bounce_done,
		.iov_len = bytes,
	};
	if (file->in_line &&
	    executor_add_inline(transfer->executor, file, write, transfer->iov,
				1, offset, &transfer->op))
		return;
	sqe = loop_sqe(transfer->executor->loop);
	io_uring_prep_rw(write ? IORING_OP_WRITE : IORING_OP_READ, sqe,
			 file->fd, transfer->iov[0].iov_base, bytes, offset);
	sqe->flags = file->sqe_flags;
	loop_bind(sqe, &transfer->op);
}

static void read_sectors(struct executor_transfer *transfer)
{
	uint64_t skip = transfer->offset - round_start(transfer);
	uint64_t room = transfer->executor->buffer_bytes;

	/* Before the sum, which a length near the top would wrap. */
	room = MIN(room - skip, transfer->left) + skip;
	transfer->bounce_bytes = align_up(room, unit(transfer));
	transfer->bounce_done = 0;
}

/* The next @bytes, which are whole sectors, encrypted in the buffer. */
static int fill_buffer(struct executor_transfer *transfer, uint64_t bytes)
{
	transfer->bounce_bytes = bytes;
	transfer->bounce_done = 0;
	transfer_copy(transfer, transfer->bounce, bytes);
	return image_cipher_encrypt(transfer->cipher,
				    sector_of(transfer, transfer->offset),
				    transfer->bounce, bytes);
}

static int change_sector(struct executor_transfer *transfer, uint64_t start,
			 uint64_t skip, uint64_t bytes)
{
	struct store *store = transfer->file->store;
	uint64_t sector = sector_of(transfer, start);
	char *buffer = transfer->bounce;
	int err;

	err = store_read(store, start, buffer, CIPHER_SECTOR_BYTES);
	if (err == 0)
		err = image_cipher_decrypt(transfer->cipher, sector, buffer,
					   CIPHER_SECTOR_BYTES);
	if (err < 0)
		return err;
	transfer_copy(transfer, buffer + skip, bytes);
	err = image_cipher_encrypt(transfer->cipher, sector, buffer,
				   CIPHER_SECTOR_BYTES);
	return err < 0 ? err
		       : store_write(store, start, buffer, CIPHER_SECTOR_BYTES);
}

static int write_part_of_sector(struct executor_transfer *transfer)
{
	uint64_t start = align_down(transfer->offset, CIPHER_SECTOR_BYTES);
	uint64_t skip = transfer->offset - start;
	uint64_t bytes = MIN(CIPHER_SECTOR_BYTES - skip, transfer->left);
	int err;

	image_cipher_lock_edges(transfer->cipher);
	err = change_sector(transfer, start, skip, bytes);
	image_cipher_unlock_edges(transfer->cipher);
	transfer_advance(transfer, bytes);
	return err;
}

/* Sectors that do not fill a block: the store sees to the rest of it. */
static int write_part_of_block(struct executor_transfer *transfer,
			       uint64_t bytes)
{
	int err = fill_buffer(transfer, bytes);

	if (err == 0)
		err = store_write(transfer->file->store, transfer->offset,
				  transfer->bounce, bytes);
	transfer_advance(transfer, bytes);
	return err;
}

/* Bytes of the next write that needs no synchronous call; or 0. */
static uint64_t whole_blocks(const struct executor_transfer *transfer)
{
	if (!is_aligned(transfer->offset, unit(transfer)))
		return 0;
	return align_down(
		MIN(transfer->left, (uint64_t)transfer->executor->buffer_bytes),
		unit(transfer));
}

static int write_edge(struct executor_transfer *transfer)
{
	uint64_t block = unit(transfer);
	uint64_t bytes =
		MIN(transfer->left, block - (transfer->offset & (block - 1)));

	bytes = align_down(bytes, CIPHER_SECTOR_BYTES);
	if (bytes == 0 || !is_aligned(transfer->offset, CIPHER_SECTOR_BYTES))
		return write_part_of_sector(transfer);
	return write_part_of_block(transfer, bytes);
}

/* A store without a descriptor: round after round, here and now. */
static int sync_round(struct executor_transfer *transfer)
{
	struct store *store = transfer->file->store;
	int err;

	if (transfer->kind == TRANSFER_WRITE) {
		uint64_t bytes = whole_blocks(transfer);

		return bytes ? write_part_of_block(transfer, bytes)
			     : write_edge(transfer);
	}
	read_sectors(transfer);
	err = store_read(store, round_start(transfer), transfer->bounce,
			 transfer->bounce_bytes);
	transfer->bounce_done = transfer->bounce_bytes;
	return err < 0 ? err : take_sectors(transfer);
}

static void run_sync(struct executor_transfer *transfer)
{
	int err = 0;

	while (transfer->left > 0 && err == 0)
		err = sync_round(transfer);
	end(transfer, err);
}

static void run_write(struct executor_transfer *transfer)
{
	uint64_t bytes = whole_blocks(transfer);
	int err = 0;

	while (bytes == 0 && transfer->left > 0 && err == 0) {
		err = write_edge(transfer);
		bytes = whole_blocks(transfer);
	}
	if (err == 0 && bytes > 0)
		err = fill_buffer(transfer, bytes);
	if (err < 0 || bytes == 0)
		end(transfer, err);
	else
		submit(transfer);
}

void executor_crypt(struct executor_transfer *transfer)
{
	struct executor *executor = transfer->executor;

	if (image_cipher_is_locked(transfer->cipher)) {
		end(transfer, -EACCES);
		return;
	}
	if (transfer->kind == TRANSFER_PUNCH) {
		end(transfer, 0);
		return;
	}
	if (transfer->kind == TRANSFER_ZERO) {
		transfer->kind = TRANSFER_WRITE;
		transfer_set_zeroes(transfer, transfer->left);
	}
	transfer->bounce = executor_take_buffer(executor);
	if (!transfer->bounce) {
		transfer->next = executor->bounce_waiters;
		executor->bounce_waiters = transfer;
	} else if (transfer->file->fd < 0) {
		run_sync(transfer);
	} else if (transfer->kind == TRANSFER_WRITE) {
		run_write(transfer);
	} else {
		read_sectors(transfer);
		submit(transfer);
	}
}
