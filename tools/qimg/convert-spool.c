/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A target for standard output that cannot be written from its beginning to its
 * end: how long compressed clusters become is known when all are there, and
 * the tables before them say where they lie. So it is made as a file in the
 * folder for temporary files, and sent when it is whole.
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
#include "tools/qimg/pipe.h"
#include "tools/qimg/temporary.h"

enum {
	PIECE_BYTES = 1 << 20,
};

static char *spool_path; /* or NULL: there is none */

bool convert_is_spooled(const struct convert *convert)
{
	const struct image_options *options = &convert->make.options;

	return !convert_is_stream(convert) &&
	       (convert->compress ||
		image_options_string(options, "encrypt.format", NULL));
}

int convert_spool_begin(struct convert *convert)
{
	const char *folder = getenv("TMPDIR");
	int fd;

	if (!folder || !*folder)
		folder = "/var/tmp";
	if (asprintf(&spool_path, "%s/qimg-XXXXXX", folder) < 0) {
		spool_path = NULL;
		return cli_error("out of memory");
	}
	fd = mkstemp(spool_path);
	if (fd < 0) {
		cli_error("%s: %s; TMPDIR names the folder for what is to be "
			  "sent",
			  spool_path, strerror(errno));
		free(spool_path);
		spool_path = NULL;
		return 1;
	}
	close(fd);
	if (!temporary_add(spool_path))
		return cli_error("%s: too many files at once", spool_path);
	convert->target_name = spool_path;
	convert->to_stdout = false;
	return 0;
}

/* As far as it comes: a negative errno says why it is not all. */
static int send_file(int fd, struct store *out, uint8_t *piece)
{
	uint64_t at = 0;

	for (;;) {
		ssize_t bytes = read(fd, piece, PIECE_BYTES);
		int err;

		if (bytes <= 0)
			return bytes < 0 ? -errno : pipe_finish(out, at);
		err = store_write(out, at, piece, bytes);
		if (err)
			return err;
		at += bytes;
	}
}

static int send_whole(int fd, uint64_t bytes)
{
	uint8_t *piece = malloc(PIECE_BYTES);
	struct pipe_runs whole = {0};
	struct store *out = NULL;
	int err = piece ? pipe_runs_add(&whole, 0, bytes, 0) : -ENOMEM;

	if (err == 0)
		out = pipe_new_writer(STDOUT_FILENO, bytes, &whole, NULL);
	if (err == 0)
		err = out ? send_file(fd, out, piece) : -ENOMEM;
	store_free(out);
	pipe_runs_deinit(&whole);
	free(piece);
	return err;
}

static int send_spool(void)
{
	int fd = open(spool_path, O_RDONLY | O_CLOEXEC);
	struct stat stat;
	int err;

	if (fd < 0 || fstat(fd, &stat) < 0) {
		cli_error("%s: %s", spool_path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return 1;
	}
	signal(SIGPIPE, SIG_IGN);
	err = send_whole(fd, stat.st_size);
	close(fd);
	return err ? cli_error("standard output: %s", strerror(-err)) : 0;
}

int convert_spool_end(int status)
{
	if (!spool_path)
		return status;
	if (status == 0)
		status = send_spool();
	(void)unlink(spool_path);
	temporary_forget(spool_path);
	free(spool_path);
	spool_path = NULL;
	return status;
}
