/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a cluster that is to be used is a table already. */
#ifndef QCOW2_OVERLAP_H
#define QCOW2_OVERLAP_H

#include "qcow2/core.h"

/*
 * Refcounts said that @count clusters from @first are free, but an image may
 * say anything: what is known to be metadata is never given out. What is cached
 * of their past is forgotten. 0, IMAGE_E_CORRUPT or -ENOMEM.
 */
int qcow2_check_overlaps(struct qcow2 *q, uint64_t first, uint32_t count);

/* An L2 table or a refcount block has come into being at @cluster. */
void qcow2_note_table(struct qcow2 *q, uint64_t cluster);

#endif
