/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a virtio-blk driver asks for, read out of one descriptor chain.
 *
 * A request is a 16-byte header and, for a write, data in device-readable
 * memory, then, for a read, data and always one status byte in device-writable
 * memory. How these lie in descriptors is the driver's choice (any layout):
 * only the order of bytes counts. virtio 1.2, 5.2.6.
 *
 * The parser is pure: it copies the header and the ranges of discard and write
 * zeroes out of guest memory, once, judges the copies, and neither does I/O
 * nor writes to guest memory. Any thread.
 */
#ifndef VHOST_BLK_BLK_REQUEST_H
#define VHOST_BLK_BLK_REQUEST_H

#include <linux/virtio_blk.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "vhost/virtq.h"

enum {
	BLK_SECTOR_BYTES = 512,
	/* Data segments in one request, and the bytes in each: seg_max and
	 * size_max. Together they bound a transfer. */
	BLK_MAX_SEGMENTS = 126,
	BLK_MAX_SEGMENT_BYTES = 4 << 20,
	/* Ranges in one discard or write zeroes, and sectors in each. */
	BLK_MAX_RANGES = 64,
	BLK_MAX_RANGE_SECTORS = 1 << 22,
};

enum blk_op {
	BLK_OP_READ,
	BLK_OP_WRITE,
	BLK_OP_FLUSH,
	BLK_OP_GET_ID,
	BLK_OP_DISCARD,
	BLK_OP_WRITE_ZEROES,
};

enum blk_request_outcome {
	/* No device-writable byte for the status: the ring is broken. */
	BLK_E_NO_STATUS = 1,
};

/* What requests are judged by. */
struct blk_limits {
	uint64_t capacity_sectors;
	bool read_only;
};

/* In bytes of the disk; inside it. */
struct blk_range {
	uint64_t offset;
	uint64_t length;
};

struct blk_request {
	/* VIRTIO_BLK_S_OK: carry it out. Else it is refused with this. */
	uint8_t verdict;
	enum blk_op op;
	uint8_t *status; /* guest memory */
	/* That of the chain which ends before the status, now cut off. */
	struct iovec *status_segment;

	/* READ, WRITE, GET_ID: the data buffers, within the chain's array. */
	const struct iovec *iov;
	unsigned iov_count;
	uint64_t offset; /* READ, WRITE: bytes, inside the disk */
	uint64_t length;

	/* DISCARD, WRITE_ZEROES. */
	unsigned range_count;
	struct blk_range ranges[BLK_MAX_RANGES];
};

/*
 * Makes the chain end in its status byte again, so that virtq_put counts that
 * byte (and logs it as dirty). The request's data segments are then void.
 */
static inline void blk_request_restore(struct blk_request *request)
{
	request->status_segment->iov_len++;
}

/*
 * Reads the request in @chain, as virtq_get left it. Header and status are cut
 * off the chain's segments in place, so that what is left of the array is data;
 * @ret_request refers to it. 0, or BLK_E_NO_STATUS. A request that makes no
 * sense is a success with a verdict.
 */
int blk_request_parse(struct virtq_chain *chain,
		      const struct blk_limits *limits,
		      struct blk_request *ret_request);

#endif
