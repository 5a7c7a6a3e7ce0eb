/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/images/qcow2-walk.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"

/* Offsets in the header, by the specification. */
enum {
	AT_VERSION = 4,
	AT_CLUSTER_BITS = 20,
	AT_SIZE = 24,
	AT_L1_SIZE = 36,
	AT_L1 = 40,
	AT_REFTABLE = 48,
	AT_REFTABLE_CLUSTERS = 56,
	AT_SNAPSHOTS = 60,
	AT_SNAPSHOT_TABLE = 64,
	AT_INCOMPATIBLE = 72,
	AT_AUTOCLEAR = 88,
	AT_REFCOUNT_ORDER = 96,
	AT_HEADER_LENGTH = 100,

	DATA_FILE_BIT = 1 << 2,
	EXTENDED_L2_BIT = 1 << 4,
	BITMAPS_BIT = 1 << 0,

	EXTENSION_BITMAPS = 0x23852875,
	EXTENSION_ENCRYPTION = 0x0537be77,
};

#define OFFSET_BITS UINT64_C(0x00fffffffffffe00)
#define COPIED_BIT  (UINT64_C(1) << 63)
#define PACKED_BIT  (UINT64_C(1) << 62)
#define ZERO_BIT    (UINT64_C(1) << 0)

#define PROBLEM(w, ...) \
	(snprintf((w)->problem, sizeof((w)->problem), __VA_ARGS__), -1)

static uint64_t get64(const struct qcow2_walk *w, uint64_t offset)
{
	if (!range_fits(offset, 8, w->size_bytes))
		return 0;
	return get_be64(w->data + offset);
}

static uint64_t ref_place(const struct qcow2_walk *w, uint64_t cluster,
			  uint64_t *ret_bit)
{
	unsigned bits = w->cluster_bits + 3 - w->refcount_order;
	uint64_t table = get_be64(w->data + AT_REFTABLE);
	uint64_t entries = ((uint64_t)get_be32(w->data + AT_REFTABLE_CLUSTERS)
			    << w->cluster_bits) /
			   8;
	uint64_t block = 0;

	if (cluster >> bits < entries)
		block = get64(w, table + (cluster >> bits) * 8);
	*ret_bit = (cluster & ((UINT64_C(1) << bits) - 1)) << w->refcount_order;
	return block;
}

static uint64_t get_ref(const struct qcow2_walk *w, uint64_t cluster)
{
	uint64_t bit, value = 0;
	uint64_t block = ref_place(w, cluster, &bit);
	unsigned width = 1u << w->refcount_order;

	if (block == 0 || !range_fits(block, 1, w->size_bytes))
		return 0;
	if (width < 8)
		return w->data[block + bit / 8] >> bit % 8 &
		       ((1u << width) - 1);
	for (unsigned i = 0; i < width / 8; i++) {
		uint64_t at = block + bit / 8 + i;

		value = value << 8 | (at < w->size_bytes ? w->data[at] : 0);
	}
	return value;
}

static void add_ref(struct qcow2_walk *w, uint64_t cluster)
{
	uint64_t bit, value = get_ref(w, cluster) + 1;
	uint64_t block = ref_place(w, cluster, &bit);
	unsigned width = 1u << w->refcount_order;
	uint8_t *at = w->data + block + bit / 8;

	if (width < 8) {
		*at &= ~(((1u << width) - 1) << bit % 8);
		*at |= value << bit % 8;
		return;
	}
	for (unsigned i = width / 8; i-- > 0; value >>= 8)
		at[i] = value;
}

static int use(struct qcow2_walk *w, const char *what, uint64_t offset,
	       uint64_t bytes, uint64_t entry)
{
	uint64_t cluster = UINT64_C(1) << w->cluster_bits;
	uint64_t first = offset >> w->cluster_bits;
	uint64_t last = (offset + bytes - 1) >> w->cluster_bits;

	if (!(entry & PACKED_BIT) && !is_aligned(offset, cluster))
		return PROBLEM(w, "%s at %llu is not aligned", what,
			       (unsigned long long)offset);
	if (last >= w->clusters)
		return PROBLEM(w, "%s at %llu is not in the file", what,
			       (unsigned long long)offset);
	for (uint64_t i = first; i <= last; i++) {
		uint64_t count = get_ref(w, i);

		w->uses[i]++;
		if (w->uses[i] > count)
			return PROBLEM(w,
				       "%s at cluster %llu: refcount %llu, "
				       "used %u times",
				       what, (unsigned long long)i,
				       (unsigned long long)count, w->uses[i]);
		if ((entry & COPIED_BIT) && count != 1)
			return PROBLEM(w,
				       "%s at cluster %llu: marked as its own, "
				       "refcount %llu",
				       what, (unsigned long long)i,
				       (unsigned long long)count);
	}
	return 0;
}

