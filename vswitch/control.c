/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "vswitch/control-capture.h"
#include "vswitch/control-lcore.h"
#include "vswitch/control-lists.h"
#include "vswitch/control-policy.h"
#include "vswitch/control-trace.h"
#include "vswitch/metrics.h"
#include "vswitch/reload.h"

enum {
	MAC_TEXT_BYTES = 18,
};

static int fail(char *ret_error, int code, const char *text)
{
	snprintf(ret_error, RPC_ERROR_BYTES, "%s", text);
	return code;
}

/* --- ports ------------------------------------------------------------------- */

static json_t *list_offloads(const struct port *port)
{
	const char *names[PORT_OFFLOADS];
	const unsigned count = port->ops->offloads(port, names);
	json_t *list = json_array();

	for (unsigned i = 0; i < count; i++)
		json_array_append_new(list, json_string(names[i]));
	return list;
}

/* Whether its device tells a thread that sleeps of frames that came. */
static bool has_interrupts(const struct vswitch *vswitch,
			   const struct port *port)
{
	const struct source *source =
		vswitch_source(vswitch, port->forward.number, 0);

	return source && load_once(&source->fd) >= 0;
}

static json_t *describe_port(const struct vswitch *vswitch,
			     const struct port *port)
{
	const struct port_config *config = port->config;
	json_t *object = json_pack(
		"{s:s, s:s, s:i, s:b, s:s, s:i, s:i}", "name", config->name,
		"kind", config_kind_name(config->kind), "number",
		(int)port->forward.number, "up", (int)port->ops->is_up(port),
		"vlan-mode", config_vlan_mode_name(config->vlan_mode), "vlan",
		(int)port->forward.vlan.native, "queues", (int)config->queues);

	if (config->socket_path)
		json_object_set_new(object, "socket-path",
				    json_string(config->socket_path));
	if (config->tap)
		json_object_set_new(object, "tap", json_string(config->tap));
	if (config->devargs)
		json_object_set_new(object, "devargs",
				    json_string(config->devargs));
	if (config->interface)
		json_object_set_new(object, "interface",
				    json_string(config->interface));
	if (port->ops->way)
		json_object_set_new(object, "way",
				    json_string(port->ops->way(port)));
	if (port->ops->offloads)
		json_object_set_new(object, "offloads", list_offloads(port));
	if (config->kind == PORT_DPDK)
		json_object_set_new(
			object, "interrupts",
			json_boolean(has_interrupts(vswitch, port)));
	if (config->group)
		json_object_set_new(object, "group",
				    json_string(config->group));
	return object;
}

static int port_list(void *arg, json_t *params, json_t **ret_result,
		     char ret_error[static RPC_ERROR_BYTES])
{
	json_t *list = json_array();

	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
		const struct port *port = vswitch_port(arg, i);

		if (port)
			json_array_append_new(list, describe_port(arg, port));
	}
	*ret_result = list;
	return 0;
}

/* JSON is YAML: the file's schema reads it, and its checks judge it. */
static int port_add(void *arg, json_t *params, json_t **ret_result,
		    char ret_error[static RPC_ERROR_BYTES])
{
	char error[CONFIG_FILE_ERROR_BYTES] = "";
	char *text = json_dumps(json_object_get(params, "port"), 0);
	struct port_config *config;
	int err = -ENOMEM;

	if (text)
		err = port_config_read(text, strlen(text), &config, error);
	free(text);
	if (err < 0)
		return fail(ret_error, RPC_E_PARAMS, error);
	err = vswitch_add_port(arg, config, error);
	if (err < 0) {
		port_config_free(config);
		return fail(ret_error, RPC_E_FAILED, error);
	}
	*ret_result = json_true();
	return 0;
}

static const char *text_param(json_t *params, const char *name)
{
	return json_string_value(json_object_get(params, name));
}

static int no_port(char *ret_error, const char *name)
{
	snprintf(ret_error, RPC_ERROR_BYTES, "%.64s: no port has this name",
		 name);
	return RPC_E_FAILED;
}

static int port_remove(void *arg, json_t *params, json_t **ret_result,
		       char ret_error[static RPC_ERROR_BYTES])
{
	const char *name = text_param(params, "name");

	if (vswitch_remove_port(arg, name) < 0)
		return no_port(ret_error, name);
	*ret_result = json_true();
	return 0;
}

/* --- stations ---------------------------------------------------------------- */

struct listing {
	struct vswitch *vswitch;
	json_t *list;
	uint32_t now;
};

