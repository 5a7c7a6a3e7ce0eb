/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A header as bytes: the fixed part, then the extensions ("Header extensions"),
 * then the backing file's name. Where these lie in a file that has a header
 * already is header-write.c's to decide.
 */
#ifndef QCOW2_HEADER_LAYOUT_H
#define QCOW2_HEADER_LAYOUT_H

#include "qcow2/header.h"

/*
 * The fixed part at @to, without a backing file; returns its length, where
 * the extensions begin: at most qcow2_header_fixed_bytes.
 */
size_t qcow2_header_fixed_bytes(const struct qcow2_header *h);
void qcow2_header_put_fixed(const struct qcow2_header *h, uint8_t *to);

/* Lets the fixed part at @to point at the backing file's name. */
void qcow2_header_put_name(uint8_t *to, uint64_t offset, uint32_t length);

/*
 * The extensions one after the other, without the one that ends them; heap.
 * The names of features are left out unless @names. 0 or -ENOMEM.
 */
int qcow2_header_extensions(const struct qcow2_header *h, bool names,
			    uint8_t **ret_extensions, size_t *ret_bytes);

/* True if names of features may be left out: they are those known here. */
bool qcow2_header_names_known(const struct qcow2_header *h);

/*
 * All of it at the beginning of @cluster, @size zero bytes, with the names of
 * features if they fit. 0, -ENOMEM or -ENOSPC.
 */
int qcow2_header_lay_out(const struct qcow2_header *h, uint8_t *cluster,
			 size_t size);

#endif
