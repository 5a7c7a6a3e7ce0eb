/* SPDX-License-Identifier: Apache-2.0 */
#include "image/fake-format.h"

#include <assert.h>
#include <libdeflate.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/bytes.h"
#include "image/cipher.h"

enum {
	CLUSTER = FAKE_CLUSTER_BYTES,
	BLOCK_CLUSTERS = 8,
	BLOCKS = FAKE_MAX_CLUSTERS / BLOCK_CLUSTERS,
	BLOCK_BYTES = 512,
	DATA_START = 65536,
	MAX_DIRTY = 6,
	MAX_FREED = 65536,
	PLAN_WRITES = 20,
};

enum kind {
	HOLE,
	ZERO,
	DATA,
	COMPRESSED,
};

struct cluster {
	enum kind kind;
	enum image_codec codec;
	uint64_t host;
	uint32_t host_bytes;
	bool reserved;
	bool shared; /* as if a snapshot held it: copied, never written */
};

struct block {
	bool loaded, loading;
	char buffer[BLOCK_BYTES];
};

struct freed {
	uint64_t host;
	uint64_t flush; /* 0: not in a flush yet */
};

struct fake {
	struct image image;
	struct cluster clusters[FAKE_MAX_CLUSTERS];
	struct block blocks[BLOCKS];
	struct freed freed[MAX_FREED];
	size_t freed_count, freed_in_plan;
	uint64_t free[MAX_FREED];
	size_t free_count;
	uint64_t end; /* of the store, as far as it was given out */
	unsigned dirty;
	bool plan_out;
	uint64_t random;
	struct fake_counts counts;
};

static struct fake *to_fake(struct image *image)
{
	return container_of(image, struct fake, image);
}

static bool one_in(struct fake *fake, unsigned n)
{
	fake->random ^= fake->random << 13;
	fake->random ^= fake->random >> 7;
	fake->random ^= fake->random << 17;
	return fake->random % n == 0;
}

static void let_go(struct fake *fake, const struct cluster *cluster)
{
	if (cluster->kind != DATA)
		return;
	assert(fake->freed_count < MAX_FREED);
	fake->freed[fake->freed_count++].host = cluster->host;
	fake->freed[fake->freed_count - 1].flush = 0;
}

static uint64_t take_room(struct fake *fake, unsigned count, bool *ret_fresh)
{
	uint64_t host = fake->end;

	*ret_fresh = count > 1 || fake->free_count == 0;
	if (!*ret_fresh)
		return fake->free[--fake->free_count];
	fake->end += (uint64_t)count * CLUSTER;
	return host;
}

static int need(struct fake *fake, uint64_t number, struct image_extent *extent)
{
	struct block *block = &fake->blocks[number];

	block->loading = true;
	memset(block->buffer, 0, BLOCK_BYTES);
	fake->counts.needs++;
	*extent = (struct image_extent){
		.kind = IMAGE_NEED,
		.store = fake->image.store,
		.host_offset = number * BLOCK_BYTES,
		.host_bytes = BLOCK_BYTES,
		.buffer = block->buffer,
		.ticket = number,
	};
	return 0;
}

static void fake_provide(struct image *image, const struct image_extent *extent,
			 int result)
{
	struct fake *fake = to_fake(image);
	struct block *block = &fake->blocks[extent->ticket];

	assert(block->loading);
	for (size_t i = 0; result == 0 && i < BLOCK_BYTES; i++)
		assert(block->buffer[i] == (char)(extent->ticket + 1));
	block->loading = false;
	block->loaded = result == 0;
}

static void answer(struct image_extent *extent, enum image_extent_kind kind,
		   uint64_t length)
{
	*extent = (struct image_extent){.kind = kind, .length = length};
}

static void answer_data(struct fake *fake, const struct cluster *cluster,
			uint64_t in, uint64_t length,
			struct image_extent *extent)
{
	*extent = (struct image_extent){
		.kind = IMAGE_DATA,
		.length = length,
		.store = fake->image.store,
		.host_offset = cluster->host + in,
	};
}

