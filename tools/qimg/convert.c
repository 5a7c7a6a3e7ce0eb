/* SPDX-License-Identifier: Apache-2.0 */
/* qimg convert: copies images into a new one, or into one that is there. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "image/manage.h"
#include "image/open.h"
#include "tools/qimg/commands.h"
#include "tools/qimg/convert.h"
#include "tools/qimg/progress.h"

enum {
	TARGET_IMAGE_OPTS = QIMG_FIRST_OWN_KEY,
	SALVAGE,
	BITMAPS,
	SKIP_BROKEN_BITMAPS,
	TARGET_IS_ZERO,
	VERIFY,
	LOOP_ENTRIES = 256,
	EXECUTOR_DEPTH = 64,
};

static const struct cli_option options[] = {
	QIMG_OPTION_FORMAT,
	{'O', NULL, CLI_FORMAT, "FORMAT", "of the target (default: raw)"},
	{'o', NULL, CLI_OPTIONS, "OPTIONS",
	 "NAME=VALUE,… for the target; \"help\" lists them"},
	{'B', "backing", CLI_FILE, "FILE",
	 "the target's backing image, which holds what the source lacks"},
	{'b', NULL, CLI_FILE, "FILE", "the same"},
	{'F', "backing-format", CLI_FORMAT, "FORMAT", "of the backing image"},
	{'c', NULL, CLI_FLAG, NULL, "compress the target"},
	{'C', NULL, CLI_FLAG, NULL, "let the file system copy where it can"},
	{'n', NULL, CLI_FLAG, NULL, "the target is there: do not make it"},
	{'l', NULL, CLI_TEXT, "SNAPSHOT",
	 "the source as it was then: a name, or snapshot.id=…,snapshot.name=…"},
	{'S', NULL, CLI_TEXT, "SIZE",
	 "runs of zeroes this long are left out (default: 4k; 0: none)"},
	{'m', NULL, CLI_TEXT, "COUNT", "requests at once, 1 to 16"},
	{'W', NULL, CLI_FLAG, NULL, "write in any order"},
	{'r', NULL, CLI_TEXT, "BYTES", "a second, at most"},
	QIMG_OPTION_PROGRESS,
	QIMG_OPTION_QUIET,
	QIMG_OPTION_SHARE,
	QIMG_OPTION_CACHE('t'),
	QIMG_OPTION_CACHE('T'),
	{SALVAGE, "salvage", CLI_FLAG, NULL,
	 "zeroes in place of what cannot be read"},
	{BITMAPS, "bitmaps", CLI_FLAG, NULL, "copy the bitmaps, too"},
	{SKIP_BROKEN_BITMAPS, "skip-broken-bitmaps", CLI_FLAG, NULL,
	 "but for those that are inconsistent"},
	{TARGET_IS_ZERO, "target-is-zero", CLI_FLAG, NULL,
	 "with -n: the target reads as zeroes all over"},
	{VERIFY, "verify", CLI_FLAG, NULL,
	 "read both again in the end, and compare"},
	QIMG_OPTION_OBJECT,
	QIMG_OPTION_IMAGE_OPTS,
	{TARGET_IMAGE_OPTS, "target-image-opts", CLI_FLAG, NULL,
	 "with -n: the target is given as driver=…,file.filename=…"},
	{0},
};

/* --- Options --- */

static bool is_stdout(const struct cli *cli)
{
	return strcmp(cli->operands[cli->operand_count - 1], "-") == 0 &&
	       !cli_has(cli, TARGET_IMAGE_OPTS);
}

static int check_options(const struct cli *cli)
{
	if (!cli_has(cli, 'n') && format_is_foreign(cli_value(cli, 'O')))
		return cli_error("Format driver '%s' does not support image "
				 "creation",
				 cli_value(cli, 'O'));
	if (cli_has(cli, TARGET_IMAGE_OPTS) && !cli_has(cli, 'n'))
		return cli_error("--target-image-opts requires use of -n flag");
	if (cli_has(cli, TARGET_IMAGE_OPTS) && cli_has(cli, 'O'))
		return cli_error("-O and --target-image-opts are mutually "
				 "exclusive");
	if (cli_has(cli, TARGET_IS_ZERO) && !cli_has(cli, 'n'))
		return cli_error("--target-is-zero requires use of -n flag");
	if (cli_has(cli, SKIP_BROKEN_BITMAPS) && !cli_has(cli, BITMAPS))
		return cli_error("Use of --skip-broken-bitmaps requires "
				 "--bitmaps");
	if (cli_has(cli, 'C') && cli_has(cli, 'S'))
		return cli_error("Cannot enable copy offloading when -S is "
				 "used");
	if (cli_has(cli, 'n') && is_stdout(cli))
		return cli_error("with -n the target is there, and standard "
				 "output is not");
	if (cli_has(cli, BITMAPS) && is_stdout(cli))
		return cli_error("--bitmaps wants a file as the target");
	if (cli_has(cli, 'p') && is_stdout(cli))
		return cli_error("-p writes to standard output, where the "
				 "image goes: use --progress=json");
	if (cli_has(cli, 'C') && cli_has(cli, 'c'))
		return cli_error("Cannot enable copy offloading when -c is "
				 "used");
	return 0;
}

