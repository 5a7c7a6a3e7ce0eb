/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-blk/blk-options.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

enum {
	DEFAULT_QUEUES = 8,
	DEFAULT_THREADS = 1,
	DEFAULT_PHYSICAL_BYTES = 4096,
	MIN_BLOCK_BYTES = 512,
	MAX_BLOCK_BYTES = 65536,
};

static struct blk_options *blk(struct options_parser *parser)
{
	return parser->options;
}

static int parse_block(struct options_parser *parser, uint32_t *ret_bytes)
{
	uint64_t bytes;

	if (options_size(parser->value, &bytes) < 0 ||
	    !is_power_of_two(bytes) || bytes < MIN_BLOCK_BYTES ||
	    bytes > MAX_BLOCK_BYTES)
		return options_fail_value(parser,
					  "a power of two from 512 to 64K");
	*ret_bytes = bytes;
	return 0;
}

static int set_image(struct options_parser *parser)
{
	blk(parser)->image = parser->value;
	return 0;
}

static int set_format(struct options_parser *parser)
{
	blk(parser)->format = parser->value;
	return 0;
}

static int set_read_only(struct options_parser *parser)
{
	blk(parser)->read_only = true;
	return 0;
}

static int set_num_queues(struct options_parser *parser)
{
	return options_count(parser, BLK_OPTIONS_MAX_QUEUES,
			     &blk(parser)->num_queues);
}

static int set_threads(struct options_parser *parser)
{
	return options_count(parser, BLK_OPTIONS_MAX_THREADS,
			     &blk(parser)->threads);
}

static int set_cache(struct options_parser *parser)
{
	return options_word(parser, "none|writeback|writethrough",
			    &blk(parser)->cache);
}

static int set_range(struct options_parser *parser)
{
	const char *colon = strchr(parser->value, ':');
	struct blk_options *options = blk(parser);
	char offset[32];

	if (!colon || (size_t)(colon - parser->value) >= sizeof(offset))
		return options_fail_value(parser,
					  "OFFSET:LENGTH, as in 1M:10G");
	memcpy(offset, parser->value, colon - parser->value);
	offset[colon - parser->value] = '\0';
	if (options_size(offset, &options->range_offset) < 0 ||
	    options_size(colon + 1, &options->range_length) < 0)
		return options_fail_value(parser,
					  "OFFSET:LENGTH, as in 1M:10G");
	if (options->range_length == 0 || options->range_length > INT64_MAX ||
	    options->range_offset > INT64_MAX - options->range_length)
		return options_fail_value(
			parser, "a length over 0 and an end under 2^63");
	return 0;
}

static int set_serial(struct options_parser *parser)
{
	if (strlen(parser->value) > VIRTIO_BLK_ID_BYTES)
		return options_fail_value(parser, "at most 20 bytes");
	blk(parser)->serial = parser->value;
	return 0;
}

static int set_allow_file(struct options_parser *parser)
{
	struct blk_options *options = blk(parser);

	if (options->allowed_count == BLK_OPTIONS_MAX_ALLOWED)
		return options_fail(
			parser,
			"--%s=%s: %u are given already; allow a folder "
			"instead",
			parser->name, parser->value, options->allowed_count);
	options->allowed[options->allowed_count++] = parser->value;
	return 0;
}

static int set_key_file(struct options_parser *parser)
{
	blk(parser)->key_file = parser->value;
	return 0;
}

static int set_logical_block_size(struct options_parser *parser)
{
	return parse_block(parser, &blk(parser)->logical_block_bytes);
}

static int set_physical_block_size(struct options_parser *parser)
{
	return parse_block(parser, &blk(parser)->physical_block_bytes);
}

static int set_cache_size(struct options_parser *parser)
{
	return options_bytes(parser, &blk(parser)->cache_bytes);
}

static int set_iops(struct options_parser *parser)
{
	return options_rate(parser, &blk(parser)->iops);
}

static int set_bps(struct options_parser *parser)
{
	return options_rate(parser, &blk(parser)->bps);
}

static const struct options_row rows[] = {
	DAEMON_SOCKET_ROWS,
	{"blk-file", "IMAGE", set_image, "the image to serve"},
	{"format", "FORMAT", set_format,
	 "raw (default), qcow2, vmdk, luks, or probe to guess from the image"},
	{"read-only", NULL, set_read_only, "serve it read-only"},
	{"range", "OFFSET:LENGTH", set_range, "serve this slice of the file"},
	{"allow-file", "PATH", set_allow_file,
	 "file or folder that the image may name; may be repeated"},
	{"key-file", "PATH", set_key_file,
	 "the passphrase of an encrypted image; /dev/fd/N: a descriptor"},
	{"num-queues", "N", set_num_queues, "virtqueues to offer (8)"},
	{"threads", "N", set_threads, "threads that serve them (1)"},
	{"cache", "none|writeback|writethrough", set_cache,
	 "none bypasses the page cache (writeback)"},
	{"serial", "TEXT", set_serial,
	 "what the driver reads as serial number"},
	{"logical-block-size", "BYTES", set_logical_block_size, "(512)"},
	{"physical-block-size", "BYTES", set_physical_block_size, "(4096)"},
	{"cache-size", "BYTES", set_cache_size,
	 "memory for the image's metadata"},
	{"iops", "N", set_iops, "at most so many requests a second"},
	{"bps", "BYTES", set_bps, "at most so many bytes a second"},
	DAEMON_ROWS,
};

void blk_options_print_help(const char *program)
{
	printf("Usage: %s --socket-path=PATH --blk-file=IMAGE [OPTION]...\n"
	       "Serves a disk image to a virtual machine as a vhost-user "
	       "block device.\n\n",
	       program);
	options_print(rows, ARRAY_SIZE(rows));
}

static int check(struct options_parser *parser)
{
	struct blk_options *options = blk(parser);

	if (!options->image)
		return options_fail(parser,
				    "--blk-file is missing: name the image "
				    "to serve");
	if (options->physical_block_bytes == 0)
		options->physical_block_bytes =
			MAX((uint32_t)DEFAULT_PHYSICAL_BYTES,
			    options->logical_block_bytes);
	if (options->physical_block_bytes < options->logical_block_bytes)
		return options_fail(
			parser,
			"--physical-block-size=%u is less than the logical "
			"block size %u: give at least that",
			options->physical_block_bytes,
			options->logical_block_bytes);
	options->threads = MIN(options->threads, options->num_queues);
	return daemon_options_check(parser);
}

int blk_options_parse(int argc, char **argv, struct blk_options *ret_options,
		      char ret_error[static OPTIONS_ERROR_BYTES])
{
	struct options_parser parser = {.options = ret_options,
					.error = ret_error};
	int err;

	*ret_options = (struct blk_options){
		.daemon = DAEMON_OPTIONS_INIT,
		.cache = BLK_CACHE_WRITEBACK,
		.num_queues = DEFAULT_QUEUES,
		.threads = DEFAULT_THREADS,
		.logical_block_bytes = MIN_BLOCK_BYTES,
	};
	err = options_parse(&parser, rows, ARRAY_SIZE(rows), argc, argv);
	return err == 0 ? check(&parser) : err;
}
