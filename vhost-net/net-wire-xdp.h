/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An interface by AF_XDP as the host's end of the daemon: pair n has its queue n.
 * A build without libxdp says so when one is to be opened.
 *
 * Control thread.
 */
#ifndef VHOST_NET_NET_WIRE_XDP_H
#define VHOST_NET_NET_WIRE_XDP_H

#include "vhost-net/net-wire.h"
#include "vhost-net/net-xdp-config.h"

/* As net_xdp_open. */
int net_wire_xdp_new(const struct net_xdp_config *config,
		     struct net_wire **ret_wire,
		     char ret_error[static NET_XDP_ERROR_BYTES]);

#endif
