/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stores that are no files but have an address, such as an export of a server.
 * A program that wants them hands this to image_open; one that does not (a
 * daemon in its sandbox) cannot be made to connect anywhere, whatever an image
 * says.
 */
#ifndef IMAGE_REMOTE_H
#define IMAGE_REMOTE_H

#include "image/store.h"

struct image_remote_options {
	bool read_only;
	/* How long a server may take, in nanoseconds; 0: the kind's default. */
	uint64_t open_timeout_ns;  /* until it can be used */
	uint64_t reply_timeout_ns; /* until it answers any request */
};

struct image_remote {
	/* Whether @name begins like an address. */
	bool (*is_address)(const char *name);

	/*
	 * The one text for what @name is the address of, to be freed; -EINVAL
	 * with *@ret_error, as in store_open_file, if there is no such thing.
	 * @by_image: an image names it, not the user, so it may not name files
	 * of this machine (keys): -EACCES.
	 */
	int (*resolve)(const char *name, bool by_image, char **ret_address,
		       char **ret_error);

	/* @address as resolve gave it, which becomes the store's name. */
	int (*open)(const char *address,
		    const struct image_remote_options *options,
		    struct store **ret_store, char **ret_error);
};

#endif
