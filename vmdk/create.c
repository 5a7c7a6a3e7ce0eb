/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes disks of each kind. The files of extents come first, and what names
 * them last: without it they are no disk.
 */
#include "vmdk/create.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "vmdk/manage.h"

#define TWO_GIB_SECTORS (UINT64_C(1) << 22)

static const struct vmdk_subformat subformats[] = {
	{.name = "monolithicSparse", .extent = VMDK_SPARSE},
	{.name = "monolithicFlat", .extent = VMDK_FLAT},
	{.name = "twoGbMaxExtentSparse", .extent = VMDK_SPARSE, .split = true},
	{.name = "twoGbMaxExtentFlat", .extent = VMDK_FLAT, .split = true},
	{.name = "streamOptimized", .extent = VMDK_SPARSE, .stream = true},
	{.name = "vmfs", .extent = VMDK_VMFS},
	{.name = "vmfsSparse", .extent = VMDK_VMFSSPARSE},
	{.name = "seSparse", .extent = VMDK_SESPARSE},
};

const struct vmdk_subformat *vmdk_subformat(const struct image_options *options)
{
	const char *name =
		image_options_string(options, "subformat", subformats[0].name);

	for (size_t i = 0; i < ARRAY_SIZE(subformats); i++)
		if (strcmp(name, subformats[i].name) == 0)
			return &subformats[i];
	return &subformats[0];
}

/* --- Extents ------------------------------------------------------------ */

static uint64_t disk_sectors(const struct image_create_request *request)
{
	return request->size_bytes >> VMDK_SECTOR_BITS;
}

uint64_t vmdk_extent_count(const struct image_create_request *request)
{
	return vmdk_subformat(request->options)->split
		       ? div_round_up(disk_sectors(request), TWO_GIB_SECTORS)
		       : 1;
}

uint64_t vmdk_extent_sectors(const struct image_create_request *request,
			     uint64_t index)
{
	uint64_t sectors = disk_sectors(request);

	if (!vmdk_subformat(request->options)->split)
		return sectors;
	return MIN(sectors - index * TWO_GIB_SECTORS, TWO_GIB_SECTORS);
}

static const char *file_ending(enum vmdk_extent_type type)
{
	if (vmdk_extent_is_flat(type))
		return "flat";
	return type == VMDK_SESPARSE ? "sesparse" : "delta";
}

/*
 * "disk.vmdk" has "disk-flat.vmdk", "disk-delta.vmdk" or "disk-sesparse.vmdk", or
 * "disk-s001.vmdk", "disk-f001.vmdk".
 */
char *vmdk_extent_name(const struct image_create_request *request,
		       uint64_t index)
{
	const struct vmdk_subformat *f = vmdk_subformat(request->options);
	const char *path = request->path ? request->path : request->store->name;
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	const char *dot = strrchr(name, '.');
	int stem = dot ? (int)(dot - name) : (int)strlen(name);
	const char *end = name + stem;
	char *made = NULL;
	int length;

	if (vmdk_is_monolithic(f))
		return strdup(name);
	if (f->split)
		length = asprintf(&made, "%.*s-%c%03u%s", stem, name,
				  vmdk_extent_is_flat(f->extent) ? 'f' : 's',
				  (unsigned)index + 1, end);
	else
		length = asprintf(&made, "%.*s-%s%s", stem, name,
				  file_ending(f->extent), end);
	return length < 0 ? NULL : made;
}

char *vmdk_path_beside(const struct image_create_request *request,
		       const char *name)
{
	const char *path = request->path;
	const char *slash = path ? strrchr(path, '/') : NULL;
	char *joined;

	if (*name == '/' || !slash)
		return strdup(name);
	return asprintf(&joined, "%.*s%s", (int)(slash + 1 - path), path,
			name) < 0
		       ? NULL
		       : joined;
}

static int fill_extent(const struct image_create_request *request,
		       struct store *store, uint64_t index)
{
	const struct vmdk_subformat *f = vmdk_subformat(request->options);
	uint64_t sectors = vmdk_extent_sectors(request, index);
	int err;

