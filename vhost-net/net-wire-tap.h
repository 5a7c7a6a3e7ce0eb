/* SPDX-License-Identifier: Apache-2.0 */
/* A TAP as the host's end of the daemon: its descriptors are its pairs'. */
#ifndef VHOST_NET_NET_WIRE_TAP_H
#define VHOST_NET_NET_WIRE_TAP_H

#include "vhost-net/net-tap.h"
#include "vhost-net/net-wire.h"

struct net_wire_tap {
	struct net_wire wire; /* first */
	struct net_tap *tap;  /* borrowed, but closed by close */
};

/* @tap is open. */
void net_wire_tap_init(struct net_wire_tap *wire, struct net_tap *tap);

#endif
