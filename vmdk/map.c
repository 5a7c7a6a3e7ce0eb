/* SPDX-License-Identifier: Apache-2.0 */
#include "vmdk/map.h"

#include <errno.h>

#include "vmdk/cid.h"

typedef unsigned long long number;

struct vmdk_ask vmdk_ask(struct vmdk *v, enum image_op op, uint64_t offset,
			 uint64_t length)
{
	struct vmdk_part *part = vmdk_part_at(v, offset);
	struct vmdk_ask ask = {
		.op = op,
		.part = part,
		.offset = offset - part->start,
	};

	ask.length = MIN(length, part->bytes - ask.offset);
	if (part->kind != VMDK_PART_SPARSE)
		return ask;
	ask.grain = ask.offset >> part->grain_bits;
	ask.last_grain = (ask.offset + ask.length - 1) >> part->grain_bits;
	ask.skip = ask.offset - (ask.grain << part->grain_bits);
	return ask;
}

int vmdk_map_plain(const struct vmdk_ask *ask, struct image_extent *ret)
{
	const struct vmdk_part *part = ask->part;
	bool zeroes = part->kind == VMDK_PART_ZERO;

	if (part->kind == VMDK_PART_CLOSED)
		return -EACCES;
	if (ask->op == IMAGE_WRITE && zeroes)
		return -EROFS;
	if (ask->op != IMAGE_READ && !part->writable)
		return -EROFS;
	*ret = (struct image_extent){
		.kind = !zeroes			? IMAGE_DATA
			: ask->op == IMAGE_READ ? IMAGE_ZEROES
						: IMAGE_DONE,
		.length = ask->length,
		.store = part->store,
		.host_offset = part->data_offset + ask->offset,
	};
	return 0;
}

void vmdk_map_absent(const struct vmdk_ask *ask, uint64_t grains,
		     struct image_extent *ret)
{
	*ret = (struct image_extent){
		.kind = IMAGE_HOLE,
		.length = vmdk_ask_bytes(ask, grains),
	};
}

/*
 * How many grains from the first on are of @kind: data side by side, if there
 * are any.
 */
static uint64_t same_run(const struct vmdk_ask *ask,
			 const struct vmdk_table *table, uint64_t limit,
			 enum vmdk_grain_kind kind, uint64_t offset)
{
	uint64_t run = 1, at;

	while (run < limit) {
		uint64_t entry =
			vmdk_table_entry(ask->part, table, (uint32_t)run);

		if (vmdk_grain_judge(ask->part, entry, &at) != kind)
			break;
		if (kind == VMDK_GRAIN_DATA &&
		    at != offset + (run << ask->part->grain_bits))
			break;
		run++;
	}
	return run;
}

/*
 * A stream ends before the next one that is stored behind it, which is mostly
 * the next in the table: that is all that has to be read. Its own length, in
 * the marker, need not be believed.
 */
static uint64_t stream_limit(const struct vmdk_ask *ask,
			     const struct vmdk_table *table, uint64_t offset)
{
	const struct vmdk_part *part = ask->part;
	uint64_t most =
		MIN(part->file_bytes - offset, UINT64_C(2) << part->grain_bits);

	for (uint32_t i = 1; i < table->count; i++) {
		uint64_t next;

		if (vmdk_grain_judge(part, vmdk_table_entry(part, table, i),
				     &next) != VMDK_GRAIN_DATA)
			continue;
		return next > offset ? MIN(most, next - offset) : most;
	}
	return most;
}

static bool map_stream(const struct vmdk_ask *ask,
		       const struct vmdk_table *table, uint64_t offset,
		       struct image_extent *ret)
{
	const struct vmdk_part *part = ask->part;
	uint32_t marker = part->s.markers ? VMDK_GRAIN_MARKER_BYTES : 0;
	uint64_t bytes = stream_limit(ask, table, offset);
	uint64_t grain_end = (ask->grain + 1) << part->grain_bits;

	if (bytes <= marker)
		return false;
	*ret = (struct image_extent){
		.kind = IMAGE_COMPRESSED,
		.length = vmdk_ask_bytes(ask, 1),
		.store = part->store,
		.host_offset = offset + marker,
		.host_bytes = (uint32_t)(bytes - marker),
		.cluster_bytes = UINT32_C(1) << part->grain_bits,
		.skip = (uint32_t)ask->skip,
		.codec = IMAGE_CODEC_ZLIB,
		/* The last grain may be stored up to the disk's end alone. */
		.may_be_short = grain_end > part->bytes,
	};
	return true;
}

static void map_data(const struct vmdk_ask *ask, uint64_t grains,
		     uint64_t offset, struct image_extent *ret)
{
	*ret = (struct image_extent){
		.kind = IMAGE_DATA,
		.length = vmdk_ask_bytes(ask, grains),
		.store = ask->part->store,
		.host_offset = offset + ask->skip,
	};
}

bool vmdk_map_found(const struct vmdk_ask *ask, const struct vmdk_table *table,
		    struct image_extent *ret)
{
	uint64_t limit =
		MIN(ask->last_grain - ask->grain + 1, (uint64_t)table->count);
	uint64_t entry = vmdk_table_entry(ask->part, table, 0);
	uint64_t offset = 0, run;
	enum vmdk_grain_kind kind = vmdk_grain_judge(ask->part, entry, &offset);