	if (f->extent == VMDK_VMFSSPARSE)
		return vmdk_make_cowd(store, request);
	if (f->extent == VMDK_SESPARSE)
		return vmdk_make_se(store, request);
	if (!vmdk_extent_is_flat(f->extent))
		return vmdk_make_sparse(store, f,
					image_options_bool(request->options,
							   "zeroed_grain",
							   false),
					sectors, NULL, 0);
	err = store_resize(store, sectors << VMDK_SECTOR_BITS);
	return err ? err : store_flush(store);
}

static int make_extent(const struct image_create_request *request,
		       uint64_t index, char **ret_error)
{
	char *name = vmdk_extent_name(request, index);
	char *path = name ? vmdk_path_beside(request, name) : NULL;
	struct store *store = NULL;
	int err = path ? image_new_file(request, path, &store, ret_error)
		       : -ENOMEM;

	if (err == 0)
		err = fill_extent(request, store, index);
	if (err)
		store_fail(ret_error, err, "%s: cannot be made: %s",
			   path ? path : "the extent", strerror(-err));
	store_free(store);
	free(path);
	free(name);
	return err;
}

/* --- The disk ----------------------------------------------------------- */

static int check_size(const struct image_create_request *request,
		      char **ret_error)
{
	const struct vmdk_subformat *f = vmdk_subformat(request->options);

	if (disk_sectors(request) == 0)
		return store_fail(ret_error, -EINVAL,
				  "vmdk: a disk has at least one sector");
	if (vmdk_is_monolithic(f) &&
	    disk_sectors(request) > VMDK_MAX_SPARSE_SECTORS)
		return store_fail(ret_error, -EINVAL,
				  "vmdk: a sparse disk of one extent has at "
				  "most 64 TiB");
	if (f->extent == VMDK_VMFSSPARSE &&
	    disk_sectors(request) > VMDK_MAX_COWD_SECTORS)
		return store_fail(ret_error, -EINVAL,
				  "vmdk: a vmfsSparse disk has less than 2 "
				  "TiB");
	if (f->extent == VMDK_SESPARSE &&
	    disk_sectors(request) > VMDK_MAX_SE_SECTORS)
		return store_fail(ret_error, -EINVAL,
				  "vmdk: a seSparse disk has at most 64 TiB");
	if (vmdk_extent_count(request) > VMDK_MAX_EXTENTS)
		return store_fail(
			ret_error, -EINVAL,
			"vmdk: a disk has at most %u extents of 2 GiB",
			VMDK_MAX_EXTENTS);
	return 0;
}

/* Nothing but the text; on a device what follows it is zeroes. */
static int write_descriptor(struct store *store, const char *text, size_t bytes)
{
	int err = store->can_grow ? store_resize(store, 0) : 0;

	if (err == 0)
		err = store_write(store, 0, text, bytes);
	return err ? err : store_flush(store);
}

static int make_all(const struct image_create_request *request,
		    const char *text, size_t bytes, char **ret_error)
{
	const struct vmdk_subformat *f = vmdk_subformat(request->options);
	bool zero_grains =
		image_options_bool(request->options, "zeroed_grain", false);
	int err = 0;

	if (vmdk_is_monolithic(f))
		return vmdk_make_sparse(request->store, f, zero_grains,
					disk_sectors(request), text, bytes);
	for (uint64_t i = 0; i < vmdk_extent_count(request) && err == 0; i++)
		err = make_extent(request, i, ret_error);
	return err ? err : write_descriptor(request->store, text, bytes);
}

int vmdk_prepare(const struct image_create_request *request, char **ret_text,
		 size_t *ret_bytes, char **ret_error)
{
	int err = vmdk_check_options(request, ret_error);

	if (err == 0)
		err = check_size(request, ret_error);
	return err ? err
		   : vmdk_make_descriptor(request, ret_text, ret_bytes,
					  ret_error);
}

int vmdk_create(const struct image_create_request *request, char **ret_error)
{
	char *text = NULL;
	size_t bytes = 0;
	int err = vmdk_prepare(request, &text, &bytes, ret_error);

	if (err == 0)
		err = make_all(request, text, bytes, ret_error);
	free(text);
	if (err)
		store_fail(ret_error, err, "%s: cannot be made: %s",
			   request->store->name,
			   err < 0 ? strerror(-err) : "see above");
	return err;
}
