/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store on top of another one, some calls of which fail: what a broken disk
 * or a full one does to an image can be seen at any byte, and again. For tests
 * (`qimg` makes one of QEMU's blkdebug driver). It has no descriptor, so the
 * executor drives it through its synchronous calls. Any thread.
 */
#ifndef IMAGE_FAULT_STORE_H
#define IMAGE_FAULT_STORE_H

#include "image/store.h"

struct store_fault {
	unsigned kinds;	 /* of calls: 1 << enum store_io_kind, … */
	int error;	 /* that they return: a positive errno */
	uint64_t offset; /* only those that touch these bytes; … */
	uint64_t length; /* … 0: all */
	bool once;	 /* the first of them only */
	bool later;	 /* not before store_arm_faults */
};

/*
 * Takes @under, unless the call fails; copies the faults. A flush touches every
 * byte. Growing and shrinking do not fail. 0 or -ENOMEM.
 */
int store_new_faulty(struct store *under, const struct store_fault *faults,
		     size_t count, struct store **ret_store);

/* @store is a faulty one: now all of its faults count. */
void store_arm_faults(struct store *store);

#endif
