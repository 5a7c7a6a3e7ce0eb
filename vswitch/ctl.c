/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/ctl.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/log.h"

enum {
	MAX_COLUMNS = 12,
	MAX_CELL = 128,
	ERROR_STATUS = 1,
	USAGE_STATUS = 2,
};

#define DEFAULT_SOCKET "/run/vswitch.sock"

/* --- the socket -------------------------------------------------------------- */

static int connect_to(const char *path, int *ret_fd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	if (fd < 0 ||
	    connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	*ret_fd = fd_take(&fd);
	return 0;
}

/* A request, and its answer: a line each. NULL: there is none. */
static json_t *ask(FILE *to, const char *method, json_t *params)
{
	json_t *request =
		json_pack("{s:s, s:i, s:s, s:o}", "jsonrpc", "2.0", "id", 1,
			  "method", method, "params", params);
	json_t *answer = NULL;
	char *line = NULL;
	size_t room = 0;
	int err = json_dumpf(request, to, JSON_COMPACT);

	json_decref(request);
	if (err == 0 && fputc('\n', to) != EOF && fflush(to) == 0 &&
	    getline(&line, &room, to) > 0)
		answer = json_loads(line, 0, NULL);
	free(line);
	return answer;
}

/* --- tables ------------------------------------------------------------------ */

static void show_list(const json_t *list, char ret_text[static MAX_CELL])
{
	json_t *member;
	size_t i, at = 0;

	json_array_foreach((json_t *)list, i, member)
	{
		const char *text = json_string_value(member);

		at += snprintf(ret_text + at, MAX_CELL - at, "%s%s",
			       i ? " " : "", text ? text : "?");
		if (at >= MAX_CELL)
			break;
	}
}

/* What a cell shows: objects as the counts that they hold. */
static void show(const json_t *value, char ret_text[static MAX_CELL])
{
	const char *key;
	json_t *member;
	size_t at = 0;

	ret_text[0] = '\0';
	switch (value ? json_typeof(value) : JSON_NULL) {
	case JSON_STRING:
		snprintf(ret_text, MAX_CELL, "%s", json_string_value(value));
		break;
	case JSON_INTEGER:
		snprintf(ret_text, MAX_CELL, "%lld",
			 (long long)json_integer_value(value));
		break;
	case JSON_ARRAY:
		show_list(value, ret_text);
		break;
	case JSON_TRUE:
		strcpy(ret_text, "yes");
		break;
	case JSON_FALSE:
		strcpy(ret_text, "no");
		break;
	case JSON_OBJECT:
		json_object_foreach((json_t *)value, key, member)
		{
			at += snprintf(ret_text + at, MAX_CELL - at,
				       "%s%s=%lld", at ? " " : "", key,
				       (long long)json_integer_value(member));
			if (at >= MAX_CELL)
				break;
		}
		break;
	default:
		strcpy(ret_text, "-");
	}
	if (ret_text[0] == '\0')
		strcpy(ret_text, "-");
}

static void print_row(const json_t *row, const char *const *columns,
		      const int *widths)
{
	for (unsigned i = 0; columns[i]; i++) {
		char cell[MAX_CELL];

		if (row)
			show(json_object_get(row, columns[i]), cell);
		else
			snprintf(cell, sizeof(cell), "%s", columns[i]);
		printf("%s%-*s", i ? "  " : "", columns[i + 1] ? widths[i] : 0,
		       cell);
	}
	putchar('\n');
}

static void print_table(const json_t *rows, const char *const *columns)
{
	int widths[MAX_COLUMNS] = {0};
	json_t *row;
	size_t at;

	for (unsigned i = 0; columns[i]; i++) {
		widths[i] = strlen(columns[i]);
		json_array_foreach((json_t *)rows, at, row)
		{
			char cell[MAX_CELL];

			show(json_object_get(row, columns[i]), cell);
			widths[i] = MAX(widths[i], (int)strlen(cell));
		}
	}
	print_row(NULL, columns, widths);
	json_array_foreach((json_t *)rows, at, row)
		print_row(row, columns, widths);
}

/* --- commands ---------------------------------------------------------------- */

struct command {
	const char *words[2];
	const char *arguments; /* for the usage */
	unsigned least, most;
	const char *method;
	/* The parameters, from the arguments; NULL, with a message: they are
	 * none. */
	json_t *(*params)(unsigned count, char **arguments);
	const char *columns[MAX_COLUMNS]; /* of a table; none: as it is */
};

static json_t *no_params(unsigned count, char **arguments)
{
	return json_object();
}

static json_t *name_param(unsigned count, char **arguments)
{
	return json_pack("{s:s}", "name", arguments[0]);
}

/* KEY=VALUE …: numbers and yes or no as such; VALUE may be JSON. */
static json_t *keys_and_values(unsigned count, char **arguments)
{
	json_t *object = json_object();

	for (unsigned i = 0; i < count; i++) {
		char *value = strchr(arguments[i], '=');
		json_t *json;

		if (!value) {
			log_error("%s: give KEY=VALUE, as in the configuration "
				  "file",
				  arguments[i]);
			json_decref(object);
			return NULL;
		}
		*value++ = '\0';
		json = json_loads(value, JSON_DECODE_ANY, NULL);
		json_object_set_new(object, arguments[i],
				    json ? json : json_string(value));
	}
	return object;
}

static json_t *port_param(unsigned count, char **arguments)
{
	json_t *port = keys_and_values(count, arguments);

	return port ? json_pack("{s:o}", "port", port) : NULL;
}

static json_t *policy_param(unsigned count, char **arguments)
{
	return json_pack("{s:s}", "port", arguments[0]);
}

static json_t *guard_params(unsigned count, char **arguments)
{
	json_t *guard = keys_and_values(count - 1, arguments + 1);

	return guard ? json_pack("{s:s, s:o}", "port", arguments[0], "guard",
				 guard)
		     : NULL;
}

static json_t *flush_params(unsigned count, char **arguments)
{
	return count > 0 ? json_pack("{s:s}", "port", arguments[0])
			 : json_object();
}

static const struct command commands[] = {
	{{"port", "show"},
	 "",
	 0,
	 0,
	 "port.list",
	 no_params,
	 {"name", "kind", "number", "up", "vlan-mode", "vlan", "queues",
	  "group", "socket-path"}},
	{{"port", "add"}, "KEY=VALUE...", 1, 64, "port.add", port_param, {0}},
	{{"port", "del"}, "NAME", 1, 1, "port.remove", name_param, {0}},
	{{"fdb", "show"},
	 "",
	 0,
	 0,
	 "fdb.list",
	 no_params,
	 {"mac", "vlan", "port", "static", "age"}},
	{{"fdb", "flush"}, "[PORT]", 0, 1, "fdb.flush", flush_params, {0}},
	{{"guard", "show"},
	 "",
	 0,
	 0,
	 "guard.list",
	 no_params,
	 {"port", "mac", "addresses", "router"}},
	{{"guard", "set"},
	 "PORT [KEY=VALUE...]",
	 1,
	 4,
	 "guard.set",
	 guard_params,
	 {0}},
	{{"guard", "del"}, "PORT", 1, 1, "guard.remove", policy_param, {0}},
	{{"stats", NULL},
	 "",
	 0,
	 0,
	 "stats",
	 no_params,
	 {"port", "sent-frames", "sent-bytes", "received-frames",
	  "received-bytes", "unreachable", "stations", "sent-dropped",
	  "received-dropped", "not-forwarded"}},
	{{"metrics", NULL}, "", 0, 0, "metrics", no_params, {0}},
};

static void print_usage(FILE *to)
{
	fputs("Usage: vswitch ctl [--control=PATH] [--json] COMMAND\n", to);
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct command *c = &commands[i];

		fprintf(to, "  %s%s%s %s\n", c->words[0],
			c->words[1] ? " " : "", c->words[1] ? c->words[1] : "",
			c->arguments);
	}
}

