/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/control-lists.h"

#include "base/bytes.h"
#include "vswitch/config-check.h"
#include "vswitch/vswitch.h"

static json_t *list_texts(char *const *texts, unsigned count)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < count; i++)
		json_array_append_new(list, json_string(texts[i]));
	return list;
}

/* --- mirrors ----------------------------------------------------------------- */

int control_mirror_list(void *arg, json_t *params, json_t **ret_result,
			char ret_error[static RPC_ERROR_BYTES])
{
	json_t *list = json_array();

	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
		const struct port *port = vswitch_port(arg, i);
		const struct mirror_config *mirror =
			port ? port->config->mirror : NULL;

		if (!mirror)
			continue;
		json_array_append_new(
			list,
			json_pack(
				"{s:s, s:o, s:s, s:o}", "port",
				port->config->name, "ports",
				list_texts(mirror->ports, mirror->ports_count),
				"direction",
				config_mirror_direction_name(mirror->direction),
				"vlans",
				list_texts(mirror->vlans,
					   mirror->vlans_count)));
	}
	*ret_result = list;
	return 0;
}

/* --- limits ------------------------------------------------------------------ */

/* Of @port, if there is one: the burst that it came to. */
static json_t *add_limit(json_t *list, const struct port *port,
			 const char *what, const struct config_rate *rate,
			 uint64_t least_burst)
{
	json_t *entry;

	if (rate->rate == 0)
		return NULL;
	entry = json_pack(
		"{s:s, s:s, s:I, s:I}", "port", port->config->name, "what",
		what, "rate", (json_int_t)rate->rate, "burst",
		(json_int_t)config_burst(rate->rate, rate->burst, least_burst));
	json_array_append_new(list, entry);
	return entry;
}

static void add_shape(json_t *list, const struct port *port)
{
	const struct shape_config *shape = &port->config->shape;
	const struct config_rate rate = {shape->rate, shape->burst};
	json_t *entry =
		add_limit(list, port, "shape", &rate, NET_MAX_FRAME_BYTES);

	if (entry)
		json_object_set_new(entry, "queue",
				    json_integer(config_shape_queue(shape)));
}

static void add_limits(json_t *list, const struct port *port)
{
	const struct port_config *c = port->config;

	add_limit(list, port, "frames", &c->frames, 1);
	add_limit(list, port, "bytes", &c->bytes, NET_MAX_FRAME_BYTES);
	add_limit(list, port, "broadcast", &c->broadcast, 1);
	add_limit(list, port, "multicast", &c->multicast, 1);
	add_limit(list, port, "unknown", &c->unknown, 1);
	add_shape(list, port);
}

int control_limit_list(void *arg, json_t *params, json_t **ret_result,
		       char ret_error[static RPC_ERROR_BYTES])
{
	json_t *list = json_array();

	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++)
		if (vswitch_port(arg, i))
			add_limits(list, vswitch_port(arg, i));
	*ret_result = list;
	return 0;
}

/* --- tunnels ----------------------------------------------------------------- */

int control_tunnel_list(void *arg, json_t *params, json_t **ret_result,
			char ret_error[static RPC_ERROR_BYTES])
{
	json_t *list = json_array();

	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
		const struct port *port = vswitch_port(arg, i);
		const struct port_config *c = port ? port->config : NULL;

		if (!c || c->vlan_mode != VLAN_TUNNEL)
			continue;
		json_array_append_new(
			list, json_pack("{s:s, s:i, s:o}", "port", c->name,
					"vlan", (int)c->vlan, "vlans",
					list_texts(c->vlans, c->vlans_count)));
	}
	*ret_result = list;
	return 0;
}
