/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a disk image is to everybody who is not its format.
 *
 * A format maps, it does not transport. Asked what to do with a range of guest
 * bytes (image_map), it answers with an extent: where in a store the bytes
 * are, that they are zeroes, that the backing image has them, that a cluster
 * is to be decompressed, that room was reserved and the old neighbours are to
 * be copied along, or that a block of metadata must be read before it can say.
 * The caller does the reading and writing, with whatever I/O it likes, and
 * reports back. So a format is a state machine over memory: it can be tested
 * without a disk, fuzzed without a system call, and its writes can be replayed
 * in every order that a crash may leave.
 *
 * A write goes
 *
 *	image_map(WRITE) -> IMAGE_DATA: write there; nothing to report
 *	                 -> IMAGE_ALLOCATE: write data, head and tail to the new
 *	                    place, then image_commit
 *
 * Metadata changes stay in memory until a flush: image_flush_begin hands out a
 * plan, a list of metadata writes and barriers whose order a crash must
 * respect; the caller carries it out and calls image_flush_end. The rules that
 * every plan keeps:
 *
 *	data (and copied head and tail) are stable before the metadata that
 *	points at them; a reference count is raised, stably, before what uses
 *	it; a mapping is cleared, stably, before its reference count falls; and
 *	what was freed is not used again before that is stable and before every
 *	request that could still touch it has ended (image_reclaim).
 *
 * A crash may therefore leak space, but never lose flushed data or let two
 * owners share a cluster.
 *
 * Threads: every function here may be called from any thread. What only looks
 * at tables in memory (most of what image_map is asked) goes on in parallel,
 * and takes no lock that another reader could hold; all else takes the image's
 * own lock inside, for the time of a table lookup, and keeps lookups out where
 * it changes what they see. So of two calls one always sees all that the other
 * did, or nothing. Opening, closing and everything in image/open.h belong to
 * one thread.
 */
#ifndef IMAGE_IMAGE_H
#define IMAGE_IMAGE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/brlock.h"
#include "image/store.h"

struct image;
struct image_waiter;
struct executor_group;
struct image_cipher;
struct image_manage;
struct journal;
struct journal_record;

enum image_op {
	IMAGE_READ,
	IMAGE_WRITE,
	IMAGE_ZERO,    /* write zeroes; the space may be given up */
	IMAGE_DISCARD, /* the guest no longer cares; reads as zeroes where the
			* format can say so */
};

enum image_extent_kind {
	/*
	 * The bytes lie at @store, @host_offset. READ and WRITE: transfer
	 * there. ZERO: make them zero there. DISCARD: punch them out there.
	 */
	IMAGE_DATA,
	/*
	 * READ: all zeroes. Room for them may be mapped nevertheless, all of it
	 * at @store, @host_offset, holding anything; else @store is NULL.
	 */
	IMAGE_ZEROES,
	/*
	 * READ: whatever image->backing has; zeroes past its end or without. With
	 * room or without, as IMAGE_ZEROES.
	 */
	IMAGE_HOLE,
	/*
	 * READ: decompress @host_bytes at @store, @host_offset with @codec to
	 * one cluster of @cluster_bytes; the guest bytes begin at @skip.
	 */
	IMAGE_COMPRESSED,
	/*
	 * WRITE, ZERO: new room at @store, @host_offset is the place of guest
	 * bytes [offset - head_bytes, offset + length + tail_bytes). Write the
	 * guest's bytes (or zeroes), and fill head and tail with zeroes
	 * (@fill_zeroes) or with what the image reads as there now (zeroes
	 * past its end, which show when it grows). Then image_commit with this
	 * extent. Until then a READ still finds the old
	 * content, and whoever else would change these clusters gets
	 * IMAGE_BUSY. What is copied cannot change meanwhile: bytes that were
	 * once answered as IMAGE_DATA to a change are not copied elsewhere
	 * while that change may be under way. head_bytes and tail_bytes are
	 * each less than the image's cluster_bytes.
	 */
	IMAGE_ALLOCATE,
	/*
	 * Read @host_bytes from @store at @host_offset into @buffer, call
	 * image_provide with this extent, then map again.
	 */
	IMAGE_NEED,
	/* Another request is at it: map again after image_generation moved. */
	IMAGE_BUSY,
	/* Too much changed metadata: flush, then map again. */
	IMAGE_MUST_FLUSH,
	/* ZERO, DISCARD: done in the metadata; no I/O. */
	IMAGE_DONE,
};

