/* SPDX-License-Identifier: Apache-2.0 */
/* qimg map: where the bytes of an image lie, along its backing chain. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "image/block-status.h"
#include "image/open.h"
#include "tools/qimg/commands.h"
#include "tools/qimg/output.h"
#include "tools/qimg/spec.h"

enum {
	START_OFFSET = QIMG_FIRST_OWN_KEY,
	MAX_LENGTH,
};

static const struct cli_option options[] = {
	{START_OFFSET, "start-offset", CLI_TEXT, "BYTES", "begin there"},
	{MAX_LENGTH, "max-length", CLI_TEXT, "BYTES",
	 "go no further than this"},
	QIMG_OPTION_FORMAT,
	QIMG_OPTION_SHARE,
	QIMG_OPTION_OBJECT,
	QIMG_OPTION_IMAGE_OPTS,
	QIMG_OPTION_OUTPUT,
	{0},
};

static int print_human(const struct block_status *s, const char *name)
{
	if (s->data && !s->has_offset)
		return cli_error("File contains external, encrypted or "
				 "compressed clusters.");
	if (s->data && !s->zero)
		printf("%#-16" PRIx64 "%#-16" PRIx64 "%#-16" PRIx64 "%s\n",
		       s->offset, s->length, s->host_offset,
		       s->depth == 0 ? name : s->file);
	return 0;
}

static void print_json(const struct block_status *s, bool first)
{
	printf("%s{ \"start\": %" PRIu64 ", \"length\": %" PRIu64
	       ", \"depth\": %u, \"present\": %s, \"zero\": %s, "
	       "\"data\": %s",
	       first ? "[" : ",\n", s->offset, s->length, s->depth,
	       s->present ? "true" : "false", s->zero ? "true" : "false",
	       s->data ? "true" : "false");
	if (s->has_offset)
		printf(", \"offset\": %" PRIu64, s->host_offset);
	printf("}");
}

static int print_map(struct image *image, const char *name, uint64_t start,
		     uint64_t end, bool json)
{
	struct block_status now, next;
	bool have = false, first = true;
	int status = 0;

	if (!json)
		printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to",
		       "File");
	while (status == 0 && (start < end || have)) {
		bool more = start < end;
		int err = 0;

		if (more)
			err = block_status_next(image, start, end - start,
						&next);
		if (err)
			return qimg_image_error(image, name, err,
						"Could not read file metadata");
		if (more)
			start += next.length;
		if (more && have && block_status_joins(&now, &next)) {
			now.length += next.length;
			continue;
		}
		if (have && json)
			print_json(&now, first);
		else if (have)
			status = print_human(&now, name);
		first &= !have;
		have = more;
		now = next;
	}
	if (json)
		printf("%s]\n", first ? "[" : "");
	return status;
}

static int parse_range(const struct cli *cli, uint64_t *ret_start,
		       uint64_t *ret_length)
{
	const char *start = cli_value(cli, START_OFFSET);
	const char *length = cli_value(cli, MAX_LENGTH);

	*ret_start = 0;
	*ret_length = UINT64_MAX;
	if (start && image_parse_size(start, ret_start))
		return cli_error("Invalid start offset specified: \"%s\"",
				 start);
	if (length && image_parse_size(length, ret_length))
		return cli_error("Invalid max length specified: \"%s\"",
				 length);
	return 0;
}

static int run(const struct cli *cli)
{
	struct qimg_open open = {
		.name = cli->operands[0],
		.format = cli_value(cli, 'f'),
		.image_opts = cli_has(cli, QIMG_IMAGE_OPTS),
		.read_only = true,
		.share = cli_has(cli, 'U'),
		.no_key = true,
	};
	int json = output_format(cli);
	uint64_t start, length;
	struct image *image;
	int status;

	if (json < 0 || parse_range(cli, &start, &length) ||
	    !qimg_secrets_add(cli))
		return 1;
	image = qimg_open(&open);
	if (!image)
		return 1;
	if (start < image->size_bytes && length > image->size_bytes - start)
		length = image->size_bytes - start;
	if (start >= image->size_bytes)
		start = length = 0;
	status = print_map(image, open.name, start, start + length, json);
	image_close(image);
	return status;
}

const struct cli_command qimg_map = {
	.name = "map",
	.operands = "FILE",
	.summary = "Shows where an image's bytes lie, along its backing chain",
	.min_operands = 1,
	.max_operands = 1,
	.options = options,
	.run = run,
};
