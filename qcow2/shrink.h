/* SPDX-License-Identifier: Apache-2.0 */
/* What lies past a smaller size, while nothing else is under way. */
#ifndef QCOW2_SHRINK_H
#define QCOW2_SHRINK_H

#include "qcow2/core.h"

/*
 * Guest bytes from @size to the disk's end read as zeroes, or as a backing
 * image, and use nothing, stably; of a data file they are cut off. What is no
 * table is found before anything changes. 0, a negative errno or IMAGE_E_*.
 */
int qcow2_clear_past(struct qcow2 *q, uint64_t size);

/* The file ends where nothing is used behind. */
int qcow2_cut_file(struct qcow2 *q);

#endif
