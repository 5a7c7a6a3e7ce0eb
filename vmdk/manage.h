/* SPDX-License-Identifier: Apache-2.0 */
/* What image/manage.h offers of VMDK images. */
#ifndef VMDK_MANAGE_H
#define VMDK_MANAGE_H

#include "image/manage.h"

extern const struct image_manage vmdk_manage;

#endif
