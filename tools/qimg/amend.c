/* SPDX-License-Identifier: Apache-2.0 */
/* qimg amend: changes the options of an image. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "image/manage.h"
#include "tools/qimg/commands.h"
#include "tools/qimg/format-options.h"
#include "tools/qimg/output.h"
#include "tools/qimg/progress.h"
#include "tools/qimg/spec.h"

enum {
	FORCE = QIMG_FIRST_OWN_KEY,
};

static const struct cli_option options[] = {
	{'o', NULL, CLI_OPTIONS, "OPTIONS",
	 "name=value, ...; \"help\" lists those that can be changed"},
	{FORCE, "force", CLI_FLAG, NULL, "even if data may become unreadable"},
	QIMG_OPTION_PROGRESS,
	QIMG_OPTION_CACHE('t'),
	QIMG_OPTION_FORMAT,
	QIMG_OPTION_QUIET,
	QIMG_OPTION_OBJECT,
	QIMG_OPTION_IMAGE_OPTS,
	{0},
};

static int parse(const struct cli *cli, struct image_options *ret)
{
	char *error = NULL;

	for (size_t i = 0; i < cli->count; i++) {
		if (cli->arguments[i].key != 'o')
			continue;
		if (image_options_parse(ret, cli->arguments[i].value, &error)) {
			cli_error("%s", error ? error : "out of memory");
			free(error);
			return 1;
		}
	}
	/* That is more than a word in the header: the data has to match. */
	if (image_options_string(ret, "backing_file", NULL) ||
	    image_options_string(ret, "backing_fmt", NULL))
		return cli_error("Cannot amend the backing file\nYou can use "
				 "'%s rebase' instead.",
				 cli_program);
	return 0;
}

/* The image says best what it minds, and it was the only one named. */
static int failed(struct image *image, const char *name, int err)
{
	const char *why = image_error(image);

	if (err == -ENOTSUP &&
	    (!image->format->manage || !image->format->manage->amend))
		return cli_error("Format driver '%s' does not support option "
				 "amendment",
				 image->format->name);
	if (why && *why)
		return cli_error("%s", why);
	return qimg_image_error(image, name, err,
				"its options cannot be changed");
}

static int amend(const struct cli *cli, struct image *image, const char *name)
{
	struct image_options settings = {0};
	struct image_amend_request request = {
		.options = &settings,
		.secrets = qimg_secrets(),
		.force = cli_has(cli, FORCE),
		.progress = progress_update,
	};
	int status = parse(cli, &settings), err;

	if (status == 0) {
		err = image_amend(image, &request);
		if (err)
			status = failed(image, name, err);
		progress_end(err == 0);
	}
	image_options_deinit(&settings);
	return status;
}

static int run(const struct cli *cli)
{
	struct qimg_open open = {
		.name = cli->operand_count ? cli->operands[0] : NULL,
		.format = cli_value(cli, 'f'),
		.image_opts = cli_has(cli, QIMG_IMAGE_OPTS),
	};
	const char *text = cli_value(cli, 'o');
	const char *cache = cli_value(cli, 't');
	const struct image_format *format;
	struct image *image;
	int status;

	if (!text)
		return cli_error("Must specify options (-o)");
	if (open.format && format_is_help(text)) {
		format = image_find_format(open.format);
		if (!format)
			return cli_error("Unknown file format '%s'%s",
					 open.format,
					 format_nearest(open.format));
		format_print_help(format, IMAGE_OPTION_AMEND);
		return 0;
	}
	if (!open.name)
		return cli_error("amend: expecting FILE; try '%s amend --help'",
				 cli_program);
	if ((cache && !qimg_cache_parse(cache, &open.cache)) ||
	    !progress_init(cli) || !qimg_secrets_add(cli))
		return 1;
	image = qimg_open(&open);
	if (!image)
		return 1;
	if (format_is_help(text)) {
		format_print_help(image->format, IMAGE_OPTION_AMEND);
		status = 0;
	} else {
		status = amend(cli, image, open.name);
	}
	return qimg_end(image, open.name, status);
}

const struct cli_command qimg_amend = {
	.name = "amend",
	.operands = "FILE",
	.summary = "Changes the options of an image",
	.min_operands = 0,
	.max_operands = 1,
	.options = options,
	.run = run,
};