static void list_station(void *arg, const struct fdb_station *station)
{
	struct listing *listing = arg;
	const struct port *port = vswitch_port(listing->vswitch, station->port);
	char mac[MAC_TEXT_BYTES];
	json_t *object;

	if (!port)
		return;
	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x",
		 (unsigned)(station->key >> 56) & 0xff,
		 (unsigned)(station->key >> 48) & 0xff,
		 (unsigned)(station->key >> 40) & 0xff,
		 (unsigned)(station->key >> 32) & 0xff,
		 (unsigned)(station->key >> 24) & 0xff,
		 (unsigned)(station->key >> 16) & 0xff);
	object = json_pack("{s:s, s:i, s:s, s:b}", "mac", mac, "vlan",
			   (int)fdb_key_vlan(station->key), "port",
			   port->config->name, "static",
			   (int)station->is_static);
	/* Who heard it may be a second ahead of us. */
	if (!station->is_static)
		json_object_set_new(
			object, "age",
			json_integer(MAX(
				(int32_t)(listing->now - station->heard), 0)));
	json_array_append_new(listing->list, object);
}

static int fdb_list(void *arg, json_t *params, json_t **ret_result,
		    char ret_error[static RPC_ERROR_BYTES])
{
	struct listing listing = {
		.vswitch = arg,
		.list = json_array(),
		.now = clock_ns() / NS_PER_SECOND,
	};

	fdb_for_each(vswitch_fdb(arg), list_station, &listing);
	*ret_result = listing.list;
	return 0;
}

static int fdb_forget(void *arg, json_t *params, json_t **ret_result,
		      char ret_error[static RPC_ERROR_BYTES])
{
	const char *name = text_param(params, "port");
	json_int_t vlan = json_integer_value(json_object_get(params, "vlan"));
	uint16_t number = FDB_NO_PORT;

	if (vlan < 0 || vlan > VLAN_MAX)
		return fail(ret_error, RPC_E_PARAMS,
			    "vlan: give a VLAN from 1 to 4094");
	if (name && vswitch_find_port(arg, name, &number) < 0)
		return no_port(ret_error, name);
	*ret_result =
		json_integer(fdb_flush(vswitch_fdb(arg), number, vlan, false));
	return 0;
}

/* --- counters ---------------------------------------------------------------- */

static void add_count(json_t *object, const char *name, uint64_t count)
{
	json_object_set_new(object, name, json_integer(count));
}

static json_t *list_faults(const uint64_t *faults)
{
	json_t *object = json_object();

	for (unsigned i = 1; i < NET_FAULTS; i++)
		if (faults[i])
			add_count(object, net_fault_name(i), faults[i]);
	return object;
}

static json_t *list_drops(const uint64_t *drops)
{
	json_t *object = json_object();

	for (unsigned i = 1; i < FORWARD_DROPS; i++)
		if (drops[i])
			add_count(object, forward_drop_name(i), drops[i]);
	return object;
}

static json_t *list_made(const uint64_t *offloads)
{
	json_t *object = json_object();

	for (unsigned i = 0; i < OFFLOADS; i++)
		add_count(object, offload_name(i), offloads[i]);
	return object;
}

static json_t *count_port(struct vswitch *vswitch, const struct port *port)
{
	struct port_counters c;
	json_t *object = json_object();

	vswitch_count(vswitch, port, &c, NULL);
	json_object_set_new(object, "port", json_string(port->config->name));
	add_count(object, "sent-frames", c.net.tx_frames);
	add_count(object, "sent-bytes", c.net.tx_bytes);
	add_count(object, "received-frames", c.net.rx_frames);
	add_count(object, "received-bytes", c.net.rx_bytes);
	add_count(object, "unreachable", c.unreachable);
	add_count(object, "shaped-delayed", c.shaped.delayed);
	add_count(object, "shaped-dropped", c.shaped.dropped);
	add_count(object, "stations",
		  fdb_count(vswitch_fdb(vswitch), port->forward.number));
	json_object_set_new(object, "sent-dropped",
			    list_faults(c.net.tx_faults));
	json_object_set_new(object, "received-dropped",
			    list_faults(c.net.rx_faults));
	json_object_set_new(object, "not-forwarded", list_drops(c.drops));
	if (port->ops->offloads)
		json_object_set_new(object, "offloads", list_made(c.offloads));
	return object;
}

static int stats(void *arg, json_t *params, json_t **ret_result,
		 char ret_error[static RPC_ERROR_BYTES])
{
	json_t *list = json_array();

	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
		const struct port *port = vswitch_port(arg, i);

		if (port)
			json_array_append_new(list, count_port(arg, port));
	}
	*ret_result = list;
	return 0;
}

static int metrics(void *arg, json_t *params, json_t **ret_result,
		   char ret_error[static RPC_ERROR_BYTES])
{
	char *page = metrics_page(arg);

	if (!page)
		return fail(ret_error, RPC_E_FAILED, "there is no memory");
	*ret_result = json_string(page);
	free(page);
	return 0;
}

