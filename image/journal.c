/* SPDX-License-Identifier: Apache-2.0 */
#include "image/journal.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "image/image.h"

#define JOURNAL_MAGIC UINT64_C(0x4c4e524a474e4952) /* "RINGJRNL" */

enum {
	JOURNAL_VERSION = 2 /* 1 had no second word */
};

static_assert(sizeof(struct journal_record) == 24, "record");
static_assert(sizeof(struct journal_head) <= JOURNAL_HEAD_BYTES, "head");

/* How many records the memory holds; 0 if it is too small to be of use. */
static uint64_t capacity_of(size_t bytes)
{
	uint64_t records;

	if (bytes < journal_bytes(JOURNAL_MIN_RECORDS))
		return 0;
	records = (bytes - JOURNAL_HEAD_BYTES) / sizeof(struct journal_record);
	return MIN(records, (uint64_t)JOURNAL_MAX_RECORDS);
}

__attribute__((format(printf, 2, 3))) static int refuse(char *ret_error,
							const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(ret_error, JOURNAL_ERROR_BYTES, format, args);
	va_end(args);
	return IMAGE_E_CORRUPT;
}

/* Others may write to the memory meanwhile: from here on the copy counts. */
static struct journal_head copy_head(const struct journal_head *shared)
{
	struct journal_head head = {.magic = load_acquire(&shared->magic)};
	const volatile uint8_t *from = (const volatile uint8_t *)shared;

	for (size_t i = sizeof(head.magic); i < sizeof(head); i++)
		((uint8_t *)&head)[i] = from[i];
	return head;
}

static int check_head(const struct journal_head *head, uint64_t capacity,
		      char *ret_error)
{
	if (head->magic != JOURNAL_MAGIC)
		return refuse(ret_error, "the journal has no head");
	if (head->version != JOURNAL_VERSION ||
	    head->record_bytes != sizeof(struct journal_record))
		return refuse(ret_error,
			      "the journal is of version %u, which this "
			      "program does not know",
			      head->version);
	if (head->capacity < JOURNAL_MIN_RECORDS || head->capacity > capacity)
		return refuse(ret_error,
			      "the journal has room for %llu records and "
			      "claims %llu",
			      (unsigned long long)capacity,
			      (unsigned long long)head->capacity);
	if (head->end < head->first || head->end - head->first > head->capacity)
		return refuse(ret_error,
			      "the journal claims records %llu to %llu of %llu",
			      (unsigned long long)head->first,
			      (unsigned long long)head->end,
			      (unsigned long long)head->capacity);
	return 0;
}

static bool same_image(const struct journal_identity *a,
		       const struct journal_identity *b)
{
	return a->size_bytes == b->size_bytes &&
	       a->cluster_bytes == b->cluster_bytes && a->device == b->device &&
	       a->inode == b->inode;
}

static int copy_records(const struct journal_head *head,
			const struct journal_record *shared,
			struct journal_record **ret_records, size_t *ret_count)
{
	size_t count = head->end - head->first;
	struct journal_record *records = calloc(count, sizeof(*records));

	if (!records)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		const struct journal_record *from =
			&shared[(head->first + i) % head->capacity];

		records[i] = (struct journal_record){
			.cluster = load_once(&from->cluster),
			.entry = load_once(&from->entry),
			.detail = load_once(&from->detail),
		};
	}
	*ret_records = records;
	*ret_count = count;
	return 0;
}

int journal_read(const void *area, size_t bytes,
		 const struct journal_identity *identity,
		 struct journal_record **ret_records, size_t *ret_count,
		 char *ret_error)
{
	uint64_t capacity = capacity_of(bytes);
	struct journal_head head;
	int err;

	*ret_records = NULL;
	*ret_count = 0;
	if (capacity == 0)
		return 0;
	head = copy_head(area);
	if (head.magic == 0)
		return 0;
	err = check_head(&head, capacity, ret_error);
	if (err || head.first == head.end ||
	    head.identity.instance == identity->instance)
		return err;
	if (!same_image(&head.identity, identity))
		return refuse(ret_error,
			      "the journal has changes of another image, of "
			      "%llu bytes, inode %llu",
			      (unsigned long long)head.identity.size_bytes,
			      (unsigned long long)head.identity.inode);
	return copy_records(
		&head,
		(const struct journal_record *)((const uint8_t *)area +
						JOURNAL_HEAD_BYTES),
		ret_records, ret_count);
}

bool journal_start(struct journal *journal, void *area, size_t bytes,
		   const struct journal_identity *identity)
{
	uint64_t capacity = capacity_of(bytes);
	struct journal_head *head = area;

	if (capacity == 0)
		return false;
	/* Half a head is no head: nothing that counts is left in there. */
	store_release(&head->magic, 0);
	release_barrier();
	head->version = JOURNAL_VERSION;
	head->record_bytes = sizeof(struct journal_record);
	head->capacity = capacity;
	head->identity = *identity;
	head->first = 0;
	head->end = 0;
	store_release(&head->magic, JOURNAL_MAGIC);
	*journal = (struct journal){
		.head = head,
		.records = (struct journal_record *)((uint8_t *)area +
						     JOURNAL_HEAD_BYTES),
		.capacity = capacity,
	};
	return true;
}

void journal_plan_began(struct journal *journal)
{
	journal->mark = journal->end;
}

void journal_plan_succeeded(struct journal *journal)
{
	journal->first = journal->mark;
	store_release(&journal->head->first, journal->first);
}