static int parse_numbers(struct convert *convert, const struct cli *cli)
{
	const char *sparse = cli_value(cli, 'S');
	const char *slots = cli_value(cli, 'm');
	const char *rate = cli_value(cli, 'r');
	uint64_t value = 0;

	convert->sparse = CONVERT_SPARSE;
	convert->slots = CONVERT_SLOTS;
	if (sparse) {
		if (image_parse_size(sparse, &value) || value > UINT32_MAX ||
		    value % SECTOR_BYTES != 0)
			return cli_error("Invalid buffer size for sparse "
					 "output specified. Valid sizes are "
					 "multiples of %d up to %u. Select 0 "
					 "to disable sparse detection (fully "
					 "allocates output).",
					 SECTOR_BYTES,
					 UINT32_MAX & ~(SECTOR_BYTES - 1u));
		convert->sparse = value;
	}
	if (slots) {
		if (image_parse_size(slots, &value) || value < 1 ||
		    value > CONVERT_MAX_SLOTS)
			return cli_error("Invalid number of coroutines. "
					 "Allowed number of coroutines is "
					 "between 1 and %d",
					 CONVERT_MAX_SLOTS);
		convert->slots = value;
	}
	if (rate && image_parse_size(rate, &convert->rate_bytes))
		return cli_error("Invalid rate limit: \"%s\" is not a size "
				 "such as 10M",
				 rate);
	return 0;
}

static int parse_switches(struct convert *convert, const struct cli *cli)
{
	const char *mode = cli_value(cli, 't');

	convert->compress = cli_has(cli, 'c');
	convert->copy_range = cli_has(cli, 'C');
	convert->out_of_order = cli_has(cli, 'W');
	convert->salvage = cli_has(cli, SALVAGE);
	convert->verify = cli_has(cli, VERIFY);
	convert->to_stdout = is_stdout(cli);
	convert->cache = (struct qimg_cache){.no_flush = true};
	if (mode && !qimg_cache_parse(mode, &convert->cache))
		return 1;
	convert->no_sync = convert->cache.no_flush;
	if (!progress_init(cli))
		return 1;
	return parse_numbers(convert, cli);
}

/* --- Sources --- */

static int open_source(struct convert *convert, const struct cli *cli,
		       const char *name)
{
	struct convert_source *source =
		&convert->sources[convert->source_count];
	struct qimg_open open = {
		.name = name,
		.format = cli_value(cli, 'f'),
		.image_opts = cli_has(cli, QIMG_IMAGE_OPTS),
		.read_only = true,
		.verify_ova = true,
		.share = cli_has(cli, 'U'),
	};
	const char *mode = cli_value(cli, 'T');
	struct qimg_snapshot snapshot;

	if ((mode && !qimg_cache_parse(mode, &open.cache)) ||
	    !qimg_snapshot_parse(cli_value(cli, 'l'), &snapshot))
		return 1;
	open.snapshot = &snapshot;
	source->name = name;
	source->image = qimg_open(&open);
	qimg_snapshot_deinit(&snapshot);
	if (!source->image)
		return 1;
	convert->source_count++;
	source->start = convert->total_bytes;
	source->bytes = align_up(source->image->size_bytes, SECTOR_BYTES);
	if (source->bytes > INT64_MAX - convert->total_bytes)
		return cli_error("the sources are too large together");
	convert->total_bytes += source->bytes;
	return 0;
}

static bool is_stdin(const struct cli *cli, int i)
{
	return strcmp(cli->operands[i], "-") == 0 &&
	       !cli_has(cli, QIMG_IMAGE_OPTS);
}

static int open_stdin(struct convert *convert, const struct cli *cli, int count)
{
	if (convert_stdin_is_file())
		return open_source(convert, cli, "/dev/stdin");
	if (count > 1)
		return cli_error("standard input has to be the only source");
	if (cli_has(cli, 'l') || cli_has(cli, BITMAPS))
		return cli_error("what comes through a pipe has neither "
				 "snapshots nor bitmaps");
	return convert_stdin_open(convert, cli_value(cli, 'f'));
}

