/* SPDX-License-Identifier: Apache-2.0 */
/* An image as it was when a snapshot was taken. */
#include <errno.h>
#include <stdlib.h>

#include "image/packed-read.h"
#include "qcow2/qcow2.h"
#include "qcow2/snapshot-table.h"
#include "qcow2/snapshot.h"

static int enter(struct qcow2 *q, const struct qcow2_snapshot *s)
{
	uint64_t used = div_round_up(
		s->size_bytes, UINT64_C(1) << (q->l2_bits + q->cluster_bits));

	if (used > s->l1_entries)
		return qcow2_corrupt(q,
				     "the snapshot's L1 table (%u entries) is "
				     "too small for its disk",
				     s->l1_entries);
	q->header.size_bytes = s->size_bytes;
	q->header.l1_offset = s->l1_offset;
	q->header.l1_entries = s->l1_entries;
	q->header.l1_used = used;
	q->state_bytes = s->state_bytes;
	return 0;
}

static int not_found(struct qcow2 *q, const struct image_open_options *o)
{
	if (o->snapshot_id && o->snapshot_name)
		return image_set_error(&q->image, -ENOENT,
				       "there is no snapshot called \"%s\" "
				       "with the ID \"%s\"",
				       o->snapshot_name, o->snapshot_id);
	return image_set_error(&q->image, -ENOENT,
			       "there is no snapshot called \"%s\"",
			       o->snapshot	? o->snapshot
			       : o->snapshot_id ? o->snapshot_id
						: o->snapshot_name);
}

int qcow2_snapshot_enter(struct qcow2 *q, const struct image_open_options *o)
{
	const struct qcow2_snapshot *s;
	struct qcow2_snapshot_table table;
	int err = qcow2_snapshot_table_read(q, &table);

	if (err)
		return err;
	s = o->snapshot ? qcow2_snapshot_find_any(&table, o->snapshot)
			: qcow2_snapshot_find(&table, o->snapshot_id,
					      o->snapshot_name);
	err = s ? enter(q, s) : not_found(q, o);
	qcow2_snapshot_table_deinit(&table);
	return err;
}

/* Maps past the disk's end, which image_map does not. */
static int map_state(struct qcow2 *q, uint64_t offset, uint64_t length,
		     struct image_extent *ret)
{
	for (;;) {
		int err;

		pthread_mutex_lock(&q->image.lock);
		err = qcow2_map(&q->image, IMAGE_READ, offset, length, ret);
		pthread_mutex_unlock(&q->image.lock);
		if (err || ret->kind != IMAGE_NEED)
			return err;
		err = image_read_need(&q->image, ret);
		if (err)
			return err;
	}
}

static int read_compressed(const struct image_extent *extent, uint8_t *to)
{
	struct codec *codec;
	int err = codec_new(&codec);

	if (err)
		return err;
	err = packed_read(codec, extent, to);
	codec_free(codec);
	return err;
}

static int read_extent(const struct image_extent *extent, uint8_t *to)
{
	switch (extent->kind) {
	case IMAGE_DATA:
		return store_read(extent->store, extent->host_offset, to,
				  extent->length);
	case IMAGE_COMPRESSED:
		return read_compressed(extent, to);
	case IMAGE_ZEROES:
	case IMAGE_HOLE: /* No backing image has a state. */
		memset(to, 0, extent->length);
		return 0;
	default:
		return -EBUSY;
	}
}

uint64_t qcow2_vmstate_bytes(const struct image *image)
{
	return container_of(image, struct qcow2, image)->state_bytes;
}

int qcow2_vmstate_read(struct image *image, uint64_t offset, void *ret_data,
		       size_t length)
{
	struct qcow2 *q = qcow2_of(image);
	unsigned table_bits = q->l2_bits + q->cluster_bits;
	uint64_t start = (uint64_t)q->header.l1_used << table_bits;
	uint64_t end = (uint64_t)q->header.l1_entries << table_bits;
	uint8_t *to = ret_data;
	int err = 0;

	if (!range_fits(offset, length, q->state_bytes))
		return -EINVAL;
	/* QEMU cannot save one: states do not end with a sector. */
	if (q->image.cipher)
		return image_set_error(image, -ENOTSUP,
				       "an encrypted image holds no state of "
				       "a machine that could be read");
	if (!range_fits(offset, length, end - start))
		return qcow2_corrupt(q, "the machine's state is not in the "
					"snapshot's L1 table");
	for (offset += start; length && err == 0;) {
		struct image_extent extent;

		err = map_state(q, offset, length, &extent);
		if (err == 0)
			err = read_extent(&extent, to);
		if (err)
			break;
		to += extent.length;
		offset += extent.length;
		length -= extent.length;
	}
	return err;
}