enum image_codec {
	IMAGE_CODEC_NONE,
	IMAGE_CODEC_DEFLATE, /* raw, RFC 1951 */
	IMAGE_CODEC_ZLIB,    /* RFC 1950 */
	IMAGE_CODEC_ZSTD,    /* RFC 8878 */
};

struct image_extent {
	enum image_extent_kind kind;
	uint64_t length; /* guest bytes from the asked offset that this covers:
			  * > 0 and <= what was asked, except NEED, BUSY and
			  * MUST_FLUSH: 0 */
	struct store *store;
	uint64_t host_offset;
	uint32_t host_bytes;	/* COMPRESSED, NEED */
	uint32_t cluster_bytes; /* COMPRESSED */
	uint32_t skip;		/* COMPRESSED */
	enum image_codec codec; /* COMPRESSED */
	bool may_be_short;	/* COMPRESSED: the stream may yield less than a
			    * cluster, whose rest is zeroes then */
	uint64_t head_bytes;	/* ALLOCATE */
	uint64_t tail_bytes;	/* ALLOCATE */
	bool fill_zeroes;	/* ALLOCATE */
	bool reads_zero; /* ALLOCATE: the new room reads as zeroes already (a
				 * store that can_grow was never written there):
				 * zeroes need not be written */
	/*
	 * DATA, ALLOCATE; set by image_map: what lies there is encrypted, and
	 * its first sector is number @crypt_offset / 512 to the cipher.
	 */
	struct image_cipher *cipher; /* or NULL */
	uint64_t crypt_offset;
	void *buffer;	 /* NEED: the format's, valid until provided */
	uint64_t ticket; /* the format's own */
};

enum image_outcome {
	IMAGE_E_CORRUPT = 1, /* what the image says cannot be; image_error */
	IMAGE_E_NO_SPACE,    /* the format's limits are reached */
	IMAGE_E_UNSUPPORTED, /* a feature that we refuse; image_error */
	IMAGE_E_BUSY,	     /* a flush is under way already */
};

/* One step of a flush plan, carried out strictly in order. */
enum image_step_kind {
	IMAGE_STEP_WRITE,   /* @bytes of @data to @store at @offset */
	IMAGE_STEP_BARRIER, /* flush every store of the image */
	IMAGE_STEP_RESIZE,  /* @store to @offset bytes; the format gives out no
			     * room past them meanwhile */
	IMAGE_STEP_PUNCH,   /* [offset, offset + length); may fail unheeded */
};

struct image_step {
	enum image_step_kind kind;
	struct store *store;
	uint64_t offset;
	uint64_t length;
	void *data; /* WRITE: the plan's own copy */
};

/* Writes between two barriers may be carried out in any order or at once. */
struct image_plan {
	struct image_step *steps;
	size_t count;
	uint64_t ticket; /* the format's own */
	/*
	 * Set by flush_end, for a plan that failed as it asked for more than it
	 * had to: the next asks for less, and is to be tried at once.
	 */
	bool again;
};

/* A key or passphrase for the image that lies @depth below the opened one. */
struct image_secret {
	const char *id; /* what options such as encrypt.key-secret call it */
	unsigned depth;
	const void *data; /* NULL ends a list */
	size_t bytes;
};

