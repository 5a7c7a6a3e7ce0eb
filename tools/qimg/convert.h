/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qimg convert, from inside: convert.c reads the command line and brings
 * sources and target together; convert-target.c makes the target, and takes it
 * away again; convert-walk.c finds what is to be copied; convert-copy.c copies
 * it, with many requests under way; convert-clone.c lets the file system do so.
 * convert-stdin.c and convert-stdout.c are for sources and targets that are "-",
 * convert-stream.c for targets that can only be written in one go.
 * dd.c has a command line of its own, and copies a part of one source.
 */
#ifndef QIMG_CONVERT_H
#define QIMG_CONVERT_H

#include "image/codec-pool.h"
#include "image/executor.h"
#include "tools/qimg/format-options.h"
#include "tools/qimg/spec.h"

enum {
	CONVERT_MAX_SOURCES = 256,
	CONVERT_SLOTS = 8,     /* unless -m says so */
	CONVERT_SPARSE = 4096, /* unless -S says so */
	CONVERT_MIN_SLOTS = 8,
	CONVERT_MAX_SLOTS = 16, /* as many as -m may ask for */
	/*
	 * Or a cluster of the target. Larger ones are no faster: what is read is
	 * written while it is in the processor's cache.
	 */
	CONVERT_PIECE_BYTES = 256 << 10,
	SECTOR_BYTES = 512,
};

struct convert_source {
	const char *name;
	struct image *image;
	struct executor *executor;
	uint64_t start; /* of its first byte in the target */
	uint64_t from;	/* which byte of the image that is; mostly 0 */
	uint64_t bytes; /* past the image's end they are zeroes */
};

struct convert {
	const char *target_name; /* as it was typed */
	struct qimg_open opened; /* how the target was opened */
	struct format_request make;
	struct image *target;
	struct executor *executor;
	struct loop *loop;
	struct codec_pool *pool;
	struct convert_source sources[CONVERT_MAX_SOURCES];
	size_t source_count;
	uint64_t begin_bytes; /* where the copy begins; mostly 0 */
	uint64_t total_bytes; /* where it ends */
	/* Options. */
	bool compress;
	bool copy_range;   /* -C */
	bool out_of_order; /* -W */
	bool salvage;
	bool has_backing; /* -B: what the source's top lacks is left out */
	bool reads_zero;  /* what is not written reads as zeroes */
	bool no_sync;	  /* -t unsafe */
	bool verify;	  /* --verify */
	bool from_stdin;  /* through a pipe */
	bool stdin_ended; /* and total_bytes is how much that was */
	bool to_stdout;
	bool to_ova;
	uint64_t sparse;	 /* -S; 0: write zeroes, too */
	unsigned slots;		 /* -m */
	uint64_t rate_bytes;	 /* a second, -r; 0: no limit */
	struct qimg_cache cache; /* -t */
	int clones;		 /* see convert-clone.c */
};

/* --- convert.c --- */

/*
 * Brings the executors up, copies from begin_bytes to total_bytes, and takes
 * them down. The exit status, after a message.
 */
int convert_run(struct convert *convert);

/* Whether a target without a backing image, just made, reads as zeroes. */
bool convert_is_blank(const struct image *target);

/* --- convert-target.c --- */

/* All print a message and answer with the exit status. */

/* Makes and opens the target, under a temporary name unless it is a device. */
int convert_target_make(struct convert *convert, const char *path);

/*
 * For one that is not made by its format alone: chooses its temporary name, which
 * is what convert_target_reopen opens.
 */
int convert_target_reserve(struct convert *convert, const char *path);

/* That name; NULL if there is none. */
const char *convert_target_place(void);

/* Opens one that is there already, -n. */
int convert_target_open(struct convert *convert, const struct qimg_open *open);

/*
 * Closes it if it is open, and opens it as somebody would who reads it from the
 * disk.
 */
int convert_target_reopen(struct convert *convert);

/* Closes it; and, if @status is 0, gives it its name, or takes it away. */
int convert_target_end(struct convert *convert, int status);

/* --- convert-walk.c --- */

enum convert_kind {
	CONVERT_SKIP, /* the target has it already */
	CONVERT_ZERO, /* zeroes to be written */
	CONVERT_DATA,
	CONVERT_END,
};

