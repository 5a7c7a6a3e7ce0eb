/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/ctl.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/log.h"
#include "vswitch/ctl-capture.h"
#include "vswitch/ctl-client.h"
#include "vswitch/ctl-table.h"
#include "vswitch/ctl-top.h"

enum {
	ERROR_STATUS = 1,
	USAGE_STATUS = 2,
};

#define DEFAULT_SOCKET "/run/vswitch.sock"

/* --- commands ---------------------------------------------------------------- */

struct command {
	const char *words[2];
	const char *arguments; /* for the usage; NULL: none */
	unsigned least, most;
	const char *method;
	/* The parameters, from the arguments; NULL, with a message: they are
	 * none. Without it there are no parameters. */
	json_t *(*params)(unsigned count, char **arguments);
	const char *columns[CTL_COLUMNS]; /* of a table; none: as it is */
	/* Instead of printing: 0, or a negative errno with a message. */
	int (*take)(const json_t *result, char **arguments);
};

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

static json_t *port_set_params(unsigned count, char **arguments)
{
	json_t *keys = keys_and_values(count - 1, arguments + 1);

	return keys ? json_pack("{s:s, s:o}", "port", arguments[0], "keys",
				keys)
		    : NULL;
}

/* All of @file; NULL, with a message. */
static char *read_file(const char *path)
{
	FILE *file = fopen(path, "re");
	char *text = NULL;
	size_t room = 0;

	/* Up to a zero byte, which no text has. */
	if (!file || (getdelim(&text, &room, '\0', file) < 0 && ferror(file)))
		log_error("%s: %s", path, strerror(errno));
	else if (!text || text[0] == '\0')
		log_error("%s: there is nothing in it", path);
	else if (file) {
		fclose(file);
		return text;
	}
	if (file)
		fclose(file);
	free(text);
	return NULL;
}

static json_t *acl_params(unsigned count, char **arguments)
{
	char *text = read_file(arguments[1]);
	json_t *params = text ? json_pack("{s:s, s:s}", "port", arguments[0],
					  "acl", text)
			      : NULL;

	if (text && !params)
		log_error("%s: it is no UTF-8 text", arguments[1]);
	free(text);
	return params;
}

static json_t *acl_list_params(unsigned count, char **arguments)
{
	return count > 0 ? policy_param(count, arguments) : json_object();
}

static json_t *no_acl_params(unsigned count, char **arguments)
{
	return json_pack("{s:s, s:s}", "port", arguments[0], "acl", "{}");
}

static json_t *move_params(unsigned count, char **arguments)
{
	int pair, lcore;
	char end;

	if (sscanf(arguments[1], "%d%c", &pair, &end) != 1 ||
	    sscanf(arguments[2], "%d%c", &lcore, &end) != 1) {
		log_error("%s %s: give two numbers", arguments[1],
			  arguments[2]);
		return NULL;
	}
	return json_pack("{s:s, s:i, s:i}", "port", arguments[0], "pair", pair,
			 "lcore", lcore);
}

static json_t *trace_params(unsigned count, char **arguments)
{
	json_t *frame;

	if (count == 2 && !strchr(arguments[1], '='))
		return json_pack("{s:s, s:s}", "port", arguments[0], "frame",
				 arguments[1]);
	frame = keys_and_values(count - 1, arguments + 1);
	if (frame)
		json_object_set_new(frame, "port", json_string(arguments[0]));
	return frame;
}

static json_t *flush_params(unsigned count, char **arguments)
{
	return count > 0 ? json_pack("{s:s}", "port", arguments[0])
			 : json_object();
}

/* All of it is on the disk under a name that nobody reads yet, or nothing is
 * there. */
static int write_whole(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");
	int err = file ? 0 : -errno;

	if (err == 0 && (fputs(text, file) == EOF || fflush(file) == EOF ||
			 fsync(fileno(file)) < 0))
		err = -errno;
	if (file && fclose(file) == EOF && err == 0)
		err = -errno;
	return err;
}

static int save_text(const json_t *result, char **arguments)
{
	const char *path = arguments[0];
	char beside[PATH_MAX];
	int err;

	if ((size_t)snprintf(beside, sizeof(beside), "%s.new", path) >=
	    sizeof(beside)) {
		log_error("%s: %s", path, strerror(ENAMETOOLONG));
		return -ENAMETOOLONG;
	}
	err = write_whole(beside, json_string_value(result));
	if (err == 0 && rename(beside, path) < 0)
		err = -errno;
	if (err < 0) {
		log_error("%s: %s", path, strerror(-err));
		unlink(beside);
	}
	return err;
}

