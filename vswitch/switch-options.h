/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of vswitch; what it serves is in the file of --config. */
#ifndef VSWITCH_SWITCH_OPTIONS_H
#define VSWITCH_SWITCH_OPTIONS_H

#include "vhost/daemon-options.h"

/* Strings are those of argv. */
struct switch_options {
	struct daemon_options daemon; /* first; without a socket */
	const char *config;
	const char *control; /* NULL: not given, … */
	const char *metrics; /* … */
	const char *state;   /* … */
};

/* As options_parse. */
int switch_options_parse(int argc, char **argv,
			 struct switch_options *ret_options,
			 char ret_error[static OPTIONS_ERROR_BYTES]);

void switch_options_print_help(const char *program);

#endif
