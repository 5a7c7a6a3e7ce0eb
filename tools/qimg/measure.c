/* SPDX-License-Identifier: Apache-2.0 */
/* qimg measure: how large a file would have to be, to hold an image. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/open.h"
#include "tools/qimg/commands.h"
#include "tools/qimg/format-options.h"
#include "tools/qimg/output.h"
#include "tools/qimg/spec.h"

enum {
	SIZE = QIMG_FIRST_OWN_KEY,
};

static const struct cli_option options[] = {
	QIMG_OPTION_FORMAT,
	{'O', NULL, CLI_FORMAT, "FORMAT",
	 "of the image to be made (default: raw)"},
	{'o', NULL, CLI_OPTIONS, "OPTIONS",
	 "NAME=VALUE,… it is to be made with; \"help\" lists them"},
	{'l', NULL, CLI_TEXT, "SNAPSHOT",
	 "FILE as it was then: a name, or snapshot.id=…,snapshot.name=…"},
	{SIZE, "size", CLI_TEXT, "BYTES", "of an empty disk, without FILE"},
	QIMG_OPTION_SHARE,
	QIMG_OPTION_OBJECT,
	QIMG_OPTION_IMAGE_OPTS,
	QIMG_OPTION_OUTPUT,
	{0},
};

static int check_operands(const struct cli *cli)
{
	bool has_size = cli_has(cli, SIZE);

	if (cli->operand_count > 1)
		return cli_error("At most one filename argument is allowed.");
	if (cli->operand_count == 1 && has_size)
		return cli_error("--size N cannot be used together with a "
				 "filename.");
	if (cli->operand_count == 1)
		return 0;
	if (cli_has(cli, QIMG_IMAGE_OPTS) || cli_has(cli, 'f') ||
	    cli_has(cli, 'l'))
		return cli_error("--image-opts, -f, and -l require a filename "
				 "argument.");
	if (!has_size)
		return cli_error("Either --size N or one filename must be "
				 "specified.");
	return 0;
}

/* Of --size, which outdoes -o size=. */
static int take_size(const struct cli *cli, struct format_request *request)
{
	const char *text = cli_value(cli, SIZE);

	if (!text)
		return 0;
	if (cli_size("image size", text, 0, INT64_MAX, &request->size_bytes))
		return 1;
	if (image_options_string(&request->options, "size", NULL) &&
	    image_options_set(&request->options, "size", text))
		return cli_error("out of memory");
	return 0;
}

static int open_source(const struct cli *cli,
		       const struct qimg_snapshot *snapshot, struct image **ret)
{
	const struct qimg_open open = {
		.name = cli->operands[0],
		.format = cli_value(cli, 'f'),
		.image_opts = cli_has(cli, QIMG_IMAGE_OPTS),
		.read_only = true,
		.share = cli_has(cli, 'U'),
		.no_key = true,
		.snapshot = snapshot,
	};

	*ret = qimg_open(&open);
	return *ret ? 0 : 1;
}

static void print(const struct image_measure *m, bool json)
{
	json_t *object;

	if (json) {
		object = json_pack("{s:I, s:I}", "required",
				   (json_int_t)m->required, "fully-allocated",
				   (json_int_t)m->fully_allocated);
		if (m->has_bitmaps)
			json_object_set_new(
				object, "bitmaps",
				json_integer((json_int_t)m->bitmaps));
		output_json(object);
		return;
	}
	printf("required size: %" PRIu64 "\n", m->required);
	printf("fully allocated size: %" PRIu64 "\n", m->fully_allocated);
	if (m->has_bitmaps)
		printf("bitmaps size: %" PRIu64 "\n", m->bitmaps);
}

static int measure(const struct format_request *request, struct image *source,
		   bool json)
{
	const struct image_create_request create = {
		.size_bytes = request->size_bytes,
		.options = &request->options,
		.backing_name = request->backing_name,
		.backing_format = request->backing_format,
		.secrets = qimg_secrets(),
	};
	struct image_measure m;
	char *error = NULL;
	int err = image_measure(request->format, &create, source, &m, &error);

	if (err)
		cli_error("%s", error ? error : qimg_image_reason(source, err));
	else
		print(&m, json);
	free(error);
	return err ? 1 : 0;
}

static int take_format(const struct cli *cli, struct format_request *ret)
{
	const char *name = cli_value(cli, 'O');
	const struct image_format *format =
		image_find_format(name ? name : "raw");

	if (format_is_foreign(name) ||
	    (format && (!format->manage || !format->manage->measure)))
		return cli_error("Block driver '%s' does not support size "
				 "measurement",
				 name);
	return format_request_parse(cli, name, ret);
}

static int measure_all(const struct cli *cli, struct format_request *request,
		       const struct qimg_snapshot *snapshot, bool json)
{
	struct image *source = NULL;
	int status = take_size(cli, request);

	if (status == 0)
		status = check_operands(cli);
	if (status == 0 && !qimg_secrets_add(cli))
		status = 1;
	if (status == 0 && cli->operand_count == 1)
		status = open_source(cli, snapshot, &source);
	if (status == 0)
		status = measure(request, source, json);
	(void)image_close(source);
	return status;
}

static int run(const struct cli *cli)
{
	struct format_request request;
	struct qimg_snapshot snapshot;
	int json = output_format(cli);
	int status;

	if (json < 0)
		return 1;
	status = take_format(cli, &request);
	if (status >= 0)
		return status;
	status = 1;
	if (qimg_snapshot_parse(cli_value(cli, 'l'), &snapshot)) {
		status = measure_all(cli, &request, &snapshot, json == 1);
		qimg_snapshot_deinit(&snapshot);
	}
	format_request_deinit(&request);
	return status;
}

const struct cli_command qimg_measure = {
	.name = "measure",
	.operands = "FILE",
	.summary = "Says how large a file has to be that holds an image",
	.min_operands = 0,
	.max_operands = -1,
	.options = options,
	.run = run,
};
