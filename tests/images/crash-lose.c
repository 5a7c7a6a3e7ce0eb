/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver that forgets a barrier, made from one that does not: flushes that
 * would have made a kind of write stable are left out of the log. What a write
 * was for is told by where the image has its tables at that moment.
 */
#include "base/bytes.h"
#include "tests/images/crash-run.h"

/* Offsets in the header, by the specification. */
enum {
	AT_CLUSTER_BITS = 20,
	AT_L1_SIZE = 36,
	AT_L1 = 40,
	AT_REFTABLE = 48,
	AT_REFTABLE_CLUSTERS = 56,
};

#define OFFSET_BITS UINT64_C(0x00fffffffffffe00)

/* @at lies in the table, or in a cluster that an entry of it names. */
static bool is_of_table(const uint8_t *image, uint64_t table, uint64_t entries,
			uint64_t at)
{
	uint64_t cluster = UINT64_C(1) << get_be32(image + AT_CLUSTER_BITS);

	if (at >= table && at - table < entries * 8)
		return true;
	for (uint64_t i = 0; i < entries; i++) {
		uint64_t place = get_be64(image + table + i * 8) & OFFSET_BITS;

		if (place && at >= place && at - place < cluster)
			return true;
	}
	return false;
}

static enum crash_loss kind_of(const uint8_t *image, uint64_t at)
{
	unsigned bits = get_be32(image + AT_CLUSTER_BITS);
	uint64_t table_bytes = (uint64_t)get_be32(image + AT_REFTABLE_CLUSTERS)
			       << bits;

	if (at >> bits == 0)
		return CRASH_LOSES_HEADER;
	if (is_of_table(image, get_be64(image + AT_L1),
			get_be32(image + AT_L1_SIZE), at))
		return CRASH_LOSES_MAPPING;
	if (is_of_table(image, get_be64(image + AT_REFTABLE), table_bytes / 8,
			at))
		return CRASH_LOSES_REFCOUNTS;
	return CRASH_LOSES_DATA;
}

bool crash_loses(const struct crash_log *log, const uint8_t *image)
{
	for (size_t i = log->count; i-- > 0;) {
		const struct crash_entry *e = &log->entries[i];

		if (e->kind == CRASH_FLUSH)
			return false;
		if (e->kind == CRASH_WRITE && e->file == 0 &&
		    kind_of(image, e->offset) == log->loses)
			return true;
	}
	return false;
}
