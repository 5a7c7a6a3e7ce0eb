/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What changed in an image's metadata since the last flush that succeeded, in
 * memory that outlives the process.
 *
 * A guest's write may be reported done when its data is in the file, though
 * the metadata that points at it waits for the next flush. When the host loses
 * power the guest's disk did too, and it expects that. When only the process is
 * killed the guest goes on, and must find what it wrote. So each change of a
 * mapping is recorded here before its request ends, and whoever opens the image
 * next replays the records (image_journal_attach). They are never written to
 * the image in another order than a flush's.
 *
 * The memory is a head and a ring of records. The records [first, end) count,
 * the numbers only grow, and each is moved by one store: at any instant there
 * is one consistent state. A flush plan marks the end when it begins, and moves
 * first there when it succeeded; a plan that fails loses nothing.
 *
 * Others can write to the memory at any time. While we run, our own numbers
 * count; what a new process finds is copied once and then judged.
 *
 * No locks: the caller holds the image's.
 */
#ifndef IMAGE_JOURNAL_H
#define IMAGE_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/barrier.h"

enum {
	JOURNAL_HEAD_BYTES = 4096,
	JOURNAL_MIN_RECORDS = 64,
	JOURNAL_DEFAULT_RECORDS = 128 << 10,
	JOURNAL_MAX_RECORDS = 1 << 24,
	JOURNAL_ERROR_BYTES = 160,
};

/*
 * The mapping of guest cluster @cluster became @entry, in the format's terms,
 * and @detail if one word does not say it all.
 */
struct journal_record {
	uint64_t cluster;
	uint64_t entry;
	uint64_t detail;
};

/* Which image, and which opening of it. */
struct journal_identity {
	uint64_t size_bytes;
	uint64_t cluster_bytes;
	uint64_t device; /* of the file; 0: none */
	uint64_t inode;
	uint64_t instance; /* not 0 */
};

/* As it lies in the memory, in the host's byte order. */
struct journal_head {
	uint64_t magic; /* 0: never used */
	uint32_t version;
	uint32_t record_bytes;
	uint64_t capacity;
	struct journal_identity identity;
	uint64_t first;
	uint64_t end;
};

struct journal {
	struct journal_head *head;
	struct journal_record *records;
	uint64_t capacity;
	uint64_t first;
	uint64_t end;
	uint64_t mark;	   /* a plan that is out covers what is before it */
	uint64_t reserved; /* records promised */
};

/* A default journal's memory. */
static inline size_t journal_bytes(uint64_t records)
{
	return JOURNAL_HEAD_BYTES + records * sizeof(struct journal_record);
}

/*
 * Copies out the records that whoever had @area (8-byte aligned) before has
 * left: *@ret_records, to be freed, *@ret_count of them. None if the memory is
 * too small or was never used, or if @identity's instance itself wrote it.
 * 0, -ENOMEM, or IMAGE_E_CORRUPT: not a journal, or another image's; @ret_error
 * (JOURNAL_ERROR_BYTES) says what is wrong.
 */
int journal_read(const void *area, size_t bytes,
		 const struct journal_identity *identity,
		 struct journal_record **ret_records, size_t *ret_count,
		 char *ret_error);

/* Begins an empty journal in @area. False if the memory is too small. */
bool journal_start(struct journal *journal, void *area, size_t bytes,
		   const struct journal_identity *identity);

/* How many more records there is room for, besides those promised. */
static inline uint64_t journal_room(const struct journal *journal)
{
	return journal->capacity - (journal->end - journal->first) -
	       journal->reserved;
}

/* There is room. The record counts when this returns. */
static inline void journal_append(struct journal *journal, uint64_t cluster,
				  uint64_t entry, uint64_t detail)
{
	struct journal_record *record =
		&journal->records[journal->end % journal->capacity];

	store_once(&record->cluster, cluster);
	store_once(&record->entry, entry);
	store_once(&record->detail, detail);
	/* A process that is killed here leaves the record out. */
	store_release(&journal->head->end, ++journal->end);
}

/* Around a flush plan, which covers what was appended before it began. */
void journal_plan_began(struct journal *journal);
void journal_plan_succeeded(struct journal *journal);

#endif
