/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/qimg/generate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/manage.h"
#include "tools/qimg/spec.h"

static void add_formats(FILE *out, const struct generate *g)
{
	for (size_t i = 0; g->formats[i]; i++)
		fprintf(out, "%s ", g->formats[i]->name);
}

static void add_cache_modes(FILE *out)
{
	for (size_t i = 0; qimg_cache_name(i); i++)
		fprintf(out, "%s ", qimg_cache_name(i));
}

/* Of all formats: which one it is to be may come later on the line. */
static void add_options(FILE *out, const struct generate *g)
{
	for (size_t i = 0; g->formats[i]; i++) {
		const struct image_manage *manage = g->formats[i]->manage;
		const struct image_option *o = manage ? manage->options : NULL;

		for (; o && o->name; o++)
			fprintf(out, "%s= ", o->name);
	}
	fprintf(out, "help ");
}

char *generate_words(const struct generate *g, enum cli_kind kind)
{
	char *words = NULL;
	size_t bytes;
	FILE *out = open_memstream(&words, &bytes);

	if (!out)
		return NULL;
	switch (kind) {
	case CLI_FORMAT:
		add_formats(out, g);
		break;
	case CLI_CACHE:
		add_cache_modes(out);
		break;
	case CLI_OUTPUT:
		fprintf(out, "human json ");
		break;
	case CLI_OPTIONS:
		add_options(out, g);
		break;
	case CLI_PROGRESS:
		fprintf(out, "json ");
		break;
	case CLI_REPAIR:
		fprintf(out, "leaks all ");
		break;
	case CLI_AIO:
		fprintf(out, "threads native io_uring ");
		break;
	case CLI_PREALLOCATION:
		fprintf(out, "off metadata falloc full ");
		break;
	case CLI_FLAG:
	case CLI_TEXT:
	case CLI_FILE:
		break;
	}
	fclose(out);
	if (words && *words)
		words[strlen(words) - 1] = '\0';
	return words;
}

int generate_completion(const struct generate *g, const char *shell)
{
	static const struct {
		const char *name;
		void (*generate)(const struct generate *g);
	} shells[] = {
		{"bash", generate_bash},
		{"zsh", generate_zsh},
		{"fish", generate_fish},
	};

	for (size_t i = 0; i < sizeof(shells) / sizeof(*shells); i++) {
		if (strcmp(shells[i].name, shell) == 0) {
			shells[i].generate(g);
			return 0;
		}
	}
	return cli_error("--completion %s: expecting bash, zsh or fish", shell);
}

/* --- The manual page ---------------------------------------------------------- */

static void print_roff(const char *text)
{
	/* A line must not begin with a control character. */
	if (*text == '.' || *text == '\'')
		printf("\\&");
	for (; *text; text++) {
		if (strncmp(text, "…", strlen("…")) == 0) {
			printf("\\[u2026]");
			text += strlen("…") - 1;
		} else if (*text == '-') {
			printf("\\-");
		} else if (*text == '\\') {
			printf("\\e");
		} else {
			putchar(*text);
		}
	}
}

static void print_names(const struct cli_option *o)
{
	printf("\\fB");
	if (o->key < CLI_FIRST_KEY)
		printf("\\-%c", o->key);
	if (o->key < CLI_FIRST_KEY && o->name)
		printf("\\fR, \\fB");
	if (o->name) {
		printf("\\-\\-");
		print_roff(o->name);
	}
	printf("\\fR");
	if (o->argument) {
		printf("%s\\fI", o->name ? "=" : " ");
		print_roff(o->argument);
		printf("\\fR");
	}
	printf("\n");
}

void generate_man_options(const struct generate *g)
{
	for (size_t i = 0; g->commands[i]; i++) {
		const struct cli_command *command = g->commands[i];

		printf(".SS ");
		print_roff(command->name);
		printf(" [OPTION]... ");
		print_roff(command->operands);
		printf("\n");
		print_roff(command->summary);
		printf(".\n");
		for (const struct cli_option *o = command->options; o->key;
		     o++) {
			printf(".TP\n");
			print_names(o);
			print_roff(o->help);
			printf("\n");
		}
	}
}
