/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vswitch: switches frames between virtual machines and TAPs. Reads what to
 * switch, opens what needs rights, gives them up, and runs the control loop
 * until it is told to end.
 */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "control/page-socket.h"
#include "control/rpc-socket.h"
#include "vhost/daemon.h"
#include "vswitch/confine.h"
#include "vswitch/control.h"
#include "vswitch/ctl.h"
#include "vswitch/eal.h"
#include "vswitch/ethdev.h"
#include "vswitch/metrics.h"
#include "vswitch/reload.h"
#include "vswitch/state.h"
#include "vswitch/switch-options.h"
#include "vswitch/vswitch.h"

enum {
	/* What is as large is the system's again once it is free. */
	LARGE_BYTES = 1 << 20,
};

struct server {
	struct daemon daemon;
	struct switch_options options;
	struct config *config; /* until the switch has it */
	bool has_pci;
	struct vswitch *vswitch;
	struct state *state;
	struct rpc rpc;
	struct rpc_socket *control;
	struct page_socket *metrics;
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

/* As who is behind the port sees it, as vhost-net does. */
static void log_port(struct server *server, const struct port *port)
{
	const char *name = port->config->name;
	struct port_counters c;

	vswitch_count(server->vswitch, port, &c, NULL);
	log_faults(name, "received", c.net.rx_faults);
	log_faults(name, "sent", c.net.tx_faults);
	for (unsigned i = 1; i < FORWARD_DROPS; i++)
		if (c.drops[i])
			log_info("%s: not forwarded: %s %llu", name,
				 forward_drop_name(i),
				 (unsigned long long)c.drops[i]);
	log_info("%s: sent frames %llu bytes %llu", name,
		 (unsigned long long)c.net.tx_frames,
		 (unsigned long long)c.net.tx_bytes);
	if (c.shaped.delayed || c.shaped.dropped)
		log_info("%s: shaped delayed %llu dropped %llu", name,
			 (unsigned long long)c.shaped.delayed,
			 (unsigned long long)c.shaped.dropped);
	log_info("%s: received frames %llu bytes %llu unreachable %llu", name,
		 (unsigned long long)c.net.rx_frames,
		 (unsigned long long)c.net.rx_bytes,
		 (unsigned long long)c.unreachable);
}

static void log_counters(void *arg)
{
	struct server *server = arg;

	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
		const struct port *port = vswitch_port(server->vswitch, i);

		if (port)
			log_port(server, port);
	}
	log_info("all ports were counted");
}

static void reload_config(void *arg)
{
	struct server *server = arg;
	char error[RELOAD_ERROR_BYTES];
	struct reload_counts counts;

	if (reload(server->vswitch, &counts, error) < 0)
		log_error("not reloaded: %s", error);
	else
		log_info("reloaded: %u ports added, %u removed, %u changed, "
			 "%u replaced",
			 counts.added, counts.removed, counts.changed,
			 counts.replaced);
}

static int read_config(struct server *server)
{
	char error[CONFIG_FILE_ERROR_BYTES];
	int err = config_read(server->options.config, &server->config, error);

	if (err < 0)
		log_error("%s", error);
	return err;
}

static bool has_pci_port(const struct config *config)
{
	for (unsigned i = 0; i < config->ports_count; i++) {
		const struct port_config *port = &config->ports[i];

		if (port->kind == PORT_DPDK && ethdev_is_pci(port->devargs))
			return true;
	}
	return false;
}

static int start_eal(struct server *server)
{
	int err;

	server->has_pci = has_pci_port(server->config);
	err = eal_start(server->config->fdb_capacity, server->config->hugepages,
			server->has_pci);
	if (err < 0)
		log_error("DPDK's EAL does not start: %s", strerror(-err));
	return err;
}

static int open_loop(struct server *server)
{
	return daemon_open_loop(&server->daemon);
}

static int open_switch(struct server *server)
{
	const struct vswitch_config config = {
		.config = server->config,
		.path = server->options.config,
		.control = server->daemon.loop,
		.poll = server->options.daemon.poll,
	};
	char error[PORT_ERROR_BYTES];
	int err = vswitch_new(&config, &server->vswitch, error);

	if (err < 0)
		log_error("%s", error);
	else
		server->config = NULL;
	return err;
}

