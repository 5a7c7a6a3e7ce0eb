/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images in the scratch folder as bytes, to be damaged by hand, and what our
 * check and QEMU's say of them. What cannot even be read fails the test.
 */
#ifndef TESTS_IMAGES_DAMAGED_H
#define TESTS_IMAGES_DAMAGED_H

#include <stdbool.h>
#include <stdint.h>

#include "image/manage.h"

struct damaged {
	uint8_t *data; /* heap */
	uint64_t size;
	uint64_t cluster;
	/* Where things are; 0: there is none. */
	uint64_t l1, l2, reftable, snapshots, snapshot_l1, snapshot_l2;
	uint64_t bitmaps;	    /* the directory */
	uint64_t bitmaps_extension; /* its data, in the header */
};

/* The whole file, and where its tables are. */
void damaged_load(struct damaged *file, const char *name);
/* The same with memory of its own. */
void damaged_copy(struct damaged *to, const struct damaged *from);
void damaged_free(struct damaged *file);
void damaged_write(const char *name, const struct damaged *file);

void damaged_copy_file(const char *to, const char *from);
bool damaged_same_files(const char *a, const char *b);

/* Big-endian, inside the file; @bytes are 1, 2, 4 or 8. */
uint64_t damaged_get(const struct damaged *file, uint64_t at, unsigned bytes);
void damaged_put(struct damaged *file, uint64_t at, unsigned bytes,
		 uint64_t value);

/* Where entry @index of the snapshot table or the bitmap directory begins. */
uint64_t damaged_snapshot(const struct damaged *file, uint32_t index);
uint64_t damaged_bitmap(const struct damaged *file, uint32_t index);

/*
 * The exit status that qimg check has, findings told if $RINGLINE_TELL is set;
 * and qemu-img's for the same file, where 1 is 2: what it cannot even count is
 * no better than corrupt.
 */
int damaged_check(const char *name, enum image_fix fix,
		  struct image_check *ret);
int damaged_check_theirs(const char *name);

/* A number that qemu-img said last, as JSON; 0 where it says none. */
uint64_t damaged_theirs(const char *key);

#endif
