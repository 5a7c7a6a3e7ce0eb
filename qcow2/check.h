/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One walk over everything that an image refers to, for checking and for
 * repairing it. What a walk believes, when two claim the same cluster: the
 * header, the active L1 table, the snapshot table and its L1 tables, the
 * encryption header, L2 tables, what these map, bitmaps, and last the refcount
 * structure, which can be made anew.
 *
 * A walk does not end at what is wrong: it says so, counts it, and leaves out
 * what lies behind. If that may hide references (@incomplete), no refcount may
 * fall because of what the walk found.
 *
 * Functions return 0, or a negative errno when the walk cannot go on.
 */
#ifndef QCOW2_CHECK_H
#define QCOW2_CHECK_H

#include "image/manage.h"
#include "qcow2/check-refs.h"
#include "qcow2/core.h"

enum {
	/* Entries that one repair copies elsewhere. */
	QCOW2_CHECK_MAX_MOVES = 65536,
};

/* A mapping whose cluster belongs to metadata: its bytes go elsewhere. */
struct qcow2_move {
	uint64_t table; /* host offset of the L2 table */
	uint32_t index; /* of the entry */
	uint32_t times; /* L1 entries that name the table */
	uint64_t entry; /* as found */
	uint64_t from;	/* first cluster, … */
	uint32_t count; /* … and how many */
	uint64_t to;	/* the new place's first cluster */
};

/* An entry of the snapshot table or of the bitmap directory. */
struct qcow2_item {
	uint64_t at;	    /* in the file */
	uint64_t bytes;	    /* there, without padding */
	uint64_t new_bytes; /* the same in a new list; 0: dropped */
	uint64_t l1_offset; /* a snapshot's L1 table, … */
	uint64_t l1_bytes;  /* … or 0: not to be walked */
	const char *wrong;  /* why it goes, or is changed; or NULL */
	bool dropped;
};

struct qcow2_list {
	struct qcow2_item *items; /* heap */
	uint32_t count;
	bool changes; /* it has to be written anew: see repair-lists.c */
};

struct qcow2_check {
	struct qcow2 *q;
	struct store *store;
	image_report *report; /* or NULL: say nothing */
	void *opaque;
	struct image_check counts;

	bool mends;	  /* bad entries are mended as they are met */
	bool plans_moves; /* notes conflicts in @moves, and counts no reference
			   * for them */
	bool without_refcounts; /* leaves the refcount structure out */
	bool drops; /* what lists cannot keep counts as gone already */

	/* What the walk finds. */
	struct qcow2_refs refs;
	struct qcow2_l2_places l2;
	struct qcow2_list snapshots;
	struct qcow2_list bitmaps;
	uint64_t clusters;  /* of the file */
	uint64_t highest;   /* used, or with a refcount */
	uint64_t l1_budget; /* bytes of L1 tables that may still be walked */
	bool incomplete;    /* references may be missing */
	bool overlaps;	    /* some were noted, and not counted yet */
	bool rebuild;	    /* the refcount structure is unusable */
	bool bitmaps_broken;
	uint64_t mended;    /* entries */
	uint64_t *reftable; /* in host order; 0 where a block is unusable */
	uint32_t reftable_entries;
	struct qcow2_move *moves;
	size_t move_count;
	uint8_t *table;		     /* a cluster of what is being walked */
	uint64_t hole_from, hole_to; /* of the file, as found last */
};

/* Entries of an L2 table, and bytes of one. */
static inline unsigned qcow2_check_entry_bytes(const struct qcow2 *q)
{
	return q->header.incompatible & QCOW2_INCOMPAT_EXTENDED_L2 ? 16 : 8;
}

/*
 * Says what was found, and counts it @times: as a corruption, or as one that is
 * @fixed.
 */
void qcow2_check_corrupt(struct qcow2_check *c, uint64_t times, bool fixed,
			 const char *format, ...)
	__attribute__((format(printf, 4, 5)));
