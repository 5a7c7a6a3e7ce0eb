/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of an open image, for the sources of this folder alone. How the
 * parts work together is told in docs/qcow2.md.
 *
 * Everything but lookup.c runs with the image's lock held, alone, and does no
 * I/O. Functions that
 * may need a metadata block, or must wait, take the caller's extent; they
 * return 0, IMAGE_E_*, or QCOW2_ANSWERED: the extent says what the caller of
 * image_map has to do (NEED, BUSY, MUST_FLUSH) before it asks again. What was
 * changed so far then stays, in a state from which the next try goes on.
 */
#ifndef QCOW2_CORE_H
#define QCOW2_CORE_H

#include "base/bytes.h"
#include "image/image.h"
#include "image/journal.h"
#include "image/metacache.h"
#include "qcow2/bitmap.h"
#include "qcow2/format.h"
#include "qcow2/header.h"
#include "qcow2/memtable.h"
#include "qcow2/places.h"

enum {
	QCOW2_ANSWERED = 0x100,
	QCOW2_SUBS = 32, /* sub-clusters in a cluster with a bitmap */

	QCOW2_SLICE_BYTES = 4096, /* or a cluster, if that is smaller */
	QCOW2_DEFAULT_CACHE_BYTES = 32 << 20,
	QCOW2_MAX_PENDING = 256, /* allocations not committed */
	QCOW2_MAX_FREES = 16384, /* runs of clusters to be freed */
	/*
	 * Grow the file by this much more than is needed now; or as much as
	 * the disk is large, if that is less.
	 */
	QCOW2_GROW_AHEAD_BYTES = 64 << 20,
	QCOW2_MIN_GROW_AHEAD_BYTES = 1 << 20,
};

/* What a cached block is. */
enum qcow2_slice_kind {
	QCOW2_SLICE_L2,
	QCOW2_SLICE_REFCOUNT,
};

/* An IMAGE_ALLOCATE that was handed out and not committed. */
struct qcow2_pending {
	bool used;
	uint32_t count;	   /* clusters */
	uint64_t guest;	   /* first guest cluster */
	uint64_t host;	   /* first host cluster */
	unsigned index;	   /* of the first entry in @l2 */
	bool in_place;	   /* the room was mapped already */
	uint8_t first_sub; /* of the first cluster, that is filled */
	uint8_t end_sub;   /* of the last cluster, past the last that is */
	uint64_t packed;   /* the entry of a compressed cluster; or 0 */
	unsigned frees;	   /* queue places kept for the old clusters */
	struct metacache_block *l2;	     /* pinned */
	struct metacache_block *new_ref;     /* pinned; NULL if @in_place */
	struct metacache_block *new_ref_end; /* of a @packed one's second host
					      * cluster; pinned, or NULL */
	struct metacache_block *old_ref[2];  /* pinned, or NULL */
};

/* Host clusters that lose a reference each. @ref is pinned, and has them all. */
struct qcow2_free {
	uint64_t first;
	uint32_t count;
	struct metacache_block *ref;
	uint64_t flush; /* the one that made the mapping's end stable; or 0 */
};

/* What a flush plan has to do when it ends. */
struct qcow2_plan_state {
	bool out;
	bool clears_autoclear;
	uint64_t sets; /* incompatible features */
	bool orders;   /* refcounts, then what is mapped: see flush.c */
	bool marks_bitmaps;
	bool moves_table;   /* the header names the new refcount table */
	uint64_t resize_to; /* or 0 */
	bool ahead;	    /* which is more than is needed now */
	uint32_t frees;	    /* of qcow2.frees, whose mapping it clears */
	uint32_t punches;   /* of qcow2.punches */
};

struct qcow2 {
	struct image image;
	struct qcow2_header header;

	unsigned cluster_bits;
	bool extended;	     /* L2 entries have a bitmap of sub-clusters */
	bool data_file;	     /* guest data lies in a file of its own */
	bool data_missing;   /* which was not attached yet */
	unsigned sub_bits;   /* bytes in a sub-cluster; else a cluster */
	unsigned entry_bits; /* bytes in an L2 entry */
	unsigned l2_bits;    /* entries in an L2 table */
	unsigned slice_bits; /* bytes in a slice */
	unsigned slice_entry_bits; /* L2 entries in a slice */
	unsigned refblock_bits;	   /* refcounts in a refcount block */
	unsigned slice_ref_bits;   /* refcounts in a slice */

