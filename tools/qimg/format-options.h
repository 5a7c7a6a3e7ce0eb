/* SPDX-License-Identifier: Apache-2.0 */
/* The format and options of an image that is to be made: -f or -O, -o, -b, -F. */
#ifndef QIMG_FORMAT_OPTIONS_H
#define QIMG_FORMAT_OPTIONS_H

#include "image/manage.h"
#include "tools/qimg/cli.h"
#include "tools/qimg/new-files.h"

struct format_request {
	const struct image_format *format;
	struct image_options options; /* without backing_file, backing_fmt */
	char *backing_name;	      /* or NULL */
	char *backing_format;	      /* or NULL */
	uint64_t size_bytes;	      /* 0: to be set by the caller */
	/*
	 * Takes the further files that the image needs, which are then the
	 * caller's to finish. NULL: format_create finishes them.
	 */
	struct new_files *files;
};

/*
 * Of @cli's -o, and -b or -B, -F; @name of the format, NULL: raw. -1 if all is
 * well; else the program's exit status, after a message or "-o help".
 */
int format_request_parse(const struct cli *cli, const char *name,
			 struct format_request *ret);
void format_request_deinit(struct format_request *request);

/* A name that QEMU has a driver for, and we have none; @name may be NULL. */
bool format_is_foreign(const char *name);

/*
 * "; did you mean \"qcow2\"?", if that is what @name may have meant, else "".
 * In a buffer that the next call uses again.
 */
const char *format_nearest(const char *name);

/* "-o help" of a format; @uses: IMAGE_OPTION_CREATE or _AMEND. */
void format_print_help(const struct image_format *format, unsigned uses);
bool format_is_help(const char *options);

/*
 * Makes the image in @store, which is empty and stays the caller's. Without
 * @request->files it has to be the only file.
 */
int format_create_in(const struct format_request *request, struct store *store,
		     const char *named);

/*
 * Where the file lies that the image at @path keeps its data in, if that is
 * still to be made; to be freed. NULL: none is to be made.
 */
char *format_new_data_file(const struct format_request *request,
			   const char *path);

/* What is there already and is no regular file: a device, an export. */
bool format_is_in_place(const char *path);

/*
 * Makes the image at @path: under a temporary name beside it, which is renamed
 * when the image is whole, unless it is written in place. Exit status; on failure
 * nothing is left. @named: what the image's own fields should see as its path.
 */
int format_create(const struct format_request *request, const char *path,
		  const char *named);

#endif
