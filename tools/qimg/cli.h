/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line: each sub-command has one table of options, and parsing,
 * help, completion and the manual page all come from it.
 */
#ifndef QIMG_CLI_H
#define QIMG_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	CLI_MAX_ARGUMENTS = 1024,
	CLI_MAX_OPTIONS = 48,
	/* Options without a letter have keys from here on. */
	CLI_FIRST_KEY = 256,
};

/* What an argument is, for completion. */
enum cli_kind {
	CLI_FLAG, /* takes no argument */
	CLI_TEXT,
	CLI_FILE,
	CLI_FORMAT,
	CLI_CACHE,
	CLI_OUTPUT,
	CLI_OPTIONS,  /* of a format: name=value,… */
	CLI_PROGRESS, /* of --progress */
	CLI_REPAIR,   /* of check -r */
	CLI_AIO,      /* of bench -i */
	CLI_PREALLOCATION,
};

struct cli_option {
	int key;	  /* the letter, or from CLI_FIRST_KEY on */
	const char *name; /* after "--", or NULL */
	enum cli_kind kind;
	const char *argument; /* its name in the help; NULL for a flag */
	const char *help;     /* a phrase */
};

struct cli_command;

/* One option as it was typed. */
struct cli_argument {
	int key;
	const char *value; /* NULL for a flag */
};

struct cli {
	const struct cli_command *command;
	struct cli_argument arguments[CLI_MAX_ARGUMENTS];
	size_t count;
	char **operands; /* what is no option, in order */
	int operand_count;
};

struct cli_command {
	const char *name;
	const char *operands; /* in the help: "FILE [SIZE]" */
	const char *summary;  /* a phrase */
	int min_operands;
	int max_operands;		  /* -1: any number */
	bool last_is_operand;		  /* though it may begin with '-' */
	const struct cli_option *options; /* ends with a key of 0 */
	/* The exit status. */
	int (*run)(const struct cli *cli);
};

/* As messages begin: the name that we were called by. */
extern const char *cli_program;

/* "qimg: " and the sentence, to standard error. Returns 1, the exit status. */
int cli_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void cli_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * Takes the arguments of @command apart (argv[0] is its name). 0; or -1 when
 * the program is to end with *@ret_status, after help or an error was printed.
 */
int cli_parse(struct cli *cli, const struct cli_command *command, int argc,
	      char **argv, int *ret_status);

/*
 * A size such as 65536, 64k or 1.5G that lies in [min, max]: 0; or 1, after
 * qemu-img's message that the @what is invalid.
 */
int cli_size(const char *what, const char *text, uint64_t min, uint64_t max,
	     uint64_t *ret);

/* The last value of option @key, or NULL; whether it was typed. */
const char *cli_value(const struct cli *cli, int key);
bool cli_has(const struct cli *cli, int key);

void cli_print_help(const struct cli_command *command);

#endif
