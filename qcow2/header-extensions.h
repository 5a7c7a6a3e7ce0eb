/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For header.c alone: the first cluster of a file while it is taken apart, and
 * the header extensions in it ("Header extensions").
 */
#ifndef QCOW2_HEADER_EXTENSIONS_H
#define QCOW2_HEADER_EXTENSIONS_H

#include "base/bytes.h"
#include "qcow2/header.h"

struct qcow2_head {
	struct store *store;
	struct qcow2_wire_header wire; /* still big-endian */
	uint8_t *bytes;		       /* the cluster */
	size_t size;
	size_t header_bytes; /* extensions follow there */
	char **ret_error;
};

#define QCOW2_HEAD_FIELD(head, bits, name)            \
	get_be##bits((const uint8_t *)&(head)->wire + \
		     offsetof(struct qcow2_wire_header, name))

/* Says why the image is refused; returns @outcome. */
int qcow2_head_refuse(const struct qcow2_head *head, int outcome,
		      const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* A table of @length bytes at @offset: aligned, and inside the file. */
int qcow2_head_check_table(const struct qcow2_head *head,
			   const struct qcow2_header *h, const char *what,
			   uint64_t offset, uint64_t length);

enum {
	QCOW2_FEATURE_NAME_CHARS = 64,
};

/* The image's own name for an incompatible bit; false if it has none. */
bool qcow2_head_name_feature(const struct qcow2_head *head, unsigned bit,
			     char ret_name[QCOW2_FEATURE_NAME_CHARS]);

/*
 * Fills in what @h has from extensions; its features and geometry are known. 0,
 * -ENOMEM or IMAGE_E_CORRUPT.
 */
int qcow2_head_parse_extensions(const struct qcow2_head *head,
				enum qcow2_header_use use,
				struct qcow2_header *h);

#endif
