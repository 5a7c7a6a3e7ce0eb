/* SPDX-License-Identifier: Apache-2.0 */
/* qimg create: a new, empty image. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "image/manage.h"
#include "image/open.h"
#include "tools/qimg/commands.h"
#include "tools/qimg/format-options.h"
#include "tools/qimg/spec-name.h"
#include "tools/qimg/spec.h"

static const struct cli_option options[] = {
	{'f', NULL, CLI_FORMAT, "FORMAT", "of the new image (default: raw)"},
	{'o', NULL, CLI_OPTIONS, "OPTIONS",
	 "name=value, ...; \"help\" lists those of the format"},
	{'b', NULL, CLI_FILE, "FILE", "the image behind it"},
	{'F', NULL, CLI_FORMAT, "FORMAT", "that image's format"},
	{'u', NULL, CLI_FLAG, NULL, "do not open the image behind it"},
	QIMG_OPTION_QUIET,
	QIMG_OPTION_OBJECT,
	{0},
};

/* The backing image, seen from the folder of the new one; NULL: message. */
static struct image *open_backing(const char *path, const char *name,
				  const char *format)
{
	char *full = qimg_path_beside(path, name);
	struct image *image;
	struct qimg_open open = {
		.format = format,
		.read_only = true,
		.no_key = true,
		.wanted_by = path,
	};

	open.name = full;
	image = full ? qimg_open(&open) : NULL;
	free(full);
	return image;
}

static int settle_size(const struct cli *cli, struct format_request *request,
		       const char *path)
{
	const char *text = cli->operand_count > 1 ? cli->operands[1] : NULL;
	const char *option =
		image_options_string(&request->options, "size", NULL);
	struct image *backing;

	if (text && option)
		return cli_error("%s: The image size must be specified only "
				 "once",
				 path);
	if (request->backing_name && !*request->backing_name)
		return cli_error("%s: Expected backing file name, got empty "
				 "string",
				 path);
	if (text || option) {
		if (image_parse_size(text ? text : option,
				     &request->size_bytes))
			return cli_error("Invalid image size specified: \"%s\" "
					 "is not a size such as 65536, 64k or "
					 "1.5G",
					 text ? text : option);
		if (!request->backing_name || cli_has(cli, 'u'))
			return 0;
	} else if (!request->backing_name || cli_has(cli, 'u')) {
		return cli_error("Image creation needs a size parameter");
	}
	backing = open_backing(path, request->backing_name,
			       request->backing_format);
	if (!backing)
		return 1;
	if (!text && !option)
		request->size_bytes = backing->size_bytes;
	image_close(backing);
	return 0;
}

/* As -o takes it: a comma is doubled. */
static void print_text(const char *name, const char *value)
{
	printf(" %s=", name);
	for (; *value; value++)
		printf(*value == ',' ? ",," : "%c", *value);
}

static void print_option(const struct format_request *r,
			 const struct image_option *option)
{
	const char *name = option->name;
	const char *value =
		image_options_string(&r->options, name, option->initial);
	uint64_t number;

	if (strcmp(name, "size") == 0)
		printf(" size=%" PRIu64, r->size_bytes);
	else if (strcmp(name, "backing_file") == 0 && r->backing_name)
		print_text(name, r->backing_name);
	else if (strcmp(name, "backing_fmt") == 0 && r->backing_format)
		print_text(name, r->backing_format);
	else if (value && option->kind == IMAGE_OPTION_SIZE &&
		 image_parse_size(value, &number) == 0)
		printf(" %s=%" PRIu64, name, number);
	else if (value)
		print_text(name, value);
}

/* Scripts read this line: the options are in QEMU's order. */
static void print_summary(const struct format_request *r, const char *path)
{
	const struct image_option *table =
		r->format->manage ? r->format->manage->options : NULL;

	printf("Formatting '%s', fmt=%s", path, r->format->name);
	for (; table && table->name; table++)
		if (table->uses & IMAGE_OPTION_CREATE)
			print_option(r, table);
	printf("\n");
}

static int run(const struct cli *cli)
{
	const char *name = cli->operands[0];
	const char *path = spec_name_path(name);
	struct format_request request;
	int status;

	if (!qimg_secrets_add(cli))
		return 1;
	if (format_is_foreign(cli_value(cli, 'f')))
		return cli_error("%s: Format driver '%s' does not support "
				 "image creation",
				 path, cli_value(cli, 'f'));
	status = format_request_parse(cli, cli_value(cli, 'f'), &request);
	if (status >= 0)
		return status;
	status = settle_size(cli, &request, path);
	if (status == 0 && !cli_has(cli, 'q'))
		print_summary(&request, name);
	if (status == 0)
		status = format_create(&request, path, path);
	format_request_deinit(&request);
	return status;
}

const struct cli_command qimg_create = {
	.name = "create",
	.operands = "FILE [SIZE]",
	.summary = "Makes a new, empty image",
	.min_operands = 1,
	.max_operands = 2,
	.options = options,
	.run = run,
};
