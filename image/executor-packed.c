/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EXECUTOR_WRITE_COMPRESSED. Each cluster of such a request takes a pack from
 * the pool: its bytes are compressed, on the codec pool if there is one, and
 * what comes out is written by a request that is nested in the first one: the
 * stream, or the bytes as they are where a stream would not be smaller, or
 * nothing at all where all are zero. The nested request is stepped as any
 * other, so that it waits for metadata, for others and for flushes as they do.
 *
 * Packs are mapped in the order in which they were begun, however long each
 * took to compress: the same data makes the same image, and whoever reads it
 * in order reads the file in order. So the oldest pack is the only one that may
 * be mapped, and the next one has its turn when it was.
 *
 * Of a request with packs only these hold what was mapped: it is they that are
 * counted for executor-group.c, each from the moment it is to be mapped.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/bytes.h"
#include "image/executor-private.h"

enum {
	MIN_PACKS = 4,
	MAX_PACKS = 128,
	PACKS_BYTES = 32 << 20, /* of their buffers, beyond MIN_PACKS */
};

static size_t stream_bytes(const struct executor *executor)
{
	return align_up(executor->image->cluster_bytes + CODEC_SLACK_BYTES, 64);
}

static size_t pack_bytes(const struct executor *executor)
{
	return executor->image->cluster_bytes + stream_bytes(executor);
}

static void compressed(struct loop_message *message);

static void cut_packs(struct executor *executor, unsigned count)
{
	char *at = executor->pack_buffers;

	for (unsigned i = 0; i < count; i++) {
		struct executor_pack *pack = &executor->packs[i];

		pack->executor = executor;
		pack->job.loop = executor->loop;
		pack->job.message.run = compressed;
		pack->plain = at;
		pack->stream = at + executor->image->cluster_bytes;
		pack->next = executor->free_packs;
		executor->free_packs = pack;
		at += pack_bytes(executor);
	}
}

