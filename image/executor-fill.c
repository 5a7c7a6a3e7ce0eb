/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fill carries out one IMAGE_ALLOCATE: the new room gets head, data and tail
 * in one write, then the format is told to map it. Head and tail are zeroes, or
 * what the image reads as there now: two reads of the image itself, which is
 * still mapped to the old content until the commit.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "image/executor-private.h"

static void fill_ended(struct executor_fill *fill, int result)
{
	struct executor *executor = fill->executor;
	struct executor_request *request = fill->request;
	int outcome;

	executor_calls_image(executor);
	outcome = image_commit(executor->image, &fill->extent, result);
	executor_called_image(executor);
	executor_give_fill(fill);
	executor_part_ended(request,
			    result < 0 ? result : executor_outcome(outcome));
}

static void fill_written(struct executor_transfer *transfer, int result)
{
	fill_ended(transfer->owner, result);
}

static struct transfer_part zero_part(uint64_t bytes)
{
	return (struct transfer_part){.left = bytes, .zeroes = true};
}

/* Head or tail, read before, from the fill's buffer; or zeroes. */
static struct transfer_part side_part(struct executor_fill *fill, unsigned side)
{
	uint64_t bytes =
		side == 0 ? fill->extent.head_bytes : fill->extent.tail_bytes;

	if (fill->extent.fill_zeroes || bytes == 0)
		return zero_part(bytes);
	/* The read was shorter if the image ends in this cluster. */
	fill->nested_iov[side].iov_len = bytes;
	return (struct transfer_part){
		.at = iov_cursor(&fill->nested_iov[side], 1), .left = bytes};
}

/* A zeroed room whose every byte is zero: no need to list them. */
static bool is_all_zeroes(const struct executor_fill *fill)
{
	return fill->request->op == EXECUTOR_ZERO &&
	       (fill->extent.fill_zeroes ||
		fill->extent.head_bytes + fill->extent.tail_bytes == 0);
}

static void set_whole_room(struct executor_fill *fill)
{
	const struct image_extent *extent = &fill->extent;
	struct executor_transfer *transfer = &fill->transfer;
	bool zero = fill->request->op == EXECUTOR_ZERO;

	transfer->left =
		extent->head_bytes + extent->length + extent->tail_bytes;
	transfer->parts[0] = side_part(fill, 0);
	transfer->parts[1] =
		zero ? zero_part(extent->length)
		     : (struct transfer_part){.at = fill->data,
					      .left = extent->length};
	transfer->parts[2] = side_part(fill, 1);
}

/* Everything is at hand: write it. */
static void fill_write(struct executor_fill *fill)
{
	const struct image_extent *extent = &fill->extent;
	struct executor_transfer *transfer = &fill->transfer;
	bool fresh = extent->fill_zeroes && extent->reads_zero;

	transfer->executor = fill->executor;
	transfer->owner = fill;
	transfer->ended = fill_written;
	transfer->kind = TRANSFER_WRITE;
	transfer->offset = extent->host_offset;
	transfer_set_cipher(transfer, extent);
	transfer->file = executor_file(fill->executor, extent->store);
	if (!transfer->file) {
		transfer_end_later(transfer, -EMFILE);
		return;
	}
	set_whole_room(fill);
	if (is_all_zeroes(fill)) {
		transfer->kind = TRANSFER_ZERO;
		if (extent->reads_zero)
			transfer->left = 0;
	} else if (fresh) {
		transfer->offset += extent->head_bytes;
		transfer->left = extent->length;
		transfer->parts[0].left = 0;
		transfer->parts[2].left = 0;
	}
	transfer_start(transfer);
}

/* The last of the reads writes, or gives up. */
static void side_ended(struct executor_fill *fill, int result)
{
	if (result < 0)
		fill->result = result;
	if (--fill->pending > 0)
		return;
	if (fill->result < 0)
		fill_ended(fill, fill->result);
	else
		fill_write(fill);
}

static void head_read(struct executor_request *nested, int result)
{
	side_ended(container_of(nested, struct executor_fill, nested[0]),
		   result);
}

static void tail_read(struct executor_request *nested, int result)
{
	side_ended(container_of(nested, struct executor_fill, nested[1]),
		   result);
}

/*
 * Reads @bytes at guest @offset to @to; what lies past the image's end, in its
 * last cluster, is zero.
 */
static void read_side(struct executor_fill *fill, unsigned side,
		      uint64_t offset, uint64_t bytes, char *to)
{
	uint64_t size = fill->executor->image->size_bytes;
	uint64_t there = offset < size ? MIN(bytes, size - offset) : 0;
	struct executor_request *nested = &fill->nested[side];

	memset(to + there, 0, bytes - there);
	fill->nested_iov[side] =
		(struct iovec){.iov_base = to, .iov_len = there};
	*nested = (struct executor_request){
		.op = EXECUTOR_READ,
		.offset = offset,
		.length = there,
		.iov = &fill->nested_iov[side],
		.iov_count = 1,
		.done = side == 0 ? head_read : tail_read,
	};
	fill->pending++;
	executor_begin_nested(fill->executor, nested);
}

void fill_start(struct executor_fill *fill, struct executor_request *request,
		const struct image_extent *extent)
{
	uint64_t offset = request->offset + request->at;

	fill->request = request;
	fill->extent = *extent;
	fill->data = request->cursor;
	fill->result = 0;
	if (extent->fill_zeroes ||
	    extent->head_bytes + extent->tail_bytes == 0) {
		fill_write(fill);
		return;
	}
	/* One for ourselves, so that the first read cannot end it alone. */
	fill->pending = 1;
	if (extent->head_bytes > 0)
		read_side(fill, 0, offset - extent->head_bytes,
			  extent->head_bytes, fill->buffer);
	if (extent->tail_bytes > 0)
		read_side(fill, 1, offset + extent->length, extent->tail_bytes,
			  fill->buffer + extent->head_bytes);
	side_ended(fill, 0);
}
