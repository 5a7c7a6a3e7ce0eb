/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "tools/vbench/blk.h"
#include "tools/vbench/net.h"
#include "tools/vbench/switch.h"

static const struct {
	const char *name;
	const char *about;
	int (*run)(int argc, char **argv);
} commands[] = {
	{"blk", "a vhost-user-blk back-end", vbench_blk},
	{"net", "a vhost-user-net back-end", vbench_net},
	{"switch", "a switch with many vhost-user ports", vbench_switch},
};

static void print_usage(FILE *to)
{
	fprintf(to, "usage: vbench COMMAND SOCKET [OPTION]...\n"
		    "Measures a vhost-user back-end. COMMAND is one of\n");
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(to, "  %-6s %s\n", commands[i].name, commands[i].about);
	fprintf(to, "`vbench COMMAND --help' lists its options.\n");
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "--help") == 0) {
		print_usage(stdout);
		return VBENCH_OK;
	}
	for (unsigned i = 0; argc > 1 && i < ARRAY_SIZE(commands); i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	if (argc > 1)
		fprintf(stderr, "vbench: %s: no such command\n", argv[1]);
	print_usage(stderr);
	return VBENCH_USAGE;
}
