/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/ctl-commands.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/log.h"
#include "vswitch/ctl-params.h"

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

static const struct ctl_command commands[] = {
	{
		.words = {"port", "show"},
		.method = "port.list",
		.columns = {"name", "kind", "number", "up", "vlan-mode", "vlan",
			    "queues", "group", "interrupts", "offloads",
			    "socket-path"},
	},
	{
		.words = {"port", "add"},
		.arguments = "KEY=VALUE...",
		.least = 1,
		.most = 64,
		.method = "port.add",
		.params = ctl_params_port,
	},
	{
		.words = {"port", "set"},
		.arguments = "NAME KEY=VALUE...",
		.least = 2,
		.most = 64,
		.method = "port.set",
		.params = ctl_params_keys,
	},
	{
		.words = {"port", "del"},
		.arguments = "NAME",
		.least = 1,
		.most = 1,
		.method = "port.remove",
		.params = ctl_params_name,
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
		.params = ctl_params_flush,
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
		.params = ctl_params_guard,
	},
	{
		.words = {"guard", "del"},
		.arguments = "PORT",
		.least = 1,
		.most = 1,
		.method = "guard.remove",
		.params = ctl_params_of_port,
	},
	{
		.words = {"mirror", "show"},
		.method = "mirror.list",
		.columns = {"port", "ports", "direction", "vlans"},
	},
	{
		.words = {"limit", "show"},
		.method = "limit.list",
		.columns = {"port", "what", "rate", "burst", "queue"},
	},
	{
		.words = {"tunnel", "show"},
		.method = "tunnel.list",
		.columns = {"port", "vlan", "vlans"},
	},
	{
		.words = {"acl", "show"},
		.arguments = "[PORT]",
		.most = 1,
		.method = "acl.list",
		.params = ctl_params_acl_list,
		.columns = {"port", "direction", "number", "name", "action",
			    "match", "hits"},
	},
	{
		.words = {"acl", "set"},
		.arguments = "PORT FILE",
		.least = 2,
		.most = 2,
		.method = "acl.set",
		.params = ctl_params_acl,
	},
	{
		.words = {"acl", "del"},
		.arguments = "PORT",
		.least = 1,
		.most = 1,
		.method = "acl.set",
		.params = ctl_params_no_acl,
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
		.params = ctl_params_move,
	},
	{
		.words = {"trace"},
		.arguments = "PORT HEX|KEY=VALUE...",
		.least = 2,
		.most = 12,
		.method = "trace",
		.params = ctl_params_trace,
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

void ctl_print_usage(FILE *to)
{
	fputs("Usage: vswitch ctl [--control=PATH] [--json] COMMAND\n", to);
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct ctl_command *c = &commands[i];

		fprintf(to, "  %s%s%s %s\n", c->words[0],
			c->words[1] ? " " : "", c->words[1] ? c->words[1] : "",
			c->arguments ? c->arguments : "");
	}
	fputs("  capture [--count=N] [--snap=N] [--write=FILE] PORT "
	      "[FILTER...]\n"
	      "  top [--count N]\n",
	      to);
}

const struct ctl_command *ctl_command_find(int argc, char **argv)
{
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct ctl_command *c = &commands[i];
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