static int open_sources(struct convert *convert, const struct cli *cli)
{
	int count = cli->operand_count - 1;
	int status = 0;

	if (count > CONVERT_MAX_SOURCES)
		return cli_error("more than %d sources", CONVERT_MAX_SOURCES);
	if (count > 1 && cli_has(cli, BITMAPS))
		return cli_error("Copying bitmaps only possible with single "
				 "source");
	for (int i = 0; i < count && status == 0; i++)
		status = is_stdin(cli, i)
				 ? open_stdin(convert, cli, count)
				 : open_source(convert, cli, cli->operands[i]);
	return status;
}

/* --- The target --- */

/* What is in the archive has a format. */
static bool is_ova(const struct cli *cli)
{
	const char *name = cli_value(cli, 'O');

	return name && strcmp(name, "ova") == 0;
}

static const char *target_format(const struct cli *cli)
{
	return is_ova(cli) ? "vmdk" : cli_value(cli, 'O');
}

static int make_target(struct convert *convert, const struct cli *cli)
{
	char *path;
	int status;

	convert->to_ova = is_ova(cli);
	status = format_request_parse(cli, target_format(cli), &convert->make);
	if (status != -1)
		return status;
	if (convert->to_ova &&
	    image_options_set(&convert->make.options, "subformat",
			      "streamOptimized"))
		return cli_error("out of memory");
	if (convert->make.backing_name && !convert->make.backing_format)
		return cli_error("Use of backing file requires explicit "
				 "backing format");
	if (convert->make.backing_name && convert->source_count > 1)
		return cli_error("Having a backing file for the target makes "
				 "no sense when concatenating multiple input "
				 "images");
	convert->make.size_bytes = convert->total_bytes;
	convert->has_backing = convert->make.backing_name != NULL;
	if (convert_is_stream(convert) && convert_stream_check(convert))
		return 1;
	if (convert->to_stdout) {
		status = convert_stdout_check(convert);
		if (status || !convert_is_spooled(convert))
			return status;
		if (convert_spool_begin(convert))
			return 1;
	}
	if (convert->from_stdin && convert_stdin_check_format(&convert->make))
		return 1;
	path = qimg_path(convert->target_name, false);
	if (!path)
		return 1;
	status = convert_is_stream(convert)
			 ? convert_target_reserve(convert, path)
			 : convert_target_make(convert, path);
	free(path);
	return status;
}

static int open_existing(struct convert *convert, const struct cli *cli)
{
	struct qimg_open open = {
		.name = convert->target_name,
		.format = cli_value(cli, 'O'),
		.image_opts = cli_has(cli, TARGET_IMAGE_OPTS),
		.cache = convert->cache,
	};

	if (!open.format && !open.image_opts)
		open.format = "raw";
	if (cli_has(cli, 'o'))
		return cli_error("-o has no effect when skipping image "
				 "creation");
	convert->has_backing = cli_has(cli, 'B') || cli_has(cli, 'b');
	return convert_target_open(convert, &open);
}

static int check_target(struct convert *convert)
{
	struct image *target = convert->target;

	if (target->size_bytes < convert->total_bytes && !convert->from_stdin)
		return cli_error("output file is smaller than input file: "
				 "%" PRIu64 " bytes have no room in the "
				 "%" PRIu64 " of %s",
				 convert->total_bytes, target->size_bytes,
				 convert->target_name);
	if (convert->compress &&
	    (!target->format->map_packed || target->codec == IMAGE_CODEC_NONE))
		return cli_error("Compression not supported for this file "
				 "format");
	return 0;
}

/* A device keeps what it had. */
bool convert_is_blank(const struct image *target)
{
	return target->store->can_grow || target->cluster_bytes > 0;
}

static int prepare_target(struct convert *convert, const struct cli *cli)
{
	bool there = cli_has(cli, 'n');
	int status =
		there ? open_existing(convert, cli) : make_target(convert, cli);

	if (status || !convert->target)
		return status;
	/* A backing image shows through. */
	if (!convert->has_backing)
		convert->reads_zero = there ? cli_has(cli, TARGET_IS_ZERO)
					    : convert_is_blank(convert->target);
	return check_target(convert);
}

/* --- Both --- */

static int make_executors(struct convert *convert)
{
	struct executor_config target = {
		.depth = EXECUTOR_DEPTH,
		.writethrough = convert->cache.writethrough,
		.in_line = true,
		.no_sync = convert->no_sync,
		.pool = convert->pool,
		.compress = convert->compress,
		.level = image_options_number(&convert->make.options,
					      "compression_level", 0),
	};
	const struct executor_config source = {
		.depth = EXECUTOR_DEPTH,
		.pool = convert->pool,
	};
	int err = executor_new(convert->loop, convert->target, &target,
			       &convert->executor);

	for (size_t i = 0; i < convert->source_count && err == 0; i++)
		err = executor_new(convert->loop, convert->sources[i].image,
				   &source, &convert->sources[i].executor);
	return err;
}

