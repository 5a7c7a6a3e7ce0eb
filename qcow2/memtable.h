/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table that is held in memory as a whole, as it is on disk: the L1 table
 * and the refcount table. Its changed parts are known by block, so that a
 * flush writes those alone.
 */
#ifndef QCOW2_MEMTABLE_H
#define QCOW2_MEMTABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "image/store.h"

struct qcow2_memtable {
	uint64_t offset; /* in the file */
	uint64_t bytes;	 /* in whole clusters */
	uint64_t placed; /* bytes that have their place at @offset */
	uint32_t entries;
	uint32_t block_bytes;
	uint8_t *data;
	uint64_t *dirty;   /* bit per block */
	uint64_t *writing; /* the same, while a plan is out */
	uint32_t dirty_count;
};

/* All zeroes; @bytes is a multiple of @block_bytes. 0 or -ENOMEM. */
int qcow2_memtable_init(struct qcow2_memtable *table, uint64_t bytes,
			uint32_t block_bytes);

/* The new part is zero and has no place in the file yet. 0 or -ENOMEM. */
int qcow2_memtable_grow(struct qcow2_memtable *table, uint64_t bytes);

void qcow2_memtable_deinit(struct qcow2_memtable *table);

static inline uint64_t qcow2_memtable_get(const struct qcow2_memtable *table,
					  uint32_t index)
{
	return get_be64(table->data + (uint64_t)index * 8);
}

void qcow2_memtable_set(struct qcow2_memtable *table, uint32_t index,
			uint64_t value);

static inline uint32_t qcow2_memtable_blocks(const struct qcow2_memtable *table)
{
	return table->bytes / table->block_bytes;
}

/* The dirty blocks become clean and being written; or come back. */
void qcow2_memtable_start_writing(struct qcow2_memtable *table);
void qcow2_memtable_end_writing(struct qcow2_memtable *table, bool failed);

#endif
