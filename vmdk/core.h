/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of an open image, for the sources of this folder alone. How the
 * parts work together is told in docs/vmdk.md.
 *
 * Everything but lookup.c runs with the image's lock held, alone, and does no
 * I/O once the image is open. Functions that may need a metadata block, or must
 * wait, take the caller's extent; they return 0, a negative errno, IMAGE_E_*, or
 * VMDK_ANSWERED: the extent says what the caller of image_map has to do before
 * it asks again.
 */
#ifndef VMDK_CORE_H
#define VMDK_CORE_H

#include "base/bytes.h"
#include "image/image.h"
#include "image/metacache.h"
#include "vmdk/descriptor.h"
#include "vmdk/header.h"

enum {
	VMDK_ANSWERED = 0x100,

	/* Grain tables are cached in pieces of this size, or whole. */
	VMDK_PIECE_BYTES = 2048,
	VMDK_DEFAULT_CACHE_BYTES = 16 << 20,
	VMDK_MIN_CACHE_BYTES = 64 * VMDK_PIECE_BYTES,

	/* A table lies below this offset of its file. */
	VMDK_FILE_BITS = 50,

	VMDK_MAX_PENDING = 128,
};

enum vmdk_part_kind {
	VMDK_PART_FLAT,
	VMDK_PART_SPARSE,
	VMDK_PART_ZERO,
	VMDK_PART_CLOSED, /* no access */
};

/* A run of the guest's disk. All but the last are as long as their extent. */
struct vmdk_part {
	enum vmdk_part_kind kind;
	enum vmdk_extent_type type;
	bool writable;
	uint64_t start; /* guest bytes */
	uint64_t bytes;
	size_t file;	      /* of image.files; or VMDK_OWN_STORE */
	struct store *store;  /* NULL until it is attached, or for ever */
	uint64_t file_bytes;  /* SPARSE: the file's length, as far as we know */
	uint64_t data_offset; /* FLAT: in the file */
	struct vmdk_sparse s; /* SPARSE, and all that follows */
	unsigned grain_bits;  /* bytes in a grain */
	unsigned entry_bits;  /* bytes in an entry of a table */
	uint8_t *gd;	      /* the grain directory as on disk; heap */
	uint64_t cache_base;  /* of this file's offsets in the cache */

	/* SPARSE that can be written: */
	uint8_t *rgd;	      /* the second directory; NULL: there is none */
	uint64_t *gd_dirty;   /* bit per sector of the directories */
	uint64_t *gd_writing; /* the same, while a plan is out */
	uint32_t gd_dirty_count;
	uint64_t end;	   /* where the next grain goes, in the file */
	uint64_t old_end;  /* where it went at first: what is past it is ours */
	uint64_t longer;   /* how long the file was made, at least */
	uint64_t fresh;	   /* what lies past this was never written */
	uint64_t free_out; /* what a plan writes of s.free_offset; or 0 */
	struct vmdk_account *account; /* SE: of its room; else NULL */
};

/* Room that was given out (IMAGE_ALLOCATE) and waits for its commit. */
struct vmdk_pending {
	bool used;
	struct vmdk_part *part;
	uint64_t grain; /* of the part */
	uint32_t count;
	uint64_t offset;	       /* of the first one, in the file */
	struct metacache_block *block; /* with their entries, pinned */
	uint32_t index;
};

#define VMDK_OWN_STORE SIZE_MAX

/* See vmdk/cid.h. */
enum vmdk_cid_state {
	VMDK_CID_NONE, /* there is none, or nothing is changed */
	VMDK_CID_OLD,
	VMDK_CID_WANTED,
	VMDK_CID_OUT, /* a plan writes it */
	VMDK_CID_NEW,
};

enum {
	VMDK_CID_DIGITS = 8,
	/* Fewer would soon come round to one that was. */
	VMDK_FEWEST_CID_DIGITS = 4,
};

struct vmdk_cid {
	enum vmdk_cid_state state;
	uint64_t offset; /* of the digits, in the image's own store */
	unsigned digits; /* QEMU writes as many as the number has */
	uint32_t next;
};

/* See vmdk/track.h. */
struct vmdk_track {
	bool named;	     /* in the descriptor of an image that is read */
	size_t file;	     /* of image.files */
	struct store *store; /* borrowed; NULL: it cannot be used */
	uint64_t block_bytes;
	uint64_t blocks;
	uint8_t *numbers; /* of the blocks, as on disk; heap, NULL: not read */
	/* Of an image that is written: */
	bool owned;	     /* still named */
	uint64_t key_at;     /* in the image's own store */
	uint64_t version_at; /* 0: it stays as it is */
};

struct vmdk {
	struct image image;
	struct vmdk_descriptor d; /* create_type is NULL: there is none */
	struct vmdk_part *parts;  /* in the disk's order */
	size_t part_count;
	struct metacache cache;
	/* Of a dirty block: which entry of the directory its table is. */
	uint32_t *table_numbers;
	struct vmdk_pending *pending; /* VMDK_MAX_PENDING; NULL: read-only */
	unsigned pending_count;
	struct vmdk_cid cid;
	struct vmdk_track track;
	bool plan_out;
	bool check;	   /* opened to be checked */
	bool own_account;  /* the descriptor has VMDK_SE_MARK */
	char *text_damage; /* why the descriptor cannot be read; or NULL */
};

static inline struct vmdk *vmdk_of(struct image *image)
{
	return container_of(image, struct vmdk, image);
}

/* Notes what is wrong in image->error; returns IMAGE_E_CORRUPT. */
#define vmdk_corrupt(v, ...) \
	image_set_error(&(v)->image, IMAGE_E_CORRUPT, __VA_ARGS__)

/* The part that guest byte @offset, which is inside the disk, lies in. */
struct vmdk_part *vmdk_part_at(struct vmdk *v, uint64_t offset);

/* part.c: all parts of a descriptor, and the files they are in. */
int vmdk_parts_from_descriptor(struct vmdk *v, char **ret_error);

/* One part that is the whole of the image's own file, of @s. */
int vmdk_parts_from_sparse(struct vmdk *v, const struct vmdk_sparse *s,
			   char **ret_error);

/* The header of the sparse extent in @store, with its footer if it has one. */
int vmdk_read_sparse(struct store *store, enum vmdk_extent_type type,
		     struct vmdk_sparse *ret, char **ret_error);

/* True where a read of what is absent finds something behind this image. */
static inline bool vmdk_is_backed(const struct vmdk *v)
{
	return v->image.backing || v->image.backing_changes;
}

/* The driver's entry points, each in the file of its noun. */
int vmdk_attach_data(struct image *image, size_t index, struct store *data,
		     char **ret_error);
int vmdk_map(struct image *image, enum image_op op, uint64_t offset,
	     uint64_t length, struct image_extent *ret);
bool vmdk_lookup(struct image *image, enum image_op op, uint64_t offset,
		 uint64_t length, struct image_extent *ret);
void vmdk_provide(struct image *image, const struct image_extent *need,
		  int result);
int vmdk_commit(struct image *image, const struct image_extent *extent,
		int result);
int vmdk_flush_begin(struct image *image, struct image_plan *ret_plan);
void vmdk_flush_end(struct image *image, struct image_plan *plan, int result);
bool vmdk_is_dirty(struct image *image);
int vmdk_replay(struct image *image, const struct journal_record *records,
		size_t count);

#endif
