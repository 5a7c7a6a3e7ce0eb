/* SPDX-License-Identifier: Apache-2.0 */
#include "qcow2/snapshot-table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	/* The table is read in pieces of so much. */
	CHUNK = 64 << 10,
	/* Known extra data: the state's size, the disk's, an icount. */
	EXTRA_BYTES = 24,
};

#define FIELD(entry, bits, name) \
	get_be##bits((entry) + offsetof(struct qcow2_wire_snapshot, name))

/* A table while it is read: @table.bytes has the first @there from disk. */
struct reader {
	struct qcow2 *q;
	struct qcow2_snapshot_table table;
	size_t room;
};

/* The table's first @size bytes are in memory, if it may be that long. */
static int want(struct reader *r, size_t size)
{
	struct qcow2 *q = r->q;
	uint64_t file =
		align_up(q->image.store->size_bytes, qcow2_cluster_bytes(q));
	uint64_t offset = q->header.snapshots_offset;
	size_t room = align_up(size, CHUNK);
	uint8_t *grown;
	int err;

	if (size > QCOW2_MAX_SNAPSHOTS_BYTES)
		return qcow2_corrupt(q, "the snapshot table is larger than "
					"64 MiB");
	if (!range_fits(offset, size, file))
		return qcow2_corrupt(q, "the snapshot table is not inside the "
					"file");
	if (size <= r->room)
		return 0;
	grown = aligned_alloc(4096, room);
	if (!grown)
		return -ENOMEM;
	if (r->room)
		memcpy(grown, r->table.bytes, r->room);
	free(r->table.bytes);
	r->table.bytes = grown;
	err = store_read(q->image.store, offset + r->room, grown + r->room,
			 room - r->room);
	if (err == 0)
		r->room = room;
	return err;
}

static int check_l1(struct qcow2 *q, const struct qcow2_snapshot *s,
		    uint32_t number)
{
	uint64_t file =
		align_up(q->image.store->size_bytes, qcow2_cluster_bytes(q));

	if (s->l1_entries > QCOW2_MAX_L1_BYTES / 8)
		return qcow2_corrupt(q,
				     "the L1 table of snapshot number %u is "
				     "larger than 32 MiB",
				     number);
	if (qcow2_in_cluster(q, s->l1_offset) != 0 ||
	    (s->l1_entries && s->l1_offset == 0) ||
	    !range_fits(s->l1_offset, s->l1_entries * UINT64_C(8), file))
		return qcow2_corrupt(q,
				     "the L1 table of snapshot number %u (%u "
				     "entries at %llu) is not inside the file",
				     number, s->l1_entries,
				     (unsigned long long)s->l1_offset);
	if (s->size_bytes > INT64_MAX)
		return qcow2_corrupt(q,
				     "snapshot number %u is of too large a "
				     "disk",
				     number);
	return 0;
}

void qcow2_snapshot_parse(const struct qcow2 *q, const uint8_t *entry,
			  uint32_t extra, struct qcow2_snapshot *s)
{
	const uint8_t *at = entry + sizeof(struct qcow2_wire_snapshot);

	s->l1_offset = FIELD(entry, 64, l1_offset);
	s->l1_entries = FIELD(entry, 32, l1_entries);
	s->date_seconds = FIELD(entry, 32, date_seconds);
	s->date_nanoseconds = FIELD(entry, 32, date_nanoseconds);
	s->clock_nanoseconds = FIELD(entry, 64, clock);
	s->id_bytes = FIELD(entry, 16, id_bytes);
	s->name_bytes = FIELD(entry, 16, name_bytes);
	s->state_bytes =
		extra >= 8 ? get_be64(at) : FIELD(entry, 32, state_bytes);
	s->size_bytes = extra >= 16 ? get_be64(at + 8) : q->header.size_bytes;
	s->icount = extra >= 24 ? get_be64(at + 16) : UINT64_MAX;
	s->id = (const char *)at + extra;
	s->name = s->id + s->id_bytes;
}