struct image_open_options {
	bool read_only;
	uint64_t cache_bytes; /* of metadata; 0: the format's default */
	/*
	 * To be checked or repaired (image/manage.h): what is marked dirty or
	 * corrupt is opened as it is, and tables that cannot be are left for
	 * the check to find. Otherwise a dirty image is repaired when it is
	 * opened for writing.
	 */
	bool check;
	/*
	 * A snapshot's id or, where no id is that, its name; or an id and a
	 * name of which those that are not NULL have to be right. The image is
	 * as it was then; read-only.
	 */
	const char *snapshot;
	const char *snapshot_id;
	const char *snapshot_name;
	const struct image_secret *secrets; /* of depth 0; or NULL */
	bool no_key;			    /* see image_open_request */
};

static inline bool image_wants_snapshot(const struct image_open_options *o)
{
	return o->snapshot || o->snapshot_id || o->snapshot_name;
}

/* What a format implements. Called with the image's lock held. */
struct image_format {
	const char *name; /* "raw", "qcow2", … */

	/* What else it can; or NULL. */
	const struct image_manage *manage;

	/* map reads nothing that changes: it is called without the lock. */
	bool map_is_constant;

	/*
	 * Whether @head, the first @size bytes of a file (at least 512 unless
	 * the file is shorter), begins an image of this format.
	 */
	bool (*probe)(const void *head, size_t size);

	/*
	 * Opens the image in @store through its synchronous calls, and checks
	 * everything that later maps rely on. On success *@ret_image owns the
	 * store. If the image names a backing file, image->backing_name (and
	 * backing_format) are set and nothing is opened: that is image_open's
	 * to decide. @ret_error as in store_open_file.
	 */
	int (*open)(struct store *store, const struct image_open_options *o,
		    struct image **ret_image, char **ret_error);

	/*
	 * @data is the file that image->files[index] names; the image owns it
	 * on success. May check it against what the image says. All are
	 * attached, in order, before anything is mapped.
	 */
	int (*attach_data)(struct image *image, size_t index,
			   struct store *data, char **ret_error);

	/*
	 * Whether image->backing, which was just opened, is the one that the
	 * image was made for. May be NULL.
	 */
	int (*check_backing)(struct image *image, char **ret_error);

	/* After the last flush; frees everything but the backing image. */
	void (*close)(struct image *image);

	int (*map)(struct image *image, enum image_op op, uint64_t offset,
		   uint64_t length, struct image_extent *ret_extent);
	/*
	 * What map would answer, where that can be told by looking at what is
	 * in memory, and is no error: DATA, ZEROES, HOLE or COMPRESSED. False:
	 * ask map. Changes nothing, or only atomically what means nothing to
	 * others (that a block was used). Called without the lock, on several
	 * threads at once, but while no other function of the image's format
	 * is at work, those of manage and open excepted, during which nothing
	 * is mapped. So whatever map notes when it answers a change (bitmaps,
	 * first changes) is a reason to say no. May be NULL.
	 */
	bool (*lookup)(struct image *image, enum image_op op, uint64_t offset,
		       uint64_t length, struct image_extent *ret_extent);
	/* See image_map_packed. NULL: it takes no compressed clusters. */
	int (*map_packed)(struct image *image, uint64_t offset, uint32_t bytes,
			  struct image_extent *ret_extent);
	void (*provide)(struct image *image, const struct image_extent *need,
			int result);
	int (*commit)(struct image *image, const struct image_extent *extent,
		      int result);
	int (*flush_begin)(struct image *image, struct image_plan *ret_plan);
	void (*flush_end)(struct image *image, struct image_plan *plan,
			  int result);
	/* What flush @flush and those before it freed may be used again. */
	void (*reclaim)(struct image *image, uint64_t flush);
	/* True if a flush would have metadata to write. May be NULL: never. */
	bool (*is_dirty)(struct image *image);
	/*
	 * Makes the changes that a journal holds (see image/journal.h), with
	 * synchronous calls and without the lock, as nothing is under way and
	 * nothing is dirty, and flushes. All are judged before the
	 * first is made: IMAGE_E_CORRUPT, with image_error set, if one cannot
	 * be ours. What is made already is not made again. NULL: the format
	 * has no use for a journal; else it appends to image->journal, where
	 * there is one, each change of a mapping.
	 */
	int (*replay)(struct image *image, const struct journal_record *records,
		      size_t count);
};

