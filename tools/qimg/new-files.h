/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Further files of an image that is being made, as the extents of a VMDK disk.
 * Each has a temporary name beside its own, which it gets when all of the image
 * is whole; an error or a signal before that leaves none of them. What is there
 * already under the name has to be a regular file that nobody uses, and is
 * locked until it is replaced, as the image's first file is.
 */
#ifndef QIMG_NEW_FILES_H
#define QIMG_NEW_FILES_H

#include "image/store.h"

struct new_file {
	char *path;
	char *temporary;	/* or NULL: it has its name */
	struct store *replaced; /* keeps the old file's lock; or NULL */
};

struct new_files {
	struct new_file *all; /* heap */
	size_t count;
	char suffix[32]; /* of temporary names */
};

/* @kind ends the temporary names: "part", "new". */
void new_files_init(struct new_files *files, const char *kind);

/* As new_file of struct image_create_request; @files is a struct new_files. */
int new_files_make(void *files, const char *path, struct store **ret_store,
		   char **ret_error);

/*
 * Gives them their names, with owner and mode of what they replace. Exit status,
 * after a message: those before the one it is about have their names already.
 */
int new_files_finish(struct new_files *files);

/* Removes what has not got its name. */
void new_files_deinit(struct new_files *files);

/* @from looks to others as @path did, where we may; nothing if that is absent. */
void new_file_keep_mode(const char *path, const char *from);

#endif