static const struct command commands[] = {
	{
		.words = {"port", "show"},
		.method = "port.list",
		.columns = {"name", "kind", "number", "up", "vlan-mode", "vlan",
			    "queues", "group", "socket-path"},
	},
	{
		.words = {"port", "add"},
		.arguments = "KEY=VALUE...",
		.least = 1,
		.most = 64,
		.method = "port.add",
		.params = port_param,
	},
	{
		.words = {"port", "set"},
		.arguments = "NAME KEY=VALUE...",
		.least = 2,
		.most = 64,
		.method = "port.set",
		.params = port_set_params,
	},
	{
		.words = {"port", "del"},
		.arguments = "NAME",
		.least = 1,
		.most = 1,
		.method = "port.remove",
		.params = name_param,
	},
	{
		.words = {"fdb", "show"},
		.method = "fdb.list",
		.columns = {"mac", "vlan", "port", "static", "age"},
	},
	{
		.words = {"fdb", "flush"},
		.arguments = "[PORT]",
		.most = 1,
		.method = "fdb.flush",
		.params = flush_params,
	},
	{
		.words = {"guard", "show"},
		.method = "guard.list",
		.columns = {"port", "mac", "addresses", "router"},
	},
	{
		.words = {"guard", "set"},
		.arguments = "PORT [KEY=VALUE...]",
		.least = 1,
		.most = 4,
		.method = "guard.set",
		.params = guard_params,
	},
	{
		.words = {"guard", "del"},
		.arguments = "PORT",
		.least = 1,
		.most = 1,
		.method = "guard.remove",
		.params = policy_param,
	},
	{
		.words = {"mirror", "show"},
		.method = "mirror.list",
		.columns = {"port", "ports", "direction", "vlans"},
	},
	{
		.words = {"acl", "show"},
		.arguments = "[PORT]",
		.most = 1,
		.method = "acl.list",
		.params = acl_list_params,
		.columns = {"port", "direction", "number", "name", "action",
			    "match", "hits"},
	},
	{
		.words = {"acl", "set"},
		.arguments = "PORT FILE",
		.least = 2,
		.most = 2,
		.method = "acl.set",
		.params = acl_params,
	},
	{
		.words = {"acl", "del"},
		.arguments = "PORT",
		.least = 1,
		.most = 1,
		.method = "acl.set",
		.params = no_acl_params,
	},
	{
		.words = {"lcore", "show"},
		.method = "lcore.list",
		.columns = {"lcore", "queues", "frames", "busy"},
	},
	{
		.words = {"lcore", "queues"},
		.method = "lcore.queues",
		.columns = {"port", "pair", "lcore", "busy", "placed"},
	},
	{
		.words = {"lcore", "move"},
		.arguments = "PORT PAIR LCORE",
		.least = 3,
		.most = 3,
		.method = "lcore.move",
		.params = move_params,
	},
	{
		.words = {"trace"},
		.arguments = "PORT HEX|KEY=VALUE...",
		.least = 2,
		.most = 12,
		.method = "trace",
		.params = trace_params,
		.columns = {"port", "result", "why", "rule", "vlan", "tag",
			    "bytes"},
	},
	{
		.words = {"stats"},
		.method = "stats",
		.columns = {"port", "sent-frames", "sent-bytes",
			    "received-frames", "received-bytes", "unreachable",
			    "stations", "sent-dropped", "received-dropped",
			    "not-forwarded"},
	},
	{.words = {"metrics"}, .method = "metrics"},
	{.words = {"config", "show"}, .method = "config.show"},
	{
		.words = {"save"},
		.arguments = "FILE",
		.least = 1,
		.most = 1,
		.method = "config.show",
		.take = save_text,
	},
	{.words = {"reload"}, .method = "config.reload"},
};

static void print_usage(FILE *to)
{
	fputs("Usage: vswitch ctl [--control=PATH] [--json] COMMAND\n", to);
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct command *c = &commands[i];

		fprintf(to, "  %s%s%s %s\n", c->words[0],
			c->words[1] ? " " : "", c->words[1] ? c->words[1] : "",
			c->arguments ? c->arguments : "");
	}
	fputs("  capture [--count=N] [--snap=N] [--write=FILE] PORT "
	      "[FILTER...]\n"
	      "  top [--count N]\n",
	      to);
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

static int finish(const struct command *command, const json_t *result,
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

static int run(const struct command *command, const char *path, json_t *params,
	       char **arguments, bool as_json)
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
		print_usage(stderr);
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
		print_usage(stderr);
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
	if (argc > 0 && strcmp(argv[0], "top") == 0)
		return run_top(path, argc - 1, argv + 1);
	if (argc > 0 && strcmp(argv[0], "capture") == 0)
		return run_capture(path, argc - 1, argv + 1);
	command = find_command(argc, argv);
	if (!command) {
		print_usage(stderr);
		return USAGE_STATUS;
	}
	words = command->words[1] ? 2 : 1;
	params = command->params ? command->params(argc - words, argv + words)
				 : json_object();
	return params ? run(command, path, params, argv + words, as_json)
		      : USAGE_STATUS;
}