/* Whoever writes there copies for nothing, which QEMU takes for corrupt. */
static void note_unmarked(struct qcow2_walk *w, uint64_t entry, bool active)
{
	w->unmarked +=
		active && !(entry & COPIED_BIT) &&
		get_ref(w, (entry & OFFSET_BITS) >> w->cluster_bits) == 1;
}

/* "Extended L2 Entries": which bits the two words may have together. */
static int check_bitmap(struct qcow2_walk *w, uint64_t entry, uint64_t bitmap)
{
	uint32_t data = bitmap, zero = bitmap >> 32;
	const char *wrong = NULL;

	if ((entry & ZERO_BIT) && !(entry & PACKED_BIT))
		wrong = "has the zero flag of other images";
	else if (data & zero)
		wrong = "has sub-clusters that are data and zero";
	else if ((entry & PACKED_BIT) && bitmap)
		wrong = "is compressed and has sub-clusters";
	else if (!(entry & PACKED_BIT) && data && !(entry & OFFSET_BITS) &&
		 !(w->data_file && (entry & COPIED_BIT)))
		wrong = "has data and no host cluster";
	if (!wrong)
		return 0;
	return PROBLEM(w, "L2 entry %llx %llx %s", (unsigned long long)entry,
		       (unsigned long long)bitmap, wrong);
}

static int use_entry(struct qcow2_walk *w, uint64_t entry, bool active)
{
	if (!active)
		entry &= ~COPIED_BIT;
	if (entry & PACKED_BIT) {
		unsigned x = 62 - (w->cluster_bits - 8);
		uint64_t offset = entry & ((UINT64_C(1) << x) - 1);
		uint64_t sectors = (entry & (PACKED_BIT - 1)) >> x;

		return use(w, "compressed data", offset,
			   (sectors + 1) * 512 - offset % 512, entry);
	}
	if ((entry & OFFSET_BITS) == 0 || w->data_file)
		return 0;
	note_unmarked(w, entry, active);
	return use(w, "data", entry & OFFSET_BITS, 1, entry);
}

static void note_hidden(struct qcow2_walk *w, uint64_t entry, uint64_t guest)
{
	uint64_t cluster = UINT64_C(1) << w->cluster_bits;
	uint64_t size = get_be64(w->data + AT_SIZE);
	uint64_t host = entry & OFFSET_BITS;

	if (w->extended_l2 || w->data_file || entry == 0 || (entry & ZERO_BIT))
		return;
	if (guest >= size)
		w->hidden++;
	else if (size - guest >= cluster || (entry & PACKED_BIT))
		return;
	for (uint64_t at = host + (size - guest);
	     guest < size && at < MIN(host + cluster, w->size_bytes); at++)
		w->hidden += w->data[at] != 0;
}

static int use_l1(struct qcow2_walk *w, uint64_t offset, uint64_t entries,
		  bool active)
{
	uint64_t entry_bytes = w->extended_l2 ? 16 : 8;
	uint64_t per_table = (UINT64_C(1) << w->cluster_bits) / entry_bytes;
	int err = entries ? use(w, "L1 table", offset, entries * 8, 0) : 0;

	for (uint64_t i = 0; i < entries && err == 0; i++) {
		uint64_t entry = get64(w, offset + i * 8);
		uint64_t table = entry & OFFSET_BITS;

		if (table == 0)
			continue;
		if (!active)
			entry &= ~COPIED_BIT;
		note_unmarked(w, entry, active);
		err = use(w, "L2 table", table, 1, entry);
		for (uint64_t e = 0; e < per_table && err == 0; e++) {
			uint64_t at = table + e * entry_bytes;

			if (w->extended_l2)
				err = check_bitmap(w, get64(w, at),
						   get64(w, at + 8));
			if (active)
				note_hidden(w, get64(w, at),
					    (i * per_table + e)
						    << w->cluster_bits);
			if (err == 0)
				err = use_entry(w, get64(w, at), active);
		}
	}
	return err;
}

