/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qimg compare, from inside: compare.c reads the command line and prints the
 * answer; compare-scan.c looks for the first difference of two open images.
 */
#ifndef QIMG_COMPARE_H
#define QIMG_COMPARE_H

#include <stdbool.h>
#include <stdint.h>

#include "image/image.h"

enum compare_result {
	COMPARE_SAME,
	COMPARE_DIFFERS,   /* from @offset on */
	COMPARE_STATUS,	   /* with strict: it is not stored alike, at @offset */
	COMPARE_NO_STATUS, /* @side does not say what is at @offset: @err */
	COMPARE_NO_READ,   /* @side cannot be read at @offset: @err */
	COMPARE_FAILED,	   /* nothing was compared: @err */
};

struct compare_outcome {
	enum compare_result result;
	uint64_t offset; /* guest bytes; of a difference: of its sector */
	int side;	 /* 0 or 1 */
	int err;	 /* negative errno, or IMAGE_E_* */
};

struct compare_scan {
	struct image *images[2];
	bool strict;
	/* May be NULL. */
	void (*progress)(void *opaque, uint64_t done, uint64_t total);
};

/* Of the disk, in whole sectors: a last one that is incomplete ends in zeroes. */
uint64_t compare_bytes(const struct image *image);

/*
 * Compares up to the longer one's end: what only that one has must be zeroes.
 * What lies first counts, whatever was found first.
 */
void compare_scan(const struct compare_scan *scan,
		  struct compare_outcome *ret_outcome);

#endif