struct convert_piece {
	enum convert_kind kind;
	uint64_t offset; /* in the target */
	uint64_t length;
	struct convert_source *source; /* DATA */
	/* DATA that lies as it is at @host_offset of @store; else NULL. */
	struct store *store;
	uint64_t host_offset;
	/*
	 * To be handed to convert_clone, and larger than a slot can take: what
	 * is not cloned is given back.
	 */
	bool whole;
};

struct convert_walk {
	struct convert *convert;
	uint64_t at;
	size_t source;		    /* index of the current one */
	struct convert_piece known; /* of which the next pieces are cut */
	uint64_t plain_until;	    /* no piece before this is a whole one */
};

/*
 * The next piece. 0, or a negative errno or IMAGE_E_* of reading the source;
 * -EAGAIN: to be asked again when a request on the source has ended.
 */
int convert_walk_next(struct convert_walk *walk, struct convert_piece *ret);

/*
 * The last piece was a whole one, and its first @done bytes are: the rest comes
 * again, in pieces for slots.
 */
void convert_walk_give_back(struct convert_walk *walk,
			    const struct convert_piece *piece, uint64_t done);

/* The unit in which the target takes data: its cluster, or a sector. */
uint64_t convert_unit(const struct convert *convert);

/* --- convert-copy.c --- */

int convert_copy(struct convert *convert);

/* --- convert-verify.c --- */

/* Reads both sides again and compares. */
int convert_verify(struct convert *convert);

/* --- convert-bitmaps.c --- */

/* Before anything is written: whether the source's bitmaps can be copied. */
int convert_bitmaps_check(struct convert *convert, bool skip_broken);

/* After the data; no executor is at work any more. */
int convert_bitmaps_copy(struct convert *convert);

/* --- convert-stdin.c --- */

bool convert_stdin_is_file(void);

/* Makes it the only source; @format is what -f says. Exit status. */
int convert_stdin_open(struct convert *convert, const char *format);

/* Whether such a target can be made for it. Exit status. */
int convert_stdin_check_format(const struct format_request *make);

/* Copies; the target's size is @fixed, or follows. Exit status. */
int convert_stdin(struct convert *convert, bool fixed);

/* --- convert-stdout.c --- */

/* Whether it goes with the options: convert->make, too. Exit status. */
int convert_stdout_check(const struct convert *convert);

/* Makes and sends it; no target is open. Exit status. */
int convert_stdout(struct convert *convert);

/* A store that is gone through from its beginning to its end, as a target. */
struct convert_over {
	const char *name;    /* for messages */
	struct store *store; /* is freed; NULL: there is no memory */
	uint32_t unit_bytes; /* in which it takes data; 0: any */
	/* What is to be done when all is written, or NULL: 0 or an errno. */
	int (*finish)(const struct convert_over *over);
	/* For finish. */
	uint64_t finish_bytes;
	int (*end)(struct store *store);
};

/* Copies to @over. Exit status. */
int convert_run_over(struct convert *convert, const struct convert_over *over);

/* --- convert-spool.c --- */

/* Whether what is to go to standard output has to be made as a file first. */
bool convert_is_spooled(const struct convert *convert);

/*
 * The target is a file in the folder for temporary files from now on, which
 * convert_spool_end sends if @status is 0, and takes away. The other one does
 * nothing if there is none. Exit status, after a message.
 */
int convert_spool_begin(struct convert *convert);
int convert_spool_end(int status);

/* --- convert-stream.c --- */

/* Whether the target can only be written in one go. */
bool convert_is_stream(const struct convert *convert);

/* Before it is made. Exit status. */
int convert_stream_check(const struct convert *convert);

/*
 * Makes and copies it: to standard output, or to the file that
 * convert_target_reserve chose. No target is open, before or after.
 */
int convert_stream(struct convert *convert);

/* --- convert-clone.c --- */

/* Whether the file system may be able to. */
bool convert_may_clone(const struct convert *convert,
		       const struct convert_piece *piece);

/* Has the file system copy @piece; how many bytes, from its beginning, it did. */
uint64_t convert_clone(struct convert *convert,
		       const struct convert_piece *piece);

#endif
