/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store is where an image's bytes lie: a file, a block device, a slice of
 * either, memory in tests, an export of a server. It knows nothing of formats.
 *
 * Each store offers synchronous calls, for opening, creating and checking an
 * image. A store that has a descriptor (fd >= 0) also takes plain reads and
 * writes straight from the executor's io_uring, at fd_offset + offset; one
 * without may take requests that it carries out by itself (store_submit), and
 * is else driven through its synchronous calls.
 *
 * All calls may be used from any thread.
 */
#ifndef IMAGE_STORE_H
#define IMAGE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/iov.h"

struct store;

/* What a range of a store is, without reading it. */
struct store_status {
	uint64_t length; /* of the run, from where it was asked for */
	bool zero;	 /* reads as zeroes */
	bool hole;	 /* takes no room */
};

enum store_io_kind {
	STORE_IO_READ,
	STORE_IO_WRITE,
	STORE_IO_FLUSH,
	STORE_IO_ZERO,
	STORE_IO_PUNCH,
	STORE_IO_STATUS, /* a store's own question to itself */
};

/*
 * A request that a store carries out while its caller goes on: in the caller's
 * storage, which is the store's from store_submit until @done.
 */
struct store_io {
	enum store_io_kind kind;
	uint64_t offset;
	uint64_t length;       /* READ, WRITE: the sum of @iov */
	struct iov_cursor iov; /* READ, WRITE: borrowed until done */
	/*
	 * Told once, with what the synchronous call would have returned, on a
	 * thread of the store's: it passes the word on and calls nothing of the
	 * store.
	 */
	void (*done)(struct store_io *io, int result);

	/* The store's own. */
	struct store_io *next;
	uint64_t at;	  /* bytes under way or done */
	unsigned pending; /* parts under way */
	int result;
};

/* All return 0 or a negative errno; reads past the end give zeroes. */
struct store_ops {
	int (*read)(struct store *store, uint64_t offset, void *ret_data,
		    size_t length);
	int (*write)(struct store *store, uint64_t offset, const void *data,
		     size_t length);
	/* Everything completed so far is on stable storage. */
	int (*flush)(struct store *store);
	/* Grow (with zeroes) or shrink; -ENOTSUP on a device or a slice. */
	int (*resize)(struct store *store, uint64_t size_bytes);
	/* Deallocate; afterwards the range reads as zeroes. */
	int (*punch)(struct store *store, uint64_t offset, uint64_t length);
	/* Make the range read as zeroes, allocated or not; -ENOTSUP: write. */
	int (*zero)(struct store *store, uint64_t offset, uint64_t length);
	/* See store_status; NULL: all is data. */
	int (*status)(struct store *store, uint64_t offset, uint64_t length,
		      struct store_status *ret);
	/* See store_submit; NULL: there are only the calls above. */
	bool (*submit)(struct store *store, struct store_io *io);
	/* See store_reason; NULL: an errno says all. */
	const char *(*reason)(struct store *store);
	void (*free)(struct store *store);
};

enum {
	STORE_MAX_ALIGNMENT = 65536
};

struct store {
	const struct store_ops *ops;
	const char *name;    /* for messages; lives as long as the store */
	int fd;		     /* or -1 */
	uint64_t fd_offset;  /* byte 0 of the store in the descriptor */
	uint64_t size_bytes; /* kept up to date by resize and growing writes
			      * through the synchronous calls */
	bool read_only;
	bool can_grow;	    /* growing yields zeroes (a regular file) */
	bool is_remote;	    /* @name is the address of what it is */
	uint32_t alignment; /* of offsets, lengths and memory: 1 or, with
			     * O_DIRECT, the device's block size */
	int flush_error;    /* see store_flushed */
};

struct store_file_options {
	bool read_only;
	bool direct;	 /* O_DIRECT */
	uint64_t offset; /* slice: first byte, … */
	uint64_t length; /* … and bytes; 0: to the end */
	bool no_lock;	 /* do not take the byte-range lock */
	bool no_links;	 /* -ELOOP if there is a symbolic link in the path */
};

