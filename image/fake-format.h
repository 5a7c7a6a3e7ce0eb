/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A format for tests: its mapping lives in memory and it answers with every
 * kind of extent, often for no better reason than chance. What it reclaims it
 * overwrites at once, so that a request which still uses freed room is seen.
 */
#ifndef IMAGE_FAKE_FORMAT_H
#define IMAGE_FAKE_FORMAT_H

#include "image/image.h"

enum {
	FAKE_CLUSTER_BYTES = 4096,
	FAKE_MAX_CLUSTERS = 128,
};

struct fake_counts {
	unsigned needs, busy, must_flushes, allocations, reclaimed, flushes;
};

/*
 * @content is what the guest shall read; clusters of it are stored plain,
 * compressed, as zeroes, or left to @backing where that agrees (it is taken).
 * Takes @store.
 */
struct image *fake_new(struct store *store, const void *content,
		       uint64_t size_bytes, bool read_only,
		       struct image *backing, uint64_t seed);
/*
 * Encrypts what lies plain in the store, and takes @cipher; before any request.
 */
void fake_encrypt(struct image *image, struct image_cipher *cipher);

struct fake_counts fake_counts(const struct image *image);

#endif
