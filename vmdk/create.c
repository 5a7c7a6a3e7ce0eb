/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes images of one sparse file, as VMware lays them out:
 *
 *	header | descriptor | second directory and tables | directory and tables
 *
 * All tables are there from the beginning, empty, in both copies.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "vmdk/core.h"
#include "vmdk/geometry.h"
#include "vmdk/manage.h"
#include "vmdk/vmdk.h"

typedef unsigned long long number;

enum {
	GRAIN_SECTORS = 128,
	GTES = VMDK_MAX_GTES,
	TABLE_SECTORS = GTES * 4 / VMDK_SECTOR_BYTES,
	DESCRIPTOR_SECTORS = 20,
};

/* Grains are named by sectors in 32 bits; what is larger cannot be filled. */
#define MAX_SECTORS (UINT64_C(1) << 32)

/* In sectors. */
struct layout {
	uint64_t capacity;
	uint64_t tables;
	uint64_t directory; /* length */
	uint64_t second;    /* where the second one lies */
	uint64_t first;
	uint64_t overhead;
};

static struct layout lay_out(uint64_t size_bytes)
{
	struct layout l = {
		.capacity = size_bytes >> VMDK_SECTOR_BITS,
	};

	l.tables = div_round_up(l.capacity, (uint64_t)GRAIN_SECTORS * GTES);
	l.directory = div_round_up(l.tables * 4, VMDK_SECTOR_BYTES);
	l.second = 1 + DESCRIPTOR_SECTORS;
	l.first = l.second + l.directory + l.tables * TABLE_SECTORS;
	l.overhead = align_up(l.first + l.directory + l.tables * TABLE_SECTORS,
			      (uint64_t)GRAIN_SECTORS);
	return l;
}

/* --- The descriptor ----------------------------------------------------- */

/* Where the image at @path finds @name; to be freed. */
static char *beside(const char *path, const char *name)
{
	const char *slash = path ? strrchr(path, '/') : NULL;
	char *joined;

	if (*name == '/' || !slash)
		return strdup(name);
	return asprintf(&joined, "%.*s%s", (int)(slash + 1 - path), path,
			name) < 0
		       ? NULL
		       : joined;
}

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
	path = beside(request->path, request->backing_name);
	if (!path)
		return -ENOMEM;
	err = read_parent(path, ret_cid, ret_error);
	free(path);
	return err;
}

static uint32_t new_cid(void)
{
	uint32_t cid;

	if (getrandom(&cid, sizeof(cid), 0) != sizeof(cid))
		cid = 0x10000001;
	/* Of eight digits, so that others may replace it; and no mark. */
	cid |= UINT32_C(1) << 28;
	return cid >= VMDK_NO_CID - 1 ? cid - 2 : cid;
}