/* The next entry, at @at; it ends at *@ret_end. */
static int read_entry(struct reader *r, uint32_t number, size_t at,
		      size_t *ret_end)
{
	const uint8_t *entry;
	uint32_t extra;
	size_t bytes;
	int err = want(r, at + sizeof(struct qcow2_wire_snapshot));

	if (err)
		return err;
	entry = r->table.bytes + at;
	extra = FIELD(entry, 32, extra_bytes);
	if (extra > QCOW2_MAX_SNAPSHOT_EXTRA)
		return qcow2_corrupt(r->q,
				     "snapshot number %u has %u bytes of extra "
				     "data; at most 1024 are allowed",
				     number, extra);
	bytes = sizeof(struct qcow2_wire_snapshot) + extra +
		FIELD(entry, 16, id_bytes) + FIELD(entry, 16, name_bytes);
	/* The last one's padding may be missing. */
	err = want(r, at + bytes);
	if (err)
		return err;
	r->table.all[number].at = at;
	r->table.all[number].bytes = align_up(bytes, 8);
	*ret_end = at + align_up(bytes, 8);
	return 0;
}

/* The bytes do not move any more. */
static int parse_all(struct qcow2 *q, struct qcow2_snapshot_table *table)
{
	int err = 0;

	for (uint32_t i = 0; i < table->count && err == 0; i++) {
		struct qcow2_snapshot *s = &table->all[i];
		const uint8_t *entry = table->bytes + s->at;

		qcow2_snapshot_parse(q, entry, FIELD(entry, 32, extra_bytes),
				     s);
		err = check_l1(q, s, i);
	}
	return err;
}

int qcow2_snapshot_table_read(struct qcow2 *q,
			      struct qcow2_snapshot_table *ret_table)
{
	struct reader r = {.q = q};
	uint32_t count = q->header.snapshot_count;
	size_t end = 0;
	int err = 0;

	/* An image that is to be checked is opened with any number of them. */
	if (count > QCOW2_MAX_SNAPSHOTS)
		return qcow2_corrupt(q, "more than 65536 snapshots");
	r.table.all = calloc((size_t)count + 1, sizeof(*r.table.all));
	if (!r.table.all)
		return -ENOMEM;
	for (uint32_t i = 0; i < count && err == 0; i++)
		err = read_entry(&r, i, end, &end);
	r.table.count = count;
	r.table.size = end;
	/* Padding that is not in the file is zero, as it was read. */
	if (err == 0 && end > r.room)
		err = want(&r, end);
	if (err == 0)
		err = parse_all(q, &r.table);
	if (err) {
		qcow2_snapshot_table_deinit(&r.table);
		return err;
	}
	*ret_table = r.table;
	return 0;
}

void qcow2_snapshot_table_deinit(struct qcow2_snapshot_table *table)
{
	free(table->bytes);
	free(table->all);
	*table = (struct qcow2_snapshot_table){0};
}

size_t qcow2_snapshot_bytes(const struct qcow2_snapshot *s)
{
	return align_up(sizeof(struct qcow2_wire_snapshot) + EXTRA_BYTES +
				(size_t)s->id_bytes + s->name_bytes,
			8);
}

void qcow2_snapshot_put(uint8_t *to, const struct qcow2_snapshot *s)
{
	struct qcow2_wire_snapshot wire = {
		.l1_offset = htobe64(s->l1_offset),
		.l1_entries = htobe32(s->l1_entries),
		.id_bytes = htobe16(s->id_bytes),
		.name_bytes = htobe16(s->name_bytes),
		.date_seconds = htobe32(s->date_seconds),
		.date_nanoseconds = htobe32(s->date_nanoseconds),
		.clock = htobe64(s->clock_nanoseconds),
		.state_bytes = htobe32(
			s->state_bytes <= UINT32_MAX ? s->state_bytes : 0),
		.extra_bytes = htobe32(EXTRA_BYTES),
	};

	memcpy(to, &wire, sizeof(wire));
	to += sizeof(wire);
	put_be64(to, s->state_bytes);
	put_be64(to + 8, s->size_bytes);
	put_be64(to + 16, s->icount);
	memcpy(to + EXTRA_BYTES, s->id, s->id_bytes);
	memcpy(to + EXTRA_BYTES + s->id_bytes, s->name, s->name_bytes);
}

