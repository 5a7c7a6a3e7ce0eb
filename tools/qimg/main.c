/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qimg: makes, converts, checks and repairs disk images. Registers the formats
 * and runs the sub-command that is named.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "image/open.h"
#include "image/option.h"
#include "qcow2/qcow2.h"
#include "tools/qimg/commands.h"
#include "tools/qimg/generate.h"
#include "vmdk/vmdk.h"

static const struct cli_command *const commands[] = {
	&qimg_amend,   &qimg_bench,   &qimg_bitmap,  &qimg_check,
	&qimg_commit,  &qimg_compare, &qimg_convert, &qimg_create,
	&qimg_dd,      &qimg_info,    &qimg_inspect, &qimg_map,
	&qimg_measure, &qimg_rebase,  &qimg_resize,  &qimg_snapshot,
	NULL,
};

static const struct image_format *const formats[] = {
	&luks_format, &qcow2_format, &raw_format, &vmdk_format, NULL,
};

enum {
	COMMANDS = sizeof(commands) / sizeof(*commands) - 1,
};

static const struct cli_command *find_command(const char *name)
{
	for (size_t i = 0; i < COMMANDS; i++)
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
	return NULL;
}

static int unknown_command(const char *name)
{
	const char *names[COMMANDS + 1];
	const char *nearest;

	for (size_t i = 0; i < COMMANDS; i++)
		names[i] = commands[i]->name;
	names[COMMANDS] = NULL;
	nearest = image_nearest_name(name, names);
	if (nearest)
		return cli_error("Command not found: %s; did you mean \"%s\"?",
				 name, nearest);
	return cli_error("Command not found: %s; '%s --help' lists those there "
			 "are",
			 name, cli_program);
}

static void print_help(void)
{
	printf("usage: %s COMMAND [OPTIONS] ...\n\n"
	       "Makes, converts, checks and repairs disk images.\n\n",
	       cli_program);
	for (size_t i = 0; i < COMMANDS; i++)
		printf("  %-10s %s\n", commands[i]->name, commands[i]->summary);
	printf("\n'%s COMMAND --help' lists the options of one.\n"
	       "\nSupported formats:",
	       cli_program);
	for (size_t i = 0; formats[i]; i++)
		printf(" %s", formats[i]->name);
	printf("\n");
}

/* What the build makes of the tables; see tools/qimg/generate.h. */
static int generate(int argc, char **argv)
{
	const struct generate g = {.commands = commands, .formats = formats};

	if (strcmp(argv[1], "--man-options") == 0) {
		generate_man_options(&g);
		return 0;
	}
	if (argc < 3)
		return cli_error("--completion: expecting bash, zsh or fish");
	return generate_completion(&g, argv[2]);
}

static int flushed(int status)
{
	if (fflush(stdout) || ferror(stdout))
		return cli_error("standard output cannot be written");
	return status;
}

int main(int argc, char **argv)
{
	static struct cli cli;
	const struct cli_command *command;
	const char *slash = strrchr(argv[0], '/');
	int status;

	/* A limit on a file's size is an error, and no reason to die. */
	signal(SIGXFSZ, SIG_IGN);
	cli_program = slash ? slash + 1 : argv[0];
	for (size_t i = 0; formats[i]; i++)
		image_register_format(formats[i]);
	if (argc < 2)
		return cli_error("Not enough arguments; try '%s --help'",
				 cli_program);
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		print_help();
		return 0;
	}
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
		printf("qimg version %s (Ringline)\n", RINGLINE_VERSION);
		return 0;
	}
	if (strcmp(argv[1], "--completion") == 0 ||
	    strcmp(argv[1], "--man-options") == 0)
		return flushed(generate(argc, argv));
	command = find_command(argv[1]);
	if (!command)
		return unknown_command(argv[1]);
	if (cli_parse(&cli, command, argc - 1, argv + 1, &status))
		return status;
	return flushed(command->run(&cli));
}