/* A further file that an image names, where data of its guest lies. */
struct image_file {
	char *name;	     /* as the image says it; heap */
	bool read_only;	     /* as the image says */
	struct store *store; /* owned; NULL until it is attached */
	/*
	 * The guest's disk is whole without it: an image whose file cannot be
	 * opened, or attached, is opened nevertheless, and @missing, which is on
	 * the heap, says why.
	 */
	bool optional;
	char *missing;
};

/* Embedded as the first member in each format's own structure. */
struct image {
	const struct image_format *format;
	uint64_t size_bytes;	/* as the guest sees it */
	uint32_t cluster_bytes; /* allocation unit; 0: none (raw) */
	enum image_codec codec; /* of compressed clusters; or NONE */
	bool read_only;
	struct store *store;	  /* the format's main store, owned */
	struct store *data_store; /* where guest data lies: mostly @store, or a
				   * file's; not all of it, if many have it */
	struct image_file *files; /* that the image names; heap */
	size_t file_count;
	struct image_cipher *cipher; /* of all that lies in data_store, or NULL:
				      * see image/cipher.h; owned */
	char *backing_name;	     /* or NULL; heap */
	char *backing_format;	     /* or NULL: the image does not say; heap */
	struct image *backing;	     /* owned, mostly read-only; or NULL */
	/*
	 * Another backing image is to come: what has to read as zeroes is said,
	 * also where nothing shows through now.
	 */
	bool backing_changes;
	pthread_mutex_t lock;
	struct brlock lookups;	      /* written to with the lock held */
	uint64_t generation;	      /* see image_generation */
	uint64_t flushes;	      /* ended so far; see image_reclaim */
	struct image_waiter *waiters; /* see image_wait */
	struct executor_group *group; /* the executors' own */
	struct journal *journal;      /* or NULL; see image_journal_attach */
	uint64_t journal_instance;    /* of this opening; 0: not yet chosen */
	char error[256];	      /* see image_error */
};

/*
 * For formats: set up and take down the generic part. image_init sets store and
 * data_store to @store. image_deinit frees the names, the lock and the stores;
 * an open that fails sets both stores to NULL first, since the one it was
 * given stays the caller's.
 */
void image_init(struct image *image, const struct image_format *format,
		struct store *store);
void image_deinit(struct image *image);

/* For formats: adds a file that is to be attached. 0 or -ENOMEM. */
int image_add_file(struct image *image, const char *name, bool read_only);

/* Hands the opened file to the format; it is the image's on success. */
int image_attach(struct image *image, size_t index, struct store *data,
		 char **ret_error);

/* All stores of the image itself: @store, then those of @files. */
static inline size_t image_store_count(const struct image *image)
{
	return 1 + image->file_count;
}

/* NULL for a file that is not attached. */
static inline struct store *image_store_at(const struct image *image, size_t at)
{
	return at == 0 ? image->store : image->files[at - 1].store;
}

/* Synchronous: all of them that can be written are flushed. */
int image_sync_stores(struct image *image);

