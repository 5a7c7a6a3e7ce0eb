/* SPDX-License-Identifier: Apache-2.0 */
/* What image/manage.h offers of VMDK images. */
#ifndef VMDK_MANAGE_H
#define VMDK_MANAGE_H

#include "image/manage.h"

extern const struct image_manage vmdk_manage;

int vmdk_create(const struct image_create_request *request, char **ret_error);
bool vmdk_is_stream(const struct image_options *options);
int vmdk_stream(const struct image_create_request *request,
		struct image_stream *ret, char **ret_error);
int vmdk_facts(struct image *image, struct image_facts *ret);

#endif
