/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which interface is to be had by AF_XDP, and how: for vhost-net/net-xdp.h, and
 * for whoever asks for one without knowing libxdp.
 */
#ifndef VHOST_NET_NET_XDP_CONFIG_H
#define VHOST_NET_NET_XDP_CONFIG_H

#include <stdint.h>

enum {
	NET_XDP_ERROR_BYTES = 256,
};

enum net_xdp_mode {
	NET_XDP_AUTO, /* native, or else copy */
	NET_XDP_NATIVE,
	NET_XDP_COPY,
};

/* How a person gives what may be wrong, with all before the value: "--mtu=". */
struct net_xdp_words {
	const char *mtu, *queues, *mode;
	const char *rights; /* what to do for lack of them */
};

struct net_xdp_config {
	const char *name; /* of the interface */
	unsigned count;	  /* of its queues */
	enum net_xdp_mode mode;
	uint32_t mtu; /* no more than the interface's; 0: that */
	const struct net_xdp_words *words;
};

#endif
