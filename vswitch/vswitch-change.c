/* SPDX-License-Identifier: Apache-2.0 */
/* A port goes on as another configuration says. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vswitch/vswitch-internal.h"

/* As the port is, with what differs in @mixed, which is only copied. */
static int change_to(struct vswitch *vswitch, const struct port_config *mixed)
{
	char error[PORT_ERROR_BYTES];
	struct port_config *copy;
	int err = port_config_copy(mixed, &copy);

	if (err < 0)
		return err;
	err = vswitch_change_port(vswitch, copy, error);
	if (err < 0)
		port_config_free(copy);
	return err;
}

int vswitch_set_guard(struct vswitch *vswitch, uint16_t number,
		      const struct guard_config *config)
{
	struct port_config mixed = *vswitch->slots[number].config;

	mixed.guard = (struct guard_config *)config;
	return change_to(vswitch, &mixed);
}

int vswitch_set_acl(struct vswitch *vswitch, uint16_t number,
		    const struct acl_config *config)
{
	struct port_config mixed = *vswitch->slots[number].config;

	mixed.acl = *config;
	return change_to(vswitch, &mixed);
}

/* --- what forwarding goes by ------------------------------------------------- */

static bool has_station(const struct port_config *config, fdb_key key)
{
	for (unsigned i = 0; i < config->stations_count; i++)
		if (vswitch_station(config, i) == key)
			return true;
	return false;
}

/* Only this thread takes stations away: a place that was found stays. */
static bool is_on_port(const struct vswitch *vswitch, fdb_key key,
		       uint16_t number)
{
	int32_t place;

	fdb_look_up(vswitch->fdb, &key, 1, &place);
	return fdb_port(vswitch->fdb, place) == number;
}

/* Forgets the stations of @of that @but has not, nor another port by now. */
static void take_stations(struct vswitch *vswitch, uint16_t number,
			  const struct port_config *of,
			  const struct port_config *but)
{
	for (unsigned i = 0; i < of->stations_count; i++) {
		fdb_key key = vswitch_station(of, i);

		if (!has_station(but, key) && is_on_port(vswitch, key, number))
			fdb_remove(vswitch->fdb, key);
	}
}

struct change {
	struct port *port;
	const struct port_config *config;
	uint16_t group;
	struct port_policy policy; /* the new one, and then the old */
};

static void run_change(void *arg)
{
	struct change *change = arg;

	port_configure(change->port, change->config, &change->policy);
	change->port->forward.group = change->group;
}

int vswitch_change_port(struct vswitch *vswitch, struct port_config *config,
			char ret_error[static PORT_ERROR_BYTES])
{
	struct change change = {.config = config};
	struct port_config *before;
	struct vlan_port vlan;
	uint16_t number;
	int err = vswitch_find_port(vswitch, config->name, &number);

	if (err < 0)
		return err;
	before = vswitch->slots[number].config;
	err = vswitch_check_mirror(vswitch, config, before->mirror, ret_error);
	if (err < 0)
		return err;
	err = port_policy_make(config, &change.policy);
	if (err < 0) {
		snprintf(ret_error, PORT_ERROR_BYTES,
			 "%s: there is no memory for its guard and ACLs",
			 config->name);
		return err;
	}
	err = vswitch_give_stations(vswitch, config, number, ret_error);
	if (err < 0) {
		port_policy_free(&change.policy);
		/* What both have has gone with the others. */
		vswitch_give_stations(vswitch, before, number, ret_error);
		return err;
	}
	change.port = vswitch->slots[number].port;
	err = port_shape(change.port, &config->shape);
	if (err < 0) {
		port_policy_free(&change.policy);
		take_stations(vswitch, number, config, before);
		snprintf(ret_error, PORT_ERROR_BYTES, "%s: shape: %s",
			 config->name, strerror(-err));
		return err;
	}
	change.group = vswitch_number_group(vswitch, config->group);
	vlan = change.port->forward.vlan;
	port_quiet(&vswitch->owner, run_change, &change);
	port_policy_free(&change.policy);
	take_stations(vswitch, number, before, config);
	fdb_set_limit(vswitch->fdb, number, config->max_stations);
	if (config->locked || config->mirror ||
	    memcmp(&vlan, &change.port->forward.vlan, sizeof(vlan)) != 0)
		fdb_flush(vswitch->fdb, number, 0, false);
	vswitch->slots[number].config = config;
	vswitch->generation++;
	port_config_free(before);
	vswitch_set_mirrors(vswitch);
	return 0;
}