/* For formats: sets image_error; returns @outcome. With the lock held. */
int image_set_error(struct image *image, int outcome, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * What to do with guest bytes [offset, offset + length), which lie inside the
 * image (else -EINVAL; WRITE, ZERO and DISCARD on a read-only image: -EROFS).
 * Answers for the first extent->length of them. May answer IMAGE_E_CORRUPT or
 * IMAGE_E_NO_SPACE. For IMAGE_NEED the answer must be followed by
 * image_provide, for IMAGE_ALLOCATE by image_commit, in any case.
 */
int image_map(struct image *image, enum image_op op, uint64_t offset,
	      uint64_t length, struct image_extent *ret_extent);

/*
 * Room for the cluster at @offset (its first byte), which the caller has
 * compressed with image->codec to @bytes, fewer than a cluster: IMAGE_ALLOCATE
 * (write @host_bytes at @host_offset, then image_commit), NEED, BUSY or
 * MUST_FLUSH as ever. The image's last cluster is compressed with zeroes past
 * the image's end. -ENOTSUP where the image cannot hold compressed clusters.
 * What does not become smaller is written as it is, through image_map.
 */
int image_map_packed(struct image *image, uint64_t offset, uint32_t bytes,
		     struct image_extent *ret_extent);

/* The metadata block of @need was read (@result 0), or could not be. */
void image_provide(struct image *image, const struct image_extent *need,
		   int result);

/*
 * Reads the block of @need with a synchronous call and provides it. The read's
 * result.
 */
int image_read_need(struct image *image, const struct image_extent *need);

/*
 * The room of @extent (IMAGE_ALLOCATE) is filled (@result 0): map it. Or it
 * could not be: give it up. 0 or IMAGE_E_*.
 */
int image_commit(struct image *image, const struct image_extent *extent,
		 int result);

/*
 * The plan that makes everything committed so far stable, data included: it
 * has at least one barrier. IMAGE_E_BUSY while another plan is out. Followed
 * by image_flush_end in any case, which frees the plan; on failure the
 * metadata stays dirty and the next flush tries again.
 */
int image_flush_begin(struct image *image, struct image_plan *ret_plan);
void image_flush_end(struct image *image, struct image_plan *plan, int result);

/*
 * How many flushes have ended. A format that frees space notes the number that
 * its flush will have (flushes + 1 within flush_end) beside it.
 */
uint64_t image_flushes(const struct image *image);

/*
 * Every request that was mapped before flush number @flush ended has ended:
 * what that flush and earlier ones freed may be used again.
 */
void image_reclaim(struct image *image, uint64_t flush);

bool image_is_dirty(struct image *image);

/*
 * A number that moves whenever IMAGE_BUSY may have come to an end (commit,
 * provide, flush end). Read it before image_map; wait until it differs.
 */
uint64_t image_generation(const struct image *image);

/*
 * Asks to be told once when the generation is no longer @generation. Returns
 * false if that is so already (then @wake is not called). @wake runs on the
 * thread that moved the generation, with the image's lock held: it passes the
 * word on and calls nothing of the image. A waiter that is queued already
 * stays so.
 */
struct image_waiter {
	void (*wake)(struct image_waiter *waiter);
	struct image_waiter *next;
	bool queued;
};
bool image_wait(struct image *image, uint64_t generation,
		struct image_waiter *waiter);

/* Not told any more, once this returns. */
void image_unwait(struct image *image, struct image_waiter *waiter);

/* How much memory a journal of this image should have; 0: it needs none. */
size_t image_journal_bytes(const struct image *image);

/*
 * From now on what flushes have not made stable is recorded in @area, of
 * @bytes, 8-byte aligned, which stays valid until image_journal_detach. If a
 * process that was killed left records there, they are replayed and flushed
 * first. Memory that is too small is left alone. 0, a negative errno or
 * IMAGE_E_* with image_error; then there is no journal, @area is as it was, and
 * the image should not be served. Nothing may be under way; synchronous I/O.
 */
int image_journal_attach(struct image *image, void *area, size_t bytes);

/* Flushes, so that the journal's end loses nothing; the flush's result. */
int image_journal_detach(struct image *image);

/* Says what was wrong, after IMAGE_E_CORRUPT or IMAGE_E_UNSUPPORTED. */
const char *image_error(const struct image *image);

#endif
