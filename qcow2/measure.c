/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How large a file would be, counted as QEMU counts, so that who makes room by
 * either answer can have the other write into it.
 */
#include <errno.h>

#include "base/bytes.h"
#include "image/open.h"
#include "qcow2/create-options.h"
#include "qcow2/create.h"
#include "qcow2/header.h"
#include "qcow2/manage.h"

struct geometry {
	uint64_t cluster;
	unsigned refcount_order;
	uint64_t entry_bytes; /* of an L2 entry */
};

static uint64_t refcount_bytes(const struct geometry *g, uint64_t clusters)
{
	uint64_t per_block = g->cluster * 8 >> g->refcount_order;
	uint64_t table = 0, blocks = 0, last, all = 0;

	do {
		last = all;
		blocks = div_round_up(clusters + table + blocks, per_block);
		table = div_round_up(blocks, g->cluster / 8);
		all = clusters + blocks + table;
	} while (all != last);
	return (blocks + table) * g->cluster;
}

/* Of an image whose @size_bytes, whole clusters, are all written. */
static uint64_t full_bytes(const struct geometry *g, uint64_t size_bytes)
{
	uint64_t l2 =
		align_up(size_bytes / g->cluster, g->cluster / g->entry_bytes) *
		g->entry_bytes;
	uint64_t l1 = align_up(l2 / g->cluster, g->cluster / 8) * 8;
	uint64_t bytes = g->cluster + l2 + l1 + size_bytes;

	return bytes + refcount_bytes(g, bytes / g->cluster);
}

/* Bytes of a raw image that are alike, as far as its store can tell. */
static int raw_run(const struct image_extent *extent, uint64_t *length,
		   bool *ret_data)
{
	struct store_status found;
	int err = store_status(extent->store, extent->host_offset,
			       extent->length, &found);

	*length = found.length;
	*ret_data = !found.zero;
	return err;
}

static int map_once(struct image *image, uint64_t offset, uint64_t length,
		    struct image_extent *ret)
{
	for (;;) {
		int err = image_map(image, IMAGE_READ, offset, length, ret);

		if (err == 0 && ret->kind == IMAGE_NEED) {
			err = image_read_need(image, ret);
			if (err == 0)
				continue;
		} else if (err == 0 && ret->kind == IMAGE_MUST_FLUSH) {
			err = image_flush_sync(image);
			if (err == 0)
				continue;
		} else if (err == 0 && ret->kind == IMAGE_BUSY) {
			err = -EBUSY;
		}
		return err;
	}
}

/* How far the image, and what it is backed by, has data or none. */
static int chain_run(struct image *image, uint64_t offset, uint64_t *length,
		     bool *ret_data)
{
	for (;;) {
		struct image_extent extent;
		int err;

		*ret_data = false;
		if (offset >= image->size_bytes)
			return 0;
		*length = MIN(*length, image->size_bytes - offset);
		err = map_once(image, offset, *length, &extent);
		if (err)
			return err;
		*length = extent.length;
		*ret_data = extent.kind != IMAGE_ZEROES;
		if (image->format == &raw_format)
			return raw_run(&extent, length, ret_data);
		if (extent.kind != IMAGE_HOLE)
			return 0;
		*ret_data = false;
		if (!image->backing)
			return 0;
		image = image->backing;
	}
}

/* Clusters of the new image that the source has data for, in bytes. */
static int count_data(struct image *source, uint64_t cluster, uint64_t *ret)
{
	uint64_t offset = 0, bytes = 0;

	while (offset < source->size_bytes) {
		uint64_t length = source->size_bytes - offset;
		bool data;
		int err = chain_run(source, offset, &length, &data);

		if (err)
			return err;
		if (data) {
			uint64_t end = align_up(offset + length, cluster);

			bytes += end - align_down(offset, cluster);
			length = end - offset;
		}
		offset += length;
	}
	*ret = bytes;
	return 0;
}

static int count_bitmaps(struct image *source, uint64_t cluster, uint64_t *ret)
{
	struct image_bitmaps bitmaps = {0};
	uint64_t bytes = 0, directory = 0;
	int err = image_bitmap_list(source, &bitmaps);

	if (err)
		return err;
	for (size_t i = 0; i < bitmaps.count; i++) {
		const struct image_bitmap *b = &bitmaps.all[i];
		uint64_t bits, clusters;

		if (b->inconsistent || b->granularity_bytes == 0)
			continue;
		bits = div_round_up(source->size_bytes, b->granularity_bytes);
		clusters = div_round_up(div_round_up(bits, 8), cluster);
		bytes += clusters * cluster + align_up(clusters * 8, cluster);
		directory += align_up(24 + strlen(b->name), 8);
	}
	image_bitmaps_deinit(&bitmaps);
	*ret = bytes + align_up(directory, cluster);
	return 0;
}

int qcow2_measure(const struct image_create_request *request,
		  struct image *source, struct image_measure *ret,
		  char **ret_error)
{
	struct image_create_request sized = *request;
	struct qcow2_create_options o;
	enum image_preallocation preallocation;
	struct geometry g;
	uint64_t size, required = 0, bitmaps = 0;
	int err;

	if (source)
		sized.size_bytes = source->size_bytes;
	err = qcow2_create_options_take(&sized, &o, &preallocation, ret_error);
	if (err)
		return err;
	g = (struct geometry){
		.cluster = o.cluster_bytes,
		.refcount_order = (unsigned)__builtin_ctz(o.refcount_bits),
		.entry_bytes = o.extended_l2 ? 16 : 8,
	};
	if (o.size_bytes > INT64_MAX - g.cluster ||
	    qcow2_l1_entries_for(o.size_bytes,
				 (unsigned)__builtin_ctzll(g.cluster),
				 o.extended_l2) > QCOW2_MAX_L1_BYTES / 8)
		return store_fail(ret_error, -EINVAL,
				  "qcow2: an image of this size needs larger "
				  "clusters");
	size = align_up(o.size_bytes, g.cluster);
	if (source && !o.backing_name)
		err = count_data(source, g.cluster, &required);
	else if (source)
		required = size; /* who knows what the base already has */
	if (err == 0 && source && o.version >= 3)
		err = count_bitmaps(source, g.cluster, &bitmaps);
	if (err)
		return store_fail(ret_error, err, "%s: cannot be looked at: %s",
				  source->store->name,
				  err < 0 ? strerror(-err)
					  : image_error(source));
	if (preallocation >= IMAGE_PREALLOCATION_FALLOC)
		required = size;
	ret->fully_allocated = full_bytes(&g, size);
	if (o.encrypted)
		ret->fully_allocated +=
			align_up(luks_header_bytes(&o.luks.spec), g.cluster);
	ret->required = ret->fully_allocated - size + required;
	ret->bitmaps = bitmaps;
	return 0;
}