int executor_make_packs(struct executor *executor)
{
	const struct image *image = executor->image;
	size_t bytes, count;
	void *buffers;

	if (!image->format->map_packed || image->codec == IMAGE_CODEC_NONE)
		return -ENOTSUP;
	bytes = pack_bytes(executor);
	count = MIN(PACKS_BYTES / bytes, (size_t)MAX_PACKS);
	count = MAX(count, (size_t)MIN_PACKS);
	executor->packs = calloc(count, sizeof(*executor->packs));
	if (!executor->packs)
		return -ENOMEM;
	buffers = mmap(NULL, count * bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (buffers == MAP_FAILED)
		return -ENOMEM;
	executor->pack_buffers = buffers;
	executor->pack_buffers_bytes = count * bytes;
	cut_packs(executor, count);
	return 0;
}

void executor_free_packs(struct executor *executor)
{
	if (executor->pack_buffers)
		munmap(executor->pack_buffers, executor->pack_buffers_bytes);
	free(executor->packs);
}

static void append(struct executor *executor, struct executor_pack *pack)
{
	pack->next = NULL;
	if (executor->first_pack)
		executor->last_pack->next = pack;
	else
		executor->first_pack = pack;
	executor->last_pack = pack;
}

/* The nested request is over, or never began. */
static void pack_ended(struct executor_request *nested, int result)
{
	struct executor_pack *pack =
		container_of(nested, struct executor_pack, nested);
	struct executor *executor = pack->executor;
	struct executor_request *request = pack->request;

	if (executor->mapping == pack)
		executor->mapping = NULL;
	pack->next = executor->free_packs;
	executor->free_packs = pack;
	executor->released = true;
	executor_part_ended(request, result);
}

void executor_pack_mapped(struct executor_request *nested)
{
	struct executor_pack *pack =
		container_of(nested, struct executor_pack, nested);

	if (pack->executor->mapping == pack)
		pack->executor->mapping = NULL;
}

/* What was compressed, as a request of its own. */
static void write_pack(struct executor_pack *pack)
{
	struct executor_request *nested = &pack->nested;

	*nested = (struct executor_request){
		.op = pack->op,
		.offset = pack->offset,
		.length = pack->bytes,
		.iov = &pack->iov,
		.iov_count = pack->op == EXECUTOR_WRITE ? 1 : 0,
		.done = pack_ended,
		.packed = true,
	};
	executor_begin_nested(pack->executor, nested);
}

bool executor_has_packs_to_map(const struct executor *executor)
{
	return executor->first_pack && executor->first_pack->ready &&
	       !executor->mapping;
}

void executor_map_packs(struct executor *executor)
{
	while (executor_has_packs_to_map(executor)) {
		struct executor_pack *pack = executor->first_pack;

		executor->first_pack = pack->next;
		executor->mapping = pack;
		if (pack->result < 0)
			pack_ended(&pack->nested, pack->result);
		else
			write_pack(pack);
	}
}

/* What became of the cluster: a stream, itself, or an error. */
static void judge(struct executor_pack *pack)
{
	const struct codec_job *job = &pack->job;

	pack->ready = true;
	if (job->result == IMAGE_E_NO_SPACE)
		pack->op = EXECUTOR_WRITE;
	else if (job->result != 0)
		pack->result = executor_outcome(job->result);
}

static void compressed(struct loop_message *message)
{
	struct executor_pack *pack =
		container_of(message, struct executor_pack, job.message);

	judge(pack);
	executor_run(pack->executor);
}

static void compress(struct executor_pack *pack, const void *cluster)
{
	struct executor *executor = pack->executor;
	struct codec_job *job = &pack->job;
	size_t bytes = executor->image->cluster_bytes;

	job->compress = true;
	job->kind = executor->image->codec;
	job->level = executor->level;
	job->from = cluster;
	job->from_bytes = bytes;
	job->to = pack->stream;
	/* One byte less than a cluster is the most that counts as smaller. */
	job->to_bytes = bytes - 1 + CODEC_SLACK_BYTES;
	if (executor->pool) {
		codec_pool_submit(executor->pool, job);
		return;
	}
	codec_job_run(executor->codec, job);
	judge(pack);
}

/* The cluster's bytes in one piece, with zeroes past the image's end. */
static void *gather(struct executor_pack *pack, struct iov_cursor at)
{
	size_t cluster = pack->executor->image->cluster_bytes;
	struct iov_cursor copy = at;
	size_t got;

	if (iov_slice(&at, cluster, &pack->iov, 1, &got) == 1 && got == cluster)
		return pack->iov.iov_base;
	iov_read(&copy, pack->plain, pack->bytes);
	memset(pack->plain + pack->bytes, 0, cluster - pack->bytes);
	return pack->plain;
}

static void begin_pack(struct executor_request *request, uint64_t bytes)
{
	struct executor *executor = request->executor;
	struct executor_pack *pack = executor->free_packs;
	void *cluster;

	executor->free_packs = pack->next;
	pack->request = request;
	pack->offset = request->offset + request->at;
	pack->bytes = bytes;
	pack->result = 0;
	pack->ready = false;
	pack->op = EXECUTOR_WRITE_COMPRESSED;
	cluster = gather(pack, request->cursor);
	pack->iov = (struct iovec){.iov_base = cluster, .iov_len = bytes};
	request->pending++;
	append(executor, pack);
	if (bytes_are_zero(cluster, bytes)) {
		pack->op = EXECUTOR_ZERO;
		pack->ready = true;
	} else {
		compress(pack, cluster);
	}
}

/* Whole clusters, but for the image's last one. */
static bool is_whole(const struct executor_request *request)
{
	const struct image *image = request->executor->image;

	return range_fits(request->offset, request->length,
			  image->size_bytes) &&
	       request->offset % image->cluster_bytes == 0 &&
	       (request->length % image->cluster_bytes == 0 ||
		request->offset + request->length == image->size_bytes);
}

enum step executor_pack_step(struct executor_request *request)
{
	struct executor *executor = request->executor;
	uint64_t bytes;

	if (!executor->packs)
		request->result = -ENOTSUP;
	else if (!is_whole(request))
		request->result = -EINVAL;
	if (request->result < 0)
		return STEP_ON;
	if (!executor->free_packs) {
		request_list_push(&executor->starved, request);
		return STEP_PARKED;
	}
	bytes = MIN(request->length - request->at,
		    (uint64_t)executor->image->cluster_bytes);
	begin_pack(request, bytes);
	request->at += bytes;
	iov_skip(&request->cursor, bytes);
	return STEP_ON;
}

int executor_pack_map(struct executor_request *nested, struct found *ret_found)
{
	const struct executor_pack *pack =
		container_of(nested, struct executor_pack, nested);
	struct image *image = nested->executor->image;

	ret_found->level = 0;
	ret_found->generation = image_generation(image);
	return executor_outcome(image_map_packed(image, nested->offset,
						 pack->job.ret_bytes,
						 &ret_found->extent));
}

static void stream_written(struct executor_transfer *transfer, int result)
{
	struct executor *executor = transfer->executor;
	struct executor_request *nested = transfer->owner;
	int outcome;

	executor_calls_image(executor);
	outcome = image_commit(executor->image, &transfer->extent, result);
	executor_called_image(executor);
	executor_give_transfer(transfer);
	executor_part_ended(nested,
			    result < 0 ? result : executor_outcome(outcome));
}

enum step executor_pack_write(struct executor_request *nested,
			      const struct image_extent *extent)
{
	struct executor *executor = nested->executor;
	struct executor_pack *pack =
		container_of(nested, struct executor_pack, nested);
	struct executor_file *file = executor_file(executor, extent->store);
	struct executor_transfer *transfer;

	if (!file) {
		(void)image_commit(executor->image, extent, -EMFILE);
		nested->result = -EMFILE;
		return STEP_ON;
	}
	transfer = executor_take_transfer(executor);
	transfer->owner = nested;
	transfer->ended = stream_written;
	transfer->file = file;
	transfer->kind = TRANSFER_WRITE;
	transfer->offset = extent->host_offset;
	transfer->cipher = NULL;
	transfer->extent = *extent;
	transfer_set_buffer(transfer, pack->stream, extent->host_bytes);
	nested->pending++;
	nested->at = nested->length;
	transfer_start(transfer);
	return STEP_ON;
}
