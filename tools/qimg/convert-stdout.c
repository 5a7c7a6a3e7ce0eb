/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The target goes to standard output, from its beginning to its end, and
 * nothing can be put right afterwards. A raw one is written as it comes. An
 * image needs its tables before its data:
 *
 * 1. the copy runs over a store that only notes where data would be written;
 * 2. an image is made in memory, and room mapped in it for just that, in order:
 *    its metadata is what it will be, its data is not there;
 * 3. the copy runs again; what it writes is sent to where that image has it,
 *    and the image's metadata in between.
 *
 * So nothing is written but the output, and the source is read twice. No
 * format is known here: it has to map room in ascending order, which is seen
 * to when it is sent.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "image/open.h"
#include "tools/qimg/convert.h"
#include "tools/qimg/pipe.h"
#include "tools/qimg/progress.h"

static const char name[] = "standard output";

/* --- What cannot be --- */

int convert_stdout_check(const struct convert *convert)
{
	if (isatty(STDOUT_FILENO))
		return cli_error("standard output is a terminal: no place for "
				 "an image");
	/* Its name would be looked for beside a file. */
	if (convert->has_backing)
		return cli_error("a target on standard output has no backing "
				 "image: write to a file");
	if (image_options_string(&convert->make.options, "data_file", NULL))
		return cli_error("a data file wants a file as the target, too");
	if (convert_is_spooled(convert))
		return 0;
	if (convert->from_stdin)
		return cli_error("from standard input to standard output there "
				 "is nothing to convert");
	if (strcmp(image_options_string(&convert->make.options, "preallocation",
					"off"),
		   "off") != 0)
		return cli_error("preallocation wants a file as the target");
	if (convert->verify)
		return cli_error("--verify wants a file as the target: a pipe "
				 "cannot be read again");
	return 0;
}

/* --- Passes --- */

int convert_run_over(struct convert *convert, const struct convert_over *over)
{
	const struct image_open_options options = {0};
	int status, err;

	if (!over->store)
		return cli_error("out of memory");
	err = raw_format.open(over->store, &options, &convert->target, NULL);
	if (err) {
		store_free(over->store);
		return cli_error("%s: %s", over->name, strerror(-err));
	}
	convert->target->cluster_bytes = over->unit_bytes;
	status = convert_run(convert);
	err = status || !over->finish ? 0 : over->finish(over);
	if (err)
		status = cli_error("%s: %s", over->name, strerror(-err));
	(void)image_close(convert->target);
	convert->target = NULL;
	return status;
}

static int finish(const struct convert_over *over)
{
	return pipe_finish(over->store, over->finish_bytes);
}

static int send_raw(struct convert *convert)
{
	struct pipe_runs whole = {0};
	uint64_t bytes = convert->total_bytes;
	struct convert_over over = {
		.name = name,
		.finish = finish,
		.finish_bytes = bytes,
	};
	int status;

	if (pipe_runs_add(&whole, 0, bytes, 0))
		return cli_error("out of memory");
	progress_begin(bytes);
	over.store = pipe_new_writer(STDOUT_FILENO, bytes, &whole, NULL);
	status = convert_run_over(convert, &over);
	progress_end(status == 0);
	pipe_runs_deinit(&whole);
	return status;
}

/* --- The image in memory --- */

/* A store over @fd, of a file in memory, which is sparse; NULL with a message. */
static struct store *open_memory(int fd)
{
	const struct store_file_options options = {.no_lock = true};
	char path[64], *error = NULL;
	struct store *store = NULL;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (store_open_file(path, &options, &store, &error))
		cli_error("memory: %s", error ? error : "cannot be opened");
	free(error);
	return store;
}

static struct image *new_image(struct convert *convert, int fd)
{
	const struct image_open_options options = {
		.secrets = qimg_secrets(),
	};
	const struct image_format *format = convert->make.format;
	struct store *store = open_memory(fd);
	struct image *image = NULL;
	char *error = NULL;
	int err;

	if (!store)
		return NULL;
	if (format_create_in(&convert->make, store, name)) {
		store_free(store);
		return NULL;
	}
	err = format->open(store, &options, &image, &error);
	if (err) {
		cli_error("%s: %s", name, error ? error : strerror(-err));
		store_free(store);
	} else if (image->file_count) {
		cli_error("an image that lies in several files wants a file as "
			  "the target");
		(void)image_close(image);
		image = NULL;
	}
	free(error);
	return image;
}

