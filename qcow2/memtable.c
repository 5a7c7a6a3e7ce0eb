/* SPDX-License-Identifier: Apache-2.0 */
#include "qcow2/memtable.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bitmap.h"

enum {
	ALIGNMENT = 4096, /* what O_DIRECT may ask for */
};

int qcow2_memtable_init(struct qcow2_memtable *table, uint64_t bytes,
			uint32_t block_bytes)
{
	size_t words;

	*table = (struct qcow2_memtable){
		.bytes = bytes,
		.placed = bytes,
		.entries = bytes / 8,
		.block_bytes = block_bytes,
	};
	words = BITMAP_WORDS(qcow2_memtable_blocks(table)) + 1;
	table->data =
		aligned_alloc(ALIGNMENT, align_up(MAX(bytes, 1u), ALIGNMENT));
	table->dirty = calloc(words, sizeof(uint64_t));
	table->writing = calloc(words, sizeof(uint64_t));
	if (!table->data || !table->dirty || !table->writing) {
		qcow2_memtable_deinit(table);
		return -ENOMEM;
	}
	memset(table->data, 0, bytes);
	return 0;
}

int qcow2_memtable_grow(struct qcow2_memtable *table, uint64_t bytes)
{
	struct qcow2_memtable larger;
	size_t words = BITMAP_WORDS(qcow2_memtable_blocks(table));
	int err = qcow2_memtable_init(&larger, bytes, table->block_bytes);

	if (err)
		return err;
	memcpy(larger.data, table->data, table->bytes);
	memcpy(larger.dirty, table->dirty, words * sizeof(uint64_t));
	memcpy(larger.writing, table->writing, words * sizeof(uint64_t));
	larger.dirty_count = table->dirty_count;
	larger.offset = table->offset;
	larger.placed = table->placed;
	qcow2_memtable_deinit(table);
	*table = larger;
	return 0;
}

void qcow2_memtable_deinit(struct qcow2_memtable *table)
{
	free(table->data);
	free(table->dirty);
	free(table->writing);
	*table = (struct qcow2_memtable){0};
}

void qcow2_memtable_set(struct qcow2_memtable *table, uint32_t index,
			uint64_t value)
{
	uint32_t block = (uint64_t)index * 8 / table->block_bytes;

	put_be64(table->data + (uint64_t)index * 8, value);
	if (!bitmap_test(table->dirty, block)) {
		bitmap_set(table->dirty, block);
		table->dirty_count++;
	}
}

void qcow2_memtable_start_writing(struct qcow2_memtable *table)
{
	uint64_t *taken = table->dirty;

	table->dirty = table->writing;
	table->writing = taken;
	table->dirty_count = 0;
}

void qcow2_memtable_end_writing(struct qcow2_memtable *table, bool failed)
{
	uint32_t blocks = qcow2_memtable_blocks(table);

	for (uint32_t w = 0; w < BITMAP_WORDS(blocks); w++) {
		uint64_t back =
			failed ? table->writing[w] & ~table->dirty[w] : 0;

		table->dirty[w] |= back;
		table->dirty_count += __builtin_popcountll(back);
		table->writing[w] = 0;
	}
}