static void map_read(struct fake *fake, const struct cluster *cluster,
		     uint64_t in, uint64_t length, struct image_extent *extent)
{
	switch (cluster->kind) {
	case HOLE:
		answer(extent, IMAGE_HOLE, length);
		return;
	case ZERO:
		answer(extent, IMAGE_ZEROES, length);
		return;
	case DATA:
		answer_data(fake, cluster, in, length, extent);
		return;
	case COMPRESSED:
		*extent = (struct image_extent){
			.kind = IMAGE_COMPRESSED,
			.length = length,
			.store = fake->image.store,
			.host_offset = cluster->host,
			.host_bytes = cluster->host_bytes,
			.cluster_bytes = CLUSTER,
			.skip = in,
			.codec = cluster->codec,
		};
		return;
	}
}

/* One cluster, or two of a kind that get adjacent room. */
static void allocate(struct fake *fake, struct cluster *cluster, uint64_t in,
		     uint64_t length, uint64_t asked,
		     struct image_extent *extent)
{
	bool two = asked > length && cluster[1].kind == cluster->kind &&
		   cluster->kind != DATA && !cluster[1].reserved &&
		   one_in(fake, 2);
	bool zero = cluster->kind == ZERO ||
		    (cluster->kind == HOLE && !fake->image.backing);
	bool fresh;

	if (two)
		length += MIN(asked - length, 0ul + CLUSTER);
	answer(extent, IMAGE_ALLOCATE, length);
	extent->store = fake->image.store;
	extent->host_offset = take_room(fake, 1 + two, &fresh);
	extent->head_bytes = in;
	extent->tail_bytes = (1 + two) * CLUSTER - in - length;
	extent->fill_zeroes = zero && !one_in(fake, 4);
	extent->reads_zero = fresh && one_in(fake, 2);
	extent->ticket = (cluster - fake->clusters) | (uint64_t)two << 32;
	cluster[0].reserved = true;
	cluster[two].reserved = true;
	fake->counts.allocations++;
}

static void map_write(struct fake *fake, struct cluster *cluster, uint64_t in,
		      uint64_t length, uint64_t asked,
		      struct image_extent *extent)
{
	if (cluster->kind == DATA && !cluster->shared)
		answer_data(fake, cluster, in, length, extent);
	else
		allocate(fake, cluster, in, length, asked, extent);
}

static void clear(struct fake *fake, struct cluster *cluster, uint64_t in,
		  uint64_t length, struct image_extent *extent)
{
	if (cluster->kind == DATA && !cluster->shared && one_in(fake, 2)) {
		answer_data(fake, cluster, in, length, extent);
		return;
	}
	let_go(fake, cluster);
	cluster->kind = ZERO;
	fake->dirty++;
	answer(extent, IMAGE_DONE, length);
}

static void map_change(struct fake *fake, enum image_op op,
		       struct cluster *cluster, uint64_t in, uint64_t length,
		       uint64_t asked, struct image_extent *extent)
{
	bool whole = length == CLUSTER;

	if (op == IMAGE_WRITE)
		map_write(fake, cluster, in, length, asked, extent);
	else if (whole)
		clear(fake, cluster, in, length, extent);
	else if (op == IMAGE_DISCARD || cluster->kind == ZERO)
		answer(extent, IMAGE_DONE, length);
	else
		map_write(fake, cluster, in, length, asked, extent);
}

static int fake_map(struct image *image, enum image_op op, uint64_t offset,
		    uint64_t asked, struct image_extent *extent)
{
	struct fake *fake = to_fake(image);
	uint64_t number = offset / CLUSTER;
	uint64_t in = offset % CLUSTER;
	uint64_t length = MIN(asked, CLUSTER - in);
	struct cluster *cluster = &fake->clusters[number];
	struct block *block = &fake->blocks[number / BLOCK_CLUSTERS];

	if (block->loading || (op != IMAGE_READ && cluster->reserved)) {
		fake->counts.busy++;
		answer(extent, IMAGE_BUSY, 0);
		return 0;
	}
	if (!block->loaded)
		return need(fake, number / BLOCK_CLUSTERS, extent);
	if (op != IMAGE_READ && fake->dirty >= MAX_DIRTY) {
		fake->counts.must_flushes++;
		answer(extent, IMAGE_MUST_FLUSH, 0);
		return 0;
	}
	block->loaded = !one_in(fake, 16);
	if (op == IMAGE_READ)
		map_read(fake, cluster, in, length, extent);
	else
		map_change(fake, op, cluster, in, length, asked, extent);
	return 0;
}

