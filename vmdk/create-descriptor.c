/* SPDX-License-Identifier: Apache-2.0 */
/* The text that describes a new disk. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "vmdk/core.h"
#include "vmdk/create.h"
#include "vmdk/vmdk.h"

typedef unsigned long long number;

/* --- The parent --------------------------------------------------------- */

/* The parent is a VMDK image with a descriptor, of which only that is read. */
static int read_parent(const char *path, uint32_t *ret_cid, char **ret_error)
{
	const struct store_file_options file = {
		.read_only = true,
		.no_lock = true,
	};
	const struct image_open_options options = {.read_only = true};
	struct store *store;
	struct image *image;
	int err = store_open_file(path, &file, &store, ret_error);

	if (err)
		return err;
	err = vmdk_format.open(store, &options, &image, ret_error);
	if (err) {
		store_free(store);
		return err;
	}
	*ret_cid = vmdk_of(image)->d.cid;
	if (!vmdk_of(image)->d.create_type)
		err = store_fail(ret_error, -EINVAL,
				 "%s: vmdk: it has no descriptor, and so no "
				 "CID by which a delta could know it",
				 path);
	vmdk_format.close(image);
	return err;
}

static int find_parent(const struct image_create_request *request,
		       uint32_t *ret_cid, char **ret_error)
{
	const char *format = request->backing_format;
	char *path;
	int err;

	*ret_cid = VMDK_NO_CID;
	if (!request->backing_name)
		return 0;
	if (format && strcmp(format, "vmdk") != 0)
		return store_fail(ret_error, -EINVAL,
				  "vmdk: the backing image has to be a vmdk "
				  "image, and not %s",
				  format);
	if (!vmdk_can_be_quoted(request->backing_name))
		return store_fail(ret_error, -EINVAL,
				  "vmdk: the backing image's name cannot be "
				  "said in a descriptor");
	path = vmdk_path_beside(request, request->backing_name);
	if (!path)
		return -ENOMEM;
	err = read_parent(path, ret_cid, ret_error);
	free(path);
	return err;
}

/* --- Options ------------------------------------------------------------ */

#define IDE "ide"

/* As if it were not said. */
#define UNDEFINED "undefined"

static const char *hardware_version(const struct image_options *o)
{
	const char *said = image_options_string(o, "hwversion", UNDEFINED);

	if (strcmp(said, UNDEFINED) != 0)
		return said;
	return image_options_bool(o, "compat6", false) ? "6" : "4";
}

int vmdk_check_options(const struct image_create_request *request,
		       char **ret_error)
{
	const struct image_options *o = request->options;
	const struct vmdk_subformat *f = vmdk_subformat(o);

	if (image_options_bool(o, "compat6", false) &&
	    strcmp(image_options_string(o, "hwversion", UNDEFINED),
		   UNDEFINED) != 0)
		return store_fail(ret_error, -EINVAL,
				  "compat6 cannot be enabled with hwversion "
				  "set");
	if (vmdk_extent_is_flat(f->extent) && request->backing_name)
		return store_fail(ret_error, -ENOTSUP,
				  "Flat image can't have backing file");
	if (vmdk_extent_is_flat(f->extent) &&
	    image_options_bool(o, "zeroed_grain", false))
		return store_fail(ret_error, -ENOTSUP,
				  "Flat image can't enable zeroed grain");
	if (f->extent == VMDK_VMFSSPARSE &&
	    image_options_bool(o, "zeroed_grain", false))
		return store_fail(ret_error, -ENOTSUP,
				  "vmdk: a vmfsSparse disk cannot mark grains "
				  "as zeroes (zeroed_grain)");
	if (!vmdk_can_be_quoted(hardware_version(o)) ||
	    !vmdk_can_be_quoted(image_options_string(o, "toolsversion", "")))
		return store_fail(ret_error, -EINVAL,
				  "vmdk: a value cannot be said in a "
				  "descriptor");
	return 0;
}

/* --- The text ----------------------------------------------------------- */

static uint32_t new_cid(void)
{
	uint32_t cid;

	if (getrandom(&cid, sizeof(cid), 0) != sizeof(cid))
		cid = 0x10000001;
	/* Of eight digits, so that others may replace it; and no mark. */
	cid |= UINT32_C(1) << 28;
	return cid >= VMDK_NO_CID - 1 ? cid - 2 : cid;
}

