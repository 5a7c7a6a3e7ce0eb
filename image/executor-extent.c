/* SPDX-License-Identifier: Apache-2.0 */
/* One step of a request: ask the chain, and do what the extent says. */
#include <assert.h>
#include <errno.h>

#include "base/bytes.h"
#include "image/executor-private.h"

static enum image_op image_op(enum executor_op op)
{
	switch (op) {
	case EXECUTOR_WRITE:
	case EXECUTOR_WRITE_COMPRESSED:
		return IMAGE_WRITE;
	case EXECUTOR_ZERO:
		return IMAGE_ZERO;
	case EXECUTOR_DISCARD:
		return IMAGE_DISCARD;
	case EXECUTOR_READ:
	case EXECUTOR_FLUSH:
		break;
	}
	return IMAGE_READ;
}

int executor_map(struct executor *executor, enum executor_op op,
		 uint64_t offset, uint64_t length, struct found *ret_found)
{
	struct image_extent *extent = &ret_found->extent;
	struct image *image = executor->image;
	int outcome;

	for (ret_found->level = 0;; ret_found->level++) {
		ret_found->generation = image_generation(image);
		outcome =
			image_map(image, image_op(op), offset, length, extent);
		if (outcome != 0 || extent->kind != IMAGE_HOLE)
			return executor_outcome(outcome);
		length = extent->length;
		image = image->backing;
		if (!image || offset >= image->size_bytes) {
			extent->kind = IMAGE_ZEROES;
			return 0;
		}
		length = MIN(length, image->size_bytes - offset);
	}
}

/* The next @bytes of the request are a part's. */
static void move_on(struct executor_request *request, uint64_t bytes)
{
	request->at += bytes;
	if (request->iov_count > 0)
		iov_skip(&request->cursor, bytes);
}

static void part_transferred(struct executor_transfer *transfer, int result)
{
	struct executor_request *request = transfer->owner;

	executor_give_transfer(transfer);
	executor_part_ended(request, result);
}

static enum step fail(struct executor_request *request, int err)
{
	request->result = err;
	return STEP_ON;
}

/* A transfer, and with it a pending part, at @offset of @store; or NULL. */
static struct executor_transfer *new_transfer(struct executor_request *request,
					      enum transfer_kind kind,
					      struct store *store,
					      uint64_t offset)
{
	struct executor *executor = request->executor;
	struct executor_file *file = executor_file(executor, store);
	struct executor_transfer *transfer;

	if (!file)
		return NULL;
	transfer = executor_take_transfer(executor);
	transfer->owner = request;
	transfer->ended = part_transferred;
	transfer->file = file;
	transfer->kind = kind;
	transfer->offset = offset;
	transfer->cipher = NULL;
	request->pending++;
	return transfer;
}

static enum transfer_kind data_kind(enum executor_op op)
{
	switch (op) {
	case EXECUTOR_WRITE:
	case EXECUTOR_WRITE_COMPRESSED:
		return TRANSFER_WRITE;
	case EXECUTOR_ZERO:
		return TRANSFER_ZERO;
	case EXECUTOR_DISCARD:
		return TRANSFER_PUNCH;
	case EXECUTOR_READ:
	case EXECUTOR_FLUSH:
		break;
	}
	return TRANSFER_READ;
}

static enum step data_extent(struct executor_request *request,
			     const struct image_extent *extent)
{
	struct executor_transfer *transfer =
		new_transfer(request, data_kind(request->op), extent->store,
			     extent->host_offset);

	if (!transfer)
		return fail(request, -EMFILE);
	transfer_set_cipher(transfer, extent);
	transfer_set_iov(transfer, request->cursor, extent->length);
	move_on(request, extent->length);
	transfer_start(transfer);
	return STEP_ON;
}

static enum step zeroes_extent(struct executor_request *request,
			       uint64_t length)
{
	request->at += length;
	iov_fill(&request->cursor, 0, length);
	return STEP_ON;
}

