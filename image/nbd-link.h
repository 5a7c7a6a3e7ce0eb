/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection to an NBD export and the thread that works it. Requests of any
 * thread go into a list; the thread cuts them into commands of what the server
 * takes, keeps up to NBD_LINK_COMMANDS of them under way, and tells the
 * request's owner when the last has ended. libnbd and its socket are the
 * thread's alone.
 *
 * When the connection breaks, or no command has ended for the reply timeout, it
 * is closed: what is under way, and all that comes later, fails. So every
 * request ends, whatever the server does.
 */
#ifndef IMAGE_NBD_LINK_H
#define IMAGE_NBD_LINK_H

#include "image/nbd-peer.h"
#include "image/store.h"

enum {
	NBD_LINK_COMMANDS = 32, /* at once; servers take 16 or so */
	NBD_LINK_EXTENTS = 1024,
};

struct nbd_link;

/* Runs of an export, in order, from @begin on. */
struct nbd_extents {
	uint64_t begin;
	unsigned count;
	struct nbd_extent {
		uint64_t end;
		uint32_t flags; /* LIBNBD_STATE_* */
	} all[NBD_LINK_EXTENTS];
};

struct nbd_link_config {
	struct store *store; /* what this is the connection of */
	struct nbd_export limits;
	uint64_t reply_timeout_ns;
};

/* Takes @handle, connected, unless it fails: 0 or a negative errno. */
int nbd_link_new(struct nbd_handle *handle,
		 const struct nbd_link_config *config,
		 struct nbd_link **ret_link);

/* No request may be under way. Takes leave of the server. Accepts NULL. */
void nbd_link_free(struct nbd_link *link);

/* Any thread. @io is of whole blocks, or up to the export's end. */
void nbd_link_submit(struct nbd_link *link, struct store_io *io);

/* One of @data (READ, WRITE) or none; waits for its end and returns its result. */
int nbd_link_run(struct nbd_link *link, enum store_io_kind kind,
		 uint64_t offset, void *data, uint64_t length);

/*
 * What the server says of [offset, offset + length), or how the first part of it
 * begins: at least one extent on success. Waits.
 */
int nbd_link_status(struct nbd_link *link, uint64_t offset, uint64_t length,
		    struct nbd_extents *ret);

/* See store_reason. Any thread. */
const char *nbd_link_reason(struct nbd_link *link);

#endif
