/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel says of a network device by its name, without opening it:
 * rtnetlink(7), and IFLA_TUN_… in linux/if_link.h. A TAP of several queues can
 * be joined by any process, and TUNSETIFF does not tell whether one has it.
 *
 * Any thread; no privilege is needed.
 */
#ifndef VHOST_NET_NET_LINK_H
#define VHOST_NET_NET_LINK_H

#include <stdbool.h>

struct net_link {
	bool exists;
	bool is_tun; /* a TUN or TAP; only then: */
	bool persists;
	bool has_queues; /* IFF_MULTI_QUEUE; only then: */
	unsigned queues; /* that processes hold, attached or not */
};

/* @ret_link->exists is false if there is none. A negative errno of the
 * socket's, or -EPROTO. */
int net_link_find(const char *name, struct net_link *ret_link);

#endif