static int fake_commit(struct image *image, const struct image_extent *extent,
		       int result)
{
	struct fake *fake = to_fake(image);
	struct cluster *cluster = &fake->clusters[(uint32_t)extent->ticket];
	unsigned count = 1 + (extent->ticket >> 32);

	for (unsigned i = 0; i < count; i++, cluster++) {
		uint64_t host = extent->host_offset + (uint64_t)i * CLUSTER;

		assert(cluster->reserved);
		cluster->reserved = false;
		if (result < 0) {
			fake->free[fake->free_count++] = host;
			continue;
		}
		let_go(fake, cluster);
		cluster->kind = DATA;
		cluster->host = host;
		cluster->shared = false;
		fake->dirty++;
	}
	return 0;
}

static int fake_flush_begin(struct image *image, struct image_plan *ret_plan)
{
	struct fake *fake = to_fake(image);
	struct image_step *steps;
	char *data;
	size_t n = 0;

	if (fake->plan_out)
		return IMAGE_E_BUSY;
	fake->plan_out = true;
	fake->freed_in_plan = fake->freed_count;
	steps = calloc(PLAN_WRITES + 4, sizeof(*steps));
	data = malloc(BLOCK_BYTES);
	steps[n++].kind = IMAGE_STEP_BARRIER;
	for (unsigned i = 0; i < PLAN_WRITES; i++)
		steps[n++] = (struct image_step){
			.kind = IMAGE_STEP_WRITE,
			.store = image->store,
			.offset = (BLOCKS + i) * BLOCK_BYTES,
			.length = BLOCK_BYTES,
			.data = memset(data, 'm', BLOCK_BYTES)};
	steps[n++].kind = IMAGE_STEP_BARRIER;
	steps[n++] = (struct image_step){.kind = IMAGE_STEP_PUNCH,
					 .store = image->store,
					 .offset = BLOCKS * BLOCK_BYTES,
					 .length = BLOCK_BYTES};
	*ret_plan = (struct image_plan){.steps = steps, .count = n};
	return 0;
}

static void fake_flush_end(struct image *image, struct image_plan *plan,
			   int result)
{
	struct fake *fake = to_fake(image);

	assert(fake->plan_out);
	fake->plan_out = false;
	free(plan->steps[1].data);
	free(plan->steps);
	if (result < 0)
		return;
	fake->dirty = 0;
	fake->counts.flushes++;
	for (size_t i = 0; i < fake->freed_in_plan; i++)
		if (fake->freed[i].flush == 0)
			fake->freed[i].flush = image->flushes + 1;
}

static void fake_reclaim(struct image *image, uint64_t flush)
{
	struct fake *fake = to_fake(image);
	char scribble[CLUSTER];
	size_t kept = 0;

	memset(scribble, 0xee, sizeof(scribble));
	for (size_t i = 0; i < fake->freed_count; i++) {
		struct freed freed = fake->freed[i];

		if (freed.flush == 0 || freed.flush > flush) {
			fake->freed[kept++] = freed;
			continue;
		}
		store_write(image->store, freed.host, scribble, CLUSTER);
		fake->free[fake->free_count++] = freed.host;
		fake->counts.reclaimed++;
	}
	/* A plan that is out counts from the start of what is left. */
	fake->freed_in_plan -=
		MIN(fake->freed_in_plan, fake->freed_count - kept);
	fake->freed_count = kept;
}

static bool fake_is_dirty(struct image *image)
{
	return to_fake(image)->dirty > 0;
}

static void fake_close(struct image *image)
{
	image_deinit(image);
	free(to_fake(image));
}

static const struct image_format fake_format = {
	.name = "fake",
	.close = fake_close,
	.map = fake_map,
	.provide = fake_provide,
	.commit = fake_commit,
	.flush_begin = fake_flush_begin,
	.flush_end = fake_flush_end,
	.reclaim = fake_reclaim,
	.is_dirty = fake_is_dirty,
};

