/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How large a file would be, counted as QEMU counts, so that who makes room by
 * either answer can have the other write into it.
 */
#include <errno.h>

#include "base/bytes.h"
#include "image/block-status.h"
#include "qcow2/core.h"
#include "qcow2/create-options.h"
#include "qcow2/create.h"
#include "qcow2/header.h"
#include "qcow2/manage.h"
#include "qcow2/qcow2.h"

/* Blocks and table, which describe themselves as well. */
static uint64_t refcount_bytes(const struct qcow2_create_options *o,
			       uint64_t clusters)
{
	uint64_t per_block = o->cluster_bytes * UINT64_C(8) / o->refcount_bits;
	uint64_t table = 0, blocks = 0, last, all = 0;

	do {
		last = all;
		blocks = div_round_up(clusters + table + blocks, per_block);
		table = div_round_up(blocks, o->cluster_bytes / 8);
		all = clusters + blocks + table;
	} while (all != last);
	return (blocks + table) * o->cluster_bytes;
}

/* QEMU, too, counts the LUKS header last, and no refcounts for it. */
uint64_t qcow2_full_bytes(const struct qcow2_create_options *o)
{
	uint64_t cluster = o->cluster_bytes;
	uint64_t size = align_up(o->size_bytes, cluster);
	uint64_t entry = o->extended_l2 ? 16 : 8;
	uint64_t l2 = align_up(size / cluster, cluster / entry) * entry;
	uint64_t l1 = align_up(l2 / cluster, cluster / 8) * 8;
	uint64_t bytes = cluster + l2 + l1 + size;

	bytes += refcount_bytes(o, bytes / cluster);
	if (o->encrypted)
		bytes += align_up(luks_header_bytes(&o->luks.spec), cluster);
	return bytes;
}

/* Clusters of the new image that the source has data for, in bytes. */
static int count_data(struct image *source, uint64_t cluster, uint64_t *ret)
{
	struct block_status_sparse chain = {0};
	uint64_t offset = 0, bytes = 0;

	while (offset < source->size_bytes) {
		struct block_status s;
		uint64_t end;
		int err = block_status_next(source, offset,
					    source->size_bytes - offset, &s);

		if (err == 0)
			err = block_status_judge_hole(&chain, &s);
		if (err)
			return err;
		end = offset + s.length;
		if (s.data && !s.zero) {
			end = align_up(end, cluster);
			bytes += end - align_down(offset, cluster);
		}
		offset = end;
	}
	*ret = bytes;
	return 0;
}

/* Version 2 has none. Of other formats only what can be copied counts. */
static bool has_bitmaps(struct image *source, uint64_t usable)
{
	if (source->format != &qcow2_format)
		return usable > 0;
	return qcow2_of(source)->header.version >= 3;
}

static int count_bitmaps(struct image *source, uint64_t cluster,
			 struct image_measure *m)
{
	struct image_bitmaps bitmaps = {0};
	uint64_t bytes = 0, directory = 0;
	int err = image_bitmap_list(source, &bitmaps);

	if (err)
		return err;
	for (size_t i = 0; i < bitmaps.count; i++) {
		const struct image_bitmap *b = &bitmaps.all[i];
		uint64_t bits, clusters;

		if (b->granularity_bytes == 0)
			continue;
		bits = div_round_up(source->size_bytes, b->granularity_bytes);
		clusters = div_round_up(div_round_up(bits, 8), cluster);
		bytes += clusters * cluster + align_up(clusters * 8, cluster);
		directory += align_up(24 + strlen(b->name), 8);
	}
	image_bitmaps_deinit(&bitmaps);
	m->has_bitmaps = has_bitmaps(source, bytes);
	m->bitmaps = bytes + align_up(directory, cluster);
	return 0;
}

static int check_size(const struct qcow2_create_options *o, char **ret_error)
{
	unsigned bits = (unsigned)__builtin_ctzll(o->cluster_bytes);

	if (o->size_bytes <= (uint64_t)INT64_MAX - o->cluster_bytes &&
	    qcow2_l1_entries_for(o->size_bytes, bits, o->extended_l2) <=
		    QCOW2_MAX_L1_BYTES / 8)
		return 0;
	return store_fail(ret_error, -EINVAL,
			  "The image size is too large (try using a larger "
			  "cluster size)");
}

/* What @source needs in an image made by @o: data, and bitmaps. */
static int count(struct image *source, const struct qcow2_create_options *o,
		 uint64_t *ret_data, struct image_measure *m, char **ret_error)
{
	int err = 0;

	if (o->backing_name) /* who knows what that has already */
		*ret_data = align_up(o->size_bytes, o->cluster_bytes);
	else
		err = count_data(source, o->cluster_bytes, ret_data);
	if (err == 0 && o->version >= 3)
		err = count_bitmaps(source, o->cluster_bytes, m);
	return err ? store_fail(ret_error, err, "%s: cannot be looked at: %s",
				source->store->name,
				err < 0 ? strerror(-err) : image_error(source))
		   : 0;
}

int qcow2_measure(const struct image_create_request *request,
		  struct image *source, struct image_measure *ret,
		  char **ret_error)
{
	struct qcow2_create_options o;
	enum image_preallocation preallocation;
	struct image_measure m = {0};
	uint64_t size, data = 0;
	int err = qcow2_create_options_take(request, &o, &preallocation,
					    ret_error);

	if (err == 0 && source)
		o.size_bytes = source->size_bytes;
	if (err == 0)
		err = check_size(&o, ret_error);
	if (err == 0 && source)
		err = count(source, &o, &data, &m, ret_error);
	if (err)
		return err;
	size = align_up(o.size_bytes, o.cluster_bytes);
	if (preallocation >= IMAGE_PREALLOCATION_FALLOC)
		data = size;
	m.fully_allocated = qcow2_full_bytes(&o);
	/* Preallocated metadata maps clusters that take no room on a disk. */
	m.required = m.fully_allocated - size + data;
	*ret = m;
	return 0;
}
