/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network device joined to what is on the host's side: netdev's owner. Pair n
 * of its queues is served by thread n mod N.
 *
 * Control thread only.
 */
#ifndef VHOST_NET_NET_PORT_H
#define VHOST_NET_NET_PORT_H

#include "base/capture.h"
#include "base/loop.h"
#include "vhost-net/net-options.h"
#include "vhost-net/net-wire.h"
#include "vhost-net/netdev.h"

struct net_port;

struct net_port_config {
	const struct net_options *options; /* borrowed during the call */
	struct net_wire *wire;		   /* borrowed */
	struct loop *control;		   /* borrowed */
	/* With a lane for each thread, and one more; borrowed; NULL: none. */
	struct capture *capture;
	/* Queue @index broke: have the session stop it. */
	void (*queue_broke)(void *arg, unsigned index);
	/* The wire is no more: nothing will come or go. */
	void (*wire_gone)(void *arg);
	/* The configuration space has changed: tell the front-end. */
	void (*space_changed)(void *arg);
	/* Something that a front-end caused and a person may want to know. */
	void (*complain)(void *arg, const char *what);
	void *arg;
};

/* Makes the threads. A negative errno, io_uring's among them. */
int net_port_new(const struct net_port_config *config,
		 struct net_port **ret_port);

/* All queues are stopped. Accepts NULL. */
void net_port_free(struct net_port *port);

struct vhost_device *net_port_vhost(struct net_port *port);

/* Of all queues since the start. @ret_refused: by the kernel. */
void net_port_count(struct net_port *port, struct netdev_counters *ret_counters,
		    uint64_t *ret_refused);

#endif
