/* SPDX-License-Identifier: Apache-2.0 */
/* Getting to an NBD export: connection, TLS, negotiation, and what it says. */
#ifndef IMAGE_NBD_PEER_H
#define IMAGE_NBD_PEER_H

#include <libnbd.h>
#include <stdbool.h>
#include <stdint.h>

#include "image/nbd-address.h"

enum {
	NBD_PEER_MAX_TRANSFER = 32
				<< 20, /* what all servers take, if any less */
};

/* What the server said, within what can be. */
struct nbd_export {
	uint64_t size_bytes;
	uint32_t block_bytes; /* offsets and lengths are multiples of this */
	uint32_t max_bytes;   /* of one read or write; of whole blocks */
	bool read_only;
	bool can_flush;
	bool can_fua;
	bool can_zero;
	bool can_fast_zero;
	bool has_status; /* of allocation */
};

/*
 * Connects to @address, called @name in messages, by @deadline_ns (of
 * clock_ns), and negotiates. (To look a host's name up takes as long as the
 * resolver wants.) 0 or a negative errno with *@ret_error as in
 * store_open_file. The handle is the caller's to close.
 */
int nbd_peer_connect(const struct nbd_address *address, const char *name,
		     uint64_t deadline_ns, struct nbd_handle **ret_handle,
		     struct nbd_export *ret_export, char **ret_error);

/*
 * What libnbd said of the last call that failed on this thread: in one line,
 * and nothing in it acts on a terminal, as a server may have had a say in it.
 */
void nbd_peer_error(char *ret, size_t size);

/* The errno of it, or @otherwise: negative, and never one that asks for more. */
int nbd_peer_last_errno(int otherwise);

/* The same of a server's answer. */
int nbd_peer_errno(int error);

/*
 * Waits for the connection's socket (and for @wake_fd, unless it is -1, which it
 * leaves as it is) until @deadline_ns, and lets libnbd go on. 0; -ETIMEDOUT; or
 * another negative errno when the connection is dead: nbd_peer_error.
 */
int nbd_peer_wait(struct nbd_handle *handle, int wake_fd, uint64_t deadline_ns);

#endif