static bool wants_pool(const struct convert *convert)
{
	bool wants = convert->compress;

	for (size_t i = 0; i < convert->source_count; i++)
		for (struct image *image = convert->sources[i].image; image;
		     image = image->backing)
			wants |= image->codec != IMAGE_CODEC_NONE;
	return wants;
}

static int start(struct convert *convert)
{
	int err = loop_new(LOOP_ENTRIES, &convert->loop);

	if (err == 0 && wants_pool(convert))
		err = codec_pool_new(0, &convert->pool);
	if (err == 0)
		err = make_executors(convert);
	return err ? cli_error("cannot start: %s", strerror(-err)) : 0;
}

static void stop(struct convert *convert)
{
	for (size_t i = 0; i < convert->source_count; i++) {
		executor_free(convert->sources[i].executor);
		convert->sources[i].executor = NULL;
	}
	executor_free(convert->executor);
	codec_pool_free(convert->pool);
	if (convert->loop)
		loop_free(convert->loop);
	convert->executor = NULL;
	convert->pool = NULL;
	convert->loop = NULL;
}

int convert_run(struct convert *convert)
{
	int status = start(convert);

	if (status == 0)
		status = convert_copy(convert);
	stop(convert);
	return status;
}

/* Whether the target's size stays as it is, however much comes. */
static bool is_fixed(const struct convert *convert, const struct cli *cli)
{
	const struct image *target = convert->target;

	return cli_has(cli, 'n') ||
	       (target->cluster_bytes == 0 && !target->store->can_grow);
}

static int copy(struct convert *convert, const struct cli *cli)
{
	int status;

	if (convert->to_stdout)
		return convert_stdout(convert);
	if (convert_target_place() && !convert->target)
		return convert_stream(convert);
	if (convert->from_stdin)
		return convert_stdin(convert, is_fixed(convert, cli));
	progress_begin(convert->total_bytes);
	status = convert_run(convert);
	progress_end(status == 0);
	return status;
}

/* With executors of its own: none may know what the copy left in memory. */
static int verify(struct convert *convert)
{
	int status = convert_target_reopen(convert);

	if (status)
		return status;
	status = start(convert);
	if (status == 0)
		status = convert_verify(convert);
	stop(convert);
	return status;
}

static int carry_out(struct convert *convert, const struct cli *cli)
{
	int status = copy(convert, cli);

	if (status == 0 && cli_has(cli, BITMAPS))
		status = convert_bitmaps_copy(convert);
	if (status == 0 && convert->verify)
		status = verify(convert);
	return status;
}

static int convert_all(struct convert *convert, const struct cli *cli)
{
	int status = parse_switches(convert, cli);

	/* "-o help" needs no source. */
	if (status == 0)
		status = open_sources(convert, cli);
	if (status == 0 && cli_has(cli, BITMAPS))
		status = convert_bitmaps_check(
			convert, cli_has(cli, SKIP_BROKEN_BITMAPS));
	if (status == 0)
		status = prepare_target(convert, cli);
	if (status == 0 &&
	    (convert->target || convert->to_stdout || convert_target_place()))
		status = carry_out(convert, cli);
	status = convert_target_end(convert, status);
	status = convert_spool_end(status);
	for (size_t i = 0; i < convert->source_count; i++)
		(void)image_close(convert->sources[i].image);
	format_request_deinit(&convert->make);
	return status;
}

static int print_help(const struct cli *cli)
{
	const char *name = target_format(cli);
	const struct image_format *format =
		image_find_format(name ? name : "raw");

	if (!format)
		return cli_error("Unknown file format '%s'%s", name,
				 format_nearest(name));
	format_print_help(format, IMAGE_OPTION_CREATE);
	return 0;
}

static int run(const struct cli *cli)
{
	struct convert *convert;
	int status;

	if (cli_has(cli, 'o') && format_is_help(cli_value(cli, 'o')))
		return print_help(cli);
	if (cli->operand_count < 2)
		return cli_error("Must specify image file name");
	if (check_options(cli) || !qimg_secrets_add(cli))
		return 1;
	convert = calloc(1, sizeof(*convert));
	if (!convert)
		return cli_error("out of memory");
	convert->target_name = cli->operands[cli->operand_count - 1];
	status = convert_all(convert, cli);
	free(convert);
	return status;
}

const struct cli_command qimg_convert = {
	.name = "convert",
	.operands = "SOURCE... TARGET",
	.summary =
		"Copies images, one after the other, into another one; \"-\" is "
		"standard input or output",
	.min_operands = 0,
	.max_operands = -1,
	.options = options,
	.run = run,
};
