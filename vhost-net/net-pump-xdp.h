/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pump of one pair of queues and one AF_XDP socket. A frame is copied once
 * each way, between the guest's buffers and the socket's memory. The network
 * wants whole frames: checksums that are still to be made are made in that
 * copy, and what is to be segmented is cut by it, as for a guest that does
 * not take it (vhost-net/net-deliver.h).
 */
#ifndef VHOST_NET_NET_PUMP_XDP_H
#define VHOST_NET_NET_PUMP_XDP_H

#include "vhost-net/net-pump.h"
#include "vhost-net/net-xdp-socket.h"

struct net_pump_xdp_config {
	struct net_xdp_socket *socket; /* borrowed */
	uint32_t mtu;
	/* What comes while the guest's queue is switched off is dropped; it
	 * waits otherwise. */
	bool discards;
};

/* -ENOMEM. */
int net_pump_xdp_new(const struct net_pump_config *config,
		     const struct net_pump_xdp_config *xdp_config,
		     struct net_pump **ret_pump);

#endif
