/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/switch-options.h"

#include <stdio.h>

#include "base/bytes.h"

static struct switch_options *of(struct options_parser *parser)
{
	return parser->options;
}

static int set_config(struct options_parser *parser)
{
	of(parser)->config = parser->value;
	return 0;
}

static int set_control(struct options_parser *parser)
{
	of(parser)->control = parser->value;
	return 0;
}

static int set_metrics(struct options_parser *parser)
{
	of(parser)->metrics = parser->value;
	return 0;
}

static int set_state(struct options_parser *parser)
{
	of(parser)->state = parser->value;
	return 0;
}

static const struct options_row rows[] = {
	{"config", "FILE", set_config, "what to switch between, in YAML"},
	{"control", "PATH", set_control,
	 "listen on this Unix socket for vswitch ctl"},
	{"metrics", "PATH|ADDR:PORT", set_metrics,
	 "answer HTTP with a page of OpenMetrics there"},
	{"state", "FILE", set_state,
	 "keep stations and added ports in this file over a restart"},
	DAEMON_ROWS,
};

void switch_options_print_help(const char *program)
{
	printf("Usage: %1$s --config=FILE [OPTION]...\n"
	       "       %1$s ctl [--control=PATH] [--json] COMMAND\n"
	       "Switches Ethernet frames between virtual machines and TAPs.\n\n",
	       program);
	options_print(rows, ARRAY_SIZE(rows));
}

int switch_options_parse(int argc, char **argv,
			 struct switch_options *ret_options,
			 char ret_error[static OPTIONS_ERROR_BYTES])
{
	struct options_parser parser = {.options = ret_options,
					.error = ret_error};
	int err;

	*ret_options = (struct switch_options){.daemon = DAEMON_OPTIONS_INIT};
	err = options_parse(&parser, rows, ARRAY_SIZE(rows), argc, argv);
	if (err == 0 && !ret_options->config)
		err = options_fail(&parser, "--config is missing: name a file "
					    "that says what to switch");
	return err;
}
