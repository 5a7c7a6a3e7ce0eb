/* SPDX-License-Identifier: Apache-2.0 */
/* qimg bitmap: persistent dirty bitmaps. */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "image/manage.h"
#include "tools/qimg/commands.h"
#include "tools/qimg/spec.h"

enum {
	ADD = QIMG_FIRST_OWN_KEY,
	REMOVE,
	CLEAR,
	ENABLE,
	DISABLE,
	MERGE,
};

static const struct cli_option options[] = {
	{ADD, "add", CLI_FLAG, NULL, "make the bitmap"},
	{REMOVE, "remove", CLI_FLAG, NULL, "remove it"},
	{CLEAR, "clear", CLI_FLAG, NULL, "clear all its bits"},
	{ENABLE, "enable", CLI_FLAG, NULL, "it follows writes from now on"},
	{DISABLE, "disable", CLI_FLAG, NULL, "it does not follow writes"},
	{MERGE, "merge", CLI_TEXT, "SOURCE", "add the bits of bitmap SOURCE"},
	{'b', "source-file", CLI_FILE, "FILE", "the image that has SOURCE"},
	{'F', "source-format", CLI_FORMAT, "FORMAT", "that image's format"},
	{'g', "granularity", CLI_TEXT, "BYTES",
	 "with --add: bytes that a bit covers"},
	QIMG_OPTION_FORMAT,
	QIMG_OPTION_OBJECT,
	QIMG_OPTION_IMAGE_OPTS,
	{0},
};

static bool is_action(int key)
{
	return key >= ADD && key <= MERGE;
}

static const char *action_word(int key)
{
	static const char *const words[] = {"add",    "remove",	 "clear",
					    "enable", "disable", "merge"};

	return words[key - ADD];
}

static int perform(const struct cli *cli, struct image *image,
		   struct image *source, uint32_t granularity)
{
	for (size_t i = 0; i < cli->count; i++) {
		const struct cli_argument *a = &cli->arguments[i];
		struct image_bitmap_change change = {
			.name = cli->operands[1],
			.granularity_bytes = granularity,
			.source = source,
			.source_name = a->value,
		};
		int err;

		if (!is_action(a->key))
			continue;
		change.action = (enum image_bitmap_action)(IMAGE_BITMAP_ADD +
							   a->key - ADD);
		err = image_bitmap_change(image, &change);
		if (err)
			return cli_error("Operation %s on bitmap %s failed: %s",
					 action_word(a->key), cli->operands[1],
					 qimg_image_words(image, err));
	}
	return 0;
}

static int check_usage(const struct cli *cli, uint32_t *ret_granularity)
{
	const char *granularity = cli_value(cli, 'g');
	bool any = false;
	uint64_t bytes = 0;

	for (size_t i = 0; i < cli->count; i++)
		any |= is_action(cli->arguments[i].key);
	if (!any)
		return cli_error("Need at least one of --add, --remove, "
				 "--clear, --enable, --disable, or --merge");
	if (granularity && image_parse_size(granularity, &bytes))
		return cli_error("Invalid granularity specified: \"%s\"",
				 granularity);
	if (granularity && !cli_has(cli, ADD))
		return cli_error("granularity only supported with --add");
	if (bytes > UINT32_MAX)
		return cli_error("Invalid granularity specified: at most 2G");
	if (cli_has(cli, 'b') && !cli_has(cli, MERGE))
		return cli_error("-b only supported with --merge");
	if (cli_has(cli, 'F') && !cli_has(cli, 'b'))
		return cli_error("-F only supported with -b");
	*ret_granularity = (uint32_t)bytes;
	return 0;
}

static int run(const struct cli *cli)
{
	struct qimg_open open = {
		.name = cli->operands[0],
		.format = cli_value(cli, 'f'),
		.image_opts = cli_has(cli, QIMG_IMAGE_OPTS),
		.no_backing = true,
		.no_key = true,
	};
	struct qimg_open open_source = {
		.name = cli_value(cli, 'b'),
		.format = cli_value(cli, 'F'),
		.read_only = true,
		.no_backing = true,
		.no_key = true,
	};
	struct image *image, *source = NULL;
	uint32_t granularity = 0;
	int status = 1;

	if (check_usage(cli, &granularity) || !qimg_secrets_add(cli))
		return 1;
	image = qimg_open(&open);
	if (!image)
		return 1;
	if (open_source.name)
		source = qimg_open(&open_source);
	if (source || !open_source.name)
		status = perform(cli, image, source, granularity);
	image_close(source);
	return qimg_end(image, open.name, status);
}

const struct cli_command qimg_bitmap = {
	.name = "bitmap",
	.operands = "FILE BITMAP",
	.summary = "Makes, changes, merges and removes persistent bitmaps",
	.min_operands = 2,
	.max_operands = 2,
	.options = options,
	.run = run,
};
