/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost/daemon.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/notify.h"
#include "vhost/sandbox.h"
#include "vhost/sigbus.h"

enum {
	CONTROL_ENTRIES = 64,
};

bool daemon_begins(const struct daemon_program *program, int outcome,
		   const char *argv0, const char *error,
		   const struct daemon_options *options, int *ret_status)
{
	*ret_status = EXIT_SUCCESS;
	switch (outcome) {
	case 0:
		if (options->verbose)
			log_set_level(LOG_LEVEL_DEBUG);
		return true;
	case OPTIONS_HELP:
		program->print_help(argv0);
		return false;
	case OPTIONS_VERSION:
		printf("%s (Ringline) " RINGLINE_VERSION "\n", program->name);
		return false;
	case OPTIONS_CAPABILITIES:
		puts(program->capabilities);
		return false;
	default:
		log_error("%s", error);
		*ret_status = EXIT_FAILURE;
		return false;
	}
}

void daemon_end(struct daemon *daemon, int status)
{
	daemon->ending = true;
	daemon->status = status;
}

static void signalled(void *arg, int revents)
{
	struct daemon *daemon = arg;
	struct signalfd_siginfo info;

	while (read(daemon->signal_fd, &info, sizeof(info)) > 0) {
		if (info.ssi_signo == SIGUSR1)
			daemon->report(daemon->arg);
		else if (info.ssi_signo == SIGHUP)
			daemon->reload(daemon->arg);
		else if (info.ssi_signo == SIGUSR2)
			daemon->toggle(daemon->arg);
		else
			daemon->ending = true;
	}
}

static int setup_signals(struct daemon *daemon)
{
	sigset_t set;
	int err;

	signal(SIGPIPE, SIG_IGN);
	/* A limit on a file's size fails the request that meets it. */
	signal(SIGXFSZ, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (daemon->report)
		sigaddset(&set, SIGUSR1);
	if (daemon->reload)
		sigaddset(&set, SIGHUP);
	if (daemon->toggle)
		sigaddset(&set, SIGUSR2);
	/* Inherited by the serving threads: only signal_fd sees them. */
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	daemon->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (daemon->signal_fd < 0)
		return -errno;
	err = sigbus_install();
	if (err < 0)
		return err;
	return loop_watch_new(daemon->loop, daemon->signal_fd, POLLIN,
			      signalled, daemon, &daemon->signals);
}

int daemon_open_loop(struct daemon *daemon)
{
	int err = loop_new(CONTROL_ENTRIES, &daemon->loop);

	daemon->signal_fd = -1;
	if (err < 0) {
		log_error("io_uring cannot be used: %s; see "
			  "/proc/sys/kernel/io_uring_disabled and the limit on "
			  "locked memory",
			  strerror(-err));
		return err;
	}
	err = setup_signals(daemon);
	if (err < 0)
		log_error("signals cannot be taken: %s", strerror(-err));
	return err;
}

/* A daemon that was given one connection has nothing to do after it. */
static void session_changed(void *arg, bool connected)
{
	struct daemon *daemon = arg;

	log_debug("%s: the front-end is %s", daemon->name,
		  connected ? "connected" : "gone");
	if (endpoint_is_over(daemon->endpoint))
		daemon->ending = true;
}

void daemon_complain(struct daemon *daemon, const char *what)
{
	log_ratelimited(&daemon->log_limit, LOG_LEVEL_WARNING, "%s: %s",
			daemon->name, what);
}

static void complain(void *arg, const char *what)
{
	daemon_complain(arg, what);
}

void daemon_queue_broke(struct daemon *daemon, unsigned index)
{
	struct session *session = endpoint_session(daemon->endpoint);

	if (!session)
		return;
	session_queue_broken(session, index);
	daemon_complain(daemon, session_error(session));
}

void daemon_space_changed(struct daemon *daemon)
{
	struct session *session =
		daemon->endpoint ? endpoint_session(daemon->endpoint) : NULL;

	if (session)
		session_config_changed(session);
}

int daemon_open_endpoint(struct daemon *daemon, struct vhost_device *device)
{
	struct endpoint_config config = {
		.socket_path = daemon->options->socket_path,
		.fd = daemon->options->fd,
		.connect = daemon->options->connect,
		.changed = session_changed,
		.complain = complain,
		.arg = daemon,
	};
	int err;

	if (!config.socket_path && config.fd < 0)
		config.fd = notify_listen_fd();
	if (!config.socket_path && config.fd < 0) {
		log_error("no socket: give --socket-path or --fd, or start "
			  "with exactly one socket by socket activation");
		return -EINVAL;
	}
	err = endpoint_new(daemon->loop, device, &config, &daemon->endpoint);
	if (err < 0 && config.socket_path)
		log_error("--socket-path=%s: %s", config.socket_path,
			  strerror(-err));
	else if (err < 0)
		log_error("descriptor %d: %s: is it a Unix stream socket?",
			  config.fd, strerror(-err));
	return err;
}

/* --- the sandbox ---------------------------------------------------------- */

static int sandboxed(const char *what, int err)
{
	if (err == SANDBOX_E_ABSENT) {
		log_warning("sandbox: %s are not given up: this kernel, or "
			    "this build, has no way to",
			    what);
		return 0;
	}
	if (err < 0)
		log_error("sandbox: %s could not be given up: %s; "
			  "--sandbox=off does without",
			  what, strerror(-err));
	return err;
}

int daemon_give_up_capabilities(const struct daemon *daemon)
{
	if (!daemon->options->sandbox)
		return 0;
	return sandboxed("capabilities", sandbox_capabilities());
}

int daemon_give_up_paths(const struct daemon *daemon)
{
	if (!daemon->options->sandbox)
		return 0;
	return sandboxed("file names",
			 vhost_sandbox_paths(daemon->options->socket_path));
}

int daemon_give_up_paths_but(const struct daemon *daemon,
			     const char *const *sockets_folders,
			     const char *const *read_folders)
{
	if (!daemon->options->sandbox)
		return 0;
	return sandboxed("file names",
			 sandbox_paths(sockets_folders, read_folders));
}

int daemon_give_up_system_calls(const struct daemon *daemon,
				const char *const *names,
				const unsigned long *ioctls, size_t ioctl_count)
{
	if (!daemon->options->sandbox)
		return 0;
	return sandboxed("system calls", vhost_sandbox_system_calls(
						 names, ioctls, ioctl_count));
}

/* --- from the beginning to the end ---------------------------------------- */

int daemon_run(struct daemon *daemon)
{
	int err = 0;

	notify_send("READY=1");
	while (!daemon->ending && err >= 0)
		err = loop_wait(daemon->loop, UINT64_MAX);
	if (err < 0)
		log_error("the control loop failed: %s", strerror(-err));
	notify_send("STOPPING=1");
	return err < 0 ? err : daemon->status;
}

void daemon_close_endpoint(struct daemon *daemon)
{
	endpoint_free(daemon->endpoint);
	daemon->endpoint = NULL;
}

void daemon_close(struct daemon *daemon)
{
	if (!daemon->loop)
		return;
	loop_watch_free(daemon->signals);
	loop_free(daemon->loop);
	fd_close(&daemon->signal_fd);
}
