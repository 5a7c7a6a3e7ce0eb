/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <strings.h>

#include "image/open.h"
#include "vmdk/cid.h"
#include "vmdk/core.h"
#include "vmdk/manage.h"
#include "vmdk/room.h"
#include "vmdk/track.h"
#include "vmdk/vmdk.h"

static bool begins_with(const void *head, size_t size, const char *text)
{
	return size >= strlen(text) &&
	       strncasecmp(head, text, strlen(text)) == 0;
}

static bool probe(const void *head, size_t size)
{
	return size >= VMDK_SECTOR_BYTES
		       ? get_le32(head) == VMDK_SPARSE_MAGIC ||
				 get_le32(head) == VMDK_COWD_MAGIC ||
				 begins_with(head, size, VMDK_DESCRIPTOR_MAGIC)
		       : begins_with(head, size, VMDK_DESCRIPTOR_MAGIC);
}

static bool has_mark(const struct vmdk_descriptor *d)
{
	for (size_t i = 0; i < d->line_count; i++)
		if (strcmp(d->lines[i].text, VMDK_SE_MARK) == 0)
			return true;
	return false;
}

/* The text of @bytes at @offset: v->d. */
static int read_descriptor(struct vmdk *v, uint64_t offset, uint64_t bytes,
			   char **ret_error)
{
	struct store *store = v->image.store;
	char *text, *error = NULL;
	int err;

	if (bytes > VMDK_MAX_DESCRIPTOR_BYTES)
		return store_fail(ret_error, IMAGE_E_UNSUPPORTED,
				  "%s: vmdk: it begins as no extent, and a "
				  "descriptor has at most %u bytes",
				  store->name, VMDK_MAX_DESCRIPTOR_BYTES);
	text = malloc(bytes ? bytes : 1);
	if (!text)
		return -ENOMEM;
	err = store_read(store, offset, text, bytes);
	/* Extents of a descriptor elsewhere keep room for one. */
	if (err == 0 && (offset == 0 || text[0] != '\0'))
		err = vmdk_descriptor_parse(text, bytes, &v->d, &error);
	v->own_account = err == 0 && has_mark(&v->d);
	if (err == 0 && v->d.create_type && !v->image.read_only)
		err = vmdk_cid_prepare(v, text, bytes, offset, ret_error);
	if (error)
		store_fail(ret_error, err, "%s: vmdk: descriptor: %s",
			   store->name, error);
	free(error);
	free(text);
	return err;
}

/* A check says what is wrong with it, where the header tells of the disk. */
static int read_own_descriptor(struct vmdk *v, const struct vmdk_sparse *s,
			       char **ret_error)
{
	char *error = NULL;
	int err = read_descriptor(v, s->descriptor_offset, s->descriptor_bytes,
				  &error);

	if (err > 0 && error && v->check && s->capacity_sectors &&
	    !v->d.create_type) {
		v->text_damage = error;
		return 0;
	}
	if (error)
		store_fail(ret_error, err, "%s", error);
	free(error);
	return err;
}

static int open_sparse(struct vmdk *v, char **ret_error)
{
	struct vmdk_sparse s;
	char *error = NULL;
	int err = vmdk_read_sparse(v->image.store, VMDK_SPARSE, &s, &error);

	if (error)
		store_fail(ret_error, err, "%s: vmdk: %s", v->image.store->name,
			   error);
	free(error);
	if (err == 0 && s.descriptor_offset)
		err = read_own_descriptor(v, &s, ret_error);
	if (err)
		return err;
	if (s.capacity_sectors == 0 && v->d.create_type)
		return vmdk_parts_from_descriptor(v, ret_error);
	if (s.capacity_sectors == 0)
		return store_fail(ret_error, IMAGE_E_CORRUPT,
				  "%s: vmdk: it has no capacity and no "
				  "descriptor",
				  v->image.store->name);
	return vmdk_parts_from_sparse(v, &s, ret_error);
}

static int open_parts(struct vmdk *v, char **ret_error)
{
	struct store *store = v->image.store;
	uint8_t magic[4];
	int err = store_read(store, 0, magic, sizeof(magic));

	if (err)
		return err;
	if (get_le32(magic) == VMDK_SPARSE_MAGIC ||
	    get_le32(magic) == VMDK_COWD_MAGIC)
		return open_sparse(v, ret_error);
	err = read_descriptor(v, 0, store->size_bytes, ret_error);
	return err ? err : vmdk_parts_from_descriptor(v, ret_error);
}

