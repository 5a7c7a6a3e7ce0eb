/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An interface of the host whose frames are ours: a program on it
 * (vhost-net/net-xdp-program.h), and an AF_XDP socket for each of its first queues.
 * What comes to other queues goes on to the host.
 *
 * Control thread. Opening needs CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF and, for
 * memory that stays, CAP_IPC_LOCK or a limit that allows it; nothing else does.
 */
#ifndef VHOST_NET_NET_XDP_H
#define VHOST_NET_NET_XDP_H

#include <net/if.h>

#include "vhost-net/net-frame.h"
#include "vhost-net/net-xdp-config.h"
#include "vhost-net/net-xdp-program.h"
#include "vhost-net/net-xdp-socket.h"

enum {
	NET_XDP_MAX_MTU = NET_XDP_MAX_FRAME_BYTES - NET_LINK_BYTES,
};

struct net_xdp {
	char name[IFNAMSIZ];
	int ifindex;
	uint32_t mtu;
	bool is_native;
	struct net_xdp_program program;
	int packet_fd; /* sends on the interface */
	unsigned count;
	struct net_xdp_socket *sockets;
};

#define NET_XDP_NONE \
	((struct net_xdp){.program = NET_XDP_PROGRAM_NONE, .packet_fd = -1})

/* A negative errno, with a sentence in @ret_error that names the interface, what
 * is wrong with it, and what to do. */
int net_xdp_open(const struct net_xdp_config *config, struct net_xdp *ret_xdp,
		 char ret_error[static NET_XDP_ERROR_BYTES]);
/* Leaves NET_XDP_NONE, which it takes, too. */
void net_xdp_close(struct net_xdp *xdp);

/* For a person: "AF_XDP in copy mode". */
const char *net_xdp_kind(const struct net_xdp *xdp);

#endif
