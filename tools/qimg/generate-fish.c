/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "tools/qimg/generate.h"

static void print_quoted(const char *text)
{
	putchar('\'');
	for (; *text; text++) {
		if (*text == '\'' || *text == '\\')
			putchar('\\');
		putchar(*text);
	}
	putchar('\'');
}

static void print_option(const struct generate *g,
			 const struct cli_command *command,
			 const struct cli_option *o)
{
	char *words = generate_words(g, o->kind);

	printf("complete -c qimg -n '__fish_seen_subcommand_from %s'",
	       command->name);
	if (o->key < CLI_FIRST_KEY)
		printf(" -s %c", o->key);
	if (o->name)
		printf(" -l %s", o->name);
	if (o->kind == CLI_FILE)
		printf(" -r -F");
	else if (o->argument)
		printf(" -x");
	if (words && *words) {
		printf(" -a ");
		print_quoted(words);
	}
	printf(" -d ");
	print_quoted(o->help);
	printf("\n");
	free(words);
}

void generate_fish(const struct generate *g)
{
	printf("# Completion of qimg for fish; made by qimg --completion "
	       "fish.\n\n");
	for (size_t i = 0; g->commands[i]; i++) {
		printf("complete -c qimg -f -n __fish_use_subcommand -a %s "
		       "-d ",
		       g->commands[i]->name);
		print_quoted(g->commands[i]->summary);
		printf("\n");
	}
	for (size_t i = 0; g->commands[i]; i++)
		for (const struct cli_option *o = g->commands[i]->options;
		     o->key; o++)
			print_option(g, g->commands[i], o);
}
