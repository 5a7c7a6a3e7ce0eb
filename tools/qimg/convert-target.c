/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The target: made under a temporary name beside its own, which it gets when it
 * is whole. Whatever ends us before, an error or a signal, the temporary file
 * goes and what had the name before stays.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/qimg/convert.h"

static char *final_path;	       /* to be replaced; or NULL */
static char *temporary_path;	       /* or NULL: written in place */
static const char *volatile to_remove; /* by the signal handler */
static struct store *replaced;	       /* keeps the old file's lock */

static void remove_and_die(int signal)
{
	struct sigaction action = {.sa_handler = SIG_DFL};

	if (to_remove)
		(void)unlink(to_remove);
	sigaction(signal, &action, NULL);
	raise(signal);
}

static void catch_signals(void)
{
	static const int deadly[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	const struct sigaction action = {.sa_handler = remove_and_die};

	for (size_t i = 0; i < sizeof(deadly) / sizeof(*deadly); i++)
		sigaction(deadly[i], &action, NULL);
}

static bool is_special(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && !S_ISREG(st.st_mode);
}

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
	convert->target = qimg_open(open);
	return convert->target ? 0 : 1;
}

int convert_target_make(struct convert *convert, const char *path)
{
	struct qimg_open open = {
		.format = convert->make.format->name,
		.cache = convert->cache,
	};
	int status;

	if (is_special(path)) {
		open.name = path;
		status = format_create(&convert->make, path, path);
		return status ? status : open_target(convert, &open);
	}
	final_path = resolve(path);
	if (!final_path || asprintf(&temporary_path, "%s.%d.part", final_path,
				    (int)getpid()) < 0)
		return cli_error("out of memory");
	if (claim(final_path))
		return 1;
	to_remove = temporary_path;
	catch_signals();
	status = format_create(&convert->make, temporary_path, final_path);
	open.name = temporary_path;
	return status ? status : open_target(convert, &open);
}

int convert_target_open(struct convert *convert, const struct qimg_open *open)
{
	return open_target(convert, open);
}

/* As the file that is replaced was, where we may. */
static void keep_mode(void)
{
	struct stat st;

	if (stat(final_path, &st) < 0)
		return;
	(void)chmod(temporary_path, st.st_mode & 07777);
	if (chown(temporary_path, st.st_uid, st.st_gid) < 0)
		return;
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
	keep_mode();
	if (rename(temporary_path, final_path) < 0)
		return cli_error("%s: %s", final_path, strerror(errno));
	to_remove = NULL;
	if (!convert->no_sync)
		sync_folder();
	return 0;
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
	if (temporary_path) {
		if (status == 0)
			status = give_name(convert);
		if (status)
			(void)unlink(temporary_path);
		to_remove = NULL;
	}
	store_free(replaced);
	free(temporary_path);
	free(final_path);
	replaced = NULL;
	temporary_path = final_path = NULL;
	return status;
}
