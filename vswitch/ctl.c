/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/ctl.h"

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vswitch/ctl-capture.h"
#include "vswitch/ctl-client.h"
#include "vswitch/ctl-commands.h"
#include "vswitch/ctl-table.h"
#include "vswitch/ctl-top.h"

enum {
	ERROR_STATUS = 1,
	USAGE_STATUS = 2,
};

#define DEFAULT_SOCKET "/run/vswitch.sock"

static void print_result(const struct ctl_command *command,
			 const json_t *result, bool as_json)
{
	if (as_json) {
		json_dumpf(result, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
		putchar('\n');
	} else if (command->columns[0]) {
		ctl_print_table(result, command->columns);
	} else if (json_is_string(result)) {
		fputs(json_string_value(result), stdout);
	} else if (json_is_integer(result)) {
		printf("%lld\n", (long long)json_integer_value(result));
	} else if (json_is_object(result)) {
		char counts[CTL_CELL];

		ctl_show(result, counts);
		puts(counts);
	}
}

static int finish(const struct ctl_command *command, const json_t *result,
		  char **arguments, bool as_json)
{
	if (!result)
		return ERROR_STATUS;
	if (command->take)
		return command->take(result, arguments) < 0 ? ERROR_STATUS
							    : EXIT_SUCCESS;
	print_result(command, result, as_json);
	return fflush(stdout) == 0 ? EXIT_SUCCESS : ERROR_STATUS;
}

static int run(const struct ctl_command *command, const char *path,
	       json_t *params, char **arguments, bool as_json)
{
	FILE *to = ctl_connect(path);
	json_t *answer;
	int status;

	if (!to) {
		json_decref(params);
		return ERROR_STATUS;
	}
	answer = ctl_ask(to, command->method, params);
	status = finish(command, ctl_result(answer), arguments, as_json);
	json_decref(answer);
	fclose(to);
	return status;
}

/* "--count N", "--count=N", or nothing, which is 0. */
static int read_count(int argc, char **argv, unsigned *ret_count)
{
	static const char option[] = "--count";
	const char *number = argc == 2 ? argv[1] : "";
	char end;

	*ret_count = 0;
	if (argc == 0)
		return 0;
	if (strncmp(argv[0], option, strlen(option)) != 0)
		return -EINVAL;
	if (argc == 1 && argv[0][strlen(option)] == '=')
		number = argv[0] + strlen(option) + 1;
	else if (argv[0][strlen(option)] != '\0')
		return -EINVAL;
	return sscanf(number, "%u%c", ret_count, &end) == 1 && *ret_count > 0
		       ? 0
		       : -EINVAL;
}

/* Not one question, but one each second. */
static int run_top(const char *path, int argc, char **argv)
{
	unsigned count;
	FILE *to;
	int err = read_count(argc, argv, &count);

	if (err < 0) {
		ctl_print_usage(stderr);
		return USAGE_STATUS;
	}
	to = ctl_connect(path);
	if (!to)
		return ERROR_STATUS;
	err = ctl_top(to, count);
	fclose(to);
	return err == 0 ? EXIT_SUCCESS : ERROR_STATUS;
}

/* Not an answer, but all that passes. */
static int run_capture(const char *path, int argc, char **argv)
{
	int status = ctl_capture(path, argc, argv);

	if (status == USAGE_STATUS)
		ctl_print_usage(stderr);
	return status;
}

int ctl_main(int argc, char **argv)
{
	const char *path = DEFAULT_SOCKET;
	const struct ctl_command *command;
	bool as_json = false;
	json_t *params;
	int words;

	for (argc--, argv++; argc > 0 && argv[0][0] == '-'; argc--, argv++) {
		if (strncmp(argv[0], "--control=", strlen("--control=")) == 0) {
			path = argv[0] + strlen("--control=");
		} else if (strcmp(argv[0], "--json") == 0) {
			as_json = true;
		} else {
			bool is_help = strcmp(argv[0], "--help") == 0;

			ctl_print_usage(is_help ? stdout : stderr);
			return is_help ? EXIT_SUCCESS : USAGE_STATUS;
		}
	}
	if (argc > 0 && strcmp(argv[0], "top") == 0)
		return run_top(path, argc - 1, argv + 1);
	if (argc > 0 && strcmp(argv[0], "capture") == 0)
		return run_capture(path, argc - 1, argv + 1);
	command = ctl_command_find(argc, argv);
	if (!command) {
		ctl_print_usage(stderr);
		return USAGE_STATUS;
	}
	words = command->words[1] ? 2 : 1;
	params = command->params ? command->params(argc - words, argv + words)
				 : json_object();
	return params ? run(command, path, params, argv + words, as_json)
		      : USAGE_STATUS;
}