int qcow2_snapshot_table_edit(struct qcow2 *q,
			      const struct qcow2_snapshot_table *from,
			      uint32_t without,
			      const struct qcow2_snapshot *with,
			      struct qcow2_snapshot_table *ret_table)
{
	struct qcow2_snapshot_table to = {0};
	size_t size = from->size + (with ? qcow2_snapshot_bytes(with) : 0);

	if (from->count == QCOW2_MAX_SNAPSHOTS && with)
		return image_set_error(&q->image, -EFBIG,
				       "there are 65536 snapshots already");
	if (size > QCOW2_MAX_SNAPSHOTS_BYTES)
		return image_set_error(&q->image, -EFBIG,
				       "the snapshot table would be larger "
				       "than 64 MiB");
	/* Whole clusters are written, with zeroes at the end. */
	size = align_up(size + 1, MAX(qcow2_cluster_bytes(q), UINT64_C(4096)));
	to.bytes = aligned_alloc(4096, size);
	to.all = calloc((size_t)from->count + 2, sizeof(*to.all));
	if (!to.bytes || !to.all) {
		qcow2_snapshot_table_deinit(&to);
		return -ENOMEM;
	}
	memset(to.bytes, 0, size);
	for (uint32_t i = 0; i < from->count; i++) {
		const struct qcow2_snapshot *s = &from->all[i];

		if (i == without)
			continue;
		memcpy(to.bytes + to.size, from->bytes + s->at, s->bytes);
		to.all[to.count].at = to.size;
		to.all[to.count++].bytes = s->bytes;
		to.size += s->bytes;
	}
	if (with) {
		qcow2_snapshot_put(to.bytes + to.size, with);
		to.all[to.count].at = to.size;
		to.all[to.count++].bytes = qcow2_snapshot_bytes(with);
		to.size += qcow2_snapshot_bytes(with);
	}
	*ret_table = to;
	return 0;
}

static bool equals(const char *text, const char *bytes, size_t length)
{
	return strlen(text) == length && memcmp(text, bytes, length) == 0;
}

const struct qcow2_snapshot *
qcow2_snapshot_find(const struct qcow2_snapshot_table *table, const char *id,
		    const char *name)
{
	for (uint32_t i = 0; i < table->count; i++) {
		const struct qcow2_snapshot *s = &table->all[i];

		if ((!id || equals(id, s->id, s->id_bytes)) &&
		    (!name || equals(name, s->name, s->name_bytes)))
			return s;
	}
	return NULL;
}

const struct qcow2_snapshot *
qcow2_snapshot_find_any(const struct qcow2_snapshot_table *table,
			const char *id_or_name)
{
	const struct qcow2_snapshot *s =
		qcow2_snapshot_find(table, id_or_name, NULL);

	return s ? s : qcow2_snapshot_find(table, NULL, id_or_name);
}

/* An ID that is no number counts as none. */
static uint64_t id_number(const struct qcow2_snapshot *s)
{
	uint64_t number = 0;

	for (uint16_t i = 0; i < s->id_bytes; i++) {
		if (s->id[i] < '0' || s->id[i] > '9' ||
		    number > UINT64_MAX / 10 - 1)
			break;
		number = number * 10 + (uint64_t)(s->id[i] - '0');
	}
	return number;
}

void qcow2_snapshot_new_id(const struct qcow2_snapshot_table *table,
			   char ret_id[24])
{
	uint64_t most = 0;

	for (uint32_t i = 0; i < table->count; i++)
		most = MAX(most, id_number(&table->all[i]));
	snprintf(ret_id, 24, "%llu", (unsigned long long)most + 1);
}
