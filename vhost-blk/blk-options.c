/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-blk/blk-options.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
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
	/* getopt_long's values for rows lie above the characters it returns. */
	ROW_BASE = 256,
	NOT_AN_OPTION = 1, /* what a leading '-' makes of other arguments */
};

struct parser {
	struct blk_options *options;
	const char *name; /* of the option at hand, without dashes */
	const char *value;
	char *error;
};

struct option_row {
	const char *name;
	const char *value; /* what --help calls it; NULL: takes none */
	/* 0, -EINVAL with parser->error set, or a BLK_OPTIONS_* outcome. */
	int (*set)(struct parser *parser);
	const char *help;
};

static int fail(struct parser *parser, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static int fail(struct parser *parser, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(parser->error, BLK_OPTIONS_ERROR_BYTES, format, args);
	va_end(args);
	return -EINVAL;
}

static int fail_value(struct parser *parser, const char *wanted)
{
	return fail(parser, "--%s=%s: give %s", parser->name, parser->value,
		    wanted);
}

int blk_options_size(const char *text, uint64_t *ret_bytes)
{
	static const char suffixes[] = "KMGT";
	unsigned long long number;
	unsigned shift = 0;
	const char *suffix;
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return -EINVAL;
	errno = 0;
	number = strtoull(text, &end, 10);
	if (errno == ERANGE)
		return -ERANGE;
	if (*end != '\0') {
		/* A blank would become the end of suffixes. */
		suffix = *end == ' ' ? NULL : strchr(suffixes, *end & ~0x20);
		if (!suffix || end[1] != '\0')
			return -EINVAL;
		shift = 10 * (suffix - suffixes + 1);
	}
	if (number > UINT64_MAX >> shift)
		return -ERANGE;
	*ret_bytes = (uint64_t)number << shift;
	return 0;
}

static int parse_size(struct parser *parser, uint64_t *ret_bytes)
{
	if (blk_options_size(parser->value, ret_bytes) < 0)
		return fail_value(parser, "bytes, as in 4096, 64K, 32M or 1G");
	return 0;
}

static int parse_rate(struct parser *parser, uint64_t *ret_rate)
{
	if (blk_options_size(parser->value, ret_rate) < 0 || *ret_rate == 0)
		return fail_value(parser, "a number over 0, as in 5000 or 64M");
	return 0;
}

static int parse_count(struct parser *parser, uint16_t max, uint16_t *ret_count)
{
	uint64_t count;

	if (blk_options_size(parser->value, &count) < 0 || count == 0 ||
	    count > max)
		return fail(parser, "--%s=%s: give a number from 1 to %u",
			    parser->name, parser->value, max);
	*ret_count = count;
	return 0;
}

static int parse_block(struct parser *parser, uint32_t *ret_bytes)
{
	uint64_t bytes;

	if (blk_options_size(parser->value, &bytes) < 0 ||
	    !is_power_of_two(bytes) || bytes < MIN_BLOCK_BYTES ||
	    bytes > MAX_BLOCK_BYTES)
		return fail_value(parser, "a power of two from 512 to 64K");
	*ret_bytes = bytes;
	return 0;
}

/* The position of the value in @words, "a|b|c". */
static int parse_word(struct parser *parser, const char *words,
		      unsigned *ret_index)
{
	size_t length = strlen(parser->value);
	const char *word = words;

	for (unsigned i = 0;; i++) {
		size_t word_length = strcspn(word, "|");

		if (length == word_length &&
		    memcmp(word, parser->value, length) == 0) {
			*ret_index = i;
			return 0;
		}
		if (word[word_length] == '\0')
			break;
		word += word_length + 1;
	}
	return fail(parser, "--%s=%s: give one of %s", parser->name,
		    parser->value, words);
}

static int set_socket_path(struct parser *parser)
{
	parser->options->socket_path = parser->value;
	return 0;
}

static int set_fd(struct parser *parser)
{
	uint64_t fd;

	if (blk_options_size(parser->value, &fd) < 0 || fd > INT32_MAX)
		return fail_value(parser, "the number of an inherited socket");
	parser->options->fd = fd;
	return 0;
}

static int set_connect(struct parser *parser)
{
	parser->options->connect = true;
	return 0;
}

static int set_image(struct parser *parser)
{
	parser->options->image = parser->value;
	return 0;
}

static int set_format(struct parser *parser)
{
	parser->options->format = parser->value;
	return 0;
}

static int set_read_only(struct parser *parser)
{
	parser->options->read_only = true;
	return 0;
}

static int set_num_queues(struct parser *parser)
{
	return parse_count(parser, BLK_OPTIONS_MAX_QUEUES,
			   &parser->options->num_queues);
}

static int set_threads(struct parser *parser)
{
	return parse_count(parser, BLK_OPTIONS_MAX_THREADS,
			   &parser->options->threads);
}

static int set_cache(struct parser *parser)
{
	return parse_word(parser, "none|writeback|writethrough",
			  &parser->options->cache);
}

static int set_poll(struct parser *parser)
{
	return parse_word(parser, "adaptive|always|never",
			  &parser->options->poll);
}

static int set_range(struct parser *parser)
{
	const char *colon = strchr(parser->value, ':');
	struct blk_options *options = parser->options;
	char offset[32];

	if (!colon || (size_t)(colon - parser->value) >= sizeof(offset))
		return fail_value(parser, "OFFSET:LENGTH, as in 1M:10G");
	memcpy(offset, parser->value, colon - parser->value);
	offset[colon - parser->value] = '\0';
	if (blk_options_size(offset, &options->range_offset) < 0 ||
	    blk_options_size(colon + 1, &options->range_length) < 0)
		return fail_value(parser, "OFFSET:LENGTH, as in 1M:10G");
	if (options->range_length == 0 || options->range_length > INT64_MAX ||
	    options->range_offset > INT64_MAX - options->range_length)
		return fail_value(parser,
				  "a length over 0 and an end under 2^63");
	return 0;
}

static int set_serial(struct parser *parser)
{
	if (strlen(parser->value) > VIRTIO_BLK_ID_BYTES)
		return fail_value(parser, "at most 20 bytes");
	parser->options->serial = parser->value;
	return 0;
}

static int set_allow_file(struct parser *parser)
{
	struct blk_options *options = parser->options;

	if (options->allowed_count == BLK_OPTIONS_MAX_ALLOWED)
		return fail(parser,
			    "--%s=%s: %u are given already; allow a folder "
			    "instead",
			    parser->name, parser->value,
			    options->allowed_count);
	options->allowed[options->allowed_count++] = parser->value;
	return 0;
}

static int set_key_file(struct parser *parser)
{
	parser->options->key_file = parser->value;
	return 0;
}

static int set_logical_block_size(struct parser *parser)
{
	return parse_block(parser, &parser->options->logical_block_bytes);
}

static int set_physical_block_size(struct parser *parser)
{
	return parse_block(parser, &parser->options->physical_block_bytes);
}

static int set_cache_size(struct parser *parser)
{
	return parse_size(parser, &parser->options->cache_bytes);
}

static int set_iops(struct parser *parser)
{
	return parse_rate(parser, &parser->options->iops);
}

static int set_bps(struct parser *parser)
{
	return parse_rate(parser, &parser->options->bps);
}

static int set_sandbox(struct parser *parser)
{
	unsigned off;
	int err = parse_word(parser, "on|off", &off);

	if (err == 0)
		parser->options->sandbox = !off;
	return err;
}

static int set_verbose(struct parser *parser)
{
	parser->options->verbose = true;
	return 0;
}

static int set_capabilities(struct parser *parser)
{
	return BLK_OPTIONS_CAPABILITIES;
}

static int set_help(struct parser *parser)
{
	return BLK_OPTIONS_HELP;
}

static int set_version(struct parser *parser)
{
	return BLK_OPTIONS_VERSION;
}

static const struct option_row rows[] = {
	{"socket-path", "PATH", set_socket_path,
	 "listen on (or --connect to) this Unix socket"},
	{"fd", "N", set_fd,
	 "use this inherited socket, listening or connected"},
	{"connect", NULL, set_connect,
	 "connect to a front-end that listens at --socket-path"},
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
	{"poll", "adaptive|always|never", set_poll,
	 "whether idle threads spin for a while (adaptive)"},
	{"serial", "TEXT", set_serial,
	 "what the driver reads as serial number"},
	{"logical-block-size", "BYTES", set_logical_block_size, "(512)"},
	{"physical-block-size", "BYTES", set_physical_block_size, "(4096)"},
	{"cache-size", "BYTES", set_cache_size,
	 "memory for the image's metadata"},
	{"iops", "N", set_iops, "at most so many requests a second"},
	{"bps", "BYTES", set_bps, "at most so many bytes a second"},
	{"sandbox", "on|off", set_sandbox,
	 "give up files and system calls not needed (on)"},
	{"verbose", NULL, set_verbose, "log more"},
	{"print-capabilities", NULL, set_capabilities,
	 "print what this back-end can do as JSON, and exit"},
	{"help", NULL, set_help, "print this, and exit"},
	{"version", NULL, set_version, "print the version, and exit"},
};

void blk_options_print_help(const char *program)
{
	printf("Usage: %s --socket-path=PATH --blk-file=IMAGE [OPTION]...\n"
	       "Serves a disk image to a virtual machine as a vhost-user "
	       "block device.\n\n",
	       program);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		printf("  --%s%s%s\n        %s\n", rows[i].name,
		       rows[i].value ? "=" : "",
		       rows[i].value ? rows[i].value : "", rows[i].help);
}

static int check(struct parser *parser)
{
	struct blk_options *options = parser->options;

	if (!options->image)
		return fail(parser, "--blk-file is missing: name the image "
				    "to serve");
	if (options->socket_path && options->fd >= 0)
		return fail(parser, "--socket-path and --fd exclude each "
				    "other: give one");
	if (options->connect && !options->socket_path)
		return fail(parser, "--connect needs --socket-path: name the "
				    "socket to connect to");
	if (options->physical_block_bytes == 0)
		options->physical_block_bytes =
			MAX((uint32_t)DEFAULT_PHYSICAL_BYTES,
			    options->logical_block_bytes);
	if (options->physical_block_bytes < options->logical_block_bytes)
		return fail(parser,
			    "--physical-block-size=%u is less than the logical "
			    "block size %u: give at least that",
			    options->physical_block_bytes,
			    options->logical_block_bytes);
	options->threads = MIN(options->threads, options->num_queues);
	return 0;
}

static int take_option(struct parser *parser, int found, char *argument)
{
	if (found == NOT_AN_OPTION)
		return fail(parser, "%s: not an option: see --help", optarg);
	if (found == '?')
		return fail(parser, "%s: no such option: see --help", argument);
	if (found == ':')
		return fail(parser, "%s: needs a value: see --help", argument);
	parser->name = rows[found - ROW_BASE].name;
	parser->value = optarg;
	return rows[found - ROW_BASE].set(parser);
}

int blk_options_parse(int argc, char **argv, struct blk_options *ret_options,
		      char ret_error[static BLK_OPTIONS_ERROR_BYTES])
{
	struct option longs[ARRAY_SIZE(rows) + 1] = {0};
	struct parser parser = {.options = ret_options, .error = ret_error};
	int found, err;

	*ret_options = (struct blk_options){
		.fd = -1,
		.sandbox = true,
		.cache = BLK_CACHE_WRITEBACK,
		.num_queues = DEFAULT_QUEUES,
		.threads = DEFAULT_THREADS,
		.logical_block_bytes = MIN_BLOCK_BYTES,
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		longs[i] = (struct option){
			.name = rows[i].name,
			.has_arg =
				rows[i].value ? required_argument : no_argument,
			.val = ROW_BASE + (int)i,
		};
	optind = 0; /* start over, GNU's way: tests parse many lines */
	opterr = 0;
	while ((found = getopt_long(argc, argv, "-:", longs, NULL)) != -1) {
		err = take_option(&parser, found, argv[optind - 1]);
		if (err != 0)
			return err;
	}
	return check(&parser);
}
