/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header of a sparse extent's file, judged before anything else of the file
 * is looked at. What comes out keeps every limit of vmdk/format.h, and the
 * grain directory lies inside the file. Pure: the bytes are the caller's.
 */
#ifndef VMDK_HEADER_H
#define VMDK_HEADER_H

#include <stdbool.h>

#include "vmdk/format.h"

enum vmdk_sparse_kind {
	VMDK_KIND_KDMV,
	VMDK_KIND_COWD,
	VMDK_KIND_SE,
};

/* What VMware keeps in a seSparse file for itself. */
enum vmdk_se_reserved {
	VMDK_SE_JOURNAL_HEADER,
	VMDK_SE_JOURNAL,
	VMDK_SE_FREE_BITMAP,
	VMDK_SE_BACK_MAP,
	VMDK_SE_RESERVED,
};

/* In sectors, as the header says it: not judged. */
struct vmdk_region {
	uint64_t offset;
	uint64_t size;
};

/* Offsets and lengths of the file in bytes. */
struct vmdk_sparse {
	enum vmdk_sparse_kind kind;
	uint32_t version;
	uint64_t capacity_sectors; /* 0: only with a descriptor in it */
	uint64_t grain_sectors;	   /* a power of two */
	uint32_t gt_entries;
	uint64_t gd_offset;
	uint64_t gd_entries; /* that the capacity needs */
	uint64_t rgd_offset; /* of the second directory; 0: none */
	uint64_t header_bytes;
	uint64_t overhead_bytes;
	uint64_t descriptor_offset; /* 0: none in it */
	uint64_t descriptor_bytes;
	bool compressed;
	bool markers;
	bool zero_grains;
	bool unclean;
	bool at_end; /* nothing of the directory is set: see the footer */
	uint64_t
		free_offset; /* COWD: where the header says that room is free */
	/* SE: */
	struct vmdk_region reserved[VMDK_SE_RESERVED]; /* 0 bytes: none */
	uint64_t state_offset;
	uint64_t tables_offset;
	uint64_t tables_bytes;
	uint64_t grains_offset;
	uint64_t grains_sectors; /* not judged */
};

/*
 * From the first bytes of a file of @file_bytes: a sector for KDMV and SE, four
 * for COWD. 0, IMAGE_E_CORRUPT or IMAGE_E_UNSUPPORTED, with *@ret_error.
 */
int vmdk_header_parse_sparse(const void *head, uint64_t file_bytes,
			     struct vmdk_sparse *ret, char **ret_error);
int vmdk_header_parse_cowd(const void *head, uint64_t file_bytes,
			   struct vmdk_sparse *ret, char **ret_error);
int vmdk_header_parse_se(const void *head, uint64_t file_bytes,
			 struct vmdk_sparse *ret, char **ret_error);

/*
 * With @at_end: the last sizeof(struct vmdk_wire_footer) bytes of the file have
 * the same header with the directory's place. @sparse becomes what they say.
 */
int vmdk_header_parse_footer(const void *tail, uint64_t file_bytes,
			     struct vmdk_sparse *sparse, char **ret_error);

/* The sector at @state_offset of an SE file allows it to be read. */
int vmdk_header_check_state(const void *state, char **ret_error);

#endif
