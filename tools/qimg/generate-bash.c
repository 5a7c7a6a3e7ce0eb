/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "tools/qimg/generate.h"

static const char *kind_name(enum cli_kind kind)
{
	static const char *const names[] = {
		[CLI_FLAG] = "flag",
		[CLI_TEXT] = "text",
		[CLI_FILE] = "file",
		[CLI_FORMAT] = "format",
		[CLI_CACHE] = "cache",
		[CLI_OUTPUT] = "output",
		[CLI_OPTIONS] = "options",
		[CLI_PROGRESS] = "progress",
		[CLI_REPAIR] = "repair",
		[CLI_AIO] = "aio",
		[CLI_PREALLOCATION] = "preallocation",
	};

	return names[kind];
}

/* All that @command takes; a long one with an argument ends in "=". */
static void print_options(const struct cli_command *command)
{
	printf("\t%s) echo \"", command->name);
	for (const struct cli_option *o = command->options; o->key; o++) {
		if (o->key < CLI_FIRST_KEY)
			printf("-%c ", o->key);
		if (o->name)
			printf("--%s%s ", o->name, o->argument ? "=" : "");
	}
	printf("-h --help\" ;;\n");
}

static void print_kinds(const struct cli_command *command)
{
	for (const struct cli_option *o = command->options; o->key; o++) {
		if (o->kind == CLI_FLAG)
			continue;
		printf("\t");
		if (o->key < CLI_FIRST_KEY)
			printf("\"%s -%c\"", command->name, o->key);
		if (o->key < CLI_FIRST_KEY && o->name)
			printf("|");
		if (o->name)
			printf("\"%s --%s\"", command->name, o->name);
		printf(") echo %s ;;\n", kind_name(o->kind));
	}
}

static void print_words(const struct generate *g)
{
	for (int kind = CLI_FORMAT; kind <= CLI_PREALLOCATION; kind++) {
		char *words = generate_words(g, kind);

		printf("\t%s) echo \"%s\" ;;\n", kind_name(kind),
		       words ? words : "");
		free(words);
	}
}

/* The readline of bash breaks words at "=": "--output=j" are three. */
static const char script[] =
	"_qimg_propose()\n"
	"{\n"
	"\tlocal IFS=$' \\t\\n'\n"
	"\tmapfile -t COMPREPLY < <(compgen -W \"$1\" -- \"$2\")\n"
	"\tif [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]]; then\n"
	"\t\tcompopt -o nospace 2>/dev/null\n"
	"\tfi\n"
	"}\n"
	"\n"
	"_qimg_files()\n"
	"{\n"
	"\tcompopt -o filenames 2>/dev/null\n"
	"\tmapfile -t COMPREPLY < <(compgen -f -- \"$1\")\n"
	"}\n"
	"\n"
	"# What comes after the last comma of a list is completed.\n"
	"_qimg_list()\n"
	"{\n"
	"\tlocal before= i\n"
	"\tif [[ $2 == *,* ]]; then before=${2%,*},; fi\n"
	"\t_qimg_propose \"$1\" \"${2##*,}\"\n"
	"\tfor i in \"${!COMPREPLY[@]}\"; do\n"
	"\t\tCOMPREPLY[i]=$before${COMPREPLY[i]}\n"
	"\tdone\n"
	"}\n"
	"\n"
	"_qimg()\n"
	"{\n"
	"\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev= kind=\n"
	"\tlocal command=${COMP_WORDS[1]}\n"
	"\tCOMPREPLY=()\n"
	"\tif [[ $COMP_CWORD -le 1 ]]; then\n"
	"\t\t_qimg_propose \"$(_qimg_commands)\" \"$cur\"\n"
	"\t\treturn\n"
	"\tfi\n"
	"\tprev=${COMP_WORDS[COMP_CWORD - 1]}\n"
	"\tif [[ $cur == = ]]; then\n"
	"\t\tcur=\n"
	"\telif [[ $prev == = && $COMP_CWORD -gt 2 ]]; then\n"
	"\t\tprev=${COMP_WORDS[COMP_CWORD - 2]}\n"
	"\telif [[ $cur == --*=* ]]; then\n"
	"\t\tprev=${cur%%=*} cur=${cur#*=}\n"
	"\tfi\n"
	"\tkind=$(_qimg_kind \"$command $prev\")\n"
	"\tcase $kind in\n"
	"\t'')\n"
	"\t\tif [[ $cur == -* ]]; then\n"
	"\t\t\t_qimg_propose \"$(_qimg_options \"$command\")\" \"$cur\"\n"
	"\t\telse\n"
	"\t\t\t_qimg_files \"$cur\"\n"
	"\t\tfi\n"
	"\t\t;;\n"
	"\tfile) _qimg_files \"$cur\" ;;\n"
	"\ttext) ;;\n"
	"\toptions) _qimg_list \"$(_qimg_words options)\" \"$cur\" ;;\n"
	"\t*) _qimg_propose \"$(_qimg_words \"$kind\")\" \"$cur\" ;;\n"
	"\tesac\n"
	"}\n"
	"\n"
	"complete -F _qimg qimg\n";

static void open_function(const char *name, const char *header)
{
	printf("%s()\n{\n%s", name, header);
}

void generate_bash(const struct generate *g)
{
	static const char by_argument[] = "\tcase $1 in\n";
	static const char end[] = "\tesac\n}\n\n";

	printf("# Completion of qimg for bash; made by qimg --completion "
	       "bash.\n\n");
	open_function("_qimg_commands", "\techo \"");
	for (size_t i = 0; g->commands[i]; i++)
		printf("%s ", g->commands[i]->name);
	printf("--help --version\"\n}\n\n");
	open_function("_qimg_options", by_argument);
	for (size_t i = 0; g->commands[i]; i++)
		print_options(g->commands[i]);
	printf("%s", end);
	printf("# What the argument of \"COMMAND OPTION\" is; nothing if it "
	       "takes none.\n");
	open_function("_qimg_kind", by_argument);
	for (size_t i = 0; g->commands[i]; i++)
		print_kinds(g->commands[i]);
	printf("%s", end);
	open_function("_qimg_words", by_argument);
	print_words(g);
	printf("%s%s", end, script);
}
