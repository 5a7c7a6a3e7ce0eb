/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/qimg/cli.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/option.h"

const char *cli_program = "qimg";

static void message(const char *kind, const char *format, va_list args)
{
	fflush(stdout);
	fprintf(stderr, "%s: %s", cli_program, kind);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
}

int cli_error(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	message("", format, args);
	va_end(args);
	return 1;
}

void cli_warning(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	message("warning: ", format, args);
	va_end(args);
}

static size_t count_options(const struct cli_command *command)
{
	size_t count = 0;

	while (command->options[count].key)
		count++;
	return count;
}

/* For getopt: "+" would stop at the first operand, which scripts do not. */
static void make_tables(const struct cli_command *command, char *letters,
			struct option *names)
{
	*letters++ = ':';
	for (const struct cli_option *o = command->options; o->key; o++) {
		bool takes = o->kind != CLI_FLAG;

		if (o->key < CLI_FIRST_KEY) {
			*letters++ = (char)o->key;
			if (takes)
				*letters++ = ':';
		}
		if (o->name)
			*names++ = (struct option){
				.name = o->name,
				.has_arg =
					takes ? required_argument : no_argument,
				.val = o->key,
			};
	}
	*letters++ = 'h';
	*letters = '\0';
	*names++ = (struct option){"help", no_argument, NULL, 'h'};
	*names = (struct option){0};
}

static int unknown_option(const struct cli_command *command, char **argv)
{
	const char *names[CLI_MAX_OPTIONS + 2] = {"help"};
	const char *typed = argv[optind - 1];
	const char *nearest = NULL;
	size_t count = 1;

	if (optopt && optopt < CLI_FIRST_KEY)
		return cli_error("%s: unknown option '-%c'; '%s %s --help' "
				 "lists those there are",
				 command->name, optopt, cli_program,
				 command->name);
	for (const struct cli_option *o = command->options; o->key; o++)
		if (o->name)
			names[count++] = o->name;
	names[count] = NULL;
	if (strncmp(typed, "--", 2) == 0) {
		char name[64];

		snprintf(name, sizeof(name), "%.*s",
			 (int)strcspn(typed + 2, "="), typed + 2);
		nearest = image_nearest_name(name, names);
	}
	if (nearest)
		return cli_error("%s: unknown option '%s'; did you mean "
				 "'--%s'?",
				 command->name, typed, nearest);
	return cli_error("%s: unknown option '%s'; '%s %s --help' lists those "
			 "there are",
			 command->name, typed, cli_program, command->name);
}

static int check_operands(const struct cli *cli)
{
	const struct cli_command *command = cli->command;

	if (cli->operand_count < command->min_operands)
		return cli_error("%s: expecting %s; try '%s %s --help'",
				 command->name, command->operands, cli_program,
				 command->name);
	if (command->max_operands >= 0 &&
	    cli->operand_count > command->max_operands)
		return cli_error("%s: \"%s\" is one argument too many; "
				 "expecting %s",
				 command->name,
				 cli->operands[command->max_operands],
				 command->operands);
	return 0;
}

int cli_parse(struct cli *cli, const struct cli_command *command, int argc,
	      char **argv, int *ret_status)
{
	char letters[3 * CLI_MAX_OPTIONS];
	struct option names[CLI_MAX_OPTIONS + 2];
	int options_end = argc;
	int key;

	*cli = (struct cli){.command = command};
	if (count_options(command) > CLI_MAX_OPTIONS)
		abort();
	make_tables(command, letters, names);
	if (command->last_is_operand && argc > 2 &&
	    strcmp(argv[argc - 1], "--help") != 0)
		options_end--;
	optind = 1;
	*ret_status = 1;
	while ((key = getopt_long(options_end, argv, letters, names, NULL)) !=
	       -1) {
		if (key == 'h') {
			cli_print_help(command);
			*ret_status = 0;
			return -1;
		}
		if (key == '?') {
			unknown_option(command, argv);
			return -1;
		}
		if (key == ':') {
			cli_error("%s: option '%s' expects an argument",
				  command->name, argv[optind - 1]);
			return -1;
		}
		if (cli->count == CLI_MAX_ARGUMENTS) {
			cli_error("%s: too many options", command->name);
			return -1;
		}
		cli->arguments[cli->count++] = (struct cli_argument){
			.key = key,
			.value = optarg,
		};
	}
	cli->operands = argv + optind;
	cli->operand_count = argc - optind;
	return check_operands(cli) ? -1 : 0;
}

int cli_size(const char *what, const char *text, uint64_t min, uint64_t max,
	     uint64_t *ret)
{
	uint64_t value = 0;
	int err = image_parse_size(text, &value);

	if (err == -EINVAL) {
		cli_error("Invalid %s specified. You may use k, M, G, T, P or "
			  "E suffixes for",
			  what);
		return cli_error("kilobytes, megabytes, gigabytes, terabytes, "
				 "petabytes and exabytes.");
	}
	if (err || value < min || value > max)
		return cli_error("Invalid %s specified. Must be between "
				 "%" PRIu64 " and %" PRIu64 ".",
				 what, min, max);
	*ret = value;
	return 0;
}

const char *cli_value(const struct cli *cli, int key)
{
	for (size_t i = cli->count; i > 0; i--)
		if (cli->arguments[i - 1].key == key)
			return cli->arguments[i - 1].value;
	return NULL;
}

bool cli_has(const struct cli *cli, int key)
{
	for (size_t i = 0; i < cli->count; i++)
		if (cli->arguments[i].key == key)
			return true;
	return false;
}

void cli_print_help(const struct cli_command *command)
{
	printf("usage: %s %s [OPTIONS] %s\n\n%s.\n\n", cli_program,
	       command->name, command->operands, command->summary);
	for (const struct cli_option *o = command->options; o->key; o++) {
		char left[64];

		snprintf(left, sizeof(left), "%s%c%s%s%s%s%s",
			 o->key < CLI_FIRST_KEY ? "-" : " ",
			 o->key < CLI_FIRST_KEY ? (char)o->key : ' ',
			 o->name && o->key < CLI_FIRST_KEY ? ", " : "  ",
			 o->name ? "--" : "", o->name ? o->name : "",
			 o->argument ? (o->name ? "=" : " ") : "",
			 o->argument ? o->argument : "");
		printf("  %-32s %s\n", left, o->help);
	}
	printf("  %-32s %s\n", "-h, --help", "show this");
}
