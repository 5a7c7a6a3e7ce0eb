/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The target: made under a temporary name beside its own, which it gets when it
 * is whole. Whatever ends us before, an error or a signal, the temporary file
 * goes and what had the name before stays.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/qimg/convert.h"
#include "tools/qimg/temporary.h"

static char *final_path;       /* to be replaced; or NULL */
static char *temporary_path;   /* or NULL: written in place */
static char *data_path;	       /* of a data file that we make; or NULL */
static struct new_files files; /* further ones of the target */
static struct store *replaced; /* keeps the old file's lock */

/* Where @path leads: a link stays, what it names is replaced. */
static char *resolve(const char *path)
{
	char *real = realpath(path, NULL);

	return real ? real : strdup(path);
}

/* Nobody may be using what is to be replaced. */
static int claim(const char *path)
{
	const struct store_file_options options = {0};
	char *error = NULL;
	int err;

	if (access(path, F_OK) < 0)
		return 0;
	err = store_open_file(path, &options, &replaced, &error);
	if (err)
		cli_error("%s", error ? error : strerror(-err));
	free(error);
	return err ? 1 : 0;
}

static int open_target(struct convert *convert, const struct qimg_open *open)
{
	convert->opened = *open;
	convert->target = qimg_open(open);
	return convert->target ? 0 : 1;
}

/* Where it is to lie, and a temporary name. */
static int choose_names(struct convert *convert, const char *path)
{
	final_path = resolve(path);
	if (!final_path || asprintf(&temporary_path, "%s.%d.part", final_path,
				    (int)getpid()) < 0)
		return cli_error("out of memory");
	if (claim(final_path))
		return 1;
	new_files_init(&files, "part");
	convert->make.files = &files;
	data_path = format_new_data_file(&convert->make, final_path);
	if (!temporary_add(temporary_path) ||
	    (data_path && !temporary_add(data_path)))
		return cli_error("%s: too many files at once", path);
	return 0;
}

int convert_target_make(struct convert *convert, const char *path)
{
	struct qimg_open open = {
		.format = convert->make.format->name,
		.cache = convert->cache,
	};
	int status;

	if (format_is_in_place(path)) {
		open.name = convert->target_name;
		status = format_create(&convert->make, path, path);
		return status ? status : open_target(convert, &open);
	}
	status = choose_names(convert, path);
	if (status)
		return status;
	status = format_create(&convert->make, temporary_path, final_path);
	open.name = temporary_path;
	open.unfinished = files.suffix;
	return status ? status : open_target(convert, &open);
}

int convert_target_reserve(struct convert *convert, const char *path)
{
	if (format_is_in_place(path))
		return cli_error("%s: a stream has to end where its file ends: "
				 "write to a regular file or to a pipe",
				 path);
	if (choose_names(convert, path))
		return 1;
	convert->opened = (struct qimg_open){
		.name = temporary_path,
		.format = convert->to_ova ? "ova" : convert->make.format->name,
		.cache = convert->cache,
	};
	return 0;
}

const char *convert_target_place(void)
{
	return temporary_path;
}

int convert_target_open(struct convert *convert, const struct qimg_open *open)
{
	return open_target(convert, open);
}

/*
 * What was written is stable, and not in the page cache any more, as far as
 * the kernel can be asked to: another process may keep it there, and files in
 * memory have no other place.
 */
static int drop_cache(struct store *store)
{
	if (store->fd < 0)
		return 0;
	if (fdatasync(store->fd) < 0)
		return -errno;
	(void)posix_fadvise(store->fd, store->fd_offset, 0,
			    POSIX_FADV_DONTNEED);
	return 0;
}

/* The same of a file that is no open image. */
static int drop_file(const char *name)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	int err = fd < 0 || fdatasync(fd) < 0 ? -errno : 0;

	if (fd < 0)
		return err;
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
	return err;
}

/* Whether the file can be read past the page cache. */
static bool takes_direct(const char *name)
{
	int fd = open(name, O_RDONLY | O_DIRECT | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

int convert_target_reopen(struct convert *convert)
{
	struct image *image = convert->target;
	char *path =
		qimg_path(convert->opened.name, convert->opened.image_opts);
	int err = 0;

	for (size_t i = 0; image && i < image_store_count(image) && err == 0;
	     i++)
		if (image_store_at(image, i))
			err = drop_cache(image_store_at(image, i));
	convert->target = NULL;
	if (!path || (image && !qimg_close(image, convert->target_name))) {
		free(path);
		return 1;
	}
	convert->opened.read_only = true;
	if (!image)
		err = drop_file(path);
	/* A disk in an archive does not begin where a block does. */
	convert->opened.cache.direct = !convert->to_ova && takes_direct(path);
	free(path);
	if (err)
		return cli_error("%s: what was written could not be made "
				 "stable: %s",
				 convert->target_name, strerror(-err));
	return open_target(convert, &convert->opened);
}

static void sync_folder(void)
{
	char *slash = strrchr(final_path, '/');
	char *folder = slash ? strndup(final_path, slash - final_path + 1)
			     : strdup(".");
	int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (fd >= 0) {
		(void)fsync(fd);
		close(fd);
	}
	free(folder);
}

static int give_name(const struct convert *convert)
{
	int status;

	new_file_keep_mode(final_path, temporary_path);
	temporary_hold();
	/* From here on it belongs to an image that is whole. */
	temporary_forget(data_path);
	status = new_files_finish(&files, temporary_path, final_path);
	temporary_release();
	if (status == 0 && !convert->no_sync)
		sync_folder();
	return status;
}

/* It stays, unless @status says that all was for nothing. */
static void give_up(char **path, int status)
{
	if (!*path)
		return;
	if (status)
		(void)unlink(*path);
	temporary_forget(*path);
	free(*path);
	*path = NULL;
}

int convert_target_end(struct convert *convert, int status)
{
	/* What is thrown away need not be made stable, nor said to be not. */
	if (convert->target && status)
		(void)image_close(convert->target);
	else if (convert->target &&
		 !qimg_close(convert->target, convert->target_name))
		status = 1;
	convert->target = NULL;
	if (temporary_path && status == 0)
		status = give_name(convert);
	new_files_deinit(&files);
	give_up(&temporary_path, status);
	give_up(&data_path, status);
	store_free(replaced);
	free(final_path);
	replaced = NULL;
	final_path = NULL;
	return status;
}
