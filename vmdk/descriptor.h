/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The descriptor of a VMDK image: a text of lines that says which disk it is,
 * of which extents it consists and how a virtual machine sees it. It is a file
 * of its own or lies in a sparse extent. docs/vmdk.md describes it.
 *
 * A descriptor is read, judged and kept line by line, so that what is not known
 * here survives a rewrite as it was: comments, unknown values, the disk
 * database. No I/O and no locks; names of files are not looked up here.
 */
#ifndef VMDK_DESCRIPTOR_H
#define VMDK_DESCRIPTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	VMDK_MAX_DESCRIPTOR_BYTES = 1 << 20,
	VMDK_MAX_DESCRIPTOR_LINES = 16384,
	VMDK_MAX_EXTENTS = 4096,
	VMDK_MAX_NAME_BYTES = 4095,
};

/* Of a disk, in sectors: its bytes are counted in 63 bits. */
#define VMDK_MAX_SECTORS (INT64_MAX / 512)

/* What parentCID says where there is no parent. */
#define VMDK_NO_CID UINT32_MAX

/* What a descriptor file begins with. */
#define VMDK_DESCRIPTOR_MAGIC "# Disk DescriptorFile"

enum vmdk_access {
	VMDK_ACCESS_NONE,
	VMDK_ACCESS_READ,
	VMDK_ACCESS_WRITE,
};

enum vmdk_extent_type {
	VMDK_FLAT,
	VMDK_SPARSE,
	VMDK_ZERO,
	VMDK_VMFS, /* as FLAT */
	VMDK_VMFSSPARSE,
	VMDK_SESPARSE,
	VMDK_VMFSRDM, /* the last two are devices */
	VMDK_VMFSRAW,
};

struct vmdk_extent_line {
	enum vmdk_access access;
	enum vmdk_extent_type type;
	uint64_t sectors;
	uint64_t offset_sectors; /* of the data in a flat file; else 0 */
	const char *name;	 /* heap; NULL: ZERO */
	unsigned line;		 /* in the text, from 1 */
};

/* The slices of @text that are a value's; none in other lines. */
struct vmdk_line {
	char *text; /* heap, without its end */
	size_t key_bytes;
	size_t value_at; /* without quotes */
	size_t value_bytes;
};

struct vmdk_descriptor {
	unsigned version; /* 1 to 3 */
	uint32_t cid;
	uint32_t parent_cid; /* or VMDK_NO_CID */
	char *create_type;   /* heap, as are those below */
	char *parent_hint;   /* or NULL */
	char *encoding;	     /* or NULL: UTF-8 */
	char *change_track;  /* path of the changed-block file, or NULL */
	struct vmdk_extent_line *extents;
	size_t extent_count;
	uint64_t sectors; /* of all extents */
	struct vmdk_line *lines;
	size_t line_count;
};

/*
 * Reads @bytes of @text, which end early at a zero byte. 0, -ENOMEM,
 * IMAGE_E_CORRUPT or IMAGE_E_UNSUPPORTED (image/image.h); *@ret_error then
 * names the line and what is wrong with it, to be freed.
 */
int vmdk_descriptor_parse(const char *text, size_t bytes,
			  struct vmdk_descriptor *ret, char **ret_error);

/* Accepts a zeroed one. */
void vmdk_descriptor_deinit(struct vmdk_descriptor *descriptor);

/*
 * The value of @key ("ddb.adapterType", "isNativeSnapshot"; upper and lower
 * case are alike): a copy, to be freed; NULL if there is none or no memory.
 */
char *vmdk_descriptor_get(const struct vmdk_descriptor *descriptor,
			  const char *key);

/*
 * Replaces the value of @key where it stands, or adds it: a "ddb." value at the
 * end, others below the last value that is none. The fields above follow.
 * -EINVAL if @value cannot be said (a quote, the end of a line), or not of this
 * key; -ENOMEM. Nothing has changed then.
 */
int vmdk_descriptor_set(struct vmdk_descriptor *descriptor, const char *key,
			const char *value);

/* Where in a text a value stands. */
struct vmdk_place {
	size_t line; /* from 0 */
	size_t key_at;
	size_t value_at;
	size_t value_bytes;
};

/* Of @key, which has to be there, in @text, of which @descriptor was made. */
struct vmdk_place
vmdk_descriptor_place(const struct vmdk_descriptor *descriptor, const char *key,
		      const char *text, size_t bytes);

/* As text, to be freed: 0, -ENOMEM, or -EFBIG past the limit. */
int vmdk_descriptor_write(const struct vmdk_descriptor *descriptor,
			  char **ret_text, size_t *ret_bytes);

/* "FLAT", …; and whether the guest's bytes simply lie in the file. */
const char *vmdk_extent_type_name(enum vmdk_extent_type type);
static inline bool vmdk_extent_is_flat(enum vmdk_extent_type type)
{
	return type == VMDK_FLAT || type == VMDK_VMFS;
}

/* Whether @text can stand between quotes in a descriptor. */
bool vmdk_can_be_quoted(const char *text);

#endif
