/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Version 2 knows no zero flag in L2 entries (the standard cluster
 * descriptor's bit 0): an image on its way there has to say "zeroes" with
 * what it has, in its snapshots as well.
 */
#ifndef QCOW2_ZERO_FLAGS_H
#define QCOW2_ZERO_FLAGS_H

#include "image/manage.h"
#include "qcow2/core.h"

/*
 * No L2 entry that the image or a snapshot of it reaches has a zero flag any
 * more, stably, and all of them read as before: the clusters are absent where
 * there is no backing image, and data otherwise. Standard entries only. If it
 * fails, or is cut off, the image reads as before all the same, and at most
 * clusters are leaked.
 *
 * While nothing is under way. 0, a negative errno, or IMAGE_E_* with
 * image_error.
 */
int qcow2_remove_zero_flags(struct qcow2 *q,
			    const struct image_amend_request *request);

#endif
