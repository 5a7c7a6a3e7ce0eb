/* SPDX-License-Identifier: Apache-2.0 */
/* What a saved state says, given to a switch that has not started. */
#include "base/clock.h"
#include "base/log.h"
#include "vswitch/state-parts.h"

enum {
	UNKNOWN_PORT = UINT16_MAX,
};

static void restore_port(const char *path, struct vswitch *vswitch,
			 const struct port_config *config)
{
	char error[PORT_ERROR_BYTES] = "there is no memory";
	struct port_config *copy;
	uint16_t number;
	int err;

	/* The file has it by now. */
	if (vswitch_find_port(vswitch, config->name, &number) == 0)
		return;
	err = port_config_copy(config, &copy);
	if (err == 0) {
		err = vswitch_add_port(vswitch, copy, error);
		if (err < 0)
			port_config_free(copy);
	}
	if (err < 0)
		log_warning("%s: the port %s is not restored: %s", path,
			    config->name, error);
}

static void restore_ports(const char *path, struct vswitch *vswitch,
			  const struct state_view *view)
{
	const struct config_text text = {
		.name = path,
		.bytes = (char *)view->text,
		.length = view->text_bytes,
	};
	char error[CONFIG_FILE_ERROR_BYTES];
	struct config *config;

	if (view->text_bytes == 0)
		return;
	if (config_parse(&text, &config, error) < 0) {
		log_warning("no port is restored: %s", error);
		return;
	}
	for (unsigned i = 0; i < config->ports_count; i++)
		restore_port(path, vswitch, &config->ports[i]);
	config_free(config);
}

static void find_ports(const struct vswitch *vswitch,
		       const struct state_view *view, uint16_t *ret_ports)
{
	for (uint32_t i = 0; i < view->names; i++) {
		const char *name = state_view_name(view, i);

		ret_ports[i] = UNKNOWN_PORT;
		if (name)
			vswitch_find_port(vswitch, name, &ret_ports[i]);
	}
}

/* It could be heard there still: the port may be another than it was. */
static bool can_be_on(const struct port *port, fdb_key key)
{
	const struct vlan_frame frame = {.vlan = fdb_key_vlan(key)};
	struct vlan_edit edit;

	return !port->forward.is_locked && !port->forward.listens &&
	       !fdb_key_is_group(key) &&
	       fdb_key_of((uint8_t[]){key >> 56, key >> 48, key >> 40,
				      key >> 32, key >> 24, key >> 16},
			  fdb_key_vlan(key)) == key &&
	       frame.vlan >= VLAN_MIN && frame.vlan <= VLAN_MAX &&
	       vlan_egress(&port->forward.vlan, &frame, &edit);
}

static void restore_stations(struct vswitch *vswitch,
			     const struct state_view *view)
{
	const uint32_t max_age = vswitch_config(vswitch)->fdb_age;
	const uint64_t now = state_realtime();
	const uint64_t since = now > view->saved ? now - view->saved : 0;
	uint16_t ports[CONFIG_MAX_PORTS];

	find_ports(vswitch, view, ports);
	for (uint32_t i = 0; i < view->stations; i++) {
		struct state_station s = state_view_station(view, i);
		const uint64_t age = s.age + since;
		const struct port *port;

		if (s.name >= view->names || ports[s.name] == UNKNOWN_PORT ||
		    age > max_age)
			continue;
		port = vswitch_port(vswitch, ports[s.name]);
		if (can_be_on(port, s.key))
			fdb_learn(vswitch_fdb(vswitch), s.key, ports[s.name],
				  clock_ns() / NS_PER_SECOND - age);
	}
}

void state_restore_view(const char *path, struct vswitch *vswitch,
			const struct state_view *view)
{
	restore_ports(path, vswitch, view);
	restore_stations(vswitch, view);
}
