/* SPDX-License-Identifier: Apache-2.0 */
/* qimg commit: what an image has is written into one that it is backed by. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "image/chain.h"
#include "image/open.h"
#include "image/option.h"
#include "tools/qimg/commands.h"
#include "tools/qimg/progress.h"
#include "tools/qimg/spec.h"

static const struct cli_option options[] = {
	{'b', NULL, CLI_FILE, "FILE",
	 "the image of the chain to commit into (default: the next); the top "
	 "one is not emptied then"},
	{'d', NULL, CLI_FLAG, NULL, "do not empty the image"},
	QIMG_OPTION_PROGRESS,
	{'r', NULL, CLI_TEXT, "BYTES", "at most so much a second"},
	QIMG_OPTION_CACHE('t'),
	QIMG_OPTION_FORMAT,
	QIMG_OPTION_QUIET,
	QIMG_OPTION_OBJECT,
	QIMG_OPTION_IMAGE_OPTS,
	{0},
};

static bool is_file(const struct image *image, const char *path)
{
	struct stat ours, theirs;

	if (path && image->store->is_remote)
		return strcmp(path, image->store->name) == 0;
	return path && stat(path, &theirs) == 0 &&
	       fstat(image->store->fd, &ours) == 0 &&
	       ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino;
}

/* Named as the image above names it, from that one's folder, or from here. */
static bool is_named(const struct image *above, const char *name)
{
	char *path = qimg_is_remote(name)
			     ? qimg_path(name, false)
			     : qimg_path_beside(above->store->name, name);
	bool found = strcmp(above->backing_name, name) == 0 ||
		     is_file(above->backing, path) ||
		     is_file(above->backing, name);

	free(path);
	return found;
}

/* How far below the top the image is that is meant; 0: a message. */
static unsigned find_base(const struct image *top, const char *name,
			  const char *base)
{
	unsigned depth = 1;

	if (!top->backing) {
		cli_error("Image does not have a backing file");
		return 0;
	}
	if (!base)
		return 1;
	for (const struct image *i = top; i->backing; i = i->backing, depth++)
		if (is_named(i, base))
			return depth;
	cli_error("Did not find '%s' in the backing chain of '%s'", base, name);
	return 0;
}

/* What an image lies in, to be known again when it is opened anew. */
struct place {
	char *address; /* of an export; or NULL: a file */
	struct stat file;
};

static void note_place(const struct image *image, struct place *ret)
{
	*ret = (struct place){0};
	if (image->store->is_remote)
		ret->address = strdup(image->store->name);
	else
		fstat(image->store->fd, &ret->file);
}

static bool is_at(const struct image *image, const struct place *place)
{
	struct stat now;

	if (place->address || image->store->is_remote)
		return place->address &&
		       strcmp(place->address, image->store->name) == 0;
	return fstat(image->store->fd, &now) == 0 &&
	       now.st_dev == place->file.st_dev &&
	       now.st_ino == place->file.st_ino;
}

static struct image *at_depth(struct image *image, unsigned depth)
{
	while (depth-- > 0)
		image = image->backing;
	return image;
}

static int commit(const struct cli *cli, struct image *top, struct image *base,
		  const struct chain_options *how)
{
	struct image *failed = NULL;
	int err = chain_commit(top, base, how, &failed);

	progress_end(err == 0);
	if (err)
		return qimg_image_error(failed ? failed : top,
					failed ? failed->store->name
					       : cli->operands[0],
					err, "Could not commit");
	if (!cli_has(cli, 'q'))
		printf("Image committed.\n");
	return 0;
}

/*
 * The chain is looked at once to find the base, and once more with the base
 * opened for writing, which must be the same file then.
 */
static int find_and_commit(const struct cli *cli, struct qimg_open *open,
			   const struct chain_options *how)
{
	const char *base = cli_value(cli, 'b');
	struct image *image = qimg_open(open);
	struct place before = {0};
	unsigned depth;
	int status;

	if (!image)
		return 1;
	depth = find_base(image, open->name, base);
	if (depth)
		note_place(at_depth(image, depth), &before);
	image_close(image);
	if (depth == 0)
		return 1;
	open->read_only = false;
	open->writable_depth = depth;
	image = qimg_open(open);
	if (!image) {
		free(before.address);
		return 1;
	}
	if (find_base(image, open->name, base) == depth &&
	    is_at(at_depth(image, depth), &before))
		status = commit(cli, image, at_depth(image, depth), how);
	else
		status = cli_error("%s: its backing chain has just changed",
				   open->name);
	free(before.address);
	return qimg_end(image, open->name, status);
}

static int run(const struct cli *cli)
{
	struct qimg_open open = {
		.name = cli->operands[0],
		.format = cli_value(cli, 'f'),
		.image_opts = cli_has(cli, QIMG_IMAGE_OPTS),
		.read_only = true,
	};
	struct chain_options how = {
		.keep = cli_has(cli, 'd') || cli_has(cli, 'b'),
		.progress = progress_update,
	};
	const char *rate = cli_value(cli, 'r');
	const char *cache = cli_value(cli, 't');

	if (rate && image_parse_size(rate, &how.rate_bytes))
		return cli_error("Invalid rate limit specified: \"%s\" is not "
				 "a size such as 10M",
				 rate);
	if (cache && !qimg_cache_parse(cache, &open.cache))
		return 1;
	how.writethrough = open.cache.writethrough;
	if (!progress_init(cli) || !qimg_secrets_add(cli))
		return 1;
	return find_and_commit(cli, &open, &how);
}

const struct cli_command qimg_commit = {
	.name = "commit",
	.operands = "FILE",
	.summary = "Writes what an image has into its backing file",
	.min_operands = 1,
	.max_operands = 1,
	.options = options,
	.run = run,
};
