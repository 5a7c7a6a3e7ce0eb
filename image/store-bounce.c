/* SPDX-License-Identifier: Apache-2.0 */
#include "image/store-bounce.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

enum {
	BOUNCE_BYTES = 256 * 1024,
};

int store_bounce_init(struct store_bounce *bounce, uint32_t alignment)
{
	void *buffer;

	if (posix_memalign(&buffer, MAX((size_t)alignment, sizeof(void *)),
			   BOUNCE_BYTES) != 0)
		return -ENOMEM;
	pthread_mutex_init(&bounce->lock, NULL);
	bounce->buffer = buffer;
	bounce->alignment = alignment;
	return 0;
}

void store_bounce_deinit(struct store_bounce *bounce)
{
	if (!bounce->buffer)
		return;
	pthread_mutex_destroy(&bounce->lock);
	free(bounce->buffer);
	bounce->buffer = NULL;
}

/* One piece of an unaligned access: the blocks around it, in the buffer. */
struct piece {
	uint64_t start; /* aligned */
	size_t skip;
	size_t bytes; /* of the caller's */
	size_t span;  /* aligned, skip + bytes rounded up */
};

static struct piece next_piece(const struct store_bounce *bounce,
			       uint64_t offset, size_t length)
{
	struct piece piece = {.start = align_down(offset, bounce->alignment)};

	piece.skip = offset - piece.start;
	piece.bytes = MIN(length, BOUNCE_BYTES - piece.skip);
	piece.span = align_up(piece.skip + piece.bytes, bounce->alignment);
	return piece;
}

int store_bounce_read(struct store *store, struct store_bounce *bounce,
		      const struct store_aligned_io *io, uint64_t offset,
		      char *to, size_t length)
{
	int err = 0;

	pthread_mutex_lock(&bounce->lock);
	while (length > 0 && err == 0) {
		struct piece piece = next_piece(bounce, offset, length);

		err = io->read(store, piece.start, bounce->buffer, piece.span);
		if (err < 0)
			break;
		memcpy(to, bounce->buffer + piece.skip, piece.bytes);
		to += piece.bytes;
		offset += piece.bytes;
		length -= piece.bytes;
	}
	pthread_mutex_unlock(&bounce->lock);
	return err;
}

int store_bounce_write(struct store *store, struct store_bounce *bounce,
		       const struct store_aligned_io *io, uint64_t offset,
		       const char *from, size_t length)
{
	int err = 0;

	pthread_mutex_lock(&bounce->lock);
	while (length > 0 && err == 0) {
		struct piece piece = next_piece(bounce, offset, length);

		if (piece.bytes != piece.span)
			err = io->read(store, piece.start, bounce->buffer,
				       piece.span);
		if (err < 0)
			break;
		memcpy(bounce->buffer + piece.skip, from, piece.bytes);
		err = io->write(store, piece.start, bounce->buffer, piece.span);
		from += piece.bytes;
		offset += piece.bytes;
		length -= piece.bytes;
	}
	pthread_mutex_unlock(&bounce->lock);
	return err;
}
