/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/qimg/generate.h"

/* @text inside of '…', where _arguments takes [, ] and : for its own. */
static void print_quoted(const char *text)
{
	for (; *text; text++) {
		if (*text == '\'')
			printf("'\\''");
		else if (strchr("[]:\\", *text))
			printf("\\%c", *text);
		else
			putchar(*text);
	}
}

static void print_action(const struct generate *g, const struct cli_option *o)
{
	char *words = generate_words(g, o->kind);

	printf(":");
	print_quoted(o->argument);
	if (o->kind == CLI_FILE)
		printf(":_files");
	else if (o->kind == CLI_OPTIONS)
		printf(":_values -s , option");
	else if (words && *words)
		printf(":(%s)", words);
	else
		printf(": ");
	if (o->kind == CLI_OPTIONS)
		for (char *word = strtok(words, " "); word;
		     word = strtok(NULL, " "))
			printf(" %.*s", (int)strcspn(word, "="), word);
	free(words);
}

/* "-f" and its argument are two words, "--output=json" is one. */
static void print_spec(const struct generate *g, const struct cli_option *o,
		       bool is_long)
{
	printf(" \\\n\t\t'*");
	if (is_long)
		printf("--%s%s", o->name, o->argument ? "=" : "");
	else
		printf("-%c", o->key);
	printf("[");
	print_quoted(o->help);
	printf("]");
	if (o->argument)
		print_action(g, o);
	printf("'");
}

static void print_command(const struct generate *g,
			  const struct cli_command *command)
{
	printf("\t%s)\n\t\t_arguments", command->name);
	for (const struct cli_option *o = command->options; o->key; o++) {
		if (o->key < CLI_FIRST_KEY)
			print_spec(g, o, false);
		if (o->name)
			print_spec(g, o, true);
	}
	printf(" \\\n\t\t'(- *)'{-h,--help}'[show this]' \\\n"
	       "\t\t'*:file:_files'\n\t\t;;\n");
}

void generate_zsh(const struct generate *g)
{
	printf("#compdef qimg\n"
	       "# Completion of qimg for zsh; made by qimg --completion zsh.\n\n"
	       "_qimg_commands()\n{\n\tlocal -a commands=(\n");
	for (size_t i = 0; g->commands[i]; i++) {
		printf("\t\t'%s:", g->commands[i]->name);
		print_quoted(g->commands[i]->summary);
		printf("'\n");
	}
	printf("\t)\n\t_describe command commands\n}\n\n"
	       "_qimg()\n{\n"
	       "\tif (( CURRENT == 2 )); then\n"
	       "\t\t_qimg_commands\n"
	       "\t\treturn\n"
	       "\tfi\n"
	       "\tshift words\n"
	       "\t(( CURRENT-- ))\n"
	       "\tcase $words[1] in\n");
	for (size_t i = 0; g->commands[i]; i++)
		print_command(g, g->commands[i]);
	printf("\tesac\n}\n\n_qimg \"$@\"\n");
}
