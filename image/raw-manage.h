/* SPDX-License-Identifier: Apache-2.0 */
/* What can be done to a raw image as a whole: see image/manage.h. */
#ifndef IMAGE_RAW_MANAGE_H
#define IMAGE_RAW_MANAGE_H

#include "image/manage.h"

extern const struct image_manage raw_manage;

#endif
