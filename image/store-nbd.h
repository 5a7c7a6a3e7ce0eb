/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An export of an NBD server as a store, over libnbd: see image/nbd-address.h
 * for how it is named, and image/nbd-link.h for how requests get there. Its size
 * is fixed. Several requests are under way at once; a server that takes only
 * whole blocks gets whole blocks.
 *
 * A server may be gone, lie or hang: each request ends, with an error, and
 * store_reason names the export and says why. What it says is not trusted
 * beyond what libnbd checks. Waiting for it can be interrupted by a signal
 * that ends the process.
 *
 * A build without libnbd has it too; then open says so.
 */
#ifndef IMAGE_STORE_NBD_H
#define IMAGE_STORE_NBD_H

#include "image/remote.h"

enum {
	NBD_OPEN_SECONDS = 30,
	/* A flush of a server with much memory and a slow disk takes minutes. */
	NBD_REPLY_SECONDS = 300,
};

extern const struct image_remote nbd_remote;

#endif
