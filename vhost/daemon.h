/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the main.c of every daemon does: the control loop and signals, the
 * socket (given, or by socket activation), readiness and the end as a service
 * manager wants to know them, and the steps into the sandbox.
 *
 * A program opens what it serves and calls these in the order of its steps. As
 * parts of main.c they log what went wrong.
 *
 * Control thread only.
 */
#ifndef VHOST_DAEMON_H
#define VHOST_DAEMON_H

#include <stdbool.h>
#include <stddef.h>

#include "base/log.h"
#include "base/loop.h"
#include "vhost/daemon-options.h"
#include "vhost/endpoint.h"

struct daemon_program {
	const char *name; /* "vhost-blk" */
	/* --print-capabilities: read by management tools;
	 * docs/interop/vhost-user.json in QEMU's source. */
	const char *capabilities;
	void (*print_help)(const char *argv0);
};

struct daemon {
	const struct daemon_options *options; /* borrowed */
	const char *name; /* of what is served, for messages; borrowed */
	/* SIGUSR1; NULL: it is not taken. */
	void (*report)(void *arg);
	/* SIGHUP, likewise. */
	void (*reload)(void *arg);
	/* SIGUSR2, likewise. */
	void (*toggle)(void *arg);
	void *arg;

	struct loop *loop;
	struct endpoint *endpoint;
	struct loop_watch *signals;
	int signal_fd;
	struct log_limit log_limit; /* of what a front-end can cause */
	bool ending;
	int status; /* of the end */
};

/*
 * What became of the command line: true if the program shall go on. Otherwise
 * what was asked for, or @error, was printed, and *ret_status is main's.
 */
bool daemon_begins(const struct daemon_program *program, int outcome,
		   const char *argv0, const char *error,
		   const struct daemon_options *options, int *ret_status);

/* The control loop, and signals on it: SIGTERM and SIGINT end, SIGBUS is
 * caught. For threads that are made later, too. */
int daemon_open_loop(struct daemon *daemon);

/* The socket that the options name, or that the manager passed. */
int daemon_open_endpoint(struct daemon *daemon, struct vhost_device *device);

/* --- the sandbox, if it is on: see base/sandbox.h for the order --- */

int daemon_give_up_capabilities(const struct daemon *daemon);
int daemon_give_up_paths(const struct daemon *daemon);
/* As sandbox_paths, for a daemon of several sockets. */
int daemon_give_up_paths_but(const struct daemon *daemon,
			     const char *const *sockets_folders,
			     const char *const *read_folders);
/* As vhost_sandbox_system_calls. */
int daemon_give_up_system_calls(const struct daemon *daemon,
				const char *const *names,
				const unsigned long *ioctls,
				size_t ioctl_count);

/* Until the end: its status, 0 or a negative errno. */
int daemon_run(struct daemon *daemon);

/* The end is near: the loop's next turn is the last. */
void daemon_end(struct daemon *daemon, int status);

/* The socket, before the device. Also if it was never opened. */
void daemon_close_endpoint(struct daemon *daemon);
/* The loop and signals. */
void daemon_close(struct daemon *daemon);

/* The ring of queue @index is broken: the session stops it. */
void daemon_queue_broke(struct daemon *daemon, unsigned index);

/* The device's configuration space has changed: its driver is told. */
void daemon_space_changed(struct daemon *daemon);

/* Something that a front-end caused and a person may want to know. */
void daemon_complain(struct daemon *daemon, const char *what);

#endif
