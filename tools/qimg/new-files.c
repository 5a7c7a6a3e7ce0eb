/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/qimg/new-files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/qimg/cli.h"
#include "tools/qimg/temporary.h"

void new_files_init(struct new_files *files, const char *kind)
{
	*files = (struct new_files){0};
	snprintf(files->suffix, sizeof(files->suffix), ".%d.%s", (int)getpid(),
		 kind);
}

/* Not what a link leads to: the disk names this very file. */
static int claim(const char *path, struct store **ret, char **ret_error)
{
	const struct store_file_options options = {.no_links = true};
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0
				       : store_fail(ret_error, -errno, "%s: %s",
						    path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return store_fail(ret_error, -EEXIST,
				  "%s: it is there, is no regular file, and "
				  "would have to be replaced",
				  path);
	return store_open_file(path, &options, ret, ret_error);
}

static struct new_file *add(struct new_files *files, const char *path)
{
	struct new_file *grown =
		reallocarray(files->all, files->count + 1, sizeof(*grown));
	struct new_file *file;

	if (!grown)
		return NULL;
	files->all = grown;
	file = &grown[files->count];
	*file = (struct new_file){.path = strdup(path)};
	if (!file->path ||
	    asprintf(&file->temporary, "%s%s", path, files->suffix) < 0) {
		free(file->path);
		return NULL;
	}
	files->count++;
	return file;
}

int new_files_make(void *opaque, const char *path, struct store **ret_store,
		   char **ret_error)
{
	struct store *replaced = NULL;
	struct new_file *file;
	int err = claim(path, &replaced, ret_error);

	if (err)
		return err;
	file = add(opaque, path);
	if (!file) {
		store_free(replaced);
		return -ENOMEM;
	}
	file->replaced = replaced;
	if (!temporary_add(file->temporary))
		return store_fail(ret_error, -EMFILE,
				  "%s: too many files at once", path);
	return store_create_file(file->temporary, false, ret_store, ret_error);
}

void new_file_keep_mode(const char *path, const char *from)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return;
	(void)chmod(from, st.st_mode & 07777);
	if (chown(from, st.st_uid, st.st_gid) < 0)
		return;
}

/* What is replaced is kept until all have their names. 0 or a negative errno. */
static int give_name(struct new_file *file)
{
	new_file_keep_mode(file->path, file->temporary);
	if (file->replaced && renameat2(AT_FDCWD, file->temporary, AT_FDCWD,
					file->path, RENAME_EXCHANGE) == 0) {
		file->state = NEW_FILE_EXCHANGED;
		return 0;
	}
	if (file->replaced && errno != EINVAL && errno != ENOSYS)
		return -errno;
	if (rename(file->temporary, file->path) < 0)
		return -errno;
	file->state = NEW_FILE_NAMED;
	return 0;
}

static void take_name_back(struct new_file *file)
{
	int result = 0;

	if (file->state == NEW_FILE_EXCHANGED)
		result = renameat2(AT_FDCWD, file->path, AT_FDCWD,
				   file->temporary, RENAME_EXCHANGE);
	else if (file->state == NEW_FILE_NAMED && !file->replaced)
		result = rename(file->path, file->temporary);
	else
		return;
	if (result == 0) {
		file->state = NEW_FILE_MADE;
		return;
	}
	cli_error("%s: the new file has this name, and its disk is not whole: "
		  "%s%s%s",
		  file->path, strerror(errno),
		  file->replaced ? "; the old one is " : "",
		  file->replaced ? file->temporary : "");
	/* Which is all there is of it. */
	temporary_forget(file->temporary);
	file->state = NEW_FILE_NAMED;
}

static int fail(struct new_files *files, const char *path, int err)
{
	cli_error("%s: %s", path, strerror(-err));
	for (size_t i = files ? files->count : 0; i-- > 0;)
		take_name_back(&files->all[i]);
	return 1;
}

int new_files_finish(struct new_files *files, const char *temporary,
		     const char *path)
{
	for (size_t i = 0; files && i < files->count; i++) {
		int err = give_name(&files->all[i]);

		if (err)
			return fail(files, files->all[i].path, err);
	}
	if (rename(temporary, path) < 0)
		return fail(files, path, -errno);
	return 0;
}

void new_files_deinit(struct new_files *files)
{
	for (size_t i = 0; i < files->count; i++) {
		struct new_file *file = &files->all[i];

		if (file->state != NEW_FILE_NAMED)
			(void)unlink(file->temporary);
		temporary_forget(file->temporary);
		free(file->temporary);
		free(file->path);
		store_free(file->replaced);
	}
	free(files->all);
	*files = (struct new_files){0};
}
