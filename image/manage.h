/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be done to an image besides reading and writing its guest's bytes:
 * making one, checking and repairing it, resizing, snapshots, bitmaps, changing
 * its options and what it is backed by. A format offers what it can in a table
 * (struct image_manage); what it leaves NULL is answered -ENOTSUP.
 *
 * Everything here uses synchronous I/O, belongs to one thread, and wants an
 * image with nothing under way: no request, no flush plan, no allocation that is
 * not committed. What was changed before is flushed first. Each change keeps
 * the rules of image/image.h at every instant: a crash leaves the state before
 * or the one after, leaked space, or an image that is marked dirty and mends
 * itself when it is next opened for writing. When a call returns 0 the change
 * is stable.
 *
 * Errors: a negative errno, or IMAGE_E_*; image_error(image) then says what was
 * wrong, in words for people, also for an errno that does not speak for itself.
 */
#ifndef IMAGE_MANAGE_H
#define IMAGE_MANAGE_H

#include "image/image.h"
#include "image/option.h"

enum image_preallocation {
	IMAGE_PREALLOCATION_OFF,
	IMAGE_PREALLOCATION_METADATA, /* everything mapped, nothing written */
	IMAGE_PREALLOCATION_FALLOC,   /* and the file's space reserved */
	IMAGE_PREALLOCATION_FULL,     /* and written with zeroes */
};

/* "off", "metadata", "falloc", "full": 0 or -EINVAL. */
int image_preallocation_parse(const char *text, enum image_preallocation *ret);

/* --- Making ------------------------------------------------------------ */

/* Rows of every format's table of options: hints for the file system. */
#define IMAGE_FILE_OPTIONS                                                  \
	{"nocow",                                                           \
	 IMAGE_OPTION_BOOL,                                                 \
	 IMAGE_OPTION_CREATE,                                               \
	 "no copy on write (btrfs)",                                        \
	 NULL,                                                              \
	 NULL},                                                             \
	{                                                                   \
		"extent_size_hint", IMAGE_OPTION_SIZE, IMAGE_OPTION_CREATE, \
			"how much space the file system is to reserve at "  \
			"once; 0: as it likes",                             \
			NULL, NULL                                          \
	}

struct image_create_request {
	struct store *store; /* empty and writable; stays the caller's */
	const char *path;    /* where it lies: further files go beside it */
	uint64_t size_bytes;
	/* Checked against the format's table. */
	const struct image_options *options;
	const char *backing_name;	    /* or NULL; not looked at */
	const char *backing_format;	    /* or NULL */
	const struct image_secret *secrets; /* see image_open_options */
	/*
	 * Makes a further file of the image, empty and writable, that is to be
	 * called @path when the image is whole. NULL: see image_new_file.
	 */
	int (*new_file)(void *opaque, const char *path,
			struct store **ret_store, char **ret_error);
	void *opaque;
};

/*
 * For formats: @request's new_file, or else a file at @path, where none may be
 * yet. *@ret_store is to be freed.
 */
int image_new_file(const struct image_create_request *request, const char *path,
		   struct store **ret_store, char **ret_error);

/*
 * An image that can be written once only, from its beginning to its end, while
 * it is made. @guest takes the guest's bytes in ascending order; what is left out
 * reads as zeroes. It is to be freed after @end(guest), or without: then the
 * image is not whole. All of that on one thread.
 */
struct image_stream {
	struct store *guest;
	uint32_t unit_bytes; /* in which the image keeps them */
	int (*end)(struct store *guest);
};

/* Bytes of a file that would hold an image; see `measure`. */
struct image_measure {
	uint64_t required;	  /* for the data there is */
	uint64_t fully_allocated; /* were every cluster written */
	bool has_bitmaps;	  /* source and target can have some */
	uint64_t bitmaps;	  /* for those of the source, apart */
};

/* --- What an image says of itself -------------------------------------- */

enum image_fact_kind {
	IMAGE_FACT_STRING,
	IMAGE_FACT_BOOL,
	IMAGE_FACT_NUMBER,
	IMAGE_FACT_GROUP, /* @value is empty; the facts named "NAME.…" follow */
	IMAGE_FACT_LIST, /* as a group, of "NAME.0", "NAME.1", … */
};

