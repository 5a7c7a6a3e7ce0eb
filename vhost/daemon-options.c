/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost/daemon-options.h"

static struct daemon_options *of(struct options_parser *parser)
{
	return parser->options;
}

int daemon_options_socket_path(struct options_parser *parser)
{
	of(parser)->socket_path = parser->value;
	return 0;
}

int daemon_options_fd(struct options_parser *parser)
{
	uint64_t fd;

	if (options_size(parser->value, &fd) < 0 || fd > INT32_MAX)
		return options_fail_value(parser,
					  "the number of an inherited socket");
	of(parser)->fd = fd;
	return 0;
}

int daemon_options_connect(struct options_parser *parser)
{
	of(parser)->connect = true;
	return 0;
}

int daemon_options_poll(struct options_parser *parser)
{
	return options_word(parser, "adaptive|always|never", &of(parser)->poll);
}

int daemon_options_sandbox(struct options_parser *parser)
{
	unsigned off;
	int err = options_word(parser, "on|off", &off);

	if (err == 0)
		of(parser)->sandbox = !off;
	return err;
}

int daemon_options_verbose(struct options_parser *parser)
{
	of(parser)->verbose = true;
	return 0;
}

int daemon_options_capabilities(struct options_parser *parser)
{
	return OPTIONS_CAPABILITIES;
}

int daemon_options_help(struct options_parser *parser)
{
	return OPTIONS_HELP;
}

int daemon_options_version(struct options_parser *parser)
{
	return OPTIONS_VERSION;
}

int daemon_options_check(struct options_parser *parser)
{
	const struct daemon_options *options = of(parser);

	if (options->socket_path && options->fd >= 0)
		return options_fail(parser, "--socket-path and --fd exclude "
					    "each other: give one");
	if (options->connect && !options->socket_path)
		return options_fail(parser, "--connect needs --socket-path: "
					    "name the socket to connect to");
	return 0;
}
