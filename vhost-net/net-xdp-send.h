/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A frame of a guest's as the network wants it, whole, into places of an AF_XDP
 * socket: with its checksum made, or cut into segments, in the one copy that there is
 * (vhost-net/net-deliver.h).
 *
 * The thread that sends by the socket.
 */
#ifndef VHOST_NET_NET_XDP_SEND_H
#define VHOST_NET_NET_XDP_SEND_H

#include "vhost-net/net-rx.h"
#include "vhost-net/net-xdp-socket.h"

/* Places that it takes, or all that there are, if it would take more. */
unsigned net_xdp_places(const struct net_rx_frame *frame);

/*
 * Puts all that @frame becomes; net_xdp_socket_push sends it. NET_FAULT_OVERSIZE:
 * it has more than @max_frame_bytes; NET_FAULT_NO_BUFFER: there were fewer places:
 * what had one is sent.
 */
enum net_fault net_xdp_send(struct net_xdp_socket *socket,
			    const struct net_rx_frame *frame,
			    uint32_t max_frame_bytes);

#endif
