/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bits of a persistent bitmap by sectors of the guest, as ours finds them
 * and as QEMU's NBD server exports them.
 */
#ifndef TESTS_IMAGES_BITS_H
#define TESTS_IMAGES_BITS_H

#include <stdbool.h>
#include <stdint.h>

#include "image/image.h"

enum {
	BITS_SECTOR = 512,
	BITS_MAX_DISK = 8 << 20, /* bytes of the largest disk */
};

struct bits {
	bool set[BITS_MAX_DISK / BITS_SECTOR];
};

/* What of the range, with all granules that it touches, a disk of @size has. */
void bits_set(struct bits *bits, uint64_t granule, uint64_t size,
	      uint64_t offset, uint64_t length);

/* The next call to either makes the answer of the last one void. */
const struct bits *bits_of_ours(struct image *image, const char *name);
/* @source: what qemu-nbd is told of the image. */
const struct bits *bits_of_theirs(const char *source, const char *name);

/* Fails the test, and says @who has which sector of bitmap @name wrong. */
void bits_must_be(const char *who, const char *name, const struct bits *got,
		  const struct bits *want);

#endif