/*
 * Opens a regular file or a block device; anything else is -EINVAL. Takes
 * byte-range locks over the slice (shared to read, exclusive to write), and
 * QEMU's over a whole file: -EAGAIN when another process holds one (see
 * image/store-lock.h). *@ret_error, if the call fails, is a sentence for
 * people, to be freed.
 */
int store_open_file(const char *path, const struct store_file_options *options,
		    struct store **ret_store, char **ret_error);

/* A new, empty regular file; -EEXIST if there is one and !@overwrite. */
int store_create_file(const char *path, bool overwrite,
		      struct store **ret_store, char **ret_error);

enum {
	STORE_MEMORY_MAX_BYTES = 1 << 30
};

/*
 * Memory that grows as it is written, up to STORE_MEMORY_MAX_BYTES (-ENOSPC);
 * for tests and fuzzers. The data moves when the store grows.
 */
int store_new_memory(uint64_t size_bytes, struct store **ret_store);

/*
 * A sparse file on a disk that is nearly full: of any length, but what lies at
 * or past @limit_bytes is zeroes and cannot be written (-ENOSPC).
 */
int store_new_bounded(uint64_t size_bytes, uint64_t limit_bytes,
		      struct store **ret_store);
void *store_memory_data(struct store *store);

/* Nothing, of any size: zeroes are read, and what is written is gone. */
int store_new_null(uint64_t size_bytes, struct store **ret_store);

/* Accepts NULL. */
void store_free(struct store *store);

static inline int store_read(struct store *store, uint64_t offset,
			     void *ret_data, size_t length)
{
	return store->ops->read(store, offset, ret_data, length);
}

static inline int store_write(struct store *store, uint64_t offset,
			      const void *data, size_t length)
{
	return store->ops->write(store, offset, data, length);
}

static inline int store_flush(struct store *store)
{
	return store->ops->flush(store);
}

/*
 * A flush of the store's descriptor ended with @result; returns what is to be
 * told. Any thread. Without O_DIRECT the kernel may have dropped, or taken for
 * clean, what it could not write, and it reports that once: a later fsync
 * succeeds although the data is lost. So once one failed, all do.
 */
int store_flushed(struct store *store, int result);

static inline int store_resize(struct store *store, uint64_t size_bytes)
{
	return store->ops->resize(store, size_bytes);
}

static inline int store_punch(struct store *store, uint64_t offset,
			      uint64_t length)
{
	return store->ops->punch(store, offset, length);
}

static inline int store_zero(struct store *store, uint64_t offset,
			     uint64_t length)
{
	return store->ops->zero(store, offset, length);
}

/*
 * What [offset, offset + length), not empty, begins with: ret->length is from 1
 * to @length. What cannot be told is data.
 */
static inline int store_status(struct store *store, uint64_t offset,
			       uint64_t length, struct store_status *ret)
{
	*ret = (struct store_status){.length = length};
	return store->ops->status
		       ? store->ops->status(store, offset, length, ret)
		       : 0;
}

/*
 * Begins @io; false: it has to be done by the synchronous calls. Requests that
 * overlap are carried out in any order; a flush covers what was done before it
 * was submitted.
 */
static inline bool store_submit(struct store *store, struct store_io *io)
{
	return store->ops->submit && store->ops->submit(store, io);
}

/*
 * What first went wrong in the store, where an errno does not say it (who did
 * not answer), as a sentence that begins with its name; or NULL. Lives as long
 * as the store.
 */
static inline const char *store_reason(struct store *store)
{
	return store->ops->reason ? store->ops->reason(store) : NULL;
}

/* True if both are the same file, device or export, whichever part of it. */
bool store_is_same(const struct store *a, const struct store *b);

/*
 * Writes the sentence to *@ret_error, printable (base/printable.h), unless that is
 * NULL or holds one already, and returns @err. For stores, formats and image_open
 * alike.
 */
int store_fail(char **ret_error, int err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
