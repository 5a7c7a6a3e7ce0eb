/* SPDX-License-Identifier: Apache-2.0 */
/* qimg compare: whether two images read as the same disk. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "image/open.h"
#include "tools/qimg/commands.h"
#include "tools/qimg/compare.h"
#include "tools/qimg/progress.h"
#include "tools/qimg/spec.h"

/* Exit statuses, as qemu-img's. */
enum {
	IDENTICAL = 0,
	DIFFERENT = 1, /* or a wrong command line */
	NOT_OPENED = 2,
	NO_BLOCK_STATUS = 3,
	NOT_READ = 4,
};

static const struct cli_option options[] = {
	{'f', NULL, CLI_FORMAT, "FORMAT",
	 "of the first image (default: by its first bytes)"},
	{'F', NULL, CLI_FORMAT, "FORMAT", "of the second one"},
	{'s', NULL, CLI_FLAG, NULL,
	 "strict: they must be as large, and stored alike"},
	QIMG_OPTION_PROGRESS,
	QIMG_OPTION_CACHE('T'),
	QIMG_OPTION_QUIET,
	QIMG_OPTION_SHARE,
	QIMG_OPTION_OBJECT,
	QIMG_OPTION_IMAGE_OPTS,
	{0},
};

static void say(const struct cli *cli, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void say(const struct cli *cli, const char *format, ...)
{
	va_list args;

	if (cli_has(cli, 'q'))
		return;
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
}

static int report(const struct cli *cli, const struct compare_scan *scan,
		  const struct compare_outcome *o)
{
	const char *name = cli->operands[o->side];
	struct image *image = scan->images[o->side];
	uint64_t one = compare_bytes(scan->images[0]);
	uint64_t other = compare_bytes(scan->images[1]);

	if (one != other &&
	    (o->result == COMPARE_SAME || o->offset >= MIN(one, other)))
		say(cli, "Warning: Image size mismatch!\n");
	switch (o->result) {
	case COMPARE_SAME:
		break;
	case COMPARE_DIFFERS:
		say(cli, "Content mismatch at offset %" PRIu64 "!\n",
		    o->offset);
		return DIFFERENT;
	case COMPARE_STATUS:
		say(cli,
		    "Strict mode: Offset %" PRIu64 " block status mismatch!\n",
		    o->offset);
		return DIFFERENT;
	case COMPARE_NO_STATUS:
		qimg_image_error(image, name, o->err,
				 "Sector allocation test failed");
		return NO_BLOCK_STATUS;
	case COMPARE_NO_READ:
		cli_error("Error while reading offset %" PRIu64 " of %s: %s",
			  o->offset, name, qimg_image_reason(image, o->err));
		return NOT_READ;
	case COMPARE_FAILED:
		cli_error("cannot start: %s", strerror(-o->err));
		return NOT_READ;
	}
	say(cli, "Images are identical.\n");
	return IDENTICAL;
}

static int compare(const struct cli *cli, struct image *one,
		   struct image *other)
{
	struct compare_scan scan = {
		.images = {one, other},
		.strict = cli_has(cli, 's'),
		.progress = progress_update,
	};
	struct compare_outcome outcome;
	int status;

	if (scan.strict && compare_bytes(one) != compare_bytes(other)) {
		say(cli, "Strict mode: Image size mismatch!\n");
		return DIFFERENT;
	}
	progress_set_step(2);
	compare_scan(&scan, &outcome);
	progress_line(outcome.result == COMPARE_SAME);
	status = report(cli, &scan, &outcome);
	progress_end(outcome.result == COMPARE_SAME);
	return status;
}

static struct image *open_side(const struct cli *cli, int side,
			       const struct qimg_cache *cache)
{
	const struct qimg_open open = {
		.name = cli->operands[side],
		.format = cli_value(cli, side ? 'F' : 'f'),
		.image_opts = cli_has(cli, QIMG_IMAGE_OPTS),
		.read_only = true,
		.share = cli_has(cli, 'U'),
		.cache = *cache,
	};

	return qimg_open(&open);
}

static int run(const struct cli *cli)
{
	const char *mode = cli_value(cli, 'T');
	struct qimg_cache cache = {0};
	struct image *one, *other = NULL;
	int status = NOT_OPENED;

	if ((mode && !qimg_cache_parse(mode, &cache)) || !progress_init(cli) ||
	    !qimg_secrets_add(cli))
		return NOT_OPENED;
	one = open_side(cli, 0, &cache);
	if (one)
		other = open_side(cli, 1, &cache);
	if (other)
		status = compare(cli, one, other);
	(void)image_close(other);
	(void)image_close(one);
	return status;
}

const struct cli_command qimg_compare = {
	.name = "compare",
	.operands = "FILE FILE",
	.summary = "Says whether two images read as the same disk",
	.min_operands = 2,
	.max_operands = 2,
	.options = options,
	.run = run,
};
