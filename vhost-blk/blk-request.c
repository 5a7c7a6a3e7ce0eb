/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-blk/blk-request.h"

#include <assert.h>

#include "base/bytes.h"
#include "base/iov.h"

static_assert(sizeof(struct virtio_blk_outhdr) == 16, "virtio 1.2, 5.2.6");
static_assert(sizeof(struct virtio_blk_discard_write_zeroes) == 16,
	      "virtio 1.2, 5.2.6");

/* Buffers that shrink from either end, without their array being moved. */
struct span {
	struct iovec *iov;
	unsigned count;
	uint64_t bytes;
};

static void span_drop_front(struct span *span, size_t bytes)
{
	span->bytes -= bytes;
	while (bytes > 0) {
		size_t step = MIN(bytes, span->iov->iov_len);

		span->iov->iov_base = (char *)span->iov->iov_base + step;
		span->iov->iov_len -= step;
		bytes -= step;
		if (span->iov->iov_len == 0) {
			span->iov++;
			span->count--;
		}
	}
}

/* The segment whose last byte it takes; NULL if there is none. */
static struct iovec *span_take_last(struct span *span)
{
	struct iovec *last;

	while (span->count > 0 && span->iov[span->count - 1].iov_len == 0)
		span->count--;
	if (span->count == 0)
		return NULL;
	last = &span->iov[span->count - 1];
	last->iov_len--;
	span->bytes--;
	if (last->iov_len == 0)
		span->count--;
	return last;
}

static uint8_t parse_transfer(struct blk_request *request, uint64_t sector,
			      const struct span *data,
			      const struct blk_limits *limits)
{
	const uint64_t max_bytes =
		(uint64_t)BLK_MAX_SEGMENTS * BLK_MAX_SEGMENT_BYTES;

	if (data->bytes % BLK_SECTOR_BYTES != 0 || data->bytes > max_bytes)
		return VIRTIO_BLK_S_IOERR;
	if (!range_fits(sector, data->bytes / BLK_SECTOR_BYTES,
			limits->capacity_sectors))
		return VIRTIO_BLK_S_IOERR;
	request->iov = data->iov;
	request->iov_count = data->count;
	request->offset = sector * BLK_SECTOR_BYTES;
	request->length = data->bytes;
	return VIRTIO_BLK_S_OK;
}

static uint8_t parse_range(struct blk_range *range, enum blk_op op,
			   const struct virtio_blk_discard_write_zeroes *wire,
			   const struct blk_limits *limits)
{
	const uint32_t known = op == BLK_OP_WRITE_ZEROES
				       ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP
				       : 0;
	uint64_t sector = le64toh(wire->sector);
	uint32_t sectors = le32toh(wire->num_sectors);
	uint32_t flags = le32toh(wire->flags);

	if (flags & ~known)
		return VIRTIO_BLK_S_UNSUPP;
	if (sectors > BLK_MAX_RANGE_SECTORS ||
	    !range_fits(sector, sectors, limits->capacity_sectors))
		return VIRTIO_BLK_S_IOERR;
	*range = (struct blk_range){
		.offset = sector * BLK_SECTOR_BYTES,
		.length = (uint64_t)sectors * BLK_SECTOR_BYTES,
	};
	return VIRTIO_BLK_S_OK;
}

/* All ranges are judged before the first is carried out. */
static uint8_t parse_ranges(struct blk_request *request,
			    const struct span *data,
			    const struct blk_limits *limits)
{
	struct iov_cursor at = iov_cursor(data->iov, data->count);
	struct virtio_blk_discard_write_zeroes wire;

	if (data->bytes == 0 || data->bytes % sizeof(wire) != 0 ||
	    data->bytes / sizeof(wire) > BLK_MAX_RANGES)
		return VIRTIO_BLK_S_IOERR;
	request->range_count = data->bytes / sizeof(wire);
	for (unsigned i = 0; i < request->range_count; i++) {
		uint8_t verdict;

		iov_read(&at, &wire, sizeof(wire));
		verdict = parse_range(&request->ranges[i], request->op, &wire,
				      limits);
		if (verdict != VIRTIO_BLK_S_OK)
			return verdict;
	}
	return VIRTIO_BLK_S_OK;
}

static uint8_t parse_body(struct blk_request *request,
			  const struct virtio_blk_outhdr *header,
			  const struct span *out, const struct span *in,
			  const struct blk_limits *limits)
{
	uint64_t sector = le64toh(header->sector);

	switch (le32toh(header->type)) {
	case VIRTIO_BLK_T_IN:
		request->op = BLK_OP_READ;
		return parse_transfer(request, sector, in, limits);
	case VIRTIO_BLK_T_OUT:
		request->op = BLK_OP_WRITE;
		if (limits->read_only)
			return VIRTIO_BLK_S_IOERR;
		return parse_transfer(request, sector, out, limits);
	case VIRTIO_BLK_T_FLUSH:
		request->op = BLK_OP_FLUSH;
		return VIRTIO_BLK_S_OK;
	case VIRTIO_BLK_T_GET_ID:
		request->op = BLK_OP_GET_ID;
		request->iov = in->iov;
		request->iov_count = in->count;
		return VIRTIO_BLK_S_OK;
	case VIRTIO_BLK_T_DISCARD:
		request->op = BLK_OP_DISCARD;
		if (limits->read_only)
			return VIRTIO_BLK_S_IOERR;
		return parse_ranges(request, out, limits);
	case VIRTIO_BLK_T_WRITE_ZEROES:
		request->op = BLK_OP_WRITE_ZEROES;
		if (limits->read_only)
			return VIRTIO_BLK_S_IOERR;
		return parse_ranges(request, out, limits);
	default:
		return VIRTIO_BLK_S_UNSUPP;
	}
}

int blk_request_parse(struct virtq_chain *chain,
		      const struct blk_limits *limits,
		      struct blk_request *ret_request)
{
	struct span out = {chain->iov, chain->out_count, chain->out_bytes};
	struct span in = {chain->iov + chain->out_count, chain->in_count,
			  chain->in_bytes};
	struct virtio_blk_outhdr header;
	struct iov_cursor at = iov_cursor(out.iov, out.count);
	struct iovec *last = span_take_last(&in);

	if (!last)
		return BLK_E_NO_STATUS;
	ret_request->status_segment = last;
	ret_request->status = (uint8_t *)last->iov_base + last->iov_len;
	if (iov_read(&at, &header, sizeof(header)) < sizeof(header)) {
		ret_request->verdict = VIRTIO_BLK_S_IOERR;
		return 0;
	}
	span_drop_front(&out, sizeof(header));
	ret_request->verdict =
		parse_body(ret_request, &header, &out, &in, limits);
	return 0;
}