	struct metacache cache;
	struct qcow2_memtable l1;
	struct qcow2_memtable reftable;
	struct qcow2_places places; /* of what these name: see overlap.c */
	bool for_check;	      /* opened to be checked: the guest only reads */
	uint64_t state_bytes; /* opened as a snapshot: of the machine's state */
	uint8_t *head;	      /* the first slice of the file, as on disk */
	bool autoclear_stale; /* to be cleared on disk before any change */
	bool autoclear_now;   /* a change waits for that */
	bool corrupt_met;     /* in a change: there will be no other */
	bool dirty_by_us;     /* its mark goes when it is closed */
	bool amid_change;     /* and not if this was cut off, … */
	bool was_cut_off;     /* … which one was: the mark stays */
	/*
	 * Some L2 entry was changed and names what must be stable before: not
	 * just room that reads as zeroes until it is written.
	 */
	bool must_order;

	/* Allocation; all in clusters. */
	uint64_t free_hint;   /* none is free below */
	uint64_t end_cluster; /* none is used at or past it, as far as known */
	uint64_t host_limit;  /* none may be used at or past it */
	uint64_t file_bytes;  /* the file is at least this long, stably */
	uint64_t open_bytes;  /* the file's length when opened */
	bool grown;	      /* ahead of what is used */
	bool grow_exactly;    /* the file did not take more than is used */

	/* A refcount table on its way to a larger place. */
	struct {
		bool placing;	/* marking [first, first + count) as used */
		bool placed;	/* the next flush moves there */
		uint64_t first; /* clusters */
		uint32_t count;
		uint32_t done;
		/* The old place, once left: to be freed. */
		uint64_t old_first;
		uint32_t old_count;
	} regrow;

	/*
	 * A raw data file that is being made longer is zeroes from here on.
	 * Otherwise UINT64_MAX.
	 */
	uint64_t raw_zero_from;

	/* Where the next compressed cluster goes, in a cluster begun; or 0. */
	uint64_t pack_at;

	struct qcow2_pending pending[QCOW2_MAX_PENDING];
	unsigned pending_count;
	unsigned pending_top; /* none is used at or past it */

	/* See qcow2/free.h. */
	struct qcow2_free *frees;
	uint32_t free_count;
	uint32_t frees_reserved; /* places promised to pending ones */
	struct qcow2_free *punches;
	uint32_t punch_count;

	/* An L2 table that is shared with a snapshot, read to be copied. */
	struct {
		enum {
			QCOW2_COPY_IDLE,
			QCOW2_COPY_LOADING,
			QCOW2_COPY_READY,
		} state;
		uint64_t offset;
		uint8_t *data; /* one cluster, or NULL until first needed */
	} copy;

	struct qcow2_plan_state plan;

	struct qcow2_bitmaps bitmaps;
};

static inline struct qcow2 *qcow2_of(struct image *image)
{
	return container_of(image, struct qcow2, image);
}

static inline uint64_t qcow2_cluster_bytes(const struct qcow2 *q)
{
	return UINT64_C(1) << q->cluster_bits;
}

static inline uint64_t qcow2_in_cluster(const struct qcow2 *q, uint64_t offset)
{
	return offset & (qcow2_cluster_bytes(q) - 1);
}

static inline uint64_t qcow2_cluster_of(const struct qcow2 *q, uint64_t offset)
{
	return offset >> q->cluster_bits;
}

/*
 * Whether the data file is kept as what the guest sees, byte for byte. It
 * cannot be where a backing image shows through, or with encryption.
 */
static inline bool qcow2_data_is_raw(const struct qcow2 *q)
{
	return q->data_file &&
	       (q->header.autoclear & QCOW2_AUTOCLEAR_RAW_DATA) &&
	       !q->header.backing_name && q->header.crypt_method == 0;
}

/* The features that stay true of an image that is changed here. */
static inline uint64_t qcow2_autoclear_kept(const struct qcow2 *q)
{
	return QCOW2_AUTOCLEAR_BITMAPS |
	       (qcow2_data_is_raw(q) ? QCOW2_AUTOCLEAR_RAW_DATA : 0);
}

/* Slices in a cluster of metadata. */
static inline uint32_t qcow2_slices(const struct qcow2 *q)
{
	return UINT32_C(1) << (q->cluster_bits - q->slice_bits);
}

/*
 * What lies at or past this host cluster is not part of the image. The last one
 * may be cut short: its rest reads as zeroes.
 */
