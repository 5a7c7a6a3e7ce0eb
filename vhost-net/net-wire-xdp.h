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

enum {
	NET_WIRE_XDP_ERROR_BYTES = 256,
};

enum net_xdp_mode {
	NET_XDP_AUTO, /* native, or else copy */
	NET_XDP_NATIVE,
	NET_XDP_COPY,
};

struct net_wire_xdp_config {
	const char *name; /* of the interface */
	unsigned count;	  /* of its queues */
	enum net_xdp_mode mode;
	uint32_t mtu; /* for the guest, no more than the interface's; 0: that */
};

/* As net_xdp_open. */
int net_wire_xdp_new(const struct net_wire_xdp_config *config,
		     struct net_wire **ret_wire,
		     char ret_error[static NET_WIRE_XDP_ERROR_BYTES]);

#endif
