/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which image is meant: a path, "file:PATH", an address such as
 * "nbd://HOST/EXPORT" (image/nbd-address.h), "json:{…}", or with --image-opts a
 * list of "name=value"; how it is to be opened; and the secrets that were
 * given with --object.
 */
#ifndef QIMG_SPEC_H
#define QIMG_SPEC_H

#include "image/open.h"
#include "image/option.h"
#include "tools/qimg/cli.h"

/* Keys of options that several sub-commands share. */
enum {
	QIMG_OBJECT = CLI_FIRST_KEY,
	QIMG_IMAGE_OPTS,
	QIMG_OUTPUT,
	QIMG_PROGRESS,
	QIMG_FIRST_OWN_KEY,
};

#define QIMG_OPTION_OBJECT                                              \
	{                                                               \
		QIMG_OBJECT, "object", CLI_TEXT, "OBJECT",              \
			"a secret: secret,id=ID,data=TEXT or file=PATH" \
	}
#define QIMG_OPTION_IMAGE_OPTS                                               \
	{                                                                    \
		QIMG_IMAGE_OPTS, "image-opts", CLI_FLAG, NULL,               \
			"the image is given as driver=…,file.filename=…" \
	}
#define QIMG_OPTION_OUTPUT                                                   \
	{                                                                    \
		QIMG_OUTPUT, "output", CLI_OUTPUT, "FORMAT", "human or json" \
	}
#define QIMG_OPTION_FORMAT                                                 \
	{                                                                  \
		'f', "format", CLI_FORMAT, "FORMAT",                       \
			"the image's format (default: by its first bytes)" \
	}
#define QIMG_OPTION_QUIET                                           \
	{                                                           \
		'q', NULL, CLI_FLAG, NULL, "say nothing but errors" \
	}
#define QIMG_OPTION_SHARE                                         \
	{                                                         \
		'U', "force-share", CLI_FLAG, NULL,               \
			"do not care if others have it open, too" \
	}
#define QIMG_OPTION_CACHE(letter)                                           \
	{                                                                   \
		letter, NULL, CLI_CACHE, "MODE",                            \
			"none, writeback, writethrough, directsync, unsafe" \
	}

/* How caches are used, as -t and -T say. */
struct qimg_cache {
	bool direct;	   /* O_DIRECT */
	bool writethrough; /* flush after each write */
	bool no_flush;	   /* never flush */
};

/* False, with a message, for a mode that is none. */
bool qimg_cache_parse(const char *mode, struct qimg_cache *ret);

/* The name of mode number @i, from 0; NULL after the last one. */
const char *qimg_cache_name(size_t i);

/* As -l names one: see image_open_options. */
struct qimg_snapshot {
	const char *any;
	const char *id;
	const char *name;
	struct image_options options; /* which the texts belong to */
};

struct qimg_open {
	const char *name;   /* as it was typed */
	const char *format; /* -f, or NULL */
	bool image_opts;
	bool read_only;
	bool no_backing;
	unsigned writable_depth; /* see image_open_request */
	bool check;		 /* see image_open_options */
	bool share;		 /* -U */
	bool verify_ova;	 /* of a disk in an OVA: by the manifest */
	bool no_key;		 /* metadata only: no secret is needed */
	const struct qimg_snapshot *snapshot; /* or NULL */
	struct qimg_cache cache;
	const char *unfinished; /* see image_open_request; or NULL */
	const char *wanted_by; /* named first if it cannot be opened, or NULL */
};

/* Takes --object of @cli in. False, with a message. */
bool qimg_secrets_add(const struct cli *cli);
const struct image_secret *qimg_secrets(void);

/* The image, or NULL with a message. */
struct image *qimg_open(const struct qimg_open *open);

/*
 * The plain path that @name stands for, or the address: "file:" is taken off;
 * that of a json: or --image-opts name is found in it. NULL, with a message, if
 * it has none. To be freed.
 */
char *qimg_path(const char *name, bool image_opts);

/* Whether @path, as qimg_path gave it, is the address of an export. */
bool qimg_is_remote(const char *path);

/*
 * As `info` shows it: the path if that says all, else what was said as
 * "json:{…}", as QEMU does. NULL, with a message; to be freed.
 */
char *qimg_shown_name(const char *name, bool image_opts);

/* @name as the image at @path means it, from its folder. To be freed. */
char *qimg_path_beside(const char *path, const char *name);

/*
 * Where the image @depth below @top lies, as its chain names it from the path of
 * the top one on. To be freed.
 */
char *qimg_path_below(const struct image *top, const char *path,
		      unsigned depth);

/*
 * @text, of -l, is an id or a name, or "snapshot.id=ID,snapshot.name=NAME", and
 * borrowed until qimg_snapshot_deinit. NULL: none. False, with a message.
 */
bool qimg_snapshot_parse(const char *text, struct qimg_snapshot *ret);
void qimg_snapshot_deinit(struct qimg_snapshot *snapshot);

/* Closes; a message and false if what was written could not be made stable. */
bool qimg_close(struct image *image, const char *name);

/*
 * Closes at the end of what had the exit status @status, and returns that of
 * both; says something only if nothing was said before.
 */
int qimg_end(struct image *image, const char *name, int status);

/* Why a request on @image (or NULL) had this outcome, as a phrase. */
const char *qimg_image_reason(const struct image *image, int err);

/* The same of a call that changes @image: what it minds, if it says that. */
const char *qimg_image_words(const struct image *image, int err);

/* "name: what: why" for the outcome of a call on @image. Returns 1. */
int qimg_image_error(struct image *image, const char *name, int err,
		     const char *what);

#endif
