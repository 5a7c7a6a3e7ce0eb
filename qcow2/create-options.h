/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a person asked of a new image, in the terms of qcow2/create.h.
 */
#ifndef QCOW2_CREATE_OPTIONS_H
#define QCOW2_CREATE_OPTIONS_H

#include "image/manage.h"
#include "qcow2/create.h"

/*
 * Every default is filled in; texts are borrowed from @request. 0, or -EINVAL
 * with *@ret_error for what does not go together.
 */
int qcow2_create_options_take(const struct image_create_request *request,
			      struct qcow2_create_options *ret_options,
			      enum image_preallocation *ret_preallocation,
			      char **ret_error);

/*
 * Of the file, as measure counts, were all of the guest's clusters written.
 * What was taken of a request, with a size that qcow2_create takes.
 */
uint64_t qcow2_full_bytes(const struct qcow2_create_options *options);

/* "0.10" and "v2", "1.1" and "v3". */
unsigned qcow2_version_of(const char *compat);

#endif
