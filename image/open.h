/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening an image and its backing chain by name, under the caller's policy.
 *
 * Formats are those that the program registered; "raw" is always there. A
 * format is never guessed unless asked for ("probe"). An image's own fields
 * can make us open a file only if the policy allows that very file: they are
 * plain paths (a scheme such as "json:" or "nbd://" is refused), resolved
 * against the folder of the image that names them, links resolved, and looked
 * up in the list of allowed files and folders. So it is with backing files and
 * with files where an image's data lies, which are opened as their images are:
 * read-only or not, directly or not, locked or not.
 *
 * A program may let images lie on servers, too (image/remote.h). Then a backing
 * file may also have an address, if the policy allows that very address or all
 * of its scheme. What a server says is never a reason to open a file of ours: an
 * image that lies on one names addresses only.
 */
#ifndef IMAGE_OPEN_H
#define IMAGE_OPEN_H

#include "image/image.h"
#include "image/remote.h"

enum {
	IMAGE_MAX_CHAIN = 64, /* images in a backing chain */
	IMAGE_MAX_FORMATS = 16,
	IMAGE_PROBE_BYTES = 2048,
	IMAGE_MAX_SECRETS = 16, /* of one image */
};

/* Before any thread is started; from main.c only. */
void image_register_format(const struct image_format *format);

/* NULL if there is none of that name. */
const struct image_format *image_find_format(const char *name);

/* Of all of them; ends with NULL. */
void image_format_names(const char *ret_names[IMAGE_MAX_FORMATS + 1]);

/* The format whose magic @head begins with; raw if none. */
const struct image_format *image_probe(const void *head, size_t size);

struct image_open_request {
	const char *path; /* or an address, if there is @remote */
	/*
	 * Where the image's bytes lie instead of that file, which then only
	 * names it; taken, whether the call succeeds or not. Or NULL.
	 */
	struct store *store;
	const char *format; /* NULL: "raw"; "probe": guess */
	bool read_only;
	bool direct;	 /* O_DIRECT on every store */
	uint64_t offset; /* a slice of the file: see store_file_options */
	uint64_t length;
	uint64_t cache_bytes;
	const char *snapshot; /* of @path: see image_open_options */
	const char *snapshot_id;
	const char *snapshot_name;
	/*
	 * Files and folders that images may name, and addresses, or schemes of
	 * addresses with their colon ("nbd:"); NULL-terminated, or NULL for
	 * none. Messages call it --allow-file=PATH, as the programs do.
	 */
	const char *const *allowed;
	const struct image_remote *remote; /* or NULL: all are files */
	/* See image_remote_options. */
	uint64_t open_timeout_ns;
	uint64_t reply_timeout_ns;
	/*
	 * Of @path, an image that is being made: a file in which it keeps its
	 * data lies where its name followed by this is, if there is one. Or NULL.
	 */
	const char *unfinished;
	bool no_backing; /* leave image->backing NULL */
	/*
	 * The image so far below @path in the chain is opened for writing, too;
	 * 0: none is. For commits: see image/chain.h.
	 */
	unsigned writable_depth;
	bool check; /* of @path: see image_open_options */
	bool share; /* take no locks: others may have the files open */
	/*
	 * Of encrypted images in the chain; see struct image_secret. Without
	 * one an image is refused, unless @no_key says that only its metadata
	 * is of interest: then its data can be neither read nor written.
	 */
	const struct image_secret *secrets;
	bool no_key;
};

/*
 * Opens. @ret_error as in store_open_file; it says which image of the chain
 * and which field. *@ret_hint (may be NULL) is set, to be freed, when the
 * image was taken as raw by default and begins like another format.
 */
int image_open(const struct image_open_request *request,
	       struct image **ret_image, char **ret_error, char **ret_hint);

/*
 * Closes the chain. The caller has flushed; what is still dirty is flushed
 * here through the stores' synchronous calls. Returns that flush's result.
 */
int image_close(struct image *image);

/*
 * Flushes with synchronous calls, for tools and tests: nothing that was mapped
 * may be under way, so what the flush freed is reclaimed at once. -EBUSY while
 * another flush is out.
 */
int image_flush_sync(struct image *image);

/*
 * Of the file that the image at @image_path names as @name: where it lies
 * (links resolved), to be freed; or why it must not be opened.
 */
int image_resolve(const char *image_path, const char *name,
		  const char *const *allowed, char **ret_path,
		  char **ret_error);

/* The same of a @name that is an address. */
int image_resolve_remote(const char *image_path, const char *name,
			 const struct image_remote *remote,
			 const char *const *allowed, char **ret_address,
			 char **ret_error);

extern const struct image_format raw_format;
extern const struct image_format luks_format; /* see image/luks.h */

#endif
