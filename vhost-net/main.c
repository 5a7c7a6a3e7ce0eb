/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost-net: joins one virtual machine to one TAP. Opens the TAP, gives up what
 * it does not need, and runs the control loop until it is told to end.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/notify.h"
#include "vhost-net/net-options.h"
#include "vhost-net/net-port.h"
#include "vhost-net/net-tap.h"
#include "vhost/endpoint.h"
#include "vhost/sandbox.h"
#include "vhost/sigbus.h"

enum {
	CONTROL_ENTRIES = 64,
};

struct daemon {
	struct net_options options;
	struct net_tap tap;
	struct loop *loop;
	struct net_port *port;
	struct endpoint *endpoint;
	int signal_fd;
	struct loop_watch *signals;
	struct log_limit log_limit; /* of what a front-end can cause */
	bool ending;
	int status; /* of the end */
};

static void log_faults(const char *name, const char *direction,
		       const uint64_t *faults)
{
	for (unsigned i = 1; i < NET_FAULTS; i++)
		if (faults[i])
			log_info("%s: %s dropped: %s %llu", name, direction,
				 net_fault_name(i),
				 (unsigned long long)faults[i]);
}

/* One line for each direction, as the guest sees it, and each reason. */
static void log_counters(struct daemon *daemon)
{
	struct netdev_counters c;
	uint64_t refused;
	const char *name = daemon->tap.name;

	net_port_count(daemon->port, &c, &refused);
	log_info("%s: received frames %llu bytes %llu", name,
		 (unsigned long long)c.rx_frames,
		 (unsigned long long)c.rx_bytes);
	log_info("%s: sent frames %llu bytes %llu refused %llu", name,
		 (unsigned long long)c.tx_frames,
		 (unsigned long long)c.tx_bytes, (unsigned long long)refused);
	log_faults(name, "received", c.rx_faults);
	log_faults(name, "sent", c.tx_faults);
}

static void signalled(void *arg, int revents)
{
	struct daemon *daemon = arg;
	struct signalfd_siginfo info;

	while (read(daemon->signal_fd, &info, sizeof(info)) > 0) {
		if (info.ssi_signo == SIGUSR1)
			log_counters(daemon);
		else
			daemon->ending = true;
	}
}

static void complain(void *arg, const char *what)
{
	struct daemon *daemon = arg;

	log_ratelimited(&daemon->log_limit, LOG_LEVEL_WARNING, "%s: %s",
			daemon->tap.name, what);
}

static void queue_broke(void *arg, unsigned index)
{
	struct daemon *daemon = arg;
	struct session *session = endpoint_session(daemon->endpoint);

	if (!session)
		return;
	session_queue_broken(session, index);
	complain(daemon, session_error(session));
}

/* A descriptor of a TAP that was deleted stays dead: start again. */
static void tap_gone(void *arg)
{
	struct daemon *daemon = arg;

	log_error("%s: the TAP was deleted: make it again, and start again",
		  daemon->tap.name);
	daemon->ending = true;
	daemon->status = -ENODEV;
}

/* A daemon that was given one connection has nothing to do after it. */
static void session_changed(void *arg, bool connected)
{
	struct daemon *daemon = arg;

	log_debug("%s: the front-end is %s", daemon->tap.name,
		  connected ? "connected" : "gone");
	if (endpoint_is_over(daemon->endpoint))
		daemon->ending = true;
}

static int open_tap(struct daemon *daemon)
{
	const struct net_options *options = &daemon->options;
	const struct net_tap_config config = {
		.name = options->tap,
		.fds = options->tap_fds,
		.count = options->pairs,
		.mtu = options->mtu,
		.bridge = options->bridge,
	};
	char error[NET_TAP_ERROR_BYTES];
	int err = net_tap_open(&config, &daemon->tap, error);

	if (err < 0)
		log_error("%s", error);
	return err;
}

static int open_loop(struct daemon *daemon)
{
	int err = loop_new(CONTROL_ENTRIES, &daemon->loop);

	if (err < 0)
		log_error("io_uring cannot be used: %s; see "
			  "/proc/sys/kernel/io_uring_disabled and the limit on "
			  "locked memory",
			  strerror(-err));
	return err;
}

