/* SPDX-License-Identifier: Apache-2.0 */
/* One line of a descriptor. For descriptor.c and its tests alone. */
#ifndef VMDK_DESCRIPTOR_LINE_H
#define VMDK_DESCRIPTOR_LINE_H

#include "vmdk/descriptor.h"

enum vmdk_line_kind {
	VMDK_LINE_TEXT, /* empty, or a comment */
	VMDK_LINE_VALUE,
	VMDK_LINE_EXTENT,
	VMDK_LINE_UNKNOWN,
};

/* What @line, whose text is set, is; sets the slices of a value. */
enum vmdk_line_kind vmdk_line_judge(struct vmdk_line *line);

/* Whether @line is the value of @key. */
bool vmdk_line_is(const struct vmdk_line *line, const char *key);

/*
 * Takes the line of an extent apart; @ret->name is on the heap, @ret->line is
 * not set. NULL, or what is wrong with it. "" is no memory.
 */
const char *vmdk_line_extent(const char *text, struct vmdk_extent_line *ret);

/* The eight (or fewer) hexadecimal digits of a CID. */
bool vmdk_parse_cid(const char *text, uint32_t *ret_cid);

#endif
