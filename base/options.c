/* SPDX-License-Identifier: Apache-2.0 */
#include "base/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	MAX_ROWS = 64,
	/* getopt_long's values for rows lie above the characters it returns. */
	ROW_BASE = 256,
	NOT_AN_OPTION = 1, /* what a leading '-' makes of other arguments */
};

int options_fail(struct options_parser *parser, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(parser->error, OPTIONS_ERROR_BYTES, format, args);
	va_end(args);
	return -EINVAL;
}

int options_fail_value(struct options_parser *parser, const char *wanted)
{
	return options_fail(parser, "--%s=%s: give %s", parser->name,
			    parser->value, wanted);
}

int options_size(const char *text, uint64_t *ret_number)
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
	*ret_number = (uint64_t)number << shift;
	return 0;
}

int options_bytes(struct options_parser *parser, uint64_t *ret_bytes)
{
	if (options_size(parser->value, ret_bytes) < 0)
		return options_fail_value(parser,
					  "bytes, as in 4096, 64K, 32M or 1G");
	return 0;
}

int options_rate(struct options_parser *parser, uint64_t *ret_rate)
{
	if (options_size(parser->value, ret_rate) < 0 || *ret_rate == 0)
		return options_fail_value(parser,
					  "a number over 0, as in 5000 or 64M");
	return 0;
}

int options_count(struct options_parser *parser, uint16_t max,
		  uint16_t *ret_count)
{
	uint64_t count;

	if (options_size(parser->value, &count) < 0 || count == 0 ||
	    count > max)
		return options_fail(parser,
				    "--%s=%s: give a number from 1 to %u",
				    parser->name, parser->value, max);
	*ret_count = count;
	return 0;
}

int options_word(struct options_parser *parser, const char *words,
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
	return options_fail(parser, "--%s=%s: give one of %s", parser->name,
			    parser->value, words);
}

static int take(struct options_parser *parser, const struct options_row *rows,
		int found, char *argument)
{
	if (found == NOT_AN_OPTION)
		return options_fail(parser, "%s: not an option: see --help",
				    optarg);
	if (found == '?')
		return options_fail(parser, "%s: no such option: see --help",
				    argument);
	if (found == ':')
		return options_fail(parser, "%s: needs a value: see --help",
				    argument);
	parser->name = rows[found - ROW_BASE].name;
	parser->value = optarg;
	return rows[found - ROW_BASE].set(parser);
}

int options_parse(struct options_parser *parser, const struct options_row *rows,
		  size_t count, int argc, char **argv)
{
	struct option longs[MAX_ROWS + 1] = {0};
	int found, err;

	if (count > MAX_ROWS)
		return -EINVAL;
	for (size_t i = 0; i < count; i++)
		longs[i] = (struct option){
			.name = rows[i].name,
			.has_arg =
				rows[i].value ? required_argument : no_argument,
			.val = ROW_BASE + (int)i,
		};
	optind = 0; /* start over, GNU's way: tests parse many lines */
	opterr = 0;
	while ((found = getopt_long(argc, argv, "-:", longs, NULL)) != -1) {
		err = take(parser, rows, found, argv[optind - 1]);
		if (err != 0)
			return err;
	}
	return 0;
}

void options_print(const struct options_row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++)
		printf("  --%s%s%s\n        %s\n", rows[i].name,
		       rows[i].value ? "=" : "",
		       rows[i].value ? rows[i].value : "", rows[i].help);
}
