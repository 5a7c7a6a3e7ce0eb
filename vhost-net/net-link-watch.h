/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether frames can pass a network device, as rtnetlink(7) tells: it is up and
 * has a carrier; and whether it is there at all.
 *
 * Control thread; no privilege is needed.
 */
#ifndef VHOST_NET_NET_LINK_WATCH_H
#define VHOST_NET_NET_LINK_WATCH_H

#include "base/loop.h"

enum net_link_state {
	NET_LINK_UNKNOWN,
	NET_LINK_DOWN,
	NET_LINK_UP,
	NET_LINK_GONE, /* deleted, or moved to another namespace: the last word */
};

struct net_link_watch;

/* @changed(arg) is called from the loop when the state differs from what it was;
 * what it is now can be asked for at once. A negative errno of the socket's. */
int net_link_watch_new(struct loop *loop, int ifindex,
		       void (*changed)(void *arg), void *arg,
		       struct net_link_watch **ret_watch);
/* Accepts NULL. */
void net_link_watch_free(struct net_link_watch *watch);

enum net_link_state net_link_watch_state(const struct net_link_watch *watch);

#endif
