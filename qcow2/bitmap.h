/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Persistent dirty bitmaps ("Bitmaps"): which parts of the disk were written
 * since somebody, mostly a backup, last looked.
 *
 * The directory is held in memory as it is on disk. Bitmaps that are enabled
 * have their bits in memory too, as long as the image is open for writing, and
 * follow every change. Before the first change all of them are marked in use
 * on disk; when the image is closed those that were changed are written to new
 * clusters, a new directory without the marks is written beside them, and the
 * header names it. So whoever finds a bitmap that is not marked in use may
 * believe it, whenever the machine stopped.
 *
 * What cannot be kept right (too large, or not understood) stays marked.
 */
#ifndef QCOW2_BITMAP_H
#define QCOW2_BITMAP_H

#include <stdbool.h>

#include "image/manage.h"
#include "qcow2/memtable.h"

struct qcow2;

enum {
	/* Of bits in memory, for all bitmaps of an image. */
	QCOW2_MAX_BITMAP_MEMORY = 128 << 20,
};

struct qcow2_bitmap {
	char *name;
	uint8_t *extra; /* kept as it is; or NULL */
	uint32_t extra_bytes;
	uint64_t table_offset;
	uint32_t table_entries;
	bool placed;	/* the table lies where one can */
	uint32_t flags; /* without IN_USE */
	uint8_t type;
	uint8_t granularity_bits;
	uint32_t directory_at; /* its entry */
	/* Not stored by who used it last, or not to be read, or not followed:
	 * can only be removed. */
	bool inconsistent;
	bool unknown; /* it says that we must not use it */
	/*
	 * One bit for each granule of the image, and room for more if the
	 * image was larger; or NULL: what is on disk counts.
	 */
	uint64_t *bits;
	uint64_t bytes_held; /* at @bits */
	bool changed;	     /* @bits differ from what is on disk */
	struct qcow2_bitmap *next_followed;
};

struct qcow2_bitmaps {
	struct qcow2_bitmap **all;
	size_t count;
	struct qcow2_memtable directory;
	struct qcow2_bitmap *followed; /* enabled, with their bits */
	uint64_t memory;	       /* of all bits held */
	bool must_mark; /* some have to be marked before the next change */
	bool marked;	/* some are marked that are not inconsistent */
	char *broken;	/* why the directory cannot be used; or NULL */
};

/* --- For opening, changes and flushes (bitmap.c) ------------------------- */

/*
 * After the header was read, with synchronous calls. A directory that cannot be
 * believed is disowned before the first change, as by a program that knows
 * nothing of bitmaps. 0 or a negative errno.
 */
int qcow2_bitmaps_open(struct qcow2 *q, bool follow);
void qcow2_bitmaps_deinit(struct qcow2 *q);

/* Before the first change: the next flush marks what has to be. */
void qcow2_bitmaps_mark(struct qcow2 *q);
/* A flush wrote the marks. */
void qcow2_bitmaps_marked(struct qcow2 *q);

/* The guest changes these bytes. */
void qcow2_bitmaps_follow(struct qcow2 *q, uint64_t offset, uint64_t length);

/* --- For changes of the whole image, with synchronous calls -------------- */

/*
 * Before the image's size changes on disk: bitmaps get room for both sizes, and
 * are marked in use until they are stored. 0, or an error that says which one
 * stands in the way; then the size has to stay.
 */
int qcow2_bitmaps_resize(struct qcow2 *q, uint64_t new_size);

/*
 * The guest is about to find another disk (a snapshot's): refused with -EBUSY
 * if there are bitmaps, which cannot tell what has changed. As in QEMU.
 */
int qcow2_bitmaps_forbid_switch(struct qcow2 *q);

/*
 * Writes what changed, and takes the marks away: when closing, and after each
 * change of a bitmap. Nothing is under way and nothing dirty.
 */
int qcow2_bitmaps_store(struct qcow2 *q);

/* The facts "bitmaps" and "bitmaps.…"; nothing if there are none. */
int qcow2_bitmaps_facts(struct qcow2 *q, struct image_facts *facts);

/*
 * Every range of the file that bitmaps use: directory, tables, data. Tables
 * that cannot be are left out. 0 or an error, @visit's too.
 */
int qcow2_bitmaps_ranges(struct qcow2 *q,
			 int (*visit)(void *opaque, uint64_t offset,
				      uint64_t bytes),
			 void *opaque);

