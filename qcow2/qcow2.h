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

#endif
