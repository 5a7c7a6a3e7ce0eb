/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making disks, for create*.c and stream*.c: which kinds of disks there are, the
 * text that describes one, and the files of sparse extents.
 */
#ifndef VMDK_CREATE_H
#define VMDK_CREATE_H

#include "image/manage.h"
#include "vmdk/descriptor.h"
#include "vmdk/format.h"
#include "vmdk/geometry.h"

enum {
	VMDK_GRAIN_SECTORS = 128,
	VMDK_GRAIN_BYTES = VMDK_GRAIN_SECTORS * VMDK_SECTOR_BYTES,
	VMDK_TABLE_SECTORS = VMDK_MAX_GTES * 4 / VMDK_SECTOR_BYTES,
	/* What a header leaves for the descriptor, whether it lies there or not. */
	VMDK_DESCRIPTOR_SECTORS = 20,
	VMDK_DESCRIPTOR_ROOM = VMDK_DESCRIPTOR_SECTORS * VMDK_SECTOR_BYTES,
};

/*
 * VMware's disks have at most 62 TiB. Grains are named by sectors in 32 bits: of
 * one file no more than 2 TiB can be filled.
 */
#define VMDK_MAX_SPARSE_SECTORS (UINT64_C(1) << 37)
#define VMDK_MAX_COWD_SECTORS	((uint64_t)UINT32_MAX)
#define VMDK_MAX_SE_SECTORS	(UINT64_C(1) << 37)

/* An option's "subformat", which a descriptor calls createType. */
struct vmdk_subformat {
	const char *name;
	enum vmdk_extent_type extent;
	bool split;  /* into extents of 2 GiB */
	bool stream; /* grains are compressed */
};

/* Of checked options. */
const struct vmdk_subformat *
vmdk_subformat(const struct image_options *options);

/* Whether the disk has one file, in which its descriptor lies. */
static inline bool vmdk_is_monolithic(const struct vmdk_subformat *f)
{
	return f->extent == VMDK_SPARSE && !f->split;
}

/* The geometry of the disk, as its controller has it. */
struct vmdk_geometry
vmdk_disk_geometry(const struct image_create_request *request);

/* Values that contradict each other, or the kind. 0 or -EINVAL, -ENOTSUP. */
int vmdk_check_options(const struct image_create_request *request,
		       char **ret_error);

/*
 * The descriptor of the disk that @request asks for, as text to be freed.
 * *@ret_bytes is without the zero at its end. 0, or an error with *@ret_error.
 */
int vmdk_make_descriptor(const struct image_create_request *request,
			 char **ret_text, size_t *ret_bytes, char **ret_error);

/* The same, after a look at the options and the size. */
int vmdk_prepare(const struct image_create_request *request, char **ret_text,
		 size_t *ret_bytes, char **ret_error);

/* Extents of the disk, and their sectors; @index from 0. */
uint64_t vmdk_extent_count(const struct image_create_request *request);
uint64_t vmdk_extent_sectors(const struct image_create_request *request,
			     uint64_t index);

/* The name of that extent's file, without a folder; to be freed. */
char *vmdk_extent_name(const struct image_create_request *request,
		       uint64_t index);

/* The whole path of the file @name beside @request's; to be freed. */
char *vmdk_path_beside(const struct image_create_request *request,
		       const char *name);

/* An empty COWD extent of the disk that @request asks for, the same. */
int vmdk_make_cowd(struct store *store,
		   const struct image_create_request *request);

/* An empty seSparse extent, the same. */
int vmdk_make_se(struct store *store,
		 const struct image_create_request *request);

/*
 * An empty sparse extent of @sectors in @store, with @descriptor in it unless
 * that is NULL. Stable when it returns.
 */
int vmdk_make_sparse(struct store *store, const struct vmdk_subformat *format,
		     bool zero_grains, uint64_t sectors, const char *descriptor,
		     size_t descriptor_bytes);

#endif