/* The name of the file without its folder. */
static const char *file_name(const struct image_create_request *request)
{
	const char *path = request->path ? request->path : request->store->name;
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static const char *hardware_version(const struct image_options *o)
{
	const char *fallback =
		image_options_bool(o, "compat6", false) ? "6" : "4";

	return image_options_string(o, "hwversion", fallback);
}

static void print_database(FILE *out,
			   const struct image_create_request *request,
			   uint64_t sectors)
{
	const struct image_options *o = request->options;
	const char *adapter = image_options_string(o, "adapter_type", "ide");
	struct vmdk_geometry g =
		vmdk_geometry(sectors, strcmp(adapter, "ide") == 0);

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

static void print_descriptor(FILE *out,
			     const struct image_create_request *request,
			     uint64_t sectors, uint32_t parent_cid)
{
	fprintf(out, VMDK_DESCRIPTOR_MAGIC "\nversion=1\nCID=%08x\n",
		new_cid());
	fprintf(out, "parentCID=%08x\ncreateType=\"monolithicSparse\"\n",
		parent_cid);
	if (request->backing_name)
		fprintf(out, "parentFileNameHint=\"%s\"\n",
			request->backing_name);
	fprintf(out, "\n# Extent description\nRW %llu SPARSE \"%s\"\n",
		(number)sectors, file_name(request));
	print_database(out, request, sectors);
}

/* @text takes DESCRIPTOR_SECTORS. */
static int make_descriptor(const struct image_create_request *request,
			   uint64_t sectors, uint8_t *text, char **ret_error)
{
	const struct image_options *o = request->options;
	size_t room = DESCRIPTOR_SECTORS * VMDK_SECTOR_BYTES;
	uint32_t parent_cid = 0;
	struct vmdk_descriptor parsed;
	FILE *out;
	bool fits;
	int err = find_parent(request, &parent_cid, ret_error);

	if (err)
		return err;
	if (!vmdk_can_be_quoted(file_name(request)) ||
	    !vmdk_can_be_quoted(hardware_version(o)) ||
	    !vmdk_can_be_quoted(image_options_string(o, "toolsversion", "")))
		return store_fail(ret_error, -EINVAL,
				  "vmdk: a name or a value cannot be said in a "
				  "descriptor");
	memset(text, 0, room);
	out = fmemopen(text, room, "w");
	if (!out)
		return -ENOMEM;
	print_descriptor(out, request, sectors, parent_cid);
	fits = fflush(out) == 0 && !ferror(out) && text[room - 1] == 0;
	fclose(out);
	if (!fits)
		return store_fail(ret_error, -EINVAL,
				  "vmdk: the names are too long for a "
				  "descriptor of %zu bytes",
				  room);
	err = vmdk_descriptor_parse((char *)text, room, &parsed, ret_error);
	if (err == 0)
		vmdk_descriptor_deinit(&parsed);
	return err;
}

/* --- Tables ------------------------------------------------------------- */

/* Entries of a directory at sector @at, whose tables follow it. */
static int write_directory(struct store *store, const struct layout *l,
			   uint64_t at)
{
	size_t bytes = l->directory * VMDK_SECTOR_BYTES;
	uint8_t *directory = calloc(1, MAX(bytes, (size_t)1));
	int err;

	if (!directory)
		return -ENOMEM;
	for (uint64_t i = 0; i < l->tables; i++)
		put_le32(directory + i * 4,
			 (uint32_t)(at + l->directory + i * TABLE_SECTORS));
	err = store_write(store, at << VMDK_SECTOR_BITS, directory, bytes);
	free(directory);
	return err;
}

static int write_header(struct store *store, const struct layout *l,
			bool zero_grains)
{
	struct vmdk_wire_sparse header = {
		.magic = VMDK_SPARSE_MAGIC,
		.version = zero_grains ? 2 : 1,
		.flags = VMDK_FLAG_LINE_ENDS | VMDK_FLAG_REDUNDANT |
			 (zero_grains ? VMDK_FLAG_ZERO_GRAINS : 0),
		.capacity = l->capacity,
		.grain_size = GRAIN_SECTORS,
		.descriptor_offset = 1,
		.descriptor_size = DESCRIPTOR_SECTORS,
		.gtes_per_gt = GTES,
		.rgd_offset = l->second,
		.gd_offset = l->first,
		.overhead = l->overhead,
	};

	memcpy(header.line_ends, VMDK_LINE_ENDS, sizeof(header.line_ends));
	return store_write(store, 0, &header, sizeof(header));
}

/* The header comes last: without it this is no image. */
static int write_all(struct store *store, const struct layout *l,
		     const uint8_t *descriptor, bool zero_grains)
{
	int err = 0;

	if (store->can_grow)
		err = store_resize(store, 0);
	if (err == 0 && store->can_grow)
		err = store_resize(store, l->overhead << VMDK_SECTOR_BITS);
	else if (err == 0)
		err = store_zero(store, 0, l->overhead << VMDK_SECTOR_BITS);
	if (err == 0)
		err = write_directory(store, l, l->second);
	if (err == 0)
		err = write_directory(store, l, l->first);
	if (err == 0)
		err = store_write(store, VMDK_SECTOR_BYTES, descriptor,
				  DESCRIPTOR_SECTORS * VMDK_SECTOR_BYTES);
	if (err == 0)
		err = store_flush(store);
	if (err == 0)
		err = write_header(store, l, zero_grains);
	return err ? err : store_flush(store);
}

int vmdk_create(const struct image_create_request *request, char **ret_error)
{
	uint8_t descriptor[DESCRIPTOR_SECTORS * VMDK_SECTOR_BYTES];
	struct layout l = lay_out(request->size_bytes);
	int err;

	if (l.capacity == 0)
		return store_fail(ret_error, -EINVAL,
				  "vmdk: a disk has at least one sector");
	if (l.capacity > MAX_SECTORS)
		return store_fail(ret_error, -EINVAL,
				  "vmdk: a sparse disk has at most 2 TiB");
	err = make_descriptor(request, l.capacity, descriptor, ret_error);
	if (err == 0)
		err = write_all(request->store, &l, descriptor,
				image_options_bool(request->options,
						   "zeroed_grain", false));
	if (err)
		store_fail(ret_error, err, "%s: cannot be made: %s",
			   request->store->name,
			   err < 0 ? strerror(-err) : "see above");
	return err;
}
