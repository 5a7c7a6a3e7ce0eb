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

enum new_file_state {
	NEW_FILE_MADE,	    /* under the temporary name */
	NEW_FILE_NAMED,	    /* has its own name; nothing is to be removed */
	NEW_FILE_EXCHANGED, /* .. and what it replaces has the temporary one */
};

struct new_file {
	char *path;
	char *temporary;
	struct store *replaced; /* keeps the old file's lock; or NULL */
	enum new_file_state state;
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
 * Gives them their names, with owner and mode of what they replace, and then the
 * image's first file, which names them, its own: from @temporary to @path. @files may
 * be NULL. Exit status, after a message: no name is another one's than before,
 * unless the file system cannot exchange names, and what was replaced is gone.
 */
int new_files_finish(struct new_files *files, const char *temporary,
		     const char *path);

/* Removes what has not got its name, and what was replaced. */
void new_files_deinit(struct new_files *files);

/* @from looks to others as @path did, where we may; nothing if that is absent. */
void new_file_keep_mode(const char *path, const char *from);

#endif
