/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entries of qcow2_manage (image/manage.h), each in the file of its noun.
 */
#ifndef QCOW2_MANAGE_H
#define QCOW2_MANAGE_H

#include "image/manage.h"

extern const struct image_manage qcow2_manage;

#endif
