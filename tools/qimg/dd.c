/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qimg dd: copies a part of an image into a new one, told in dd's way. As in
 * qemu-img, count= is where the copy ends, and skip= where it begins: both are
 * counted from the beginning of the input.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "image/open.h"
#include "tools/qimg/commands.h"
#include "tools/qimg/convert.h"

enum {
	DEFAULT_BLOCK_BYTES = 512,
};

static const struct cli_option options[] = {
	QIMG_OPTION_FORMAT,
	{'O', NULL, CLI_FORMAT, "FORMAT", "of the output (default: raw)"},
	QIMG_OPTION_SHARE,
	QIMG_OPTION_OBJECT,
	QIMG_OPTION_IMAGE_OPTS,
	{0},
};

struct dd {
	const char *in; /* NULL: not given yet */
	const char *out;
	uint64_t block_bytes;
	uint64_t count; /* in blocks, as is skip */
	uint64_t skip;
};

/* --- Operands --- */

static int take_in(struct dd *dd, const char *value)
{
	dd->in = value;
	return 0;
}

static int take_out(struct dd *dd, const char *value)
{
	dd->out = value;
	return 0;
}

static int take_block(struct dd *dd, const char *value)
{
	return cli_size("bs", value, 1, INT_MAX, &dd->block_bytes);
}

static int take_count(struct dd *dd, const char *value)
{
	return cli_size("count", value, 0, INT64_MAX, &dd->count);
}

static int take_skip(struct dd *dd, const char *value)
{
	return cli_size("skip", value, 0, INT64_MAX, &dd->skip);
}

static int take_operand(struct dd *dd, const char *operand)
{
	static const struct {
		const char *name;
		int (*take)(struct dd *dd, const char *value);
	} all[] = {
		{"bs", take_block}, {"count", take_count}, {"if", take_in},
		{"of", take_out},   {"skip", take_skip},
	};
	size_t length = strcspn(operand, "=");

	for (size_t i = 0; i < ARRAY_SIZE(all) && operand[length]; i++)
		if (strlen(all[i].name) == length &&
		    strncmp(all[i].name, operand, length) == 0)
			return all[i].take(dd, operand + length + 1);
	return cli_error("unrecognized operand %.*s", (int)length, operand);
}

static int take_operands(const struct cli *cli, struct dd *dd)
{
	for (int i = 0; i < cli->operand_count; i++)
		if (take_operand(dd, cli->operands[i]))
			return 1;
	if (!dd->in || !dd->out)
		return cli_error("Must specify both input and output files");
	return 0;
}

/* --- The copy --- */

static int open_source(const struct cli *cli, const struct dd *dd,
		       struct convert *convert)
{
	struct convert_source *source = &convert->sources[0];
	const struct qimg_open open = {
		.name = dd->in,
		.format = cli_value(cli, 'f'),
		.image_opts = cli_has(cli, QIMG_IMAGE_OPTS),
		.read_only = true,
		.share = cli_has(cli, 'U'),
	};

	source->name = dd->in;
	source->image = qimg_open(&open);
	if (!source->image)
		return 1;
	convert->source_count = 1;
	return 0;
}

/* @blocks, or as many as fit into @most bytes. */
static uint64_t blocks_within(const struct dd *dd, uint64_t blocks,
			      uint64_t most)
{
	return blocks > most / dd->block_bytes ? most
					       : blocks * dd->block_bytes;
}

/* False if there is nothing where the copy is to begin. */
static bool set_range(const struct dd *dd, struct convert *convert)
{
	struct convert_source *source = &convert->sources[0];
	uint64_t size = align_up(source->image->size_bytes, SECTOR_BYTES);
	uint64_t end = blocks_within(dd, dd->count, size);
	bool beyond = dd->skip > end / dd->block_bytes;

	source->from = beyond ? end : dd->skip * dd->block_bytes;
	source->bytes = end - source->from;
	convert->total_bytes = source->bytes;
	convert->make.size_bytes = source->bytes;
	return !beyond;
}

static int make_target(const struct dd *dd, struct convert *convert)
{
	char *path = qimg_path(dd->out, false);
	int status = path ? convert_target_make(convert, path) : 1;

	free(path);
	if (status == 0)
		convert->reads_zero = convert_is_blank(convert->target);
	return status;
}

static int copy(const struct cli *cli, const struct dd *dd,
		struct convert *convert)
{
	bool is_there;
	int status = open_source(cli, dd, convert);

	if (status)
		return status;
	status = format_request_parse(cli, cli_value(cli, 'O'), &convert->make);
	if (status != -1)
		return status;
	is_there = set_range(dd, convert);
	status = make_target(dd, convert);
	/* As with dd itself, the output is empty then, and all is well. */
	if (status == 0 && !is_there)
		cli_error("%s: cannot skip to specified offset", dd->in);
	if (status == 0)
		status = convert_run(convert);
	return status;
}

static int run(const struct cli *cli)
{
	struct dd dd = {
		.block_bytes = DEFAULT_BLOCK_BYTES,
		.count = UINT64_MAX,
	};
	struct convert *convert;
	int status;

	if (take_operands(cli, &dd) || !qimg_secrets_add(cli))
		return 1;
	convert = calloc(1, sizeof(*convert));
	if (!convert)
		return cli_error("out of memory");
	convert->target_name = dd.out;
	convert->sparse = CONVERT_SPARSE;
	convert->slots = CONVERT_SLOTS;
	status = convert_target_end(convert, copy(cli, &dd, convert));
	(void)image_close(convert->sources[0].image);
	format_request_deinit(&convert->make);
	free(convert);
	return status;
}

const struct cli_command qimg_dd = {
	.name = "dd",
	.operands = "[bs=BYTES] [count=BLOCKS] [skip=BLOCKS] if=FILE of=FILE",
	.summary = "Copies a part of an image into a new one, as dd does",
	.min_operands = 0,
	.max_operands = -1,
	.options = options,
	.run = run,
};
