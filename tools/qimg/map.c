/* SPDX-License-Identifier: Apache-2.0 */
/* qimg map: where the bytes of an image lie, along its backing chain. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "image/block-status.h"
#include "image/manage.h"
#include "image/open.h"
#include "tools/qimg/commands.h"
#include "tools/qimg/output.h"
#include "tools/qimg/spec.h"

enum {
	SECTOR_BYTES = 512,
	START_OFFSET = QIMG_FIRST_OWN_KEY,
	MAX_LENGTH,
	CHANGED,
};

static const struct cli_option options[] = {
	{START_OFFSET, "start-offset", CLI_TEXT, "BYTES", "begin there"},
	{MAX_LENGTH, "max-length", CLI_TEXT, "BYTES",
	 "go no further than this"},
	{CHANGED, "changed", CLI_TEXT, "BITMAP",
	 "only what has its bits set in BITMAP; of a VMDK image \"changes\", or "
	 "a change ID's number from which on"},
	QIMG_OPTION_FORMAT,
	QIMG_OPTION_SHARE,
	QIMG_OPTION_OBJECT,
	QIMG_OPTION_IMAGE_OPTS,
	QIMG_OPTION_OUTPUT,
	{0},
};

struct map {
	struct image *image;
	uint64_t size_bytes; /* of the disk */
	const char *path;
	const char *changed; /* a bitmap's name; NULL: all is of interest */
	bool json;
	bool begun; /* something was printed */
	struct block_status_sparse chain;
};

/* The image's own file, or one that it names: as the chain says it. To be freed. */
static char *file_of(const struct map *map, const struct block_status *s)
{
	char *path = s->image->store->is_remote
			     ? strdup(s->image->store->name)
			     : qimg_path_below(map->image, map->path, s->depth);

	for (size_t i = 0; path && i < s->image->file_count; i++) {
		const struct image_file *file = &s->image->files[i];
		char *beside;

		if (file->store != s->store)
			continue;
		beside = qimg_path_beside(path, file->name);
		free(path);
		return beside;
	}
	return path;
}

static int print_human(const struct map *map, const struct block_status *s)
{
	char *file;

	if (s->data && !s->has_offset)
		return cli_error("File contains external, encrypted or "
				 "compressed clusters.");
	if (!s->data || s->zero)
		return 0;
	file = file_of(map, s);
	printf("%#-16" PRIx64 "%#-16" PRIx64 "%#-16" PRIx64 "%s\n", s->offset,
	       s->length, s->host_offset, file ? file : "?");
	free(file);
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

static int print_run(struct map *map, const struct block_status *s)
{
	int status = 0;

	if (map->json)
		print_json(s, !map->begun);
	else
		status = print_human(map, s);
	map->begun = true;
	return status;
}

/*
 * What a raw file lacks of its last sector: nothing, or with O_DIRECT, which
 * reads whole sectors, more of what @last is.
 */
static void describe_rest(const struct map *map,
			  const struct block_status *last, uint64_t offset,
			  uint64_t length, struct block_status *ret)
{
	*ret = (struct block_status){.image = map->image,
				     .present = true,
				     .zero = true,
				     .hole = true,
				     .has_offset = true,
				     .store = map->image->store};
	if (map->image->store->alignment > 1 && last->length)
		*ret = *last;
	ret->offset = ret->host_offset = offset;
	ret->length = length;
}

static int look(struct map *map, uint64_t offset, uint64_t length,
		struct block_status *ret)
{
	int err = block_status_next(map->image, offset, length, ret);

	if (err == 0)
		err = block_status_judge_hole(&map->chain, ret);
	return err ? qimg_image_error(map->image, map->path, err,
				      "Could not read file metadata")
		   : 0;
}

static int print_runs(struct map *map, uint64_t start, uint64_t end)
{
	struct block_status run = {0}, next;
	int status = 0;

	for (; start < end && status == 0; start += next.length) {
		if (start < map->image->size_bytes)
			status = look(map, start,
				      MIN(end, map->image->size_bytes) - start,
				      &next);
		else
			describe_rest(map, &run, start, end - start, &next);
		if (status)
			return status;
		if (run.length && block_status_joins(&run, &next)) {
			run.length += next.length;
			continue;
		}
		if (run.length)
			status = print_run(map, &run);
		run = next;
	}
	return status || !run.length ? status : print_run(map, &run);
}

/* Of the runs whose bits are set. */
static int print_changed(struct map *map, uint64_t start, uint64_t end)
{
	end = MIN(end, map->image->size_bytes);
	while (start < end) {
		uint64_t offset, length;
		int status;
		int err = image_bitmap_next(map->image, map->changed, start,
					    &offset, &length);

		if (err)
			return qimg_image_error(map->image, map->path, err,
						"the bitmap cannot be read");
		if (length == 0 || offset >= end)
			return 0;
		start = offset + MIN(length, end - offset);
		status = print_runs(map, offset, start);
		if (status)
			return status;
	}
	return 0;
}

static int print_map(struct map *map, uint64_t start, uint64_t end)
{
	int status;

	if (!map->json)
		printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to",
		       "File");
	status = map->changed ? print_changed(map, start, end)
			      : print_runs(map, start, end);
	if (map->json)
		printf("%s]\n", map->begun ? "" : "[");
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
	struct map map = {
		.json = json == 1,
		.changed = cli_value(cli, CHANGED),
	};
	char *path;
	int status;

	if (json < 0 || parse_range(cli, &start, &length) ||
	    !qimg_secrets_add(cli))
		return 1;
	image = qimg_open(&open);
	if (!image)
		return 1;
	map.image = image;
	map.size_bytes = image->cluster_bytes
				 ? image->size_bytes
				 : align_up(image->size_bytes, SECTOR_BYTES);
	if (start < map.size_bytes && length > map.size_bytes - start)
		length = map.size_bytes - start;
	if (start >= map.size_bytes)
		start = length = 0;
	path = qimg_path(open.name, open.image_opts);
	map.path = path ? path : open.name;
	status = print_map(&map, start, start + length);
	free(path);
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
