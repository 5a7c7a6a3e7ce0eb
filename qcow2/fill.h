/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest clusters that are to have a host cluster each, of zeroes, while nothing
 * else is under way: for preallocation, and where the zero flag must not be.
 */
#ifndef QCOW2_FILL_H
#define QCOW2_FILL_H

#include "qcow2/core.h"

/*
 * Guest bytes [offset, offset + length), whole clusters or up to the image's
 * end, get host clusters, and zeroes in them; with @written also where these
 * read as zeroes already. 0, a negative errno or IMAGE_E_*.
 */
int qcow2_fill_zeroes(struct qcow2 *q, uint64_t offset, uint64_t length,
		      bool written);

/*
 * All guest clusters of a new image with extended L2 entries get host clusters,
 * and no sub-cluster in them: what is below shows as before. With @written the
 * host clusters are written, too. As qcow2_fill_zeroes.
 */
int qcow2_fill_absent(struct qcow2 *q, bool written);

/*
 * Host bytes [offset, offset + length), whole clusters of the image's file that
 * nothing names yet, get what a guest cluster of zeroes has: encrypted, where
 * sectors are counted as they lie in the file.
 */
int qcow2_fill_host(struct qcow2 *q, uint64_t offset, uint64_t length);

/*
 * Guest bytes of any alignment read as zeroes, in the way of a guest's request:
 * what else a cluster holds stays, wherever that has to come from.
 */
int qcow2_zero_range(struct qcow2 *q, uint64_t offset, uint64_t length);

/* The same, with host clusters; a cluster's length at most. */
int qcow2_write_zeroes(struct qcow2 *q, uint64_t offset, uint64_t length);

#endif
