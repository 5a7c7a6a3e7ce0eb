/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options that all daemons have (docs/interop/vhost-user.rst in QEMU's
 * source, "Backend program conventions"), as rows for a daemon's own table.
 * The daemon's structure of options begins with struct daemon_options.
 */
#ifndef VHOST_DAEMON_OPTIONS_H
#define VHOST_DAEMON_OPTIONS_H

#include <stdbool.h>

#include "base/options.h"
#include "base/spin.h"

/* Strings are those of argv. */
struct daemon_options {
	const char *socket_path; /* NULL: not given */
	int fd;			 /* -1: not given */
	bool connect;
	enum spin_mode poll;
	bool sandbox;
	bool verbose;
};

#define DAEMON_OPTIONS_INIT                \
	(struct daemon_options)            \
	{                                  \
		.fd = -1, .sandbox = true, \
	}

/* Of a daemon that serves one front-end. */
#define DAEMON_SOCKET_ROWS                                        \
	{"socket-path", "PATH", daemon_options_socket_path,       \
	 "listen on (or --connect to) this Unix socket"},         \
		{"fd", "N", daemon_options_fd,                    \
		 "use this inherited socket, listening or "       \
		 "connected"},                                    \
	{                                                         \
		"connect", NULL, daemon_options_connect,          \
			"connect to a front-end that listens at " \
			"--socket-path"                           \
	}

/* Of any daemon. */
#define DAEMON_ROWS                                                          \
	{"poll", "adaptive|always|never", daemon_options_poll,               \
	 "whether idle threads spin for a while (adaptive)"},                \
		{"sandbox", "on|off", daemon_options_sandbox,                \
		 "give up files and system calls not needed (on)"},          \
		{"verbose", NULL, daemon_options_verbose, "log more"},       \
		{"print-capabilities", NULL, daemon_options_capabilities,    \
		 "print what this back-end can do as JSON, and exit"},       \
		{"help", NULL, daemon_options_help, "print this, and exit"}, \
	{                                                                    \
		"version", NULL, daemon_options_version,                     \
			"print the version, and exit"                        \
	}

int daemon_options_socket_path(struct options_parser *parser);
int daemon_options_fd(struct options_parser *parser);
int daemon_options_connect(struct options_parser *parser);
int daemon_options_poll(struct options_parser *parser);
int daemon_options_sandbox(struct options_parser *parser);
int daemon_options_verbose(struct options_parser *parser);
int daemon_options_capabilities(struct options_parser *parser);
int daemon_options_help(struct options_parser *parser);
int daemon_options_version(struct options_parser *parser);

/*
 * What excludes each other. Whether the socket may be left out (socket
 * activation) is not judged here. 0 or -EINVAL.
 */
int daemon_options_check(struct options_parser *parser);

#endif
