/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The members of a tar archive: their names, and where their bytes lie, so that
 * a disk in one is read where it is. POSIX headers and GNU's for long names and
 * sizes; what is no regular file is passed over. No state but an offset.
 */
#ifndef QIMG_TAR_H
#define QIMG_TAR_H

#include "image/store.h"

enum {
	TAR_BLOCK_BYTES = 512,
	TAR_NAME_BYTES = 1024,
	TAR_MAX_MEMBERS = 4096,
};

struct tar_member {
	char name[TAR_NAME_BYTES];
	uint64_t offset; /* of its first byte in the archive */
	uint64_t bytes;
};

/* Whether @block, the first of a file, begins an archive. */
bool tar_is_header(const void *block);

/*
 * The next regular file at or after *@at, 0 at first, which moves past it. 0; 1 at
 * the archive's end; a negative errno, -EBADMSG for what is no archive.
 */
int tar_next(struct store *store, uint64_t *at, struct tar_member *ret);

/* The header of a regular file; -ENAMETOOLONG past 100 bytes. */
int tar_make_header(const char *name, uint64_t bytes,
		    uint8_t ret[TAR_BLOCK_BYTES]);

#endif