/*
 * One of the format-specific facts, by the names that QEMU's QAPI gives them
 * ("compat", "compression-type", "lazy-refcounts", "refcount-bits", "corrupt",
 * "extended-l2", "data-file", "data-file-raw", "encrypt.format", …), in its
 * order.
 */
struct image_fact {
	char *name;
	enum image_fact_kind kind;
	char *value; /* as text: "true", "16" */
};

struct image_facts {
	struct image_fact *facts; /* heap */
	size_t count;
};

/* 0 or -ENOMEM. */
int image_facts_add(struct image_facts *facts, const char *name,
		    enum image_fact_kind kind, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
void image_facts_deinit(struct image_facts *facts);

/* --- Checking ----------------------------------------------------------- */

enum image_fix {
	IMAGE_FIX_NONE,
	IMAGE_FIX_LEAKS,
	IMAGE_FIX_ALL,
};

struct image_check {
	uint64_t corruptions; /* left, after any repair */
	uint64_t leaks;
	uint64_t check_errors; /* places that could not be read */
	uint64_t corruptions_fixed;
	uint64_t leaks_fixed;
	uint64_t total_clusters; /* of guest data */
	uint64_t allocated_clusters;
	uint64_t fragmented_clusters;
	uint64_t compressed_clusters;
	uint64_t image_end_offset; /* highest used byte of the file, plus one */
};

/* Each finding, a line without its end; @fixed says that it is mended. */
typedef void image_report(void *opaque, const char *finding, bool fixed);

/* --- Snapshots ---------------------------------------------------------- */

struct image_snapshot {
	char *id;
	char *name;
	uint64_t size_bytes; /* of the disk then */
	uint64_t vm_state_bytes;
	uint64_t date_seconds; /* since 1970 */
	uint32_t date_nanoseconds;
	uint64_t vm_clock_nanoseconds;
	uint64_t icount; /* or UINT64_MAX */
};

struct image_snapshots {
	struct image_snapshot *all; /* heap */
	size_t count;
};

void image_snapshots_deinit(struct image_snapshots *snapshots);

/* --- Bitmaps ------------------------------------------------------------ */

struct image_bitmap {
	char *name;
	uint32_t granularity_bytes;
	bool inconsistent; /* in use by somebody who did not store it */
	bool enabled;	   /* follows the guest's writes ("auto") */
	uint64_t dirty_bytes;
};

struct image_bitmaps {
	struct image_bitmap *all; /* heap */
	size_t count;
};

void image_bitmaps_deinit(struct image_bitmaps *bitmaps);

enum image_bitmap_action {
	IMAGE_BITMAP_ADD,
	IMAGE_BITMAP_REMOVE,
	IMAGE_BITMAP_CLEAR,
	IMAGE_BITMAP_ENABLE,
	IMAGE_BITMAP_DISABLE,
	IMAGE_BITMAP_MERGE,
};

struct image_bitmap_change {
	enum image_bitmap_action action;
	const char *name;
	uint32_t granularity_bytes; /* ADD; 0: the format's default */
	bool disabled;		    /* ADD */
	struct image *source;	    /* MERGE; NULL: this image */
	const char *source_name;    /* MERGE */
};

/* --- The table ---------------------------------------------------------- */

struct image_amend_request {
	const struct image_options *options; /* checked */
	const struct image_secret *secrets;  /* named by options */
	bool force;
	void (*progress)(void *opaque, uint64_t done, uint64_t total);
	void *opaque;
};

struct image_manage {
	const struct image_option *options;

	int (*create)(const struct image_create_request *request,
		      char **ret_error);
	/* Whether @options ask for a stream: made by what follows, and ... */
	bool (*is_stream)(const struct image_options *options);
	/* ... @request->store is written in ascending order, and flushed by none. */
	int (*stream)(const struct image_create_request *request,
		      struct image_stream *ret, char **ret_error);
	/* @source: whose data is to be held; or NULL: @request->size_bytes. */
	int (*measure)(const struct image_create_request *request,
		       struct image *source, struct image_measure *ret,
		       char **ret_error);
	int (*facts)(struct image *image, struct image_facts *ret);
	int (*features)(struct image *image, struct image_facts *ret);
	/*
	 * Whether more clusters are in use than the file has room on its disk
	 * for, as where they were preallocated: then the file's holes tell of
	 * zeroes that the image's own tables do not know.
	 */
	int (*is_sparse)(struct image *image, bool *ret);
	/* The image was opened with image_open_options.check. */
	int (*check)(struct image *image, enum image_fix fix,
		     image_report *report, void *opaque,
		     struct image_check *ret);
	int (*resize)(struct image *image, uint64_t size_bytes,
		      enum image_preallocation preallocation);
	int (*amend)(struct image *image,
		     const struct image_amend_request *request);
	/* Only what the header says; NULL, NULL: none any more. */
	int (*set_backing)(struct image *image, const char *name,
			   const char *backing_format);
	/*
	 * Every cluster becomes unallocated, so that the backing image shows
	 * through: after a commit.
	 */
	int (*make_empty)(struct image *image);

	int (*snapshot_list)(struct image *image, struct image_snapshots *ret);
	int (*snapshot_create)(struct image *image, const char *name);
	/* @name is looked up as an id, then as a name; -ENOENT. */
	int (*snapshot_apply)(struct image *image, const char *name);
	/* As a name, then as an id: what is called so goes. */
	int (*snapshot_delete)(struct image *image, const char *name);

	int (*bitmap_list)(struct image *image, struct image_bitmaps *ret);
	int (*bitmap_change)(struct image *image,
			     const struct image_bitmap_change *change);
	/*
	 * All of @source's bitmaps that are not inconsistent, or none; the
	 * images are equally large.
	 */
	int (*bitmap_copy)(struct image *image, struct image *source);
	/*
	 * The first run of guest bytes at or after @offset whose bits are all
	 * set; *@ret_length is 0 if there is none.
	 */
	int (*bitmap_next)(struct image *image, const char *name,
			   uint64_t offset, uint64_t *ret_offset,
			   uint64_t *ret_length);
	/* Sets the bits of guest bytes [offset, offset + length). */
	int (*bitmap_set)(struct image *image, const char *name,
			  uint64_t offset, uint64_t length);
};

/* The calls, for images of any format; each flushes first where it changes. */
int image_create(const struct image_format *format,
		 const struct image_create_request *request, char **ret_error);
/* The same: whether it is one, for any format; and one for which that is so. */
bool image_is_stream(const struct image_format *format,
		     const struct image_options *options);
int image_stream(const struct image_format *format,
		 const struct image_create_request *request,
		 struct image_stream *ret, char **ret_error);
int image_measure(const struct image_format *format,
		  const struct image_create_request *request,
		  struct image *source, struct image_measure *ret,
		  char **ret_error);
int image_facts(struct image *image, struct image_facts *ret);
/*
 * The feature bits that are set: each a fact with the bit's name ("dirty",
 * "lazy-refcounts"; the image's own name for one that is not known here, which
 * may hold any bytes), and as value who may not ignore it: "incompatible",
 * "compatible" or "autoclear". None where a format has no such bits.
 */
int image_features(struct image *image, struct image_facts *ret);
int image_is_sparse(struct image *image, bool *ret);
int image_check(struct image *image, enum image_fix fix, image_report *report,
		void *opaque, struct image_check *ret);
int image_resize(struct image *image, uint64_t size_bytes,
		 enum image_preallocation preallocation);
int image_amend(struct image *image, const struct image_amend_request *request);
int image_set_backing(struct image *image, const char *name,
		      const char *backing_format);
int image_make_empty(struct image *image);
int image_snapshot_list(struct image *image, struct image_snapshots *ret);
int image_snapshot_create(struct image *image, const char *name);
int image_snapshot_apply(struct image *image, const char *name);
int image_snapshot_delete(struct image *image, const char *name);
int image_bitmap_list(struct image *image, struct image_bitmaps *ret);
int image_bitmap_change(struct image *image,
			const struct image_bitmap_change *change);
int image_bitmap_copy(struct image *image, struct image *source);
int image_bitmap_next(struct image *image, const char *name, uint64_t offset,
		      uint64_t *ret_offset, uint64_t *ret_length);
int image_bitmap_set(struct image *image, const char *name, uint64_t offset,
		     uint64_t length);

#endif