void qcow2_check_say(struct qcow2_check *c, bool fixed, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Reads what may lie in a hole, or not be readable: counted, and -EIO. */
int qcow2_check_read(struct qcow2_check *c, uint64_t offset, void *ret_data,
		     uint64_t bytes);

/* Whether all of the range, past the end too, is known to be zeroes. */
bool qcow2_check_is_hole(struct qcow2_check *c, uint64_t offset,
			 uint64_t bytes);

/* Whether [offset, offset + bytes) lies in the file, but for a last part. */
bool qcow2_check_in_file(const struct qcow2_check *c, uint64_t offset,
			 uint64_t bytes);

/* True if any cluster of the range is used as anything but data already. */
bool qcow2_check_is_taken(struct qcow2_check *c, uint64_t offset,
			  uint64_t bytes);

/*
 * Counts @times references to each cluster of the range, which lies in the
 * file. *@ret_conflict: one of them cannot be shared with whom it belongs to.
 */
int qcow2_check_use(struct qcow2_check *c, uint64_t offset, uint64_t bytes,
		    uint32_t times, enum qcow2_use use, bool *ret_conflict);

/*
 * The range, used already, is used by two that cannot share it: a corruption
 * even if refcounts say so, which qcow2_check_refcounts counts.
 */
void qcow2_check_note_overlap(struct qcow2_check *c, uint64_t offset,
			      uint64_t bytes);

/* What may lie there, for people. */
const char *qcow2_use_name(enum qcow2_use use);

/* Starts and ends one; nothing is under way in @q and nothing is dirty. */
int qcow2_check_init(struct qcow2_check *c, struct qcow2 *q);
void qcow2_check_deinit(struct qcow2_check *c);

/* Everything but comparing refcounts and flags. */
int qcow2_check_walk(struct qcow2_check *c);

/*
 * Parts of a walk, each in the file of its noun. Snapshots: their table, and
 * places of their L1 tables, whose entries qcow2_check_l1_tables looks at.
 */
int qcow2_check_snapshots(struct qcow2_check *c);
int qcow2_check_l1_tables(struct qcow2_check *c);
int qcow2_check_l2_tables(struct qcow2_check *c);
int qcow2_check_bitmaps(struct qcow2_check *c);
int qcow2_check_refcount_structure(struct qcow2_check *c);

/* Which refcounts qcow2_check_refcounts sets right, if any. */
enum qcow2_check_set {
	QCOW2_CHECK_SET_NONE,
	QCOW2_CHECK_SET_LOWER,
	QCOW2_CHECK_SET_ALL,
};

/* Compares, after a walk. What was set is stable when it returns. */
int qcow2_check_refcounts(struct qcow2_check *c, enum qcow2_check_set set);

/* Whether the file's refcount is one of a cluster that the file does not have. */
bool qcow2_check_refcount_is_one(struct qcow2_check *c, uint64_t cluster);

/* The COPIED flags, after qcow2_check_refcounts; set right with @fix. */
int qcow2_check_copied(struct qcow2_check *c, bool fix);

/*
 * Repairs the image that @q is, see qcow2/repair.c. Adds what was fixed to
 * @counts. Afterwards @q does not know what lies on disk: see qcow2_reload.
 */
int qcow2_repair(struct qcow2 *q, enum image_fix fix, image_report *report,
		 void *opaque, struct image_check *counts);

/* A refcount structure of what @c found, made anew; see qcow2/rebuild.c. */
int qcow2_rebuild_refcounts(struct qcow2_check *c, uint64_t first_cluster);

/* Room in an empty list. 0 or -ENOMEM. */
int qcow2_list_reserve(struct qcow2_list *list, uint32_t count);

/*
 * The lists that have to change (repair-lists.c), in room that is counted: how
 * many clusters they take; these counted, from *@first on, which moves past
 * them; and written there, stably, with a header that names them. 0 or a
 * negative errno.
 */
uint64_t qcow2_lists_clusters(const struct qcow2_check *c);
int qcow2_lists_place(struct qcow2_check *c, uint64_t *first);
int qcow2_lists_write(struct qcow2_check *c, uint64_t first);

/* Where clusters that nobody knows of begin: @count in a row. 0 or -ENOSPC. */
int qcow2_check_find_room(struct qcow2_check *c, uint64_t count,
			  uint64_t *ret_cluster);

/*
 * Puts what lies on disk into memory again, after a repair of an image that was
 * opened for that: all but the header, which a repair keeps in step, and bitmaps,
 * which are not in memory then. 0 or a negative errno; then the image must be
 * closed.
 */
int qcow2_reload(struct qcow2 *q);

/* Clears the bits that say dirty or corrupt, stably. */
int qcow2_mark_whole(struct qcow2 *q);

/*
 * What an image that was not closed cleanly needs: its refcounts and COPIED flags
 * become what its tables say, and it is marked whole. IMAGE_E_CORRUPT, with
 * image_error, if its tables cannot be believed; then nothing was changed.
 */
int qcow2_mend_dirty(struct qcow2 *q);

/* The image_manage call. */
int qcow2_check(struct image *image, enum image_fix fix, image_report *report,
		void *opaque, struct image_check *ret);

#endif
