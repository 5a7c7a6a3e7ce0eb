/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where source and target lie as they are in files of one file system, it can
 * share the blocks (FICLONERANGE), which costs nothing and is tried first, or,
 * with -C, copy them by itself (copy_file_range). What does not work is
 * copied as ever.
 */
#include <errno.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tools/qimg/convert.h"

enum {
	NO_CLONE = 1, /* it was refused once */
	NO_COPY = 2,
	BLOCK_BYTES = 4096,
};

/* A place in a store's file. */
struct place {
	struct store *store;
	uint64_t offset;
};

static bool share(struct convert *convert, struct place from, struct place to,
		  uint64_t length)
{
	struct file_clone_range range = {
		.src_fd = from.store->fd,
		.src_offset = from.store->fd_offset + from.offset,
		.src_length = length,
		.dest_offset = to.store->fd_offset + to.offset,
	};

	if (convert->clones & NO_CLONE)
		return false;
	if (!is_aligned(range.src_offset | range.dest_offset | length,
			BLOCK_BYTES))
		return false;
	if (ioctl(to.store->fd, FICLONERANGE, &range) == 0)
		return true;
	convert->clones |= NO_CLONE;
	return false;
}

static bool copy(struct convert *convert, struct place from, struct place to,
		 uint64_t length)
{
	loff_t in = (loff_t)(from.store->fd_offset + from.offset);
	loff_t out = (loff_t)(to.store->fd_offset + to.offset);

	while (convert->copy_range && !(convert->clones & NO_COPY) && length) {
		ssize_t done = copy_file_range(from.store->fd, &in,
					       to.store->fd, &out, length, 0);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			convert->clones |= NO_COPY;
		else
			length -= done;
	}
	return length == 0;
}

static bool move(struct convert *convert, struct place from, struct place to,
		 uint64_t length)
{
	/* A slice or a device is a wall. */
	if (!to.store->can_grow &&
	    !range_fits(to.offset, length, to.store->size_bytes))
		return false;
	return share(convert, from, to, length) ||
	       copy(convert, from, to, length);
}

static bool fill(struct convert *convert, struct place from,
		 const struct image_extent *extent)
{
	struct place to = {extent->store, extent->host_offset};
	bool done = extent->head_bytes + extent->tail_bytes == 0 &&
		    move(convert, from, to, extent->length);
	int outcome =
		image_commit(convert->target, extent, done ? 0 : -ECANCELED);

	return done && outcome == 0;
}

/* Nothing of this is under way when the loop runs again. */
static bool put(struct convert *convert, struct place from, uint64_t offset,
		uint64_t *length)
{
	struct image *target = convert->target;
	struct image_extent extent;
	int err;

	do {
		err = image_map(target, IMAGE_WRITE, offset, *length, &extent);
		if (err == 0 && extent.kind == IMAGE_NEED)
			err = image_read_need(target, &extent);
	} while (err == 0 && extent.kind == IMAGE_NEED);
	if (err)
		return false;
	*length = extent.length;
	if (extent.kind == IMAGE_ALLOCATE)
		return fill(convert, from, &extent);
	return extent.kind == IMAGE_DATA &&
	       move(convert, from,
		    (struct place){extent.store, extent.host_offset},
		    extent.length);
}

bool convert_may_clone(const struct convert *convert,
		       const struct convert_piece *piece)
{
	const struct image *target = convert->target;

	if ((convert->clones & NO_CLONE) &&
	    (!convert->copy_range || (convert->clones & NO_COPY)))
		return false;
	return piece->store && piece->store->fd >= 0 && !convert->compress &&
	       !target->cipher && target->data_store->fd >= 0;
}

/* Whole clusters of the target, and whole blocks. */
uint64_t convert_clone(struct convert *convert,
		       const struct convert_piece *piece)
{
	uint64_t unit = MAX(convert_unit(convert), (uint64_t)BLOCK_BYTES);
	uint64_t end = align_down(piece->length, unit);
	uint64_t done = 0;

	while (done < end) {
		struct place from = {piece->store, piece->host_offset + done};
		uint64_t length = end - done;

		if (!put(convert, from, piece->offset + done, &length))
			break;
		done += length;
	}
	return done;
}
