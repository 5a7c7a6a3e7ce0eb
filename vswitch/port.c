/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/port.h"

#include <errno.h>
#include <stdlib.h>

#include "vswitch/guard.h"

int port_new(const struct port_config *config, const struct port_owner *owner,
	     uint16_t number, struct port **ret_port)
{
	struct port *port;
	int err = config->kind == PORT_VHOST_USER ? vhost_port_new(&port)
						  : tap_port_new(&port);

	if (err < 0)
		return err;
	port->config = config;
	port->owner = owner;
	port->forward.number = number;
	port->forward.is_locked = config->locked;
	config_vlan(config, &port->forward.vlan);
	config_limits(config, &port->forward);
	if (config->guard)
		err = config_guard(config->guard, config->mac,
				   &port->forward.guard);
	if (err < 0) {
		port_free(port);
		return err;
	}
	*ret_port = port;
	return 0;
}

void port_free(struct port *port)
{
	free(port->forward.guard);
	port->ops->free(port);
}

void port_sync(const struct port_owner *owner)
{
	for (unsigned i = 0; i < owner->lcore_count; i++)
		lcore_run(owner->lcores[i], NULL, NULL);
}

void port_complain(struct port *port, const char *what)
{
	log_ratelimited(&port->log_limit, LOG_LEVEL_WARNING, "%s: %s",
			port->config->name, what);
}