/* -EINVAL: a name that cannot be said; -ENOMEM. */
static int print_extents(FILE *out, const struct image_create_request *request)
{
	enum vmdk_extent_type type = vmdk_subformat(request->options)->extent;

	for (uint64_t i = 0; i < vmdk_extent_count(request); i++) {
		char *name = vmdk_extent_name(request, i);

		if (!name || !vmdk_can_be_quoted(name)) {
			free(name);
			return name ? -EINVAL : -ENOMEM;
		}
		fprintf(out, "RW %llu %s \"%s\"%s\n",
			(number)vmdk_extent_sectors(request, i),
			vmdk_extent_type_name(type), name,
			type == VMDK_FLAT ? " 0" : "");
		free(name);
	}
	return 0;
}

struct vmdk_geometry
vmdk_disk_geometry(const struct image_create_request *request)
{
	const char *adapter =
		image_options_string(request->options, "adapter_type", IDE);

	return vmdk_geometry(request->size_bytes >> VMDK_SECTOR_BITS,
			     strcmp(adapter, IDE) == 0);
}

static void print_database(FILE *out,
			   const struct image_create_request *request)
{
	const struct image_options *o = request->options;
	const char *adapter = image_options_string(o, "adapter_type", IDE);
	struct vmdk_geometry g = vmdk_disk_geometry(request);

	fprintf(out, "\n# The Disk Data Base\n#DDB\n\n");
	fprintf(out, "ddb.virtualHWVersion = \"%s\"\n", hardware_version(o));
	fprintf(out, "ddb.geometry.cylinders = \"%llu\"\n",
		(number)g.cylinders);
	fprintf(out, "ddb.geometry.heads = \"%u\"\n", g.heads);
	fprintf(out, "ddb.geometry.sectors = \"%u\"\n", g.sectors);
	fprintf(out, "ddb.adapterType = \"%s\"\n", adapter);
	fprintf(out, "ddb.toolsVersion = \"%s\"\n",
		image_options_string(o, "toolsversion", "2147483647"));
}

static int print_descriptor(FILE *out,
			    const struct image_create_request *request,
			    uint32_t parent_cid, char **ret_error)
{
	int err;

	fprintf(out, VMDK_DESCRIPTOR_MAGIC "\nversion=1\nCID=%08x\n",
		new_cid());
	fprintf(out, "parentCID=%08x\ncreateType=\"%s\"\n", parent_cid,
		vmdk_subformat(request->options)->name);
	if (request->backing_name)
		fprintf(out, "parentFileNameHint=\"%s\"\n",
			request->backing_name);
	if (vmdk_subformat(request->options)->extent == VMDK_SESPARSE)
		fprintf(out, VMDK_SE_MARK "\n");
	fprintf(out, "\n# Extent description\n");
	err = print_extents(out, request);
	if (err)
		return store_fail(ret_error, err,
				  "vmdk: the disk's name cannot be said in a "
				  "descriptor");
	print_database(out, request);
	return 0;
}

/* What we read of it has to be what was meant. */
static int check_text(const struct image_create_request *request,
		      const char *text, size_t bytes, char **ret_error)
{
	struct vmdk_descriptor parsed;
	int err;

	if (vmdk_is_monolithic(vmdk_subformat(request->options)) &&
	    bytes >= VMDK_DESCRIPTOR_ROOM)
		return store_fail(ret_error, -EINVAL,
				  "vmdk: the names are too long for a "
				  "descriptor of %u bytes",
				  VMDK_DESCRIPTOR_ROOM);
	err = vmdk_descriptor_parse(text, bytes, &parsed, ret_error);
	if (err == 0)
		vmdk_descriptor_deinit(&parsed);
	return err;
}

int vmdk_make_descriptor(const struct image_create_request *request,
			 char **ret_text, size_t *ret_bytes, char **ret_error)
{
	uint32_t parent_cid = 0;
	char *text = NULL;
	size_t bytes = 0;
	FILE *out;
	int err = find_parent(request, &parent_cid, ret_error);

	if (err)
		return err;
	out = open_memstream(&text, &bytes);
	if (!out)
		return -ENOMEM;
	err = print_descriptor(out, request, parent_cid, ret_error);
	if (fclose(out) != 0 && err == 0)
		err = -ENOMEM;
	if (err == 0)
		err = check_text(request, text, bytes, ret_error);
	if (err) {
		free(text);
		return err;
	}
	*ret_text = text;
	*ret_bytes = bytes;
	return 0;
}
