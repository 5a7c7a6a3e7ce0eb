/* SPDX-License-Identifier: Apache-2.0 */
/* qimg resize: makes the disk larger or smaller. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "image/manage.h"
#include "tools/qimg/commands.h"
#include "tools/qimg/spec.h"

enum {
	PREALLOCATION = QIMG_FIRST_OWN_KEY,
	SHRINK,
};

static const struct cli_option options[] = {
	{PREALLOCATION, "preallocation", CLI_PREALLOCATION, "MODE",
	 "of what is added: off, metadata, falloc or full"},
	{SHRINK, "shrink", CLI_FLAG, NULL,
	 "it may become smaller; what lies past the new end is lost"},
	QIMG_OPTION_FORMAT,
	QIMG_OPTION_QUIET,
	QIMG_OPTION_OBJECT,
	QIMG_OPTION_IMAGE_OPTS,
	{0},
};

/* "+SIZE" and "-SIZE" are relative to @now. */
static int parse_size(const char *text, uint64_t now, uint64_t *ret)
{
	char sign = *text == '+' || *text == '-' ? *text : '=';
	uint64_t size = 0;
	int err = image_parse_size(text + (sign != '='), &size);

	if (err)
		return cli_error("Invalid image size specified: \"%s\" is not "
				 "a size such as 10G, +1G or -512M",
				 text);
	if (sign == '+')
		size = size > INT64_MAX - now ? UINT64_MAX : now + size;
	else if (sign == '-')
		size = size > now ? UINT64_MAX : now - size;
	if (size > INT64_MAX)
		return cli_error("New image size must be positive and below "
				 "8 EiB");
	*ret = size;
	return 0;
}

static int resize(const struct cli *cli, struct image *image,
		  enum image_preallocation preallocation)
{
	const char *name = cli->operands[0];
	uint64_t size = 0;
	int err = parse_size(cli->operands[1], image->size_bytes, &size);

	if (err)
		return err;
	if (size < image->size_bytes && !cli_has(cli, SHRINK)) {
		cli_warning("Shrinking an image will delete all data beyond "
			    "the shrunken image's end. Before performing such "
			    "an operation, make sure there is no important "
			    "data there.");
		return cli_error("Use the --shrink option to perform a shrink "
				 "operation.");
	}
	if (size < image->size_bytes &&
	    preallocation != IMAGE_PREALLOCATION_OFF)
		return cli_error("Preallocation can only be used for growing "
				 "images");
	err = image_resize(image, size, preallocation);
	if (err)
		return qimg_image_error(image, name, err, "cannot be resized");
	if (!cli_has(cli, 'q'))
		printf("Image resized.\n");
	return 0;
}

static int run(const struct cli *cli)
{
	struct qimg_open open = {
		.name = cli->operands[0],
		.format = cli_value(cli, 'f'),
		.image_opts = cli_has(cli, QIMG_IMAGE_OPTS),
	};
	const char *mode = cli_value(cli, PREALLOCATION);
	enum image_preallocation preallocation = IMAGE_PREALLOCATION_OFF;
	struct image *image;
	int status;

	if (mode && image_preallocation_parse(mode, &preallocation))
		return cli_error("Invalid preallocation mode '%s': there are "
				 "off, metadata, falloc and full",
				 mode);
	if (!qimg_secrets_add(cli))
		return 1;
	image = qimg_open(&open);
	if (!image)
		return 1;
	status = resize(cli, image, preallocation);
	return qimg_end(image, open.name, status);
}

const struct cli_command qimg_resize = {
	.name = "resize",
	.operands = "FILE [+|-]SIZE",
	.summary = "Makes the disk larger or smaller",
	.min_operands = 2,
	.max_operands = 2,
	.last_is_operand = true,
	.options = options,
	.run = run,
};
