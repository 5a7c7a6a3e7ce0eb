/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Targets that can only be written from their beginning to their end, as
 * streamOptimized VMDK: the format gives us a store that takes the guest's bytes
 * and writes the image as it goes, to a file or to standard output.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/qimg/convert.h"
#include "tools/qimg/ova-write.h"
#include "tools/qimg/pipe.h"
#include "tools/qimg/progress.h"

bool convert_is_stream(const struct convert *convert)
{
	return convert->make.format &&
	       image_is_stream(convert->make.format, &convert->make.options);
}

int convert_stream_check(const struct convert *convert)
{
	if (convert->to_ova && convert->to_stdout)
		return cli_error("an OVA begins with how long its disk is: "
				 "write to a file");
	if (convert->has_backing)
		return cli_error("a stream has no backing image");
	if (convert->from_stdin)
		return cli_error("a stream begins with its disk's size, which "
				 "is not known of what comes through a pipe: "
				 "write to a raw file first");
	return 0;
}

static int finish(const struct convert_over *over)
{
	return over->end(over->store);
}

/* @name for messages; and which one the disk says that it has. */
static int stream_to(struct convert *convert, struct store *out,
		     const char *name, const char *path)
{
	const struct image_create_request request = {
		.store = out,
		.path = path,
		.size_bytes = convert->total_bytes,
		.options = &convert->make.options,
	};
	struct convert_over over = {.name = name, .finish = finish};
	struct image_stream stream;
	char *error = NULL;
	int status, err;

	err = image_stream(convert->make.format, &request, &stream, &error);
	if (err) {
		status = cli_error("%s", error ? error : strerror(-err));
		free(error);
		return status;
	}
	over.end = stream.end;
	over.store = stream.guest;
	over.unit_bytes = stream.unit_bytes;
	progress_begin(convert->total_bytes);
	status = convert_run_over(convert, &over);
	progress_end(status == 0);
	return status;
}

static int stream_to_stdout(struct convert *convert)
{
	struct pipe_runs all = {0};
	struct store *out = NULL;
	int status = 1;

	if (pipe_runs_add(&all, 0, INT64_MAX, 0) == 0)
		out = pipe_new_writer(STDOUT_FILENO, INT64_MAX, &all, NULL);
	if (out)
		status =
			stream_to(convert, out, "standard output", "disk.vmdk");
	else
		cli_error("out of memory");
	store_free(out);
	pipe_runs_deinit(&all);
	return status;
}

/* @out is the archive. */
static int stream_to_ova(struct convert *convert, struct store *out)
{
	struct store *disk = NULL;
	int status, err = ova_writer_new(out, convert->target_name,
					 convert->total_bytes, &disk);

	if (err)
		return cli_error("%s: %s", convert->target_name,
				 strerror(-err));
	status = stream_to(convert, disk, convert->target_name,
			   ova_writer_disk_name(disk));
	if (status == 0)
		err = ova_writer_end(disk);
	if (err)
		status = cli_error("%s: %s", convert->target_name,
				   strerror(-err));
	store_free(disk);
	return status;
}

static int stream_to_file(struct convert *convert, const char *path)
{
	struct store *out = NULL;
	char *error = NULL;
	int status, err = store_create_file(path, false, &out, &error);

	if (err) {
		status = cli_error("%s", error ? error : strerror(-err));
		free(error);
		return status;
	}
	status = convert->to_ova ? stream_to_ova(convert, out)
				 : stream_to(convert, out, convert->target_name,
					     convert->target_name);
	err = status || convert->no_sync ? 0 : store_flush(out);
	if (err)
		status = cli_error("%s: %s", convert->target_name,
				   strerror(-err));
	store_free(out);
	return status;
}

int convert_stream(struct convert *convert)
{
	/* All that a stream has is compressed, and in order. */
	convert->compress = false;
	convert->out_of_order = false;
	convert->reads_zero = true;
	return convert->to_stdout
		       ? stream_to_stdout(convert)
		       : stream_to_file(convert, convert_target_place());
}
