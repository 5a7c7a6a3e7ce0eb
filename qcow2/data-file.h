/* SPDX-License-Identifier: Apache-2.0 */
/* The file beside a new image that its guest's data goes to. */
#ifndef QCOW2_DATA_FILE_H
#define QCOW2_DATA_FILE_H

#include "image/manage.h"
#include "qcow2/create.h"

/*
 * Makes @o->data_name, seen from the folder of @request->path: as long as the
 * disk, and all zeroes; what a file of that name held is lost. -EINVAL, with
 * *@ret_error, if that were the image itself or its backing file.
 */
int qcow2_data_file_make(const struct image_create_request *request,
			 const struct qcow2_create_options *o,
			 struct store **ret_store, char **ret_error);

#endif