static const struct command *find_command(int argc, char **argv)
{
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct command *c = &commands[i];
		int words = c->words[1] ? 2 : 1;

		if (argc < words || strcmp(argv[0], c->words[0]) != 0 ||
		    (words == 2 && strcmp(argv[1], c->words[1]) != 0))
			continue;
		if (argc - words < (int)c->least || argc - words > (int)c->most)
			return NULL;
		return c;
	}
	return NULL;
}

static void print_result(const struct command *command, const json_t *result,
			 bool as_json)
{
	if (as_json) {
		json_dumpf(result, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
		putchar('\n');
	} else if (command->columns[0]) {
		print_table(result, command->columns);
	} else if (json_is_string(result)) {
		fputs(json_string_value(result), stdout);
	} else if (json_is_integer(result)) {
		printf("%lld\n", (long long)json_integer_value(result));
	}
}

/* What the switch said is wrong is ours to say. */
static int finish(const struct command *command, const json_t *answer,
		  bool as_json)
{
	const json_t *error = json_object_get(answer, "error");
	const json_t *result = json_object_get(answer, "result");
	const char *message =
		json_string_value(json_object_get(error, "message"));

	if (!result) {
		log_error("%s", message ? message : "the switch hung up");
		return ERROR_STATUS;
	}
	print_result(command, result, as_json);
	return fflush(stdout) == 0 ? EXIT_SUCCESS : ERROR_STATUS;
}

static int run(const struct command *command, const char *path, json_t *params,
	       bool as_json)
{
	FILE *to = NULL;
	json_t *answer;
	int fd = -1, status;
	int err = connect_to(path, &fd);

	if (err == 0)
		to = fdopen(fd, "r+");
	if (!to) {
		log_error("%s: %s: does a vswitch run with --control=%s?", path,
			  strerror(err ? -err : errno), path);
		fd_close(&fd);
		json_decref(params);
		return ERROR_STATUS;
	}
	answer = ask(to, command->method, params);
	status = finish(command, answer, as_json);
	json_decref(answer);
	fclose(to);
	return status;
}

int ctl_main(int argc, char **argv)
{
	const char *path = DEFAULT_SOCKET;
	const struct command *command;
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

			print_usage(is_help ? stdout : stderr);
			return is_help ? EXIT_SUCCESS : USAGE_STATUS;
		}
	}
	command = find_command(argc, argv);
	if (!command) {
		print_usage(stderr);
		return USAGE_STATUS;
	}
	words = command->words[1] ? 2 : 1;
	params = command->params(argc - words, argv + words);
	return params ? run(command, path, params, as_json) : USAGE_STATUS;
}