static inline uint64_t qcow2_file_clusters(const struct qcow2 *q)
{
	return q->image.store->can_grow
		       ? q->end_cluster
		       : div_round_up(q->open_bytes, qcow2_cluster_bytes(q));
}

/* Notes what is wrong in image->error; returns IMAGE_E_CORRUPT. */
#define qcow2_corrupt(q, ...) \
	image_set_error(&(q)->image, IMAGE_E_CORRUPT, __VA_ARGS__)

/* Fills *@ret for BUSY or, if a flush can help, MUST_FLUSH. */
int qcow2_answer_busy(struct image_extent *ret);
int qcow2_answer_full(struct qcow2 *q, struct image_extent *ret);

/*
 * The slice of metadata at host @offset (aligned to a slice, inside the file).
 */
int qcow2_load(struct qcow2 *q, uint64_t offset, enum qcow2_slice_kind kind,
	       struct image_extent *ret, struct metacache_block **ret_block);

/*
 * For a cluster that is taken anew: forgets what is cached of its past. False
 * if some of it is in use, so that the cluster cannot be free.
 */
bool qcow2_forget_cluster(struct qcow2 *q, uint64_t cluster);

/*
 * Slice @at of a new metadata cluster, zeroed and dirty; with @all, every
 * slice of the cluster. There must be room (metacache_room).
 */
struct metacache_block *qcow2_new_slice(struct qcow2 *q, uint64_t cluster,
					uint32_t at, enum qcow2_slice_kind kind,
					bool all);

/* How many L2 entries may be changed before a flush. */
static inline uint64_t qcow2_journal_room(const struct qcow2 *q)
{
	return q->image.journal ? journal_room(q->image.journal) : UINT64_MAX;
}

/*
 * Flushes, with synchronous calls, until nothing is left that the order of a
 * crash made wait. Nothing is under way.
 */
int qcow2_settle(struct qcow2 *q);

/* Room in the cache that a change of the metadata wants to start with. */
static inline bool qcow2_has_room(const struct qcow2 *q)
{
	return metacache_room(&q->cache) > 2 * qcow2_slices(q) + 16;
}

/* True if @count clusters from @first overlap the header or a table. */
bool qcow2_overlaps_tables(const struct qcow2 *q, uint64_t first,
			   uint64_t count);

/* True if the guest's cluster at @offset has, or will have, content behind. */
static inline bool qcow2_has_backing(const struct qcow2 *q, uint64_t offset)
{
	const struct image *backing = q->image.backing;

	if (q->image.backing_changes)
		return true;
	if (!q->image.backing_name && !backing)
		return false;
	return !backing || offset < backing->size_bytes;
}

/* Refcounts may be wrong on disk while the image is open, see flush.c. */
static inline bool qcow2_is_lazy(const struct qcow2 *q)
{
	return q->header.version > 2 &&
	       (q->header.compatible & QCOW2_COMPAT_LAZY_REFCOUNTS);
}

/*
 * A change ended with @err. What cannot be was met if that is IMAGE_E_CORRUPT:
 * then no other begins, and the next flush marks the image. Returns @err.
 */
int qcow2_changed(struct qcow2 *q, int err);

/* Of compressed clusters (packed.c): a flush begins; @cluster will be free. */
void qcow2_packed_flush(struct qcow2 *q);
void qcow2_packed_forget(struct qcow2 *q, uint64_t cluster);

/* The driver's entry points, each in the file of its noun. */
int qcow2_map(struct image *image, enum image_op op, uint64_t offset,
	      uint64_t length, struct image_extent *ret);
int qcow2_map_packed(struct image *image, uint64_t offset, uint32_t bytes,
		     struct image_extent *ret);
bool qcow2_lookup(struct image *image, enum image_op op, uint64_t offset,
		  uint64_t length, struct image_extent *ret);
void qcow2_provide(struct image *image, const struct image_extent *need,
		   int result);
int qcow2_commit(struct image *image, const struct image_extent *extent,
		 int result);
int qcow2_flush_begin(struct image *image, struct image_plan *ret_plan);
void qcow2_flush_end(struct image *image, struct image_plan *plan, int result);
void qcow2_reclaim(struct image *image, uint64_t flush);
bool qcow2_is_dirty(struct image *image);
int qcow2_replay(struct image *image, const struct journal_record *records,
		 size_t count);

#endif
