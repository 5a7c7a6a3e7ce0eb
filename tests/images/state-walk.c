/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/images/state-walk.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/cmocka.h"

enum {
	AT_CLUSTER_BITS = 20,
	AT_SNAPSHOTS = 60,
	AT_SNAPSHOT_TABLE = 64,
	AT_INCOMPATIBLE = 72,
	EXTENDED_L2_BIT = 1 << 4,

	/* In an entry of the snapshot table; extra data comes after these. */
	AT_L1 = 0,
	AT_L1_ENTRIES = 8,
	AT_EXTRA_BYTES = 36,
	AT_LARGE_STATE_BYTES = 40,
	AT_DISK_BYTES = 48,
	EXTRA_BYTES = 16,
};

#define PLACE UINT64_C(0x00fffffffffffe00)

struct walk {
	const uint8_t *data;
	size_t bytes;
	unsigned cluster_bits;
	unsigned entry_bits; /* of an L2 entry's bytes */
	const uint8_t *snapshot;
};

static const uint8_t *at(const struct walk *w, uint64_t offset, uint64_t bytes)
{
	assert_true(range_fits(offset, bytes, w->bytes));
	return w->data + offset;
}

static unsigned table_bits(const struct walk *w)
{
	return 2 * w->cluster_bits - w->entry_bits;
}

/* The cluster that guest byte @offset lies in; NULL: there is none. */
static const uint8_t *find_cluster(const struct walk *w, uint64_t offset)
{
	uint64_t cluster = UINT64_C(1) << w->cluster_bits;
	uint64_t l1 = get_be64(w->snapshot + AT_L1);
	uint64_t first = offset >> table_bits(w);
	uint64_t second =
		(offset >> w->cluster_bits) & ((cluster >> w->entry_bits) - 1);
	uint64_t table, entry;

	assert_true(first < get_be32(w->snapshot + AT_L1_ENTRIES));
	table = get_be64(at(w, l1 + first * 8, 8)) & PLACE;
	if (!table)
		return NULL;
	entry = get_be64(at(w, table + (second << w->entry_bits), 8));
	return entry & PLACE ? at(w, entry & PLACE, cluster) : NULL;
}

uint8_t *state_walk(const uint8_t *image, size_t image_bytes,
		    uint64_t *ret_bytes)
{
	struct walk w = {.data = image, .bytes = image_bytes};
	uint64_t start, length, cluster;
	uint8_t *state;

	w.cluster_bits = get_be32(at(&w, AT_CLUSTER_BITS, 4));
	w.entry_bits = image[AT_INCOMPATIBLE + 7] & EXTENDED_L2_BIT ? 4 : 3;
	assert_int_equal(get_be32(image + AT_SNAPSHOTS), 1);
	w.snapshot = at(&w, get_be64(image + AT_SNAPSHOT_TABLE), 64);
	assert_true(get_be32(w.snapshot + AT_EXTRA_BYTES) >= EXTRA_BYTES);
	length = get_be64(w.snapshot + AT_LARGE_STATE_BYTES);
	/* It begins with the first L2 table that the disk has no part of. */
	start = align_up(get_be64(w.snapshot + AT_DISK_BYTES),
			 UINT64_C(1) << table_bits(&w));
	cluster = UINT64_C(1) << w.cluster_bits;
	state = calloc(1, length + cluster);
	assert_non_null(state);
	for (uint64_t done = 0; done < length; done += cluster) {
		const uint8_t *from = find_cluster(&w, start + done);

		if (from)
			memcpy(state + done, from, cluster);
	}
	*ret_bytes = length;
	return state;
}
