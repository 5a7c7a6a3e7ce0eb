/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The refcount structure itself, and what it says against what a walk found.
 */
#include <errno.h>
#include <stdlib.h>

#include "qcow2/check.h"
#include "qcow2/refcount.h"

enum {
	TABLE_PIECE_ENTRIES = 65536
};

/* A refcount block's place: NULL, or what is wrong with it. */
static const char *judge_block(struct qcow2_check *c, uint64_t entry)
{
	if (qcow2_in_cluster(c->q, entry))
		return "is not aligned to a cluster";
	if (entry >= QCOW2_HOST_LIMIT ||
	    qcow2_cluster_of(c->q, entry) >= c->clusters)
		return "is not in the file";
	return NULL;
}

/*
 * What reserved bits or something else in its cluster make doubtful is compared
 * with, but never written: see is_own_block.
 */
static int use_block(struct qcow2_check *c, uint32_t index)
{
	uint64_t entry = c->reftable[index];
	const char *wrong;
	bool conflict = false;
	int err = 0;

	if (entry == 0)
		return 0;
	wrong = judge_block(c, entry & ~QCOW2_REFTABLE_RESERVED);
	c->reftable[index] = wrong ? 0 : entry & ~QCOW2_REFTABLE_RESERVED;
	if (entry & QCOW2_REFTABLE_RESERVED)
		wrong = "has reserved bits set";
	if (!wrong) {
		err = qcow2_check_use(c, entry, 1, 1, QCOW2_USE_REFBLOCK,
				      &conflict);
		if (conflict)
			wrong = "names a cluster that is something else, too";
	}
	if (err || !wrong)
		return err;
	c->rebuild = true;
	qcow2_check_corrupt(c, 1, false, "refcount table entry %u (0x%llx) %s",
			    index, (unsigned long long)entry, wrong);
	return 0;
}

static int load_table(struct qcow2_check *c)
{
	const struct qcow2_header *h = &c->q->header;
	uint64_t bytes = (uint64_t)h->reftable_clusters << c->q->cluster_bits;
	int err;

	c->reftable = malloc(bytes);
	if (!c->reftable)
		return -ENOMEM;
	c->reftable_entries = bytes / 8;
	err = qcow2_check_read(c, h->reftable_offset, c->reftable, bytes);
	if (err) {
		memset(c->reftable, 0, bytes);
		return err == -EIO ? 0 : err;
	}
	for (uint32_t i = 0; i < c->reftable_entries; i++)
		c->reftable[i] = be64toh(c->reftable[i]);
	return 0;
}

int qcow2_check_refcount_structure(struct qcow2_check *c)
{
	const struct qcow2_header *h = &c->q->header;
	uint64_t bytes = (uint64_t)h->reftable_clusters << c->q->cluster_bits;
	bool conflict;
	int err = load_table(c);

	if (err == 0)
		err = qcow2_check_use(c, h->reftable_offset, bytes, 1,
				      QCOW2_USE_REFTABLE, &conflict);
	if (err == 0 && conflict) {
		c->rebuild = true;
		qcow2_check_say(c, false,
				"ERROR the refcount table overlaps with "
				"something else");
		qcow2_check_note_overlap(c, h->reftable_offset, bytes);
	}
	for (uint32_t i = 0; i < c->reftable_entries && err == 0; i++)
		err = use_block(c, i);
	return err;
}

/* True if it is, or becomes, right. */
static bool settle_one(struct qcow2_check *c, uint64_t cluster, uint64_t count,
		       uint64_t expected, enum qcow2_check_set set)
{
	bool safe = !c->incomplete && c->counts.check_errors == 0;
	bool fix = count > expected ? set != QCOW2_CHECK_SET_NONE && safe
				    : set == QCOW2_CHECK_SET_ALL;
	unsigned width = 1u << c->q->header.refcount_order;

	if (width < 64 && expected >> width)
		fix = false;
	if (count > expected) {
		*(fix ? &c->counts.leaks_fixed : &c->counts.leaks) += 1;
		qcow2_check_say(c, fix, "%s %llu refcount=%llu reference=%llu",
				fix ? "cluster" : "Leaked cluster",
				(unsigned long long)cluster,
				(unsigned long long)count,
				(unsigned long long)expected);
	} else {
		qcow2_check_corrupt(
			c, 1, fix, "cluster %llu refcount=%llu reference=%llu",
			(unsigned long long)cluster, (unsigned long long)count,
			(unsigned long long)expected);
	}
	return fix;
}

