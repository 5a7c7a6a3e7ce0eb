/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing the header of an open image anew, from q->header: all fields, the
 * extensions that we know, those that we do not as they were found, and the
 * names of features.
 *
 * The first 512 bytes of a file are written as one by every disk, nothing
 * longer is. So what has to change together lies there, and what does not fit
 * (the name of a backing file) is written elsewhere in the first cluster and
 * made stable before it is pointed at. After a crash the header is the old one
 * or the new one.
 */
#ifndef QCOW2_HEADER_WRITE_H
#define QCOW2_HEADER_WRITE_H

#include "qcow2/core.h"

/*
 * Stable when it returns 0. -ENOSPC, with image_error, if the header does not
 * fit in a cluster. On failure q->header is as the caller set it, and the file
 * has the old or the new header: the caller puts q->header back. Nothing is
 * under way; q->head is brought up to date.
 */
int qcow2_header_update(struct qcow2 *q);

/*
 * The same, for a q->header that was *@before. On failure it is that again, and
 * the old header is written back: *@ret_kept tells that the file has it,
 * stably, so that what the new one would have named can be given back. It may
 * be NULL.
 */
int qcow2_header_replace(struct qcow2 *q, const struct qcow2_header *before,
			 bool *ret_kept);

/*
 * Sets or clears incompatible, compatible and autoclear bits, in one such
 * update.
 */
int qcow2_header_set_features(struct qcow2 *q, uint64_t incompatible,
			      uint64_t compatible, uint64_t autoclear);

#endif
