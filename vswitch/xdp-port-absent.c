/* SPDX-License-Identifier: Apache-2.0 */
/* A build without libxdp: such a port says so when it is to be opened. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "vswitch/port.h"

static int open_port(struct port *port, char *ret_error)
{
	snprintf(ret_error, PORT_ERROR_BYTES,
		 "%s: this vswitch was built without AF_XDP: build it where "
		 "libxdp-dev is installed",
		 port->name);
	return -EOPNOTSUPP;
}

static void free_port(struct port *port)
{
	free(port);
}

static const struct port_ops ops = {
	.open = open_port,
	.free = free_port,
};

int xdp_port_new(struct port **ret_port)
{
	*ret_port = calloc(1, sizeof(**ret_port));
	if (!*ret_port)
		return -ENOMEM;
	(*ret_port)->ops = &ops;
	return 0;
}
