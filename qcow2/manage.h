/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entries of qcow2_manage (image/manage.h), each in the file of its noun.
 */
#ifndef QCOW2_MANAGE_H
#define QCOW2_MANAGE_H

#include "image/manage.h"

extern const struct image_manage qcow2_manage;

int qcow2_create_image(const struct image_create_request *request,
		       char **ret_error);
int qcow2_measure(const struct image_create_request *request,
		  struct image *source, struct image_measure *ret,
		  char **ret_error);
int qcow2_facts(struct image *image, struct image_facts *ret);
int qcow2_features(struct image *image, struct image_facts *ret);
int qcow2_is_sparse(struct image *image, bool *ret);
int qcow2_amend(struct image *image, const struct image_amend_request *request);
int qcow2_set_backing(struct image *image, const char *name,
		      const char *backing_format);
int qcow2_make_empty(struct image *image);

#endif