/* With O_DIRECT the blocks around the stream are read, this much before it. */
static uint64_t stream_lead(const struct image_extent *extent)
{
	return extent->host_offset & (extent->store->alignment - 1);
}

static uint64_t stream_span(const struct image_extent *extent)
{
	return align_up(stream_lead(extent) + extent->host_bytes,
			extent->store->alignment);
}

/* The stream is in the buffer. */
static int unpack(struct executor_transfer *transfer)
{
	struct executor *executor = transfer->executor;
	struct executor_request *request = transfer->owner;
	const struct image_extent *extent = &transfer->extent;
	/* Another request for the same cluster may have been faster. */
	const char *cluster = executor_find_unpacked(executor, extent);
	struct iov_cursor to = transfer->parts[1].at;
	int outcome = 0;

	if (!cluster)
		outcome = executor_unpack(
			executor, extent,
			transfer->stream + stream_lead(extent), &cluster);
	if (outcome != 0)
		return executor_outcome(outcome);
	if (request->result == 0)
		iov_write(&to, cluster + extent->skip, extent->length);
	return 0;
}

static void stream_ended(struct executor_transfer *transfer, int result)
{
	executor_give_buffer(transfer->executor, transfer->stream);
	part_transferred(transfer, result);
}

/* Where a stream is decompressed to unless it goes where it is wanted. */
static char *unpack_room(const struct executor_transfer *transfer)
{
	return transfer->stream + transfer->executor->host_buffer_bytes;
}

static void pool_unpacked(struct loop_message *message)
{
	struct executor_transfer *transfer =
		container_of(message, struct executor_transfer, job.message);
	struct executor *executor = transfer->executor;
	const struct image_extent *extent = &transfer->extent;
	const char *cluster = unpack_room(transfer);
	struct iov_cursor to = transfer->parts[1].at;
	int result = executor_outcome(transfer->job.result);

	if (result == 0 && transfer->job.to == cluster) {
		iov_write(&to, cluster + extent->skip, extent->length);
		/* Who reads whole clusters does not come back for the rest. */
		if (extent->length < extent->cluster_bytes)
			executor_keep_unpacked(executor, extent, cluster);
	}
	stream_ended(transfer, result);
	executor_run(executor);
}

/* The request's own memory if that takes the cluster in one piece. */
static void *unpack_to(struct executor_transfer *transfer)
{
	const struct image_extent *extent = &transfer->extent;
	struct iov_cursor to = transfer->parts[1].at;
	struct iovec piece;
	size_t bytes;

	if (extent->skip == 0 && extent->length == extent->cluster_bytes &&
	    iov_slice(&to, extent->length, &piece, 1, &bytes) == 1 &&
	    bytes == extent->length)
		return piece.iov_base;
	return unpack_room(transfer);
}

static void unpack_on_pool(struct executor_transfer *transfer)
{
	const struct image_extent *extent = &transfer->extent;

	transfer->job = (struct codec_job){
		.loop = transfer->executor->loop,
		.message.run = pool_unpacked,
		.may_be_short = extent->may_be_short,
		.kind = extent->codec,
		.from = transfer->stream + stream_lead(extent),
		.from_bytes = extent->host_bytes,
		.to = unpack_to(transfer),
		.to_bytes = extent->cluster_bytes,
	};
	codec_pool_submit(transfer->executor->pool, &transfer->job);
}

static void stream_read(struct executor_transfer *transfer, int result)
{
	struct executor *executor = transfer->executor;

	if (result == 0 && executor->pool &&
	    !executor_find_unpacked(executor, &transfer->extent)) {
		unpack_on_pool(transfer);
		return;
	}
	if (result == 0)
		result = unpack(transfer);
	stream_ended(transfer, result);
}

/* The sizes come from the image: into our buffers they must fit. */
static bool stream_fits(const struct executor *executor,
			const struct image_extent *extent)
{
	return stream_span(extent) <= executor->host_buffer_bytes &&
	       extent->cluster_bytes <=
		       executor->buffer_bytes - executor->host_buffer_bytes &&
	       range_fits(extent->skip, extent->length, extent->cluster_bytes);
}

