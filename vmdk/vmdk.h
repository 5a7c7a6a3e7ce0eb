/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VMDK format driver. What it can and how it keeps an image whole is told
 * in docs/vmdk.md. A program registers vmdk_format with image_register_format.
 */
#ifndef VMDK_VMDK_H
#define VMDK_VMDK_H

#include "image/image.h"

extern const struct image_format vmdk_format;

#endif