/* The refcounts in @block, which begin with that of cluster @first. */
static int compare_block(struct qcow2_check *c, uint8_t *block, uint64_t first,
			 uint64_t offset, enum qcow2_check_set set)
{
	unsigned order = c->q->header.refcount_order;
	uint64_t count = UINT64_C(1) << c->q->refblock_bits;
	uint64_t end = MAX(c->clusters, c->highest + 1);
	bool changed = false;
	bool clears = set != QCOW2_CHECK_SET_NONE && !c->incomplete &&
		      c->counts.check_errors == 0;

	for (uint64_t i = 0; i < count; i++) {
		uint64_t cluster = first + i;
		uint64_t found = qcow2_refcount_get(block, order, i);
		uint64_t expected;

		/* Past the file nothing leaks until the file grows. */
		if (cluster >= end && clears && found) {
			qcow2_refcount_set(block, order, i, 0);
			changed = true;
		}
		if (cluster >= end)
			continue;
		expected = qcow2_refs_count(&c->refs, cluster);
		if (found)
			c->highest = MAX(c->highest, cluster);
		if (found == expected && set == QCOW2_CHECK_SET_NONE &&
		    qcow2_refs_is_overlap(&c->refs, cluster))
			qcow2_check_corrupt(c, 1, false,
					    "cluster %llu is used by two that "
					    "cannot share it",
					    (unsigned long long)cluster);
		if (found != expected &&
		    settle_one(c, cluster, found, expected, set)) {
			qcow2_refcount_set(block, order, i, expected);
			found = expected;
			changed = true;
		}
		if (found == 1)
			qcow2_refs_set_one(&c->refs, cluster);
	}
	if (!changed)
		return 0;
	return store_write(c->store, offset, block, qcow2_cluster_bytes(c->q));
}

static bool is_own_block(struct qcow2_check *c, uint64_t offset)
{
	uint64_t cluster = qcow2_cluster_of(c->q, offset);

	return qcow2_refs_use(&c->refs, cluster) == QCOW2_USE_REFBLOCK &&
	       qcow2_refs_count(&c->refs, cluster) == 1;
}

static int compare_blocks(struct qcow2_check *c, enum qcow2_check_set set)
{
	uint64_t bytes = qcow2_cluster_bytes(c->q);
	int err = 0;

	for (uint32_t i = 0; i < c->reftable_entries; i++) {
		uint64_t first = (uint64_t)i << c->q->refblock_bits;

		if (c->reftable[i] == 0 || (set != QCOW2_CHECK_SET_NONE &&
					    !is_own_block(c, c->reftable[i])))
			continue;
		/* What it says of clusters past the file is of no interest. */
		if (first >= MAX(c->clusters, c->highest + 1))
			break;
		err = qcow2_check_read(c, c->reftable[i], c->table, bytes);
		if (err == 0)
			err = compare_block(c, c->table, first, c->reftable[i],
					    set);
		if (err && err != -EIO)
			return err;
	}
	return 0;
}

/* Clusters that something refers to and that have no refcount block. */
static int find_uncounted(struct qcow2_check *c)
{
	struct qcow2_refs_page **pages = qcow2_refs_sorted(&c->refs);
	unsigned shift = c->q->refblock_bits;

	if (!pages)
		return -ENOMEM;
	for (size_t i = 0; i < c->refs.page_count; i++) {
		uint64_t first = pages[i]->index << QCOW2_REFS_PAGE_BITS;

		for (uint64_t k = 0; k < 1u << QCOW2_REFS_PAGE_BITS; k++) {
			uint64_t cluster = first + k;
			uint64_t at = cluster >> shift;

			if (at < c->reftable_entries && c->reftable[at])
				continue;
			if (qcow2_refs_count(&c->refs, cluster) == 0)
				continue;
			c->rebuild = true;
			settle_one(c, cluster, 0,
				   qcow2_refs_count(&c->refs, cluster),
				   QCOW2_CHECK_SET_NONE);
		}
	}
	free(pages);
	return 0;
}

bool qcow2_check_refcount_is_one(struct qcow2_check *c, uint64_t cluster)
{
	unsigned order = c->q->header.refcount_order;
	uint64_t per_word = 64 >> order;
	uint64_t block = cluster >> c->q->refblock_bits;
	uint64_t in_block =
		cluster & ((UINT64_C(1) << c->q->refblock_bits) - 1);
	uint8_t word[8];

	return block < c->reftable_entries && c->reftable[block] &&
	       qcow2_check_read(c, c->reftable[block] + in_block / per_word * 8,
				word, sizeof(word)) == 0 &&
	       qcow2_refcount_get(word, order, in_block % per_word) == 1;
}

int qcow2_check_refcounts(struct qcow2_check *c, enum qcow2_check_set set)
{
	int err = compare_blocks(c, set);

	if (err == 0)
		err = find_uncounted(c);
	if (err == 0 && set != QCOW2_CHECK_SET_NONE)
		err = store_flush(c->store);
	return err;
}
