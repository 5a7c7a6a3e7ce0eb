/* SPDX-License-Identifier: Apache-2.0 */
/* Ports come and go, while frames pass. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "vswitch/vswitch-internal.h"

/* --- groups and stations ------------------------------------------------------ */

static const char *group_of(const struct vswitch_slot *slot)
{
	return slot->port ? slot->port->config->group : NULL;
}

uint16_t vswitch_number_group(const struct vswitch *vswitch, const char *name)
{
	bool taken[CONFIG_MAX_PORTS + 2] = {true};
	uint16_t number = 1;

	if (!name)
		return 0;
	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
		const char *group = group_of(&vswitch->slots[i]);

		if (group && strcmp(group, name) == 0)
			return vswitch->slots[i].port->forward.group;
		if (group)
			taken[vswitch->slots[i].port->forward.group] = true;
	}
	while (taken[number])
		number++;
	return number;
}

fdb_key vswitch_station(const struct port_config *config, unsigned i)
{
	struct vlan_port vlan;
	uint8_t mac[6];

	config_vlan(config, &vlan);
	config_mac(config->stations[i], mac);
	return fdb_key_of(mac, vlan.native);
}

int vswitch_give_stations(struct vswitch *vswitch,
			  const struct port_config *config, uint16_t number,
			  char *ret_error)
{
	unsigned given = 0;
	int err = 0;

	for (; given < config->stations_count && err == 0; given += err == 0)
		err = fdb_set_static(vswitch->fdb,
				     vswitch_station(config, given), number);
	if (err == 0)
		return 0;
	snprintf(ret_error, PORT_ERROR_BYTES,
		 "%s: its stations find no place: give fdb-capacity a larger "
		 "number",
		 config->name);
	while (given > 0)
		fdb_remove(vswitch->fdb, vswitch_station(config, --given));
	return err;
}

static int open_with_stations(struct vswitch *vswitch, struct port *port,
			      char *ret_error)
{
	const struct port_config *config = port->config;
	const uint16_t number = port->forward.number;
	int err = vswitch_give_stations(vswitch, config, number, ret_error);

	if (err < 0)
		return err;
	fdb_set_limit(vswitch->fdb, number, config->max_stations);
	if (port->ops->open)
		err = port->ops->open(port, ret_error);
	if (err < 0)
		fdb_flush(vswitch->fdb, number, 0, true);
	return err;
}

/* --- coming and going --------------------------------------------------------- */

int vswitch_open_at(struct vswitch *vswitch, struct port_config *config,
		    uint16_t number, char *ret_error)
{
	struct vswitch_slot *slot = &vswitch->slots[number];
	struct port *port;
	int err = port_new(config, &vswitch->owner, number, &port);

	if (err < 0) {
		snprintf(ret_error, PORT_ERROR_BYTES, "%s: %s", config->name,
			 strerror(-err));
		return err;
	}
	port->forward.group = vswitch_number_group(vswitch, config->group);
	err = open_with_stations(vswitch, port, ret_error);
	if (err < 0) {
		port_free(port);
		return err;
	}
	slot->port = port;
	slot->config = config;
	slot->state = SLOT_USED;
	vswitch->generation++;
	return 0;
}

int vswitch_start_port(struct vswitch *vswitch, uint16_t number,
		       char ret_error[static PORT_ERROR_BYTES])
{
	struct port *port = vswitch->slots[number].port;
	struct forward_table *table = &vswitch->table;
	int err;

	store_release(&table->ports[number], &port->forward);
	if (number >= table->end)
		store_release(&table->end, number + 1u);
	vswitch_set_mirrors(vswitch);
	err = port_shape(port, &port->config->shape);
	if (err < 0) {
		snprintf(ret_error, PORT_ERROR_BYTES, "%s: shape: %s",
			 port->config->name, strerror(-err));
		return err;
	}
	return port->ops->start(port, ret_error);
}

void vswitch_free_slot(struct loop_message *message)
{
	struct vswitch_slot *slot =
		container_of(message, struct vswitch_slot, freeing);
	struct port *port = slot->port;

	slot->port = NULL;
	port_free(port);
	port_config_free(slot->config);
	slot->config = NULL;
}

void vswitch_stop_port(struct vswitch *vswitch, uint16_t number)
{
	struct port *port = vswitch->slots[number].port;

	vswitch->slots[number].state = SLOT_LEAVING;
	vswitch->generation++;
	sniffers_end(&vswitch->sniffers, number);
	port->ops->stop(port);
	store_release(&vswitch->table.ports[number], NULL);
	port_sync(&vswitch->owner);
	fdb_flush(vswitch->fdb, number, 0, true);
	vswitch_set_mirrors(vswitch);
	port_sync(&vswitch->owner);
	port_unshape(port);
}

static int find_place(const struct vswitch *vswitch)
{
	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++)
		if (!vswitch->slots[i].port)
			return i;
	return -ENOSPC;
}

static int find_clash(const struct vswitch *vswitch,
		      const struct port_config *config, char *ret_error)
{
	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
		const struct port *port = vswitch_port(vswitch, i);
		const char *key =
			port ? port_config_clash(config, port->config) : NULL;

		if (!key)
			continue;
		snprintf(ret_error, PORT_ERROR_BYTES,
			 "%s: the port %s has it already", key,
			 port->config->name);
		return -EEXIST;
	}
	return 0;
}

/* The number, or a negative errno. */
static int open_somewhere(struct vswitch *vswitch, struct port_config *config,
			  char *ret_error)
{
	int err = find_clash(vswitch, config, ret_error);
	int number = find_place(vswitch);

	if (err < 0)
		return err;
	if (number < 0) {
		snprintf(ret_error, PORT_ERROR_BYTES,
			 "there are %u ports already", CONFIG_MAX_PORTS);
		return number;
	}
	err = vswitch_check_mirror(vswitch, config, false, ret_error);
	if (err == 0)
		err = vswitch_open_at(vswitch, config, number, ret_error);
	return err < 0 ? err : number;
}

int vswitch_open_port(struct vswitch *vswitch, struct port_config *config,
		      char ret_error[static PORT_ERROR_BYTES])
{
	int number = open_somewhere(vswitch, config, ret_error);

	return MIN(number, 0);
}

int vswitch_add_port(struct vswitch *vswitch, struct port_config *config,
		     char ret_error[static PORT_ERROR_BYTES])
{
	int number = open_somewhere(vswitch, config, ret_error);
	int err;

	if (number < 0 || !vswitch->is_started)
		return MIN(number, 0);
	err = vswitch_start_port(vswitch, number, ret_error);
	if (err < 0) {
		vswitch_stop_port(vswitch, number);
		vswitch->slots[number].config = NULL;
		vswitch_free_slot(&vswitch->slots[number].freeing);
	}
	return err;
}

int vswitch_find_port(const struct vswitch *vswitch, const char *name,
		      uint16_t *ret_number)
{
	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
		const struct port *port = vswitch_port(vswitch, i);

		if (port && strcmp(port->config->name, name) == 0) {
			*ret_number = i;
			return 0;
		}
	}
	return -ENOENT;
}

void vswitch_end_port(struct vswitch *vswitch, uint16_t number)
{
	vswitch_stop_port(vswitch, number);
	loop_post(vswitch->config.control, &vswitch->slots[number].freeing);
}

int vswitch_remove_port(struct vswitch *vswitch, const char *name)
{
	uint16_t number;
	int err = vswitch_find_port(vswitch, name, &number);

	if (err == 0)
		vswitch_end_port(vswitch, number);
	return err;
}