static int setup_signals(struct daemon *daemon)
{
	sigset_t set;
	int err;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGUSR1);
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

static int open_port(struct daemon *daemon)
{
	const struct net_port_config config = {
		.options = &daemon->options,
		.tap = &daemon->tap,
		.control = daemon->loop,
		.queue_broke = queue_broke,
		.tap_gone = tap_gone,
		.complain = complain,
		.arg = daemon,
	};
	int err = net_port_new(&config, &daemon->port);

	if (err < 0)
		log_error("the serving threads cannot be started: %s",
			  strerror(-err));
	return err;
}

/* --socket-path, --fd, or what the service manager passed. */
static int open_endpoint(struct daemon *daemon)
{
	const struct net_options *options = &daemon->options;
	struct endpoint_config config = {
		.socket_path = options->socket_path,
		.fd = options->fd,
		.connect = options->connect,
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
	err = endpoint_new(daemon->loop, net_port_vhost(daemon->port), &config,
			   &daemon->endpoint);
	if (err < 0 && config.socket_path)
		log_error("--socket-path=%s: %s", config.socket_path,
			  strerror(-err));
	else if (err < 0)
		log_error("descriptor %d: %s: is it a Unix stream socket?",
			  config.fd, strerror(-err));
	return err;
}

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

/* Threads inherit both; see base/sandbox.h for the order. */
static int give_up_privileges(struct daemon *daemon)
{
	int err;

	if (!daemon->options.sandbox)
		return 0;
	err = sandboxed("capabilities", sandbox_capabilities());
	if (err < 0)
		return err;
	return sandboxed("file names",
			 vhost_sandbox_paths(daemon->options.socket_path));
}

static int give_up_system_calls(struct daemon *daemon)
{
	if (!daemon->options.sandbox)
		return 0;
	return sandboxed("system calls",
			 vhost_sandbox_system_calls(NULL, net_tap_ioctls,
						    net_tap_ioctl_count));
}

static int daemon_open(struct daemon *daemon)
{
	static int (*const steps[])(struct daemon *) = {
		open_tap,
		open_loop,
		setup_signals,
		give_up_privileges,
		open_port,
		open_endpoint,
		give_up_system_calls,
	};
	int err = 0;

	for (size_t i = 0; i < ARRAY_SIZE(steps) && err == 0; i++)
		err = steps[i](daemon);
	return err;
}

static int daemon_run(struct daemon *daemon)
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

/* Also of a daemon that was opened half-way. */
static void daemon_close(struct daemon *daemon)
{
	endpoint_free(daemon->endpoint);
	net_port_free(daemon->port);
	loop_watch_free(daemon->signals);
	loop_free(daemon->loop);
	fd_close(&daemon->signal_fd);
	net_tap_close(&daemon->tap);
}

static int serve(struct daemon *daemon)
{
	int err = daemon_open(daemon);

	if (err == 0)
		err = daemon_run(daemon);
	daemon_close(daemon);
	return err == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Read by management tools; docs/interop/vhost-user.json in QEMU's source. */
static void print_capabilities(void)
{
	puts("{\n"
	     "  \"type\": \"net\",\n"
	     "  \"features\": []\n"
	     "}");
}

int main(int argc, char **argv)
{
	struct daemon daemon = {.signal_fd = -1};
	char error[OPTIONS_ERROR_BYTES];
	int outcome = net_options_parse(argc, argv, &daemon.options, error);

	switch (outcome) {
	case 0:
		break;
	case OPTIONS_HELP:
		net_options_print_help(argv[0]);
		return EXIT_SUCCESS;
	case OPTIONS_VERSION:
		puts("vhost-net (Ringline) " RINGLINE_VERSION);
		return EXIT_SUCCESS;
	case OPTIONS_CAPABILITIES:
		print_capabilities();
		return EXIT_SUCCESS;
	default:
		log_error("%s", error);
		return EXIT_FAILURE;
	}
	if (daemon.options.verbose)
		log_set_level(LOG_LEVEL_DEBUG);
	return serve(&daemon);
}
