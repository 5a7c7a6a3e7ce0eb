/* SPDX-License-Identifier: Apache-2.0 */
#include "base/iov.h"

#include <string.h>

#include "base/bytes.h"

/*
 * The next contiguous piece of at most @length bytes, or an empty one at the
 * end. Moves the cursor past it.
 */
static struct iovec next_piece(struct iov_cursor *at, size_t length)
{
	struct iovec piece = {0};

	while (at->count > 0 && at->skip == at->iov->iov_len) {
		at->iov++;
		at->count--;
		at->skip = 0;
	}
	if (at->count == 0)
		return piece;
	piece.iov_base = (char *)at->iov->iov_base + at->skip;
	piece.iov_len = MIN(length, at->iov->iov_len - at->skip);
	at->skip += piece.iov_len;
	return piece;
}

size_t iov_bytes(const struct iovec *iov, size_t count)
{
	size_t bytes = 0;

	for (size_t i = 0; i < count; i++)
		bytes += iov[i].iov_len;
	return bytes;
}

size_t iov_read(struct iov_cursor *at, void *to, size_t length)
{
	size_t done = 0;

	while (done < length) {
		struct iovec piece = next_piece(at, length - done);

		if (piece.iov_len == 0)
			break;
		memcpy((char *)to + done, piece.iov_base, piece.iov_len);
		done += piece.iov_len;
	}
	return done;
}

size_t iov_write(struct iov_cursor *at, const void *from, size_t length)
{
	size_t done = 0;

	while (done < length) {
		struct iovec piece = next_piece(at, length - done);

		if (piece.iov_len == 0)
			break;
		memcpy(piece.iov_base, (const char *)from + done,
		       piece.iov_len);
		done += piece.iov_len;
	}
	return done;
}

size_t iov_fill(struct iov_cursor *at, int value, size_t length)
{
	size_t done = 0;

	while (done < length) {
		struct iovec piece = next_piece(at, length - done);

		if (piece.iov_len == 0)
			break;
		memset(piece.iov_base, value, piece.iov_len);
		done += piece.iov_len;
	}
	return done;
}

size_t iov_skip(struct iov_cursor *at, size_t length)
{
	size_t done = 0;

	while (done < length) {
		struct iovec piece = next_piece(at, length - done);

		if (piece.iov_len == 0)
			break;
		done += piece.iov_len;
	}
	return done;
}

size_t iov_slice(struct iov_cursor *at, size_t length, struct iovec *ret_iov,
		 size_t max, size_t *ret_bytes)
{
	size_t done = 0;
	size_t count = 0;

	while (done < length && count < max) {
		struct iovec piece = next_piece(at, length - done);

		if (piece.iov_len == 0)
			break;
		ret_iov[count++] = piece;
		done += piece.iov_len;
	}
	*ret_bytes = done;
	return count;
}