/* --- Among the sources of bitmaps ----------------------------------------- */

/* The directory on disk is as in memory: whom to follow, what to mark. */
void qcow2_bitmaps_follow_all(struct qcow2 *q);

/* The bit in the header goes before the next change, and bitmaps with it. */
void qcow2_bitmaps_disown(struct qcow2 *q, const char *why);

/* bitmap-store.c: always, and what one bitmap uses is given back. */
int qcow2_bitmaps_store_all(struct qcow2 *q);
void qcow2_bitmap_give_back(struct qcow2 *q, const struct qcow2_bitmap *b);

/* bitmap-directory.c: the entries of the directory, read and written. */
int qcow2_bitmaps_parse(struct qcow2 *q);
uint64_t qcow2_bitmaps_directory_bytes(const struct qcow2 *q);
void qcow2_bitmaps_build(const struct qcow2 *q, uint8_t *directory);
/* @directory, as built, is now the one; takes it over. */
void qcow2_bitmaps_adopt(struct qcow2 *q,
			 const struct qcow2_memtable *directory);
void qcow2_bitmap_free(struct qcow2_bitmap *bitmap);

/* Its flags as they are in the directory in memory. */
uint32_t qcow2_bitmap_flags(const struct qcow2 *q,
			    const struct qcow2_bitmap *b);
void qcow2_bitmap_mark(struct qcow2 *q, const struct qcow2_bitmap *b);

/* bitmap-data.c: tables and bits. Granules of the image; bytes of bits. */
uint64_t qcow2_bitmap_granules(const struct qcow2 *q,
			       const struct qcow2_bitmap *b);
uint64_t qcow2_bitmap_bytes(uint64_t size_bytes, unsigned granularity_bits);

/* The table, host-endian and checked: heap. */
int qcow2_bitmap_read_table(struct qcow2 *q, const struct qcow2_bitmap *b,
			    uint64_t **ret_table);

/*
 * Brings the bits into memory, or makes room for @size_bytes of disk where they
 * are. -ENOMEM over QCOW2_MAX_BITMAP_MEMORY. A table that cannot be makes it
 * inconsistent.
 */
int qcow2_bitmap_load(struct qcow2 *q, struct qcow2_bitmap *b);
int qcow2_bitmap_reserve(struct qcow2 *q, struct qcow2_bitmap *b,
			 uint64_t size_bytes);
void qcow2_bitmap_drop(struct qcow2 *q, struct qcow2_bitmap *b);

/* Marks guest bytes in memory; @length > 0. */
void qcow2_bitmap_set_bytes(struct qcow2_bitmap *b, uint64_t offset,
			    uint64_t length);

/* How many granules are set, without bringing them into memory. */
int qcow2_bitmap_count(struct qcow2 *q, struct qcow2_bitmap *b, uint64_t *reads,
		       uint64_t *ret_count);

/*
 * Writes the bits to new clusters with a table: nothing refers to them yet.
 * They lie in a row of *@ret_bytes at *@ret_offset, the table first.
 */
int qcow2_bitmap_write(struct qcow2 *q, const struct qcow2_bitmap *b,
		       uint64_t *ret_offset, uint64_t *ret_bytes,
		       uint32_t *ret_entries);

/*
 * bitmap-manage.c: one as @change->action ADD says, with bits in memory, and
 * room for it in q->bitmaps.all, where the caller puts it; or qcow2_bitmap_free.
 */
int qcow2_bitmap_new(struct qcow2 *q, const struct image_bitmap_change *change,
		     struct qcow2_bitmap **ret);

/* Sets the bits in memory that @source's bitmap @name has set. */
int qcow2_bitmap_merge(struct qcow2 *q, struct qcow2_bitmap *b,
		       struct image *source, const char *name);

/* The entries of qcow2_manage (bitmap-manage.c, bitmap-copy.c). */
int qcow2_bitmap_copy(struct image *image, struct image *source);
int qcow2_bitmap_list(struct image *image, struct image_bitmaps *ret);
int qcow2_bitmap_change(struct image *image,
			const struct image_bitmap_change *change);
int qcow2_bitmap_next(struct image *image, const char *name, uint64_t offset,
		      uint64_t *ret_offset, uint64_t *ret_length);
int qcow2_bitmap_set(struct image *image, const char *name, uint64_t offset,
		     uint64_t length);

#endif