static int use_refcounts(struct qcow2_walk *w)
{
	uint64_t offset = get_be64(w->data + AT_REFTABLE);
	uint64_t bytes = (uint64_t)get_be32(w->data + AT_REFTABLE_CLUSTERS)
			 << w->cluster_bits;
	int err = use(w, "refcount table", offset, bytes, 0);

	for (uint64_t at = 0; at < bytes && err == 0; at += 8) {
		uint64_t block = get64(w, offset + at);

		if (block)
			err = use(w, "refcount block", block, 1, 0);
	}
	return err;
}

/* The length of the snapshot table entry at @at. */
static uint64_t snapshot_bytes(const struct qcow2_walk *w, uint64_t at)
{
	return align_up(40 + get_be32(w->data + at + 36) +
				get_be16(w->data + at + 12) +
				get_be16(w->data + at + 14),
			8);
}

static int use_snapshots(struct qcow2_walk *w)
{
	uint32_t count = get_be32(w->data + AT_SNAPSHOTS);
	uint64_t table = get_be64(w->data + AT_SNAPSHOT_TABLE);
	uint64_t at = table;
	int err = 0;

	for (uint32_t i = 0; i < count && err == 0; i++) {
		if (!range_fits(at, 40, w->size_bytes))
			return PROBLEM(w, "snapshot table not in the file");
		if (get_be32(w->data + AT_VERSION) > 2 &&
		    get_be32(w->data + at + 36) < 16)
			return PROBLEM(w, "snapshot %u is incomplete", i);
		err = use_l1(w, get64(w, at), get_be32(w->data + at + 8),
			     false);
		at += snapshot_bytes(w, at);
	}
	if (err == 0 && count)
		err = use(w, "snapshot table", table, at - table, 0);
	return err;
}

static int use_bitmap(struct qcow2_walk *w, uint64_t table, uint32_t entries)
{
	int err = entries ? use(w, "bitmap table", table, entries * UINT64_C(8),
				0)
			  : 0;

	for (uint32_t i = 0; i < entries && err == 0; i++) {
		uint64_t data = get64(w, table + i * 8) & OFFSET_BITS;

		if (data)
			err = use(w, "bitmap", data, 1, 0);
	}
	return err;
}

static int use_bitmaps(struct qcow2_walk *w, const uint8_t *extension)
{
	uint32_t count = get_be32(extension);
	uint64_t bytes = get_be64(extension + 8);
	uint64_t at = get_be64(extension + 16), end = at + bytes;
	int err;

	if (count == 0)
		return 0;
	if (!range_fits(at, bytes, w->size_bytes))
		return PROBLEM(w, "bitmap directory not in the file");
	err = use(w, "bitmap directory", at, bytes, 0);
	for (; count && err == 0; count--) {
		const uint8_t *entry = w->data + at;

		if (!range_fits(at, 24, end))
			return PROBLEM(w, "bitmap directory cut short");
		err = use_bitmap(w, get_be64(entry), get_be32(entry + 8));
		at += align_up(24 + get_be32(entry + 20) + get_be16(entry + 18),
			       8);
	}
	return err;
}

/* What the header's extensions name. */
static int use_extensions(struct qcow2_walk *w)
{
	uint64_t at, end = MIN(UINT64_C(1) << w->cluster_bits, w->size_bytes);
	int err = 0;

	at = get_be32(w->data + AT_VERSION) == 2
		     ? 72
		     : get_be32(w->data + AT_HEADER_LENGTH);
	while (err == 0 && range_fits(at, 8, end)) {
		const uint8_t *extension = w->data + at + 8;
		uint32_t type = get_be32(w->data + at);
		uint32_t bytes = get_be32(w->data + at + 4);

		if (type == 0)
			break;
		if (!range_fits(at + 8, bytes, end))
			return PROBLEM(w, "extension past the header");
		if (type == EXTENSION_BITMAPS && bytes >= 24 &&
		    (get_be64(w->data + AT_AUTOCLEAR) & BITMAPS_BIT))
			err = use_bitmaps(w, extension);
		if (type == EXTENSION_ENCRYPTION && bytes >= 16)
			err = use(w, "encryption header", get_be64(extension),
				  get_be64(extension + 8), 0);
		at += 8 + align_up(bytes, 8);
	}
	return err;
}

