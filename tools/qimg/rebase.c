/* SPDX-License-Identifier: Apache-2.0 */
/* qimg rebase: another backing file, with the same content read or unseen. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/chain.h"
#include "image/manage.h"
#include "image/open.h"
#include "tools/qimg/commands.h"
#include "tools/qimg/format-options.h"
#include "tools/qimg/progress.h"
#include "tools/qimg/spec.h"

static const struct cli_option options[] = {
	{'b', NULL, CLI_FILE, "FILE",
	 "the new backing file, as seen from the image's folder; \"\": none"},
	{'F', NULL, CLI_FORMAT, "FORMAT", "the new backing file's format"},
	{'u', NULL, CLI_FLAG, NULL,
	 "change the name only, whatever the images hold"},
	QIMG_OPTION_PROGRESS,
	QIMG_OPTION_CACHE('t'),
	{'T', NULL, CLI_CACHE, "MODE", "the same for the backing files"},
	QIMG_OPTION_FORMAT,
	QIMG_OPTION_QUIET,
	QIMG_OPTION_SHARE,
	QIMG_OPTION_OBJECT,
	QIMG_OPTION_IMAGE_OPTS,
	{0},
};

struct rebase {
	const struct cli *cli;
	struct qimg_open open; /* of the image */
	struct qimg_cache source_cache;
	const char *name; /* of the new backing file, or NULL */
	const char *format;
};

static int failed_to_change(const struct rebase *r, struct image *image,
			    int err)
{
	const char *why = image_error(image);

	return cli_error("Could not change the backing file to '%s': %s",
			 r->name ? r->name : "",
			 why && *why ? why
			 : err < 0   ? strerror(-err)
				     : "the image is corrupt");
}

static int change_name(const struct rebase *r, struct image *image)
{
	int err = image_set_backing(image, r->name, r->format);

	return err ? failed_to_change(r, image, err) : 0;
}

/* NULL: a message. */
static struct image *open_new(const struct rebase *r)
{
	char *path = qimg_path(r->open.name, r->open.image_opts);
	struct qimg_open open = {
		.format = r->format,
		.read_only = true,
		.share = r->open.share,
		.cache = r->source_cache,
	};
	char *full = path ? qimg_path_beside(path, r->name) : NULL;
	struct image *image = NULL;

	open.name = full;
	if (full)
		image = qimg_open(&open);
	if (full && !image)
		cli_error("Could not open new backing file '%s'", r->name);
	free(full);
	free(path);
	return image;
}

static int move(const struct rebase *r, struct image *image,
		struct image *backing)
{
	const struct chain_options how = {
		.writethrough = r->open.cache.writethrough,
		.progress = progress_update,
	};
	struct image *failed = NULL;
	int err =
		chain_rebase(image, backing, r->name, r->format, &how, &failed);

	progress_end(err == 0);
	if (err == -ELOOP)
		return cli_error("Could not change the backing file to '%s': "
				 "'%s' is part of that chain itself",
				 r->name, r->open.name);
	if (err)
		return failed_to_change(r, failed ? failed : image, err);
	return 0;
}

static int rebase(const struct rebase *r, struct image *image)
{
	struct image *backing;
	int status;

	if (cli_has(r->cli, 'u'))
		return change_name(r, image);
	if (!r->name)
		return move(r, image, NULL);
	backing = open_new(r);
	if (!backing)
		return 1;
	status = move(r, image, backing);
	image_close(backing);
	return status;
}

static int check(const struct rebase *r)
{
	const struct cli *cli = r->cli;

	if (!cli_has(cli, 'b') && !cli_has(cli, 'u'))
		return cli_error("Must specify backing file (-b) or use unsafe "
				 "mode (-u)");
	if (r->format && !image_find_format(r->format) &&
	    !(cli_has(cli, 'u') && format_is_foreign(r->format)))
		return cli_error("Invalid format name: '%s'%s", r->format,
				 format_nearest(r->format));
	if (r->name && !r->format)
		return cli_error("Could not change the backing file to '%s': "
				 "backing format must be specified",
				 r->name);
	return 0;
}

static int run(const struct cli *cli)
{
	const char *name = cli_value(cli, 'b');
	const char *cache = cli_value(cli, 't');
	const char *source_cache = cli_value(cli, 'T');
	struct rebase r = {
		.cli = cli,
		.open = {.name = cli->operands[0],
			 .format = cli_value(cli, 'f'),
			 .image_opts = cli_has(cli, QIMG_IMAGE_OPTS),
			 .share = cli_has(cli, 'U'),
			 .no_backing = cli_has(cli, 'u'),
			 .no_key = cli_has(cli, 'u')},
		.name = name && *name ? name : NULL,
	};
	struct image *image;
	int status;

	/* Without a file its format says nothing. */
	r.format = r.name ? cli_value(cli, 'F') : NULL;
	if ((cache && !qimg_cache_parse(cache, &r.open.cache)) ||
	    (source_cache && !qimg_cache_parse(source_cache, &r.source_cache)))
		return 1;
	if (check(&r) || !progress_init(cli) || !qimg_secrets_add(cli))
		return 1;
	image = qimg_open(&r.open);
	if (!image)
		return 1;
	status = rebase(&r, image);
	return qimg_end(image, r.open.name, status);
}

const struct cli_command qimg_rebase = {
	.name = "rebase",
	.operands = "FILE",
	.summary = "Gives an image another backing file",
	.min_operands = 1,
	.max_operands = 1,
	.options = options,
	.run = run,
};
