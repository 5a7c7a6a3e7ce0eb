/* SPDX-License-Identifier: Apache-2.0 */
/* qimg check: is the image whole; and mends it if asked. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "image/open.h"
#include "tools/qimg/commands.h"
#include "tools/qimg/output.h"
#include "tools/qimg/spec.h"

/* The exit statuses that scripts know. */
enum {
	CHECK_CLEAN = 0,
	CHECK_FAILED = 1, /* could not be carried out */
	CHECK_CORRUPT = 2,
	CHECK_LEAKS = 3,
	CHECK_NOT_SUPPORTED = 63,
};

static const struct cli_option options[] = {
	{'r', "repair", CLI_REPAIR, "WHAT", "leaks, or all that is wrong"},
	{'T', NULL, CLI_CACHE, "MODE", "cache mode of the image"},
	QIMG_OPTION_FORMAT,
	QIMG_OPTION_QUIET,
	QIMG_OPTION_SHARE,
	QIMG_OPTION_OBJECT,
	QIMG_OPTION_IMAGE_OPTS,
	QIMG_OPTION_OUTPUT,
	{0},
};

struct listener {
	bool quiet;
};

static void found(void *opaque, const char *finding, bool fixed)
{
	const struct listener *listener = opaque;

	if (!listener->quiet)
		fprintf(stderr, "%s%s\n", fixed ? "Repairing " : "", finding);
}

static double percent(uint64_t part, uint64_t whole)
{
	return whole ? 100.0 * (double)part / (double)whole : 0;
}

static void print_human(const struct image_check *c)
{
	if (c->corruptions == 0 && c->leaks == 0 && c->check_errors == 0) {
		printf("No errors were found on the image.\n");
	} else {
		if (c->corruptions)
			printf("\n%" PRIu64 " errors were found on the image.\n"
			       "Data may be corrupted, or further writes to "
			       "the image may corrupt it.\n",
			       c->corruptions);
		if (c->leaks)
			printf("\n%" PRIu64
			       " leaked clusters were found on the image.\n"
			       "This means waste of disk space, but no harm to "
			       "data.\n",
			       c->leaks);
		if (c->check_errors)
			printf("\n%" PRIu64
			       " internal errors have occurred during the "
			       "check.\n",
			       c->check_errors);
	}
	if (c->total_clusters && c->allocated_clusters)
		printf("%" PRIu64 "/%" PRIu64 " = %0.2f%% allocated, %0.2f%% "
		       "fragmented, %0.2f%% compressed clusters\n",
		       c->allocated_clusters, c->total_clusters,
		       percent(c->allocated_clusters, c->total_clusters),
		       percent(c->fragmented_clusters, c->allocated_clusters),
		       percent(c->compressed_clusters, c->allocated_clusters));
	if (c->image_end_offset)
		printf("Image end offset: %" PRIu64 "\n", c->image_end_offset);
}

static void put(json_t *into, const char *name, uint64_t value)
{
	if (value)
		json_object_set_new(into, name,
				    json_integer((json_int_t)value));
}

static void print_json(const struct image_check *c, const char *name,
		       const char *format)
{
	json_t *value =
		json_pack("{s:s, s:s, s:I}", "filename", name, "format", format,
			  "check-errors", (json_int_t)c->check_errors);

	put(value, "image-end-offset", c->image_end_offset);
	put(value, "corruptions", c->corruptions);
	put(value, "leaks", c->leaks);
	put(value, "corruptions-fixed", c->corruptions_fixed);
	put(value, "leaks-fixed", c->leaks_fixed);
	put(value, "total-clusters", c->total_clusters);
	put(value, "allocated-clusters", c->allocated_clusters);
	put(value, "fragmented-clusters", c->fragmented_clusters);
	put(value, "compressed-clusters", c->compressed_clusters);
	output_json(value);
}

static int status_of(const struct image_check *c)
{
	if (c->check_errors) {
		cli_error("Check failed");
		return CHECK_FAILED;
	}
	if (c->corruptions)
		return CHECK_CORRUPT;
	return c->leaks ? CHECK_LEAKS : CHECK_CLEAN;
}

/* With findings mended, all is looked at again: only that tells what is left. */
static int check(struct image *image, const char *name, enum image_fix fix,
		 struct listener *listener, bool json, struct image_check *ret)
{
	int err = image_check(image, fix, found, listener, ret);

	if (err == 0 && (ret->corruptions_fixed || ret->leaks_fixed)) {
		uint64_t corruptions = ret->corruptions_fixed;
		uint64_t leaks = ret->leaks_fixed;

		if (!listener->quiet && !json)
			printf("The following inconsistencies were found and "
			       "repaired:\n\n    %" PRIu64
			       " leaked clusters\n    %" PRIu64
			       " corruptions\n\nDouble checking the fixed "
			       "image now...\n",
			       leaks, corruptions);
		err = image_check(image, IMAGE_FIX_NONE, found, listener, ret);
		ret->corruptions_fixed = corruptions;
		ret->leaks_fixed = leaks;
	}
	if (err == -ENOTSUP) {
		cli_error("This image format does not support checks");
		return CHECK_NOT_SUPPORTED;
	}
	if (err)
		return qimg_image_error(image, name, err,
					"the check could not be carried out");
	return 0;
}

static int parse_fix(const char *text, enum image_fix *ret)
{
	*ret = IMAGE_FIX_NONE;
	if (!text)
		return 0;
	if (strcmp(text, "leaks") == 0)
		*ret = IMAGE_FIX_LEAKS;
	else if (strcmp(text, "all") == 0)
		*ret = IMAGE_FIX_ALL;
	else
		return cli_error("-r %s: expecting leaks or all", text);
	return 0;
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
		.check = true,
	};
	struct listener listener = {.quiet = cli_has(cli, 'q')};
	struct image_check result = {0};
	int json = output_format(cli);
	enum image_fix fix;
	struct image *image;
	int status;

	if (json < 0 || parse_fix(cli_value(cli, 'r'), &fix) ||
	    (cli_has(cli, 'T') &&
	     !qimg_cache_parse(cli_value(cli, 'T'), &open.cache)) ||
	    !qimg_secrets_add(cli))
		return CHECK_FAILED;
	open.read_only = fix == IMAGE_FIX_NONE;
	image = qimg_open(&open);
	if (!image)
		return CHECK_FAILED;
	status = check(image, open.name, fix, &listener, json, &result);
	if (status == 0) {
		if (json && !listener.quiet)
			print_json(&result, open.name, image->format->name);
		else if (!listener.quiet)
			print_human(&result);
		status = status_of(&result);
	}
	return qimg_close(image, open.name) ? status : CHECK_FAILED;
}

const struct cli_command qimg_check = {
	.name = "check",
	.operands = "FILE",
	.summary = "Checks whether an image is whole, and repairs it if asked",
	.min_operands = 1,
	.max_operands = 1,
	.options = options,
	.run = run,
};