/* Room for [offset, offset + *@length), as far as it goes in a row. */
static int map_once(struct image *image, uint64_t offset, uint64_t *length,
		    struct pipe_runs *places)
{
	struct image_extent extent;
	int err = image_map(image, IMAGE_WRITE, offset, *length, &extent);

	*length = 0;
	if (err)
		return err;
	switch (extent.kind) {
	case IMAGE_NEED:
		return image_read_need(image, &extent);
	case IMAGE_MUST_FLUSH:
		return image_flush_sync(image);
	case IMAGE_ALLOCATE:
		err = image_commit(image, &extent, 0);
		break;
	case IMAGE_DATA:
		break;
	default:
		return -EIO;
	}
	*length = extent.length;
	return err ? err
		   : pipe_runs_add(places, offset, extent.length,
				   extent.host_offset);
}

/* A piece of data takes whole clusters; two that touch one share it. */
static int map_all(struct image *image, const struct pipe_runs *data,
		   struct pipe_runs *places)
{
	uint64_t unit = MAX(image->cluster_bytes, 1u);
	uint64_t at = 0;

	for (size_t i = 0; i < data->count; i++) {
		const struct pipe_run *run = &data->all[i];
		uint64_t end = MIN(align_up(run->offset + run->length, unit),
				   image->size_bytes);
		uint64_t length;

		at = MAX(at, align_down(run->offset, unit));
		for (; at < end; at += length) {
			int err;

			length = end - at;
			err = map_once(image, at, &length, places);
			if (err)
				return err;
		}
	}
	return image_flush_sync(image);
}

/* Makes the image in @fd, with room for @data, and tells where that is. */
static int lay_out(struct convert *convert, int fd,
		   const struct pipe_runs *data, struct pipe_runs *places)
{
	struct image *image = new_image(convert, fd);
	int err;

	if (!image)
		return 1;
	err = map_all(image, data, places);
	if (err) {
		qimg_image_error(image, name, err, "cannot be laid out");
		(void)image_close(image);
		return 1;
	}
	return qimg_close(image, name) ? 0 : 1;
}

/* The data may go further than the metadata. */
static uint64_t end_of(const struct pipe_runs *places,
		       const struct store *between)
{
	uint64_t end = between->size_bytes;

	for (size_t i = 0; i < places->count; i++)
		end = MAX(end,
			  places->all[i].host_offset + places->all[i].length);
	return end;
}

static int send_places(struct convert *convert, int fd,
		       const struct pipe_runs *places)
{
	struct store *between = open_memory(fd);
	struct convert_over over = {.name = name, .finish = finish};
	uint64_t bytes = convert->total_bytes;
	int status;

	if (!between)
		return 1;
	over.finish_bytes = end_of(places, between);
	over.store = pipe_new_writer(STDOUT_FILENO, bytes, places, between);
	progress_begin(bytes);
	status = convert_run_over(convert, &over);
	progress_end(status == 0);
	store_free(between);
	return status;
}

static int send_image(struct convert *convert)
{
	struct pipe_runs data = {0}, places = {0};
	struct convert_over over = {.name = name};
	int fd = memfd_create("qimg", MFD_CLOEXEC);
	int status;

	if (fd < 0)
		return cli_error("memory: %s", strerror(errno));
	over.store = pipe_new_note(convert->total_bytes, &data);
	status = convert_run_over(convert, &over);
	if (status == 0)
		status = lay_out(convert, fd, &data, &places);
	if (status == 0)
		status = send_places(convert, fd, &places);
	pipe_runs_deinit(&data);
	pipe_runs_deinit(&places);
	close(fd);
	return status;
}

int convert_stdout(struct convert *convert)
{
	/* An end of the reader is an error of ours, with a message. */
	signal(SIGPIPE, SIG_IGN);
	convert->reads_zero = true;
	convert->out_of_order = false;
	if (convert_is_stream(convert))
		return convert_stream(convert);
	return convert->make.format == &raw_format ? send_raw(convert)
						   : send_image(convert);
}