static enum step compressed_extent(struct executor_request *request,
				   const struct image_extent *extent)
{
	struct executor *executor = request->executor;
	struct executor_transfer *transfer;
	const char *cluster;
	char *buffer;

	if (!stream_fits(executor, extent))
		return fail(request, -EIO);
	cluster = executor_find_unpacked(executor, extent);
	if (cluster) {
		iov_write(&request->cursor, cluster + extent->skip,
			  extent->length);
		request->at += extent->length;
		return STEP_ON;
	}
	buffer = executor_take_buffer(executor);
	if (!buffer) {
		request_list_push(&executor->starved, request);
		return STEP_PARKED;
	}
	transfer = new_transfer(request, TRANSFER_READ, extent->store,
				extent->host_offset - stream_lead(extent));
	if (!transfer) {
		executor_give_buffer(executor, buffer);
		return fail(request, -EMFILE);
	}
	transfer->ended = stream_read;
	transfer->extent = *extent;
	transfer->stream = buffer;
	transfer_set_buffer(transfer, buffer, stream_span(extent));
	/* Where the cluster will go; no bytes of the transfer itself. */
	transfer->parts[1].at = request->cursor;
	move_on(request, extent->length);
	transfer_start(transfer);
	return STEP_ON;
}

/* The format has what it asked for; the request, which was parked, goes on. */
static void metadata_read(struct executor_transfer *transfer, int result)
{
	struct executor *executor = transfer->executor;
	struct executor_request *request = transfer->owner;

	request->pending--;
	if (result < 0 && request->result == 0)
		request->result = result;
	/*
	 * Before those that waited for it to be read: they came later, and
	 * writes get their places in this order.
	 */
	request_list_push(&executor->runnable, request);
	executor_calls_image(executor);
	image_provide(transfer->image, &transfer->extent, result);
	executor_called_image(executor);
	executor_give_transfer(transfer);
}

static enum step need_extent(struct executor_request *request,
			     const struct found *found)
{
	struct executor *executor = request->executor;
	const struct image_extent *extent = &found->extent;
	struct image *image = executor->levels[found->level].image;
	struct executor_transfer *transfer = new_transfer(
		request, TRANSFER_READ, extent->store, extent->host_offset);

	if (!transfer) {
		image_provide(image, extent, -EMFILE);
		return fail(request, -EMFILE);
	}
	transfer->ended = metadata_read;
	transfer->extent = *extent;
	transfer->image = image;
	transfer_set_buffer(transfer, extent->buffer, extent->host_bytes);
	transfer_start(transfer);
	return STEP_PARKED;
}

static enum step allocate_extent(struct executor_request *request,
				 const struct image_extent *extent)
{
	struct executor_fill *fill = executor_take_fill(request->executor);

	request->pending++;
	fill_start(fill, request, extent);
	move_on(request, extent->length);
	return STEP_ON;
}

enum step executor_extent(struct executor_request *request, struct found *found)
{
	const struct image_extent *extent = &found->extent;

	if (extent->kind == IMAGE_ALLOCATE &&
	    request->op == EXECUTOR_WRITE_COMPRESSED)
		return executor_pack_write(request, extent);
	switch (extent->kind) {
	case IMAGE_DATA:
		return data_extent(request, extent);
	case IMAGE_ZEROES:
		return zeroes_extent(request, extent->length);
	case IMAGE_COMPRESSED:
		return compressed_extent(request, extent);
	case IMAGE_ALLOCATE:
		return allocate_extent(request, extent);
	case IMAGE_NEED:
		return need_extent(request, found);
	case IMAGE_BUSY:
		executor_wait(request, found->level, found->generation);
		return STEP_PARKED;
	case IMAGE_MUST_FLUSH:
		executor_park_for_flush(request);
		return STEP_PARKED;
	case IMAGE_DONE:
		move_on(request, extent->length);
		return STEP_ON;
	case IMAGE_HOLE:
		break; /* executor_map looks through it */
	}
	return fail(request, -EIO);
}
