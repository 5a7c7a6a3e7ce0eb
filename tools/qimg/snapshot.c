/* SPDX-License-Identifier: Apache-2.0 */
/* qimg snapshot: internal snapshots of an image. */
#include <errno.h>
#include <stdio.h>

#include "image/open.h"
#include "tools/qimg/commands.h"
#include "tools/qimg/output.h"
#include "tools/qimg/spec.h"

static const struct cli_option options[] = {
	{'l', NULL, CLI_FLAG, NULL, "list them (the default)"},
	{'a', NULL, CLI_TEXT, "SNAPSHOT", "make the disk what it was then"},
	{'c', NULL, CLI_TEXT, "SNAPSHOT", "take one"},
	{'d', NULL, CLI_TEXT, "SNAPSHOT", "delete one"},
	QIMG_OPTION_FORMAT,
	QIMG_OPTION_QUIET,
	QIMG_OPTION_SHARE,
	QIMG_OPTION_OBJECT,
	QIMG_OPTION_IMAGE_OPTS,
	{0},
};

static int list(struct image *image, const char *name)
{
	struct image_snapshots snapshots = {0};
	int err = image_snapshot_list(image, &snapshots);

	if (err)
		return qimg_image_error(image, name, err,
					"cannot list snapshots");
	if (snapshots.count) {
		printf("Snapshot list:\n");
		output_snapshots(&snapshots);
	}
	image_snapshots_deinit(&snapshots);
	return 0;
}

static int change(struct image *image, int action, const char *snapshot)
{
	static const char *const words[] = {"apply", "create", "delete"};
	const char *word = words[action == 'a' ? 0 : action == 'c' ? 1 : 2];
	int err;

	if (action == 'a')
		err = image_snapshot_apply(image, snapshot);
	else if (action == 'c')
		err = image_snapshot_create(image, snapshot);
	else
		err = image_snapshot_delete(image, snapshot);
	if (err == 0)
		return 0;
	if (err == -ENOENT)
		return cli_error("Could not %s snapshot '%s': snapshot not "
				 "found",
				 word, snapshot);
	return cli_error("Could not %s snapshot '%s': %s", word, snapshot,
			 qimg_image_words(image, err));
}

static int run(const struct cli *cli)
{
	struct qimg_open open = {
		.name = cli->operands[0],
		.format = cli_value(cli, 'f'),
		.image_opts = cli_has(cli, QIMG_IMAGE_OPTS),
		.share = cli_has(cli, 'U'),
		.no_backing = true,
		.no_key = true,
	};
	const struct cli_argument *action = NULL;
	struct image *image;
	int status;

	for (size_t i = 0; i < cli->count; i++) {
		const struct cli_argument *a = &cli->arguments[i];

		if (a->key != 'l' && a->key != 'a' && a->key != 'c' &&
		    a->key != 'd')
			continue;
		if (action)
			return cli_error("Cannot mix '-l', '-a', '-c', '-d'");
		action = a;
	}
	open.read_only = !action || action->key == 'l';
	if (!qimg_secrets_add(cli))
		return 1;
	image = qimg_open(&open);
	if (!image)
		return 1;
	if (open.read_only)
		status = list(image, open.name);
	else
		status = change(image, action->key, action->value);
	return qimg_end(image, open.name, status);
}

const struct cli_command qimg_snapshot = {
	.name = "snapshot",
	.operands = "FILE",
	.summary = "Lists, takes, applies or deletes internal snapshots",
	.min_operands = 1,
	.max_operands = 1,
	.options = options,
	.run = run,
};
