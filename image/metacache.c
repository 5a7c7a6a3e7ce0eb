/* SPDX-License-Identifier: Apache-2.0 */
#include "image/metacache.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/bytes.h"

enum {
	ALIGNMENT = 4096,      /* what O_DIRECT may ask for */
	LARGE_BYTES = 1 << 20, /* and what is less may be touched in whole */
};

/* --- Room for the blocks ------------------------------------------------- */

static size_t data_bytes(const struct metacache *cache)
{
	return align_up((uint64_t)cache->block_count * cache->block_bytes,
			ALIGNMENT);
}

/* To be aligned in: the kernel does so to pages only. */
static size_t room_bytes(const struct metacache *cache)
{
	return data_bytes(cache) + cache->block_bytes;
}

/*
 * Much of a large cache is never touched, and so never there. An allocator would
 * ask the kernel for it as well, but one that watches over what is used (a
 * sanitizer's, or malloc with M_PERTURB) would note as much for each image that is
 * opened and closed.
 */
static void map_data(struct metacache *cache)
{
	void *room = mmap(NULL, room_bytes(cache), PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (room == MAP_FAILED)
		return;
	cache->room = room;
	cache->data = (void *)align_up((uintptr_t)room, cache->block_bytes);
}

static void data_init(struct metacache *cache)
{
	size_t bytes = data_bytes(cache);

	if (bytes >= LARGE_BYTES)
		map_data(cache);
	else
		cache->data = aligned_alloc(
			MAX(cache->block_bytes, (uint32_t)ALIGNMENT), bytes);
}

static void data_deinit(struct metacache *cache)
{
	if (cache->room)
		munmap(cache->room, room_bytes(cache));
	else
		free(cache->data);
}

/* --- The cache ----------------------------------------------------------- */

int metacache_init(struct metacache *cache, size_t bytes, uint32_t block_bytes)
{
	uint32_t count = bytes / block_bytes;
	unsigned hash_bits = 1;

	*cache = (struct metacache){
		.block_bytes = block_bytes,
		.block_shift = (unsigned)__builtin_ctz(block_bytes),
		.block_count = count,
	};
	while ((UINT64_C(1) << hash_bits) < count)
		hash_bits++;
	cache->hash_shift = 64 - hash_bits;
	cache->hash = malloc(sizeof(*cache->hash) << hash_bits);
	cache->blocks = calloc(count, sizeof(*cache->blocks));
	cache->dirty = calloc(count, sizeof(*cache->dirty));
	cache->writing = calloc(count, sizeof(*cache->writing));
	data_init(cache);
	if (!cache->hash || !cache->blocks || !cache->dirty ||
	    !cache->writing || !cache->data) {
		metacache_deinit(cache);
		return -ENOMEM;
	}
	memset(cache->hash, 0xff, sizeof(*cache->hash) << hash_bits);
	return 0;
}

void metacache_deinit(struct metacache *cache)
{
	data_deinit(cache);
	free(cache->hash);
	free(cache->blocks);
	free(cache->dirty);
	free(cache->writing);
	*cache = (struct metacache){0};
}

static uint32_t index_of(const struct metacache *cache,
			 const struct metacache_block *block)
{
	return block - cache->blocks;
}

static uint32_t *chain_of(struct metacache *cache, uint64_t offset)
{
	uint64_t key =
		(offset >> cache->block_shift) * UINT64_C(0x9e3779b97f4a7c15);

	return &cache->hash[key >> cache->hash_shift];
}

static void count_held(struct metacache *cache,
		       const struct metacache_block *block, bool before)
{
	cache->held += metacache_is_held(block);
	cache->held -= before;
}

static void unlink_block(struct metacache *cache, struct metacache_block *block)
{
	uint32_t *at = chain_of(cache, block->offset);

	while (*at != index_of(cache, block))
		at = &cache->blocks[*at].next;
	*at = block->next;
	block->used = false;
}

/* A block that holds nothing of worth: a fresh one, or the clock's choice. */
static struct metacache_block *find_victim(struct metacache *cache)
{
	if (cache->fresh < cache->block_count)
		return &cache->blocks[cache->fresh++];
	if (cache->held == cache->block_count)
		return NULL;
	for (;;) {
		struct metacache_block *block = &cache->blocks[cache->hand];

		cache->hand = (cache->hand + 1) % cache->block_count;
		if (metacache_is_held(block))
			continue;
		if (block->used && block->referenced) {
			block->referenced = false;
			continue;
		}
		return block;
	}
}

struct metacache_block *metacache_insert(struct metacache *cache,
					 uint64_t offset, uint8_t kind)
{
	struct metacache_block *block = find_victim(cache);
	uint32_t *chain;

	if (!block)
		return NULL;
	if (block->used)
		unlink_block(cache, block);
	chain = chain_of(cache, offset);
	*block = (struct metacache_block){
		.offset = offset,
		.data = cache->data +
			(size_t)index_of(cache, block) * cache->block_bytes,
		.next = *chain,
		.kind = kind,
		.used = true,
		.loading = true,
		.referenced = true,
	};
	*chain = index_of(cache, block);
	cache->held++;
	return block;
}

void metacache_loaded(struct metacache *cache, struct metacache_block *block)
{
	bool before = metacache_is_held(block);

	block->loading = false;
	count_held(cache, block, before);
}

void metacache_drop(struct metacache *cache, struct metacache_block *block)
{
	metacache_loaded(cache, block);
	unlink_block(cache, block);
}

void metacache_pin(struct metacache *cache, struct metacache_block *block)
{
	bool before = metacache_is_held(block);

	block->pins++;
	count_held(cache, block, before);
}

void metacache_unpin(struct metacache *cache, struct metacache_block *block)
{
	bool before = metacache_is_held(block);

	block->pins--;
	count_held(cache, block, before);
}

void metacache_mark_dirty(struct metacache *cache,
			  struct metacache_block *block)
{
	bool before = metacache_is_held(block);

	if (block->dirty)
		return;
	block->dirty = true;
	cache->dirty[cache->dirty_count++] = index_of(cache, block);
	count_held(cache, block, before);
}

static int compare_offsets(const void *a, const void *b, void *blocks)
{
	const struct metacache_block *all = blocks;
	uint64_t x = all[*(const uint32_t *)a].offset;
	uint64_t y = all[*(const uint32_t *)b].offset;

	return (x > y) - (x < y);
}

void metacache_start_writing(struct metacache *cache)
{
	uint32_t *taken = cache->dirty;

	cache->dirty = cache->writing;
	cache->writing = taken;
	cache->writing_count = cache->dirty_count;
	cache->dirty_count = 0;
	qsort_r(taken, cache->writing_count, sizeof(*taken), compare_offsets,
		cache->blocks);
	for (uint32_t i = 0; i < cache->writing_count; i++) {
		cache->blocks[taken[i]].dirty = false;
		cache->blocks[taken[i]].writing = true;
	}
}

void metacache_end_writing(struct metacache *cache, bool failed)
{
	for (uint32_t i = 0; i < cache->writing_count; i++) {
		struct metacache_block *block =
			&cache->blocks[cache->writing[i]];

		if (failed)
			metacache_mark_dirty(cache, block);
		block->writing = false;
		cache->held -= !metacache_is_held(block);
	}
	cache->writing_count = 0;
}
