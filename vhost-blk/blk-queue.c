/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-blk/blk-queue.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/iov.h"

enum {
	/* Data, header and status, and room for regions' edges. */
	IO_SEGMENTS = BLK_MAX_SEGMENTS + 2 + 16,
	/* The longest chain that a ring can hold, split once at every region. */
	LONG_SEGMENTS = VIRTQ_MAX_CHAIN + GUEST_MEMORY_MAX_REGIONS,
};

/* One request under way. The seldom used ranges come last. */
struct blk_io {
	struct executor_request executor;
	struct blk_queue *queue;
	struct blk_io *next_free;
	struct virtq_chain chain;
	unsigned ranges_started;
	struct iovec iov[IO_SEGMENTS];
	struct blk_request request;
};

/* Untouched pages cost nothing. */
static void *map_lazily(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

static size_t pool_bytes(const struct blk_queue *queue)
{
	return queue->pool_size * sizeof(struct blk_io);
}

int blk_queue_open(struct blk_queue *queue, struct blk_disk *disk,
		   unsigned index, struct virtq *vq)
{
	*queue = (struct blk_queue){
		.disk = disk,
		.vq = vq,
		.index = index,
		.pool_size = MIN((unsigned)BLK_QUEUE_DEPTH,
				 (unsigned)virtq_size(vq)),
	};
	queue->pool = map_lazily(pool_bytes(queue));
	queue->long_iov = map_lazily(LONG_SEGMENTS * sizeof(struct iovec));
	if (!queue->pool || !queue->long_iov) {
		blk_queue_close(queue);
		return -ENOMEM;
	}
	return 0;
}

void blk_queue_close(struct blk_queue *queue)
{
	if (queue->pool)
		munmap(queue->pool, pool_bytes(queue));
	if (queue->long_iov)
		munmap(queue->long_iov, LONG_SEGMENTS * sizeof(struct iovec));
	queue->pool = NULL;
	queue->long_iov = NULL;
}

/* The one used last is the one that the cache knows. */
static struct blk_io *io_alloc(struct blk_queue *queue)
{
	struct blk_io *io = queue->free;

	if (io) {
		queue->free = io->next_free;
		return io;
	}
	if (queue->pool_used == queue->pool_size)
		return NULL;
	io = &queue->pool[queue->pool_used++];
	io->queue = queue;
	return io;
}

static void io_free(struct blk_io *io)
{
	io->next_free = io->queue->free;
	io->queue->free = io;
}

/* Writes the status byte and gives the chain back. */
static void io_end(struct blk_io *io, uint8_t status)
{
	struct blk_queue *queue = io->queue;

	store_once(io->request.status, status);
	blk_request_restore(&io->request);
	/*
	 * The status is the last byte, so all of them count as written: that
	 * is what must be logged as dirty, and what drivers expect.
	 */
	virtq_put(queue->vq, &io->chain, io->chain.in_bytes);
	queue->unpublished = true;
	queue->in_flight--;
	io_free(io);
}

static const char *op_name(enum blk_op op)
{
	static const char *const names[] = {
		[BLK_OP_READ] = "read",
		[BLK_OP_WRITE] = "write",
		[BLK_OP_FLUSH] = "flush",
		[BLK_OP_GET_ID] = "get-id",
		[BLK_OP_DISCARD] = "discard",
		[BLK_OP_WRITE_ZEROES] = "write zeroes",
	};

	return names[op];
}

static void report_failure(struct blk_io *io, int result)
{
	struct blk_disk *disk = io->queue->disk;
	const char *detail = image_error(disk->image);

	log_ratelimited(&disk->log_limit, LOG_LEVEL_ERROR,
			"%s: queue %u: %s of %llu bytes at %llu failed: "
			"%s%s%s",
			disk->name, io->queue->index, op_name(io->request.op),
			(unsigned long long)io->executor.length,
			(unsigned long long)io->executor.offset,
			strerror(-result), detail && *detail ? ": " : "",
			detail ? detail : "");
}

static void io_start_range(struct blk_io *io);

static void io_done(struct executor_request *executor, int result)
{
	struct blk_io *io = container_of(executor, struct blk_io, executor);

	if (result < 0) {
		report_failure(io, result);
		io_end(io, VIRTIO_BLK_S_IOERR);
	} else if (io->ranges_started < io->request.range_count) {
		io_start_range(io);
	} else {
		io_end(io, VIRTIO_BLK_S_OK);
	}
}

static void io_submit(struct blk_io *io, enum executor_op op, uint64_t offset,
		      uint64_t length)
{
	io->executor = (struct executor_request){
		.op = op,
		.offset = offset,
		.length = length,
		.iov = io->request.iov,
		.iov_count = io->request.iov_count,
		.done = io_done,
	};
	executor_submit(io->queue->executor, &io->executor);
}

/*
 * One range after the other: at most BLK_MAX_RANGES deep when the executor
 * ends each at once.
 */
static void io_start_range(struct blk_io *io)
{
	const struct blk_range *range =
		&io->request.ranges[io->ranges_started++];
	bool zero = io->request.op == BLK_OP_WRITE_ZEROES;

	io_submit(io, zero ? EXECUTOR_ZERO : EXECUTOR_DISCARD, range->offset,
		  range->length);
}

static void io_get_id(struct blk_io *io)
{
	struct iov_cursor at =
		iov_cursor(io->request.iov, io->request.iov_count);

	iov_write(&at, io->queue->disk->serial, VIRTIO_BLK_ID_BYTES);
	io_end(io, VIRTIO_BLK_S_OK);
}

static void io_start(struct blk_io *io)
{
	struct blk_request *request = &io->request;

	if (request->verdict != VIRTIO_BLK_S_OK) {
		io_end(io, request->verdict);
		return;
	}
	switch (request->op) {
	case BLK_OP_READ:
		io_submit(io, EXECUTOR_READ, request->offset, request->length);
		break;
	case BLK_OP_WRITE:
		io_submit(io, EXECUTOR_WRITE, request->offset, request->length);
		break;
	case BLK_OP_FLUSH:
		io_submit(io, EXECUTOR_FLUSH, 0, 0);
		break;
	case BLK_OP_GET_ID:
		io_get_id(io);
		break;
	case BLK_OP_DISCARD:
	case BLK_OP_WRITE_ZEROES:
		io_start_range(io);
		break;
	}
}

static void ring_broke(struct blk_queue *queue)
{
	const char *why = virtq_error(queue->vq);

	/* After the reason, which the control thread reads. */
	store_release(&queue->broken, true);
	log_ratelimited(&queue->disk->log_limit, LOG_LEVEL_WARNING,
			"%s: queue %u is stopped: %s", queue->disk->name,
			queue->index, why ? why : "the ring is broken");
}

/*
 * A chain of more segments than a driver that heeds seg_max can make. It still
 * must get a status, so it is taken once more with room for the longest there
 * can be, only to find the status byte and refuse. One that is longer even so,
 * with buffers that cross edges again and again, is an attack.
 */
static int take_long(struct blk_queue *queue, struct virtq_chain *chain)
{
	int err;

	virtq_unget(queue->vq, chain, 1);
	chain->iov = queue->long_iov;
	chain->iov_max = LONG_SEGMENTS;
	err = virtq_get(queue->vq, chain);
	if (err != VIRTQ_E_TOO_LONG)
		return err;
	virtq_break(queue->vq, "a request is in more pieces than a ring and "
			       "all of memory can make");
	return VIRTQ_E_BROKEN;
}

static int io_take(struct blk_io *io)
{
	struct blk_queue *queue = io->queue;
	bool too_long = false;
	int err;

	io->chain.iov = io->iov;
	io->chain.iov_max = IO_SEGMENTS;
	err = virtq_get(queue->vq, &io->chain);
	if (__builtin_expect(err == VIRTQ_E_TOO_LONG, 0)) {
		too_long = true;
		err = take_long(queue, &io->chain);
	}
	if (err != 0)
		return err;
	/* The parser fills in only what the kind of request has. */
	io->ranges_started = 0;
	io->request.range_count = 0;
	io->request.iov_count = 0;
	io->request.length = 0;
	if (blk_request_parse(&io->chain, &queue->disk->limits, &io->request) ==
	    BLK_E_NO_STATUS) {
		virtq_break(queue->vq, "a request has no device-writable byte "
				       "for its status");
		return VIRTQ_E_BROKEN;
	}
	if (too_long)
		io->request.verdict = VIRTIO_BLK_S_IOERR;
	return 0;
}

uint64_t blk_queue_wait_ns(const struct blk_queue *queue)
{
	const struct blk_limiter *limiter = &queue->disk->limiter;

	return blk_limiter_is_on(limiter)
		       ? blk_limiter_wait_ns(limiter, clock_ns())
		       : 0;
}

static void charge(struct blk_queue *queue, const struct blk_request *request)
{
	struct blk_limiter *limiter = &queue->disk->limiter;

	if (blk_limiter_is_on(limiter))
		blk_limiter_charge(limiter, clock_ns(), request->length);
}

unsigned blk_queue_take(struct blk_queue *queue)
{
	unsigned taken = 0;

	while (taken < BLK_QUEUE_BURST && blk_queue_can_take(queue) &&
	       blk_queue_wait_ns(queue) == 0) {
		struct blk_io *io = io_alloc(queue);
		int err = io_take(io);

		if (err != 0) {
			io_free(io);
			if (err != VIRTQ_E_EMPTY)
				ring_broke(queue);
			break;
		}
		queue->in_flight++;
		taken++;
		charge(queue, &io->request);
		io_start(io);
	}
	return taken;
}

void blk_queue_publish(struct blk_queue *queue)
{
	if (!queue->unpublished)
		return;
	queue->unpublished = false;
	virtq_flush(queue->vq);
	virtq_notify(queue->vq);
}
