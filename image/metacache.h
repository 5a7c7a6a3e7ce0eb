/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cache of small metadata blocks, keyed by their offset in a store, for
 * formats that map through tables on disk.
 *
 * All memory is reserved at the start and touched only as it is used; nothing
 * is allocated later. A block is evicted (clock) only when it is clean and
 * nobody holds it: changed blocks leave by way of a flush plan, which takes
 * copies (metacache_start_writing) and reports how it went
 * (metacache_end_writing). A block that is changed again meanwhile is dirty
 * and being written at once, and goes into the next plan.
 *
 * No I/O and no locks: the caller is the format, which holds its image's lock.
 * metacache_find alone may also be called by several threads at once, as long
 * as nobody is in any other function (see lookup in image/image.h).
 */
#ifndef IMAGE_METACACHE_H
#define IMAGE_METACACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/barrier.h"

struct metacache_block {
	uint64_t offset;
	uint8_t *data;
	uint32_t next; /* in its hash chain, or METACACHE_NONE */
	uint32_t pins;
	uint8_t kind;	 /* the format's own */
	bool used;	 /* has an offset, is in the hash */
	bool loading;	 /* its content is on its way */
	bool referenced; /* since the clock's hand passed */
	bool dirty;	 /* changed since a plan last took a copy */
	bool writing;	 /* a plan that holds a copy is under way */
};

struct metacache {
	uint32_t block_bytes;
	unsigned block_shift;
	uint32_t block_count;
	uint32_t fresh; /* blocks never used begin here */
	uint32_t hand;
	uint32_t held; /* blocks that cannot be evicted now */
	uint32_t hash_shift;
	uint32_t *hash;
	struct metacache_block *blocks;
	uint8_t *data;
	void *room;	 /* that data lies in, if it is mapped */
	uint32_t *dirty; /* indexes of the dirty blocks */
	uint32_t dirty_count;
	uint32_t *writing;
	uint32_t writing_count;
};

#define METACACHE_NONE UINT32_MAX

/* @bytes of blocks of @block_bytes, a power of two. 0 or -ENOMEM. */
int metacache_init(struct metacache *cache, size_t bytes, uint32_t block_bytes);

/* Accepts a zeroed cache. */
void metacache_deinit(struct metacache *cache);

/* The block at @offset, perhaps still loading, or NULL. */
static inline struct metacache_block *metacache_find(struct metacache *cache,
						     uint64_t offset)
{
	uint64_t key =
		(offset >> cache->block_shift) * UINT64_C(0x9e3779b97f4a7c15);
	uint32_t at = cache->hash[key >> cache->hash_shift];

	while (at != METACACHE_NONE) {
		struct metacache_block *block = &cache->blocks[at];

		if (block->offset == offset) {
			/* Mostly so already: the line stays where it is. */
			if (!load_once(&block->referenced))
				store_once(&block->referenced, true);
			return block;
		}
		at = block->next;
	}
	return NULL;
}

/* True if the block cannot be evicted now. */
static inline bool metacache_is_held(const struct metacache_block *block)
{
	return block->loading || block->pins || block->dirty || block->writing;
}

/*
 * A block for @offset, which is not in the cache, in state loading, its content
 * undefined; a clean block may be forgotten for it. NULL if none can be.
 */
struct metacache_block *metacache_insert(struct metacache *cache,
					 uint64_t offset, uint8_t kind);

/* The content of a loading block is there. */
void metacache_loaded(struct metacache *cache, struct metacache_block *block);

/* Forgets a block that is neither dirty, being written nor pinned. */
void metacache_drop(struct metacache *cache, struct metacache_block *block);

/* Pins keep a block in the cache; they count. */
void metacache_pin(struct metacache *cache, struct metacache_block *block);
void metacache_unpin(struct metacache *cache, struct metacache_block *block);

void metacache_mark_dirty(struct metacache *cache,
			  struct metacache_block *block);

/* How many blocks could be inserted before one had to be written. */
static inline uint32_t metacache_room(const struct metacache *cache)
{
	return cache->block_count - cache->held;
}

/*
 * All dirty blocks become clean and being written. They are
 * cache->writing[0 .. writing_count), sorted by offset, until
 * metacache_end_writing, which makes them dirty again if @failed.
 */
void metacache_start_writing(struct metacache *cache);
void metacache_end_writing(struct metacache *cache, bool failed);

#endif