/* A delta link: what is not in it is in its parent, which is a VMDK image. */
static int name_parent(struct vmdk *v, char **ret_error)
{
	const struct vmdk_descriptor *d = &v->d;

	if (!d->create_type || d->parent_cid == VMDK_NO_CID)
		return 0;
	if (!d->parent_hint || !*d->parent_hint)
		return store_fail(ret_error, IMAGE_E_CORRUPT,
				  "%s: vmdk: it has a parent (parentCID=%08x) "
				  "and does not say where (parentFileNameHint)",
				  v->image.store->name, d->parent_cid);
	v->image.backing_name = strdup(d->parent_hint);
	v->image.backing_format = strdup("vmdk");
	return v->image.backing_name && v->image.backing_format ? 0 : -ENOMEM;
}

static int check_backing(struct image *image, char **ret_error)
{
	const struct vmdk *v = vmdk_of(image);
	const struct vmdk_descriptor *parent;

	if (image->backing->format != &vmdk_format)
		return 0;
	parent = &vmdk_of(image->backing)->d;
	if (parent->create_type && parent->cid != v->d.parent_cid)
		return store_fail(ret_error, IMAGE_E_CORRUPT,
				  "%s: vmdk: its parent %s was changed since: "
				  "it has the CID %08x, and %08x is expected",
				  image->store->name,
				  image->backing->store->name, parent->cid,
				  v->d.parent_cid);
	return 0;
}

static int check_writable(const struct vmdk *v, char **ret_error)
{
	const char *name = v->image.store->name;

	/* Whoever made a delta of the disk would not see that it changed. */
	if (!v->d.create_type && !v->text_damage)
		return store_fail(ret_error, -EROFS,
				  "%s: vmdk: an extent without its descriptor "
				  "can only be opened read-only",
				  name);
	return 0;
}

static int init_cache(struct vmdk *v, uint64_t bytes)
{
	if (bytes == 0)
		bytes = VMDK_DEFAULT_CACHE_BYTES;
	bytes = MIN(bytes, UINT64_C(1) << 40);
	bytes = MAX(bytes, (uint64_t)VMDK_MIN_CACHE_BYTES);
	return metacache_init(&v->cache, bytes, VMDK_PIECE_BYTES);
}

/* What writing takes. */
static int init_changes(struct vmdk *v)
{
	v->table_numbers =
		calloc(v->cache.block_count, sizeof(*v->table_numbers));
	v->pending = calloc(VMDK_MAX_PENDING, sizeof(*v->pending));
	return v->table_numbers && v->pending ? 0 : -ENOMEM;
}

static void destroy(struct vmdk *v)
{
	for (size_t i = 0; i < v->part_count; i++) {
		free(v->parts[i].gd);
		vmdk_room_deinit(&v->parts[i]);
	}
	free(v->parts);
	free(v->table_numbers);
	free(v->pending);
	free(v->text_damage);
	vmdk_track_deinit(&v->track);
	metacache_deinit(&v->cache);
	vmdk_descriptor_deinit(&v->d);
	image_deinit(&v->image);
	free(v);
}

static int open_image(struct store *store, const struct image_open_options *o,
		      struct image **ret_image, char **ret_error)
{
	struct vmdk *v = calloc(1, sizeof(*v));
	int err;

	if (!v)
		return -ENOMEM;
	image_init(&v->image, &vmdk_format, store);
	v->image.read_only = o->read_only;
	v->check = o->check;
	err = open_parts(v, ret_error);
	if (err == 0 && !o->read_only)
		err = check_writable(v, ret_error);
	if (err == 0)
		err = name_parent(v, ret_error);
	if (err == 0 && o->read_only)
		err = vmdk_track_name(v);
	if (err == 0)
		err = init_cache(v, o->cache_bytes);
	if (err == 0 && !o->read_only)
		err = init_changes(v);
	if (err) {
		v->image.store = v->image.data_store = NULL;
		destroy(v);
		return err;
	}
	*ret_image = &v->image;
	return 0;
}

static void close_image(struct image *image)
{
	struct vmdk *v = vmdk_of(image);

	for (size_t i = 0; i < v->part_count; i++)
		vmdk_room_trim(&v->parts[i]);
	destroy(v);
}

const struct image_format vmdk_format = {
	.name = "vmdk",
	.probe = probe,
	.open = open_image,
	.attach_data = vmdk_attach_data,
	.check_backing = check_backing,
	.close = close_image,
	.map = vmdk_map,
	.lookup = vmdk_lookup,
	.provide = vmdk_provide,
	.commit = vmdk_commit,
	.flush_begin = vmdk_flush_begin,
	.flush_end = vmdk_flush_end,
	.is_dirty = vmdk_is_dirty,
	.replay = vmdk_replay,
	.manage = &vmdk_manage,
};
