/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who refers to each host cluster, as a check counts it: how often, and as
 * what. Only parts of the file that something refers to take memory, 4 bytes
 * for a cluster, so what an image claims to be long costs nothing.
 *
 * Also a map from the places of L2 tables to how many L1 entries name each, so
 * that a table that many snapshots share is walked once.
 */
#ifndef QCOW2_CHECK_REFS_H
#define QCOW2_CHECK_REFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a cluster is used as; what comes first is believed first. */
enum qcow2_use {
	QCOW2_USE_NONE,
	QCOW2_USE_HEADER,
	QCOW2_USE_REFTABLE,
	QCOW2_USE_REFBLOCK,
	QCOW2_USE_L1,
	QCOW2_USE_SNAPSHOTS,
	QCOW2_USE_SNAPSHOT_L1,
	QCOW2_USE_CRYPT,
	QCOW2_USE_BITMAP_DIRECTORY,
	QCOW2_USE_BITMAP_TABLE,
	QCOW2_USE_L2,
	QCOW2_USE_BITMAP,
	QCOW2_USE_DATA,
	QCOW2_USE_COMPRESSED,
};

enum {
	QCOW2_REFS_PAGE_BITS = 5, /* clusters in a page */
	/* 2^31 clusters, as many as QEMU checks. */
	QCOW2_REFS_MAX_PAGES = 1 << (31 - QCOW2_REFS_PAGE_BITS),
	/* Counts end here; no refcount of an image that opens is as high. */
	QCOW2_REFS_MAX_COUNT = (1 << 26) - 1,
};

struct qcow2_refs_page {
	uint64_t index; /* cluster >> QCOW2_REFS_PAGE_BITS */
	/* Bits 0-25: count; 26-29: enum qcow2_use; 30: used by two that
	 * cannot share it; 31: is one. */
	uint32_t words[1 << QCOW2_REFS_PAGE_BITS];
};

struct qcow2_refs {
	struct qcow2_refs_page **slots; /* a hash table, by index */
	size_t slot_count;		/* a power of two */
	size_t page_count;
	struct qcow2_refs_page *last;
	struct qcow2_refs_page *chunk; /* pages are cut from it */
	size_t chunk_left;
	void **chunks;
	size_t chunk_count;
};

void qcow2_refs_init(struct qcow2_refs *refs);
void qcow2_refs_deinit(struct qcow2_refs *refs);

/*
 * Adds @times references. *@ret_before is what the cluster was used as; it
 * stays that, if it was anything. 0, -ENOMEM or -EFBIG.
 */
int qcow2_refs_add(struct qcow2_refs *refs, uint64_t cluster, uint32_t times,
		   enum qcow2_use use, enum qcow2_use *ret_before);

/* References to @cluster, and what it is used as. */
uint32_t qcow2_refs_count(struct qcow2_refs *refs, uint64_t cluster);
enum qcow2_use qcow2_refs_use(struct qcow2_refs *refs, uint64_t cluster);

/* Whether the file's refcount for a used cluster is exactly one. */
bool qcow2_refs_is_one(struct qcow2_refs *refs, uint64_t cluster);
void qcow2_refs_set_one(struct qcow2_refs *refs, uint64_t cluster);

/* Whether two use it that cannot share it. */
bool qcow2_refs_is_overlap(struct qcow2_refs *refs, uint64_t cluster);
void qcow2_refs_set_overlap(struct qcow2_refs *refs, uint64_t cluster);

/*
 * The pages in ascending order, page_count of them, in an array to be freed;
 * NULL if there is no memory.
 */
struct qcow2_refs_page **qcow2_refs_sorted(const struct qcow2_refs *refs);

/* How many L1 entries name an L2 table. */
struct qcow2_l2_place {
	uint64_t cluster; /* 0: a free slot */
	uint32_t active;  /* entries of the active L1 table */
	uint32_t all;	  /* and of snapshots */
};

struct qcow2_l2_places {
	struct qcow2_l2_place *slots;
	size_t slot_count;
	size_t count;
};

/* @cluster is not 0. 0 or -ENOMEM. */
int qcow2_l2_places_add(struct qcow2_l2_places *places, uint64_t cluster,
			bool active);
/* All of them in order in slots[0 .. count); none can be added any more. */
void qcow2_l2_places_sort(struct qcow2_l2_places *places);
void qcow2_l2_places_deinit(struct qcow2_l2_places *places);

#endif
