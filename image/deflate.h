/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A deflate encoder (RFC 1951) for what QCOW2 calls zlib: raw streams whose
 * distances stay within 4 KiB. QEMU unpacks with a window of that size, and
 * libdeflate's encoder knows only 32 KiB. Small tables that stay in the first
 * cache, and no window that slides, make it a few times as fast as zlib.
 *
 * The same input and level give the same stream, whatever was encoded before.
 */
#ifndef IMAGE_DEFLATE_H
#define IMAGE_DEFLATE_H

#include <stddef.h>

enum {
	DEFLATE_WINDOW_BYTES = 4096,
	DEFLATE_MIN_LEVEL = 1,
	DEFLATE_MAX_LEVEL = 9,
	DEFLATE_DEFAULT_LEVEL = 6,
	DEFLATE_SLACK_BYTES = 8, /* of the output that a stream leaves unused */
};

/* Belongs to one thread. */
struct deflate;

int deflate_new(struct deflate **ret_deflate);

/* Accepts NULL. */
void deflate_free(struct deflate *deflate);

/* Room in which a stream of @bytes surely fits. */
size_t deflate_bound(size_t bytes);

/*
 * Encodes @bytes of @from into @to and returns the stream's length, or 0 if it
 * is longer than @to_bytes - DEFLATE_SLACK_BYTES: what is tried in vain is
 * given up early. (With stored blocks, a few bytes before that.) All of
 * @to_bytes may be written to. @level is clamped.
 */
size_t deflate_compress(struct deflate *deflate, int level, const void *from,
			size_t bytes, void *to, size_t to_bytes);

#endif
