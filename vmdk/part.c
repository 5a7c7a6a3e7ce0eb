/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of a disk, and what their files turn out to be. */
#include <errno.h>
#include <stdlib.h>

#include "vmdk/room.h"
#include "vmdk/track.h"

typedef unsigned long long number;

struct vmdk_part *vmdk_part_at(struct vmdk *v, uint64_t offset)
{
	size_t low = 0, high = v->part_count;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (v->parts[middle].start <= offset)
			low = middle;
		else
			high = middle;
	}
	return &v->parts[low];
}

static const char *store_name(const struct vmdk *v)
{
	return v->image.store->name;
}

/* @error, of a part of the file @name, goes to *@ret_error and is freed. */
static int fail_file(char **ret_error, int err, const char *name, char *error)
{
	store_fail(ret_error, err, "%s: vmdk: %s", name,
		   error     ? error
		   : err < 0 ? strerror(-err)
			     : "it is broken");
	free(error);
	return err;
}

/* --- Sparse files ------------------------------------------------------- */

static int read_footer(struct store *store, struct vmdk_sparse *s,
		       char **ret_error)
{
	struct vmdk_wire_footer tail;
	int err;

	if (store->size_bytes < sizeof(tail))
		return store_fail(ret_error, IMAGE_E_CORRUPT,
				  "it is too short to have a footer");
	err = store_read(store, store->size_bytes - sizeof(tail), &tail,
			 sizeof(tail));
	return err ? err
		   : vmdk_header_parse_footer(&tail, store->size_bytes, s,
					      ret_error);
}

static int check_state(struct store *store, const struct vmdk_sparse *s,
		       char **ret_error)
{
	struct vmdk_wire_se_state state;
	int err = store_read(store, s->state_offset, &state, sizeof(state));

	return err ? err : vmdk_header_check_state(&state, ret_error);
}

int vmdk_read_sparse(struct store *store, enum vmdk_extent_type type,
		     struct vmdk_sparse *ret, char **ret_error)
{
	uint8_t head[sizeof(struct vmdk_wire_cowd)];
	struct vmdk_sparse s;
	int err = store_read(store, 0, head, sizeof(head));

	if (err)
		return err;
	if (type == VMDK_SESPARSE)
		err = vmdk_header_parse_se(head, store->size_bytes, &s,
					   ret_error);
	else if (get_le32(head) == VMDK_COWD_MAGIC)
		err = vmdk_header_parse_cowd(head, store->size_bytes, &s,
					     ret_error);
	else
		err = vmdk_header_parse_sparse(head, store->size_bytes, &s,
					       ret_error);
	if (err == 0 && s.at_end)
		err = read_footer(store, &s, ret_error);
	if (err == 0 && s.kind == VMDK_KIND_SE)
		err = check_state(store, &s, ret_error);
	if (err == 0)
		*ret = s;
	return err;
}

/* The grain directory is held in memory as a whole. */
static int read_directory(struct vmdk_part *part)
{
	size_t bytes = part->s.gd_entries << part->entry_bits;

	part->gd = malloc(bytes);
	return part->gd ? store_read(part->store, part->s.gd_offset, part->gd,
				     bytes)
			: -ENOMEM;
}

static int prepare_writes(const struct vmdk *v, struct vmdk_part *part,
			  char **ret_error)
{
	if (part->s.compressed)
		return store_fail(ret_error, -EROFS,
				  "a compressed extent can only be opened "
				  "read-only; convert it first");
	return vmdk_room_init(part, v->own_account, v->check, ret_error);
}

/* @part lies in @store, whose header is @s. */
static int open_sparse(struct vmdk *v, struct vmdk_part *part,
		       const struct vmdk_sparse *s, struct store *store,
		       char **ret_error)
{
	int err;

	part->s = *s;
	part->store = store;
	part->file_bytes = store->size_bytes;
	part->grain_bits =
		(unsigned)__builtin_ctzll(s->grain_sectors) + VMDK_SECTOR_BITS;
	part->entry_bits = s->kind == VMDK_KIND_SE ? 3 : 2;
	part->cache_base = (uint64_t)(part - v->parts) << VMDK_FILE_BITS;
	v->image.cluster_bytes =
		MAX(v->image.cluster_bytes, UINT32_C(1) << part->grain_bits);
	if (s->compressed)
		v->image.codec = IMAGE_CODEC_ZLIB;
	err = read_directory(part);
	if (err == 0 && part->writable && !v->image.read_only)
		err = prepare_writes(v, part, ret_error);
	return err;
}

int vmdk_parts_from_sparse(struct vmdk *v, const struct vmdk_sparse *s,
			   char **ret_error)
{
	struct vmdk_part *part = calloc(1, sizeof(*part));
	char *error = NULL;
	int err;

	if (!part)
		return -ENOMEM;
	v->parts = part;
	v->part_count = 1;
	*part = (struct vmdk_part){
		.kind = VMDK_PART_SPARSE,
		.type = s->kind == VMDK_KIND_COWD ? VMDK_VMFSSPARSE
						  : VMDK_SPARSE,
		.writable = true,
		.bytes = s->capacity_sectors << VMDK_SECTOR_BITS,
		.file = VMDK_OWN_STORE,
	};
	v->image.size_bytes = part->bytes;
	err = open_sparse(v, part, s, v->image.store, &error);
	return err && error ? fail_file(ret_error, err, store_name(v), error)
			    : err;
}

/* --- Descriptors -------------------------------------------------------- */

static int refuse_device(const struct vmdk *v, const struct vmdk_extent_line *e,
			 char **ret_error)
{
	return store_fail(ret_error, IMAGE_E_UNSUPPORTED,
			  "%s: vmdk: line %u: the extent is the device \"%s\" "
			  "(%s); devices are not opened",
			  store_name(v), e->line, e->name,
			  vmdk_extent_type_name(e->type));
}