/* --- configuration ----------------------------------------------------------- */

static int config_show(void *arg, json_t *params, json_t **ret_result,
		       char ret_error[static RPC_ERROR_BYTES])
{
	char *text = vswitch_write(arg);

	if (!text)
		return fail(ret_error, RPC_E_FAILED, "there is no memory");
	*ret_result = json_string(text);
	free(text);
	return 0;
}

static int reload_file(void *arg, json_t *params, json_t **ret_result,
		       char ret_error[static RPC_ERROR_BYTES])
{
	char error[RELOAD_ERROR_BYTES];
	struct reload_counts counts;

	if (reload(arg, &counts, error) < 0)
		return fail(ret_error, RPC_E_FAILED, error);
	*ret_result = json_pack(
		"{s:i, s:i, s:i, s:i}", "added", (int)counts.added, "removed",
		(int)counts.removed, "changed", (int)counts.changed, "replaced",
		(int)counts.replaced);
	return 0;
}

/* --- the table --------------------------------------------------------------- */

static const struct rpc_param port_params[] = {
	{"port", "object", true, "what the configuration file has of a port"},
	{0},
};

static const struct rpc_param name_params[] = {
	{"name", "string", true, "of the port"},
	{0},
};

static const struct rpc_param forget_params[] = {
	{"port", "string", false, "only the stations of this port"},
	{"vlan", "integer", false, "only those of this VLAN"},
	{0},
};

static const struct rpc_param port_set_params[] = {
	{"port", "string", true, "of the port"},
	{"keys", "object", true,
	 "of the configuration file, and their values; null takes one away"},
	{0},
};

static const struct rpc_param guard_params[] = {
	{"port", "string", true, "of the port"},
	{"guard", "object", true, "what the configuration file has of it"},
	{0},
};

static const struct rpc_param policy_params[] = {
	{"port", "string", true, "of the port"},
	{0},
};

static const struct rpc_param acl_list_params[] = {
	{"port", "string", false, "only this port's"},
	{0},
};

static const struct rpc_param acl_params[] = {
	{"port", "string", true, "of the port"},
	{"acl", "string", true,
	 "YAML or JSON: the keys acl-in and acl-out of a port"},
	{0},
};

static const struct rpc_param move_params[] = {
	{"port", "string", true, "whose queue"},
	{"pair", "integer", true, "of its queues, from 0"},
	{"lcore", "integer", true, "that is to serve it"},
	{0},
};

static const struct rpc_method methods[] = {
	{"port.list", "all ports", NULL, port_list},
	{"port.add", "adds a port while frames pass", port_params, port_add},
	{"port.remove", "removes a port", name_params, port_remove},
	{"fdb.list", "all stations", NULL, fdb_list},
	{"fdb.flush", "forgets learned stations: how many", forget_params,
	 fdb_forget},
	{"port.set", "changes keys of a port while frames pass",
	 port_set_params, control_port_set},
	{"mirror.list", "ports that listen, and to what", NULL,
	 control_mirror_list},
	{"limit.list", "what ports may send, and how fast they get it", NULL,
	 control_limit_list},
	{"tunnel.list", "ports whose frames are content of a VLAN", NULL,
	 control_tunnel_list},
	{"guard.list", "who ports may say they are", NULL, control_guard_list},
	{"guard.set", "says who a port may say it is, while frames pass",
	 guard_params, control_guard_set},
	{"guard.remove", "takes a port's guard away", policy_params,
	 control_guard_remove},
	{"acl.list", "rules, and how many frames each decided", acl_list_params,
	 control_acl_list},
	{"acl.set", "puts others in the place of both ACLs of a port",
	 acl_params, control_acl_set},
	{"lcore.list", "the serving threads", NULL, control_lcore_list},
	{"lcore.queues", "who serves which queue", NULL, control_lcore_queues},
	{"lcore.move", "has another thread serve a queue", move_params,
	 control_lcore_move},
	{"trace", "what would become of a frame; nothing happens",
	 control_trace_params, control_trace},
	{"capture",
	 "what passes a port, as pcapng, behind the answer; until you send no "
	 "more",
	 control_capture_params, control_capture},
	{"stats", "what the ports have counted", NULL, stats},
	{"metrics", "the same as a page of OpenMetrics", NULL, metrics},
	{"config.show", "all as it is now, as the configuration file has it",
	 NULL, config_show},
	{"config.reload", "applies what differs in the configuration file",
	 NULL, reload_file},
};

struct rpc control_rpc(struct vswitch *vswitch)
{
	return (struct rpc){
		.title = "vswitch",
		.version = "1",
		.methods = methods,
		.count = ARRAY_SIZE(methods),
		.arg = vswitch,
	};
}
