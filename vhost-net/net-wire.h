/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is at the host's end of the daemon, for whoever need not know what it is:
 * net-port.c, which turns what the front-end says into calls here, and
 * net-thread.c, which has a pump made for each pair of queues. One structure for
 * each kind embeds this one first.
 *
 * Control thread, but for pump.
 */
#ifndef VHOST_NET_NET_WIRE_H
#define VHOST_NET_NET_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "vhost-net/net-pump.h"

struct net_wire {
	const struct net_wire_ops *ops;
	const char *name; /* of the device */
	const char *kind; /* for a log: "AF_XDP in copy mode" */
	const char *gone; /* what to tell whoever deleted it */
	int ifindex;	  /* whose link the guest's follows; 0: it is up */
	uint32_t mtu;
	uint64_t without; /* features that it cannot carry */
};

/* 0 or a negative errno. */
struct net_wire_ops {
	/* A driver with @features runs now; none of its queues does. */
	int (*offload)(struct net_wire *wire, uint64_t features);
	/* Whether frames are to come to pair @pair, as far as it can choose. */
	int (*attach)(struct net_wire *wire, unsigned pair, bool on);
	/* Tells the network where @mac is now: a RARP request. @lane: this
	 * thread's, as if the guest had sent it; or NULL. */
	int (*announce)(struct net_wire *wire, const uint8_t mac[6],
			struct capture_lane *lane);
	/* The pump of @pair. The thread that will run it, while the control
	 * thread waits. */
	int (*pump)(struct net_wire *wire, unsigned pair,
		    const struct net_pump_config *config,
		    struct net_pump **ret_pump);
	/* Frames for the guest that the kernel dropped before they came here;
	 * NULL: it counts them itself. */
	uint64_t (*missed)(const struct net_wire *wire);
	void (*close)(struct net_wire *wire);
};

#endif
