/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands of `vswitch ctl` that are one request: what each is called, which
 * method it asks, and how its answer is shown.
 */
#ifndef VSWITCH_CTL_COMMANDS_H
#define VSWITCH_CTL_COMMANDS_H

#include <jansson.h>
#include <stdio.h>

#include "vswitch/ctl-table.h"

struct ctl_command {
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

/* By the words that @argv begins with, if as many follow as the command takes;
 * or NULL. */
const struct ctl_command *ctl_command_find(int argc, char **argv);

void ctl_print_usage(FILE *to);

#endif
