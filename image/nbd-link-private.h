/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A link from inside: nbd-link.c has the thread and those who hand requests to
 * it, nbd-command.c what the thread makes of the requests.
 */
#ifndef IMAGE_NBD_LINK_PRIVATE_H
#define IMAGE_NBD_LINK_PRIVATE_H

#include <pthread.h>

#include "image/nbd-link.h"

enum {
	NBD_LINK_REASON_BYTES = 512,
};

struct nbd_command {
	struct nbd_link *link;
	struct store_io *io; /* NULL: free */
};

struct nbd_link {
	struct nbd_link_config config;
	pthread_t thread;
	int wake_fd;

	pthread_mutex_t lock; /* of these: */
	struct store_io *first, *last;
	bool ending;
	/* Each is written once. */
	char answered[NBD_LINK_REASON_BYTES]; /* the first error of a request */
	char broke
		[NBD_LINK_REASON_BYTES]; /* why there is no connection any more */

	/* The thread's. */
	struct nbd_handle *handle; /* NULL: broken */
	int broken;		   /* what everything fails with then */
	struct store_io *cutting;  /* of which not all is under way */
	struct store_io *ended;	   /* to be told */
	struct nbd_command commands[NBD_LINK_COMMANDS];
	unsigned busy;
	uint64_t heard_ns; /* a command ended, or the first one began */
};

/* A question about allocation: what the request of it is a part of. */
struct nbd_question {
	struct store_io io; /* STATUS */
	struct nbd_extents *extents;
};

/* The thread alone calls these. */

/* Begins what is wanted, as far as there are free commands. */
void nbd_command_begin_all(struct nbd_link *link);

/* Tells the owners of requests that have ended; not from within libnbd. */
void nbd_command_tell(struct nbd_link *link);

/* There is no connection any more: what is under way ends with @err. */
void nbd_command_break_off(struct nbd_link *link, int err, const char *why);

#endif
