/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goes through a disk piece by piece, many at once: copies, zeroes or compares
 * each as its owner decides. See image/chain.h.
 */
#ifndef IMAGE_CHAIN_PUMP_H
#define IMAGE_CHAIN_PUMP_H

#include "image/chain.h"

enum chain_action {
	CHAIN_SKIP,
	CHAIN_COPY,    /* from the source to the target */
	CHAIN_ZERO,    /* the target */
	CHAIN_COMPARE, /* what the source and the other one differ in is
			* copied from the source to the target */
};

struct chain_pump {
	struct image *source;
	struct image *target; /* may be the source */
	struct image *other;  /* COMPARE: zeroes past its end; or NULL */
	uint64_t size_bytes;  /* to be gone through */
	const struct chain_options *options;
	/*
	 * What to do with the first *@ret_length bytes of the range. -EAGAIN as
	 * in image/block-status.h.
	 */
	int (*judge)(struct chain_pump *pump, uint64_t offset, uint64_t length,
		     enum chain_action *ret, uint64_t *ret_length);
	struct image *failed; /* where an error comes from; or NULL */
	void *opaque;
};

/* Until all is done and stable in the target, or something fails. */
int chain_pump_run(struct chain_pump *pump);

#endif
