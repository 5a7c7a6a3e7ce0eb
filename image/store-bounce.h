/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For stores that take only whole blocks: unaligned accesses by way of an
 * aligned buffer, piece by piece. A part of a block is read, changed and written
 * under a lock, so that two writes to the two halves of a block never lose each
 * other.
 */
#ifndef IMAGE_STORE_BOUNCE_H
#define IMAGE_STORE_BOUNCE_H

#include <pthread.h>

#include "image/store.h"

struct store_bounce {
	pthread_mutex_t lock;
	char *buffer; /* NULL: not initialised */
	uint32_t alignment;
};

/* How whole blocks are moved; see store_ops. */
struct store_aligned_io {
	int (*read)(struct store *store, uint64_t offset, void *ret_data,
		    size_t length);
	int (*write)(struct store *store, uint64_t offset, const void *data,
		     size_t length);
};

/* @alignment: of blocks and buffer, at most STORE_MAX_ALIGNMENT. 0 or -ENOMEM. */
int store_bounce_init(struct store_bounce *bounce, uint32_t alignment);

/* Accepts one that is all zeroes. */
void store_bounce_deinit(struct store_bounce *bounce);

/* As store_ops' read and write. */
int store_bounce_read(struct store *store, struct store_bounce *bounce,
		      const struct store_aligned_io *io, uint64_t offset,
		      char *to, size_t length);
int store_bounce_write(struct store *store, struct store_bounce *bounce,
		       const struct store_aligned_io *io, uint64_t offset,
		       const char *from, size_t length);

#endif
