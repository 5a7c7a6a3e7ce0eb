/* SPDX-License-Identifier: Apache-2.0 */
/* Another size for an image: see image/manage.h. */
#ifndef QCOW2_RESIZE_H
#define QCOW2_RESIZE_H

#include "image/manage.h"
#include "qcow2/core.h"

int qcow2_resize(struct image *image, uint64_t size_bytes,
		 enum image_preallocation preallocation);

#endif