static enum vmdk_part_kind kind_of(const struct vmdk_extent_line *e)
{
	if (e->access == VMDK_ACCESS_NONE)
		return VMDK_PART_CLOSED;
	if (e->type == VMDK_ZERO)
		return VMDK_PART_ZERO;
	return vmdk_extent_is_flat(e->type) ? VMDK_PART_FLAT : VMDK_PART_SPARSE;
}

static bool is_flat_file(const struct vmdk *v, size_t file)
{
	size_t i = 0;

	while (v->parts[i].file != file)
		i++;
	return v->parts[i].kind == VMDK_PART_FLAT;
}

/* The file of @part, which other flat parts may have named before. */
static int find_file(struct vmdk *v, struct vmdk_part *part,
		     const struct vmdk_extent_line *e, char **ret_error)
{
	struct image *image = &v->image;

	for (size_t i = 0; i < image->file_count; i++) {
		if (strcmp(image->files[i].name, e->name) != 0)
			continue;
		if (part->kind != VMDK_PART_FLAT || !is_flat_file(v, i))
			return store_fail(ret_error, IMAGE_E_CORRUPT,
					  "%s: vmdk: line %u: the file \"%s\" "
					  "is another extent's already",
					  store_name(v), e->line, e->name);
		part->file = i;
		image->files[i].read_only &= !part->writable;
		return 0;
	}
	part->file = image->file_count;
	return image_add_file(image, e->name, !part->writable);
}

static int add_part(struct vmdk *v, const struct vmdk_extent_line *e,
		    char **ret_error)
{
	struct vmdk_part *part = &v->parts[v->part_count++];

	if (e->type == VMDK_VMFSRDM || e->type == VMDK_VMFSRAW)
		return refuse_device(v, e, ret_error);
	*part = (struct vmdk_part){
		.kind = kind_of(e),
		.type = e->type,
		.writable = e->access == VMDK_ACCESS_WRITE,
		.start = v->image.size_bytes,
		.bytes = e->sectors << VMDK_SECTOR_BITS,
		.file = VMDK_OWN_STORE,
		.data_offset = e->offset_sectors << VMDK_SECTOR_BITS,
	};
	v->image.size_bytes += part->bytes;
	if (part->kind == VMDK_PART_ZERO || part->kind == VMDK_PART_CLOSED)
		return 0;
	return find_file(v, part, e, ret_error);
}

/* Disks whose extents are devices, or parts of them, whatever these say. */
static bool is_of_devices(const char *create_type)
{
	static const char *const types[] = {
		"fullDevice",
		"partitionedDevice",
		"vmfsRaw",
		"vmfsRDM",
		"vmfsRDMP",
		"vmfsRawDeviceMap",
		"vmfsPassthroughRawDeviceMap",
	};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (strcmp(create_type, types[i]) == 0)
			return true;
	return false;
}

int vmdk_parts_from_descriptor(struct vmdk *v, char **ret_error)
{
	const struct vmdk_descriptor *d = &v->d;
	int err = 0;

	if (is_of_devices(d->create_type))
		return store_fail(ret_error, IMAGE_E_UNSUPPORTED,
				  "%s: vmdk: a disk of type \"%s\" lies on "
				  "devices, which are not opened",
				  store_name(v), d->create_type);
	v->parts = calloc(d->extent_count, sizeof(*v->parts));
	if (!v->parts)
		return -ENOMEM;
	for (size_t i = 0; i < d->extent_count && err == 0; i++)
		err = add_part(v, &d->extents[i], ret_error);
	return err;
}

/* --- Files that a descriptor names -------------------------------------- */

/* What a flat file lacks would read as zeroes that nobody wrote. */
static int attach_flat(struct vmdk_part *part, struct store *data,
		       char **ret_error)
{
	if (!range_fits(part->data_offset, part->bytes, data->size_bytes))
		return store_fail(ret_error, IMAGE_E_CORRUPT,
				  "it has %llu bytes, and the extent ends at "
				  "%llu",
				  (number)data->size_bytes,
				  (number)(part->data_offset + part->bytes));
	part->store = data;
	return 0;
}

static int attach_sparse(struct vmdk *v, struct vmdk_part *part,
			 struct store *data, char **ret_error)
{
	struct vmdk_sparse s;
	int err = vmdk_read_sparse(data, part->type, &s, ret_error);

	if (err)
		return err;
	if (s.capacity_sectors < part->bytes >> VMDK_SECTOR_BITS)
		return store_fail(ret_error, IMAGE_E_CORRUPT,
				  "it has room for %llu sectors, and the "
				  "extent has %llu",
				  (number)s.capacity_sectors,
				  (number)part->bytes >> VMDK_SECTOR_BITS);
	err = open_sparse(v, part, &s, data, ret_error);
	if (err)
		part->store = NULL;
	return err;
}

static int attach_part(struct vmdk *v, struct vmdk_part *part,
		       struct store *data, char **ret_error)
{
	char *error = NULL;
	int err = part->kind == VMDK_PART_FLAT
			  ? attach_flat(part, data, &error)
			  : attach_sparse(v, part, data, &error);

	return err ? fail_file(ret_error, err, data->name, error) : 0;
}

int vmdk_attach_data(struct image *image, size_t index, struct store *data,
		     char **ret_error)
{
	struct vmdk *v = vmdk_of(image);
	int err = 0;

	if (v->track.named && index == v->track.file)
		return vmdk_track_attach(v, data, ret_error);
	for (size_t i = 0; i < v->part_count && err == 0; i++)
		if (v->parts[i].file == index)
			err = attach_part(v, &v->parts[i], data, ret_error);
	return err;
}