	if (kind == VMDK_GRAIN_CORRUPT)
		return false;
	if (kind == VMDK_GRAIN_DATA && ask->part->s.compressed)
		return map_stream(ask, table, offset, ret);
	run = same_run(ask, table, limit, kind, offset);
	if (kind == VMDK_GRAIN_ABSENT)
		vmdk_map_absent(ask, run, ret);
	else if (kind == VMDK_GRAIN_ZEROES)
		*ret = (struct image_extent){
			.kind = IMAGE_ZEROES,
			.length = vmdk_ask_bytes(ask, run),
		};
	else
		map_data(ask, run, offset, ret);
	return true;
}

static int corrupt_table(struct vmdk *v, const struct vmdk_ask *ask)
{
	uint64_t index = ask->grain / ask->part->s.gt_entries;

	return vmdk_corrupt(v,
			    "%s: entry %llu of the grain directory is 0x%llx, "
			    "where no table can be",
			    ask->part->store->name, (number)index,
			    (number)vmdk_directory_entry(ask->part, index));
}

static int corrupt_grain(struct vmdk *v, const struct vmdk_ask *ask,
			 const struct vmdk_table *table)
{
	return vmdk_corrupt(v,
			    "%s: the entry of grain %llu is 0x%llx, where no "
			    "grain can be",
			    ask->part->store->name, (number)ask->grain,
			    (number)vmdk_table_entry(ask->part, table, 0));
}

static void answer_busy(struct image_extent *ret)
{
	*ret = (struct image_extent){.kind = IMAGE_BUSY};
}

/* Asks for the piece; while no block is free others are being read. */
static void answer_need(struct vmdk *v, const struct vmdk_part *part,
			const struct vmdk_table *table,
			struct image_extent *ret)
{
	struct metacache_block *block = metacache_insert(
		&v->cache, part->cache_base + table->offset, 0);

	if (!block) {
		answer_busy(ret);
		return;
	}
	*ret = (struct image_extent){
		.kind = IMAGE_NEED,
		.store = part->store,
		.host_offset = table->offset,
		.host_bytes = table->bytes,
		.buffer = block->data,
		.ticket = (uint64_t)(block - v->cache.blocks),
	};
}

static int found(struct vmdk *v, const struct vmdk_ask *ask,
		 const struct vmdk_table *table, struct image_extent *ret)
{
	int err;

	if (ask->op != IMAGE_READ)
		err = vmdk_change_found(v, ask, table, ret);
	else
		err = vmdk_map_found(ask, table, ret) ? 0 : IMAGE_E_CORRUPT;
	return err == IMAGE_E_CORRUPT ? corrupt_grain(v, ask, table) : err;
}

static int absent(struct vmdk *v, const struct vmdk_ask *ask, uint64_t grains,
		  struct image_extent *ret)
{
	if (ask->op != IMAGE_READ)
		return vmdk_change_absent(v, ask, grains, ret);
	vmdk_map_absent(ask, grains, ret);
	return 0;
}

static int map_sparse(struct vmdk *v, const struct vmdk_ask *ask,
		      struct image_extent *ret)
{
	uint64_t limit = ask->last_grain - ask->grain + 1;
	struct vmdk_table table;
	int err;

	switch (vmdk_table_find(v, ask->part, ask->grain, &table)) {
	case VMDK_TABLE_HERE:
		return found(v, ask, &table, ret);
	case VMDK_TABLE_ABSENT:
		err = absent(v, ask, MIN(limit, (uint64_t)table.count), ret);
		return err == VMDK_ANSWERED ? map_sparse(v, ask, ret) : err;
	case VMDK_TABLE_AWAY:
		answer_need(v, ask->part, &table, ret);
		return 0;
	case VMDK_TABLE_LOADING:
		answer_busy(ret);
		return 0;
	case VMDK_TABLE_CORRUPT:
		break;
	}
	return corrupt_table(v, ask);
}

int vmdk_map(struct image *image, enum image_op op, uint64_t offset,
	     uint64_t length, struct image_extent *ret)
{
	struct vmdk *v = vmdk_of(image);
	struct vmdk_ask ask = vmdk_ask(v, op, offset, length);
	int err;

	if (ask.part->kind == VMDK_PART_SPARSE) {
		if (op != IMAGE_READ && !ask.part->writable)
			return -EROFS;
		if (op != IMAGE_READ && v->cid.state != VMDK_CID_NEW) {
			vmdk_cid_want(v, ret);
			return 0;
		}
		return map_sparse(v, &ask, ret);
	}
	err = vmdk_map_plain(&ask, ret);
	if (err == 0 && ret->kind == IMAGE_DATA && op != IMAGE_READ &&
	    v->cid.state != VMDK_CID_NEW)
		vmdk_cid_want(v, ret);
	return err;
}

void vmdk_provide(struct image *image, const struct image_extent *need,
		  int result)
{
	struct vmdk *v = vmdk_of(image);
	struct metacache_block *block = &v->cache.blocks[need->ticket];

	if (result == 0)
		metacache_loaded(&v->cache, block);
	else
		metacache_drop(&v->cache, block);
}
