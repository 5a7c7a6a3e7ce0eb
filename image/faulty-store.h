/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store for tests, on top of one in memory, of which one chosen call fails:
 * so that a change of an image can be seen to fail at every step. It has no
 * descriptor. An image that "frees" it leaves it as it is, to be looked at.
 */
#ifndef IMAGE_FAULTY_STORE_H
#define IMAGE_FAULTY_STORE_H

#include "image/store.h"

enum {
	FAULTY_ANY_OFFSET = -1,
};

struct faulty_store {
	struct store store;
	struct store *under;
	int64_t at;	    /* only writes there, and the flushes after them */
	uint64_t countdown; /* calls until one fails; 0: none does */
	bool for_good;	    /* and all after it, until @countdown is set */
	bool failed;	    /* one did */
	uint64_t limit;	    /* larger it cannot be made; or 0 */
	bool after;	    /* the last write was there */
};

/* Empty, on storage of the caller's; no call fails. 0 or -ENOMEM. */
int faulty_store_init(struct faulty_store *faulty);
void faulty_store_deinit(struct faulty_store *faulty);

/* The call that @countdown counts to fails, any write first. */
void faulty_store_arm(struct faulty_store *faulty, uint64_t countdown,
		      bool for_good);

#endif
