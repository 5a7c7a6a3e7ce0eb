/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cursor over scattered buffers. It borrows the iovec array and never
 * changes it, so one array can be walked several times, and by several
 * cursors. Each function moves at most to the end and says how many bytes it
 * moved; a short count is not an error but the end of the buffers.
 *
 * The buffers may be guest memory: nothing is read twice.
 */
#ifndef BASE_IOV_H
#define BASE_IOV_H

#include <stddef.h>
#include <sys/uio.h>

struct iov_cursor {
	const struct iovec *iov; /* the current segment */
	size_t count;		 /* segments left, the current one included */
	size_t skip;		 /* bytes of the current segment already used */
};

static inline struct iov_cursor iov_cursor(const struct iovec *iov,
					   size_t count)
{
	return (struct iov_cursor){.iov = iov, .count = count};
}

/* Sum of the lengths; the caller knows that it fits in a size_t. */
size_t iov_bytes(const struct iovec *iov, size_t count);

/* Copies the next @length bytes out of the buffers and moves on. */
size_t iov_read(struct iov_cursor *at, void *to, size_t length);

/* Copies @length bytes into the buffers and moves on. */
size_t iov_write(struct iov_cursor *at, const void *from, size_t length);

/* Sets the next @length bytes to @value and moves on. */
size_t iov_fill(struct iov_cursor *at, int value, size_t length);

/* Moves on by @length bytes. */
size_t iov_skip(struct iov_cursor *at, size_t length);

/*
 * Writes to @ret_iov the segments that make up the next @length bytes, at most
 * @max of them, and moves on past what it wrote. Returns the number of
 * segments; their bytes are *@ret_bytes, less than @length when the buffers or
 * @max ended first.
 */
size_t iov_slice(struct iov_cursor *at, size_t length, struct iovec *ret_iov,
		 size_t max, size_t *ret_bytes);

#endif
