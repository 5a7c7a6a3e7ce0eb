/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "qcow2/free.h"
#include "qcow2/header-write.h"
#include "qcow2/manage.h"
#include "qcow2/offline.h"

/* Neighbours are given back as one. */
struct run {
	struct qcow2 *q;
	uint64_t first; /* host clusters */
	uint64_t count;
};

static int end_run(struct run *run)
{
	const struct qcow2 *q = run->q;
	uint64_t first = run->first, count = run->count;

	run->count = 0;
	if (count == 0)
		return 0;
	return qcow2_offline_give_back(run->q, first << q->cluster_bits,
				       count << q->cluster_bits);
}

static int add_run(struct run *run, uint64_t first, uint64_t count)
{
	int err = 0;

	if (count == 0)
		return 0;
	if (run->count && run->first + run->count == first) {
		run->count += count;
		return 0;
	}
	err = end_run(run);
	run->first = first;
	run->count = count;
	return err;
}

static int give_back_table(struct run *run, uint64_t offset, uint8_t *table)
{
	struct qcow2 *q = run->q;
	uint64_t bytes = qcow2_cluster_bytes(q);
	int err;

	if (offset == 0)
		return 0;
	err = store_read(q->image.store, offset, table, bytes);
	for (uint64_t i = 0; i < bytes && err == 0;
	     i += UINT64_C(1) << q->entry_bits) {
		uint64_t first = 0;
		uint32_t count =
			qcow2_entry_clusters(q, get_be64(table + i), &first);

		err = add_run(run, first, count);
	}
	if (err == 0)
		err = add_run(run, qcow2_cluster_of(q, offset), 1);
	return err;
}

/* The header names the empty table: what the old one had is nobody's. */
static int give_back_all(struct qcow2 *q, const struct qcow2_memtable *old)
{
	uint8_t *table =
		aligned_alloc(4096, align_up(qcow2_cluster_bytes(q), 4096));
	struct run run = {.q = q};
	int err = 0;

	if (!table)
		return -ENOMEM;
	for (uint32_t i = 0; i < old->entries && err == 0; i++)
		err = give_back_table(
			&run, qcow2_memtable_get(old, i) & QCOW2_OFFSET_MASK,
			table);
	free(table);
	if (err == 0)
		err = end_run(&run);
	if (err == 0)
		err = qcow2_offline_give_back(q, old->offset, old->placed);
	return err ? err : qcow2_settle(q);
}

/* A table without entries on disk, stably, and in memory. */
static int make_table(struct qcow2 *q, struct qcow2_memtable *ret)
{
	int err = qcow2_memtable_init(ret, q->l1.bytes, q->l1.block_bytes);

	if (err == 0)
		err = qcow2_offline_take(q, ret->bytes, &ret->offset);
	if (err)
		return err;
	ret->placed = ret->bytes;
	err = store_write(q->image.store, ret->offset, ret->data, ret->bytes);
	if (err == 0)
		err = qcow2_offline_stable(q);
	if (err)
		(void)qcow2_offline_give_back(q, ret->offset, ret->placed);
	return err;
}

static int write_zeroes(struct store *store, uint64_t length)
{
	static const uint8_t zeroes[65536] __attribute__((aligned(4096)));
	int err = 0;

	for (uint64_t at = 0; at < length && err == 0; at += sizeof(zeroes))
		err = store_write(store, at, zeroes,
				  MIN(length - at, (uint64_t)sizeof(zeroes)));
	return err;
}

/* All of a data file is zeroes. */
static int clear_data_file(struct qcow2 *q)
{
	struct store *store = q->image.data_store;
	uint64_t length = MIN(store->size_bytes, q->image.size_bytes);
	int err;

	if (store->can_grow) {
		length = store->size_bytes;
		err = store_resize(store, 0);
		return err ? err : store_resize(store, length);
	}
	err = store_zero(store, 0, length);
	return err == -ENOTSUP ? write_zeroes(store, length) : err;
}

/*
 * A raw one before the image says so. Another one when nothing says any more
 * that the image has data there, and what is beneath shows: then it is space
 * that is given back, no more.
 */
static int clear_raw_first(struct qcow2 *q)
{
	int err = qcow2_data_is_raw(q) ? clear_data_file(q) : 0;

	return err ? err : qcow2_settle(q);
}

static int clear_data_last(struct qcow2 *q)
{
	bool pays = q->data_file && !qcow2_data_is_raw(q) &&
		    q->image.data_store->can_grow;

	return pays ? clear_data_file(q) : 0;
}

/* The header names the new table; if not, that is given back. */
static int switch_table(struct qcow2 *q, const struct qcow2_memtable *table)
{
	struct qcow2_header before = q->header;
	bool kept;
	int err;

	q->header.l1_offset = table->offset;
	err = qcow2_header_replace(q, &before, &kept);
	if (err && kept)
		(void)qcow2_offline_give_back(q, table->offset, table->placed);
	return err;
}

int qcow2_make_empty(struct image *image)
{
	struct qcow2 *q = qcow2_of(image);
	struct qcow2_memtable table = {0}, old = q->l1;
	int err = qcow2_settle(q);

	if (err || q->l1.bytes == 0)
		return err;
	if (q->data_missing)
		return image_set_error(image, IMAGE_E_UNSUPPORTED,
				       "its external data file is not open");
	err = clear_raw_first(q);
	if (err == 0)
		err = make_table(q, &table);
	if (err == 0)
		err = switch_table(q, &table);
	if (err) {
		qcow2_memtable_deinit(&table);
		return err;
	}
	q->l1 = table;
	qcow2_places_deinit(&q->places);
	err = give_back_all(q, &old);
	qcow2_memtable_deinit(&old);
	return err ? err : clear_data_last(q);
}
