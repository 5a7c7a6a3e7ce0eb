/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The snapshot table ("Snapshots"): entries of any length in a row. Each is
 * kept as the bytes it has on disk, so that what is not known here, extra data
 * above all, is still there when the table is written elsewhere.
 */
#ifndef QCOW2_SNAPSHOT_TABLE_H
#define QCOW2_SNAPSHOT_TABLE_H

#include "qcow2/core.h"

struct qcow2_snapshot {
	size_t at;    /* of the entry in the table's bytes */
	size_t bytes; /* of it, padded to 8 */
	uint64_t l1_offset;
	uint32_t l1_entries;
	uint32_t date_seconds;
	uint32_t date_nanoseconds;
	uint64_t clock_nanoseconds;
	uint64_t state_bytes;
	uint64_t size_bytes;
	uint64_t icount; /* UINT64_MAX: none */
	const char *id;	 /* not terminated, as the name */
	uint16_t id_bytes;
	uint16_t name_bytes;
	const char *name;
};

struct qcow2_snapshot_table {
	uint8_t *bytes; /* heap */
	size_t size;
	struct qcow2_snapshot *all; /* heap; borrow from @bytes */
	uint32_t count;
};

/*
 * Reads the table that the header names. Every entry, and its L1 table, lies
 * inside the file and keeps the limits; nothing is known of what the L1 tables
 * hold. 0, a negative errno, or IMAGE_E_CORRUPT with image_error.
 */
int qcow2_snapshot_table_read(struct qcow2 *q,
			      struct qcow2_snapshot_table *ret_table);

/*
 * As @from, without entry @without (or UINT32_MAX), and with @with, of which
 * everything but at and bytes counts, at the end (or NULL). 0, -ENOMEM, or
 * -EFBIG with image_error.
 */
int qcow2_snapshot_table_edit(struct qcow2 *q,
			      const struct qcow2_snapshot_table *from,
			      uint32_t without,
			      const struct qcow2_snapshot *with,
			      struct qcow2_snapshot_table *ret_table);

/*
 * One entry: taken apart, with @extra bytes of extra data (@ret_snapshot
 * borrows its ID and name from @entry, and has no place); and written as all
 * new ones are, with the extra data that is known. Nothing is checked but that
 * the lengths in @entry are believed.
 */
void qcow2_snapshot_parse(const struct qcow2 *q, const uint8_t *entry,
			  uint32_t extra, struct qcow2_snapshot *ret_snapshot);
size_t qcow2_snapshot_bytes(const struct qcow2_snapshot *snapshot);
void qcow2_snapshot_put(uint8_t *to, const struct qcow2_snapshot *snapshot);

void qcow2_snapshot_table_deinit(struct qcow2_snapshot_table *table);

/* The first of that ID and that name, where these are not NULL; or NULL. */
const struct qcow2_snapshot *
qcow2_snapshot_find(const struct qcow2_snapshot_table *table, const char *id,
		    const char *name);

/* The one of that ID or, if there is none, the first of that name; or NULL. */
const struct qcow2_snapshot *
qcow2_snapshot_find_any(const struct qcow2_snapshot_table *table,
			const char *id_or_name);

/* An ID for one more: a number above all others. */
void qcow2_snapshot_new_id(const struct qcow2_snapshot_table *table,
			   char ret_id[24]);

#endif