static size_t compress(enum image_codec codec, const void *data, void *to,
		       size_t max)
{
	struct libdeflate_compressor *c = libdeflate_alloc_compressor(1);
	size_t bytes;

	if (codec == IMAGE_CODEC_ZSTD)
		bytes = ZSTD_compress(to, max, data, CLUSTER, 1);
	else if (codec == IMAGE_CODEC_ZLIB)
		bytes = libdeflate_zlib_compress(c, data, CLUSTER, to, max);
	else
		bytes = libdeflate_deflate_compress(c, data, CLUSTER, to, max);
	libdeflate_free_compressor(c);
	assert(bytes > 0 && bytes <= max);
	return bytes;
}

static void store_cluster(struct fake *fake, struct cluster *cluster,
			  const char *data)
{
	char stream[2 * CLUSTER];

	if (bytes_are_zero(data, CLUSTER)) {
		cluster->kind = fake->image.backing ? ZERO : HOLE;
	} else if (one_in(fake, 2)) {
		bool fresh;

		cluster->kind = DATA;
		cluster->shared = one_in(fake, 2);
		cluster->host = take_room(fake, 1, &fresh);
		store_write(fake->image.store, cluster->host, data, CLUSTER);
	} else {
		cluster->kind = COMPRESSED;
		cluster->codec = IMAGE_CODEC_DEFLATE + fake->random % 3;
		cluster->host_bytes =
			11 + compress(cluster->codec, data, stream,
				      sizeof(stream) - 11);
		cluster->host = fake->end + 7;
		fake->end += 3 * CLUSTER;
		store_write(fake->image.store, cluster->host, stream,
			    cluster->host_bytes);
	}
}

static void store_blocks(struct fake *fake)
{
	char block[BLOCK_BYTES];

	for (unsigned i = 0; i < BLOCKS; i++) {
		memset(block, i + 1, sizeof(block));
		store_write(fake->image.store, i * BLOCK_BYTES, block,
			    sizeof(block));
	}
}

struct image *fake_new(struct store *store, const void *content,
		       uint64_t size_bytes, bool read_only,
		       struct image *backing, uint64_t seed)
{
	struct fake *fake = calloc(1, sizeof(*fake));

	assert(fake && size_bytes <= FAKE_MAX_CLUSTERS * CLUSTER);
	image_init(&fake->image, &fake_format, store);
	fake->image.size_bytes = size_bytes;
	fake->image.cluster_bytes = CLUSTER;
	fake->image.read_only = read_only;
	fake->image.backing = backing;
	fake->random = seed | 1;
	fake->end = DATA_START;
	store_blocks(fake);
	for (uint64_t at = 0; at < size_bytes; at += CLUSTER) {
		char cluster[CLUSTER] = "";

		/* Every third is left to the backing image. */
		if (backing && at / CLUSTER % 3 == 0)
			continue;
		memcpy(cluster, (const char *)content + at,
		       MIN(size_bytes - at, 0ul + CLUSTER));
		store_cluster(fake, &fake->clusters[at / CLUSTER], cluster);
	}
	return &fake->image;
}

void fake_encrypt(struct image *image, struct image_cipher *cipher)
{
	bool by_host = image_cipher_position_is_host(cipher);
	struct fake *fake = to_fake(image);
	char data[CLUSTER];

	image->cipher = cipher;
	for (uint64_t i = 0; i < FAKE_MAX_CLUSTERS; i++) {
		const struct cluster *cluster = &fake->clusters[i];
		uint64_t at = by_host ? cluster->host : i * CLUSTER;

		if (cluster->kind != DATA)
			continue;
		store_read(image->store, cluster->host, data, CLUSTER);
		image_cipher_encrypt(cipher, at / CIPHER_SECTOR_BYTES, data,
				     CLUSTER);
		store_write(image->store, cluster->host, data, CLUSTER);
	}
}

struct fake_counts fake_counts(const struct image *image)
{
	return container_of(image, struct fake, image)->counts;
}