/* What was kept is a help, and no condition. */
static int open_state(struct server *server)
{
	const char *path = server->options.state;
	int err;

	if (!path)
		return 0;
	err = state_open(path, &server->state);
	if (err == -EINVAL) {
		log_warning("--state=%s: it is no state of a switch, and left "
			    "alone: nothing is kept",
			    path);
		return 0;
	}
	if (err < 0)
		log_error("--state=%s: %s", path,
			  err == -EWOULDBLOCK ? "another switch has it"
					      : strerror(-err));
	else
		state_restore(server->state, server->vswitch);
	return err;
}

/* Threads inherit both; see base/sandbox.h for the order. */
static int give_up_privileges(struct server *server)
{
	int err = daemon_give_up_capabilities(&server->daemon);

	return err < 0 ? err
		       : confine_paths(&server->daemon, &server->options,
				       server->vswitch);
}

static int start_switch(struct server *server)
{
	char error[PORT_ERROR_BYTES];
	int err = vswitch_start(server->vswitch, error);

	if (err < 0)
		log_error("%s", error);
	return err;
}

static int start_state(struct server *server)
{
	int err = 0;

	if (server->state)
		err = state_start(server->state, server->vswitch,
				  server->daemon.loop);
	if (err < 0)
		log_error("--state=%s: %s", server->options.state,
			  strerror(-err));
	return err;
}

static int open_control(struct server *server)
{
	const char *path = server->options.control;
	int err;

	if (!path)
		return 0;
	server->rpc = control_rpc(server->vswitch);
	err = rpc_socket_new(server->daemon.loop, path, &server->rpc,
			     &server->control);
	if (err < 0)
		log_error("--control=%s: %s", path, strerror(-err));
	return err;
}

static char *make_page(void *arg)
{
	return metrics_page(arg);
}

static int open_metrics(struct server *server)
{
	const struct page_socket_config config = {
		.address = server->options.metrics,
		.content_type = METRICS_CONTENT_TYPE,
		.make = make_page,
		.arg = server->vswitch,
	};
	int err;

	if (!config.address)
		return 0;
	err = page_socket_new(server->daemon.loop, &config, &server->metrics);
	if (err < 0)
		log_error("--metrics=%s: %s", config.address,
			  err == -EINVAL ? "give a path with a slash in it, or "
					   "an address and a port, as in "
					   "127.0.0.1:9100"
					 : strerror(-err));
	return err;
}

static int give_up_system_calls(struct server *server)
{
	return confine_system_calls(&server->daemon, server->has_pci);
}

static int server_open(struct server *server)
{
	static int (*const steps[])(struct server *) = {
		read_config,	    open_loop, /* EAL's thread, too, shall take no signal */
		start_eal,	    open_switch,  open_state,
		give_up_privileges, start_switch, open_control,
		open_metrics,	    start_state,  give_up_system_calls,
	};
	int err = 0;

	for (size_t i = 0; i < ARRAY_SIZE(steps) && err == 0; i++)
		err = steps[i](server);
	return err;
}

/* Also of one that was opened half-way. */
static void server_close(struct server *server)
{
	page_socket_free(server->metrics);
	rpc_socket_free(server->control);
	state_close(server->state);
	vswitch_free(server->vswitch);
	daemon_close(&server->daemon);
	config_free(server->config);
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
	.name = "vswitch",
	.capabilities = "{\n"
			"  \"type\": \"net\",\n"
			"  \"features\": []\n"
			"}",
	.print_help = switch_options_print_help,
};

int main(int argc, char **argv)
{
	struct server server = {
		.daemon.options = &server.options.daemon,
		.daemon.name = "vswitch",
		.daemon.report = log_counters,
		.daemon.reload = reload_config,
		.daemon.arg = &server,
	};
	char error[OPTIONS_ERROR_BYTES];
	int outcome, status;

	if (argc > 1 && strcmp(argv[1], "ctl") == 0)
		return ctl_main(argc - 1, argv + 1);
	/* rte_acl works in 8 MiB. Malloc would learn from the first that are
	 * freed to keep the others. */
	mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
	outcome = switch_options_parse(argc, argv, &server.options, error);
	if (!daemon_begins(&program, outcome, argv[0], error,
			   &server.options.daemon, &status))
		return status;
	return serve(&server);
}
