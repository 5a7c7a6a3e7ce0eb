/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The QCOW2 format driver: versions 2 and 3. What it can and how it keeps an
 * image whole is told in docs/qcow2.md. A program registers qcow2_format with
 * image_register_format.
 */
#ifndef QCOW2_QCOW2_H
#define QCOW2_QCOW2_H

#include "image/image.h"

extern const struct image_format qcow2_format;

/*
 * The machine's state in the snapshot that a qcow2 image was opened as: how
 * long it is, and @length of its bytes from @offset, with synchronous calls. 0,
 * a negative errno (-EINVAL past its end) or IMAGE_E_CORRUPT.
 */
uint64_t qcow2_vmstate_bytes(const struct image *image);
int qcow2_vmstate_read(struct image *image, uint64_t offset, void *ret_data,
		       size_t length);

#endif
