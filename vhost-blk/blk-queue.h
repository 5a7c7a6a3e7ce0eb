/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One virtqueue being served: chains are taken from the ring, parsed, handed
 * to the executor and, when it is done, given back with their status.
 *
 * A pool of requests bounds what is under way. It is made before the queue is
 * handed to its thread, and its memory is touched only as deep as the driver
 * ever goes.
 *
 * All but blk_queue_open and blk_queue_close belong to the serving thread.
 */
#ifndef VHOST_BLK_BLK_QUEUE_H
#define VHOST_BLK_BLK_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "image/executor.h"
#include "vhost-blk/blk-limiter.h"
#include "vhost-blk/blk-request.h"
#include "vhost/virtq.h"

enum {
	/* Requests of one queue under way at once. */
	BLK_QUEUE_DEPTH = 256,
	/* Chains taken before others have their turn. */
	BLK_QUEUE_BURST = 64,
};

struct blk_io;

/*
 * What all queues of a device share. Unchanged while any of them is open, but
 * for the last two, which see to their threads themselves.
 */
struct blk_disk {
	const char *name; /* of the device, for messages */
	struct image *image;
	struct blk_limits limits;
	uint8_t serial[VIRTIO_BLK_ID_BYTES];
	struct blk_limiter limiter;
	struct log_limit log_limit;
};

struct blk_queue {
	struct blk_disk *disk;
	struct executor *executor;
	struct virtq *vq;
	unsigned index;
	bool enabled;
	bool broken;
	/* Chains were put since the last publication. */
	bool unpublished;

	struct blk_io *pool;
	unsigned pool_size;
	unsigned pool_used; /* first @pool_used entries were ever in use */
	struct blk_io *free;
	unsigned in_flight;
	/* For a chain longer than a request may be; see take_long. */
	struct iovec *long_iov;
};

/*
 * Makes the pool for @vq, which has been started. Control thread, before the
 * serving thread knows of the queue. -ENOMEM.
 */
int blk_queue_open(struct blk_queue *queue, struct blk_disk *disk,
		   unsigned index, struct virtq *vq);

/* Control thread, after the last request ended and the thread let go. */
void blk_queue_close(struct blk_queue *queue);

/*
 * Takes and starts at most BLK_QUEUE_BURST requests. Returns how many. Sets
 * queue->broken when the driver broke the ring.
 */
unsigned blk_queue_take(struct blk_queue *queue);

/* Makes what has ended visible to the driver, and tells it. */
void blk_queue_publish(struct blk_queue *queue);

/* Whether blk_queue_take could make use of a chain now. */
static inline bool blk_queue_can_take(const struct blk_queue *queue)
{
	return queue->enabled && !queue->broken &&
	       queue->in_flight < queue->pool_size;
}

/* How long the device's rates keep blk_queue_take from doing so. */
uint64_t blk_queue_wait_ns(const struct blk_queue *queue);

#endif
