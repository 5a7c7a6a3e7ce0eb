/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>

#include "vhost-net/net-wire-xdp.h"

int net_wire_xdp_new(const struct net_xdp_config *config,
		     struct net_wire **ret_wire,
		     char ret_error[static NET_XDP_ERROR_BYTES])
{
	snprintf(ret_error, NET_XDP_ERROR_BYTES,
		 "%s: this vhost-net was built without AF_XDP: build it where "
		 "libxdp-dev is installed",
		 config->name);
	return -EOPNOTSUPP;
}