static int parse(struct qcow2_walk *w)
{
	uint64_t features;
	uint32_t bits;

	if (w->size_bytes < 72 || get_be32(w->data) != 0x514649fb)
		return PROBLEM(w, "no header");
	bits = get_be32(w->data + AT_CLUSTER_BITS);
	if (bits < 9 || bits > 21)
		return PROBLEM(w, "%u cluster bits", bits);
	w->cluster_bits = bits;
	w->refcount_order = get_be32(w->data + AT_VERSION) == 2
				    ? 4
				    : get_be32(w->data + AT_REFCOUNT_ORDER);
	features = get_be32(w->data + AT_VERSION) == 2
			   ? 0
			   : get_be64(w->data + AT_INCOMPATIBLE);
	w->data_file = features & DATA_FILE_BIT;
	w->extended_l2 = features & EXTENDED_L2_BIT;
	w->clusters = (w->size_bytes >> bits) +
		      (w->size_bytes % (UINT64_C(1) << bits) != 0);
	return 0;
}

int qcow2_walk(struct qcow2_walk *w)
{
	int err = parse(w);

	if (err)
		return err;
	w->leaked = 0;
	w->unmarked = 0;
	w->uses = calloc(w->clusters, sizeof(*w->uses));
	err = use(w, "header", 0, 1, 0);
	if (err == 0)
		err = use_refcounts(w);
	if (err == 0)
		err = use_l1(w, get_be64(w->data + AT_L1),
			     get_be32(w->data + AT_L1_SIZE), true);
	if (err == 0)
		err = use_snapshots(w);
	if (err == 0)
		err = use_extensions(w);
	for (uint64_t i = 0; i < w->clusters && err == 0; i++)
		w->leaked += get_ref(w, i) > w->uses[i];
	return err;
}

/* Everything that the active L1 table reaches is shared from now on. */
static void share_all(struct qcow2_walk *w, uint64_t l1, uint64_t entries)
{
	uint64_t per_table = UINT64_C(1) << (w->cluster_bits - 3);

	for (uint64_t i = 0; i < entries; i++) {
		uint64_t entry = get64(w, l1 + i * 8);
		uint64_t table = entry & OFFSET_BITS;

		if (table == 0)
			continue;
		put_be64(w->data + l1 + i * 8, entry & ~COPIED_BIT);
		add_ref(w, table >> w->cluster_bits);
		for (uint64_t e = 0; e < per_table; e++) {
			uint8_t *at = w->data + table + e * 8;
			uint64_t data = get_be64(at);

			if ((data & OFFSET_BITS) == 0)
				continue;
			put_be64(at, data & ~COPIED_BIT);
			add_ref(w, (data & OFFSET_BITS) >> w->cluster_bits);
		}
	}
}

uint64_t qcow2_walk_add_snapshot(uint8_t *data, uint64_t size_bytes,
				 uint64_t capacity)
{
	struct qcow2_walk w = {.data = data, .size_bytes = size_bytes};
	uint64_t l1, entries, bytes, copy, table, end;

	if (parse(&w) < 0)
		abort();
	l1 = get_be64(data + AT_L1);
	entries = get_be32(data + AT_L1_SIZE);
	bytes = align_up(entries * 8, UINT64_C(1) << w.cluster_bits);
	copy = w.clusters << w.cluster_bits;
	table = copy + bytes;
	end = table + (UINT64_C(1) << w.cluster_bits);
	if (end > capacity)
		abort();
	w.size_bytes = end;
	share_all(&w, l1, entries);
	memset(data + copy, 0, end - copy);
	memcpy(data + copy, data + l1, entries * 8);
	for (uint64_t at = copy; at < end; at += UINT64_C(1) << w.cluster_bits)
		add_ref(&w, at >> w.cluster_bits);
	/* One entry: where, how long, an ID and a name of a byte each. */
	put_be64(data + table, copy);
	put_be32(data + table + 8, entries);
	put_be16(data + table + 12, 1);
	put_be16(data + table + 14, 1);
	put_be32(data + table + 36, 16);
	put_be64(data + table + 48, get_be64(data + 24));
	memcpy(data + table + 56, "1s", 2);
	put_be32(data + AT_SNAPSHOTS, 1);
	put_be64(data + AT_SNAPSHOT_TABLE, table);
	return end;
}
