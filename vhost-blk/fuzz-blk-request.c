/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes in any layout: the parser reads nothing outside the chain, and
 * what it accepts lies inside the disk and inside the chain's segments.
 *
 * Input: how many segments are readable and writable, a flag for read-only,
 * two bytes of length for each segment, then the readable bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/iov.h"
#include "vhost-blk/blk-request.h"

enum {
	CAPACITY = 2048,
	MAX_SEGMENTS = 48,
	PREFIX = 3
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
	if (!condition)
		abort();
}

static void check_accepted(const struct blk_request *request)
{
	const uint64_t end = (uint64_t)CAPACITY * BLK_SECTOR_BYTES;

	require(request->op <= BLK_OP_WRITE_ZEROES);
	if (request->op == BLK_OP_READ || request->op == BLK_OP_WRITE) {
		require(range_fits(request->offset, request->length, end));
		require(iov_bytes(request->iov, request->iov_count) ==
			request->length);
	}
	if (request->op != BLK_OP_DISCARD && request->op != BLK_OP_WRITE_ZEROES)
		return;
	require(request->range_count <= BLK_MAX_RANGES);
	for (unsigned i = 0; i < request->range_count; i++)
		require(range_fits(request->ranges[i].offset,
				   request->ranges[i].length, end));
}

/* Each segment is its own allocation: a sanitizer sees one byte over. */
static unsigned make_segments(struct virtq_chain *chain, const uint8_t *data,
			      size_t size)
{
	unsigned out = data[0] % (MAX_SEGMENTS / 2);
	unsigned count = out + data[1] % (MAX_SEGMENTS / 2);
	size_t at = PREFIX;
	size_t content = PREFIX + 2 * count;

	for (unsigned i = 0; i < count; i++, at += 2) {
		uint16_t length = at + 2 <= size ? get_le16(data + at) : 0;
		size_t filled;

		if (length == 0) /* a virtqueue never yields empty ones */
			return i;
		chain->iov[i] = (struct iovec){calloc(1, length), length};
		filled = content < size ? MIN(length, size - content) : 0;
		if (i < out) {
			memcpy(chain->iov[i].iov_base, data + content, filled);
			content += filled;
			chain->out_count++;
			chain->out_bytes += length;
		} else {
			chain->in_count++;
			chain->in_bytes += length;
		}
	}
	return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct blk_request request;
	struct iovec iov[MAX_SEGMENTS];
	struct iovec owned[MAX_SEGMENTS];
	struct virtq_chain chain = {.iov = iov, .iov_max = MAX_SEGMENTS};
	struct blk_limits limits = {.capacity_sectors = CAPACITY};
	unsigned count;

	if (size < PREFIX)
		return 0;
	limits.read_only = data[2] & 1;
	count = make_segments(&chain, data, size);
	memcpy(owned, iov, count * sizeof(*iov));
	request.range_count = 0;
	request.iov_count = 0;
	if (blk_request_parse(&chain, &limits, &request) == 0) {
		*request.status = request.verdict;
		if (request.verdict == VIRTIO_BLK_S_OK)
			check_accepted(&request);
		require(!limits.read_only || request.op != BLK_OP_WRITE ||
			request.verdict != VIRTIO_BLK_S_OK);
	}
	for (unsigned i = 0; i < count; i++)
		free(owned[i].iov_base);
	return 0;
}
