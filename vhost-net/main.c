/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost-net: joins one virtual machine to one TAP, or interface. Opens that, gives
 * up what it does not need, and runs the control loop until it is told to end.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "vhost-net/net-capture.h"
#include "vhost-net/net-options.h"
#include "vhost-net/net-port.h"
#include "vhost-net/net-tap.h"
#include "vhost-net/net-wire-tap.h"
#include "vhost-net/net-wire-xdp.h"
#include "vhost/daemon.h"

struct server {
	struct daemon daemon;
	struct net_options options;
	struct net_tap tap;
	struct net_wire_tap tap_wire;
	struct net_wire *wire; /* NULL: not open */
	struct net_capture capture;
	struct net_port *port;
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

/* By the kernel, where we are the only one to know. */
static void log_missed(const struct net_wire *wire)
{
	uint64_t missed = wire->ops->missed ? wire->ops->missed(wire) : 0;

	if (missed)
		log_info("%s: received missed %llu", wire->name,
			 (unsigned long long)missed);
}

/* One line for each direction, as the guest sees it, and each reason. */
static void log_counters(void *arg)
{
	struct server *server = arg;
	struct netdev_counters c;
	uint64_t refused;
	const char *name = server->wire->name;

	net_port_count(server->port, &c, &refused);
	log_info("%s: received frames %llu bytes %llu", name,
		 (unsigned long long)c.rx_frames,
		 (unsigned long long)c.rx_bytes);
	log_info("%s: sent frames %llu bytes %llu refused %llu", name,
		 (unsigned long long)c.tx_frames,
		 (unsigned long long)c.tx_bytes, (unsigned long long)refused);
	log_missed(server->wire);
	log_faults(name, "received", c.rx_faults);
	log_faults(name, "sent", c.tx_faults);
	net_capture_log(&server->capture);
}

static void toggle_capture(void *arg)
{
	struct server *server = arg;

	net_capture_toggle(&server->capture);
}

static void queue_broke(void *arg, unsigned index)
{
	struct server *server = arg;

	daemon_queue_broke(&server->daemon, index);
}

static void complain(void *arg, const char *what)
{
	struct server *server = arg;

	daemon_complain(&server->daemon, what);
}

/* What was deleted stays dead: start again. */
static void wire_gone(void *arg)
{
	struct server *server = arg;

	log_error("%s: %s", server->wire->name, server->wire->gone);
	daemon_end(&server->daemon, -ENODEV);
}

static void space_changed(void *arg)
{
	struct server *server = arg;

	daemon_space_changed(&server->daemon);
}

static int open_tap(struct server *server)
{
	const struct net_options *options = &server->options;
	const struct net_tap_config config = {
		.name = options->tap,
		.fds = options->tap_fds,
		.count = options->pairs,
		.mtu = options->mtu,
		.bridge = options->bridge,
		.napi = options->tap_napi,
	};
	char error[NET_TAP_ERROR_BYTES];
	int err = net_tap_open(&config, &server->tap, error);

	if (err < 0) {
		log_error("%s", error);
		return err;
	}
	net_wire_tap_init(&server->tap_wire, &server->tap);
	server->wire = &server->tap_wire.wire;
	return 0;
}

static int open_xdp(struct server *server)
{
	static const struct net_xdp_words words = {
		.mtu = "--mtu=",
		.queues = "--num-queue-pairs=",
		.mode = "--xdp-mode=",
		.rights = "start as root",
	};
	const struct net_options *options = &server->options;
	const struct net_xdp_config config = {
		.name = options->xdp,
		.count = options->pairs,
		.mode = options->xdp_mode,
		.mtu = options->mtu,
		.words = &words,
	};
	char error[NET_XDP_ERROR_BYTES] = "no memory";
	int err = net_wire_xdp_new(&config, &server->wire, error);

	if (err < 0)
		log_error("%s", error);
	return err;
}

static int open_wire(struct server *server)
{
	int err = server->options.xdp ? open_xdp(server) : open_tap(server);

	if (err == 0)
		log_debug("%s: %s", server->wire->name, server->wire->kind);
	return err;
}

static int open_capture(struct server *server)
{
	return net_capture_open(&server->capture, &server->options.capture,
				server->wire->name);
}

static int open_loop(struct server *server)
{
	server->daemon.name = server->wire->name;
	return daemon_open_loop(&server->daemon);
}

/* Threads inherit both; see base/sandbox.h for the order. */
static int give_up_privileges(struct server *server)
{
	int err = daemon_give_up_capabilities(&server->daemon);

	return err < 0 ? err : daemon_give_up_paths(&server->daemon);
}

static int start_capture(struct server *server)
{
	return net_capture_start(&server->capture, server->options.threads + 1);
}

static int open_port(struct server *server)
{
	const struct net_port_config config = {
		.options = &server->options,
		.wire = server->wire,
		.control = server->daemon.loop,
		.capture = server->capture.capture,
		.queue_broke = queue_broke,
		.wire_gone = wire_gone,
		.space_changed = space_changed,
		.complain = complain,
		.arg = server,
	};
	int err = net_port_new(&config, &server->port);

	if (err < 0)
		log_error("the serving threads cannot be started: %s",
			  strerror(-err));
	return err;
}

static int open_endpoint(struct server *server)
{
	return daemon_open_endpoint(&server->daemon,
				    net_port_vhost(server->port));
}

static int give_up_system_calls(struct server *server)
{
	return daemon_give_up_system_calls(&server->daemon, NULL,
					   net_tap_ioctls, net_tap_ioctl_count);
}

static int server_open(struct server *server)
{
	static int (*const steps[])(struct server *) = {
		open_wire,	    open_capture,	  open_loop,
		give_up_privileges, start_capture,	  open_port,
		open_endpoint,	    give_up_system_calls,
	};
	int err = 0;

	for (size_t i = 0; i < ARRAY_SIZE(steps) && err == 0; i++)
		err = steps[i](server);
	return err;
}

/* Also of one that was opened half-way. */
static void server_close(struct server *server)
{
	daemon_close_endpoint(&server->daemon);
	net_port_free(server->port);
	net_capture_close(&server->capture);
	daemon_close(&server->daemon);
	if (server->wire)
		server->wire->ops->close(server->wire);
}

static int serve(struct server *server)
{
	int err = server_open(server);

	if (err == 0)
		err = daemon_run(&server->daemon);
	server_close(server);
	return err == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static const struct daemon_program program = {
	.name = "vhost-net",
	.capabilities = "{\n"
			"  \"type\": \"net\",\n"
			"  \"features\": []\n"
			"}",
	.print_help = net_options_print_help,
};

int main(int argc, char **argv)
{
	struct server server = {
		.daemon.options = &server.options.daemon,
		.daemon.report = log_counters,
		.daemon.toggle = toggle_capture,
		.capture.fd = -1,
		.daemon.arg = &server,
	};
	char error[OPTIONS_ERROR_BYTES];
	int outcome = net_options_parse(argc, argv, &server.options, error);
	int status;

	if (!daemon_begins(&program, outcome, argv[0], error,
			   &server.options.daemon, &status))
		return status;
	return serve(&server);
}
