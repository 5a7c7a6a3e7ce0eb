/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The source comes through standard input, and nobody knows how much: the
 * target begins with some size, which is doubled whenever it is full, and cut to
 * what has come in the end. One that is there already (-n) has the size that it
 * has.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "image/manage.h"
#include "image/open.h"
#include "tools/qimg/convert.h"
#include "tools/qimg/pipe.h"
#include "tools/qimg/progress.h"

enum {
	FIRST_BYTES = 1 << 30
};

static const char name[] = "standard input";

/* A file that is read from its beginning has more to say than a pipe. */
bool convert_stdin_is_file(void)
{
	struct stat st;

	return fstat(STDIN_FILENO, &st) == 0 &&
	       (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) &&
	       lseek(STDIN_FILENO, 0, SEEK_CUR) == 0;
}

static void set_total(struct convert *convert, uint64_t bytes)
{
	struct convert_source *source = &convert->sources[0];

	source->image->size_bytes = bytes;
	source->bytes = align_up(bytes, SECTOR_BYTES);
	convert->total_bytes = source->bytes;
}

static void ended(void *opaque, uint64_t bytes)
{
	struct convert *convert = opaque;

	convert->stdin_ended = true;
	set_total(convert, bytes);
}

static int check(const struct convert *convert, const char *format)
{
	if (isatty(STDIN_FILENO))
		return cli_error("standard input is a terminal: no image comes "
				 "from there");
	if (!format || strcmp(format, "raw") != 0)
		return cli_error("what comes through a pipe has to be raw: say "
				 "so with -f raw");
	if (convert->verify)
		return cli_error("--verify wants a file as the source: a pipe "
				 "cannot be read again");
	if (convert->salvage)
		return cli_error("--salvage wants a file as the source: a pipe "
				 "cannot be read again");
	return 0;
}

int convert_stdin_open(struct convert *convert, const char *format)
{
	const struct image_open_options options = {.read_only = true};
	struct convert_source *source = &convert->sources[0];
	struct store *store;

	if (check(convert, format))
		return 1;
	store = pipe_new_reader(STDIN_FILENO, FIRST_BYTES, ended, convert);
	if (!store || raw_format.open(store, &options, &source->image, NULL)) {
		store_free(store);
		return cli_error("out of memory");
	}
	source->name = name;
	source->start = 0;
	convert->source_count = 1;
	convert->from_stdin = true;
	set_total(convert, FIRST_BYTES);
	return 0;
}

int convert_stdin_check_format(const struct format_request *make)
{
	const struct image_manage *manage = make->format->manage;

	if (!manage || !manage->resize)
		return cli_error("a %s image cannot grow as more comes: write "
				 "to a raw file first",
				 make->format->name);
	if (strcmp(image_options_string(&make->options, "preallocation", "off"),
		   "off") != 0)
		return cli_error("preallocation wants a file as the source: "
				 "how much comes is not known before");
	return 0;
}

static void set_window(struct convert *convert, uint64_t bytes)
{
	pipe_set_size(convert->sources[0].image->store, bytes);
	set_total(convert, bytes);
}

static int resize(struct convert *convert, uint64_t bytes)
{
	int err = image_resize(convert->target, bytes, IMAGE_PREALLOCATION_OFF);

	return err ? qimg_image_error(convert->target, convert->target_name,
				      err, "cannot be resized")
		   : 0;
}

static int grow(struct convert *convert)
{
	uint64_t bytes = convert->total_bytes;
	int status;

	if (bytes > INT64_MAX / 2)
		return cli_error("%s: more than any image can hold", name);
	status = resize(convert, 2 * bytes);
	if (status)
		return status;
	convert->begin_bytes = bytes;
	set_window(convert, 2 * bytes);
	return 0;
}

/* Whether nothing is left, now that the target is full. */
static int check_end(struct convert *convert)
{
	char byte;
	int err = store_read(convert->sources[0].image->store,
			     convert->total_bytes, &byte, 1);

	if (err)
		return cli_error("%s: %s", name, strerror(-err));
	return convert->stdin_ended
		       ? 0
		       : cli_error("output file is smaller than input file: "
				   "more than %s can hold came from %s",
				   convert->target_name, name);
}

int convert_stdin(struct convert *convert, bool fixed)
{
	int status;

	if (fixed)
		set_window(convert, align_down(convert->target->size_bytes,
					       SECTOR_BYTES));
	progress_begin(PROGRESS_UNKNOWN);
	status = convert_run(convert);
	while (status == 0 && !convert->stdin_ended && !fixed) {
		status = grow(convert);
		if (status == 0)
			status = convert_run(convert);
	}
	if (status == 0 && fixed && !convert->stdin_ended)
		status = check_end(convert);
	if (status == 0 && !fixed)
		status = resize(convert, convert->total_bytes);
	progress_end(status == 0);
	return status;
}
