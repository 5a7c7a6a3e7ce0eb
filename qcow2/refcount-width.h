/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Refcounts of another width: a second set of refcount blocks with their table
 * is built beside the one in use, and the header names it in one write.
 */
#ifndef QCOW2_REFCOUNT_WIDTH_H
#define QCOW2_REFCOUNT_WIDTH_H

#include "qcow2/core.h"

/*
 * Each refcount has 2^@order bits afterwards. -ERANGE, with image_error, if one
 * is too large for that; other errors as in qcow2/offline.h.
 */
int qcow2_set_refcount_order(struct qcow2 *q, unsigned order);

#endif
