/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is to be done, in order: the sources' block status, cut into pieces that
 * begin and end at a unit of the target, so that no two pieces share a cluster.
 * A cluster of which a part only is zero is data.
 */
#include <errno.h>
#include <inttypes.h>

#include "base/bytes.h"
#include "image/block-status.h"
#include "tools/qimg/convert.h"

uint64_t convert_unit(const struct convert *convert)
{
	uint32_t cluster = convert->target->cluster_bytes;

	return MAX(cluster, (uint32_t)SECTOR_BYTES);
}

enum {
	WHOLE_BYTES = 64 << 20 /* of a piece that is to be cloned, at most */
};

static uint64_t piece_bytes(const struct convert *convert)
{
	return MAX((uint64_t)CONVERT_PIECE_BYTES, convert_unit(convert));
}

/* What a missing range of an image reads as comes from its backing image. */
static bool is_backed(const struct image *image, uint64_t offset)
{
	return image->backing && offset < image->backing->size_bytes;
}

/* What the target makes of what the source says. */
static enum convert_kind kind_of(const struct convert *convert,
				 const struct image *source,
				 const struct block_status *s)
{
	if (convert->has_backing && !s->present) {
		if (!is_backed(source, s->offset))
			return CONVERT_ZERO;
		return is_backed(convert->target, s->offset) ? CONVERT_SKIP
							     : CONVERT_ZERO;
	}
	if (!s->zero)
		return CONVERT_DATA;
	if (convert->sparse == 0)
		return CONVERT_DATA;
	return convert->reads_zero ? CONVERT_SKIP : CONVERT_ZERO;
}

/* From @walk->at on, in the current source. */
static int look(struct convert_walk *walk)
{
	struct convert *convert = walk->convert;
	struct convert_source *source = &convert->sources[walk->source];
	uint64_t offset = source->from + walk->at - source->start;
	uint64_t end = source->from + source->bytes;
	uint64_t size = MIN(source->image->size_bytes, end);
	struct block_status s = {.offset = offset, .zero = true};
	int err = 0;

	if (offset >= size)
		s.length = end - offset; /* the last sector's rest */
	else if (convert->has_backing)
		err = block_status_of_layer(source->image, offset,
					    size - offset, &s);
	else
		err = block_status_next(source->image, offset, size - offset,
					&s);
	/* Damaged metadata: the copy will say so, or salvage what it can. */
	if (err == -EAGAIN || (err && !convert->salvage))
		return err;
	if (err)
		cli_warning("error while reading block status at offset "
			    "%" PRIu64 ": %s",
			    offset, qimg_image_reason(source->image, err));
	if (err)
		s = (struct block_status){
			.offset = offset,
			.length = MIN(size - offset, (uint64_t)65536),
			.present = true,
			.data = true};
	walk->known = (struct convert_piece){
		.kind = kind_of(convert, source->image, &s),
		.offset = walk->at,
		.length = s.length,
		.source = source,
		.store = s.has_offset && !s.compressed && s.data ? s.store
								 : NULL,
		.host_offset = s.host_offset,
	};
	return 0;
}

static bool joins(const struct convert_piece *a, const struct convert_piece *b)
{
	return a->kind == b->kind && a->source == b->source;
}

/* As much of @piece as there is in a row can be cloned. */
static bool is_whole(const struct convert_walk *walk,
		     const struct convert_piece *piece)
{
	return piece->kind == CONVERT_DATA && walk->at >= walk->plain_until &&
	       convert_may_clone(walk->convert, piece);
}

/* How far the kind of @walk->known goes, as far as that matters. */
static int extend(struct convert_walk *walk)
{
	struct convert_piece known = walk->known;
	bool whole = is_whole(walk, &known);
	uint64_t enough = whole ? WHOLE_BYTES : piece_bytes(walk->convert);
	uint64_t unit = convert_unit(walk->convert);
	uint64_t at = walk->at;
	int err = 0;

	while (err == 0 && known.length < enough) {
		struct convert_source *source = known.source;

		walk->at = known.offset + known.length;
		if (walk->at - source->start >= source->bytes)
			break;
		err = look(walk);
		if (err || !joins(&known, &walk->known))
			break;
		if (known.store != walk->known.store ||
		    known.host_offset + known.length !=
			    walk->known.host_offset) {
			if (whole && is_aligned(walk->at, unit))
				break;
			known.store = NULL;
			whole = false;
			enough = piece_bytes(walk->convert);
		}
		known.length += walk->known.length;
	}
	walk->at = at;
	walk->known = known;
	walk->known.whole = whole;
	return err;
}

static void take(struct convert_walk *walk, uint64_t length,
		 struct convert_piece *ret)
{
	*ret = walk->known;
	ret->length = length;
	walk->at += length;
	walk->known.offset += length;
	walk->known.host_offset += length;
	walk->known.length -= MIN(walk->known.length, length);
}

/* Whole units; or up to the source's end. */
static uint64_t cut(const struct convert_walk *walk)
{
	const struct convert_piece *known = &walk->known;
	uint64_t unit = convert_unit(walk->convert);
	uint64_t end = known->offset + known->length;
	uint64_t source_end = known->source->start + known->source->bytes;

	if (end >= source_end)
		return source_end - known->offset;
	end = align_down(end, unit);
	return end > known->offset ? end - known->offset : 0;
}

/* A unit of which several things are true is read and written. */
static uint64_t mixed(struct convert_walk *walk)
{
	uint64_t unit = convert_unit(walk->convert);
	const struct convert_source *source = walk->known.source;
	uint64_t end = MIN(align_down(walk->at, unit) + unit,
			   source->start + source->bytes);

	walk->known.kind = CONVERT_DATA;
	walk->known.store = NULL;
	walk->known.whole = false;
	return end - walk->at;
}

/*
 * With a backing image a cluster is the source's as a whole or not at all, as
 * far as the source's clusters are as large as ours; else what the source
 * lacks is copied along with what it has.
 */
int convert_walk_next(struct convert_walk *walk, struct convert_piece *ret)
{
	struct convert *convert = walk->convert;
	uint64_t length, limit;
	int err = 0;

	if (walk->at >= convert->total_bytes) {
		*ret = (struct convert_piece){.kind = CONVERT_END};
		return 0;
	}
	while (walk->at - convert->sources[walk->source].start >=
	       convert->sources[walk->source].bytes)
		walk->source++;
	if (walk->known.length == 0)
		err = look(walk);
	if (err == 0)
		err = extend(walk);
	if (err)
		return err;
	length = cut(walk);
	if (length == 0)
		length = mixed(walk);
	limit = walk->known.whole ? WHOLE_BYTES : piece_bytes(convert);
	if (walk->known.kind == CONVERT_DATA)
		length = MIN(length,
			     align_down(walk->at, limit) + limit - walk->at);
	take(walk, length, ret);
	return 0;
}

void convert_walk_give_back(struct convert_walk *walk,
			    const struct convert_piece *piece, uint64_t done)
{
	walk->at = piece->offset + done;
	walk->known.length = 0;
	walk->plain_until = piece->offset + piece->length;
}
